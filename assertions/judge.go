package assertions

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// judge evaluates a check over a window: one result, or one for every group.
func (c *check) judge(w *world) []traffic.CheckResult {
	blank := c.blank()
	switch {
	case c.spec.Skip != "":
		return []traffic.CheckResult{ended(blank, traffic.Skipped, "skipped: "+c.spec.Skip)}
	case c.exercise != "" && w.input.Exercise != "" && c.exercise != w.input.Exercise:
		return []traffic.CheckResult{ended(blank, traffic.Skipped,
			fmt.Sprintf("speaks of the exercise %s, and %s was run", c.exercise, w.input.Exercise))}
	case w.input.Dissection == nil:
		return []traffic.CheckResult{ended(blank, traffic.Error, "nothing was captured: there is no dissection to judge")}
	}
	results := c.evaluate(w, blank)
	for i := range results {
		c.soften(&results[i])
		c.release(&results[i], w.now)
	}
	return results
}

// blank is a result with what the file says.
func (c *check) blank() traffic.CheckResult {
	return traffic.CheckResult{Name: c.spec.Name, File: c.file, Line: c.line, On: c.spec.On, Expect: c.spec.Expect,
		Severity: c.spec.Severity, Unit: c.unit}
}

func ended(r traffic.CheckResult, v traffic.Verdict, reason string) traffic.CheckResult {
	r.Verdict, r.Reason = v, reason
	return r
}

// soften applies muted, on_inconclusive and on_nodata.
func (c *check) soften(r *traffic.CheckResult) {
	switch {
	case c.spec.Muted != "":
		r.Reason = fmt.Sprintf("muted (%s); it would be %s: %s", c.spec.Muted, r.Verdict, r.Reason)
		r.Verdict = traffic.Skipped
	case r.Verdict == traffic.Inconclusive && c.spec.OnInconclusive == OnWarn,
		r.Verdict == traffic.NoData && c.spec.OnNoData == OnWarn:
		r.Severity = SeverityWarning
	}
}

// evaluate selects the rows and judges them, group by group.
func (c *check) evaluate(w *world, blank traffic.CheckResult) []traffic.CheckResult {
	rows, left, err := c.selectRows(w)
	if err != nil {
		return []traffic.CheckResult{ended(blank, traffic.Error, err.Error())}
	}
	lost := w.lossOver(c.scope)
	s := c.selection(w, rows, lost)
	blank.Loss = lost.String()
	if len(rows) == 0 {
		return []traffic.CheckResult{c.empty(w, blank, left, lost)}
	}
	if c.by == nil {
		return []traffic.CheckResult{c.judgeRows(w, blank, s, lost)}
	}
	return c.judgeGroups(w, blank, s, lost)
}

// selectRows returns the rows that on selects, and how many background rows it would have selected.
func (c *check) selectRows(w *world) (rows []filter.Row, left int, err error) {
	on, err := c.at(w)
	if err != nil {
		return nil, 0, err
	}
	all := w.rows(c.kind)
	for i := range all {
		matched, err := on.Match(&all[i])
		switch {
		case err != nil:
			return nil, 0, fmt.Errorf("on could not be evaluated on %s: %w", describeRow(&all[i]), err)
		case matched && isBackground(&all[i]) && !c.back:
			left++
		case matched:
			rows = append(rows, all[i])
		}
	}
	return rows, left, nil
}

// at is the check's filter at the time of the window: now() must not mean the time of loading, or of judging.
func (c *check) at(w *world) (*filter.Filter, error) {
	if !strings.Contains(c.on.Source(), "now") {
		return c.on, nil
	}
	on, err := filter.Compile(c.on.Source(), filter.Now(w.now))
	if err != nil {
		return nil, fmt.Errorf("compile on for the window: %w", err)
	}
	return on, nil
}

func (c *check) selection(w *world, rows []filter.Row, lost *loss) *selection {
	calls := w.calls
	if !c.back {
		calls = slices.DeleteFunc(slices.Clone(calls), func(c *traffic.Call) bool { return c.Background })
	}
	return &selection{rows: rows, unit: c.unit, calls: calls, start: w.start, end: w.end, hidden: lost != nil,
		confidence: c.confidence(), activation: filter.NewActivation(w.now), baseline: w.input.Baseline, contracts: w.contracts}
}

