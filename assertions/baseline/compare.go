package baseline

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/assertions/stat"
	"github.com/devloop-io/devloop/traffic"
)

// Options say how strictly two baselines are compared. The zero value is the gate's.
type Options struct {
	Alpha     float64 // chance that any test of the gate rejects wrongly, all together; 0.01 by default
	MinEffect float64 // share by which a latency has to differ at least; 0.1 by default
	Describe  bool    // tell what differs, without asking whether the runs suffice to call it a change for the worse: the wire diff
	AnyHost   bool    // compare latencies of different hosts all the same
	Looks     int     // how often growing data are compared until something is decided: the looks share alpha
}

const (
	defaultAlpha  = 0.01
	defaultEffect = 0.10 // 10 %: smaller differences of latency are nobody's concern
	noiseFactor   = 3
	learntRuns    = 3    // fewer runs do not tell what never happens
	shareEffect   = 0.01 // of errors: one percentage point
	reuseEffect   = 0.2  // of reused connections
	doubt         = 0.05 // a p below it, alone, leaves a test open that all tests together do not decide
	callsEffect   = 0.1  // of calls per request, where their number varies
)

// Report is what a comparison found.
type Report struct {
	Baseline  string            `json:"baseline"`
	Verdict   traffic.Verdict   `json:"verdict"`
	Findings  []traffic.Finding `json:"findings"` // gravest first
	Endpoints int               `json:"endpoints"`
	OldRuns   int               `json:"old_runs"`
	NewRuns   int               `json:"new_runs"`
	Tests     int               `json:"tests"`       // that gate together
	Alpha     float64           `json:"alpha"`       // of all of them together
	RunsNeed  int               `json:"runs_needed"` // runs a side with which each run can count once
	Notes     []string          `json:"notes,omitempty"`
}

// comparison is one comparison under way.
type comparison struct {
	o        Options
	old, new *Baseline
	report   *Report
	tests    []*pending
	facts    []traffic.Finding
	covered  map[string]bool // endpoints whose number of calls a finding speaks of already
}

// pending is a finding whose verdict waits for the adjusted p of its test.
type pending struct {
	traffic.Finding
	decide func(f *traffic.Finding, significant bool)
}

// Compare says what differs from old to new. Nothing about either is assumed but that each holds runs of one and the same code.
func Compare(old, new *Baseline, o Options) *Report {
	if o.Alpha <= 0 {
		o.Alpha = defaultAlpha
	}
	if o.MinEffect <= 0 {
		o.MinEffect = defaultEffect
	}
	o.Alpha /= float64(max(1, o.Looks))
	c := &comparison{o: o, old: old, new: new, covered: map[string]bool{},
		report: &Report{Baseline: old.Name, Findings: []traffic.Finding{}, OldRuns: old.Runs, NewRuns: new.Runs, Alpha: o.Alpha}}
	c.edges()
	c.endpoints()
	c.latencies()
	c.settle()
	return c.report
}

// fact adds a finding that no chance decides.
func (c *comparison) fact(kind, where, what string, worse bool, old, new string) {
	f := traffic.Finding{Kind: kind, Where: where, What: what, Verdict: traffic.Fail, Old: old, New: new, OldN: c.old.Runs, NewN: c.new.Runs, Basis: "exact"}
	switch {
	case !worse:
		f.Verdict, f.Improved = traffic.Pass, true
	case c.o.Describe:
	case c.old.Runs < learntRuns:
		f.Verdict, f.NeedMore = traffic.Inconclusive, learntRuns-c.old.Runs
		f.What += fmt.Sprintf("; the baseline has %s only, which does not tell what never happens: record %d more", many(c.old.Runs, "run"), f.NeedMore)
	}
	c.facts = append(c.facts, f)
}

// edges compares who speaks to whom, and how often connections are found open.
func (c *comparison) edges() {
	for i := range c.new.Edges {
		e := &c.new.Edges[i]
		before, known := c.old.Edge(e.Name)
		if !known {
			what := "is new: " + never(c.old.Runs) + ", now in " + ofRuns(len(e.Calls), c.new.Runs)
			if e.Outside {
				what = "is a new way out of the system: " + never(c.old.Runs) + ", now in " + ofRuns(len(e.Calls), c.new.Runs)
			}
			c.fact(traffic.FindingEdge, e.Name, what, true, "none", many(e.Calls.Sum(), "call"))
			continue
		}
		c.reuse(before, e)
		c.set(traffic.FindingTLS, "TLS handshake:", e.Name, before.TLS, e.TLS)
	}
	for i := range c.old.Edges {
		e := &c.old.Edges[i]
		if _, still := c.new.Edge(e.Name); !still && c.old.always(e.Calls, e.Of) {
			c.lost(traffic.FindingEdge, e.Name, many(e.Calls.Sum(), "call"))
		}
	}
}

