package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func compareTraffic(s *mcp.Server, t *tools) {
	ask(s, t, reads, control.CompareTraffic, "Compare traffic",
		"What differs between two sets of traffic, a (the baseline) and b: windows, snapshots, iterations or revisions. Endpoints that are new, lost, failing, slower or faster with effect sizes and intervals, edges, calls for each request, headers and JSON fields.",
		nil)
}
