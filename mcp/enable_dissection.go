package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func enableDissection(s *mcp.Server, t *tools) {
	ask(s, t, configures, control.EnableDissection, "Switch live dissection on",
		"Keeps live calls from now on. It does not reach back: for what was recorded before, make a snapshot and dissect it.",
		nil)
}
