package query

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/devloop-io/devloop/assertions/stat"
	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// maxGroups bounds the endpoints, edges and the like that one answer is made from; what goes beyond is counted together.
const maxGroups = 5000

// CompareTraffic says what differs between two sets of traffic.
func CompareTraffic(ctx context.Context, a, b *Database, r CompareRequest) (*Comparison, error) {
	limit, err := bounded(r.Limit, 50, 500)
	if err != nil {
		return nil, err
	}
	var sides [2]*side
	for i, x := range []struct {
		db   *Database
		side Side
	}{{a, r.A}, {b, r.B}} {
		if sides[i], err = readSide(ctx, x.db, x.side, r.KFL); err != nil {
			return nil, err
		}
	}
	c := comparing{a: sides[0], b: sides[1]}
	out := &Comparison{
		A: c.a.totals, B: c.b.totals, Alpha: alpha, Note: untrusted,
		Endpoints: c.endpoints(), NewEdges: c.edges(c.b, c.a), LostEdges: c.edges(c.a, c.b), PerRequest: c.perRequest(), Fields: c.fields(),
		Basis: "calls of one span of traffic on each side: calls of one span share its warm-up and its neighbours, so a difference in latency that matters should show again in another pair",
	}
	out.Findings = c.findings(out)
	var more [5]bool
	out.Endpoints, more[0] = head(out.Endpoints, limit)
	out.NewEdges, more[1] = head(out.NewEdges, limit)
	out.LostEdges, more[2] = head(out.LostEdges, limit)
	out.PerRequest, more[3] = head(out.PerRequest, limit)
	out.Fields, more[4] = head(out.Fields, limit)
	out.Truncated = slices.Contains(more[:], true)
	return out, nil
}

// side is what is remembered of one side.
type side struct {
	totals    SideTotals
	endpoints map[string]*endpointSums
	edges     map[edgeKey]*Edge
	caused    map[causeKey]int
	shapes    shapes
}

type edgeKey struct{ src, dst, proto string }

// causeKey is an endpoint and one that its requests call.
type causeKey struct{ request, callee string }

// endpointSums are what is remembered of an endpoint.
type endpointSums struct {
	calls, errors int
	requests      int // calls that could cause others: not those of which the answer alone was seen
	statuses      map[string]int
	latency       sample
	example       string
	exampleFailed bool
}

// otherEndpoints is where endpoints go that find no room.
const otherEndpoints = "(others)"

func readSide(ctx context.Context, db *Database, x Side, kfl string) (*side, error) {
	v, err := openSurvey(ctx, db, Selection{Scope: x.Scope, KFL: kfl})
	if err != nil {
		return nil, err
	}
	s := &side{endpoints: map[string]*endpointSums{}, edges: map[edgeKey]*Edge{}, caused: map[causeKey]int{}}
	recent := newRecent[string]()
	var first, last int64
	for c, err := range v.calls() {
		if err != nil {
			return nil, err
		}
		if x.Revision != "" && c.Revision != x.Revision {
			continue
		}
		if first == 0 {
			first = c.Start
		}
		last = max(last, c.Start)
		s.add(c, recent)
	}
	s.totals.Reading = v.reading("calls")
	s.totals.Seconds = max(float64(last-first)/1e9, 0)
	s.totals.ErrorRate = share(s.totals.Errors, s.totals.Calls)
	if x.Revision != "" && s.totals.Calls == 0 {
		s.totals.Why = cmp.Or(s.totals.Why, fmt.Sprintf("no call belongs to revision %s", x.Revision))
	}
	return s, nil
}

func (s *side) add(c *traffic.Call, recent *recent[string]) {
	s.totals.Calls++
	if failure(c) {
		s.totals.Errors++
	}
	key := endpointOf(c)
	e := s.endpoints[key]
	if e == nil {
		if len(s.endpoints) >= maxGroups {
			key = otherEndpoints
		}
		if e = s.endpoints[key]; e == nil {
			e = &endpointSums{statuses: map[string]int{}}
			s.endpoints[key] = e
		}
	}
	e.add(c)
	s.edge(c)
	if parent, ok := recent.get(c.Parent); ok && (len(s.caused) < maxGroups || s.caused[causeKey{parent, key}] > 0) {
		s.caused[causeKey{parent, key}]++
	}
	recent.put(c.ID, key)
	s.shapes.add(key, c)
}

func (e *endpointSums) add(c *traffic.Call) {
	e.calls++
	failed := failure(c)
	if failed {
		e.errors++
	}
	if e.example == "" || failed && !e.exampleFailed {
		e.example, e.exampleFailed = c.ID, failed
	}
	if c.State != traffic.StateHalf {
		e.requests++
	}
	if word := result(c); len(e.statuses) < 50 || e.statuses[word] > 0 {
		e.statuses[word]++
	}
	if c.State == traffic.StateComplete {
		e.latency.add(c.Latency())
	}
}

