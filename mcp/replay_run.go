package mcp

import (
	"context"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func replayRun(s *mcp.Server, t *tools) {
	add(s, t, judges, control.ReplayRun.Name, "Replay recorded requests",
		"Sends recorded requests to the services as they are now, and compares status, headers and bodies with what was recorded; what differed between recorded answers to the same request is noise. Only idempotent methods unless all.",
		func(ctx context.Context, c *control.Client, req *mcp.CallToolRequest, in control.ReplayRequest) (control.ReplayAnswer, error) {
			return answerOf(control.ReplayRun.Ask(ctx, c, in, progress(ctx, req)))
		})
}
