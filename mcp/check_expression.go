package mcp

import (
	"context"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// ExpressionInput is a check to try.
type ExpressionInput struct {
	On        string `json:"on" jsonschema:"KFL filter that selects the calls or connections"`
	Expect    string `json:"expect" jsonschema:"expectation over them, e.g. none(status_code >= 500) && p95(latency) < duration(\"120ms\")"`
	Iteration string `json:"iteration,omitempty" jsonschema:"the newest with traffic by default"`
}

func checkExpression(s *mcp.Server, t *tools) {
	add(s, t, reads, "check_expression", "Try a check",
		"Compiles a check and evaluates it on traffic that is there already. Use it to write checks: errors come with position and suggestion.",
		func(ctx context.Context, c *control.Client, _ *mcp.CallToolRequest, in ExpressionInput) (Check, error) {
			r, err := c.Expression(ctx, control.ExpressionRequest{On: in.On, Expect: in.Expect, Iteration: in.Iteration})
			if err != nil {
				return Check{}, err
			}
			return check(*r, true), nil
		})
}
