package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/internal/daemon"
	"github.com/devloop-io/devloop/kindenv"
	"github.com/devloop-io/devloop/localenv"
)

// statusVerb says what runs.
func statusVerb(r *root) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "What runs, what captures, and where the loop stands", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			_, st, err := r.dial(ctx)
			if errors.Is(err, control.ErrNoDaemon) {
				return &control.Error{What: err.Error(), Hint: "devloop up", Exit: control.ExitEnvironment}
			}
			if err != nil {
				return err
			}
			if !r.text() {
				return r.json(st)
			}
			printStatus(r.out, st)
			return nil
		},
	}
}

// waitVerb returns when the loop has settled.
func waitVerb(r *root) *cobra.Command {
	var request control.WaitRequest
	c := &cobra.Command{
		Use: "wait", Short: "Wait for the verdict of what was saved last", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			c, _, err := r.dial(ctx)
			if errors.Is(err, control.ErrNoDaemon) {
				return &control.Error{What: err.Error(), Hint: "devloop up", Exit: control.ExitEnvironment}
			}
			if err != nil {
				return err
			}
			p := &progress{r: r}
			it, err := c.Wait(ctx, request, p.event)
			if err != nil {
				return timedOut(ctx, err)
			}
			return r.told(it)
		},
	}
	c.Flags().StringVar(&request.After, "after", "", "wait for an iteration newer than this one")
	return c
}

// downVerb ends everything and verifies it.
func downVerb(r *root) *cobra.Command {
	var request control.DownRequest
	c := &cobra.Command{
		Use: "down", Short: "End the services, remove what was made for them, and verify it", Args: cobra.NoArgs,
		Long: `down ends the services and the daemon and removes what was made for them: processes, networks, and in a cluster every
object with the workspace's label. A kind cluster that devloop made for this workspace goes too, unless another
workspace uses it.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			workspace, err := r.findWorkspace()
			if err != nil {
				return err
			}
			c, _, err := dialWorkspace(ctx, workspace)
			if err == nil {
				if err := takeDown(ctx, c, workspace, request); err != nil {
					return timedOut(ctx, err)
				}
			} else if !errors.Is(err, control.ErrNoDaemon) {
				return err
			}
			// What there is without a daemon, or with one that is ending: one that was killed may have left its services
			// behind, and one that ended for want of work leaves those in a cluster running.
			if err := daemon.Ended(ctx, workspace); err != nil {
				return timedOut(ctx, err)
			}
			return r.clean(ctx, workspace, request.KeepCluster)
		},
	}
	c.Flags().BoolVar(&request.KeepCluster, "keep-cluster", false, "leave a kind cluster that devloop made, without what was deployed to it")
	return c
}

// clean removes what no daemon looks after.
func (r *root) clean(ctx context.Context, workspace string, keepCluster bool) error {
	removed, err := localenv.Clean(ctx, workspace, "")
	if err != nil {
		return &control.Error{What: err.Error(), Hint: "sudo devloop down", Exit: control.ExitEnvironment}
	}
	pods, err := kindenv.Clean(ctx, workspace, "", keepCluster)
	if err != nil {
		return &control.Error{What: err.Error(), Hint: "devloop down again", Exit: control.ExitEnvironment}
	}
	for _, what := range append(removed, pods...) {
		r.say("removed %s", what)
	}
	r.say("down: nothing is left")
	return nil
}
