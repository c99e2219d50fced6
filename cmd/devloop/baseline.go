package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// baselineVerb records how the services speak, and compares.
func baselineVerb(r *root) *cobra.Command {
	c := &cobra.Command{Use: "baseline", Short: "How the services spoke when it was accepted: record, compare, accept, list"}
	c.AddCommand(baselineRecord(r), baselineCompare(r), baselineAccept(r), baselineList(r))
	return c
}

func baselineRecord(r *root) *cobra.Command {
	var q control.BaselineRequest
	c := &cobra.Command{
		Use: "record [NAME]", Short: "Run the present code several times and write what it showed, as text for git", Args: cobra.MaximumNArgs(1),
		Long: `record runs an exercise several times and writes .devloop/baselines/NAME.yaml: who speaks to whom, what is asked, how it ends,
names of headers and JSON fields, calls per request, latencies and how much they differ from run to run. Runs in which services were
started only warm them up. NAME is the exercise's name by default; checks over that exercise then know it as baseline.`,
		Example: "  devloop baseline record\n  devloop baseline record --runs 20 checkout-rush",
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.baseline(cmd.Context(), control.BaselineRecord, &q, args)
		},
	}
	baselineFlags(c, &q, 10)
	return c
}

func baselineCompare(r *root) *cobra.Command {
	var (
		q       control.BaselineRequest
		against string
		most    int
	)
	c := &cobra.Command{
		Use: "compare [NAME]", Short: "Say what differs from a baseline, or from another commit", Args: cobra.MaximumNArgs(1),
		Long: `compare says what the newest iteration, or --runs new ones, show that the baseline does not: edges, calls per request, statuses, headers,
fields, credentials, retries, kept connections, latencies. Each finding has its figures and a verdict; one that cannot be decided says
how much more it needs.

--against git:merge-base, git:main or git:COMMIT needs no baseline: it builds that commit in a worktree beside this one, and runs both in
turns (A B B A) on this machine until each side has the runs that the comparison needs.`,
		Example: "  devloop baseline compare\n  devloop baseline compare --runs 3 checkout-rush\n  devloop baseline compare --against git:merge-base",
		RunE: func(cmd *cobra.Command, args []string) error {
			if against != "" {
				ctx, cancel := r.bounded(cmd.Context())
				defer cancel()
				a, err := r.against(ctx, control.RunRequest{Exercise: q.Exercise, Where: q.Where}, against, q.AllowInconclusive, most)
				if err != nil {
					return timedOut(ctx, err)
				}
				return r.toldBaseline(a)
			}
			return r.baseline(cmd.Context(), control.BaselineCompare, &q, args)
		},
	}
	baselineFlags(c, &q, 0)
	c.Flags().BoolVar(&q.AllowInconclusive, "allow-inconclusive", false, "exit 0 where nothing failed and something could not be decided")
	c.Flags().StringVar(&against, "against", "", "git:merge-base, or git: with any commit, instead of a baseline")
	c.Flags().IntVar(&most, "max-runs", 12, "with --against: at most so many runs of each side")
	return c
}

func baselineAccept(r *root) *cobra.Command {
	var q control.BaselineRequest
	c := &cobra.Command{
		Use: "accept [NAME]", Short: "Take over into the baseline what differs now, and nothing else", Args: cobra.MaximumNArgs(1),
		Long: `accept compares, and takes over what differs: the text of what does not differ stays as it is, so that the change can be reviewed.
The reason stands in the baseline beside the findings.`,
		Example: "  devloop baseline accept --reason 'prices come in cents now' checkout-rush",
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.baseline(cmd.Context(), control.BaselineAccept, &q, args)
		},
	}
	baselineFlags(c, &q, 0)
	c.Flags().StringVar(&q.Reason, "reason", "", "why the change is right")
	return c
}

