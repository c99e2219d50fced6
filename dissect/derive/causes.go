package derive

import (
	"cmp"
	"iter"
	"math"
	"net/netip"
	"slices"

	"github.com/devloop-io/devloop/traffic"
)

// Causes finds the calls whose server could have made another call. It is made once for the calls that may be parents.
//
//	parent  client ──────────▶ server ······················▶   p.Start ≤ c.Start ≤ p.End,
//	child                      server ───▶ another ···▶         and p's server is c's client
type Causes struct {
	parents []*traffic.Call
	lists   map[place]*running
	most    int  // calls that are looked at for one; 0 is all
	byIP    bool // whether lists hold parents by address, too: few clients have no name
}

// place is a workload, and the trace that calls to it carried. A workload without a name is known by its address; one with
// a name by both, for peers that know only the address of it.
type place struct {
	namespace, name string
	ip              netip.Addr
	named           bool // of the lists by address: whether the workload has a name, too
	every           bool // calls of any trace and of none
	trace           string
}

// NewCauses indexes calls, in O(n log n). What it returns belongs to one goroutine.
func NewCauses(parents []*traffic.Call) *Causes {
	x := &Causes{lists: map[place]*running{}}
	for _, p := range parents {
		x.parents = append(x.parents, p)
		if p.Dst.Name() != "" {
			x.add(place{namespace: p.Dst.Namespace, name: p.Dst.Name()}, p)
		} else {
			x.add(place{ip: p.Dst.IP.Unmap()}, p)
		}
	}
	return x
}

// addressed also lists the parents that have a name by their address.
func (x *Causes) addressed() {
	if x.byIP {
		return
	}
	x.byIP = true
	for _, p := range x.parents {
		if p.Dst.Name() != "" {
			x.add(place{ip: p.Dst.IP.Unmap(), named: true}, p)
		}
	}
}

func (x *Causes) add(at place, p *traffic.Call) {
	at.every = true
	x.list(at).add(p)
	at.every, at.trace = false, p.TraceID
	x.list(at).add(p)
}

func (x *Causes) list(at place) *running {
	l := x.lists[at]
	if l == nil {
		l = &running{}
		x.lists[at] = l
	}
	return l
}

// origins are the places where the calls that a client serves are listed, n of them.
func (x *Causes) origins(e *traffic.Endpoint) (places [2]place, n int) {
	name := e.Name()
	if name != "" {
		places[n] = place{namespace: e.Namespace, name: name}
		n++
	}
	places[n] = place{ip: e.IP.Unmap()}
	n++
	if name == "" {
		x.addressed()
		places[n] = place{ip: e.IP.Unmap(), named: true}
		n++
	}
	return places, n
}

// Of yields the calls that could have caused c, the latest first, and whether their trace says so. Where calls of c's own
// trace were being answered, these are all; otherwise those whose trace does not speak against it.
func (x *Causes) Of(c *traffic.Call) iter.Seq2[*traffic.Call, bool] {
	return func(yield func(*traffic.Call, bool) bool) {
		found, looked := false, 0
		visit := func(traced bool) func(*traffic.Call) bool {
			return func(p *traffic.Call) bool {
				if looked++; x.most > 0 && looked > x.most {
					return false
				}
				if p == c || !before(p, c) || !sameReplica(&p.Dst, &c.Src) {
					return true
				}
				found = true
				return yield(p, traced)
			}
		}
		all, n := x.origins(&c.Src)
		at := all[:n]
		if c.TraceID != "" {
			if !x.each(at, c.TraceID, false, c.Start, visit(true)) || found {
				return
			}
		}
		x.each(at, "", c.TraceID == "", c.Start, visit(false))
	}
}

// each visits the calls that were being answered at a time, until visit says stop; it returns false then.
func (x *Causes) each(places []place, trace string, every bool, t int64, visit func(*traffic.Call) bool) bool {
	for _, at := range places {
		at.trace, at.every = trace, every
		if l := x.lists[at]; l != nil && !l.at(t, visit) {
			return false
		}
	}
	return true
}

