package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func listSnapshots(s *mcp.Server, t *tools) {
	ask(s, t, looks, control.ListSnapshots, "List snapshots",
		"Snapshots with their windows, sizes and dissections, newest first: those that were asked for and one of each iteration.",
		nil)
}
