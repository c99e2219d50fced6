package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// checkVerb judges traffic that is there already.
func checkVerb(r *root) *cobra.Command {
	var (
		pcap, iteration string
		base            string
		allow           bool
		only            []string
		told            reports
	)
	c := &cobra.Command{
		Use:   "check [FILE…]",
		Short: "Judge traffic that is there already: the last iteration's, or a capture file's",
		Long: `check judges the traffic of the newest iteration again, with the check files as they are now. With --pcap it judges
a capture file and needs neither daemon nor devloop.yaml. Same bytes, same verdict.`,
		Example: "  devloop check\n  devloop check --pcap x.pcapng checks/checkout.netcheck.yaml",
		RunE: func(cmd *cobra.Command, files []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			if err := told.check(); err != nil {
				return err
			}
			if pcap != "" {
				return r.checkFile(ctx, pcap, base, files, only, allow, &told)
			}
			if base != "" {
				return control.Usagef("devloop check --pcap x.pcapng --baseline .devloop/baselines/x.yaml a.netcheck.yaml", "--baseline is for --pcap: iterations have the baseline of their exercise")
			}
			if len(files) > 0 {
				return control.Usagef("devloop check judges the files that devloop.yaml names; name others with --pcap", "check files are given, but no --pcap")
			}
			c, _, err := r.connect(ctx)
			if err != nil {
				return err
			}
			it, err := c.Judge(ctx, control.IterationRequest{Iteration: iteration, Allow: allow})
			if err != nil {
				return err
			}
			if err := told.write(ctx, r, c, it, allow); err != nil {
				return err
			}
			return r.told(it)
		},
	}
	f := c.Flags()
	f.StringVar(&pcap, "pcap", "", "capture file to judge (pcap or pcapng, also compressed; - for standard input)")
	f.StringVar(&base, "baseline", "", "with --pcap: file of a recorded baseline that slowdown(), new_edges() and the like ask for")
	f.StringVar(&iteration, "iteration", "", "iteration to judge again; the newest with traffic by default")
	f.BoolVar(&allow, "allow-inconclusive", false, "exit 0 where a check could not be decided, and say so")
	f.StringSliceVar(&only, "check", nil, "judge these checks only (names or globs; with --pcap)")
	told.flag(f)
	return c
}

// checkFile judges a capture file.
func (r *root) checkFile(ctx context.Context, pcap, base string, files, only []string, allow bool, told *reports) error {
	var err error
	if len(files) == 0 {
		if files, err = r.workspaceChecks(); err != nil {
			return err
		}
	}
	suite, err := assertions.Load(files)
	if err != nil {
		return &control.Error{What: err.Error(), Exit: control.ExitUsage}
	}
	known, err := baselineFile(base)
	if err != nil {
		return err
	}
	d, err := dissectAll(ctx, pcap)
	if err != nil {
		return err
	}
	if unknown := suite.Unknown(only); len(unknown) > 0 {
		return control.Usagef("the checks are: "+strings.Join(suite.Names(), ", ")+", and builtin/…", fmt.Sprintf("no check is called %q", unknown[0]))
	}
	folder, _ := r.findWorkspace() // without one files that checks name lie below the working directory
	results := suite.Check(assertions.Input{Dissection: d, WindowStart: d.Account.First, WindowEnd: d.Account.Last, Folder: folder, Baseline: known}, assertions.CheckOptions{Only: only})
	verdict, code := assertions.Summary(results, allow)
	it := &traffic.Iteration{
		ID: pcap, State: "done", Phase: "done", Verdict: verdict, Checks: results, Account: &d.Account, Calls: len(d.Calls),
		Source: cmp.Or(d.Account.Source, "file"), ExitCode: code,
	}
	if err := told.write(ctx, r, nil, it, allow); err != nil {
		return err
	}
	if !r.text() {
		if err := r.json(it); err != nil {
			return err
		}
	} else {
		for i := range it.Checks { // there is no daemon to explain it: say it here
			c := it.Checks[i]
			fmt.Fprintf(r.out, "%s %s  n=%d\n", r.mark(c.Verdict), checkName(c), c.N)
			if c.Verdict != traffic.Pass {
				fmt.Fprintf(r.out, "    %s\n", c.Reason)
				for _, e := range c.Evidence {
					fmt.Fprintf(r.out, "    packets %d-%d  %s\n", e.Packets.First, e.Packets.Last, e.Summary)
				}
			}
		}
		fmt.Fprintln(r.out, verdictLine(it))
	}
	return r.verdict(it)
}

// baselineFile reads a recorded baseline that is named on the command line.
func baselineFile(file string) (assertions.BaselineFile, error) {
	if file == "" {
		return assertions.BaselineFile{}, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return assertions.BaselineFile{}, &control.Error{What: err.Error(), Exit: control.ExitUsage}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, baseline.MostText+1))
	if err != nil {
		return assertions.BaselineFile{}, &control.Error{What: err.Error(), Exit: control.ExitUsage}
	}
	b, err := baseline.Parse(text)
	if err != nil {
		return assertions.BaselineFile{}, &control.Error{What: file + ": " + err.Error(), Hint: "devloop baseline record", Exit: control.ExitUsage}
	}
	return assertions.BaselineFile{Name: file, Host: baseline.ThisHost(), Baseline: b}, nil
}

// workspaceChecks are the check files that devloop.yaml names.
func (r *root) workspaceChecks() ([]string, error) {
	workspace, err := r.findWorkspace()
	if err != nil {
		return nil, &control.Error{What: "no check files are given, and there is no devloop.yaml that names some", Hint: "devloop check --pcap FILE CHECKS.netcheck.yaml", Exit: control.ExitUsage}
	}
	cfg, err := config.Load(workspace)
	if err != nil {
		return nil, &control.Error{What: err.Error(), Exit: control.ExitUsage}
	}
	var files []string
	for _, glob := range cfg.Checks {
		found, err := filepath.Glob(filepath.Join(cfg.Dir, glob))
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// dissectAll reads a whole capture file into memory: what a check needs.
func dissectAll(ctx context.Context, path string) (*traffic.Dissection, error) {
	if path == "-" {
		d, err := store.DissectReader(ctx, os.Stdin, store.FileOptions{})
		return d, badCapture(ctx, err)
	}
	d, err := store.DissectFile(ctx, path, store.FileOptions{})
	return d, badCapture(ctx, err)
}

// badCapture says what to do about a capture that cannot be read.
func badCapture(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	e := &control.Error{What: err.Error(), Exit: control.ExitUsage}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) { // these say it all
		e.Hint = "a capture is a pcap or pcapng file, also gzip or zstd"
	}
	return e
}
