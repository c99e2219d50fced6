package mcp

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// Tasks are the extension of MCP 2026-07-28 (SEP-2663) by which a call that takes long is answered with a handle. Only
// clients that declare it with the request get one; a call that ends within the grace is answered at once all the same.
const (
	tasksExtension = "io.modelcontextprotocol/tasks"
	tasksSince     = "2026-07-28"
	taskGrace      = 2 * time.Second
	taskPoll       = time.Second
	taskTTL        = time.Hour
	maxTasks       = 100
)

// longTools may be answered with a task.
var longTools = []string{"loop_run", "loop_wait", "window_close", "capture_traffic", "start_snapshot_dissection", "create_snapshot", "baseline_record", "baseline_compare"}

// The states of a task. None ever needs input.
const (
	taskWorking   = "working"
	taskCompleted = "completed"
	taskFailed    = "failed"
	taskCancelled = "cancelled"
)

// taskList is the tasks of a server. They live in its memory: the iterations, snapshots and dissections behind them are the
// daemon's, and outlive it.
type taskList struct {
	grace time.Duration

	mu    sync.Mutex
	tasks map[string]*task
	wg    sync.WaitGroup
}

type task struct {
	id      string
	created time.Time
	cancel  context.CancelFunc
	done    chan struct{}

	mu      sync.Mutex
	updated time.Time
	status  string
	message string
	result  mcp.Result
	err     error
}

// taskAnswer is a task on the wire: the answer to the call that began it, and to tasks/get.
type taskAnswer struct {
	mcp.ResultBase
	ResultType string         `json:"resultType"`
	ID         string         `json:"taskId"`
	Status     string         `json:"status"`
	Message    string         `json:"statusMessage,omitempty"`
	Created    time.Time      `json:"createdAt"`
	Updated    time.Time      `json:"lastUpdatedAt"`
	TTL        int64          `json:"ttlMs"`
	Poll       int64          `json:"pollIntervalMs"`
	Result     mcp.Result     `json:"result,omitempty"`
	Error      *jsonrpc.Error `json:"error,omitempty"`
}

// taskParams names a task.
type taskParams struct {
	mcp.ParamsBase
	ID string `json:"taskId"`
}

// taskAck is the empty answer of tasks/update and tasks/cancel.
type taskAck struct {
	mcp.ResultBase
	ResultType string `json:"resultType"`
}

type taskKey struct{}

// serve adds the extension to a server.
func (l *taskList) serve(s *mcp.Server) error {
	s.AddReceivingMiddleware(l.middleware)
	return errors.Join(
		mcp.AddReceivingCustomMethod(s, "tasks/get", func(_ context.Context, _ *mcp.ServerSession, r *taskParams) (*taskAnswer, error) {
			t, err := l.find(r.ID)
			if err != nil {
				return nil, err
			}
			return t.answer("complete"), nil
		}),
		mcp.AddReceivingCustomMethod(s, "tasks/update", func(_ context.Context, _ *mcp.ServerSession, r *taskParams) (*taskAck, error) {
			_, err := l.find(r.ID) // no task asks for input
			return &taskAck{ResultType: "complete"}, err
		}),
		mcp.AddReceivingCustomMethod(s, "tasks/cancel", func(_ context.Context, _ *mcp.ServerSession, r *taskParams) (*taskAck, error) {
			t, err := l.find(r.ID)
			if err == nil {
				t.end(taskCancelled, nil, nil)
				t.cancel()
			}
			return &taskAck{ResultType: "complete"}, err
		}),
	)
}

// middleware answers long calls of clients that declare the extension.
func (l *taskList) middleware(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, r mcp.Request) (mcp.Result, error) {
		call, ok := r.(*mcp.CallToolRequest)
		if !ok || call.Params == nil || !slices.Contains(longTools, call.Params.Name) || !takesTasks(call) {
			return next(ctx, method, r)
		}
		return l.start(ctx, method, call, next)
	}
}

func takesTasks(call *mcp.CallToolRequest) bool {
	c := call.ClientCapabilities()
	if c == nil || call.ProtocolVersion() < tasksSince {
		return false
	}
	_, ok := c.Extensions[tasksExtension]
	return ok
}

func (l *taskList) start(ctx context.Context, method string, call *mcp.CallToolRequest, next mcp.MethodHandler) (mcp.Result, error) {
	now := time.Now()
	t := &task{id: rand.Text(), created: now, updated: now, status: taskWorking, done: make(chan struct{})}
	var background context.Context
	background, t.cancel = context.WithCancel(context.WithValue(context.WithoutCancel(ctx), taskKey{}, t))
	if !l.keep(t, now) {
		t.cancel()
		return next(ctx, method, call)
	}
	l.wg.Go(func() {
		defer t.cancel()
		defer close(t.done)
		result, err := next(background, method, call)
		if err != nil {
			t.end(taskFailed, nil, err)
			return
		}
		t.end(taskCompleted, result, nil)
	})
	timer := time.NewTimer(l.grace)
	defer timer.Stop()
	select {
	case <-t.done:
		l.drop(t)
		return t.result, t.err
	case <-ctx.Done():
		t.cancel()
		<-t.done
		l.drop(t)
		return nil, context.Cause(ctx)
	case <-timer.C:
		return t.answer("task"), nil
	}
}

// keep remembers a task, and forgets the oldest finished ones. It is false when too many are under way.
func (l *taskList) keep(t *task, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tasks == nil {
		l.tasks = map[string]*task{}
	}
	var finished []*task
	for id, old := range l.tasks {
		switch {
		case !old.finished():
		case now.Sub(old.created) > taskTTL:
			delete(l.tasks, id)
		default:
			finished = append(finished, old)
		}
	}
	slices.SortFunc(finished, func(a, b *task) int { return cmp.Compare(a.created.UnixNano(), b.created.UnixNano()) })
	for len(l.tasks) >= maxTasks && len(finished) > 0 {
		delete(l.tasks, finished[0].id)
		finished = finished[1:]
	}
	if len(l.tasks) >= maxTasks {
		return false
	}
	l.tasks[t.id] = t
	return true
}

func (l *taskList) drop(t *task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.tasks, t.id)
}

func (l *taskList) find(id string) (*task, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.tasks[id]; t != nil {
		return t, nil
	}
	return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "there is no such task: it is over for an hour, or was another server's"}
}

// close cancels every task and waits for its end.
func (l *taskList) close() {
	l.mu.Lock()
	for _, t := range l.tasks {
		t.cancel()
	}
	l.mu.Unlock()
	l.wg.Wait()
}

func (t *task) finished() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status != taskWorking
}

// end is said once: what was cancelled stays cancelled.
func (t *task) end(status string, result mcp.Result, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.status != taskWorking {
		return
	}
	t.status, t.result, t.err, t.updated = status, result, err, time.Now()
}

// say takes the daemon's events as the message of the task's state.
func (t *task) say(e control.Event) {
	message, _ := said(e)
	t.mu.Lock()
	defer t.mu.Unlock()
	if message != "" && t.status == taskWorking {
		t.message, t.updated = message, time.Now()
	}
}

func (t *task) answer(kind string) *taskAnswer {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := &taskAnswer{
		ResultType: kind, ID: t.id, Status: t.status, Message: t.message, Created: t.created.UTC(), Updated: t.updated.UTC(),
		TTL: taskTTL.Milliseconds(), Poll: taskPoll.Milliseconds(),
	}
	if t.status == taskCompleted {
		a.Result = t.result
	}
	if t.err != nil {
		a.Error = &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: t.err.Error()}
		errors.As(t.err, &a.Error)
	}
	return a
}
