package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
)

func listL4Flows(s *mcp.Server, t *tools) {
	ask(s, t, reads, control.ListL4Flows, "List flows",
		"TCP and UDP flows between clients and servers: packets, bytes and rates of both sides, and TCP handshake percentiles in microseconds (below 1 ms is excellent, 10 to 100 ms elevated). aggregate sums them by pod, namespace, node or service.",
		flowsText)
}

func flowsText(a *query.FlowsAnswer) string {
	if !plainFlows(a.Flows) {
		return ""
	}
	return heading("flows", len(a.Flows), a.Total, a.Cursor, a.Reading) + "\n" +
		table(a.Flows, []column{
			field("proto"), peer("client"), peer("server"), inner("server", "port"), inner("totals", "pkts"), inner("totals", "bytes"),
			inner("client_stats", "tcp_handshake_p50_us"), inner("client_stats", "tcp_handshake_p99_us"),
		})
}

// plainFlows says whether rows are of the short form.
func plainFlows(rows []any) bool {
	for _, r := range rows {
		row, ok := r.(map[string]any)
		stats, _ := row["client_stats"].(map[string]any)
		if _, full := stats["timestamp"]; !ok || full {
			return false
		}
	}
	return true
}

// inner is a column of a field of a field.
func inner(outer, name string) column {
	return column{name, func(row map[string]any) string {
		m, _ := row[outer].(map[string]any)
		return value(m[name])
	}}
}
