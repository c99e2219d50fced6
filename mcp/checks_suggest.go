package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func checksSuggest(s *mcp.Server, t *tools) {
	ask(s, t, reads, control.ChecksSuggest, "Suggest checks",
		"Drafts checks from observed traffic: of the newest iterations, or a snapshot. Each held in every run, and failed when its fault was planted in a copy of the rows. They are proposals: show them to the user, who keeps what is meant.", nil)
}
