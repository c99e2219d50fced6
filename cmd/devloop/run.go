package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// runVerb is one iteration.
func runVerb(r *root) *cobra.Command {
	var (
		request control.RunRequest
		down    bool
		told    reports
	)
	c := &cobra.Command{
		Use:   "run [flags] [-- COMMAND ARG…]",
		Short: "One iteration: build what changed, exercise, capture, judge",
		Long: `run builds and restarts what changed, drives the services, and judges what they said to each other.

With a command after --, that command drives them instead of an exercise of devloop.yaml. It runs in a network
namespace where the services' names resolve; in a cluster, on this machine with a proxy into the cluster (ALL_PROXY). run then exits with the command's own code when that is not zero and no
check says anything graver, else with the code of the verdict.

The services keep running afterwards, which makes the next run fast; --down ends them.`,
		Example: "  devloop run\n  devloop run --exercise checkout-rush\n  devloop run -- go test ./e2e/...",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			if err := wraps(cmd, args, &request); err != nil {
				return err
			}
			if err := told.check(); err != nil {
				return err
			}
			return r.runThenTell(ctx, request, down, func(c *control.Client, it *traffic.Iteration) error {
				return told.write(ctx, r, c, it, request.AllowInconclusive)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&request.Exercise, "exercise", "", "exercise of devloop.yaml to run instead of the default one")
	f.StringVar(&request.Until, "until", "verdict", "stop after build, deploy, exercise or verdict")
	f.StringSliceVar(&request.Checks, "check", nil, "judge these checks only (names or globs)")
	f.BoolVar(&request.AllowInconclusive, "allow-inconclusive", false, "exit 0 where a check could not be decided, and say so")
	f.BoolVar(&down, "down", false, "end the services afterwards; a cluster stays until devloop down")
	told.flag(f)
	whereFlags(f, &request.Where)
	return c
}

// wraps has the command after -- drive the services, in the folder and with the environment that it was typed in.
func wraps(cmd *cobra.Command, args []string, r *control.RunRequest) (err error) {
	if at := cmd.ArgsLenAtDash(); at != 0 && len(args) > 0 {
		return control.Usagef(fmt.Sprintf("put -- before the command: devloop %s -- %s", cmd.Name(), args[0]), cmd.Name()+" takes a command after -- only")
	}
	if len(args) == 0 {
		return nil
	}
	r.Command, r.Env = args, os.Environ()
	r.Dir, err = os.Getwd()
	return err
}

// whereFlags say where the services shall run.
func whereFlags(f *pflag.FlagSet, w *control.Where) {
	f.StringVar(&w.Environment, "env", "", "local, kind or cluster, instead of what devloop.yaml says")
	f.StringVar(&w.NodeImage, "node-image", "", "image of the nodes of a kind cluster that is made")
	f.IntVar(&w.Nodes, "nodes", 0, "number of nodes of a kind cluster that is made")
}

// runThenTell runs one iteration, has it told while its daemon still runs, and prints it.
func (r *root) runThenTell(ctx context.Context, request control.RunRequest, down bool, tell func(*control.Client, *traffic.Iteration) error) error {
	c, idle, err := r.connect(ctx)
	if err != nil {
		return err
	}
	p := &progress{r: r}
	it, err := c.Run(ctx, request, p.event)
	var untold error
	if err == nil {
		untold = tell(c, it)
	}
	switch {
	case down, idle && (err != nil || it.Failure != nil && it.Failure.Phase == "start"):
		if downErr := r.endServices(ctx, c); downErr != nil && err == nil {
			err = downErr
		}
	case ctx.Err() != nil:
		r.say("… the services keep running: devloop down ends them")
	}
	if err != nil {
		return timedOut(ctx, err)
	}
	err = r.told(it)
	if untold == nil || err == nil {
		return errors.Join(err, untold)
	}
	fmt.Fprintln(r.err, "error:", untold) // the verdict's exit code is the graver news
	return err
}

// endServices takes everything down, also after an interrupt, and says what could not be.
func (r *root) endServices(ctx context.Context, c *control.Client) error {
	if ctx.Err() != nil {
		r.say("… ending the services")
	}
	workspace, err := r.findWorkspace()
	if err == nil {
		err = takeDown(context.WithoutCancel(ctx), c, workspace, control.DownRequest{KeepCluster: true})
	}
	if err != nil && ctx.Err() != nil { // main reports the interrupt only
		fmt.Fprintln(r.err, "error:", err)
	}
	return err
}

// timedOut makes a request that ended with its context an error of that context.
func timedOut(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	return err
}

// told prints an iteration and turns its exit code into the command's.
func (r *root) told(it *traffic.Iteration) error {
	if r.text() {
		r.printIteration(it)
	} else if err := r.json(it); err != nil {
		return err
	}
	return r.verdict(it)
}

// verdict turns an iteration's exit code into the command's. A pass that --allow-inconclusive made is called by its
// name, on standard error and whatever --quiet says.
func (r *root) verdict(it *traffic.Iteration) error {
	if it.ExitCode != 0 {
		return exit(it.ExitCode)
	}
	switch it.Verdict {
	case traffic.Inconclusive, traffic.NoData, traffic.Error:
		fmt.Fprintf(r.err, "warning: exit code 0 only because of --allow-inconclusive: the verdict is %s, which is not a pass\n", it.Verdict)
	}
	return nil
}
