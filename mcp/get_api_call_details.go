package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func getAPICallDetails(s *mcp.Server, t *tools) {
	ask(s, t, reads, control.GetAPICall, "Get a call in full",
		"One call with headers, bodies, its connection's TCP metrics and its flow. Use the id of list_api_calls, with the same db or snapshot_id.",
		nil)
}
