package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/devloop-io/devloop/traffic"
)

// GetDependents says who is affected when a service, database, cache or external host goes away.
func GetDependents(ctx context.Context, db *Database, r DependentsRequest) (*DependentsAnswer, error) {
	if r.Service == "" {
		return nil, mistake("list_workloads names the services", "no service was named")
	}
	if r.Depth < 0 {
		return nil, mistake("1 and more; all by default", "depth %d is out of range", r.Depth)
	}
	v, err := openSurvey(ctx, db, r.Selection)
	if err != nil {
		return nil, err
	}
	g := graph{target: r.Service, edges: map[[2]string]*Dependent{}, endpoints: map[string]*Affected{}, recent: newRecent[*served]()}
	for c, err := range v.slimCalls() {
		if err != nil {
			return nil, err
		}
		g.add(c)
	}
	a := &DependentsAnswer{Service: r.Service, Dependents: g.walk(r.Depth), Endpoints: g.affected()}
	a.How = "sync: a request of the caller was waiting for the call; async: it had been answered already; own: no request caused it. What caused what is told by trace context, else by nesting in time"
	a.Reading = v.reading("calls")
	if len(a.Dependents) == 0 && a.Why == "" {
		a.Why = fmt.Sprintf("nobody calls %s in these %d calls", r.Service, v.found)
		if near := g.nearest(); near != "" {
			a.Why += "; seen were " + near
		}
	}
	return a, nil
}

// graph is who calls whom, and which requests led to a call to the target.
type graph struct {
	target    string
	edges     map[[2]string]*Dependent // by caller and callee
	endpoints map[string]*Affected
	recent    *recent[*served]
	names     []string
}

// served is a request while others may still name it as their parent.
type served struct {
	parent *served
	end    int64
	at     *Affected
	needed bool
	depth  int
}

// maxAncestors bounds how far up a request is followed; deeper trees do not keep their roots alive.
const maxAncestors = 64

func (g *graph) add(c *traffic.Call) {
	src, dst := nameOf(&c.Src), nameOf(&c.Dst)
	g.names = note(g.names, dst, 50)
	key := [2]string{src, dst}
	e := g.edges[key]
	if e == nil {
		if len(g.edges) >= maxGroups {
			return
		}
		e = &Dependent{Name: src, Via: dst}
		g.edges[key] = e
	}
	e.Calls++
	parent, _ := g.recent.get(c.Parent)
	switch {
	case parent == nil:
		e.Own++
	case parent.end != 0 && c.End > parent.end:
		e.Async++
	default:
		e.Sync++
	}
	g.serve(c, parent)
	if g.is(&c.Dst) {
		for p := parent; p != nil; p = p.parent {
			if !p.needed && p.at != nil {
				p.needed = true
				p.at.Needed++
			}
		}
	}
}

// serve notes a request that may cause others.
func (g *graph) serve(c *traffic.Call, parent *served) {
	s := &served{parent: parent, end: c.End}
	if c.State == traffic.StateOpen {
		s.end = 0
	}
	if parent != nil {
		if s.depth = parent.depth + 1; s.depth > maxAncestors {
			s.parent, s.depth = nil, 0
		}
	}
	key := endpointOf(c)
	if s.at = g.endpoints[key]; s.at == nil && len(g.endpoints) < maxGroups {
		s.at = &Affected{Endpoint: key, Service: nameOf(&c.Dst)}
		g.endpoints[key] = s.at
	}
	if s.at != nil {
		s.at.Requests++
	}
	g.recent.put(c.ID, s)
}

// is reports whether an end is the target, by any of its names.
func (g *graph) is(e *traffic.Endpoint) bool {
	return g.target == nameOf(e) || g.target == e.Pod || g.target == e.DNS || g.target == e.IP.Unmap().String()
}

// walk goes from the target to its callers, theirs, and so on; each is told once, where it is nearest.
func (g *graph) walk(depth int) []Dependent {
	list := []Dependent{}
	seen := map[string]bool{g.target: true}
	layer := []string{g.target}
	for step := 1; len(layer) > 0 && (depth == 0 || step <= depth); step++ {
		var next []string
		var found []Dependent
		for _, e := range g.edges {
			if slices.Contains(layer, e.Via) && !seen[e.Name] {
				x := *e
				x.Depth, x.Share = step, share(e.Sync, e.Calls)
				found = append(found, x)
				next = note(next, e.Name, maxGroups)
			}
		}
		for _, name := range next {
			seen[name] = true
		}
		slices.SortFunc(found, func(a, b Dependent) int {
			return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Via, b.Via))
		})
		list, layer = append(list, found...), next
	}
	return list
}

// affected are the endpoints whose requests needed the target, most first.
func (g *graph) affected() []Affected {
	const most = 100
	list := []Affected{}
	for _, a := range g.endpoints {
		if a.Needed > 0 {
			a.Share = share(a.Needed, a.Requests)
			list = append(list, *a)
		}
	}
	slices.SortFunc(list, func(a, b Affected) int {
		return cmp.Or(cmp.Compare(b.Needed, a.Needed), cmp.Compare(a.Endpoint, b.Endpoint))
	})
	list, _ = head(list, most)
	return list
}

// nearest lists some names that are there.
func (g *graph) nearest() string {
	slices.Sort(g.names)
	names, more := head(g.names, 12)
	text := fmt.Sprint(names)
	if len(names) == 0 {
		return ""
	}
	if more {
		text += " and others"
	}
	return text
}