// earlier is the last call of c's trace that its client had served before it made c, and of how many, two standing for more;
// nil where there is none.
func (x *Causes) earlier(c *traffic.Call) (last *traffic.Call, candidates int) {
	if c.TraceID == "" {
		return nil, 0
	}
	places, n := x.origins(&c.Src)
	for _, at := range places[:n] {
		at.trace = c.TraceID
		l := x.lists[at]
		if l == nil {
			continue
		}
		l.build()
		for i := l.begun(c.Start) - 1; i >= 0 && candidates < 2; i-- {
			p := l.calls[i]
			if p == c || !before(p, c) || !sameReplica(&p.Dst, &c.Src) || !credible(p, c) {
				continue
			}
			candidates++
			if last == nil || before(last, p) {
				last = p
			}
		}
	}
	return last, candidates
}

// before orders calls such that a parent comes before its children: it began earlier, or at the same time and took
// longer. The ID breaks ties, so that there are no circles.
func before(a, b *traffic.Call) bool { return order(a, b) < 0 }

func order(a, b *traffic.Call) int {
	if a.Start != b.Start { // nearly always
		return cmp.Compare(a.Start, b.Start)
	}
	return cmp.Or(cmp.Compare(ended(b), ended(a)), cmp.Compare(a.ID, b.ID))
}

// ended is when a call's answer was there: never, while it is open.
func ended(c *traffic.Call) int64 {
	if c.State == traffic.StateOpen {
		return math.MaxInt64
	}
	return max(c.Start, c.End)
}

// sameReplica reports whether nothing tells two ends of one workload apart.
func sameReplica(a, b *traffic.Endpoint) bool { return a.Pod == "" || b.Pod == "" || a.Pod == b.Pod }

// running finds the calls that were being answered at a time: calls by start, and over them a tree of the latest ends.
type running struct {
	calls    []*traffic.Call
	unsorted bool
	ends     []int64 // of node i, the latest end below; its children are 2i and 2i+1, leaves begin at size
	size     int     // 0 until build
}

func (l *running) add(c *traffic.Call) {
	l.unsorted = l.unsorted || len(l.calls) > 0 && order(l.calls[len(l.calls)-1], c) > 0
	l.calls = append(l.calls, c)
}

// build makes the list ready to be asked.
func (l *running) build() {
	if l.size > 0 {
		return
	}
	if l.unsorted {
		slices.SortFunc(l.calls, order)
	}
	l.size = 1
	for l.size < len(l.calls) {
		l.size *= 2
	}
	l.ends = make([]int64, 2*l.size)
	for i := range l.ends {
		l.ends[i] = math.MinInt64
	}
	for i, c := range l.calls {
		l.ends[l.size+i] = ended(c)
	}
	for i := l.size - 1; i > 0; i-- {
		l.ends[i] = max(l.ends[2*i], l.ends[2*i+1])
	}
}

// begun is how many calls began by a time.
func (l *running) begun(t int64) int {
	i, _ := slices.BinarySearchFunc(l.calls, t, func(c *traffic.Call, t int64) int {
		if c.Start <= t {
			return -1
		}
		return 1
	})
	return i
}

// at visits the calls that were being answered, the latest first, until visit says stop; it returns false then.
func (l *running) at(t int64, visit func(*traffic.Call) bool) bool {
	l.build()
	return l.below(1, 0, l.size, l.begun(t), t, visit)
}

// below visits leaves from..from+width of a node as far as they lie before end.
func (l *running) below(node, from, width, end int, t int64, visit func(*traffic.Call) bool) bool {
	if from >= end || l.ends[node] < t {
		return true
	}
	if width == 1 {
		return visit(l.calls[from])
	}
	half := width / 2
	return l.below(2*node+1, from+half, half, end, t, visit) && l.below(2*node, from, half, end, t, visit)
}