func (s *side) edge(c *traffic.Call) {
	k := edgeKey{nameOf(&c.Src), nameOf(&c.Dst), c.Protocol}
	e := s.edges[k]
	if e == nil {
		if len(s.edges) >= maxGroups {
			return
		}
		e = &Edge{Src: k.src, Dst: k.dst, Protocol: k.proto, Example: c.ID, Outside: leaves(&filter.Row{Call: c})}
		s.edges[k] = e
	}
	e.Calls++
}

// recent remembers something of the newest calls by their ID: parents begin before their children, and rarely long before.
type recent[T any] struct {
	values map[string]T
	ring   []string
	at     int
}

// maxRecent bounds the calls that may be parents.
const maxRecent = 200_000

func newRecent[T any]() *recent[T] { return &recent[T]{values: map[string]T{}} }

func (r *recent[T]) get(id string) (T, bool) {
	v, ok := r.values[id]
	return v, ok && id != ""
}

func (r *recent[T]) put(id string, v T) {
	if len(r.ring) < maxRecent {
		r.ring = append(r.ring, id)
	} else {
		delete(r.values, r.ring[r.at])
		r.ring[r.at] = id
		r.at = (r.at + 1) % maxRecent
	}
	r.values[id] = v
}

// comparing is both sides.
type comparing struct{ a, b *side }

func share(k, n int) float64 {
	if n == 0 {
		return 0
	}
	return float64(k) / float64(n)
}

// both are the keys of two maps, sorted.
func both[K cmp.Ordered, V any](a, b map[K]V) []K {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}

// endpoints are the changes of all endpoints, what changed most first.
func (c comparing) endpoints() []EndpointChange {
	list := []EndpointChange{}
	var none endpointSums
	var tested []int
	var p []float64
	for _, key := range both(c.a.endpoints, c.b.endpoints) {
		a, b := c.a.endpoints[key], c.b.endpoints[key]
		if a == nil {
			a = &none
		}
		if b == nil {
			b = &none
		}
		x := EndpointChange{
			Endpoint: key, Calls: [2]int{a.calls, b.calls}, Rate: rateRatio(a.calls, c.a.totals.Seconds, b.calls, c.b.totals.Seconds),
			Errors: [2]int{a.errors, b.errors}, ErrorP: stat.Fisher(a.errors, a.calls, b.errors, b.calls), StatusesA: a.statuses, StatusesB: b.statuses,
			P50: [2]float64{a.latency.msAt(50), b.latency.msAt(50)}, P99: [2]float64{a.latency.msAt(99), b.latency.msAt(99)},
			Answered: [2]int{a.latency.n, b.latency.n}, Example: cmp.Or(b.example, a.example),
		}
		if a.latency.n > 0 && b.latency.n > 0 {
			x.Shift = shifted(&a.latency, &b.latency)
			tested, p = append(tested, len(list)), append(p, x.Shift.P)
		}
		list = append(list, x)
	}
	for i, adjusted := range stat.BenjaminiHochberg(p) {
		list[tested[i]].Shift.PAdj = adjusted
	}
	for i := range list {
		list[i].judge()
	}
	slices.SortStableFunc(list, func(a, b EndpointChange) int {
		return cmp.Or(cmp.Compare(a.gravity(), b.gravity()), -cmp.Compare(a.size(), b.size()))
	})
	return list
}

func shifted(a, b *sample) *Shift {
	x, y := a.inOrder(), b.inOrder()
	middle, low, high := shift(x, y)
	s := &Shift{MS: ms(middle), Low: ms(low), High: ms(high), Sampled: a.partial() || b.partial()}
	s.P, s.CLES = rankTest(x, y)
	return s
}

// noticeable is the share of the median by which a latency must have moved to be called slower or faster.
const noticeable = 0.1

// judge says in a word what changed.
func (x *EndpointChange) judge() {
	a, b := share(x.Errors[0], x.Calls[0]), share(x.Errors[1], x.Calls[1])
	least := noticeable * x.P50[0]
	switch {
	case x.Calls[0] == 0:
		x.Change = "new"
	case x.Calls[1] == 0:
		x.Change = "lost"
	case x.ErrorP < alpha && b > a+0.01:
		x.Change = "failing"
	case x.ErrorP < alpha && a > b+0.01:
		x.Change = "mended"
	case x.Shift == nil || stat.LeastP(x.Answered[0], x.Answered[1]) >= alpha:
		x.Change, x.Needs = "unsure", needed
	case x.Shift.PAdj < alpha && x.Shift.Low > least:
		x.Change = "slower"
	case x.Shift.PAdj < alpha && x.Shift.High < -least:
		x.Change = "faster"
	case x.Shift.High <= least && x.Shift.Low >= -least || x.Shift.PAdj >= alpha && math.Max(x.Shift.High, -x.Shift.Low) < 2*least:
		x.Change = "same"
	default:
		x.Change = "unsure"
	}
}

