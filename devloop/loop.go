package devloop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/devloop-io/devloop/devloop/watch"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// request is one wish for an iteration, with who waits for it.
type request struct {
	control.RunRequest
	trigger string // save, run, start, window
	files   []string
	answer  chan answer // nil when nobody waits; buffered
	events  func(control.Event)
	cancel  <-chan struct{} // closed when the one who waits went away
	window  *window         // for trigger window
}

type answer struct {
	iteration *traffic.Iteration
	err       error
}

func (r *request) reply(it *traffic.Iteration, err error) {
	if r.answer != nil {
		r.answer <- answer{it, err}
	}
}

// Run is the loop: it returns when ctx ends, with everything it started ended. It must be called once.
func (s *Session) Run(ctx context.Context) error {
	defer close(s.ended)
	defer s.jobs.close()
	w, err := watch.New(s.workspace, watch.Options{Log: s.log})
	if err != nil {
		return fmt.Errorf("watch %s: %w", s.workspace, err)
	}
	saves := make(chan watch.Batch)
	watching := make(chan error, 1)
	watchCtx, stopWatching := context.WithCancel(ctx)
	defer func() { stopWatching(); <-watching }()
	go func() {
		watching <- w.Run(watchCtx, func(b watch.Batch) {
			select {
			case saves <- b:
			case <-watchCtx.Done():
			}
		})
	}()
	var (
		queue    []*request
		running  *running
		finished <-chan outcome
	)
	for {
		if running == nil && len(queue) > 0 {
			r := queue[0]
			queue = queue[1:]
			for _, b := range s.lookAround(ctx, w, saves) {
				r.files = mergeSorted(r.files, s.note(b))
			}
			running = s.begin(ctx, r)
			finished = running.done
		}
		select {
		case <-ctx.Done():
			if running != nil {
				running.stop(errSessionEnds)
				<-running.done
				running.request.reply(nil, &control.Error{What: "the session ended", Exit: control.ExitInterrupt})
			}
			for _, r := range queue {
				r.reply(nil, &control.Error{What: "the session ended", Exit: control.ExitInterrupt})
			}
			return nil
		case r := <-s.requests:
			queue = append(queue, r)
			if running != nil && r.events != nil {
				r.events(control.Event{Message: "waiting for the iteration that runs"})
			}
		case done := <-s.syncs:
			for _, b := range s.lookAround(ctx, w, saves) {
				queue = s.saved(b, running, queue)
			}
			close(done)
		case b := <-saves:
			queue = s.saved(b, running, queue)
		case o := <-finished:
			r := running.request
			running, finished = nil, nil
			queue = s.finished(o, r, queue)
			s.relistSources(ctx)
		}
	}
}

// lookAround finds everything that was saved up to now, whether or not the kernel has told of it yet: what an iteration
// measures is what was written last.
func (s *Session) lookAround(ctx context.Context, w *watch.Watcher, saves <-chan watch.Batch) (found []watch.Batch) {
	looked := make(chan watch.Batch, 1)
	go func() {
		b, err := w.Look(ctx)
		if err != nil {
			s.log.Debug("looking for saves ended", "err", err)
		}
		looked <- b
	}()
	for {
		select {
		case b := <-saves:
			found = append(found, b)
		case b := <-looked:
			return append(found, b)
		}
	}
}

var (
	errSessionEnds = errors.New("the session ends")
	errSuperseded  = errors.New("a newer save came")
	errGone        = errors.New("who asked for it went away")
)

// running is the iteration that runs.
type running struct {
	request *request
	done    chan outcome
	stop    context.CancelCauseFunc
}

type outcome struct {
	iteration *traffic.Iteration
	err       error
}

// begin starts an iteration beside the loop.
func (s *Session) begin(ctx context.Context, r *request) *running {
	ctx, stop := context.WithCancelCause(ctx)
	run := &running{request: r, done: make(chan outcome, 1), stop: stop}
	it := s.newIteration(r)
	finished := make(chan struct{})
	go func() {
		select {
		case <-r.cancel: // a nil channel never is
			stop(errGone)
		case <-finished:
		}
	}()
	go func() {
		err := s.iterate(ctx, it, r)
		close(finished)
		stop(nil)
		run.done <- outcome{it, err}
	}()
	return run
}

// saved takes a batch of saves: it marks what is stale, cancels an iteration that has not begun to exercise, and
// leaves at most one more iteration waiting.
func (s *Session) saved(b watch.Batch, run *running, queue []*request) []*request {
	files := s.note(b)
	if len(files) == 0 || !s.following() {
		return queue
	}
	s.log.Info("saved", "files", files)
	if run != nil && !s.exercising() {
		run.stop(errSuperseded)
	}
	for _, r := range queue {
		if r.trigger == "save" || r.trigger == "run" {
			r.files = mergeSorted(r.files, files)
			return queue
		}
	}
	s.mu.Lock()
	s.queued = true
	s.mu.Unlock()
	return append(queue, &request{trigger: "save", files: files})
}

// finished answers whoever waits. An iteration that a save cancelled hands its request on to the next one.
func (s *Session) finished(o outcome, r *request, queue []*request) []*request {
	if errors.Is(o.err, errSuperseded) {
		for i, next := range queue {
			if next.trigger == "save" {
				r.files = mergeSorted(r.files, next.files)
				queue = slices.Delete(queue, i, i+1)
				break
			}
		}
		return slices.Insert(queue, 0, r)
	}
	r.reply(o.iteration, publicError(o.err))
	return queue
}

// publicError is what a waiting face is told when there is no iteration to show.
func publicError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errSessionEnds), errors.Is(err, errGone):
		return &control.Error{What: err.Error(), Exit: control.ExitInterrupt}
	}
	var known *control.Error
	if errors.As(err, &known) {
		return known
	}
	return &control.Error{What: err.Error(), Exit: control.ExitBug}
}

func mergeSorted(a, b []string) []string {
	merged := slices.Concat(a, b)
	slices.Sort(merged)
	return slices.Compact(merged)
}

// newIteration names the next iteration and makes it the current one.
func (s *Session) newIteration(r *request) *traffic.Iteration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Iteration++
	it := &traffic.Iteration{
		ID: fmt.Sprintf("i%d", s.state.Iteration), Trigger: r.trigger, Files: r.files,
		Phase: "start", State: "running", Started: time.Now().UnixNano(),
	}
	s.current, s.queued = it, false
	return it
}
