package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func getL7DataBoundaries(s *mcp.Server, t *tools) {
	ask(s, t, looks, control.GetL7DataBoundaries, "Get the bounds of calls",
		"From when to when live calls are kept. Older packets may be there all the same: make a snapshot and dissect it.",
		nil)
}