// lost tells of what every run had and no new one has.
func (c *comparison) lost(kind, where, old string) {
	if len(c.new.loss) > 0 {
		return // it may have been there: settle says that the capture is incomplete
	}
	c.fact(kind, where, fmt.Sprintf("is gone: it was in %s, and is in none of %s now", ofRuns(c.old.Runs, c.old.Runs), many(c.new.Runs, "run")), true, old, "none")
}

func (c *comparison) reuse(old, new *EdgeFacts) {
	a, b := shareOf(old.Reused, old.Calls), shareOf(new.Reused, new.Calls)
	if old.Calls.Sum() == 0 || new.Calls.Sum() == 0 || b >= a-reuseEffect || b >= worst(old.Reused, old.Calls, false)-reuseEffect/2 || new.opened() <= old.opened() {
		return
	}
	c.test(traffic.Finding{Kind: traffic.FindingReuse, Where: new.Name, OldN: old.Calls.Sum(), NewN: new.Calls.Sum(), Basis: "requests",
		What: fmt.Sprintf("finds its connections open for %s of the calls, and did for %s", percent(b), percent(a)),
		Old:  percent(a), New: percent(b), Effect: b - a, P: stat.Fisher(old.Reused.Sum(), old.Calls.Sum(), new.Reused.Sum(), new.Calls.Sum())}, nil)
}

// opened is the largest number of connections that a run can have opened: with fewer calls a smaller share finds one open.
func (e *EdgeFacts) opened() int { return slices.Max(e.Calls) - slices.Min(e.Reused) }

// endpoints compares what is asked, how it ends, and what it carries.
func (c *comparison) endpoints() {
	c.report.Endpoints = len(c.new.Endpoints)
	newEdges := map[string]bool{}
	for _, f := range c.facts {
		if f.Kind == traffic.FindingEdge {
			newEdges[f.Where] = true
		}
	}
	var shared []*EndpointFacts
	for i := range c.new.Endpoints {
		e := &c.new.Endpoints[i]
		if _, known := c.old.Endpoint(e.Name); known {
			shared = append(shared, e)
		} else if !newEdges[e.Edge] {
			c.fact(traffic.FindingEndpoint, e.Name, "is new: "+never(c.old.Runs)+", now in "+ofRuns(len(e.Calls), c.new.Runs), true, "none", many(e.Calls.Sum(), "call"))
		}
	}
	for i := range c.old.Endpoints {
		e := &c.old.Endpoints[i]
		_, still := c.new.Endpoint(e.Name)
		switch {
		case still || !c.old.always(e.Calls, e.Of) || newEdges[e.Edge]:
		case strings.HasSuffix(e.Edge, " -> DNS"):
			c.fact(traffic.FindingEndpoint, e.Name, "is gone: each run had such look-ups, and none has now", false, many(e.Calls.Sum(), "call"), "none")
		default:
			c.lost(traffic.FindingEndpoint, e.Name, many(e.Calls.Sum(), "call"))
		}
	}
	for _, e := range shared {
		before, _ := c.old.Endpoint(e.Name)
		c.causes(before, e)
	}
	for _, e := range shared {
		before, _ := c.old.Endpoint(e.Name)
		c.outcomes(before, e)
		c.retries(before, e)
		c.calls(before, e)
		for _, s := range []struct {
			kind, what string
			old, new   SetFacts
		}{
			{traffic.FindingHeader, "request header", before.RequestHeaders, e.RequestHeaders},
			{traffic.FindingHeader, "response header", before.ResponseHeaders, e.ResponseHeaders},
			{traffic.FindingField, "request field", before.RequestFields, e.RequestFields},
			{traffic.FindingField, "response field", before.ResponseFields, e.ResponseFields},
			{traffic.FindingRetry, "retry", before.RetryWaits, e.RetryWaits},
			{traffic.FindingCredential, "credential", before.Credentials, e.Credentials},
		} {
			c.set(s.kind, s.what, e.Name, s.old, s.new)
		}
	}
}

