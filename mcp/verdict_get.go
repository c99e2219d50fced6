package mcp

import (
	"context"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// VerdictInput names an iteration.
type VerdictInput struct {
	Iteration string `json:"iteration,omitempty" jsonschema:"id such as i12; the newest finished one by default"`
	Format    string `json:"response_format,omitempty" jsonschema:"concise (default) or detailed: every check with on, expect and estimates"`
}

func verdictGet(s *mcp.Server, t *tools) {
	add(s, t, reads, "verdict_get", "Get a verdict",
		"The verdict of a finished iteration with every check that did not pass.",
		func(ctx context.Context, c *control.Client, _ *mcp.CallToolRequest, in VerdictInput) (Iteration, error) {
			it, err := c.Verdict(ctx, control.IterationRequest{Iteration: in.Iteration})
			if err != nil {
				return Iteration{}, err
			}
			return iteration(it, in.Format == "detailed"), nil
		})
}
