package assertions

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// atOnce walks over beginnings and ends. A row without an end lasts.
func atOnce(s *selection, t *term) (result, error) {
	type edge struct {
		at   int64
		step int
		row  int
	}
	var edges []edge
	var open []int // how long these were under way is not known
	for i := range s.rows {
		edges = append(edges, edge{s.begins(i), 1, i}, edge{s.ends(i), -1, i})
		if c := s.rows[i].Call; c != nil && c.ClockStepped() {
			open = append(open, i)
		}
	}
	// What ends when another begins is not under way with it.
	slices.SortStableFunc(edges, func(a, b edge) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.step, b.step)) })
	under := map[int]bool{}
	var most []int
	for _, x := range edges {
		if x.step < 0 {
			delete(under, x.row)
			continue
		}
		if under[x.row] = true; len(under) > len(most) {
			most = most[:0]
			for i := range under {
				most = append(most, i)
			}
		}
		if s.ends(x.row) == x.at { // its end came before its beginning
			delete(under, x.row)
		}
	}
	slices.Sort(most)
	e := counted(len(most), min(len(open), len(s.rows)-len(most)), s.hidden)
	e.n, e.hits, e.comparer = len(s.rows), most, t.comparer
	return result{value: e, n: e.n, hits: most, open: open}, nil
}

// top is open where rows are unknown: they could change which values are the most.
func top(s *selection, t *term) (result, error) {
	column, err := s.column(t.args[0].row)
	if err != nil {
		return result{}, err
	}
	byValue := map[string][]int{}
	var open []int
	for i, c := range column {
		switch c.state {
		case unknown:
			open = append(open, i)
		case known:
			byValue[plain(c.value)] = append(byValue[plain(c.value)], i)
		}
	}
	values := sortedKeys(byValue)
	slices.SortStableFunc(values, func(a, b string) int { return cmp.Compare(len(byValue[b]), len(byValue[a])) })
	set := &names{open: s.hidden || len(open) > 0, comparer: t.setUses, estimates: t.comparer}
	for _, v := range values[:min(len(values), int(t.args[1].at))] {
		set.elements = append(set.elements, element{names: []string{v}, rows: byValue[v]})
	}
	return result{value: set, n: len(s.rows), open: open}, nil
}

// stable looks at each span in which x keeps one value. The first began before the window, and the last goes on after it.
func stable(s *selection, t *term) (result, error) {
	column, err := s.column(t.args[0].row)
	if err != nil {
		return result{}, err
	}
	r := result{}
	var rows []int
	for i, c := range column {
		switch c.state {
		case unknown:
			r.open = append(r.open, i)
		case known:
			rows = append(rows, i)
		}
	}
	slices.SortStableFunc(rows, func(a, b int) int { return cmp.Compare(s.begins(a), s.begins(b)) })
	changes, since := 0, 0
	for k := 1; k < len(rows); k++ {
		if plain(column[rows[k]].value) == plain(column[rows[k-1]].value) {
			continue
		}
		if kept := s.begins(rows[k]) - s.begins(rows[since]); changes > 0 && float64(kept) < t.args[1].at {
			r.hits = append(r.hits, rows[since])
		}
		changes, since = changes+1, k
	}
	r.n = len(rows)
	r.shown = fmt.Sprintf("%d changes, %d values kept for less than %s", changes, len(r.hits), time.Duration(t.args[1].at))
	r.value = threeValued(len(r.hits) == 0 && len(r.open) == 0 && !s.hidden && r.n > 0, len(r.hits) > 0)
	if r.n == 0 {
		r.note = "no row has " + t.args[0].text
	}
	return r, nil
}
