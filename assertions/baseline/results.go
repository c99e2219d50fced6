package baseline

import (
	"cmp"
	"fmt"

	"github.com/devloop-io/devloop/traffic"
)

// Results are the findings in the form of check results, for reports and exit codes: one for each that failed or is open, and one
// that says what all others say together.
func (r *Report) Results() []traffic.CheckResult {
	var list []traffic.CheckResult
	name := cmp.Or(r.Baseline, "the baseline")
	counts := map[string]int{}
	for _, f := range r.Findings {
		switch {
		case f.Verdict == traffic.Fail, f.Verdict == traffic.Inconclusive:
			list = append(list, result(f, name))
		case f.Verdict == traffic.Skipped:
			counts["not compared"]++
		case f.Improved:
			counts["better than before"]++
		default:
			counts["shown to be as before"]++
		}
	}
	rest := traffic.CheckResult{Name: "baseline", Builtin: true, On: "all calls and connections", Expect: "as in " + name, Severity: gates, Verdict: traffic.Pass, N: r.Endpoints, Unit: "endpoints", Basis: "exact"}
	rest.Reason = fmt.Sprintf("%s compared with %s, %s against %d", many(r.Endpoints, "endpoint"), name, many(r.NewRuns, "run"), r.OldRuns)
	for _, what := range sortedKeys(counts) {
		rest.Reason += fmt.Sprintf("; %d %s", counts[what], what)
	}
	for _, n := range r.Notes {
		rest.Reason += "; " + n
	}
	if len(list) == 0 { // what makes the whole open or empty is no finding: an incomplete capture, no calls at all
		rest.Verdict = r.Verdict
	}
	return append(list, rest)
}

// gates is the severity of what fails a run, as checks call it.
const gates = "error"

// result is one finding as a check's result.
func result(f traffic.Finding, name string) traffic.CheckResult {
	c := traffic.CheckResult{
		Name: "baseline/" + f.Kind, Builtin: true, Group: f.Where, File: f.File, Line: f.Line, On: f.Where, Expect: "as in " + name, Severity: gates,
		Verdict: f.Verdict, Reason: f.Where + " " + f.What, N: f.NewN, Unit: "calls", Basis: f.Basis, NeedMore: f.NeedMore,
		Evidence: f.Evidence, EvidenceTotal: len(f.Evidence),
	}
	if f.Basis == "runs" || f.Basis == "exact" {
		c.Unit = "runs"
	}
	before, now := traffic.Term{Text: "before", Value: f.Old, N: f.OldN, Exact: f.Basis == "exact"}, traffic.Term{Text: "now", Value: f.New, N: f.NewN, Exact: f.Basis == "exact"}
	c.Terms = []traffic.Term{before, now}
	if f.Kind == traffic.FindingLatency && f.Basis != "exact" {
		c.Terms = append(c.Terms, traffic.Term{Text: "difference", Value: signed(f.Effect), Low: signed(f.Low), High: signed(f.High), N: f.NewN})
	}
	return c
}

// Shows reports whether a call is one that a finding speaks of, best first: calls that show what is new before those that were there.
func Shows(f *traffic.Finding, c *traffic.Call) bool {
	if NameOf(c) != f.Where && EdgeOf(&c.Src, &c.Dst, "") != f.Where {
		return false
	}
	switch f.Kind {
	case traffic.FindingRetry:
		return c.Retry != nil && c.Retry.Attempt > 1
	case traffic.FindingReuse:
		return c.Index == 0
	}
	return true
}
