package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func exportPolicy(s *mcp.Server, t *tools) {
	ask(s, t, creates, control.ExportPolicy, "Export network policies",
		"NetworkPolicies that allow the edges that were seen and nothing else, as YAML, with what to look at before applying them. With file they are written to the folder for exports as well.",
		nil)
}
