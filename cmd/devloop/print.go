package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/devloop-io/devloop/devloop"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// colours of verdicts on a terminal: ECMA-48 SGR.
var colours = map[traffic.Verdict]string{
	traffic.Pass: "32", traffic.Fail: "31", traffic.Error: "31", traffic.Inconclusive: "33", traffic.NoData: "33", traffic.Skipped: "2",
}

// mark is a verdict's sign and name, in columns, coloured where the output is a terminal.
func (r *root) mark(v traffic.Verdict) string {
	text := fmt.Sprintf("%s %-12s", v.Sign(), v)
	if !r.coloured() {
		return text
	}
	return "\x1b[" + colours[v] + "m" + text + "\x1b[0m"
}

// coloured reports whether people see colours: --color, else NO_COLOR and FORCE_COLOR, else whether it is a terminal.
func (r *root) coloured() bool {
	switch {
	case r.colour == "always":
		return true
	case r.colour == "never" || os.Getenv("NO_COLOR") != "":
		return false
	case os.Getenv("FORCE_COLOR") != "":
		return true
	}
	f, ok := r.out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// printIteration writes an iteration for people: its checks, each with verdict, n and the command that shows its
// evidence, what failed, and the time ledger.
func (r *root) printIteration(it *traffic.Iteration) {
	w := r.out
	fmt.Fprintf(w, "%s  %s  capture %s", it.ID, cmp.Or(it.Revision, "-"), cmp.Or(it.Source, "none"))
	if it.Calls > 0 {
		fmt.Fprintf(w, "  %d calls", it.Calls)
	}
	fmt.Fprintln(w)
	if len(it.Checks) > 0 {
		fmt.Fprintln(w)
		r.printChecks(it)
	}
	printWireDiff(r.out, it.WireDiff)
	printFailure(w, it)
	for _, warning := range it.Warnings {
		fmt.Fprintln(w, "warning:", warning)
	}
	for _, e := range it.Events {
		fmt.Fprintln(w, "cluster:", harmless(e.String()))
	}
	fmt.Fprintln(w)
	printLedger(w, it)
	fmt.Fprintln(w, verdictLine(it))
}

func (r *root) printChecks(it *traffic.Iteration) {
	w := r.out
	width := 0
	for _, c := range it.Checks {
		width = max(width, len([]rune(checkName(c))))
	}
	for _, c := range it.Checks {
		if c.Builtin && c.Verdict == traffic.Skipped {
			continue // a built-in check with nothing to look at says nothing
		}
		fmt.Fprintf(w, "  %s %-*s  n=%-5d devloop explain %s\n", r.mark(c.Verdict), width, checkName(c), c.N, devloop.Slug(c.Name))
		if c.Verdict != traffic.Pass {
			fmt.Fprintf(w, "      %s\n", harmless(c.Reason))
			if c.Loss != "" {
				fmt.Fprintf(w, "      %s\n", harmless(c.Loss))
			}
		}
		for _, v := range c.Vacuous {
			fmt.Fprintf(w, "      vacuous: %s\n", v)
		}
	}
}

func checkName(c traffic.CheckResult) string {
	if c.Group != "" {
		return c.Name + " [" + c.Group + "]"
	}
	return c.Name
}

func printFailure(w io.Writer, it *traffic.Iteration) {
	f := it.Failure
	if f == nil {
		return
	}
	fmt.Fprintf(w, "\n%s failed: %s\n", f.Phase, f.What)
	for line := range strings.Lines(f.Output) {
		fmt.Fprintf(w, "  | %s\n", strings.TrimRight(line, "\n"))
	}
	if f.Hint != "" {
		fmt.Fprintf(w, "hint: %s\n", f.Hint)
	}
}

// printLedger writes where the time went.
func printLedger(w io.Writer, it *traffic.Iteration) {
	var parts []string
	for _, p := range it.Ledger {
		if p.NS >= int64(time.Millisecond) {
			parts = append(parts, fmt.Sprintf("%s %s", p.Phase, milliseconds(p.NS)))
		}
	}
	parts = append(parts, "total "+milliseconds(it.Ended-it.Started))
	fmt.Fprintln(w, "ledger:", strings.Join(parts, " · "))
}

func milliseconds(ns int64) string {
	if ns >= int64(10*time.Second) {
		return fmt.Sprintf("%.1f s", float64(ns)/1e9)
	}
	return fmt.Sprintf("%d ms", ns/1e6)
}

// verdictLine is the one line that matters.
func verdictLine(it *traffic.Iteration) string {
	if it.Verdict == "" {
		return fmt.Sprintf("no verdict: the iteration ended in phase %s (exit code %d)", it.Phase, it.ExitCode)
	}
	counts := map[traffic.Verdict]int{}
	for _, c := range it.Checks {
		counts[c.Verdict]++
	}
	var parts []string
	for _, v := range []traffic.Verdict{traffic.Fail, traffic.Error, traffic.Inconclusive, traffic.NoData, traffic.Pass, traffic.Skipped} {
		if counts[v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[v], v))
		}
	}
	return fmt.Sprintf("verdict: %s (%s)", it.Verdict, strings.Join(parts, ", "))
}

