package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func getServiceMap(s *mcp.Server, t *tools) {
	ask(s, t, reads, control.GetServiceMap, "Get the service map",
		"Who calls whom, with protocols, endpoints, counts, error rates and latencies of every edge; of one service and its neighbourhood with service and depth.",
		nil)
}
