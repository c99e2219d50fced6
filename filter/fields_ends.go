package filter

import (
	"net/netip"
	"slices"

	"cel.dev/cel-go/cel"

	"github.com/devloop-io/devloop/traffic"
)

var (
	stringType = cel.StringType
	intType    = cel.IntType
	boolType   = cel.BoolType
)

// Which ends a field follows from.
const (
	srcEnd = 1 + iota
	dstEnd
	bothEnd
)

// end picks one end of a row.
type end func(*Row) *traffic.Endpoint

func srcOf(r *Row) *traffic.Endpoint { src, _ := r.ends(); return src }
func dstOf(r *Row) *traffic.Endpoint { _, dst := r.ends(); return dst }

func (e end) text(get func(*traffic.Endpoint) string) func(*Row) (string, bool) {
	return func(r *Row) (string, bool) { return get(e(r)), true }
}

// endSections are the fields of the client (src) and of the server (dst), and of both together.
func endSections() []section {
	return []section{
		endSection("src", "client", "ip.src", "client", "source", srcOf),
		endSection("dst", "server", "ip.dst", "server", "destination", dstOf),
		bothEnds(),
	}
}

// endSection describes one end. In KFL2 local is the captured side; here it is the client, always.
func endSection(p, who, wireshark, otel, ecs string, e end) section {
	host := map[string]string{"src": "client", "dst": "server"}[p]
	local := map[string]string{"src": "local", "dst": "remote"}[p]
	which := map[string]int{"src": srcEnd, "dst": dstEnd}[p]
	return section{name: "The " + who + " (" + p + ")", rows: Both, end: which, fields: []Field{
		text(Field{Name: p + ".ip", JSON: p + ".ip", Aliases: []string{wireshark, ecs + ".address", ecs + ".ip"}, Column: p + "_ip",
			Doc: "address of the " + who, Example: p + `.ip.startsWith("10.")`}, e.text(addrText)),
		number(Field{Name: p + ".port", JSON: p + ".port", Aliases: []string{otel + ".port", ecs + ".port"}, Column: p + "_port",
			Doc: "port of the " + who, Example: p + `.port == 8080`}, func(r *Row) (int64, bool) { return int64(e(r).Port), true }),
		text(Field{Name: p + ".name", Aliases: []string{p}, Column: p + "_name", Doc: "shortest name of the " + who + ": service, pod, DNS name or process",
			Example: p + `.name == "frontend"`}, e.text(func(w *traffic.Endpoint) string { return w.Name() })),
		text(Field{Name: p + ".namespace", JSON: p + ".ns", Column: p + "_ns", Doc: "namespace of the " + who + ": local for local services",
			Example: p + `.namespace == "production"`}, e.text(func(w *traffic.Endpoint) string { return w.Namespace })),
		text(Field{Name: p + ".pod.name", JSON: p + ".pod", Aliases: []string{p + ".pod"}, Column: p + "_pod",
			Doc: "pod of the " + who + "; for local services the service", Example: p + `.pod.name.startsWith("frontend-")`},
			e.text(func(w *traffic.Endpoint) string { return cmpOr(w.Pod, w.Service) })),
		text(Field{Name: p + ".pod.namespace", Aliases: []string{p + ".ns"}, Doc: "namespace of the " + who + "'s pod",
			Example: p + `.pod.namespace == "production"`}, e.text(func(w *traffic.Endpoint) string { return w.Namespace })),
		text(Field{Name: p + ".service.name", JSON: p + ".svc", Aliases: []string{p + ".svc", p + ".service"}, Column: p + "_svc",
			Doc: "service of the " + who + ": the name that its peers use", Example: p + `.service.name == "frontend"`},
			e.text(func(w *traffic.Endpoint) string { return w.Service })),
		text(Field{Name: p + ".service.namespace", Doc: "namespace of the " + who + "'s service", Example: p + `.service.namespace == "shop"`},
			e.text(func(w *traffic.Endpoint) string { return w.Namespace })),
		text(Field{Name: p + ".kind", JSON: p + ".kind", Column: p + "_kind", Doc: "what the " + who + " is: service, dependency, exercise, external, pod",
			Example: p + `.kind == "exercise"`}, e.text(func(w *traffic.Endpoint) string { return w.Kind })),
		text(Field{Name: p + ".build", JSON: p + ".build", Column: p + "_build", Doc: "build that the " + who + " ran",
			Example: p + `.build == "9f2c41d0"`}, e.text(func(w *traffic.Endpoint) string { return w.Build })),
		text(Field{Name: p + ".process", JSON: p + ".process", Column: p + "_process",
			Doc: "command name of the " + who + "'s process", Example: p + `.process == "postgres"`}, e.text(func(w *traffic.Endpoint) string { return w.Process })),
		text(Field{Name: local + "_process_name", Doc: "command name of the " + who + "'s process, by Kubeshark's name",
			Example: local + `_process_name == "curl"`}, e.text(func(w *traffic.Endpoint) string { return w.Process })),
		number(Field{Name: p + ".pid", JSON: p + ".pid", Column: p + "_pid", Doc: "process id of the " + who, Example: p + `.pid == 4711`},
			func(r *Row) (int64, bool) { return int64(e(r).PID), true }),
		text(Field{Name: p + ".container", JSON: p + ".container", Column: p + "_container", Doc: "container of the " + who, Example: p + `.container == "istio-proxy"`},
			e.text(func(w *traffic.Endpoint) string { return w.Container })),
		text(Field{Name: p + ".node", JSON: p + ".node", Column: p + "_node", Doc: "node of the " + who, Example: p + `.node == "kind-worker"`},
			e.text(func(w *traffic.Endpoint) string { return w.Node })),
		text(Field{Name: p + ".dns", JSON: p + ".dns", Aliases: []string{host + ".address"}, Column: p + "_dns",
			Doc: "name that was looked up to reach the " + who + ", for external peers", Example: p + `.dns.endsWith(".stripe.com")`},
			e.text(func(w *traffic.Endpoint) string { return w.DNS })),
		flag(Field{Name: p + ".outside", JSON: p + ".outside", Column: p + "_outside", Doc: "the " + who + " is not part of the system under test",
			Example: p + `.outside`}, func(r *Row) (bool, bool) { return e(r).Outside, true }),
		mapping(Field{Name: local + "_labels", JSON: p + ".labels", Column: p + "_labels", Doc: "labels of the " + who, Example: `map_get(` + local + `_labels, "app", "") == "checkout"`},
			func(r *Row) (*stringsMap, bool) { return labels(e(r).Labels), true }),
		mapping(Field{Name: local + "_annotations", JSON: p + ".annotations", Column: p + "_annotations",
			Doc: "annotations of the " + who + "'s pod or Service: at most 16, cut at 256 bytes, secrets hidden", Example: `"team" in ` + local + `_annotations`},
			func(r *Row) (*stringsMap, bool) { return labels(e(r).Annotations), true }),
		text(Field{Name: p + ".owner.name", JSON: p + ".owner", Aliases: []string{p + ".owner"}, Column: p + "_owner",
			Doc: "what made the " + who + "'s pod: name of the Deployment, StatefulSet, DaemonSet or Job; for local services the service", Example: p + `.owner.name == "cart"`},
			e.text(func(w *traffic.Endpoint) string {
				if w.Namespace == localNamespace {
					return w.Service
				}
				return w.Owner
			})),
		text(Field{Name: p + ".owner.kind", JSON: p + ".owner_kind", Column: p + "_owner_kind",
			Doc: "kind of what made the " + who + "'s pod: Deployment, StatefulSet, DaemonSet, Job; empty outside of clusters", Example: p + `.owner.kind == "StatefulSet"`},
			e.text(func(w *traffic.Endpoint) string { return w.OwnerKind })),
		text(Field{Name: p + ".zone", JSON: p + ".zone", Column: p + "_zone", Doc: "zone of the " + who + "'s node (topology.kubernetes.io/zone); empty outside of clusters",
			Example: `src.zone != dst.zone`}, e.text(func(w *traffic.Endpoint) string { return w.Zone })),
		text(Field{Name: p + ".node.ip", JSON: p + ".node_ip", Column: p + "_node_ip", Doc: "address of the " + who + "'s node; empty outside of clusters",
			Example: p + `.node.ip == "172.18.0.2"`}, e.text(func(w *traffic.Endpoint) string { return w.NodeIP })),
		flag(Field{Name: p + ".host_network", JSON: p + ".host_network", Column: p + "_host_network", Doc: "the " + who + " speaks with its node's addresses: a node, or a pod with hostNetwork",
			Example: p + `.host_network`}, func(r *Row) (bool, bool) { return e(r).HostNetwork, true }),
		text(Field{Name: local + "_resolution_status", Doc: "why the " + who + " has no name: cache_miss, or empty when it has one",
			Example: local + `_resolution_status == "cache_miss"`}, e.text(func(w *traffic.Endpoint) string {
			if w.Name() == "" {
				return "cache_miss"
			}
			return ""
		})),
	}}
}