// set compares names that were always, sometimes or never there.
func (c *comparison) set(kind, what, where string, old, new SetFacts) {
	if old.Of.Calls == 0 || new.Of.Calls == 0 {
		return
	}
	retyped := map[string]bool{}
	for _, name := range sortedKeys(new.Items) {
		now := new.Items[name]
		if _, known := old.Items[name]; known {
			continue
		}
		field, kindNow, _ := strings.Cut(name, ": ")
		if before := otherType(field, old, new); kind == traffic.FindingField && before != "" {
			retyped[field+": "+before] = true
			c.fact(kind, where, fmt.Sprintf("%s %s changed its type from %s to %s, in %s", what, field, before, kindNow, ofCalls(now.Calls, new.Of.Calls)), true, before, kindNow)
			continue
		}
		c.fact(kind, where, fmt.Sprintf("%s %s is new: never in %s, now in %s", what, name, many(old.Of.Calls, "call"), ofCalls(now.Calls, new.Of.Calls)), true, "never", ofCalls(now.Calls, new.Of.Calls))
	}
	for _, name := range sortedKeys(old.Items) {
		before := old.Items[name]
		if _, still := new.Items[name]; still || retyped[name] || before.Runs < old.Of.Runs {
			continue
		}
		// The chance to see none of it in the new calls when nothing changed.
		share := float64(before.Calls) / float64(old.Of.Calls)
		if math.Pow(1-share, float64(new.Of.Calls)) > c.o.Alpha || len(c.new.loss) > 0 && kind != traffic.FindingHeader {
			continue
		}
		c.fact(kind, where, fmt.Sprintf("%s %s is gone: it was in %s, and is in none of %s now", what, name, ofCalls(before.Calls, old.Of.Calls), many(new.Of.Calls, "call")), kind != traffic.FindingCredential, ofCalls(before.Calls, old.Of.Calls), "never")
	}
}

// otherType is the type that a field had and has no more; empty where it has none, or where the new type joined the old one.
func otherType(field string, old, new SetFacts) string {
	for _, name := range sortedKeys(old.Items) {
		f, kind, _ := strings.Cut(name, ": ")
		if _, still := new.Items[name]; f == field && !still {
			return kind
		}
	}
	return ""
}

// outcomes compares how calls end: ways never seen before, and how many fail.
func (c *comparison) outcomes(old, new *EndpointFacts) {
	for _, outcome := range sortedKeys(new.Outcomes) {
		if _, known := old.Outcomes[outcome]; known || outcome == "open" {
			continue
		}
		n := new.Outcomes[outcome].Calls
		c.fact(traffic.FindingStatus, new.Name, fmt.Sprintf("ends with %s, which it never did in %s: now %s", outcome, many(old.Calls.Sum(), "call"), ofCalls(n, new.Calls.Sum())), true,
			mix(old.Outcomes), mix(new.Outcomes))
	}
	a, b := shareOf(old.Errors, old.Calls), shareOf(new.Errors, new.Calls)
	if old.Errors.Sum() == 0 && new.Errors.Sum() == 0 || math.Abs(b-a) < shareEffect {
		return
	}
	k1, n1, k2, n2 := old.Errors.Sum(), old.Calls.Sum(), new.Errors.Sum(), new.Calls.Sum()
	f := traffic.Finding{Kind: traffic.FindingStatus, Where: new.Name, OldN: n1, NewN: n2, Basis: "requests", Effect: b - a,
		What: fmt.Sprintf("fails in %s of the calls, and did in %s", percent(b), percent(a)), Old: percent(a), New: percent(b), P: stat.Fisher(k1, n1, k2, n2), Improved: b < a}
	beyond := b > worst(old.Errors, old.Calls, true)
	c.test(f, func(f *traffic.Finding, significant bool) {
		switch {
		case f.Improved:
			f.Verdict = traffic.Pass
		case significant && beyond:
			f.Verdict = traffic.Fail
		case f.P < doubt && beyond && !c.o.Describe:
			f.Verdict = traffic.Inconclusive
			if more := stat.FisherNeeds(k1, n1, k2, n2, c.o.Alpha/float64(max(1, c.report.Tests))); more < stat.Never {
				f.NeedMore = more
				f.What += fmt.Sprintf(": need %d more calls to tell", more)
			}
		default:
			f.Verdict = "" // as runs of the same code differ
		}
	})
}

