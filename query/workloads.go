package query

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"regexp"
	"slices"

	"github.com/devloop-io/devloop/traffic"
)

// mostWorkloads bounds an answer about workloads.
const mostWorkloads = 5000

// workload is a pod, service, namespace or node with the identities that tell of it.
type workload struct {
	WorkloadRecord
	of []*traffic.Workload
}

// workloads are pods, services, namespaces and nodes, in this order, by the identities of addresses.
func workloads(identities []traffic.Identity) []*workload {
	type key struct{ kind, ns, name string }
	byKey := map[key]*workload{}
	var all []*workload
	add := func(kind, ns, name string, id *traffic.Identity, addressed bool) {
		if name == "" {
			return
		}
		w := byKey[key{kind, ns, name}]
		if w == nil {
			w = &workload{WorkloadRecord: WorkloadRecord{Name: name, Namespace: ns, Kind: kind, IPs: []WorkloadIP{}}}
			byKey[key{kind, ns, name}] = w
			all = append(all, w)
		}
		w.of = append(w.of, &id.Workload)
		switch kind {
		case "pod":
			w.Node = cmp.Or(id.Workload.Node, w.Node)
			if id.Workload.Owner != "" {
				w.Owner = id.Workload.OwnerKind + "/" + id.Workload.Owner
			}
		case "namespace":
			return
		}
		if addressed {
			w.Labels = id.Workload.Labels
			w.address(id)
		}
	}
	for i := range identities {
		id := &identities[i]
		x := &id.Workload
		pod := x.Pod != "" && x.Kind != "node"
		add("pod", x.Namespace, podName(x), id, true)
		if x.Kind != "node" {
			add("service", x.Namespace, x.Service, id, !pod || x.Kind == "service")
			add("namespace", "", x.Namespace, id, false)
		}
		add("node", "", x.Node, id, x.Kind == "node")
		if a, err := netip.ParseAddr(x.NodeIP); err == nil {
			byKey[key{"node", "", x.Node}].address(&traffic.Identity{IP: a, From: id.From, To: id.To})
		}
	}
	for _, w := range all {
		slices.SortFunc(w.IPs, func(a, b WorkloadIP) int {
			return cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), cmp.Compare(a.IP, b.IP))
		})
	}
	slices.SortStableFunc(all, func(a, b *workload) int {
		return cmp.Or(cmp.Compare(slices.Index(workloadKinds, a.Kind), slices.Index(workloadKinds, b.Kind)), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// workloadKinds are in the order of answers.
var workloadKinds = []string{"pod", "service", "namespace", "node"}

func podName(w *traffic.Workload) string {
	if w.Kind == "node" || w.Kind == "service" && w.Pod == w.Service && w.Namespace != "local" {
		return ""
	}
	return w.Pod
}

// address adds one; spans of one address that touch are one.
func (w *workload) address(id *traffic.Identity) {
	ip := id.IP.Unmap().String()
	for i := range w.IPs {
		if x := &w.IPs[i]; x.IP == ip && (x.Until == 0 || x.Until >= id.From/1e6) {
			x.Timestamp = min(x.Timestamp, id.From/1e6)
			if id.To == 0 || x.Until != 0 && id.To/1e6 > x.Until {
				x.Until = id.To / 1e6
			}
			return
		}
	}
	w.IPs = append(w.IPs, WorkloadIP{IP: ip, Timestamp: id.From / 1e6, Until: id.To / 1e6})
}

// at keeps the addresses of one time; false where there is none.
func (w *workload) at(ms int64) bool {
	if ms == 0 {
		return true
	}
	if w.Kind == "namespace" {
		return true
	}
	w.IPs = slices.DeleteFunc(slices.Clone(w.IPs), func(x WorkloadIP) bool { return ms < x.Timestamp || x.Until != 0 && ms >= x.Until })
	return len(w.IPs) > 0
}

// ListWorkloads returns who there was, with addresses and since when.
func ListWorkloads(ctx context.Context, db *Database, r WorkloadsRequest) (*WorkloadsAnswer, error) {
	kind, err := oneOf("type", r.Type, "", "pod", "service", "namespace", "node")
	if err != nil {
		return nil, err
	}
	v, err := openSurvey(ctx, db, Selection{Scope: r.Scope})
	if err != nil {
		return nil, err
	}
	who, err := newWho(r.NameRegex, r.Namespaces, r.Labels)
	if err != nil {
		return nil, err
	}
	a := &WorkloadsAnswer{Workloads: []WorkloadRecord{}}
	for _, w := range workloads(during(db.Identities, r.Scope)) {
		of := kind
		if of == "" && (w.Kind == "pod" || w.Kind == "service") {
			of = w.Kind
		}
		if w.Kind != of || r.Name != "" && w.Name != r.Name || r.Namespace != "" && w.Namespace != r.Namespace || !who.selects(w.Name, w.Namespace, w.Labels) || !w.at(r.Timestamp) {
			continue
		}
		a.Workloads = append(a.Workloads, w.WorkloadRecord)
	}
	a.Total = len(a.Workloads)
	v.found, v.seen = a.Total, len(db.Identities)
	a.Workloads, _ = head(a.Workloads, mostWorkloads)
	a.Reading = v.reading("addresses")
	if a.Total == 0 && len(db.Identities) > 0 {
		a.Why = "addresses of others are known, and none of these names, labels and times"
	}
	return a, nil
}

// during are the identities that held in a window.
func during(all []traffic.Identity, s Scope) []traffic.Identity {
	if s.Start == 0 && s.End == 0 {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(id traffic.Identity) bool {
		return id.To != 0 && id.To <= nanoseconds(s.Start) || s.End != 0 && id.From >= nanoseconds(s.End)
	})
}

// who selects workloads.
type who struct {
	name       *regexp.Regexp
	namespaces []string
	labels     map[string]string
}

// maxPattern bounds a regular expression; Go's take time in proportion to the text.
const maxPattern = 1000

func newWho(pattern string, namespaces []string, labels map[string]string) (*who, error) {
	w := &who{namespaces: namespaces, labels: labels}
	if pattern == "" {
		return w, nil
	}
	if len(pattern) > maxPattern {
		return nil, mistake("write a shorter one", "name_regex has %d bytes, and %d are the limit", len(pattern), maxPattern)
	}
	var err error
	if w.name, err = regexp.Compile(pattern); err != nil {
		return nil, mistake("Go's syntax: ^cart-.*$", "name_regex: %v", err)
	}
	return w, nil
}

func (w *who) selects(name, namespace string, labels map[string]string) bool {
	if w.name != nil && !w.name.MatchString(name) || len(w.namespaces) > 0 && !slices.Contains(w.namespaces, namespace) {
		return false
	}
	for k, v := range w.labels {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// ListIPs returns whose addresses they were, and since when.
func ListIPs(ctx context.Context, db *Database, r IPsRequest) (*IPsAnswer, error) {
	v, err := openSurvey(ctx, db, Selection{Scope: r.Scope})
	if err != nil {
		return nil, err
	}
	who, err := newWho(r.NameRegex, r.Namespaces, r.Labels)
	if err != nil {
		return nil, err
	}
	var wanted netip.Addr
	if r.IP != "" {
		if wanted, err = netip.ParseAddr(r.IP); err != nil {
			return nil, mistake("an address such as 10.244.1.7", "ip %q is none", cut(r.IP, 60))
		}
		wanted = wanted.Unmap()
	}
	byIP := map[netip.Addr]*IPRecord{}
	for _, id := range during(db.Identities, r.Scope) {
		ip, at := id.IP.Unmap(), r.Timestamp*1e6
		if wanted.IsValid() && ip != wanted || r.Timestamp != 0 && (at < id.From || id.To != 0 && at >= id.To) {
			continue
		}
		owner := IPOwner{Name: cmp.Or(podName(&id.Workload), id.Workload.Name()), Namespace: id.Workload.Namespace, Kind: id.Workload.Kind, Timestamp: id.From / 1e6, Until: id.To / 1e6}
		if !who.selects(owner.Name, owner.Namespace, id.Workload.Labels) {
			continue
		}
		record := byIP[ip]
		if record == nil {
			record = &IPRecord{IP: ip.String()}
			byIP[ip] = record
		}
		if !slices.Contains(record.Records, owner) {
			record.Records = append(record.Records, owner)
		}
	}
	a := &IPsAnswer{IPs: []IPRecord{}, Total: len(byIP)}
	for _, ip := range slices.SortedFunc(maps.Keys(byIP), netip.Addr.Compare) {
		record := byIP[ip]
		slices.SortFunc(record.Records, func(x, y IPOwner) int {
			return cmp.Or(cmp.Compare(x.Timestamp, y.Timestamp), cmp.Compare(x.Name, y.Name))
		})
		a.IPs = append(a.IPs, *record)
	}
	a.IPs, _ = head(a.IPs, mostWorkloads)
	v.found, v.seen = a.Total, len(db.Identities)
	a.Reading = v.reading("addresses")
	if a.Total == 0 && len(db.Identities) > 0 {
		a.Why = "addresses of others are known, and none of these names, labels and times"
	}
	return a, nil
}