func bothEnds() section {
	pair := func(get func(*traffic.Endpoint) string) func(*Row) ([]string, bool) {
		return func(r *Row) ([]string, bool) {
			src, dst := r.ends()
			return distinct(get(src), get(dst)), true
		}
	}
	return section{name: "Both ends", rows: Both, end: bothEnd, fields: []Field{
		flag(Field{Name: "egress", Doc: "leaves the system under test: the server is outside, external, or a public address of no workload",
			Example: `egress && dst.dns != "api.stripe.com"`}, onRow(func(r *Row) bool { return leaves(dstOf(r)) })),
		texts(Field{Name: "namespaces", Doc: "namespaces of both ends", Example: `"production" in namespaces`},
			pair(func(w *traffic.Endpoint) string { return w.Namespace })),
		texts(Field{Name: "pods", Doc: "pods of both ends", Example: `pods.exists(p, p.startsWith("cart-"))`},
			pair(func(w *traffic.Endpoint) string { return cmpOr(w.Pod, w.Service) })),
		texts(Field{Name: "services", Doc: "services of both ends", Example: `"payment" in services`},
			pair(func(w *traffic.Endpoint) string { return w.Service })),
		texts(Field{Name: "dns_resolutions", Doc: "DNS names that both ends are known by", Example: `"api.stripe.com" in dns_resolutions`},
			pair(func(w *traffic.Endpoint) string { return w.DNS })),
	}}
}

