package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func exportSnapshotPCAP(s *mcp.Server, t *tools) {
	ask(s, t, creates, control.ExportSnapshotPCAP, "Export packets of a snapshot",
		"Writes a snapshot's packets to a PCAPNG or PCAP file in the folder for exports, narrowed by nodes, BPF, KFL and time, with names inside and secrets masked. download_file copies it elsewhere.",
		nil)
}
