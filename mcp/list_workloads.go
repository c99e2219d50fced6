package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func listWorkloads(s *mcp.Server, t *tools) {
	ask(s, t, looks, control.ListWorkloads, "List workloads",
		"Pods, services, namespaces or nodes with their addresses and labels; with timestamp those that there were then. Locally the workspace's services.",
		nil)
}
