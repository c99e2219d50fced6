package baseline

import (
	"cmp"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// mostAccepted is how many acceptances a baseline remembers; git has the others.
const mostAccepted = 20

// Accept takes over into old what a comparison with now found to differ, and leaves the rest as it is, so that the text changes
// where the facts do. It reports whether there was something to take over.
func Accept(old, now *Baseline, r *Report, reason, day string) bool {
	edges, endpoints := map[string]bool{}, map[string]bool{}
	var what []string
	for _, f := range r.Findings {
		if f.Verdict == traffic.Skipped || f.Verdict == traffic.Pass && !f.Improved {
			continue
		}
		what = append(what, clean(f.Kind+" "+f.Where+" "+f.What))
		if f.Kind == traffic.FindingEdge || f.Kind == traffic.FindingReuse || f.Kind == traffic.FindingTLS {
			edges[f.Where] = true
		} else {
			endpoints[f.Where] = true
		}
	}
	if len(what) == 0 {
		return false
	}
	for _, b := range []*Baseline{old, now} {
		for _, e := range b.Endpoints {
			if edges[e.Edge] {
				endpoints[e.Name] = true
			}
			if endpoints[e.Name] {
				edges[e.Edge] = true
				for child := range e.Causes { // calls per request show in the callee as well
					endpoints[child] = true
				}
			}
		}
	}
	old.Edges = slices.DeleteFunc(old.Edges, func(e EdgeFacts) bool { return edges[e.Name] })
	for _, e := range now.Edges {
		if edges[e.Name] {
			e.Of = now.Runs
			old.Edges = append(old.Edges, e)
		}
	}
	old.Endpoints = slices.DeleteFunc(old.Endpoints, func(e EndpointFacts) bool { return endpoints[e.Name] })
	for _, e := range now.Endpoints {
		if endpoints[e.Name] {
			e.Of = now.Runs
			old.Endpoints = append(old.Endpoints, e)
		}
	}
	slices.SortFunc(old.Edges, func(a, b EdgeFacts) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(old.Endpoints, func(a, b EndpointFacts) int { return cmp.Compare(a.Name, b.Name) })
	old.Accepted = append(old.Accepted, Acceptance{Day: day, Reason: clean(strings.TrimSpace(reason)), What: what[:min(len(what), 10)]})
	old.Accepted = old.Accepted[max(0, len(old.Accepted)-mostAccepted):]
	return true
}