// empty judges a selection without rows (rule 4).
func (c *check) empty(w *world, r traffic.CheckResult, left int, lost *loss) traffic.CheckResult {
	looked := fmt.Sprintf("nothing matched on: %s and %s of the window were looked at",
		quantify(uint64(len(w.calls)), "call"), quantify(uint64(len(w.conns)), "connection"))
	if left > 0 {
		looked += fmt.Sprintf("; %s matched and were left out, say background in on to judge them", quantify(uint64(left), "background row"))
	}
	switch {
	case !c.spec.AllowEmpty && lost != nil:
		return ended(r, traffic.NoData, looked+"; the capture is incomplete there: "+lost.String())
	case !c.spec.AllowEmpty:
		return ended(r, traffic.NoData, looked)
	case lost != nil:
		r.Evidence, r.EvidenceTotal = lossEvidence(lost)
		return ended(r, traffic.Inconclusive, "nothing matched, but the capture is incomplete where this check looks: "+lost.String())
	}
	r.Basis = basisExact
	return ended(r, traffic.Pass, "nothing matched, as allow_empty allows, and the capture is complete there")
}

// judgeGroups judges every group of by, in the order of their names.
func (c *check) judgeGroups(w *world, blank traffic.CheckResult, s *selection, lost *loss) []traffic.CheckResult {
	column, err := s.column(c.by)
	if err != nil {
		return []traffic.CheckResult{ended(blank, traffic.Error, err.Error())}
	}
	groups := map[string][]filter.Row{}
	for i, cell := range column {
		name := "(none)"
		if cell.state == known {
			name = plain(cell.value)
		}
		groups[name] = append(groups[name], s.rows[i])
	}
	var results []traffic.CheckResult
	for _, name := range sortedKeys(groups) {
		r := blank
		r.Group = clean(name, 120)
		results = append(results, c.judgeRows(w, r, c.selection(w, groups[name], lost), lost))
	}
	return results
}

// What a verdict rests on.
const (
	basisExact  = "exact"      // facts over the whole window
	basisSingle = "single-run" // estimates from the calls of one run
)

// outcome is one evaluation of an expectation.
type outcome struct {
	s       *selection
	terms   []*term
	results []result
	parts   []part
}

// part is the outcome of one conjunct.
type part struct {
	conjunct *conjunct
	value    ref.Val
}

// judgeRows evaluates the expectation over some rows.
func (c *check) judgeRows(w *world, r traffic.CheckResult, s *selection, lost *loss) traffic.CheckResult {
	r.N = len(s.rows)
	o, err := c.expect.evaluate(s)
	if err != nil {
		return ended(r, traffic.Error, err.Error())
	}
	r.Terms, r.Basis = o.report()
	r.Plots = o.plots()
	for _, x := range o.results {
		if x.vacuous != "" {
			r.Vacuous = append(r.Vacuous, x.vacuous)
		}
	}
	switch {
	case o.has(types.False):
		r.Verdict = traffic.Fail
		r.Reason = o.failure()
		r.Evidence, r.EvidenceTotal = o.violations()
	case o.has(nil):
		r.Verdict = traffic.Inconclusive
		r.Reason, r.NeedMore = o.doubt(lost)
		r.Evidence, r.EvidenceTotal = o.open(lost)
	default:
		r.Verdict = traffic.Pass
		r.Reason = o.success()
		r.Evidence = s.evidenceOf(s.everyRow(), true, examplesShown)
		r.EvidenceTotal = len(s.rows)
	}
	return r
}

// evaluate computes all aggregates first: CEL's "unknown && error" is unknown, and would swallow an error.
func (x *expectation) evaluate(s *selection) (*outcome, error) {
	o := &outcome{s: s}
	values := map[string]any{}
	for _, t := range x.terms {
		own := *t
		own.comparer, own.setUses = &comparisons{}, &setUses{}
		r, err := own.aggregate.evaluate(s, &own)
		if err != nil {
			return nil, err
		}
		o.terms, o.results = append(o.terms, &own), append(o.results, r)
		values[own.name] = r.value
	}
	for _, c := range x.conjuncts {
		out, _, err := c.program.Eval(values)
		if err != nil {
			return nil, fmt.Errorf("evaluate %s: %w", c.text, err)
		}
		o.parts = append(o.parts, part{c, out})
	}
	return o, nil
}

// has reports whether a part came out as given; nil is unknown.
func (o *outcome) has(v ref.Val) bool {
	for _, p := range o.parts {
		if v != nil && p.value == v || v == nil && types.IsUnknown(p.value) {
			return true
		}
	}
	return false
}

