package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func listConnections(s *mcp.Server, t *tools) {
	ask(s, t, reads, control.ListConnections, "List connections",
		"How connections are opened and used, by client and server: new ones a minute (churn), calls for each connection (reuse), resets, refusals, lifetimes.",
		nil)
}
