package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func deleteSnapshotDissection(s *mcp.Server, t *tools) {
	ask(s, t, deletes, control.DeleteDissection, "Delete a dissection",
		"Deletes a dissection's calls; the snapshot stays and can be dissected again. Ask the user first.",
		nil)
}
