package derive

import (
	"github.com/devloop-io/devloop/dissect/facts"
	"github.com/devloop-io/devloop/traffic"
)

// Find finds what follows from the facts of a window: parents, depth, self times and routes. They may have been added in any order.
func Find(w *facts.Window) {
	sorted := inOrder(w)
	findParents(sorted)
	selfTimes(sorted)
	findRoutes(w)
}

// All fills the derived fields of calls: parents, depth, self time and routes. Calls may come in any order, and what they
// held in these fields before is forgotten.
func All(calls []*traffic.Call) {
	fill(calls, Find, func(f *facts.Fact, c *traffic.Call) {
		retry := c.Retry
		f.Fill(c)
		c.Retry = retry
	})
}

// Parents fills Parent, ParentBy, ParentCandidates and Depth of calls.
func Parents(calls []*traffic.Call) {
	fill(calls, func(w *facts.Window) { findParents(inOrder(w)) }, func(f *facts.Fact, c *traffic.Call) {
		c.Parent, c.ParentBy, c.ParentCandidates, c.Depth = f.ParentID(), f.ParentBy(), int(f.Candidates), int(f.Depth)
	})
}

// Routes fills Route of HTTP calls: the path with {id} in place of the segments that look like numbers, UUIDs, hashes or
// tokens, and of those that stand where [Many] others do. The routes of gRPC calls are their paths. The same calls give
// the same routes, in whatever order they come.
func Routes(calls []*traffic.Call) {
	fill(calls, findRoutes, func(f *facts.Fact, c *traffic.Call) { c.Route = f.RouteText() })
}

// fill finds something in the facts of calls, and gives each call what was found of it.
func fill(calls []*traffic.Call, find func(*facts.Window), give func(*facts.Fact, *traffic.Call)) {
	w := facts.Of(calls, nil)
	find(w)
	i := 0
	for f := range w.All() {
		give(f, calls[i])
		i++
	}
}
