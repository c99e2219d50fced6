package assertions

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/devloop-io/devloop/assertions/stat"
	"github.com/devloop-io/devloop/traffic"
)

// failure is the sentence of a check that failed: what broke, by how much, between whom.
func (o *outcome) failure() string {
	var clauses []string
	for _, p := range o.parts {
		if p.value == types.False {
			clauses = append(clauses, o.clauses(p)...)
		}
	}
	return strings.Join(dedupe(clauses), "; ")
}

// clauses say why one conjunct does not hold.
func (o *outcome) clauses(p part) []string {
	var all []string
	for _, i := range p.conjunct.terms {
		t, r := o.terms[i], o.results[i]
		switch t.aggregate.name {
		case "none":
			if len(r.hits) > 0 {
				all = append(all, fmt.Sprintf("%s have %s", o.share(r.hits, r.n), t.args[0].text))
			}
		case "all":
			if len(r.hits) > 0 {
				all = append(all, fmt.Sprintf("%s do not have %s", o.share(r.hits, r.n), t.args[0].text))
			}
		case "any":
			if len(r.hits) == 0 {
				all = append(all, fmt.Sprintf("none of %s%s has %s", o.s.quantity(r.n), between(o.s.edgesOf(o.s.everyRow())), t.args[0].text))
			}
		case "changed":
			if len(r.hits) > 0 {
				all = append(all, fmt.Sprintf("%s have a %s that the baseline lacks", o.share(r.hits, r.n), t.args[0].text))
			}
		case "conforms":
			if len(r.hits) > 0 {
				all = append(all, fmt.Sprintf("%s are not as %s promises: %s", o.share(r.hits, r.n), t.args[0].said, r.why))
			}
		case "path":
			if len(r.hits) > 0 {
				all = append(all, fmt.Sprintf("%s with %s were caused by one with %s", o.share(r.hits, len(r.hits)), t.args[1].text, t.args[0].text))
			}
		case "deadlines_kept":
			if len(r.hits) > 0 {
				all = append(all, fmt.Sprintf("%s may wait longer than is left of their caller's deadline", o.share(r.hits, r.n)))
			}
		case "before", "then", "eventually", "never_after", "stable":
			all = append(all, fmt.Sprintf("%s does not hold: %s%s", t.text, r.shown, between(o.s.edgesOf(r.hits))))
		}
		for _, use := range t.setUses.made {
			if use.result == unwanted(t) {
				all = append(all, o.setClause(t, use))
			}
		}
		for _, x := range t.comparer.made {
			if x.result == unwanted(t) {
				all = append(all, o.comparisonClause(t, x))
			}
		}
	}
	if len(all) == 0 {
		all = append(all, p.conjunct.text+" does not hold")
	}
	return all
}

// unwanted is the outcome of a comparison that speaks against the expectation: true under a negation.
func unwanted(t *term) ref.Val { return types.Bool(t.polarity < 0) }

// share is "2 of 300 calls (a → b)".
func (o *outcome) share(rows []int, n int) string {
	return fmt.Sprintf("%d of %s%s", len(rows), o.s.quantity(n), between(o.s.edgesOf(rows)))
}

func between(edges string) string {
	if edges == "" {
		return ""
	}
	return " (" + edges + ")"
}

func (o *outcome) setClause(t *term, use setUse) string {
	if len(use.offends) == 0 {
		return fmt.Sprintf("%s has %s, and no %s", t.text, o.results[indexOf(o.terms, t)].value, strings.TrimPrefix(use.question, "contains "))
	}
	var outside []string
	var rows []int
	for _, e := range use.offends {
		outside = append(outside, clean(e.names[0], 80))
		rows = append(rows, e.rows...)
	}
	outside = dedupe(outside)
	if len(outside) > 3 {
		outside = append(outside[:3], fmt.Sprintf("%d more", len(outside)-3))
	}
	if use.result == types.True {
		return fmt.Sprintf("%s has %s%s", t.text, strings.Join(outside, ", "), between(o.s.edgesOf(rows)))
	}
	return fmt.Sprintf("%s has %s, which is not allowed%s", t.text, strings.Join(outside, ", "), between(o.s.edgesOf(rows)))
}

func indexOf(terms []*term, t *term) int {
	for i := range terms {
		if terms[i] == t {
			return i
		}
	}
	return 0
}

