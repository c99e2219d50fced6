package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func exportPCAP(s *mcp.Server, t *tools) {
	ask(s, t, creates, control.ExportPCAP, "Export packets of a window",
		"Writes the packets of a window to a PCAPNG or PCAP file: by the handle of capture_traffic (which ends it), or of a window or iteration.",
		nil)
}
