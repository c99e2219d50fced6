package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func getSnapshot(s *mcp.Server, t *tools) {
	ask(s, t, looks, control.GetSnapshot, "Get a snapshot",
		"State, window, size, nodes and dissections of a snapshot; with verify every byte is compared with its digests.",
		nil)
}
