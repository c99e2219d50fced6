package derive

import (
	"cmp"
	"slices"

	"github.com/devloop-io/devloop/traffic"
)

// Slowest is the call without a parent that took longest: an HTTP call where there is one, never a probe. It is nil
// where there are no such calls.
func Slowest(calls []*traffic.Call) *traffic.Call {
	var best *traffic.Call
	rank := func(c *traffic.Call) int {
		switch c.Protocol {
		case traffic.ProtoHTTP:
			return 2
		case traffic.ProtoTLS, traffic.ProtoDNS:
			return 0
		}
		return 1
	}
	for _, c := range calls {
		if c.Parent != "" || c.Background || c.State == traffic.StateHalf || c.State == traffic.StateOpen {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(rank(c), rank(best)), cmp.Compare(ended(c)-c.Start, ended(best)-best.Start)) > 0 {
			best = c
		}
	}
	return best
}

// Tree is the tree of calls that a call belongs to, from its topmost ancestor, with the critical path marked. No more than
// limit calls come; omitted is how many more there are. It needs what [All] fills.
func Tree(calls []*traffic.Call, c *traffic.Call, limit int) (root *traffic.TraceNode, omitted int) {
	byID := make(map[string]*traffic.Call, len(calls))
	for _, x := range calls {
		byID[x.ID] = x
	}
	top := c
	for p := byID[top.Parent]; top.Parent != "" && p != nil && before(p, top); p = byID[top.Parent] {
		top = p
	}
	g := growing{children: byParent(calls), asked: c, root: top, left: limit}
	root = g.node(top, 0)
	g.left--
	root.Critical = true
	return root, g.grow(root, top)
}

type growing struct {
	children    map[string][]*traffic.Call
	asked, root *traffic.Call
	left        int
}

// grow adds the calls below a node, and returns how many found no room.
func (g *growing) grow(n *traffic.TraceNode, c *traffic.Call) (omitted int) {
	var critical map[*traffic.Call]bool
	if n.Critical {
		critical = criticalChildren(c, g.children[c.ID])
	}
	for _, x := range g.children[c.ID] {
		if g.left <= 0 {
			omitted += 1 + g.below(x)
			continue
		}
		g.left--
		child := g.node(x, n.Depth+1)
		child.Critical = critical[x]
		n.Children = append(n.Children, child)
		omitted += g.grow(child, x)
	}
	return omitted
}

// below counts the calls below one.
func (g *growing) below(c *traffic.Call) int {
	count := 0
	for todo := slices.Clone(g.children[c.ID]); len(todo) > 0; count++ {
		x := todo[len(todo)-1]
		todo = append(todo[:len(todo)-1], g.children[x.ID]...)
	}
	return count
}

func (g *growing) node(c *traffic.Call, depth int) *traffic.TraceNode {
	n := &traffic.TraceNode{
		Call: c.ID, Src: nameOf(&c.Src), Service: nameOf(&c.Dst), Protocol: c.Protocol, Method: c.Method, Path: c.Path, Route: c.Route, Status: c.Status,
		State: c.State, Error: c.Error, Start: milliseconds(c.Start - g.root.Start), Latency: milliseconds(waited(c)), Self: milliseconds(c.SelfNS), Depth: depth,
		ParentBy: c.ParentBy, Candidates: c.ParentCandidates, Asked: c == g.asked,
	}
	if c.PostgreSQL != nil {
		n.Path = cmp.Or(c.PostgreSQL.Fingerprint, c.Path)
	}
	if c.Retry != nil {
		n.Attempt = c.Retry.Attempt
	}
	return n
}

func nameOf(e *traffic.Endpoint) string {
	if name := e.Name(); name != "" {
		return name
	}
	return e.IP.String()
}

// waited is the latency, or how long the client waited for an answer that did not come.
func waited(c *traffic.Call) int64 {
	if c.State == traffic.StateOpen {
		return 0
	}
	return max(c.Latency(), c.End-c.Start)
}

// milliseconds rounds to microseconds.
func milliseconds(ns int64) float64 { return float64(ns/1e3) / 1e3 }

// criticalChildren are the children that their parent's answer waited for: the one that ended last before it, the one that
// ended last before that one began, and so on.
//
//	parent ├───────────────────────────┤
//	a        ├──────┤                     waited for, as c began after it
//	b          ├──┤                       not
//	c                 ├─────────┤         waited for
//	d                          ├───────▶  not: the answer came without it
func criticalChildren(c *traffic.Call, children []*traffic.Call) map[*traffic.Call]bool {
	list := slices.Clone(children)
	end := ended(c)
	until := func(x *traffic.Call) int64 {
		if c.State != traffic.StateComplete { // the client gave up: what still ran then was waited for
			return min(ended(x), end)
		}
		return ended(x)
	}
	slices.SortStableFunc(list, func(a, b *traffic.Call) int { return cmp.Compare(until(b), until(a)) })
	critical := map[*traffic.Call]bool{}
	for _, x := range list {
		if until(x) <= end {
			critical[x] = true
			end = x.Start
		}
	}
	return critical
}
