package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func getCallTree(s *mcp.Server, t *tools) {
	ask(s, t, reads, control.GetCallTree, "Get a call's tree",
		"The calls that a call caused, from its topmost ancestor down, with self times and the critical path: where the time of a slow call went, and who gave up first. parent_by says how sure each parent is.",
		nil)
}
