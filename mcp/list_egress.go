package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func listEgress(s *mcp.Server, t *tools) {
	ask(s, t, reads, control.ListEgress, "List what leaves",
		"Traffic to outside of the system by destination (domain by HTTP host, TLS SNI or DNS): who, how much, TLS or plaintext, kinds of credentials sent. With allow it says which destinations are not allowed.",
		nil)
}
