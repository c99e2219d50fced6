package devloop

import (
	"context"
	"fmt"
	"time"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

const defaultWindow = 10 * time.Minute

// window is a window that somebody opened by hand: the iteration stands in its exercise until it is closed.
type window struct {
	opened chan *traffic.Iteration // sent once, when capture runs
	closed chan struct{}           // closed by WindowClose
	result chan answer
	max    time.Duration
}

// wait stands in for the exercise.
func (w *window) wait(ctx context.Context, t *turn) {
	w.opened <- t.it
	bound := time.NewTimer(w.max)
	defer bound.Stop()
	select {
	case <-w.closed:
	case <-ctx.Done():
	case <-bound.C:
		t.s.update(t.it, func() {
			t.it.Warnings = append(t.it.Warnings, fmt.Sprintf("the window was not closed within %s and closed by itself", w.max))
		})
	}
}

// WindowOpen builds and deploys what is stale, then opens a window for traffic that the caller drives. A save does not
// disturb it: the verdict speaks of the revision that served while it was open.
func (s *Session) WindowOpen(ctx context.Context, r control.WindowRequest) (*control.WindowOpened, error) {
	w := &window{opened: make(chan *traffic.Iteration, 1), closed: make(chan struct{}), result: make(chan answer, 1), max: defaultWindow}
	if r.MaxSeconds > 0 {
		w.max = min(time.Duration(r.MaxSeconds)*time.Second, time.Hour)
	}
	s.mu.Lock()
	if s.window != nil {
		s.mu.Unlock()
		return nil, control.Usagef("close it first: window_close", "a window is open already")
	}
	s.window = w
	s.mu.Unlock()
	req := &request{RunRequest: control.RunRequest{Checks: r.Checks}, trigger: "window", answer: w.result, window: w}
	if err := s.submit(ctx, req); err != nil {
		s.forget(w)
		return nil, err
	}
	select {
	case it := <-w.opened:
		s.mu.Lock()
		defer s.mu.Unlock()
		return &control.WindowOpened{Window: it.ID, Revision: it.Revision}, nil
	case a := <-w.result: // it never came to its exercise
		s.forget(w)
		if a.err != nil {
			return nil, a.err
		}
		return nil, failureError(a.iteration)
	case <-ctx.Done():
		s.forget(w)
		close(w.closed)
		return nil, context.Cause(ctx)
	}
}

// WindowClose closes the open window and returns its judged iteration.
func (s *Session) WindowClose(ctx context.Context, r control.IterationRequest) (*traffic.Iteration, error) {
	s.mu.Lock()
	w := s.window
	s.window = nil
	s.mu.Unlock()
	if w == nil {
		return nil, control.Usagef("open one first: window_open", "no window is open")
	}
	close(w.closed)
	select {
	case a := <-w.result:
		return a.iteration, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *Session) forget(w *window) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.window == w {
		s.window = nil
	}
}

// failureError is an iteration's failure as an error, for callers that wanted something else than the iteration.
func failureError(it *traffic.Iteration) error {
	if it == nil || it.Failure == nil {
		return &control.Error{What: "the iteration ended early", Exit: control.ExitEnvironment}
	}
	what := it.Failure.What
	if it.Failure.Output != "" {
		what += "\n" + it.Failure.Output
	}
	return &control.Error{What: what, Hint: it.Failure.Hint, Exit: it.ExitCode}
}
