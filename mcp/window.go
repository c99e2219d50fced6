package mcp

import (
	"context"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// WindowInput opens a window.
type WindowInput struct {
	Seconds int      `json:"max_seconds,omitempty" jsonschema:"it closes by itself after this many seconds; 600 by default"`
	Checks  []string `json:"checks,omitempty" jsonschema:"judge only these checks (names or globs)"`
}

func windowOpen(s *mcp.Server, t *tools) {
	add(s, t, drives, "window_open", "Open a window",
		"Builds and deploys what is stale, then captures the traffic that you drive yourself until window_close judges it.",
		func(ctx context.Context, c *control.Client, _ *mcp.CallToolRequest, in WindowInput) (control.WindowOpened, error) {
			w, err := c.WindowOpen(ctx, control.WindowRequest{MaxSeconds: in.Seconds, Checks: in.Checks})
			if err != nil {
				return control.WindowOpened{}, err
			}
			return *w, nil
		})
}

// CloseInput closes the window.
type CloseInput struct {
	Format string `json:"response_format,omitempty" jsonschema:"concise (default) or detailed"`
}

func windowClose(s *mcp.Server, t *tools) {
	add(s, t, judges, "window_close", "Close the window and judge it",
		"Closes the window that window_open opened, waits until the wire is quiet, and returns the verdict over its traffic.",
		func(ctx context.Context, c *control.Client, _ *mcp.CallToolRequest, in CloseInput) (Iteration, error) {
			it, err := c.WindowClose(ctx, control.IterationRequest{}, nil)
			if err != nil {
				return Iteration{}, err
			}
			return iteration(it, in.Format == "detailed"), nil
		})
}
