package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func listEvents(s *mcp.Server, t *tools) {
	ask(s, t, reads, control.ListEvents, "List events",
		"What happened beside the calls: restarts, failing probes, rollouts, scheduling, images. With before: what a pod sent and received in the minutes before an event, such as a crash.",
		nil)
}
