package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func stopSnapshotDissection(s *mcp.Server, t *tools) {
	ask(s, t, configures, control.StopDissection, "Stop a dissection",
		"Stops a dissection that waits or runs. The snapshot stays.",
		nil)
}
