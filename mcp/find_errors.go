package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func findErrors(s *mcp.Server, t *tools) {
	ask(s, t, reads, control.FindErrors, "Find errors",
		"What failed, grouped by cause: the chain from the outermost failing call to the innermost, who gave up first, a timeline and examples. Begin here when something fails.",
		nil)
}