var gravities = []string{"failing", "slower", "new", "lost", "mended", "faster", "unsure", "same"}

func (x *EndpointChange) gravity() int { return slices.Index(gravities, x.Change) }

// size orders changes of one kind.
func (x *EndpointChange) size() float64 {
	switch x.Change {
	case "failing", "mended":
		return math.Abs(share(x.Errors[0], x.Calls[0]) - share(x.Errors[1], x.Calls[1]))
	case "slower", "faster":
		return math.Abs(x.Shift.MS)
	}
	return float64(x.Calls[0] + x.Calls[1])
}

// edges are those of one side that another has not, most calls first.
func (c comparing) edges(of, not *side) []Edge {
	list := []Edge{}
	for k, e := range of.edges {
		if not.edges[k] == nil {
			list = append(list, *e)
		}
	}
	slices.SortFunc(list, func(a, b Edge) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Src, b.Src), cmp.Compare(a.Dst, b.Dst), cmp.Compare(a.Protocol, b.Protocol))
	})
	return list
}

// perRequest are the numbers of calls per request that differ.
func (c comparing) perRequest() []CallsPer {
	list := []CallsPer{}
	keys := map[causeKey]bool{}
	for _, s := range []*side{c.a, c.b} {
		for k := range s.caused {
			keys[k] = true
		}
	}
	for k := range keys {
		a, b := c.a.endpoints[k.request], c.b.endpoints[k.request]
		if a == nil || b == nil || a.requests == 0 || b.requests == 0 {
			continue // a new endpoint says it all
		}
		x := CallsPer{Request: k.request, Callee: k.callee, Requests: [2]int{a.requests, b.requests}, Calls: [2]int{c.a.caused[k], c.b.caused[k]}}
		x.Mean = [2]float64{share(x.Calls[0], x.Requests[0]), share(x.Calls[1], x.Requests[1])}
		x.Ratio = rateRatio(x.Calls[0], float64(x.Requests[0]), x.Calls[1], float64(x.Requests[1]))
		if x.Ratio.Low > 1 || x.Ratio.High < 1 && x.Calls[0] > 0 {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(a, b CallsPer) int {
		return cmp.Or(cmp.Compare(math.Abs(b.Mean[1]-b.Mean[0]), math.Abs(a.Mean[1]-a.Mean[0])), cmp.Compare(a.Request, b.Request), cmp.Compare(a.Callee, b.Callee))
	})
	return list
}

// findings are what changed, in sentences.
func (c comparing) findings(x *Comparison) []string {
	out := []string{}
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, e := range x.Endpoints {
		switch e.Change {
		case "failing", "mended":
			say("%s: %d of %d calls fail, %d of %d before (p %.2g)", e.Endpoint, e.Errors[1], e.Calls[1], e.Errors[0], e.Calls[0], e.ErrorP)
		case "slower", "faster":
			say("%s: %s by %.3g ms (%.3g to %.3g; n %d and %d)", e.Endpoint, e.Change, math.Abs(e.Shift.MS), min(math.Abs(e.Shift.Low), math.Abs(e.Shift.High)),
				max(math.Abs(e.Shift.Low), math.Abs(e.Shift.High)), e.Answered[0], e.Answered[1])
		case "new":
			say("%s: new, %d calls", e.Endpoint, e.Calls[1])
		case "lost":
			say("%s: not called any more, %d calls before", e.Endpoint, e.Calls[0])
		}
	}
	for _, e := range x.NewEdges {
		say("%s → %s (%s) is new, %d calls%s", e.Src, e.Dst, e.Protocol, e.Calls, map[bool]string{true: ": it leaves the system"}[e.Outside])
	}
	for _, e := range x.LostEdges {
		say("%s → %s (%s) is gone, %d calls before", e.Src, e.Dst, e.Protocol, e.Calls)
	}
	for _, p := range x.PerRequest {
		say("%s: %.3g calls of %s a request, %.3g before", p.Request, p.Mean[1], p.Callee, p.Mean[0])
	}
	for _, f := range x.Fields {
		switch f.Change {
		case "another type":
			say("%s: %s %s is %s, was %s", f.Endpoint, f.Place, f.Name, f.Types[1], f.Types[0])
		default:
			say("%s: %s %s in %d of %d, %d of %d before", f.Endpoint, f.Place, f.Name, f.Present[1], f.Of[1], f.Present[0], f.Of[0])
		}
	}
	const most = 40
	if len(out) > most {
		rest := len(out) - most
		out = append(out[:most], fmt.Sprintf("and %d more", rest))
	}
	return out
}
