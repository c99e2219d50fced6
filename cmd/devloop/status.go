package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/internal/daemon"
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
	return &cobra.Command{
		Use: "down", Short: "End the services, remove what was made for them, and verify it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			workspace, err := r.findWorkspace()
			if err != nil {
				return err
			}
			c, _, err := dialWorkspace(ctx, workspace)
			if err == nil {
				if err := takeDown(ctx, c, workspace); err != nil {
					return timedOut(ctx, err)
				}
				r.say("down: nothing is left")
				return nil
			}
			if !errors.Is(err, control.ErrNoDaemon) {
				return err
			}
			// No daemon, or one that is ending: one that was killed may have left its services behind.
			if err := daemon.Ended(ctx, workspace); err != nil {
				return timedOut(ctx, err)
			}
			removed, err := localenv.Clean(ctx, workspace, "")
			if err != nil {
				return &control.Error{What: err.Error(), Hint: "sudo devloop down", Exit: control.ExitEnvironment}
			}
			for _, what := range removed {
				r.say("removed %s", what)
			}
			r.say("down: nothing is left")
			return nil
		},
	}
}
