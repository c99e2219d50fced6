package assertions

import (
	"fmt"
	"math"
	"sort"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/devloop-io/devloop/assertions/stat"
)

// parameter is what an aggregate takes at one place.
type parameter uint8

const (
	predicate   parameter = iota // a truth value per row
	quantity                     // a number or duration per row
	anything                     // any plain value per row
	fraction                     // a constant between 0 and 1
	span                         // a constant duration
	theBaseline                  // the word baseline
	words                        // a constant text
	whole                        // a constant whole number from 1 on
)

// aggregate is one function of the vocabulary. The table of them feeds compilation, docs/checks.md and completion.
type aggregate struct {
	name      string
	signature string
	section   string
	unit      string
	doc       string
	example   string
	required  int // parameters that must be there; the rest may be left out
	params    []parameter
	result    func(args []*argument) *cel.Type
	evaluate  func(s *selection, t *term) (result, error)
}

// result is what an aggregate says of a selection, with the rows it rests on.
type result struct {
	value   ref.Val
	n       int
	shown   string // instead of the value, for truth values: "3 of 300"
	hits    []int  // rows that speak against it (none, all) or for it (any), gravest order is the caller's
	open    []int  // rows whose fields are unknown
	vacuous string // why it holds although nothing was looked at
	note    string // why it is unknown, beyond open rows and loss
	why     string // what is wrong with the hits, where their rows alone do not tell
}

// argument is one compiled argument.
type argument struct {
	kind parameter
	row  *rowExpression // predicate, quantity, anything
	text string
	at   float64 // fraction, whole, or span in nanoseconds
	said string  // words
}

func always(t *cel.Type) func([]*argument) *cel.Type {
	return func([]*argument) *cel.Type { return t }
}

func ofFirst(args []*argument) *cel.Type { return estimateOf(args[0].row.typ) }

func fractionalOfFirst(args []*argument) *cel.Type {
	if t := estimateOf(args[0].row.typ); t == estimateDuration {
		return t
	}
	return estimateDouble
}

const (
	sectionQuantifiers = "Quantifiers"
	sectionNumbers     = "Numbers"
	sectionOrder       = "Order and time"
	sectionGraph       = "Graph"
	sectionContracts   = "Contracts"
	sectionBaseline    = "Baseline"
)

