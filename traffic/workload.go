package traffic

import "net/netip"

// Workload is who speaks at one end of a connection: a local service and its process, or a pod. The zero value is
// a peer of whom nothing but the address is known.
type Workload struct {
	Namespace string            `json:"ns,omitempty"`   // "local" for local services
	Kind      string            `json:"kind,omitempty"` // service, dependency, exercise, external, pod, …
	Service   string            `json:"svc,omitempty"`  // the name that peers use
	Pod       string            `json:"pod,omitempty"`  // for local services the same as Service
	Container string            `json:"container,omitempty"`
	Node      string            `json:"node,omitempty"`
	Process   string            `json:"process,omitempty"` // command name
	PID       uint32            `json:"pid,omitempty"`
	Build     string            `json:"build,omitempty"` // what was running: short hash of the binary
	DNS       string            `json:"dns,omitempty"`   // name that was looked up to reach it, for external peers
	Labels    map[string]string `json:"labels,omitempty"`
	Outside   bool              `json:"outside,omitempty"` // not part of the system under test: traffic to it is egress

	// What only clusters tell.
	Owner       string            `json:"owner,omitempty"`        // who made the pod: name of the Deployment, StatefulSet, DaemonSet, Job, …
	OwnerKind   string            `json:"owner_kind,omitempty"`   // Deployment, …
	Zone        string            `json:"zone,omitempty"`         // of the node: topology.kubernetes.io/zone
	NodeIP      string            `json:"node_ip,omitempty"`      // the node's address inside of the cluster
	Annotations map[string]string `json:"annotations,omitempty"`  // some: short ones, without secrets
	HostNetwork bool              `json:"host_network,omitempty"` // it speaks with its node's addresses
}

// Kinds of [Workload] in local environments.
const (
	KindService    = "service"
	KindDependency = "dependency"
	KindExercise   = "exercise"
	KindExternal   = "external"
)

// Name is the shortest name that tells the workload from others: service, pod, DNS name or process. It is empty when
// nothing is known.
func (w *Workload) Name() string {
	switch {
	case w == nil:
		return ""
	case w.Service != "":
		return w.Service
	case w.Pod != "":
		return w.Pod
	case w.DNS != "":
		return w.DNS
	}
	return w.Process
}

// Endpoint is one end of a connection.
type Endpoint struct {
	IP   netip.Addr `json:"ip"`
	Port uint16     `json:"port"`
	Workload
}

// Addr is the endpoint's address and port.
func (e *Endpoint) Addr() netip.AddrPort { return netip.AddrPortFrom(e.IP, e.Port) }

// Identity says that an address belonged to a workload during a span of time.
type Identity struct {
	IP       netip.Addr `json:"ip"`
	From     int64      `json:"from,omitempty"` // Unix nanoseconds; 0 is since ever
	To       int64      `json:"to,omitempty"`   // Unix nanoseconds; 0 is until now
	Workload Workload   `json:"workload"`
}
