package devloop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// WrapSource puts something between a capture source and the recorder; tests lose packets with it.
type WrapSource func(capture.Source) capture.Source

// wire is the capture side of a session: packets go from the source into the recorder's ring, and a dissector follows
// the ring, so that at a window's start the state of every open connection is at hand.
type wire struct {
	source   capture.Source
	why      string // why not a better source
	recorder *capture.Recorder
	store    *store.Store
	log      *slog.Logger
	follower *follower
	keys     *keyLog
	events   func(from, to int64) []traffic.ClusterEvent
	sealed   sealedEvents

	cancel context.CancelFunc
	done   chan struct{}
	failed atomic.Pointer[error] // why the source ended by itself
	lost   atomic.Pointer[error] // why packets could not be written
	newest atomic.Int64          // time of the newest packet
}

// openWindow is a window while it is open, and what was found when it is not.
type openWindow struct {
	began, ended int64
	after        uint64 // segments with higher numbers belong to it
	checkpoint   []byte
	keys         int64 // how far the key log was when it opened
	release      func()
	snapshot     *store.Snapshot
	dissection   *traffic.Dissection
}

// nodeName is the first part of the IDs of calls in local environments.
const nodeName = "local"

// DissectOptions are what iterations are dissected with.
func DissectOptions() dissect.Options { return dissect.Options{Node: nodeName} }

const followEvery = 100 * time.Millisecond

// newWire begins to capture what the environment runs, with the best source that works here.
func newWire(ctx context.Context, env environment, st *store.Store, ringSize int64, o Options, log *slog.Logger) (*wire, error) {
	w := &wire{store: st, log: log, done: make(chan struct{})}
	var err error
	if w.source, w.why, err = env.Capture(ctx, o.Source, func(err error) { w.failed.Store(&err) }, log); err != nil {
		return nil, err
	}
	if o.Wrap != nil {
		w.source = o.Wrap(w.source)
	}
	w.recorder, err = capture.NewRecorder(st.RingDir(), capture.RecorderOptions{
		RingSize: ringSize, Header: func() capture.Meta { return header(env) },
	})
	if err != nil {
		return nil, errors.Join(err, w.source.Close())
	}
	w.keys = newKeyLog(env)
	if c, ok := env.(changing); ok {
		w.events, w.sealed.until = c.Events, time.Now().UnixNano()
	}
	w.follower = newFollower(w.recorder, resolver(env), w.keys)
	running, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go w.record(running)
	return w, nil
}

// header names the addresses at the head of every segment.
func header(env environment) capture.Meta {
	m := capture.Meta{Application: "devloop"}
	for _, id := range env.Identities() {
		if name := id.Workload.Name(); name != "" && id.To == 0 {
			m.Names = append(m.Names, pcapfile.Name{Addr: id.IP, Names: []string{name}})
		}
	}
	return m
}

// resolver names the ends that no interface names.
func resolver(env environment) func(netip.Addr, int64) (traffic.Workload, bool) {
	if c, ok := env.(changing); ok {
		return c.Resolve
	}
	return func(ip netip.Addr, _ int64) (traffic.Workload, bool) {
		for _, id := range env.Identities() {
			if id.IP == ip {
				return id.Workload, true
			}
		}
		return traffic.Workload{}, false
	}
}

// record moves packets into the ring until the session ends.
func (w *wire) record(ctx context.Context) {
	defer close(w.done)
	ifaces := w.source.Interfaces()
	err := w.source.Run(ctx, func(p *traffic.Packet) {
		if p.Interface >= len(ifaces) {
			ifaces = w.source.Interfaces()
		}
		w.newest.Store(p.Time)
		if err := w.recorder.Write(p, &ifaces[p.Interface]); err != nil && w.lost.Swap(&err) == nil {
			w.log.Error("packets cannot be recorded", "err", err)
		}
	})
	if err != nil && ctx.Err() == nil {
		w.failed.Store(&err)
		w.log.Error("capture ended", "err", err)
	}
}

func (w *wire) sourceName() string {
	if w == nil || w.source == nil {
		return "none"
	}
	return w.source.Name()
}

// stop ends the capture.
func (w *wire) stop() error {
	w.cancel()
	<-w.done
	w.follower.close()
	return errors.Join(w.recorder.Close(), w.source.Close())
}

// open begins a window: segments rotate, so that sealing is links and no copy, and the dissector's state at this bound
// is kept for whoever dissects the window alone.
func (w *wire) open(ctx context.Context) (*openWindow, error) {
	ended, err := w.rotate(ctx)
	if err != nil {
		return nil, err
	}
	ow := &openWindow{after: ended.Seq, began: time.Now().UnixNano(), release: w.recorder.Hold(ended.Seq + 1)}
	ow.keys = w.keys.at()
	if ow.checkpoint, err = w.follower.checkpoint(ended.Seq); err != nil {
		ow.release()
		return nil, err
	}
	return ow, nil
}

// rotate ends the current segment with everything that was captured so far in it.
func (w *wire) rotate(ctx context.Context) (capture.Segment, error) {
	if err := w.failed.Load(); err != nil {
		return capture.Segment{}, fmt.Errorf("capture with %s ended: %w", w.source.Name(), *err)
	}
	if err := w.source.Flush(ctx); err != nil {
		return capture.Segment{}, fmt.Errorf("flush the capture: %w", err)
	}
	return w.recorder.Rotate(w.source.Stats())
}

