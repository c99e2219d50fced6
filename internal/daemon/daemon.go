package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/devloop-io/devloop/devloop"
	"github.com/devloop-io/devloop/internal/control"
)

// Options of [Run].
type Options struct {
	Workspace string
	Version   string
	Idle      time.Duration // without requests, after which the daemon ends; 30m by default
	Source    string        // capture source to use instead of the best
	Log       *slog.Logger
	Wrap      devloop.WrapSource
}

const (
	defaultIdle  = 30 * time.Minute
	closeTimeout = 90 * time.Second // a cluster takes its time
	maxRequest   = 1 << 20
)

// ErrRunning says that another daemon serves the workspace.
var ErrRunning = errors.New("a daemon runs for this workspace already")

// Run serves until ctx ends, a client asks for the end, or nobody asks anything for the idle time. When it returns,
// nothing that it started is left.
func Run(ctx context.Context, o Options) error {
	if o.Idle <= 0 {
		o.Idle = defaultIdle
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	socket, err := control.SocketPath(o.Workspace)
	if err != nil {
		return err
	}
	unlock, err := lockSocket(ctx, socket)
	if err != nil {
		return err
	}
	defer unlock()
	session, err := devloop.New(devloop.Options{Workspace: o.Workspace, Version: o.Version, Log: o.Log, Source: o.Source, Wrap: o.Wrap})
	if err != nil {
		return err
	}
	_ = os.Remove(socket) // of a daemon that was killed: the lock is ours
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", socket, err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return errors.Join(fmt.Errorf("protect the socket: %w", err), listener.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{session: session, log: o.Log, end: cancel}
	s.touch()
	var wg sync.WaitGroup
	looped := make(chan error, 1)
	wg.Go(func() { looped <- session.Run(ctx) })
	defer session.Listen(func(control.Event) { s.touch() })() // a loop that follows saves is not idle
	wg.Go(func() { s.watchIdle(ctx, o.Idle) })
	h := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	wg.Go(func() {
		<-ctx.Done()
		_ = os.Remove(socket) // who comes now has a daemon started that waits for the end of this one
		<-looped              // every waiting request has its answer
		stop, done := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer done()
		if r := s.remove.Load(); r != nil && !r.Leave {
			s.closed = session.Down(stop, *r)
		} else {
			s.closed = session.Close(stop)
		}
		s.downDone()
		_ = h.Shutdown(stop) // requests are answered or cut
	})
	err = h.Serve(listener)
	wg.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, s.closed)
}

