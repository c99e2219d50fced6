package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func getServiceDetails(s *mcp.Server, t *tools) {
	ask(s, t, reads, control.GetService, "Get a service",
		"Everything about one service: the calls that it answers and makes, its endpoints, callers, callees, pods and the cluster's events about it.",
		nil)
}
