package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func disableDissection(s *mcp.Server, t *tools) {
	ask(s, t, configures, control.DisableDissection, "Switch live dissection off",
		"Keeps no live calls any more; packets are recorded all the same.",
		nil)
}
