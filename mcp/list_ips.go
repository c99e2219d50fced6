package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func listIPs(s *mcp.Server, t *tools) {
	ask(s, t, looks, control.ListIPs, "List addresses",
		"Whose IP address it was, and when: addresses move between pods.",
		nil)
}
