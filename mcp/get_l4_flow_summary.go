package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func getL4FlowSummary(s *mcp.Server, t *tools) {
	ask(s, t, looks, control.GetFlowSummary, "Summarise flows",
		"All flows in short: how many, the pairs that exchange most, flows by namespace and across namespaces, and handshake percentiles.",
		nil)
}
