package assertions

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"

	"github.com/devloop-io/devloop/traffic"
)

// pathAggregates speak of what led to what.
func pathAggregates() []aggregate {
	return []aggregate{
		{name: "fan_out", signature: "fan_out(parent)", section: sectionGraph, unit: "destinations per parent",
			doc:     "For every call that matches parent, how many different destinations its server asked meanwhile; by trace or by nesting in time, as calls_per. It is not a number yet: max, mean, percentiles are.",
			example: `max(fan_out(path == "/checkout")) <= 4`, required: 1, params: []parameter{predicate}, result: always(groupsInt), evaluate: fanOut},
		{name: "path", signature: "path(A, B)", section: sectionGraph,
			doc:     "A call that matches B was caused, directly or through others that on selects, by one that matches A.",
			example: `!path(src.service.name == "frontend", dst.service.name == "ledger")`, required: 2, params: []parameter{predicate, predicate},
			result: always(cel.BoolType), evaluate: leadsTo},
		{name: "cycles", signature: "cycles()", section: sectionGraph,
			doc:     "The set of services that call each other in a circle, as `a -> b -> a`.",
			example: `cycles().size() == 0`, result: always(namesType), evaluate: cycles},
		{name: "deadlines_kept", signature: "deadlines_kept()", section: sectionGraph,
			doc:     "No gRPC call may wait longer than what is left of the deadline of the call that caused it. Calls whose cause is not known for certain leave it open. Inconclusive when no call with a deadline was caused by one with a deadline.",
			example: `deadlines_kept()`, result: always(cel.BoolType), evaluate: deadlinesKept},
		{name: "orphan_work", signature: "orphan_work()", section: sectionGraph, unit: "duration",
			doc:     "The longest time for which a call went on after the one that caused it had ended without its answer: work that nobody waits for any more. A fact of the window.",
			example: `orphan_work() <= duration("50ms")`, result: always(estimateDuration), evaluate: orphanWork},
	}
}

// causeUnsure is why an answer about causes is open, and what would decide it.
const causeUnsure = "which call caused which is not known for certain: with trace context (traceparent) it would be"

// fanOut counts destinations as callsPer counts calls.
func fanOut(s *selection, t *term) (result, error) {
	parents, _, open, _, err := s.split(t.args[0].row)
	if err != nil {
		return result{}, err
	}
	type asked struct{ sure, maybe map[string]bool }
	byParent := make(map[int]*asked, len(parents))
	rows := map[int][]int{}
	for _, p := range parents {
		byParent[p], rows[p] = &asked{map[string]bool{}, map[string]bool{}}, []int{p}
	}
	causes := s.causes(merge(parents, open))
	for i := range s.rows {
		candidates := causes(i)
		if len(candidates) == 0 {
			continue
		}
		_, dst, sni := rowEnds(&s.rows[i])
		name := strings.Join(endpointNames(dst, sni, true), " ")
		for _, p := range candidates {
			a := byParent[p]
			if a == nil {
				continue
			}
			rows[p], a.maybe[name] = append(rows[p], i), true
			if len(candidates) == 1 {
				a.sure[name] = true
			}
		}
	}
	g := &groups{hidden: s.hidden, confidence: s.confidence, comparer: t.comparer, n: len(parents)}
	for _, p := range parents {
		g.all = append(g.all, group{key: fmt.Sprintf("%012d", p), low: len(byParent[p].sure), high: len(byParent[p].maybe), rows: rows[p]})
	}
	r := result{value: g, n: len(parents), open: open}
	if len(parents) == 0 {
		r.note, g.hidden = "no row matches "+t.args[0].text, true // nothing can be said of parents that are not there
	}
	return r, nil
}

// leadsTo goes from each call that matches B to its causes, and theirs. It holds for certain along causes without an alternative.
func leadsTo(s *selection, t *term) (result, error) {
	from, _, fromOpen, _, err := s.split(t.args[0].row)
	if err != nil {
		return result{}, err
	}
	to, _, toOpen, _, err := s.split(t.args[1].row)
	if err != nil {
		return result{}, err
	}
	causes := s.causes(s.everyRow())
	reaches := func(goals, starts []int, sure bool) (found []int) {
		goal := map[int]bool{}
		for _, i := range goals {
			goal[i] = true
		}
		for _, start := range starts {
			seen := map[int]bool{start: true}
			for next := []int{start}; len(next) > 0; {
				i := next[0]
				next = next[1:]
				candidates := causes(i)
				if sure && len(candidates) != 1 {
					continue
				}
				if slices.ContainsFunc(candidates, func(p int) bool { return goal[p] }) {
					found = append(found, start)
					break
				}
				for _, p := range candidates {
					if !seen[p] {
						seen[p] = true
						next = append(next, p)
					}
				}
			}
		}
		return found
	}
	certain := reaches(from, to, true)
	possible := len(certain) > 0 || s.hidden || len(reaches(merge(from, fromOpen), merge(to, toOpen), false)) > 0
	r := result{n: len(s.rows), hits: certain, open: merge(fromOpen, toOpen), shown: fmt.Sprintf("%d of %d", len(certain), len(to))}
	r.value = threeValued(len(certain) > 0, !possible)
	if len(certain) == 0 && possible {
		r.note = causeUnsure
	}
	return r, nil
}

