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

	Listen           string // TCP address to serve on as well, beside the socket
	AllowRemote      bool   // also on one that other machines can reach
	AllowDestructive bool   // offer agents on TCP the tools that stop capture and delete snapshots

	Observe *control.Observed // a cluster to look at; Workspace is then a folder for what is kept of it
}

const (
	defaultIdle  = 30 * time.Minute
	closeTimeout = 90 * time.Second // a cluster takes its time
	maxRequest   = 10_000_000       // bytes
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
	session, err := devloop.New(devloop.Options{Workspace: o.Workspace, Version: o.Version, Log: o.Log, Source: o.Source, Wrap: o.Wrap, Observe: o.Observe})
	if err != nil {
		return err
	}
	if err := session.Observe(ctx); err != nil {
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
	s := &server{
		session: session, log: o.Log, end: cancel, ctx: ctx,
		workspace: o.Workspace, version: o.Version, socket: socket, destructive: o.AllowDestructive,
	}
	s.touch()
	if o.Listen != "" {
		if _, err := s.listen(ctx, control.ListenRequest{Address: o.Listen, AllowRemote: o.AllowRemote}); err != nil {
			return errors.Join(err, listener.Close())
		}
	}
	wg := &s.wg
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
		s.closeFace(stop)
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
	ctx     context.Context // of the daemon: what it serves ends with it
	end     context.CancelFunc
	wg      sync.WaitGroup

	workspace, version, socket string
	destructive                bool
	faceMu                     sync.Mutex
	face                       *face
	doors                      doors // of the dashboard

	busy   atomic.Int64
	last   atomic.Int64 // Unix nanoseconds of the last request
	remove atomic.Pointer[control.DownRequest]
	closed error // what Close or Down said; read after downDone
	once   sync.Once
	down   chan struct{}
	downMu sync.Mutex
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

// handler serves POST /v1/NAME by the method of that name.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, m := range s.methods() {
		mux.HandleFunc("POST /v1/"+m.name, func(w http.ResponseWriter, r *http.Request) { s.serve(m, w, r) })
	}
	return mux
}

// queueLength bounds the events that wait for a slow reader; more are left out, the answer never is.
const queueLength = 256

// serve answers one method: events as they come, then the answer.
func (s *server) serve(m method, w http.ResponseWriter, r *http.Request) {
	s.busy.Add(1)
	defer func() { s.touch(); s.busy.Add(-1) }()
	request, err := readBody(w, r)
	if err != nil {
		w.WriteHeader(statusOf(err))
		writeEvent(w, control.Event{Error: known(err)})
		return
	}
	if lasts(r) {
		_ = http.NewResponseController(w).Flush() // it is taken, though there may be no event for long
	}
	events := make(chan control.Event, queueLength)
	var result any
	done := make(chan struct{})
	go func() {
		defer close(done)
		result, err = m.do(r.Context(), request, func(e control.Event) {
			select {
			case events <- e:
			default:
			}
		})
	}()
	stream(w, events, done)
	writeEvent(w, answer(result, err))
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
		return control.Event{Error: known(err)}
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
