package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
)

// root carries what every verb needs.
type root struct {
	workspace string
	output    string
	quiet     bool
	colour    string
	timeout   time.Duration
	out, err  io.Writer

	kubeconfig string // of a daemon that is started
	there      remote // instead of the workspace's daemon
}

func newRoot() *root { return &root{out: os.Stdout, err: os.Stderr} }

// command parses and runs one command line.
func (r *root) command(ctx context.Context, args []string) error {
	c := r.tree()
	c.SetArgs(args)
	err := c.ExecuteContext(ctx)
	if err != nil && strings.HasPrefix(err.Error(), "unknown command") {
		return control.Usagef("devloop help", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	return err
}

// tree is the root command with every verb under it.
func (r *root) tree() *cobra.Command {
	c := &cobra.Command{
		Use:   "devloop",
		Short: "Save a file, get a verdict from real traffic",
		Long: `devloop builds and runs your services, captures what they really say to each other, and judges it.

  devloop up                     start the loop: every save gets a verdict
  devloop run                    one iteration: build, exercise, capture, judge
  devloop run -- go test ./...   wrap any suite: its exit code and a network verdict
  devloop explain CHECK          the calls and packets behind a verdict

` + exitCodes,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return fromEnvironment(cmd) },
	}
	f := c.PersistentFlags()
	f.StringVar(&r.workspace, "workspace", "", "folder of devloop.yaml; the nearest one upwards by default")
	f.StringVarP(&r.output, "output", "o", "text", "text, json or jsonl (dissect also parquet)")
	f.StringVar(&r.colour, "color", "auto", "auto, always or never")
	f.BoolVarP(&r.quiet, "quiet", "q", false, "no progress on standard error")
	f.DurationVar(&r.timeout, "timeout", 0, "give up after this time, exit code 124")
	for _, add := range verbs {
		c.AddCommand(add(r))
	}
	for _, verb := range c.Commands() {
		r.remoteFlags(verb)
	}
	c.AddCommand(&cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodesInFull}) // without Run: a help topic
	c.SetOut(r.out)
	c.SetErr(r.err)
	c.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return control.Usagef(cmd.CommandPath()+" --help", err.Error())
	})
	return c
}

const exitCodes = `Exit codes: 0 pass · 1 a check failed · 2 usage or configuration · 3 environment (build, deploy, capture)
4 nothing failed, but a check was inconclusive, nodata or error · 5 a bug of devloop · 124 timeout · 130 interrupt`

const exitCodesInFull = `  0    every check that counts passed
  1    a check failed, or the exercise did
  2    usage or configuration: a flag, devloop.yaml, a check file, a filter, a capture file
  3    environment: build, start, deploy or capture could not be done; the answer names the phase
  4    nothing failed, but a check that counts was inconclusive, nodata or error;
       --allow-inconclusive makes this 0, and says so
  5    a bug of devloop: please report it
  124  the time given by --timeout is over
  130  interrupted by Ctrl-C; what was started has been ended

Where several apply: 130, 124, 5, 2, 3, 1, 4. devloop run -- COMMAND exits with the command's own code when that is
not zero and nothing of devloop's is graver.`

// verbs is the list of commands, one file each.
var verbs = []func(*root) *cobra.Command{
	initVerb, upVerb, runVerb, ciVerb, checkVerb, testVerb, statusVerb, waitVerb, downVerb, doctorVerb, explainVerb, suggestVerb, replayVerb, openVerb, dashboardVerb, callsVerb, flowsVerb, statsVerb, mapVerb, traceVerb,
	errorsVerb, compareVerb, retriesVerb, connectionsVerb, egressVerb, dependentsVerb, eventsVerb, correlateVerb, sensitiveVerb, exportVerb,
	baselineVerb, wireDiffVerb, flakesVerb, faultVerb, snapshotVerb, dissectVerb, kflVerb, clusterVerb, captureVerb, mcpVerb, lspVerb, daemonVerb, configVerb, versionVerb,
}

// fromEnvironment sets every flag that was not given from its twin DEVLOOP_FLAG_NAME. Those called --kind have none: DEVLOOP_KIND
// is where tests find the tool that makes clusters.
func fromEnvironment(cmd *cobra.Command) error {
	var errs []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		name := "DEVLOOP_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value, ok := os.LookupEnv(name); ok && !f.Changed && f.Name != "help" && f.Name != "kind" {
			if err := cmd.Flags().Set(f.Name, value); err != nil {
				errs = append(errs, control.Usagef("unset "+name, fmt.Sprintf("%s=%s: %v", name, value, err)))
			}
		}
	})
	return errors.Join(errs...)
}

// bounded adds --timeout to a context.
func (r *root) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, r.timeout)
}

// findWorkspace is the folder of devloop.yaml, absolute and without links.
func (r *root) findWorkspace() (string, error) {
	start := r.workspace
	if start == "" {
		start = "."
	}
	path, err := config.Find(start)
	if err != nil {
		return "", &control.Error{What: err.Error(), Hint: "devloop init writes one by looking at the repository", Exit: control.ExitUsage}
	}
	dir := filepath.Dir(path)
	if filepath.Base(dir) == ".config" {
		dir = filepath.Dir(dir)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

// json writes a value as indented JSON, or on one line for jsonl.
func (r *root) json(v any) error {
	e := json.NewEncoder(r.out)
	if r.output == "json" {
		e.SetIndent("", "  ")
	}
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// text reports whether people read the answer.
func (r *root) text() bool { return r.output == "" || r.output == "text" }

// say writes progress for people; never data.
func (r *root) say(format string, args ...any) {
	if !r.quiet {
		fmt.Fprintf(r.err, format+"\n", args...)
	}
}
