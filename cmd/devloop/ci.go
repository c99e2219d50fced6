package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/assertions/report"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// ciVerb is the whole loop in one step of a pipeline.
func ciVerb(r *root) *cobra.Command {
	var (
		request control.RunRequest
		told    reports
		dir     string
		with    comparedWith
	)
	c := &cobra.Command{
		Use: "ci [-- COMMAND ARG…]", Short: "In a pipeline: up, run, judge, report, down",
		Long: `ci starts the services, drives them, judges what they said to each other, writes its reports into a folder and takes
everything down again: junit.xml, devloop.sarif, report.html and summary.md. In GitHub Actions it also writes annotations
and the step's summary. A command after -- drives the services instead of an exercise.

Where a baseline of the exercise is recorded, ci compares with it; with --against git:merge-base it builds that commit beside this one,
runs both in turns, and compares these. What got worse is a failed check like any other, at the changed line where git tells it.
The exit code is that of run.`,
		Example: "  devloop ci\n  devloop ci --against git:merge-base\n  devloop ci --out reports -- go test ./e2e/...",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			if err := wraps(cmd, args, &request); err != nil {
				return err
			}
			told.specs = append(told.specs, "junit="+filepath.Join(dir, "junit.xml"), "sarif="+filepath.Join(dir, "devloop.sarif"),
				"html="+filepath.Join(dir, "report.html"), "markdown="+filepath.Join(dir, "summary.md"))
			if err := told.check(); err != nil {
				return err
			}
			return r.ci(ctx, request, with, &told)
		},
	}
	f := c.Flags()
	f.StringVar(&dir, "out", "devloop-report", "folder for the reports")
	f.StringVar(&request.Exercise, "exercise", "", "exercise of devloop.yaml to run instead of the default one")
	f.StringSliceVar(&request.Checks, "check", nil, "judge these checks only (names or globs)")
	f.BoolVar(&request.AllowInconclusive, "allow-inconclusive", false, "exit 0 where a check could not be decided, and say so")
	f.StringVar(&with.against, "against", "", "git:merge-base, or git: with any commit, to compare with instead of a recorded baseline")
	f.IntVar(&with.most, "max-runs", 12, "with --against: at most so many runs of each side")
	f.IntVar(&with.runs, "runs", 3, "runs to compare with a recorded baseline; 0 compares with none")
	f.StringVar(&told.bundle, "bundle", "", "also write one redacted file with verdict, calls, checks and masked packets, for devloop open")
	told.flag(f)
	whereFlags(f, &request.Where)
	return c
}

// comparedWith says what an iteration's traffic is compared with.
type comparedWith struct {
	against    string // a commit
	most, runs int
}

// ci runs one iteration, compares, tells everybody, and leaves nothing.
func (r *root) ci(ctx context.Context, request control.RunRequest, with comparedWith, told *reports) error {
	return r.runThenTell(ctx, request, true, func(c *control.Client, it *traffic.Iteration) error {
		if it.Failure == nil {
			r.compare(ctx, c, it, request, with)
		}
		if err := told.write(ctx, r, c, it, request.AllowInconclusive); err != nil {
			return err
		}
		return r.tellGitHub(ctx, it, request.AllowInconclusive)
	})
}

// compare adds to an iteration's checks what a comparison found. One that could not be made is an error among them, not a pass.
func (r *root) compare(ctx context.Context, c *control.Client, it *traffic.Iteration, request control.RunRequest, with comparedWith) {
	answer, err := r.compared(ctx, c, it, request, with)
	var results []traffic.CheckResult
	switch {
	case err != nil:
		results = []traffic.CheckResult{{Name: "baseline", Builtin: true, On: "all calls and connections", Expect: "as in " + cmp.Or(with.against, "the baseline"),
			Severity: assertions.SeverityError, Verdict: traffic.Error, Reason: "it could not be compared: " + err.Error()}}
	case answer == nil:
		return
	default:
		results = answer.Report.Results()
		it.Warnings = append(it.Warnings, answer.Warnings...)
	}
	it.Checks = append(it.Checks, results...)
	if verdict, _ := assertions.Summary(results, false); verdict == traffic.Pass {
		return
	}
	verdict, code := assertions.Summary(it.Checks, request.AllowInconclusive)
	it.Verdict = verdict
	if it.ExitCode == 0 || code == control.ExitFail { // a wrapped command's own code counts unless ours is graver
		it.ExitCode = code
	}
}

// compared compares with a commit, or with the recorded baseline of the exercise; nil where there is none.
func (r *root) compared(ctx context.Context, c *control.Client, it *traffic.Iteration, request control.RunRequest, with comparedWith) (*control.BaselineAnswer, error) {
	if with.against != "" {
		return r.against(ctx, request, with.against, request.AllowInconclusive, with.most)
	}
	if with.runs <= 0 || len(request.Command) > 0 || it.Exercise == nil {
		return nil, nil
	}
	list, err := control.BaselineList.Ask(ctx, c, struct{}{}, nil)
	if err != nil {
		return nil, err
	}
	name := it.Exercise.Name
	if !slices.ContainsFunc(list.Baselines, func(b control.BaselineInfo) bool { return b.Name == name }) {
		r.say("… compared with nothing: no baseline is called %s, and --against git:merge-base is not given", name)
		return nil, nil
	}
	q := control.BaselineRequest{Name: name, Exercise: name, Runs: with.runs, AllowInconclusive: request.AllowInconclusive, Where: request.Where}
	return control.BaselineCompare.Ask(ctx, c, q, (&progress{r: r}).event)
}

// tellGitHub writes annotations and the step's summary, where this is a step of GitHub Actions.
func (r *root) tellGitHub(ctx context.Context, it *traffic.Iteration, allowed bool) error {
	if os.Getenv("GITHUB_ACTIONS") != "true" {
		return nil
	}
	rep := r.report(ctx, it, allowed)
	annotations, err := report.Find("github")
	if err != nil {
		return err
	}
	if err := annotations.Write(r.err, rep); err != nil { // GitHub reads both, and standard output is data
		return err
	}
	path := os.Getenv("GITHUB_STEP_SUMMARY")
	if path == "" {
		return nil
	}
	summary, err := report.Find("markdown")
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := summary.Write(&b, rep); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("write the step's summary: %w", err)
	}
	if _, err := f.Write(b.Bytes()); err != nil {
		f.Close()
		return fmt.Errorf("write the step's summary: %w", err)
	}
	return f.Close()
}
