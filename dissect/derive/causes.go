package derive

import (
	"cmp"
	"iter"
	"math"
	"slices"

	"github.com/devloop-io/devloop/dissect/facts"
	"github.com/devloop-io/devloop/traffic"
)

// Causes finds the calls whose server could have made another call. It is made once for the calls that may be parents.
//
//	parent  client ──────────▶ server ······················▶   p.Start ≤ c.Start ≤ p.End,
//	child                      server ───▶ another ···▶         and p's server is c's client
type Causes struct {
	window *facts.Window
	calls  map[*facts.Fact]*traffic.Call
	causes causes
}

// NewCauses indexes calls, in O(n log n). What it returns belongs to one goroutine.
func NewCauses(parents []*traffic.Call) *Causes {
	x := &Causes{window: facts.New(), calls: make(map[*facts.Fact]*traffic.Call, len(parents))}
	for _, p := range parents {
		x.calls[x.window.Add(p)] = p
	}
	x.causes = causes{sorted: inOrder(x.window)}
	return x
}

// Of yields the calls that could have caused c, the latest first, and whether their trace says so. Where calls of c's own
// trace were being answered, these are all; otherwise those whose trace does not speak against it.
func (x *Causes) Of(c *traffic.Call) iter.Seq2[*traffic.Call, bool] {
	f := x.window.Fact(c)
	return func(yield func(*traffic.Call, bool) bool) {
		for p, traced := range x.causes.of(&f) {
			if !yield(x.calls[p], traced) {
				return
			}
		}
	}
}

// inOrder is all facts, parents before their children.
func inOrder(w *facts.Window) []*facts.Fact {
	return slices.SortedFunc(w.All(), orderOf)
}

// causes is Causes of facts.
type causes struct {
	sorted []*facts.Fact // in the order of orderOf
	most   int           // calls that are looked at for one; 0 is all

	homes, named lists // by what their servers are known as; those with a name also by address, for clients that have none
}

// lists are calls by the home of their server: all of them, and those of one trace or of none.
type lists struct{ every, traced index }

func (x *causes) homed() *lists {
	if x.homes.every.groups == nil {
		home := func(f *facts.Fact) uint32 { return f.Dst.Home() }
		x.homes = lists{newIndex(x.sorted, anyTrace(home)), newIndex(x.sorted, ofTrace(home))}
	}
	return &x.homes
}

// addressed lists the parents that have a name by their address. Few clients have no name.
func (x *causes) addressed() *lists {
	if x.named.every.groups == nil {
		address := func(f *facts.Fact) uint32 {
			if f.Dst.Workload == 0 {
				return 0
			}
			return f.Dst.Address
		}
		x.named = lists{newIndex(x.sorted, anyTrace(address)), newIndex(x.sorted, ofTrace(address))}
	}
	return &x.named
}

func anyTrace(at func(*facts.Fact) uint32) func(*facts.Fact) group {
	return func(f *facts.Fact) group { return group{place: at(f)} }
}

func ofTrace(at func(*facts.Fact) uint32) func(*facts.Fact) group {
	return func(f *facts.Fact) group { return group{at(f), f.Trace} }
}

// origin is where the calls that a client serves may be listed.
type origin struct {
	lists *lists
	place uint32
}

func (x *causes) origins(e *facts.End) [2]origin {
	if e.Workload != 0 {
		return [2]origin{{x.homed(), e.Workload}, {x.homed(), e.Address}}
	}
	return [2]origin{{x.homed(), e.Address}, {x.addressed(), e.Address}}
}

func (x *causes) of(c *facts.Fact) iter.Seq2[*facts.Fact, bool] {
	return func(yield func(*facts.Fact, bool) bool) {
		found, looked, traced := false, 0, true
		visit := func(p *facts.Fact) bool {
			if looked++; x.most > 0 && looked > x.most {
				return false
			}
			if orderOf(p, c) >= 0 || !sameReplica(p.Dst, c.Src) {
				return true
			}
			found = true
			return yield(p, traced)
		}
		origins := x.origins(c.Src)
		if c.Trace != 0 {
			for _, o := range origins {
				if !o.lists.traced.at(group{o.place, c.Trace}, c.Start, visit) {
					return
				}
			}
			if found {
				return
			}
		}
		traced = false
		for _, o := range origins {
			list := &o.lists.traced // of no trace
			if c.Trace == 0 {
				list = &o.lists.every
			}
			if !list.at(group{place: o.place}, c.Start, visit) {
				return
			}
		}
	}
}

