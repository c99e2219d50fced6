package filter

import (
	"github.com/devloop-io/devloop/traffic"
)

// derivedSection has what follows from all calls of a window together.
func derivedSection() section {
	parent := func(f Field) Field { f.Request, f.parent = true, true; return f } // when a half call began is not known
	return section{name: "Call tree", rows: Calls, fields: []Field{
		text(parent(Field{Name: "parent", JSON: "parent", Column: "parent",
			Doc:     "id of the call that the client was serving when it made this one, empty without; in expectations unknown where parent_candidates is above 1",
			Example: `http && parent == ""`}), ofCall(func(c *traffic.Call) string { return c.Parent })),
		text(Field{Name: "parent_by", Request: true, JSON: "parent_by", Aliases: []string{"parent.by"}, Column: "parent_by",
			Doc:     "how the parent was found: trace (it carried the same trace context to the client) or nesting (in time); empty without a parent",
			Example: `parent_by == "trace"`}, ofCall(func(c *traffic.Call) string { return c.ParentBy })),
		number(Field{Name: "parent_candidates", Request: true, JSON: "parent_candidates", Column: "parent_candidates",
			Doc: "calls that could be the parent: 1 is sure, 0 is none, with more the parent is the likeliest of them", Example: `parent_candidates > 1`},
			ofCall(func(c *traffic.Call) int64 { return int64(c.ParentCandidates) })),
		number(parent(Field{Name: "depth", JSON: "depth", Column: "depth", Doc: "how many calls stand above this one: 0 has no parent", Example: `depth == 0`}),
			ofCall(func(c *traffic.Call) int64 { return int64(c.Depth) })),
		span(Field{Name: "self", head: responseHead, JSON: "self_ns", Aliases: []string{"self_time"}, Column: "self_ns", Response: true,
			Doc: "latency less the time in which the server waited for calls that it made: what it took itself", Example: `http && self > duration("50ms")`},
			ofWhole(func(c *traffic.Call) int64 { return c.SelfNS })),
		span(Field{Name: "child_time", head: responseHead, Response: true, Doc: "time in which the server waited for at least one call that it made",
			Example: `http && child_time > duration("100ms")`}, ofWhole(func(c *traffic.Call) int64 { return max(0, c.Latency()-c.SelfNS) })),
		text(Field{Name: "route", Request: true, JSON: "route", Aliases: []string{"http.route"}, Column: "route",
			Doc:     "path of an HTTP call with {id} for numbers, UUIDs, hashes and tokens, and where many other segments stand: /orders/{id}",
			Example: `route == "/orders/{id}"`, applies: isHTTP},
			func(r *Row) (string, bool) {
				if !isHTTP(r) {
					return "", false
				}
				return r.Call.Route, true
			}),
	}}
}

// parentUnsure reports whether a field follows from a parent that is only the likeliest of several.
func parentUnsure(c *traffic.Call, f *Field) bool { return f.parent && c.ParentCandidates > 1 }
