package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func listSnapshotDissections(s *mcp.Server, t *tools) {
	ask(s, t, looks, control.ListDissections, "List dissections",
		"Dissections of snapshots: those that wait or run, those that are there, and those that came to nothing.",
		nil)
}
