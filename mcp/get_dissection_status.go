package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func getDissectionStatus(s *mcp.Server, t *tools) {
	ask(s, t, looks, control.GetDissectionStatus, "Is live dissection on",
		"Whether live calls are kept, how many, and how far they are behind the capture.",
		nil)
}
