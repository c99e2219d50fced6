package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func faultSet(s *mcp.Server, t *tools) {
	ask(s, t, judges, control.FaultSet, "Set a fault",
		"Damages what one service says to another, in the local environment, while neither knows of it: latency, status, refuse, reset, stall, truncate or drop, at a rate, for a time. loop_run then shows what the code does about it; its warnings name the faults. Clear it with fault_clear.", nil)
}
