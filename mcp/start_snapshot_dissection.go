package mcp

import (
	"context"
	"fmt"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
)

func startSnapshotDissection(s *mcp.Server, t *tools) {
	add(s, t, creates, control.StartDissection.Name, "Dissect a snapshot",
		"Begins to make the calls of a snapshot from its packets, as a job with a name; several may be there. get_snapshot_dissection_status says how far it is; then ask the other tools with db SNAPSHOT/NAME.",
		func(ctx context.Context, c *control.Client, req *mcp.CallToolRequest, in query.StartDissectionRequest) (query.DissectionJob, error) {
			job, err := answerOf(control.StartDissection.Ask(ctx, c, in, progress(ctx, req)))
			for err == nil && job.Active && isTask(ctx) {
				told(ctx, fmt.Sprintf("%s %s: %d %%", job.ID, job.Status, job.Progress))
				if err = pause(ctx); err == nil {
					job, err = answerOf(control.GetDissectionJob.Ask(ctx, c, query.DissectionRequest{Snapshot: job.Snapshot, Name: job.Name}, nil))
				}
			}
			return job, err
		})
}

// A call that is a task ends when what it began has ended; other clients ask for that themselves.

// isTask says whether the client gets its answer by polling a task.
func isTask(ctx context.Context) bool {
	_, ok := ctx.Value(taskKey{}).(*task)
	return ok
}

// told sets the message of the call's task.
func told(ctx context.Context, message string) {
	if t, ok := ctx.Value(taskKey{}).(*task); ok {
		t.say(control.Event{Message: message})
	}
}

const jobPoll = 250 * time.Millisecond

// pause is between two looks at a job.
func pause(ctx context.Context) error {
	timer := time.NewTimer(jobPoll)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
