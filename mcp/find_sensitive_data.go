package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func findSensitiveData(s *mcp.Server, t *tools) {
	ask(s, t, reads, control.FindSensitiveData, "Find sensitive data",
		"Where cards, account and id numbers, e-mail addresses, tokens, passwords and keys were seen: kind, place, endpoint and keyed hash, never the value; and which values spread over several edges or left the system.",
		nil)
}
