package mcp

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func exportCalls(s *mcp.Server, t *tools) {
	ask(s, t, creates, control.ExportCalls, "Export calls",
		"Writes calls to a file in the workspace's folder for exports as CSV, Markdown, HAR or OpenTelemetry traces, redacted, with its SHA-256. An existing file is kept unless overwrite is set. download_file copies it elsewhere.",
		nil)
}
