package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func correlate(s *mcp.Server, t *tools) {
	ask(s, t, reads, control.Correlate, "Correlate two fields",
		"Whether two numeric fields of calls go together, such as request_body_size and latency: rank correlation with interval, n, and medians by fourths.",
		nil)
}