// aggregates is the vocabulary, in the order of the reference.
func aggregates() []aggregate {
	all := []aggregate{
		{name: "none", signature: "none(P)", section: sectionQuantifiers, doc: "No row makes P true.",
			example: `none(status_code >= 500)`, required: 1, params: []parameter{predicate}, result: always(cel.BoolType), evaluate: none},
		{name: "all", signature: "all(P)", section: sectionQuantifiers,
			doc:     "Every row makes P true. Rows that lack an optional field of P are left out.",
			example: `all("x-request-id" in request.headers)`, required: 1, params: []parameter{predicate}, result: always(cel.BoolType), evaluate: all},
		{name: "any", signature: "any(P)", section: sectionQuantifiers, doc: "At least one row makes P true.",
			example: `any(status_code == 201)`, required: 1, params: []parameter{predicate}, result: always(cel.BoolType), evaluate: anyRow},
		{name: "count", signature: "count(P)", section: sectionQuantifiers, unit: "rows", doc: "How many rows make P true; count() counts all.",
			example: `count(method == "POST") <= 1`, params: []parameter{predicate}, result: always(estimateInt), evaluate: count},
		{name: "ratio", signature: "ratio(P)", section: sectionQuantifiers, unit: "0..1",
			doc:     "The share of rows that make P true, with Clopper and Pearson's interval (Wilson's beyond 10,000 rows). A share can never be shown to be exactly 0 or 1: say none(P) or all(P).",
			example: `ratio(status_code >= 500) < 0.01`, required: 1, params: []parameter{predicate}, result: always(estimateDouble), evaluate: ratio},
	}
	for _, q := range []struct {
		name string
		n    int
	}{{"p50", 5}, {"p90", 29}, {"p95", 59}, {"p99", 299}} {
		all = append(all, aggregate{name: q.name, signature: q.name + "(x)", section: sectionNumbers, unit: "as x",
			doc:     fmt.Sprintf("Quantile of x with an interval from order statistics, whatever the distribution. Fewer than %d rows can never show it to lie below a bound at 95 %%.", q.n),
			example: q.name + `(latency) < duration("120ms")`, required: 1, params: []parameter{quantity}, result: ofFirst, evaluate: number})
	}
	all = append(all,
		aggregate{name: "percentile", signature: "percentile(x, q)", section: sectionNumbers, unit: "as x",
			doc: "The q-quantile of x, as p95.", example: `percentile(latency, 0.75) < duration("80ms")`,
			required: 2, params: []parameter{quantity, fraction}, result: ofFirst, evaluate: number},
		aggregate{name: "min", signature: "min(x)", section: sectionNumbers, unit: "as x", doc: "The smallest x: a fact of the window.",
			example: `min(retry.backoff_factor) >= 1.5`, required: 1, params: []parameter{quantity}, result: ofFirst, evaluate: number},
		aggregate{name: "max", signature: "max(x)", section: sectionNumbers, unit: "as x",
			doc:     "The largest x: a fact of the window. A call without an answer took at least as long as it waited.",
			example: `max(retry.attempts) <= 3`, required: 1, params: []parameter{quantity}, result: ofFirst, evaluate: number},
		aggregate{name: "mean", signature: "mean(x)", section: sectionNumbers, unit: "as x", doc: "The mean of x with Student's interval.",
			example: `mean(latency) < duration("50ms")`, required: 1, params: []parameter{quantity}, result: fractionalOfFirst, evaluate: number},
		aggregate{name: "sum", signature: "sum(x)", section: sectionNumbers, unit: "as x", doc: "The sum of x: a fact of the window.",
			example: `sum(response_body_size) < 1048576`, required: 1, params: []parameter{quantity}, result: ofFirst, evaluate: number},
		aggregate{name: "stddev", signature: "stddev(x)", section: sectionNumbers, unit: "as x",
			doc:     fmt.Sprintf("The sample standard deviation of x; an interval from %d rows on.", stat.DeviationMinimum),
			example: `stddev(latency) < duration("20ms")`, required: 1, params: []parameter{quantity}, result: fractionalOfFirst, evaluate: number},
		aggregate{name: "rate", signature: "rate(P)", section: sectionNumbers, unit: "rows per second",
			doc:     "Rows that make P true, per second of the window, with Garwood's interval for a Poisson count; rate() counts all rows.",
			example: `rate(status_code == 429) < 1`, params: []parameter{predicate}, result: always(estimateDouble), evaluate: rate},
		aggregate{name: "distinct", signature: "distinct(x)", section: sectionNumbers, unit: "values", doc: "How many different values x has.",
			example: `distinct(path) <= 20`, required: 1, params: []parameter{anything}, result: always(estimateInt), evaluate: distinct},
		aggregate{name: "count_by", signature: "count_by(x, key)", section: sectionNumbers, unit: "rows per group",
			doc:     "Counts rows for every pair of x and key; key may be left out. It is not a number yet: max, min, mean, sum, stddev, percentiles and .size() are.",
			example: `max(count_by(postgresql_fingerprint, parent)) <= 3`, required: 1, params: []parameter{anything, anything}, result: always(groupsInt), evaluate: countBy},
		aggregate{name: "concurrency", signature: "concurrency()", section: sectionNumbers, unit: "rows",
			doc:     "The largest number of rows that were under way at the same time. A fact of the window, but for calls during which the clock was set back.",
			example: `concurrency() <= 10`, result: always(estimateInt), evaluate: atOnce},
		aggregate{name: "top", signature: "top(x, n)", section: sectionNumbers,
			doc:     "The set of the n values of x that most rows have; of values that as many have, the first by name.",
			example: `top(path, 3).contains("/cart")`, required: 2, params: []parameter{anything, whole}, result: always(namesType), evaluate: top},
	)
	all = append(all, orderAggregates()...)
	all = append(all, graphAggregates()...)
	all = append(all, pathAggregates()...)
	all = append(all, contractAggregates()...)
	return append(all, baselineAggregates()...)
}

