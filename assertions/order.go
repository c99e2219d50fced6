package assertions

import (
	"fmt"
	"math"
	"sort"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

func orderAggregates() []aggregate {
	return []aggregate{
		{name: "before", signature: "before(A, B)", section: sectionOrder,
			doc:     "No row that matches B begins before a row that matches A has ended. Inconclusive when no row matches B.",
			example: `before(path == "/login", path == "/checkout")`, required: 2, params: []parameter{predicate, predicate},
			result: always(cel.BoolType), evaluate: before},
		{name: "then", signature: "then(A, B, duration)", section: sectionOrder,
			doc:     "After every row that matches A ends, a row that matches B begins within the duration. A row too near the window's end leaves it open.",
			example: `then(path == "/orders" && method == "POST", dst.service.name == "payment", duration("2s"))`, required: 3,
			params: []parameter{predicate, predicate, span}, result: always(cel.BoolType), evaluate: then},
		{name: "eventually", signature: "eventually(P, duration)", section: sectionOrder,
			doc:     "A row that matches P begins within the duration after the window opened.",
			example: `eventually(path == "/ready" && status_code == 200, duration("5s"))`, required: 2, params: []parameter{predicate, span},
			result: always(cel.BoolType), evaluate: eventually},
		{name: "never_after", signature: "never_after(E, P, duration)", section: sectionOrder,
			doc:     "After a row that matches E ends, no row that matches P begins within the duration. Inconclusive when no row matches E.",
			example: `never_after(path == "/logout", path == "/account", duration("10s"))`, required: 3,
			params: []parameter{predicate, predicate, span}, result: always(cel.BoolType), evaluate: neverAfter},
		{name: "stable", signature: "stable(x, duration)", section: sectionOrder,
			doc:     "x does not flap: once it has changed from one row to the next, in the order in which they begin, it keeps its value for at least the duration.",
			example: `stable(dst.build, duration("10s"))`, required: 2, params: []parameter{anything, span}, result: always(cel.BoolType), evaluate: stable},
	}
}

// twoReadings evaluates a statement about rows with unknown predicates twice: as bad and as good for it as they could be.
// statement is asked with the rows of each argument and returns whether it holds, whether that is decided by the
// window's end, and the rows that break it.
func twoReadings(yes, open [][]int, grows []bool, statement func(rows [][]int) (holds, cut bool, hits []int)) result {
	reading := func(generous bool) [][]int {
		var rows [][]int
		for i := range yes {
			rows = append(rows, yes[i])
			if grows[i] == generous {
				rows[i] = merge(yes[i], open[i])
			}
		}
		return rows
	}
	worst, worstCut, hits := statement(reading(false))
	best, bestCut, _ := statement(reading(true))
	r := result{hits: hits}
	for _, o := range open {
		r.open = merge(r.open, o)
	}
	r.value = threeValued(worst && !worstCut, !best && !bestCut)
	if worst && best && (worstCut || bestCut) {
		r.note = "the window ended before it could be decided"
	}
	return r
}

func merge(a, b []int) []int {
	all := append(append([]int(nil), a...), b...)
	sort.Ints(all)
	return all
}

func before(s *selection, t *term) (result, error) {
	a, _, aOpen, _, err := s.split(t.args[0].row)
	if err != nil {
		return result{}, err
	}
	b, _, bOpen, _, err := s.split(t.args[1].row)
	if err != nil {
		return result{}, err
	}
	r := twoReadings([][]int{a, b}, [][]int{aOpen, bOpen}, []bool{true, false}, func(rows [][]int) (bool, bool, []int) {
		ended := int64(math.MaxInt64)
		for _, i := range rows[0] {
			ended = min(ended, s.ends(i))
		}
		var early []int
		for _, i := range rows[1] {
			if s.begins(i) < ended {
				early = append(early, i)
			}
		}
		return len(early) == 0, false, early
	})
	r.n, r.shown = len(s.rows), fmt.Sprintf("%d of %d too early", len(r.hits), len(b))
	if len(b) == 0 {
		r.value, r.note = threeValued(false, false), "no row matches "+t.args[1].text
	}
	if s.hidden {
		r.value = threeValued(false, false)
	}
	return r, nil
}

func then(s *selection, t *term) (result, error) {
	return follow(s, t, true)
}

func neverAfter(s *selection, t *term) (result, error) {
	return follow(s, t, false)
}

// follow asks whether a row of the second argument begins within the duration after each row of the first: it must for
// then, and must not for never_after.
func follow(s *selection, t *term, wanted bool) (result, error) {
	a, _, aOpen, _, err := s.split(t.args[0].row)
	if err != nil {
		return result{}, err
	}
	b, _, bOpen, _, err := s.split(t.args[1].row)
	if err != nil {
		return result{}, err
	}
	within := int64(t.args[2].at)
	r := twoReadings([][]int{a, b}, [][]int{aOpen, bOpen}, []bool{false, wanted}, func(rows [][]int) (bool, bool, []int) {
		starts := make([]int64, len(rows[1]))
		for k, i := range rows[1] {
			starts[k] = s.begins(i)
		}
		cut := false
		var hits []int
		for _, i := range rows[0] {
			end := s.ends(i)
			if end == math.MaxInt64 {
				cut = true
				continue
			}
			k := sort.Search(len(starts), func(k int) bool { return starts[k] >= end })
			found := k < len(starts) && starts[k]-end <= within
			closed := s.end == 0 || end+within <= s.end
			switch {
			case found && !wanted:
				hits = append(hits, rows[1][k])
			case !found && wanted && closed:
				hits = append(hits, i)
			case !found && !closed:
				cut = true
			}
		}
		return len(hits) == 0, cut && len(hits) == 0, hits
	})
	r.n, r.shown = len(s.rows), fmt.Sprintf("%d of %d broke it", len(r.hits), len(a))
	if len(a) == 0 {
		r.value, r.note = threeValued(false, false), "no row matches "+t.args[0].text
	}
	if s.hidden && (wanted || r.value != types.False) {
		r.value = threeValued(false, false)
	}
	return r, nil
}

func eventually(s *selection, t *term) (result, error) {
	yes, _, open, _, err := s.split(t.args[0].row)
	if err != nil {
		return result{}, err
	}
	within := int64(t.args[1].at)
	start := s.start
	if start == 0 && len(s.rows) > 0 {
		start = s.begins(0)
	}
	r := twoReadings([][]int{yes}, [][]int{open}, []bool{true}, func(rows [][]int) (bool, bool, []int) {
		for _, i := range rows[0] {
			if s.begins(i)-start <= within {
				return true, false, nil
			}
		}
		return false, s.end != 0 && start+within > s.end, rows[0]
	})
	r.n, r.shown = len(s.rows), fmt.Sprintf("%d rows match", len(yes))
	if r.value != types.True && s.hidden {
		r.value = threeValued(false, false)
	}
	if types.IsUnknown(r.value) && len(open) == 0 && !s.hidden {
		r.note = "the window ended before " + formatDuration(durationOf(within)) + " had passed"
	}
	return r, nil
}