// baselineFlags say which traffic is meant.
func baselineFlags(c *cobra.Command, q *control.BaselineRequest, runs int) {
	f := c.Flags()
	text := "iterations to run now"
	if runs == 0 {
		text += "; by default none: the newest iteration with traffic is taken"
	}
	f.IntVar(&q.Runs, "runs", runs, text)
	f.StringSliceVar(&q.Iterations, "iteration", nil, "iterations that are there already, instead of running some")
	f.StringVar(&q.Exercise, "exercise", "", "exercise of devloop.yaml to run instead of the default one")
	whereFlags(f, &q.Where)
}

func baselineList(r *root) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "The baselines of this workspace", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return asking[struct{}, control.BaselinesAnswer]{method: control.BaselineList, show: printBaselines}.run(r, cmd, &struct{}{}, nil)
		},
	}
}

func printBaselines(t io.Writer, a *control.BaselinesAnswer) {
	if len(a.Baselines) == 0 {
		fmt.Fprintln(t, "no baseline is recorded yet: devloop baseline record")
		return
	}
	fmt.Fprintln(t, "NAME\tRECORDED\tCOMMIT\tRUNS\tENDPOINTS\tEDGES\tNOTE")
	for _, b := range a.Baselines {
		note := b.Problem
		if b.OtherHost {
			note = "of another host: latencies are not compared"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\t%s\n", b.Name, harmless(b.Recorded), harmless(b.Commit), b.Runs, b.Endpoints, b.Edges, harmless(note))
	}
}

// baseline asks the daemon and tells what it says.
func (r *root) baseline(ctx context.Context, m control.Method[control.BaselineRequest, control.BaselineAnswer], q *control.BaselineRequest, args []string) error {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	if len(args) > 0 {
		q.Name = args[0]
	}
	if len(q.Iterations) > 0 {
		q.Runs = 0
	}
	c, _, err := r.connect(ctx)
	if err != nil {
		return err
	}
	p := &progress{r: r}
	a, err := m.Ask(ctx, c, *q, p.event)
	if err != nil {
		return timedOut(ctx, err)
	}
	return r.toldBaseline(a)
}

// toldBaseline prints an answer and turns its exit code into the command's.
func (r *root) toldBaseline(a *control.BaselineAnswer) error {
	if !r.text() {
		if err := r.json(a); err != nil {
			return err
		}
	} else {
		r.printBaseline(a)
	}
	if a.ExitCode != 0 {
		return exit(a.ExitCode)
	}
	return nil
}

func (r *root) printBaseline(a *control.BaselineAnswer) {
	w := r.out
	if a.Report != nil {
		r.printReport(w, a.Report)
	}
	for _, warning := range a.Warnings {
		fmt.Fprintln(w, "warning:", harmless(warning))
	}
	if a.Written {
		fmt.Fprintf(w, "wrote %s from %s\n", a.File, strings.Join(a.Iterations, ", "))
	}
	if a.Next != "" {
		fmt.Fprintln(w, "next:", a.Next)
	}
}

// printReport writes the findings for people: those that matter in full, those that are as before by their number.
func (r *root) printReport(w io.Writer, report *baseline.Report) {
	same := 0
	for _, f := range report.Findings {
		if f.Verdict == traffic.Pass && !f.Improved {
			same++
			continue
		}
		fmt.Fprintf(w, "  %s %s\n      %s\n", r.mark(f.Verdict), harmless(f.Where), harmless(findingLine(f)))
	}
	for _, n := range report.Notes {
		fmt.Fprintln(w, "note:", harmless(n))
	}
	fmt.Fprintf(w, "%d endpoints; the latency of %d is shown to be as before; %d runs against %d\n", report.Endpoints, same, report.NewRuns, report.OldRuns)
	fmt.Fprintf(w, "verdict: %s\n", report.Verdict)
}

// findingLine is a finding with what its test says.
func findingLine(f traffic.Finding) string {
	line := f.Kind + ": " + f.What
	if f.Kind == traffic.FindingLatency && f.Basis != "" && f.Basis != "exact" {
		line += fmt.Sprintf(" [p %.2g, adjusted %.2g, n %d and %d %s]", f.P, f.Holm, f.OldN, f.NewN, f.Basis)
	}
	return line
}
