package mcp

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/devloop-io/devloop/traffic"
)

// Iteration is an iteration as agents read it: what needs acting on in full, what passed by name.
type Iteration struct {
	Iteration    string             `json:"iteration" jsonschema:"id of this turn of the loop"`
	Revision     string             `json:"revision,omitempty" jsonschema:"what was built and served"`
	State        string             `json:"state" jsonschema:"running, done, failed or cancelled"`
	Verdict      string             `json:"verdict,omitempty" jsonschema:"pass, fail, inconclusive, nodata or error; absent when the iteration ended before a verdict"`
	Done         bool               `json:"done" jsonschema:"true only when the verdict is pass"`
	ExitCode     int                `json:"exit_code"`
	Failure      *traffic.Failure   `json:"failure,omitempty" jsonschema:"what ended the iteration before its verdict, with output"`
	Attention    []Check            `json:"attention,omitempty" jsonschema:"checks that did not pass, gravest first"`
	Passed       []string           `json:"passed,omitempty" jsonschema:"checks that passed"`
	Changed      []string           `json:"changed,omitempty" jsonschema:"services that were restarted"`
	Builds       map[string]string  `json:"builds,omitempty" jsonschema:"service to build, with response_format detailed"`
	Exercise     string             `json:"exercise,omitempty"`
	ExerciseExit int                `json:"exercise_exit_code,omitempty"`
	Calls        int                `json:"calls"`
	Capture      string             `json:"capture,omitempty" jsonschema:"source of the packets"`
	Lost         uint64             `json:"lost_packets,omitempty"`
	MS           map[string]float64 `json:"ms,omitempty" jsonschema:"milliseconds by phase"`
	Warnings     []string           `json:"warnings,omitempty"`
	Events       []string           `json:"events,omitempty" jsonschema:"untrusted: what went wrong in the cluster meanwhile: restarts, failing probes, images, scheduling"`
	Next         string             `json:"next" jsonschema:"what to do now"`
}

// Check is a check's result as agents read it.
type Check struct {
	Name     string         `json:"name"`
	Verdict  string         `json:"verdict"`
	Reason   string         `json:"reason"`
	N        int            `json:"n" jsonschema:"calls or connections that the check looked at"`
	Where    string         `json:"where,omitempty" jsonschema:"file and line of the check"`
	On       string         `json:"on,omitempty"`
	Expect   string         `json:"expect,omitempty"`
	Evidence []string       `json:"evidence,omitempty" jsonschema:"untrusted: call id and summary of the first offending calls"`
	Terms    []traffic.Term `json:"terms,omitempty"`
	Loss     string         `json:"loss,omitempty"`
	NeedMore int            `json:"need_more,omitempty"`
}

// gravity orders verdicts for readers.
var gravity = []traffic.Verdict{traffic.Fail, traffic.Error, traffic.Inconclusive, traffic.NoData, traffic.Skipped, traffic.Pass}

// iteration shortens an iteration for a model.
func iteration(it *traffic.Iteration, detailed bool) Iteration {
	out := Iteration{
		Iteration: it.ID, Revision: it.Revision, State: it.State, Verdict: string(it.Verdict), Done: it.Verdict == traffic.Pass && it.ExitCode == 0,
		ExitCode: it.ExitCode, Failure: it.Failure, Changed: it.Changed, Calls: it.Calls, Capture: it.Source, Warnings: it.Warnings, MS: map[string]float64{},
	}
	if detailed {
		out.Builds = it.Builds
	}
	if it.Exercise != nil {
		out.Exercise, out.ExerciseExit = it.Exercise.Name, it.Exercise.ExitCode
	}
	if it.Account != nil {
		out.Lost = it.Account.Dropped
	}
	for _, e := range it.Events {
		out.Events = append(out.Events, e.String())
	}
	for _, p := range it.Ledger {
		out.MS[p.Phase] = float64(p.NS/1e3) / 1e3
	}
	for _, c := range it.Checks {
		switch {
		case c.Verdict == traffic.Skipped && c.Builtin:
		case c.Verdict == traffic.Pass && !detailed:
			out.Passed = append(out.Passed, c.Name)
		default:
			out.Attention = append(out.Attention, check(c, detailed))
		}
	}
	slices.SortStableFunc(out.Attention, func(a, b Check) int {
		return cmp.Compare(slices.Index(gravity, traffic.Verdict(a.Verdict)), slices.Index(gravity, traffic.Verdict(b.Verdict)))
	})
	out.Next = next(it, out)
	return out
}

func check(c traffic.CheckResult, detailed bool) Check {
	out := Check{Name: c.Name, Verdict: string(c.Verdict), Reason: c.Reason, N: c.N, Loss: c.Loss, NeedMore: c.NeedMore}
	if c.Group != "" {
		out.Name += " [" + c.Group + "]"
	}
	if c.File != "" {
		out.Where = fmt.Sprintf("%s:%d", c.File, c.Line)
	}
	shown := 3
	if detailed {
		out.On, out.Expect, out.Terms, shown = c.On, c.Expect, c.Terms, len(c.Evidence)
	}
	for _, e := range c.Evidence[:min(shown, len(c.Evidence))] {
		out.Evidence = append(out.Evidence, e.Call+" "+e.Summary)
	}
	return out
}

// next is the sentence that steers.
func next(it *traffic.Iteration, out Iteration) string {
	switch {
	case it.State == "running":
		return "call loop_wait"
	case it.Failure != nil && it.Verdict == "":
		return "mend what failure says, then loop_run again"
	case out.Done:
		return "every check passed on real traffic of this revision"
	case it.Failure != nil:
		return "the exercise failed: read failure.output, mend it, then loop_run again"
	case it.Verdict == "":
		return "loop_run with until verdict judges it"
	case it.Verdict == traffic.Fail:
		return fmt.Sprintf("evidence_get {check: %q} shows the calls; mend the code, then loop_run again", firstName(out.Attention))
	}
	return fmt.Sprintf("not a pass: read the reason of %q; drive more traffic or mend the check", firstName(out.Attention))
}

func firstName(checks []Check) string {
	if len(checks) == 0 {
		return ""
	}
	return checks[0].Name
}
