package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/control"
)

// upVerb is the loop: it stays and tells of every iteration.
func upVerb(r *root) *cobra.Command {
	var (
		detach bool
		where  control.Where
	)
	c := &cobra.Command{
		Use:   "up",
		Short: "Start the loop: every save is built, exercised, captured and judged",
		Long: `up starts the services, runs the first iteration, and then one at every save. It stays and tells of each.
Ctrl-C ends the services when this command started them; --detach leaves at once and lets the loop go on.
On a terminal the phases of the running iteration and the newest failure stand below the finished ones; elsewhere, with
NO_COLOR or in a CI, each iteration is told in plain lines.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			return r.up(ctx, detach, where)
		},
	}
	c.Flags().BoolVar(&detach, "detach", false, "return after the first verdict; the loop goes on")
	whereFlags(c.Flags(), &where)
	return c
}

func (r *root) up(ctx context.Context, detach bool, where control.Where) error {
	c, idle, err := r.connect(ctx)
	if err != nil {
		return err
	}
	if !detach {
		defer func() {
			if idle {
				_ = r.endServices(ctx, c) // it says what could not be ended
			} else if ctx.Err() != nil {
				r.say("… the services keep running: devloop down ends them")
			}
		}()
	}
	if err := c.Follow(ctx, true); err != nil {
		return err
	}
	if !detach {
		defer func() { _ = c.Follow(context.WithoutCancel(ctx), false) }() // a daemon that ended does not follow
	}
	if out, ok := r.onTerminal(); ok && !detach {
		return r.upLive(ctx, c, out, where)
	}
	p := &progress{r: r}
	first, err := c.Run(ctx, control.RunRequest{Where: where}, p.event)
	if err != nil {
		return timedOut(ctx, err)
	}
	if told := r.told(first); detach || first.Failure != nil && first.Failure.Phase == "start" {
		return told
	}
	r.say("\nwatching: save a file, or press Ctrl-C to end")
	seen := first.ID
	err = c.Events(ctx, func(e control.Event) {
		p.event(e)
		if it := e.Iteration; it != nil && it.ID != seen && (it.State == "done" || it.State == "failed") {
			seen = it.ID
			fmt.Fprintln(r.out)
			_ = r.told(it) // its exit code is that of one iteration, not of the loop
		}
	})
	return timedOut(ctx, err)
}

// upLive is the loop on a terminal.
func (r *root) upLive(ctx context.Context, c *control.Client, out *os.File, where control.Where) error {
	l, done := r.goLive(out)
	defer done()
	first, err := c.Run(ctx, control.RunRequest{Where: where}, l.event)
	if err != nil {
		return timedOut(ctx, err)
	}
	l.finished(first)
	if first.Failure != nil && first.Failure.Phase == "start" {
		return r.verdict(first)
	}
	l.watch()
	seen := first.ID
	err = c.Events(ctx, func(e control.Event) {
		l.event(e)
		if it := e.Iteration; it != nil && it.ID != seen && (it.State == "done" || it.State == "failed") {
			seen = it.ID
			l.finished(it)
		}
	})
	return timedOut(ctx, err)
}