// report lists the terms with their intervals.
func (o *outcome) report() (terms []traffic.Term, basis string) {
	basis = basisExact
	for i, t := range o.terms {
		r := o.results[i]
		x := traffic.Term{Text: t.text, N: r.n, Value: r.shown, Exact: true}
		switch v := r.value.(type) {
		case *estimate:
			x.Value, x.Exact = v.String(), v.exact
			if v.vacuous {
				x.Value, x.Exact = "vacuous", true
				break
			}
			if !v.exact {
				x.Low, x.High = format(v.typ, v.low), format(v.typ, v.high)
			}
			if v.sampled {
				basis = basisSingle
			}
		case *names:
			x.Value, x.Exact = v.String(), !v.open
		case *groups:
			x.Value, x.Exact = v.String(), !v.hidden
			if v.vacuous {
				x.Value, x.Exact = "vacuous", true
			}
		default:
			x.Exact = !types.IsUnknown(r.value)
		}
		terms = append(terms, x)
	}
	return terms, basis
}

// violations are the rows that broke the expectation.
func (o *outcome) violations() ([]traffic.Evidence, int) {
	var rows []int
	ordered := false
	for _, p := range o.parts {
		if p.value != types.False {
			continue
		}
		for _, i := range p.conjunct.terms {
			rows = append(rows, o.results[i].hits...)
			for _, use := range o.terms[i].setUses.made {
				for _, e := range use.offends {
					rows = append(rows, e.rows...)
				}
			}
		}
		for _, i := range p.conjunct.terms {
			for _, x := range o.terms[i].comparer.made {
				if x.result == unwanted(o.terms[i]) {
					more, sorted := breaking(x, o.terms[i].polarity < 0)
					rows = append(rows, more...)
					ordered = ordered || sorted
				}
			}
		}
	}
	rows = unique(rows)
	if len(rows) == 0 {
		return o.s.evidenceOf(o.s.everyRow(), false, examplesShown), len(o.s.rows)
	}
	return o.s.evidenceOf(rows, ordered, evidenceShown), len(rows)
}

// negations are what a comparison asks for under a negation.
var negations = map[string]string{"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}

// breaking are the rows that a failed comparison rests on: samples beyond the bound, the furthest first, or rows counted.
func breaking(c comparison, negated bool) (rows []int, ordered bool) {
	e, bound, operator := c.left, c.right, c.operator
	if negated {
		operator = negations[operator]
	}
	if len(e.samples)+len(e.hits)+len(e.misses) == 0 {
		e, bound = bound, e
		operator = strings.NewReplacer("<", ">", ">", "<").Replace(operator)
	}
	below := strings.HasPrefix(operator, ">") // it had to be large, so small ones break it
	if len(e.samples) == 0 {
		if below && len(e.misses) > 0 {
			return e.misses, false
		}
		return e.hits, false
	}
	all := slices.Clone(e.samples)
	value := func(x sample) float64 {
		if math.IsNaN(x.value) {
			return x.low
		}
		return x.value
	}
	slices.SortStableFunc(all, func(a, b sample) int {
		switch d := value(a) - value(b); {
		case d == 0 || math.IsNaN(d):
			return 0
		case d < 0 == below:
			return -1
		}
		return 1
	})
	for _, x := range all {
		v := value(x)
		broken := v > bound.value || v == bound.value && !strings.HasSuffix(operator, "=")
		if below {
			broken = v < bound.value || v == bound.value && !strings.HasSuffix(operator, "=")
		}
		if operator == "==" || operator == "!=" {
			broken = true
		}
		if broken {
			rows = append(rows, x.rows...)
		}
	}
	return rows, true
}

func unique(rows []int) []int {
	seen := map[int]bool{}
	return slices.DeleteFunc(rows, func(i int) bool {
		if seen[i] {
			return true
		}
		seen[i] = true
		return false
	})
}

// open is the evidence of doubt: rows whose fields are unknown, or the connections that something is missing on.
func (o *outcome) open(lost *loss) ([]traffic.Evidence, int) {
	var rows []int
	for _, p := range o.parts {
		if types.IsUnknown(p.value) {
			for _, i := range p.conjunct.terms {
				rows = append(rows, o.results[i].open...)
			}
		}
	}
	rows = unique(rows)
	if len(rows) > 0 {
		return o.s.evidenceOf(rows, false, evidenceShown), len(rows)
	}
	if lost != nil {
		return lossEvidence(lost)
	}
	return o.s.evidenceOf(o.s.everyRow(), false, examplesShown), len(o.s.rows)
}

// lossEvidence are the connections that something is missing on.
func lossEvidence(l *loss) ([]traffic.Evidence, int) {
	var all []traffic.Evidence
	seen := map[uint64]bool{}
	for _, c := range l.conns {
		if !seen[c.ID] {
			seen[c.ID] = true
			if len(all) < evidenceShown {
				all = append(all, evidenceFor(&filter.Row{Conn: c}))
			}
		}
	}
	return all, len(seen)
}