// retries compares attempts beyond the first.
func (c *comparison) retries(old, new *EndpointFacts) {
	switch before, now := old.Retries.Sum(), new.Retries.Sum(); {
	case now == 0:
	case before == 0:
		c.fact(traffic.FindingRetry, new.Name, fmt.Sprintf("is retried, which it never was in %s: %s are retries", many(old.Calls.Sum(), "call"), ofCalls(now, new.Calls.Sum())), true, "0", many(now, "retry"))
		c.covered[new.Name] = true
	default:
		a, b := shareOf(old.Retries, old.Calls), shareOf(new.Retries, new.Calls)
		if b > a+shareEffect && b > worst(old.Retries, old.Calls, true) {
			c.test(traffic.Finding{Kind: traffic.FindingRetry, Where: new.Name, OldN: old.Calls.Sum(), NewN: new.Calls.Sum(), Basis: "requests", Effect: b - a,
				What: fmt.Sprintf("%s of its calls are retries, and %s were", percent(b), percent(a)), Old: percent(a), New: percent(b),
				P: stat.Fisher(before, old.Calls.Sum(), now, new.Calls.Sum())}, nil)
		}
	}
}

// mostUnsure is the share of calls of unknown cause up to which calls per request are compared by cause.
const mostUnsure = 0.05

// causes compares how many calls serving one call makes.
func (c *comparison) causes(old, new *EndpointFacts) {
	for _, child := range sortedKeys(new.Causes) {
		a, b := old.Causes[child], new.Causes[child]
		if a.Calls == 0 || !a.sure() || !b.sure() {
			continue
		}
		switch {
		case a.Least == a.Most && b.Most > a.Most:
			c.fact(traffic.FindingCalls, new.Name, fmt.Sprintf("makes up to %s of %s, and made exactly %d each time in %s", many(b.Most, "call"), child, a.Most, many(a.Of, "call")), true,
				fmt.Sprint(a.Most), fmt.Sprint(b.Most))
			c.covered[child] = true
		case a.Least == a.Most:
		default:
			c.rate(new.Name, "makes %s calls of "+strings.ReplaceAll(child, "%", "%%")+" for each of its own, and made %s", a.Calls, a.Of, b.Calls, b.Of, b.Most > a.Most)
		}
	}
}

func (x Cause) sure() bool { return float64(x.Unsure) <= mostUnsure*float64(x.Calls+x.Unsure) }

// rate compares calls per request where their number varies; beyond says that it is out of what was seen before.
func (c *comparison) rate(where, what string, k1, n1, k2, n2 int, beyond bool) {
	if n1 == 0 || n2 == 0 || k1 == 0 {
		return
	}
	a, b := float64(k1)/float64(n1), float64(k2)/float64(n2)
	if b < a*(1+callsEffect) || !beyond {
		return
	}
	c.test(traffic.Finding{Kind: traffic.FindingCalls, Where: where, OldN: n1, NewN: n2, Basis: "requests", Effect: b/a - 1,
		What: fmt.Sprintf(what, shortNumber(b), shortNumber(a)), Old: shortNumber(a), New: shortNumber(b), P: stat.PoissonRatio(k1, n1, k2, n2)}, nil)
}

// calls compares how often an endpoint is called in a run.
func (c *comparison) calls(old, new *EndpointFacts) {
	if c.covered[new.Name] {
		return
	}
	entries, steady := c.old.Entries.Steady()
	now, same := c.new.Entries.Steady()
	before, fixed := old.Calls.Steady()
	if steady && same && fixed && entries == now && c.old.always(old.Calls, old.Of) && (c.old.Runs >= 2 || c.o.Describe) {
		most := slices.Max(new.Calls)
		if most > before {
			c.fact(traffic.FindingCalls, new.Name, fmt.Sprintf("is called %d times in a run, and was exactly %d times in each of %d", most, before, c.old.Runs), true, fmt.Sprint(before), fmt.Sprint(most))
		} else if least := slices.Min(new.Calls); least < before && len(c.new.loss) == 0 {
			c.fact(traffic.FindingCalls, new.Name, fmt.Sprintf("is called %d times in a run, and was exactly %d times in each of %d", least, before, c.old.Runs), false, fmt.Sprint(before), fmt.Sprint(least))
		}
		return
	}
	if c.old.Entries.Sum() == 0 || c.new.Entries.Sum() == 0 {
		return
	}
	highest := float64(slices.Max(old.Calls)) / float64(max(1, slices.Min(c.old.Entries)))
	present := float64(new.Calls.Sum()) / float64(c.new.Entries.Sum())
	c.rate(new.Name, "is called %s times for each call from outside, and was %s times", old.Calls.Sum(), c.old.Entries.Sum(), new.Calls.Sum(), c.new.Entries.Sum(), present > highest)
}