// none fails on the first row that makes P true; rows whose fields are unknown leave it open.
func none(s *selection, t *term) (result, error) {
	yes, no, open, lacking, err := s.split(t.args[0].row)
	r := result{n: len(s.rows), hits: yes, open: open, shown: fmt.Sprintf("%d of %d", len(yes), len(s.rows))}
	r.value = threeValued(len(yes) == 0 && len(open) == 0 && !s.hidden, len(yes) > 0)
	if len(yes)+len(no)+len(open) == 0 && !s.hidden && !s.lack(t, &r, len(lacking)) {
		r.value = threeValued(false, false)
	}
	return r, err
}

// all fails on the first row that makes P false.
func all(s *selection, t *term) (result, error) {
	yes, no, open, lacking, err := s.split(t.args[0].row)
	r := result{n: len(yes) + len(no) + len(open), hits: no, open: open}
	r.shown = fmt.Sprintf("%d of %d", len(yes), r.n)
	r.value = threeValued(len(no) == 0 && len(open) == 0 && !s.hidden, len(no) > 0)
	if r.n == 0 && !s.hidden && !s.lack(t, &r, len(lacking)) {
		r.value = threeValued(false, false)
	}
	return r, err
}

// anyRow holds from the first row that makes P true; a row that lacks the field does not.
func anyRow(s *selection, t *term) (result, error) {
	yes, _, open, _, err := s.split(t.args[0].row)
	r := result{n: len(s.rows), hits: yes, open: open, shown: fmt.Sprintf("%d of %d", len(yes), len(s.rows))}
	r.value = threeValued(len(yes) > 0, len(open) == 0 && !s.hidden)
	return r, err
}

func count(s *selection, t *term) (result, error) {
	yes, open := s.everyRow(), []int(nil)
	if len(t.args) > 0 {
		var err error
		if yes, _, open, _, err = s.split(t.args[0].row); err != nil {
			return result{}, err
		}
	}
	e := counted(len(yes), len(open), s.hidden)
	e.n, e.hits, e.comparer = len(s.rows), yes, t.comparer
	return result{value: e, n: e.n, hits: yes, open: open}, nil
}

func ratio(s *selection, t *term) (result, error) {
	yes, no, open, lacking, err := s.split(t.args[0].row)
	if err != nil {
		return result{}, err
	}
	k, n := len(yes), len(s.rows)
	e := &estimate{typ: estimateDouble, n: n, hits: yes, comparer: t.comparer, low: 0, high: 1, value: math.NaN()}
	e.misses = merge(no, lacking)
	if n > 0 {
		e.value = float64(k) / float64(n)
	}
	if !s.hidden && n > 0 {
		e.sampled = true
		e.low, _ = stat.Proportion(k, n, s.confidence)
		_, e.high = stat.Proportion(k+len(open), n, s.confidence)
		e.needs = func(bound float64) int { return stat.ProportionNeeds(k, n, bound, s.confidence) }
		e.never = "a share is estimated and can never be shown to be exactly 0 or 1: use none(…) or all(…)"
	}
	return result{value: e, n: n, hits: yes, open: open}, nil
}

// number is every aggregate over a quantity: the term's name says which.
func number(s *selection, t *term) (result, error) {
	values, lacking, open, err := s.numbers(t.args[0].row)
	if err != nil {
		return result{}, err
	}
	q := 0.0
	if len(t.args) > 1 {
		q = t.args[1].at
	}
	e := numeric(t.aggregate.name, q, samples{t.typ, values, s.hidden, s.confidence, t.comparer})
	r := result{value: e, n: len(values), open: open}
	if len(values) == 0 && !s.hidden {
		e.low, e.high, e.exact, e.value = math.Inf(-1), math.Inf(1), false, math.NaN()
		e.vacuous, e.holds = s.lack(t, &r, lacking) && t.polarity != 0, t.polarity > 0
	}
	return r, nil
}

