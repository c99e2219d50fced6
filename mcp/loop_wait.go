package mcp

import (
	"context"
	"errors"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// WaitInput asks for a finished iteration.
type WaitInput struct {
	After   string `json:"after,omitempty" jsonschema:"wait for an iteration newer than this id"`
	Seconds int    `json:"seconds,omitempty" jsonschema:"give up after this many seconds; 60 by default, at most 600"`
}

const (
	defaultWait = 60
	maxWait     = 600
)

func loopWait(s *mcp.Server, t *tools) {
	add(s, t, reads, "loop_wait", "Wait for a verdict",
		"Returns when the loop has settled: the verdict of what was saved last. Use it when saves start iterations by themselves (devloop up).",
		func(ctx context.Context, c *control.Client, req *mcp.CallToolRequest, in WaitInput) (Iteration, error) {
			seconds := in.Seconds
			if seconds <= 0 {
				seconds = defaultWait
			}
			ctx, cancel := context.WithTimeout(ctx, time.Duration(min(seconds, maxWait))*time.Second)
			defer cancel()
			it, err := c.Wait(ctx, control.WaitRequest{After: in.After}, progress(ctx, req))
			if errors.Is(err, context.DeadlineExceeded) {
				return Iteration{}, &control.Error{What: "no iteration finished in the time given", Hint: "loop_status says what runs; loop_run starts an iteration"}
			}
			if err != nil {
				return Iteration{}, err
			}
			return iteration(it, false), nil
		})
}
