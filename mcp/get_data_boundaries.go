package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func getDataBoundaries(s *mcp.Server, t *tools) {
	ask(s, t, looks, control.GetDataBoundaries, "Get the bounds of packets",
		"From when to when packets are recorded, by node: what create_snapshot can take. Calls have bounds of their own: get_l7_data_boundaries.",
		nil)
}
