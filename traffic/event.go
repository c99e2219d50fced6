package traffic

import "fmt"

// Kinds of [ClusterEvent].
const (
	EventRestart    = "restart"    // a container ended, or runs again
	EventProbe      = "probe"      // a probe failed, or a pod became ready or unready
	EventRollout    = "rollout"    // pods of a Deployment and its like are made and taken away
	EventScheduling = "scheduling" // a pod found its node, or did not
	EventImage      = "image"      // an image is pulled, or cannot be
	EventStart      = "start"      // a pod is set up, or cannot be: volumes, network, sandbox
	EventNode       = "node"       // a node's condition
	EventOther      = "other"
)

// ClusterEvent is something that happened to the objects of a cluster, beside the calls of its pods.
type ClusterEvent struct {
	Time      int64  `json:"time_ns"`          // Unix nanoseconds; clusters tell whole seconds, so it is exact to about one
	Kind      string `json:"kind"`             // restart, probe, rollout, scheduling, image, start, node, other
	Reason    string `json:"reason"`           // Kubernetes' word: OOMKilled, Unhealthy, ScalingReplicaSet
	Object    string `json:"object,omitempty"` // what it happened to: "Deployment/payment"
	Namespace string `json:"ns,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Container string `json:"container,omitempty"`
	Node      string `json:"node,omitempty"`
	Message   string `json:"message,omitempty"` // of the cluster, redacted and cut
	Count     int    `json:"count,omitempty"`   // how often, where the cluster tells several as one
	ExitCode  int    `json:"exit_code,omitempty"`
	Warning   bool   `json:"warning,omitempty"` // something is not as it should be
}

// String is one line: "payment-abc was restarted: OOMKilled (exit code 137)".
func (e *ClusterEvent) String() string {
	line := e.Message
	if line == "" {
		line = e.Reason
	}
	switch {
	case e.Kind == EventRestart:
	case e.Pod != "":
		line = e.Pod + ": " + line
	case e.Node != "":
		line = "node " + e.Node + ": " + line
	case e.Object != "":
		line = e.Object + ": " + line
	}
	if e.Count > 1 {
		line += fmt.Sprintf(" (%d times)", e.Count)
	}
	return line
}
