package mcp

import (
	"fmt"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
)

func getAPIStats(s *mcp.Server, t *tools) {
	ask(s, t, reads, control.GetAPIStats, "Get statistics",
		"Counts, error rates and latency percentiles of calls by endpoint, service, namespace, status, caller, protocol, node, zone or cause of failure; with bucket_ms also over time. Begin here, then look at single calls.",
		statsText)
}

func statsText(a *query.StatsAnswer) string {
	if len(a.Buckets) > 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(heading("groups", len(a.Stats), len(a.Stats), "", a.Reading))
	if a.Truncated {
		b.WriteString("\nthere are more groups: raise limit, or narrow the filter")
	}
	b.WriteString("\ngroup|calls|errors|error rate|p50 ms|p90 ms|p99 ms|max ms|example")
	for _, s := range append([]query.Stats{a.Totals}, a.Stats...) {
		if s.Group == "" {
			s.Group = "(all)"
		}
		fmt.Fprintf(&b, "\n%s|%d|%d|%.4f|%.3f|%.3f|%.3f|%.3f|%s", cell(s.Group), s.Calls, s.Errors, s.ErrorRate, s.P50, s.P90, s.P99, s.Max, s.Example)
	}
	return b.String()
}
