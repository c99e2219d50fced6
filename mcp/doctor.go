package mcp

import (
	"context"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func doctor(s *mcp.Server, t *tools) {
	add(s, t, looks, "doctor", "Doctor",
		"Which capture source works here, why not a better one, and the one command that would fix it. In a cluster: engine, context, rights and the nodes' agents.",
		func(ctx context.Context, c *control.Client, _ *mcp.CallToolRequest, _ struct{}) (control.DoctorAnswer, error) {
			a, err := c.Doctor(ctx)
			if err != nil {
				return control.DoctorAnswer{}, err
			}
			return *a, nil
		})
}
