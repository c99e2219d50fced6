package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func listRetries(s *mcp.Server, t *tools) {
	ask(s, t, reads, control.ListRetries, "List retries",
		"Requests that were made more than once, by edge: attempts, pauses between them, growth of the back-off, storms (3 attempts within 100 ms by default), and examples with their timeline.",
		nil)
}
