package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func faultClear(s *mcp.Server, t *tools) {
	ask(s, t, judges, control.FaultClear, "Clear faults", "Ends a fault that fault_set began, or all of them, and verifies that nothing of it is left.", nil)
}
