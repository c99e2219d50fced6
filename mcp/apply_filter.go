package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func applyFilter(s *mcp.Server, t *tools) {
	ask(s, t, looks, control.ApplyFilter, "Name a filter",
		"Checks a KFL filter, shows how it was read, and gives it a filter_id that the other tools take. A mistake comes back with its position and the nearest name.",
		nil)
}