// comparisonClause is "p95(latency) is 131 ms over 300 calls (a → b), between 125 ms and 140 ms at 95 % each way, and not < 120 ms".
func (o *outcome) comparisonClause(t *term, c comparison) string {
	e, bound, sign := c.left, c.right, c.operator
	if e.comparer == nil && bound.comparer != nil {
		e, bound = bound, e
		sign = strings.NewReplacer("<", ">", ">", "<").Replace(sign)
	}
	text := subjectOf(t, e)
	s := fmt.Sprintf("%s is %s over %s%s", text, e, o.over(e), between(o.s.edgesOf(o.s.everyRow())))
	if set, ok := o.results[indexOf(o.terms, t)].value.(*names); ok && len(set.elements) > 0 {
		s += ": " + clean(set.String(), 300)
	}
	if !e.exact {
		s += fmt.Sprintf(", %s", o.sure(e))
	}
	if t.polarity < 0 {
		return s + fmt.Sprintf(", which is %s %s", sign, bound)
	}
	return s + fmt.Sprintf(", and not %s %s", sign, bound)
}

// over is how many rows, or groups, a number is about.
func (o *outcome) over(e *estimate) string {
	if e.label != "" {
		return quantify(uint64(e.n), "group")
	}
	return o.s.quantity(e.n)
}

// subjectOf names what was compared: the term, or an aggregate over its groups.
func subjectOf(t *term, e *estimate) string {
	if t.typ == groupsInt {
		return cmp.Or(e.label, "a number of") + "(" + t.text + ")"
	}
	if t.typ == namesType {
		return t.text + ".size()"
	}
	if !isEstimate(t.typ) || e.typ != t.typ {
		return "what is computed from " + t.text
	}
	return t.text
}

// sure is "between 120 ms and 140 ms at 95 % each way", or what is left open of a fact: "at least 5 s".
func (o *outcome) sure(e *estimate) string {
	low, high := format(e.typ, e.low), format(e.typ, e.high)
	switch {
	case e.sampled && math.IsInf(e.low, -1) && math.IsInf(e.high, 1):
		return fmt.Sprintf("too few for an interval at %s %%", significant(o.s.confidence*100))
	case e.sampled:
		return fmt.Sprintf("between %s and %s at %s %% each way", low, high, significant(o.s.confidence*100))
	case math.IsInf(e.low, -1) && math.IsInf(e.high, 1):
		return "of which nothing is sure"
	case math.IsInf(e.high, 1):
		return "at least " + low
	case math.IsInf(e.low, -1):
		return "at most " + high
	}
	return fmt.Sprintf("between %s and %s", low, high)
}

// success is the sentence of a check that passed.
func (o *outcome) success() string {
	var clauses []string
	for i, t := range o.terms {
		r := o.results[i]
		switch v := r.value.(type) {
		case *estimate:
			switch {
			case v.vacuous:
				clauses = append(clauses, "vacuous ("+r.vacuous+")")
			case v.exact:
				clauses = append(clauses, fmt.Sprintf("%s is %s", t.text, v))
			default:
				clauses = append(clauses, fmt.Sprintf("%s is %s (%s)", t.text, v, o.sure(v)))
			}
		case *names, *groups:
			if r.vacuous != "" {
				clauses = append(clauses, "vacuous ("+r.vacuous+")")
			} else {
				clauses = append(clauses, fmt.Sprintf("%s: %s", t.text, v))
			}
		default:
			if r.vacuous != "" {
				clauses = append(clauses, "vacuous ("+r.vacuous+")")
			} else {
				clauses = append(clauses, fmt.Sprintf("%s: %s", t.text, r.shown))
			}
		}
	}
	return fmt.Sprintf("%s%s: %s", o.s.quantity(len(o.s.rows)), between(o.s.edgesOf(o.s.everyRow())), strings.Join(dedupe(clauses), "; "))
}