// progress tells of an iteration as it goes, one line a phase, on standard error.
type progress struct {
	r     *root
	phase string
}

func (p *progress) event(e control.Event) {
	switch {
	case e.Output != "":
		if !p.r.quiet {
			fmt.Fprint(p.r.err, e.Output)
		}
	case e.Message != "":
		p.r.say("… %s", e.Message)
	case e.Iteration != nil && e.Iteration.State == "running" && e.Iteration.ID+e.Iteration.Phase != p.phase:
		p.phase = e.Iteration.ID + e.Iteration.Phase
		switch e.Iteration.Phase { // the short ones are in the ledger
		case "start", "build", "deploy", "exercise", "judge":
			p.r.say("%s %s …", e.Iteration.ID, e.Iteration.Phase)
		}
	}
}

// printStatus writes what runs.
func printStatus(w io.Writer, st *control.Status) {
	fmt.Fprintf(w, "workspace %s\n", st.Workspace)
	if st.URL != "" {
		fmt.Fprintf(w, "listens on %s (devloop daemon token)\n", st.URL)
	}
	if st.Running {
		fmt.Fprintf(w, "environment local (%s)", st.Mode)
		if st.ModeWhy != "" {
			fmt.Fprintf(w, ": %s", st.ModeWhy)
		}
		fmt.Fprintf(w, "\ncapture %s", st.Source)
		if st.SourceWhy != "" {
			fmt.Fprintf(w, ": %s", st.SourceWhy)
		}
		fmt.Fprintf(w, "\nrevision %s, phase %s\n", cmp.Or(st.Revision, "-"), st.Phase)
	} else {
		fmt.Fprintln(w, "nothing runs yet: devloop up, or devloop run")
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "\nSERVICE\tKIND\tSTATE\tBUILD\tPID\tADDRESS\tLOG")
	for _, s := range st.Services {
		kind := s.Kind
		if s.Outside {
			kind = "outside"
		}
		if s.StandIn {
			kind += " (stand-in)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", s.Name, kind, s.State, cmp.Or(s.Build, "-"), s.PID, address(s), s.Log)
	}
	_ = t.Flush() // as any print to the terminal
	if len(st.Stale) > 0 {
		fmt.Fprintf(w, "\nstale: %s\n", strings.Join(st.Stale, ", "))
	}
	for _, warning := range st.Warnings {
		fmt.Fprintln(w, "warning:", warning)
	}
	if st.Last != nil {
		fmt.Fprintf(w, "\nlast: %s %s\n", st.Last.ID, verdictLine(st.Last))
	}
}

func address(s control.ServiceStatus) string {
	var ports []string
	for _, p := range s.Ports {
		ports = append(ports, fmt.Sprint(p))
	}
	slices.Sort(ports)
	if s.IP == "" {
		return strings.Join(ports, ",")
	}
	return s.IP + ":" + strings.Join(ports, ",")
}