func rate(s *selection, t *term) (result, error) {
	r, err := count(s, t)
	if err != nil {
		return r, err
	}
	k := r.value.(*estimate)
	e := &estimate{typ: estimateDouble, n: k.n, hits: r.hits, comparer: t.comparer, value: math.NaN(), low: 0, high: math.Inf(1)}
	r.value = e
	seconds := float64(s.end-s.start) / 1e9
	if s.end <= s.start {
		r.note = "the window has no known length"
		return r, nil
	}
	low, _ := stat.Poisson(len(r.hits), s.confidence)
	_, high := stat.Poisson(len(r.hits)+len(r.open), s.confidence)
	e.value, e.low, e.sampled = k.value/seconds, low/seconds, true
	if !s.hidden {
		e.high = high / seconds
	}
	return r, nil
}

func distinct(s *selection, t *term) (result, error) {
	column, err := s.column(t.args[0].row)
	if err != nil {
		return result{}, err
	}
	seen, open := map[string]bool{}, []int(nil)
	var firsts []int
	n := 0
	for i, c := range column {
		switch c.state {
		case unknown:
			open = append(open, i)
			n++
		case known:
			n++
			if key := plain(c.value); !seen[key] {
				seen[key] = true
				firsts = append(firsts, i)
			}
		}
	}
	e := counted(len(seen), len(open), s.hidden)
	if len(seen) == 0 && len(open) > 0 {
		e.low = 1
	}
	e.n, e.hits, e.comparer = n, firsts, t.comparer
	return result{value: e, n: n, hits: firsts, open: open}, nil
}

func countBy(s *selection, t *term) (result, error) {
	var columns [][]cell
	for _, a := range t.args {
		column, err := s.column(a.row)
		if err != nil {
			return result{}, err
		}
		columns = append(columns, column)
	}
	byKey, open, lacking := map[string]*group{}, []int(nil), 0
rows:
	for i := range s.rows {
		key := ""
		for _, column := range columns {
			switch column[i].state {
			case unknown:
				open = append(open, i)
				continue rows
			case absent:
				lacking++
				continue rows
			}
			key += plain(column[i].value) + "\x00"
		}
		if byKey[key] == nil {
			byKey[key] = &group{key: key}
		}
		byKey[key].low++
		byKey[key].rows = append(byKey[key].rows, i)
	}
	g := &groups{hidden: s.hidden, confidence: s.confidence, comparer: t.comparer}
	for _, x := range byKey {
		x.high = x.low + len(open)
		g.all = append(g.all, *x)
	}
	if len(byKey) == 0 && len(open) > 0 { // all of them could be one group, or many
		g.all = append(g.all, group{low: 1, high: len(open), rows: open})
	}
	sort.Slice(g.all, func(a, b int) bool { return g.all[a].key < g.all[b].key })
	g.n = len(s.rows) - lacking
	r := result{value: g, n: g.n, open: open}
	if len(g.all) == 0 && !s.hidden {
		g.vacuous, g.holds = s.lack(t, &r, lacking) && t.polarity != 0, t.polarity > 0
	}
	return r, nil
}

// lack says what follows when no row has what a term asks for. Over a field that rows may lack the term is vacuous (rule 3):
// "0 of 812 calls have retry.attempts". Over any other field on selects the wrong rows, and nothing follows.
func (s *selection) lack(t *term, r *result, lacking int) (vacuous bool) {
	var fields []string
	for _, a := range t.args {
		if a.row != nil {
			fields = append(fields, a.row.optional...)
		}
	}
	if len(fields) == 0 {
		r.note = fmt.Sprintf("0 of %s have what it asks for: on selects rows of another kind", s.quantity(lacking))
		return false
	}
	r.vacuous = fmt.Sprintf("0 of %s have %s", s.quantity(lacking), strings.Join(dedupe(fields), ", "))
	return true
}

// plain is a value's text, for grouping.
func plain(v ref.Val) string {
	switch v := v.(type) {
	case types.String:
		return string(v)
	case types.Duration:
		return v.Duration.String()
	}
	return fmt.Sprint(v.Value())
}

// aggregateNamed returns the aggregate of that name.
func aggregateNamed(name string) (aggregate, bool) {
	for _, a := range vocabulary() {
		if a.name == name {
			return a, true
		}
	}
	return aggregate{}, false
}
