package mcp

import (
	"context"
	"fmt"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
)

func captureTraffic(s *mcp.Server, t *tools) {
	add(s, t, creates, control.CaptureTraffic.Name, "Capture traffic",
		"Opens a window over the traffic from now on and returns its handle at once. After the duration it is a snapshot of that name; export_pcap writes its packets, narrowed by the filter. It starts and judges nothing: window_open and window_close do.",
		func(ctx context.Context, c *control.Client, req *mcp.CallToolRequest, in query.CaptureTrafficRequest) (query.CaptureTrafficAnswer, error) {
			window, err := answerOf(control.CaptureTraffic.Ask(ctx, c, in, progress(ctx, req)))
			for err == nil && isTask(ctx) {
				left := time.Until(time.UnixMilli(window.End))
				told(ctx, fmt.Sprintf("%s: %s left", window.Handle, max(left, 0).Round(time.Second)))
				if left <= 0 {
					var sealed query.SnapshotInfo
					sealed, err = answerOf(control.GetSnapshot.Ask(ctx, c, query.SnapshotRequest{ID: window.Handle}, nil))
					if window.Status = sealed.Status; err != nil || sealed.Status != "in_progress" {
						break
					}
				}
				err = pause(ctx)
			}
			return window, err
		})
}
