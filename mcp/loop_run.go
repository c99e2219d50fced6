package mcp

import (
	"context"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// RunInput asks for an iteration.
type RunInput struct {
	Until    string   `json:"until,omitempty" jsonschema:"stop after build, deploy, exercise or verdict (the default)"`
	Exercise string   `json:"exercise,omitempty" jsonschema:"exercise of devloop.yaml; its default otherwise"`
	Command  []string `json:"command,omitempty" jsonschema:"program and arguments that drive the services instead, e.g. [\"go\",\"test\",\"./e2e/...\"]; no shell. The services' names resolve for it"`
	Checks   []string `json:"checks,omitempty" jsonschema:"judge only these checks (names or globs)"`
	Format   string   `json:"response_format,omitempty" jsonschema:"concise (default) or detailed"`
}

func loopRun(s *mcp.Server, t *tools) {
	add(s, t, judges, "loop_run", "Run the loop",
		"Builds what changed, restarts it, drives the services, captures their traffic and judges it. Call it after every change; only verdict pass is done. Takes seconds; reports progress. A build error comes back with the compiler's output while the old build goes on serving.",
		func(ctx context.Context, c *control.Client, req *mcp.CallToolRequest, in RunInput) (Iteration, error) {
			it, err := c.Run(ctx, control.RunRequest{Until: in.Until, Exercise: in.Exercise, Command: in.Command, Checks: in.Checks}, progress(ctx, req))
			if err != nil {
				return Iteration{}, err
			}
			return iteration(it, in.Format == "detailed"), nil
		})
}