// cycles are the circles in the graph of services, each named from its first service by name.
func cycles(s *selection, t *term) (result, error) {
	next := map[string]map[string][]int{}
	for i := range s.rows {
		src, dst, _ := rowEnds(&s.rows[i])
		if src.Service == "" || dst.Service == "" {
			continue
		}
		if next[src.Service] == nil {
			next[src.Service] = map[string][]int{}
		}
		next[src.Service][dst.Service] = append(next[src.Service][dst.Service], i)
	}
	set := &names{open: s.hidden, comparer: t.setUses, estimates: t.comparer}
	for _, first := range sortedKeys(next) {
		if way := shortestCircle(next, first); way != nil {
			e := element{names: []string{strings.Join(way, " -> ")}}
			for k := 1; k < len(way); k++ {
				e.rows = append(e.rows, next[way[k-1]][way[k]]...)
			}
			slices.Sort(e.rows)
			set.elements = append(set.elements, e)
		}
	}
	return result{value: set, n: len(s.rows)}, nil
}

// shortestCircle is the shortest way from a service back to itself through services that come after it by name, so that each
// circle is found once.
func shortestCircle(next map[string]map[string][]int, first string) []string {
	before := map[string]string{}
	for queue := []string{first}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for _, to := range sortedKeys(next[at]) {
			if to == first {
				way := []string{first}
				for ; at != first; at = before[at] {
					way = append(way, at)
				}
				way = append(way, first)
				slices.Reverse(way)
				return way
			}
			if _, seen := before[to]; !seen && to > first {
				before[to] = at
				queue = append(queue, to)
			}
		}
	}
	return nil
}

// deadlineRounding is what grpc-timeout may lose: its units are coarse, and clients round.
const deadlineRounding = 1e6

func deadlinesKept(s *selection, t *term) (result, error) {
	causes := s.causes(s.everyRow())
	r := result{}
	for i := range s.rows {
		c := s.rows[i].Call
		if c == nil || c.GRPC == nil || c.GRPC.TimeoutNS == 0 {
			continue
		}
		candidates := slices.DeleteFunc(causes(i), func(p int) bool {
			g := s.rows[p].Call.GRPC
			return g == nil || g.TimeoutNS == 0
		})
		if len(candidates) == 0 {
			continue
		}
		r.n++
		late := 0
		for _, p := range candidates {
			parent := s.rows[p].Call
			if left := parent.Start + parent.GRPC.TimeoutNS - c.Start; c.GRPC.TimeoutNS > left+deadlineRounding {
				late++
			}
		}
		switch {
		case late == len(candidates):
			r.hits = append(r.hits, i)
		case late > 0:
			r.open = append(r.open, i)
		}
	}
	r.shown = fmt.Sprintf("%d of %d", r.n-len(r.hits)-len(r.open), r.n)
	r.value = threeValued(r.n > 0 && len(r.hits) == 0 && len(r.open) == 0 && !s.hidden, len(r.hits) > 0)
	switch {
	case r.n == 0:
		r.note = "no call with a deadline was caused by one with a deadline"
	case len(r.hits) == 0 && len(r.open) > 0:
		r.note = causeUnsure
	}
	return r, nil
}

func orphanWork(s *selection, t *term) (result, error) {
	causes := s.causes(s.everyRow())
	e := &estimate{typ: estimateDuration, n: len(s.rows), comparer: t.comparer}
	r := result{value: e, n: len(s.rows)}
	type overrun struct {
		row    int
		ns     float64
		surely bool
	}
	var all []overrun
	for i := range s.rows {
		c := s.rows[i].Call
		if c == nil {
			continue
		}
		candidates := causes(i)
		for _, p := range candidates {
			// Who waits for an answer and does not get one gives up at the call's end.
			if parent := s.rows[p].Call; parent.State == traffic.StateUnanswered && s.ends(i) > parent.End && s.ends(i) != math.MaxInt64 {
				all = append(all, overrun{i, float64(s.ends(i) - parent.End), len(candidates) == 1})
			}
		}
	}
	slices.SortFunc(all, func(a, b overrun) int { return cmp.Or(cmp.Compare(b.ns, a.ns), cmp.Compare(a.row, b.row)) })
	for _, o := range all {
		e.high = max(e.high, o.ns)
		if o.surely {
			e.low = max(e.low, o.ns)
			e.hits = append(e.hits, o.row)
		}
	}
	e.value = e.low
	if s.hidden {
		e.high = math.Inf(1)
	}
	e.exact = e.low == e.high
	r.hits = e.hits
	return r, nil
}