// quiet waits until nothing was on the wire for a while, at most drain.
func (w *wire) quiet(ctx context.Context, quiet, drain time.Duration) (string, error) {
	deadline := time.Now().Add(drain)
	tick := time.NewTicker(max(quiet/5, time.Millisecond))
	defer tick.Stop()
	for {
		if err := w.source.Flush(ctx); err != nil {
			return "", fmt.Errorf("flush the capture: %w", err)
		}
		now := time.Now()
		if now.UnixNano()-w.newest.Load() >= int64(quiet) {
			return "", nil
		}
		if now.After(deadline) {
			return fmt.Sprintf("the wire was still busy after %s", drain), nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// seal ends the window and makes its snapshot, then dissects the snapshot: what is judged is what is kept.
func (w *wire) seal(ctx context.Context, ow *openWindow, it *traffic.Iteration, identities []traffic.Identity) error {
	defer ow.release()
	last, err := w.rotate(ctx)
	if err != nil {
		return err
	}
	ow.ended = time.Now().UnixNano()
	var segments []capture.Segment
	for _, s := range w.recorder.Segments() {
		if s.Seq > ow.after && s.Seq <= last.Seq {
			segments = append(segments, s)
		}
	}
	req := store.SealRequest{
		ID: it.ID, Segments: segments, Checkpoint: ow.checkpoint, Identities: append(identities, w.follower.lookedUp(identities)...), WindowStart: ow.began, WindowEnd: ow.ended,
		Iteration: it.ID, Revision: it.Revision, Builds: it.Builds, Source: w.source.Name(),
		KeyLog: w.keys.since(ow.keys), Events: w.newEvents(ow.ended),
	}
	if it.Exercise != nil {
		req.Exercise = it.Exercise.Name
	}
	ow.snapshot, err = w.store.Seal(ctx, req)
	return err
}

// follower is the dissector that follows the ring. It is used from one goroutine at a time.
type follower struct {
	recorder *capture.Recorder
	requests chan followRequest
	ended    chan struct{}

	d      *dissect.Dissector
	keys   *keyLog
	done   uint64 // number of the last segment that was read to its end
	number uint64
	hold   func()

	mu      sync.Mutex
	lookups store.Lookups
}

type followRequest struct {
	through uint64
	answer  chan followAnswer
}

type followAnswer struct {
	checkpoint []byte
	err        error
}

func newFollower(r *capture.Recorder, resolve func(netip.Addr, int64) (traffic.Workload, bool), keys *keyLog) *follower {
	f := &follower{
		recorder: r, requests: make(chan followRequest), ended: make(chan struct{}),
		keys: keys,
	}
	f.d = dissect.New(dissect.Options{Resolve: resolve, Node: nodeName, Secrets: keys.secrets, OnCall: f.learn})
	if segments := r.Segments(); len(segments) > 0 {
		f.done = segments[len(segments)-1].Seq // of an earlier daemon: its connections are gone
	}
	f.hold = r.Hold(f.done + 1)
	go f.run()
	return f
}

// run reads what was recorded, every now and then and when a window needs it.
func (f *follower) run() {
	defer close(f.ended)
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = f.read() // told by the request that needs it
		case r, ok := <-f.requests:
			if !ok {
				return
			}
			err := f.read()
			var a followAnswer
			if err == nil && f.done < r.through {
				err = fmt.Errorf("the ring ends before segment %d", r.through)
			}
			if err == nil {
				f.d.EndWindow()
				a.checkpoint, err = f.d.Checkpoint()
			}
			a.err = err
			r.answer <- a
		}
	}
}

// learn remembers under which names the services looked up what is outside: windows after this one call it without asking again.
func (f *follower) learn(c *traffic.Call) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookups.Learn(c)
}

// lookedUp are the names of addresses that the environment does not know.
func (f *follower) lookedUp(known []traffic.Identity) []traffic.Identity {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lookups.Identities(known)
}

// checkpoint is the state at the end of a segment.
func (f *follower) checkpoint(through uint64) ([]byte, error) {
	r := followRequest{through, make(chan followAnswer, 1)}
	f.requests <- r
	a := <-r.answer
	if a.err != nil {
		return nil, fmt.Errorf("follow the recording: %w", a.err)
	}
	return a.checkpoint, nil
}

func (f *follower) close() {
	close(f.requests)
	<-f.ended
	f.hold()
}

// read reads every ended segment that is left.
func (f *follower) read() error {
	for _, s := range f.recorder.Segments() {
		if s.Seq <= f.done {
			continue
		}
		f.keys.refresh()
		if err := f.segment(s); err != nil {
			return err
		}
		f.done = s.Seq
		release := f.recorder.Hold(f.done + 1)
		f.hold()
		f.hold = release
	}
	return nil
}

func (f *follower) segment(s capture.Segment) error {
	r, err := pcapfile.Open(s.Path)
	if err != nil {
		return err
	}
	defer r.Close()
	r.Finish()
	var p traffic.Packet
	for {
		err := r.Next(&p)
		if err == io.EOF || errors.Is(err, pcapfile.ErrTruncated) { // what a full disk cut is counted as lost already
			return nil
		}
		if err != nil {
			return err
		}
		f.number++
		p.Number = f.number
		f.d.Packet(&p, r.Interface(p.Interface))
	}
}
