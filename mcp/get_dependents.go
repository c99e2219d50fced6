package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func getDependents(s *mcp.Server, t *tools) {
	ask(s, t, reads, control.GetDependents, "Get dependents",
		"Who is affected when a service, database, cache or external host goes away: callers, their callers, and the endpoints whose requests need it.",
		nil)
}