// test adds a finding that its p decides, together with all others of the gate. decide nil is: worse when significant.
func (c *comparison) test(f traffic.Finding, decide func(*traffic.Finding, bool)) {
	if decide == nil {
		decide = func(f *traffic.Finding, significant bool) {
			switch {
			case significant:
				f.Verdict = traffic.Fail
			case f.P < doubt && !c.o.Describe:
				f.Verdict = traffic.Inconclusive
			}
		}
	}
	c.tests = append(c.tests, &pending{f, decide})
}

// settle adjusts the tests for each other, gives every finding its verdict, and the report its own.
func (c *comparison) settle() {
	r := c.report
	ps := make([]float64, len(c.tests))
	for i, t := range c.tests {
		ps[i] = t.P
	}
	holm, q := stat.Holm(ps), stat.BenjaminiHochberg(ps)
	r.Tests = len(c.tests)
	r.RunsNeed = stat.RunsNeeded(c.o.Alpha / float64(max(1, r.Tests)))
	r.Findings = append(r.Findings, c.facts...)
	for i, t := range c.tests {
		t.Holm, t.Q = holm[i], q[i]
		t.decide(&t.Finding, holm[i] < c.o.Alpha)
		if t.Verdict != "" {
			r.Findings = append(r.Findings, t.Finding)
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b traffic.Finding) int {
		return cmp.Or(cmp.Compare(gravity(a), gravity(b)), cmp.Compare(a.Where, b.Where), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.What, b.What))
	})
	r.Verdict = traffic.Pass
	for _, f := range r.Findings {
		switch f.Verdict {
		case traffic.Fail:
			r.Verdict = traffic.Fail
		case traffic.Inconclusive:
			if r.Verdict == traffic.Pass {
				r.Verdict = traffic.Inconclusive
			}
		}
	}
	for _, l := range slices.Concat(c.old.loss, c.new.loss) {
		r.Notes = append(r.Notes, "the capture is incomplete, so what is missing may have been there: "+l)
		if r.Verdict == traffic.Pass {
			r.Verdict = traffic.Inconclusive
		}
	}
	if len(c.new.Endpoints) == 0 && r.Verdict != traffic.Fail {
		r.Verdict = traffic.NoData
		r.Notes = append(r.Notes, "there is no call to compare")
	}
}

// gravity sorts findings: what failed, what is open, what was not compared, what got better, what is as it was.
func gravity(f traffic.Finding) int {
	switch {
	case f.Verdict == traffic.Fail:
		return 0
	case f.Verdict == traffic.Inconclusive:
		return 1
	case f.Verdict == traffic.Skipped:
		return 3
	case f.Improved:
		return 2
	}
	return 4
}

// shareOf is the share of one count in another, over all runs.
func shareOf(k, n Counts) float64 {
	if n.Sum() == 0 {
		return 0
	}
	return float64(k.Sum()) / float64(n.Sum())
}

// worst is the largest share that a single run can have had, or the smallest one. Counts that were read from text are not in the
// order of runs, so extremes are paired: it errs towards calling nothing a change.
func worst(k, n Counts, high bool) float64 {
	if len(k) == 0 || len(n) == 0 {
		return 0
	}
	if high {
		return float64(slices.Max(k)) / float64(max(1, slices.Min(n)))
	}
	return float64(slices.Min(k)) / float64(max(1, slices.Max(n)))
}

func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "y") {
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(what, "y"))
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func ofRuns(k, n int) string {
	if k == n {
		return "every one of " + many(n, "run")
	}
	return fmt.Sprintf("%d of %s", k, many(n, "run"))
}

func ofCalls(k, n int) string { return fmt.Sprintf("%d of %s", k, many(n, "call")) }

// never says in how many runs something was not, and what that proves at 95 %: that it is in less than 1 - 0.05^(1/k) of them.
func never(runs int) string {
	if runs < learntRuns {
		return "never in " + many(runs, "run")
	}
	return fmt.Sprintf("never in %s (so in fewer than %.0f %% of runs)", many(runs, "run"), 100*(1-math.Pow(0.05, 1/float64(runs))))
}

func percent(x float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", 100*x), ".0") + " %"
}

// mix is "200 98 %, 503 2 %".
func mix(outcomes map[string]Presence) string {
	sum := 0
	for _, p := range outcomes {
		sum += p.Calls
	}
	var parts []string
	for i, name := range sortedKeys(outcomes) {
		if i == 4 {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, name+" "+percent(float64(outcomes[name].Calls)/float64(max(1, sum))))
	}
	return strings.Join(parts, ", ")
}