// localNamespace is that of local services.
const localNamespace = "local"

// leaves reports whether traffic to an endpoint leaves the system under test.
func leaves(dst *traffic.Endpoint) bool {
	if dst.Outside || dst.Kind == traffic.KindExternal {
		return true
	}
	workload := dst.Service != "" || dst.Pod != "" || dst.Process != ""
	return !workload && public(dst.IP)
}

var sharedAddresses = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

// public reports whether an address is routed on the internet.
func public(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsValid() && ip.IsGlobalUnicast() && !ip.IsPrivate() && !sharedAddresses.Contains(ip)
}

func addrText(e *traffic.Endpoint) string {
	if !e.IP.IsValid() {
		return ""
	}
	return e.IP.String()
}

func labels(m map[string]string) *stringsMap {
	if len(m) == 0 {
		return nil
	}
	s := &stringsMap{pairs: make([]traffic.Header, 0, len(m))}
	for k, v := range m {
		s.pairs = append(s.pairs, traffic.Header{Name: k, Value: v})
	}
	slices.SortFunc(s.pairs, func(a, b traffic.Header) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return s
}

// distinct drops empty names and repeated ones.
func distinct(a, b string) []string {
	switch {
	case a == "" && b == "":
		return nil
	case b == "" || a == b:
		return []string{a}
	case a == "":
		return []string{b}
	}
	return []string{a, b}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
