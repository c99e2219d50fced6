package mcp

import (
	"context"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func getFileURL(s *mcp.Server, t *tools) {
	add(s, t, looks, "get_file_url", "Get a file's URL",
		"The absolute URL of an exported file, with its size and SHA-256. An http URL wants the daemon's token.",
		func(ctx context.Context, c *control.Client, _ *mcp.CallToolRequest, in control.FileRequest) (control.FileAnswer, error) {
			return answerOf(control.GetFile.Ask(ctx, c, in, nil))
		})
}