// doubt is the sentence of an inconclusive check, and how many more rows would decide it where that is known.
func (o *outcome) doubt(lost *loss) (reason string, more int) {
	var clauses []string
	var open []int
	for _, p := range o.parts {
		if !types.IsUnknown(p.value) {
			continue
		}
		for _, i := range p.conjunct.terms {
			open = append(open, o.results[i].open...)
			if note := o.results[i].note; note != "" {
				clauses = append(clauses, o.terms[i].text+": "+note)
			}
		}
		if lost != nil {
			continue
		}
		for _, i := range p.conjunct.terms {
			for _, c := range o.terms[i].comparer.made {
				if !types.IsUnknown(c.result) {
					continue
				}
				clause, needed := o.undecided(o.terms[i], c)
				clauses = append(clauses, clause)
				more = max(more, needed)
			}
		}
	}
	unasked, beheaded, unanswered, orphaned, stepped := o.bySight(unique(open))
	if len(unanswered) > 0 {
		clauses = append(clauses, fmt.Sprintf("%s have no whole answer, so what expect asks of their responses is not known", o.share(unanswered, len(o.s.rows))))
	}
	if len(unasked) > 0 {
		clauses = append(clauses, fmt.Sprintf("of %s only the answers were captured, so what expect asks of their requests is not known", o.share(unasked, len(o.s.rows))))
	}
	if len(beheaded) > 0 {
		clauses = append(clauses, fmt.Sprintf("of %s the capture lacks headers, so what expect asks of these is not known", o.share(beheaded, len(o.s.rows))))
	}
	if len(orphaned) > 0 {
		clauses = append(clauses, fmt.Sprintf("%s have several calls that could be their parent, which neither trace nor time tells apart", o.share(orphaned, len(o.s.rows))))
	}
	if len(stepped) > 0 {
		clauses = append(clauses, fmt.Sprintf("%s end before they begin, because the clock was set back meanwhile, so how long they took is not known", o.share(stepped, len(o.s.rows))))
	}
	if lost != nil {
		clauses = append(clauses, "the capture is incomplete where this check looks: "+lost.String())
	}
	if len(clauses) == 0 {
		clauses = append(clauses, "what the window holds does not decide "+o.undecidedText())
	}
	return strings.Join(dedupe(clauses), "; "), more
}

// bySight tells rows whose requests, headers, parents or durations are not known from those that lack answers.
func (o *outcome) bySight(open []int) (unasked, beheaded, unanswered, orphaned, stepped []int) {
	for _, i := range open {
		switch c := o.s.rows[i].Call; {
		case c != nil && !c.Asked():
			unasked = append(unasked, i)
		case c != nil && c.State == traffic.StateComplete && c.HTTP != nil && (c.HTTP.RequestHeadersCut || c.HTTP.ResponseHeadersCut):
			beheaded = append(beheaded, i)
		case c != nil && c.State == traffic.StateComplete && c.ParentCandidates > 1:
			orphaned = append(orphaned, i)
		case c != nil && c.ClockStepped():
			stepped = append(stepped, i)
		default:
			unanswered = append(unanswered, i)
		}
	}
	return unasked, beheaded, unanswered, orphaned, stepped
}

func (o *outcome) undecidedText() string {
	for _, p := range o.parts {
		if types.IsUnknown(p.value) {
			return p.conjunct.text
		}
	}
	return "it"
}

// undecided says why a comparison is open, and what would decide it.
func (o *outcome) undecided(t *term, c comparison) (string, int) {
	e, bound, sign := c.left, c.right, c.operator
	if e.comparer == nil && bound.comparer != nil {
		e, bound = bound, e
		sign = strings.NewReplacer("<", ">", ">", "<").Replace(sign)
	}
	s := fmt.Sprintf("%s is %s over %s%s, %s, which does not decide %s %s", subjectOf(t, e), e, o.over(e),
		between(o.s.edgesOf(o.s.everyRow())), o.sure(e), sign, bound)
	if e.never != "" && (bound.value <= 0 || bound.value >= 1 || sign == "==" || sign == "!=") {
		return s + ": " + e.never, 0
	}
	if e.needs == nil || !bound.exact {
		return s, 0
	}
	more := e.needs(bound.value)
	if more >= stat.Never {
		return s + ": it is too near for any number of further " + o.s.unit + " to tell", 0
	}
	return s + fmt.Sprintf(": need %d more %s", more, strings.TrimPrefix(o.s.quantity(more), strconv.Itoa(more)+" ")), more
}

func dedupe(all []string) []string {
	seen := map[string]bool{}
	out := all[:0:0]
	for _, s := range all {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
