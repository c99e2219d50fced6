package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
)

func listAPICalls(s *mcp.Server, t *tools) {
	ask(s, t, reads, control.ListAPICalls, "List calls",
		"Calls (requests with their responses) that a KFL filter selects, newest first: who asked whom, what, the status and the latency. Live traffic, or a snapshot's with snapshot_id or db. An empty answer says why.",
		callsText)
}

// callsText is a table of the compact form; the other forms are for a few calls, and stay JSON.
func callsText(a *query.CallsAnswer) string {
	if len(a.Groups) > 0 || !compact(a.Calls) {
		return ""
	}
	return heading("calls", len(a.Calls), a.Total, a.Cursor, a.Reading) + "\n" +
		table(a.Calls, []column{field("id"), at("ts"), peer("src"), peer("dst"), field("proto"), field("method"), field("path"), field("status"), field("latency_ms")})
}

// compact says whether rows are of the short form.
func compact(rows []any) bool {
	for _, r := range rows {
		row, ok := r.(map[string]any)
		if _, full := row["conn_id"]; !ok || full {
			return false
		}
	}
	return true
}
