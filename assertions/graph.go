package assertions

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/devloop-io/devloop/dissect/derive"
	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

func graphAggregates() []aggregate {
	return []aggregate{
		{name: "reuse_ratio", signature: "reuse_ratio()", section: sectionGraph, unit: "0..1",
			doc:     "The share of calls that found their connection open: 1 - (calls that were the first on theirs) / calls. A fact of the window.",
			example: `reuse_ratio() >= 0.9`, result: always(estimateDouble), evaluate: reuseRatio},
		{name: "amplification", signature: "amplification()", section: sectionGraph, unit: "attempts per request",
			doc:     "Calls, retries included, per logical request. A fact of the window.",
			example: `amplification() <= 1.5`, result: always(estimateDouble), evaluate: amplification},
		{name: "edges", signature: "edges()", section: sectionGraph,
			doc:     "The set of who calls whom: `a -> b`. Ask it .subset_of([…]), .contains(…) or .size(); `*` and `host:port` may be used on both sides.",
			example: `edges().subset_of(["frontend -> *", "checkout -> payment:8080"])`, result: always(namesType), evaluate: edges},
		{name: "destinations", signature: "destinations()", section: sectionGraph,
			doc:     "The set of destinations as `name:port`. A pattern may be `host:port`, `host`, `*.example.com:443`, an address or an address range.",
			example: `destinations().subset_of(["api.stripe.com:443"])`, result: always(namesType), evaluate: destinations},
		{name: "calls_per", signature: "calls_per(parent, child)", section: sectionGraph, unit: "calls per parent",
			doc:     "For every call that matches parent, how many calls that match child its server made meanwhile: by trace where both carry one, else by nesting in time on the same workload. Where several parents could have caused a child, the count is an interval. It is not a number yet: max, mean, percentiles are. `on` must select both.",
			example: `max(calls_per(path == "/cart", dst.service.name == "catalogue")) <= 3`, required: 2,
			params: []parameter{predicate, predicate}, result: always(groupsInt), evaluate: callsPer},
	}
}

// selectedCalls are the calls of the selection: its rows, or those on its connections.
func (s *selection) selectedCalls() (calls []*traffic.Call, row map[*traffic.Call]int) {
	row = map[*traffic.Call]int{}
	byConn := map[uint64]int{}
	for i := range s.rows {
		if c := s.rows[i].Call; c != nil {
			if c.Protocol != traffic.ProtoTLS { // a handshake carries no calls that can be seen
				calls = append(calls, c)
				row[c] = i
			}
		} else {
			byConn[s.rows[i].Conn.ID] = i
		}
	}
	for _, c := range s.calls {
		if _, done := row[c]; done || c.Protocol == traffic.ProtoTLS {
			continue
		}
		if i, ok := byConn[c.ConnID]; ok {
			calls = append(calls, c)
			row[c] = i
		}
	}
	return calls, row
}

func reuseRatio(s *selection, t *term) (result, error) {
	calls, row := s.selectedCalls()
	e := &estimate{typ: estimateDouble, n: len(calls), comparer: t.comparer, value: math.NaN(), low: 0, high: 1}
	r := result{value: e, n: len(calls)}
	if len(calls) == 0 {
		r.note = "no calls were decoded on these connections"
		return r, nil
	}
	for _, c := range calls {
		if opensConnection(&s.rows[row[c]], c) {
			e.misses = append(e.misses, row[c])
		} else {
			e.hits = append(e.hits, row[c])
		}
	}
	e.value = float64(len(e.hits)) / float64(len(calls))
	if !s.hidden {
		e.low, e.high, e.exact = e.value, e.value, true
	}
	return r, nil
}

// opensConnection reports whether a connection was opened for a call: it is the first on one that began in this window.
func opensConnection(r *filter.Row, c *traffic.Call) bool {
	return c.Index == 0 && (r.Conn == nil || r.Conn.Opened)
}

func amplification(s *selection, t *term) (result, error) {
	calls, row := s.selectedCalls()
	e := &estimate{typ: estimateDouble, n: len(calls), comparer: t.comparer, value: math.NaN(), low: 0, high: math.Inf(1)}
	r := result{value: e, n: len(calls)}
	originals := 0
	for _, c := range calls {
		if c.Retry == nil || c.Retry.Attempt <= 1 {
			originals++
		} else {
			e.hits = append(e.hits, row[c])
		}
	}
	if originals == 0 {
		r.note = "the first attempts lie outside of what on selects"
		return r, nil
	}
	e.value = float64(len(calls)) / float64(originals)
	if !s.hidden {
		e.low, e.high, e.exact = e.value, e.value, true
	}
	return r, nil
}

