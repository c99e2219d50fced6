package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func createSnapshot(s *mcp.Server, t *tools) {
	ask(s, t, creates, control.CreateSnapshot, "Create a snapshot",
		"Seals a span of what was recorded, by duration (the last 30m) or by start and end: immutable, kept until it is deleted or too old. get_snapshot says when it is there.",
		nil)
}