// lockSocket makes this process the workspace's daemon. It waits for one that is ending or starting, and gives way to one
// that answers.
func lockSocket(ctx context.Context, socket string) (unlock func(), err error) {
	for {
		unlock, err = lock(socket + ".lock")
		if !errors.Is(err, ErrRunning) {
			return unlock, err
		}
		if conn, err := net.Dial("unix", socket); err == nil {
			return nil, errors.Join(ErrRunning, conn.Close())
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

// Ended returns when no daemon serves the workspace any more, or ctx ends.
func Ended(ctx context.Context, workspace string) error {
	socket, err := control.SocketPath(workspace)
	if err != nil {
		return err
	}
	for {
		unlock, err := lock(socket + ".lock")
		if err == nil {
			unlock()
			return nil
		}
		if !errors.Is(err, ErrRunning) {
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// pause is between two looks at a lock.
func pause(ctx context.Context) error {
	t := time.NewTimer(5 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

type server struct {
	session *devloop.Session
	log     *slog.Logger
	end     context.CancelFunc
	busy    atomic.Int64
	last    atomic.Int64 // Unix nanoseconds of the last request
	remove  atomic.Pointer[control.DownRequest]
	closed  error // what Close or Down said; read after downDone
	once    sync.Once
	down    chan struct{}
	downMu  sync.Mutex
}

func (s *server) touch() { s.last.Store(time.Now().UnixNano()) }

func (s *server) downSignal() chan struct{} {
	s.downMu.Lock()
	defer s.downMu.Unlock()
	if s.down == nil {
		s.down = make(chan struct{})
	}
	return s.down
}

func (s *server) downDone() { s.once.Do(func() { close(s.downSignal()) }) }

// watchIdle ends the daemon when nobody has asked anything for a while.
func (s *server) watchIdle(ctx context.Context, idle time.Duration) {
	tick := time.NewTicker(max(idle/10, 100*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if s.busy.Load() == 0 && now.UnixNano()-s.last.Load() > int64(idle) {
				s.log.Info("nobody asked anything for a while: the daemon ends", "idle", idle)
				s.end()
				return
			}
		}
	}
}

// handler routes POST /v1/NAME to the session's method of that name. The table is the API.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	handle(mux, s, "status", func(context.Context, struct{}, func(control.Event)) (any, error) { return s.session.Status(), nil })
	handle(mux, s, "run", func(ctx context.Context, r control.RunRequest, e func(control.Event)) (any, error) {
		return s.session.Iterate(ctx, r, e)
	})
	handle(mux, s, "wait", func(ctx context.Context, r control.WaitRequest, e func(control.Event)) (any, error) {
		return s.session.Wait(ctx, r, e)
	})
	handle(mux, s, "window_open", func(ctx context.Context, r control.WindowRequest, _ func(control.Event)) (any, error) {
		return s.session.WindowOpen(ctx, r)
	})
	handle(mux, s, "window_close", func(ctx context.Context, r control.IterationRequest, _ func(control.Event)) (any, error) {
		return s.session.WindowClose(ctx, r)
	})
	handle(mux, s, "verdict", func(_ context.Context, r control.IterationRequest, _ func(control.Event)) (any, error) {
		return s.session.Verdict(r)
	})
	handle(mux, s, "judge", func(_ context.Context, r control.IterationRequest, _ func(control.Event)) (any, error) {
		return s.session.Judge(r)
	})
	handle(mux, s, "evidence", func(ctx context.Context, r control.EvidenceRequest, _ func(control.Event)) (any, error) {
		return s.session.Evidence(ctx, r)
	})
	handle(mux, s, "query", func(_ context.Context, r control.QueryRequest, _ func(control.Event)) (any, error) {
		return s.session.Query(r)
	})
	handle(mux, s, "get", func(_ context.Context, r control.GetRequest, _ func(control.Event)) (any, error) {
		return s.session.Get(r)
	})
	handle(mux, s, "trace", func(_ context.Context, r control.TraceRequest, _ func(control.Event)) (any, error) {
		return s.session.Trace(r)
	})
	handle(mux, s, "expression", func(_ context.Context, r control.ExpressionRequest, _ func(control.Event)) (any, error) {
		return s.session.Expression(r)
	})
	handle(mux, s, "capture", func(ctx context.Context, _ struct{}, _ func(control.Event)) (any, error) {
		return s.session.Capture(ctx)
	})
	handle(mux, s, "configure_capture", func(ctx context.Context, r control.CaptureTargets, _ func(control.Event)) (any, error) {
		return s.session.ConfigureCapture(ctx, r)
	})
	handle(mux, s, "switch_capture", func(ctx context.Context, r control.SwitchRequest, _ func(control.Event)) (any, error) {
		return s.session.SwitchCapture(ctx, r)
	})
	handle(mux, s, "doctor", func(ctx context.Context, _ struct{}, _ func(control.Event)) (any, error) {
		return s.session.Doctor(ctx), nil
	})
	handle(mux, s, "follow", func(_ context.Context, r control.FollowRequest, _ func(control.Event)) (any, error) {
		s.session.Follow(r.On)
		return struct{}{}, nil
	})
	handle(mux, s, "events", s.events)
	handle(mux, s, "down", s.takeDown)
	return mux
}

// events streams every event until the client goes away.
func (s *server) events(ctx context.Context, _ struct{}, tell func(control.Event)) (any, error) {
	stop := s.session.Listen(tell)
	defer stop()
	<-ctx.Done()
	return struct{}{}, nil
}

// takeDown ends the session and answers when nothing is left of it.
func (s *server) takeDown(ctx context.Context, r control.DownRequest, _ func(control.Event)) (any, error) {
	s.remove.Store(&r)
	s.end()
	<-s.downSignal()
	if s.closed != nil {
		return nil, &control.Error{What: s.closed.Error(), Hint: "devloop down again; it names what is left", Exit: control.ExitEnvironment}
	}
	return struct{}{}, nil
}

// queueLength bounds the events that wait for a slow reader; more are left out, the answer never is.
const queueLength = 256

// handle serves one method: events as they come, then the answer.
func handle[T any](mux *http.ServeMux, s *server, name string, method func(context.Context, T, func(control.Event)) (any, error)) {
	mux.HandleFunc("POST /v1/"+name, func(w http.ResponseWriter, r *http.Request) {
		s.busy.Add(1)
		defer func() { s.touch(); s.busy.Add(-1) }()
		var request T
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&request); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			writeEvent(w, control.Event{Error: &control.Error{What: "read the request: " + err.Error(), Exit: control.ExitBug}})
			return
		}
		events := make(chan control.Event, queueLength)
		var (
			result any
			err    error
		)
		done := make(chan struct{})
		go func() {
			defer close(done)
			result, err = method(r.Context(), request, func(e control.Event) {
				select {
				case events <- e:
				default:
				}
			})
		}()
		stream(w, events, done)
		writeEvent(w, answer(result, err))
	})
}

// stream passes events on until the method is done.
func stream(w http.ResponseWriter, events <-chan control.Event, done <-chan struct{}) {
	for {
		select {
		case e := <-events:
			writeEvent(w, e)
		case <-done:
			for {
				select {
				case e := <-events:
					writeEvent(w, e)
				default:
					return
				}
			}
		}
	}
}

func answer(result any, err error) control.Event {
	if err != nil {
		var known *control.Error
		if !errors.As(err, &known) {
			known = &control.Error{What: err.Error(), Exit: control.ExitBug}
		}
		return control.Event{Error: known}
	}
	b, err := json.Marshal(result)
	if err != nil {
		return control.Event{Error: &control.Error{What: "encode the answer: " + err.Error(), Exit: control.ExitBug}}
	}
	return control.Event{Result: b}
}

func writeEvent(w http.ResponseWriter, e control.Event) {
	if json.NewEncoder(w).Encode(e) == nil {
		_ = http.NewResponseController(w).Flush() // a client that went away is noticed by its context
	}
}
