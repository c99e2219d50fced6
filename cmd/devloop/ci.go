package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/assertions/report"
	"github.com/devloop-io/devloop/internal/buildinfo"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// ciVerb is the whole loop in one step of a pipeline.
func ciVerb(r *root) *cobra.Command {
	var (
		request control.RunRequest
		told    reports
		dir     string
	)
	c := &cobra.Command{
		Use: "ci [-- COMMAND ARG…]", Short: "In a pipeline: up, run, judge, report, down",
		Long: `ci starts the services, drives them, judges what they said to each other, writes its reports into a folder and takes
everything down again: junit.xml, devloop.sarif, report.html and summary.md. In GitHub Actions it also writes annotations
and the step's summary. A command after -- drives the services instead of an exercise. The exit code is that of run.`,
		Example: "  devloop ci\n  devloop ci --out reports -- go test ./e2e/...",
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
			return r.ci(ctx, request, &told)
		},
	}
	f := c.Flags()
	f.StringVar(&dir, "out", "devloop-report", "folder for the reports")
	f.StringVar(&request.Exercise, "exercise", "", "exercise of devloop.yaml to run instead of the default one")
	f.StringSliceVar(&request.Checks, "check", nil, "judge these checks only (names or globs)")
	f.BoolVar(&request.AllowInconclusive, "allow-inconclusive", false, "exit 0 where a check could not be decided, and say so")
	told.flag(f)
	whereFlags(f, &request.Where)
	return c
}

// ci runs one iteration, tells everybody, and leaves nothing.
func (r *root) ci(ctx context.Context, request control.RunRequest, told *reports) error {
	return r.runThenTell(ctx, request, true, func(c *control.Client, it *traffic.Iteration) error {
		if err := told.write(ctx, r, c, it, request.AllowInconclusive); err != nil {
			return err
		}
		return r.tellGitHub(it, request.AllowInconclusive)
	})
}

// tellGitHub writes annotations and the step's summary, where this is a step of GitHub Actions.
func (r *root) tellGitHub(it *traffic.Iteration, allowed bool) error {
	if os.Getenv("GITHUB_ACTIONS") != "true" {
		return nil
	}
	rep := &report.Report{Version: buildinfo.Version(), Iteration: it, Allowed: allowed}
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
