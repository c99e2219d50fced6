package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func listDatabases(s *mcp.Server, t *tools) {
	ask(s, t, looks, control.ListDatabases, "List databases",
		"The sets of calls that can be asked: live traffic, and the dissections of snapshots. Give db of one to the other tools.",
		nil)
}