// earlier is the last call of c's trace that its client had served before it made c, and of how many, two standing for more;
// nil where there is none.
func (x *causes) earlier(c *facts.Fact) (last *facts.Fact, candidates int) {
	if c.Trace == 0 {
		return nil, 0
	}
	for _, o := range x.origins(c.Src) {
		list := o.lists.traced.begun(group{o.place, c.Trace}, c.Start)
		for i := len(list) - 1; i >= 0 && candidates < 2; i-- {
			p := list[i]
			if orderOf(p, c) >= 0 || !sameReplica(p.Dst, c.Src) || !credible(p, c) {
				continue
			}
			candidates++
			if last == nil || orderOf(last, p) < 0 {
				last = p
			}
		}
	}
	return last, candidates
}

// orderOf orders calls such that a parent comes before its children: it began earlier, or at the same time and took
// longer. The ID breaks ties, so that there are no circles.
func orderOf(a, b *facts.Fact) int {
	if a.Start != b.Start { // nearly always
		return cmp.Compare(a.Start, b.Start)
	}
	return cmp.Or(cmp.Compare(b.Ended(), a.Ended()), cmp.Compare(a.ID, b.ID))
}

// order is orderOf of calls.
func order(a, b *traffic.Call) int {
	if a.Start != b.Start {
		return cmp.Compare(a.Start, b.Start)
	}
	return cmp.Or(cmp.Compare(ended(b), ended(a)), cmp.Compare(a.ID, b.ID))
}

func before(a, b *traffic.Call) bool { return order(a, b) < 0 }

// ended is when a call's answer was there: never, while it is open.
func ended(c *traffic.Call) int64 {
	if c.State == traffic.StateOpen {
		return math.MaxInt64
	}
	return max(c.Start, c.End)
}

// sameReplica reports whether nothing tells two ends of one workload apart.
func sameReplica(a, b *facts.End) bool { return a.Pod == "" || b.Pod == "" || a.Pod == b.Pod }

// index finds the calls of a group that were being answered at a time: one list with a group after the other, each in order, and
// over it a tree of the latest ends.
type index struct {
	groups map[group]span
	list   []*facts.Fact
	ends   []int64 // of node i, the latest end below; its children are 2i and 2i+1, leaves are leaf calls each
	leaves int
}

// leaf is how many calls a leaf of the tree has: that they are looked at one by one costs less than nodes for each.
const leaf = 8

type group struct {
	place uint32 // 0 is in no list
	trace uint64
}

// span is a part of a list.
type span struct{ from, to int32 }

// newIndex indexes calls that come in order.
func newIndex(sorted []*facts.Fact, of func(*facts.Fact) group) index {
	x := index{groups: map[group]span{}}
	for _, f := range sorted {
		if g := of(f); g.place != 0 {
			s := x.groups[g]
			s.to++
			x.groups[g] = s
		}
	}
	n := int32(0)
	for g, s := range x.groups {
		x.groups[g] = span{n, n} // filled below
		n += s.to
	}
	x.list = make([]*facts.Fact, n)
	for _, f := range sorted {
		if g := of(f); g.place != 0 {
			s := x.groups[g]
			x.list[s.to] = f
			s.to++
			x.groups[g] = s
		}
	}
	for x.leaves = 1; x.leaves*leaf < len(x.list); {
		x.leaves *= 2
	}
	x.ends = make([]int64, 2*x.leaves)
	for i := range x.ends {
		x.ends[i] = math.MinInt64
	}
	for i, f := range x.list {
		at := x.leaves + i/leaf
		x.ends[at] = max(x.ends[at], f.Ended())
	}
	for i := x.leaves - 1; i > 0; i-- {
		x.ends[i] = max(x.ends[2*i], x.ends[2*i+1])
	}
	return x
}

// begun are the calls of a group that began by a time.
func (x *index) begun(g group, t int64) []*facts.Fact {
	s := x.groups[g]
	list := x.list[s.from:s.to]
	i, _ := slices.BinarySearchFunc(list, t, func(f *facts.Fact, t int64) int {
		if f.Start <= t {
			return -1
		}
		return 1
	})
	return list[:i]
}

// at visits the calls that were being answered, the latest first, until visit says stop; it returns false then.
func (x *index) at(g group, t int64, visit func(*facts.Fact) bool) bool {
	from := int(x.groups[g].from)
	n := len(x.begun(g, t))
	if n == 0 {
		return true
	}
	return x.below(1, 0, x.leaves*leaf, from, from+n, t, visit)
}

// below visits what a node has of from..to; the node begins at first and has width calls.
func (x *index) below(node, first, width, from, to int, t int64, visit func(*facts.Fact) bool) bool {
	if first >= to || first+width <= from || x.ends[node] < t {
		return true
	}
	if width == leaf {
		for i := min(first+width, to) - 1; i >= max(first, from); i-- {
			if x.list[i].Ended() >= t && !visit(x.list[i]) {
				return false
			}
		}
		return true
	}
	half := width / 2
	return x.below(2*node+1, first+half, half, from, to, t, visit) && x.below(2*node, first, half, from, to, t, visit)
}
