package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func deleteSnapshot(s *mcp.Server, t *tools) {
	ask(s, t, deletes, control.DeleteSnapshot, "Delete a snapshot",
		"Deletes a snapshot with its packets and dissections for good. Ask the user first.",
		nil)
}