func edges(s *selection, t *term) (result, error) {
	return s.set(t, func(src, dst *traffic.Endpoint, sni string) []string {
		from, to := endpointNames(src, "", false), endpointNames(dst, sni, false)
		to = append(to, endpointNames(dst, sni, true)...)
		var all []string
		for _, f := range from {
			for _, x := range to {
				all = append(all, f+" -> "+x)
			}
		}
		return all
	})
}

func destinations(s *selection, t *term) (result, error) {
	return s.set(t, func(_, dst *traffic.Endpoint, sni string) []string { return endpointNames(dst, sni, true) })
}

// endpointNames are what an end answers to, the name that is shown first.
func endpointNames(e *traffic.Endpoint, sni string, port bool) []string {
	var all []string
	add := func(name string) {
		if name == "" {
			return
		}
		if port {
			if e.IP.Is6() && name == e.IP.String() {
				name = "[" + name + "]"
			}
			name += ":" + strconv.Itoa(int(e.Port))
		}
		for _, have := range all {
			if have == name {
				return
			}
		}
		all = append(all, name)
	}
	if e.Outside && e.DNS != "" {
		add(e.DNS)
	}
	add(e.Service)
	add(e.DNS)
	add(e.Pod)
	if len(all) == 0 {
		add(sni) // what the client claims counts only where nothing better is known
	}
	if e.IP.IsValid() {
		add(e.IP.Unmap().String())
	}
	if len(all) == 0 {
		add(e.Process)
	}
	return all
}

func (s *selection) set(t *term, of func(src, dst *traffic.Endpoint, sni string) []string) (result, error) {
	byName := map[string]*element{}
	for i := range s.rows {
		src, dst, sni := rowEnds(&s.rows[i])
		all := of(src, dst, sni)
		if len(all) == 0 {
			continue
		}
		key := fmt.Sprint(all)
		if byName[key] == nil {
			byName[key] = &element{names: all}
		}
		byName[key].rows = append(byName[key].rows, i)
	}
	set := &names{open: s.hidden, comparer: t.setUses, estimates: t.comparer}
	for _, e := range byName {
		set.elements = append(set.elements, *e)
	}
	sort.Slice(set.elements, func(a, b int) bool {
		return fmt.Sprint(set.elements[a].names) < fmt.Sprint(set.elements[b].names)
	})
	return result{value: set, n: len(s.rows)}, nil
}

// rowEnds are the two ends of a row, and the name that its TLS handshake asked for.
func rowEnds(r *filter.Row) (src, dst *traffic.Endpoint, sni string) {
	if r.Conn != nil {
		sni = r.Conn.SNI
	}
	if r.Call != nil {
		if r.Call.TLS != nil {
			sni = r.Call.TLS.SNI
		}
		return &r.Call.Src, &r.Call.Dst, sni
	}
	return &r.Conn.Src, &r.Conn.Dst, sni
}

func callsPer(s *selection, t *term) (result, error) {
	parents, _, parentsOpen, _, err := s.split(t.args[0].row)
	if err != nil {
		return result{}, err
	}
	children, _, childrenOpen, _, err := s.split(t.args[1].row)
	if err != nil {
		return result{}, err
	}
	byParent := make(map[int]*group, len(parents))
	for _, p := range parents {
		byParent[p] = &group{key: fmt.Sprintf("%012d", p), rows: []int{p}}
	}
	causes := s.causes(merge(parents, parentsOpen))
	count := func(child int, sure bool) {
		candidates := causes(child)
		for _, p := range candidates {
			g := byParent[p]
			if g == nil { // whether it is a parent at all is not known
				continue
			}
			g.high++
			g.rows = append(g.rows, child)
			if sure && len(candidates) == 1 {
				g.low++
			}
		}
	}
	for _, c := range children {
		count(c, true)
	}
	for _, c := range childrenOpen {
		count(c, false)
	}
	g := &groups{hidden: s.hidden, confidence: s.confidence, comparer: t.comparer, n: len(parents)}
	for _, p := range parents {
		g.all = append(g.all, *byParent[p])
	}
	r := result{value: g, n: len(parents), open: merge(parentsOpen, childrenOpen)}
	if len(parents) == 0 {
		r.note = "no row matches " + t.args[0].text
		g.hidden = true // nothing can be said of parents that are not there
		g.all = nil
	}
	return r, nil
}

// causes finds the rows among parents whose server could have made the call of a row.
func (s *selection) causes(parents []int) func(child int) []int {
	row := make(map[*traffic.Call]int, len(parents))
	var calls []*traffic.Call
	for _, i := range parents {
		if c := s.rows[i].Call; c != nil {
			row[c] = i
			calls = append(calls, c)
		}
	}
	index := derive.NewCauses(calls)
	return func(child int) []int {
		c := s.rows[child].Call
		if c == nil {
			return nil
		}
		var all []int
		for p := range index.Of(c) {
			all = append(all, row[p])
		}
		slices.Sort(all)
		return all
	}
}

func durationOf(ns int64) time.Duration { return time.Duration(ns) }
