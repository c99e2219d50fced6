package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func getSnapshotDissectionStatus(s *mcp.Server, t *tools) {
	ask(s, t, looks, control.GetDissectionJob, "Get a dissection",
		"State and progress (0 to 100) of a snapshot's dissection, and what it found.",
		nil)
}
