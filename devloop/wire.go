package devloop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/internal/config"
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
	live     *live
	env      environment
	ringSize int64

	marksMu sync.Mutex
	marks   []mark
	began   int64  // Unix nanoseconds
	before  uint64 // number of the last segment of an earlier daemon
	earlier map[uint64]capture.Segment
	making  sync.WaitGroup // snapshots
	running context.Context

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
	seals        int // how often it was sealed: again when it was made longer
}

// nodeName is the first part of the IDs of calls in local environments.
const nodeName = "local"

// DissectOptions are what iterations are dissected with.
func DissectOptions() dissect.Options { return dissect.Options{Node: nodeName} }

// newWire begins to capture what the environment runs, with the best source that works here.
func newWire(ctx context.Context, env environment, st *store.Store, ringSize int64, o Options, log *slog.Logger) (*wire, error) {
	w := &wire{store: st, log: log, env: env, ringSize: cmp.Or(ringSize, int64(config.Storage{}.DefaultRing())), began: time.Now().UnixNano(), done: make(chan struct{})}
	_ = os.RemoveAll(filepath.Join(filepath.Dir(st.RingDir()), pastFolder)) // of a daemon that was killed
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
	w.live = newLive(st.Redactor(), resolver(env), time.Now)
	if e, ok := env.(interface{ Since() time.Time }); ok { // what was captured before comes too
		w.live.since = e.Since().UnixNano()
	}
	w.follower = newFollower(w.recorder, resolver(env), w.keys, w.live)
	w.before = w.follower.done
	w.marks = []mark{{seq: w.before, keys: w.keys.at()}}
	w.running, w.cancel = context.WithCancel(context.Background())
	go w.record(w.running)
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
	w.making.Wait()
	<-w.done
	w.follower.close()
	return errors.Join(w.recorder.Close(), w.source.Close())
}

// open begins a window: segments rotate, so that sealing is links and no copy, and the dissector's state at this bound
// is kept for whoever dissects the window alone.
func (w *wire) open(ctx context.Context) (*openWindow, error) {
	w.follower.pause() // nothing is read beyond the bound that is drawn now
	defer w.follower.resume()
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
	w.remember(mark{seq: ended.Seq, keys: ow.keys, checkpoint: ow.checkpoint})
	return ow, nil
}

// mark is the dissector's state at the end of a segment.
type mark struct {
	seq        uint64
	keys       int64 // how far the key log was
	checkpoint []byte
}

// maxMarks and maxMarkBytes bound the states that are remembered for snapshots that begin in the past.
const (
	maxMarks     = 64
	maxMarkBytes = 32 << 20
)

// remember keeps the state at a bound.
func (w *wire) remember(m mark) {
	w.marksMu.Lock()
	defer w.marksMu.Unlock()
	w.marks = append(w.marks, m)
	size := 0
	for i := len(w.marks) - 1; i >= 0; i-- {
		if size += len(w.marks[i].checkpoint); i < len(w.marks)-1 && (size > maxMarkBytes || len(w.marks)-i > maxMarks) {
			w.marks = w.marks[i+1:]
			return
		}
	}
}

// markBefore is the newest remembered state before a segment.
func (w *wire) markBefore(seq uint64) (m mark, ok bool) {
	w.marksMu.Lock()
	defer w.marksMu.Unlock()
	for _, m := range slices.Backward(w.marks) {
		if m.seq < seq {
			return m, true
		}
	}
	return mark{}, false
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

// nodes are those that something was captured on, sorted.
func (w *wire) nodes() []string {
	var list []string
	for _, ifc := range w.source.Interfaces() {
		list = append(list, store.NodeOf(&ifc))
	}
	slices.Sort(list)
	return slices.Compact(list)
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
	id := it.ID
	if ow.seals++; ow.seals > 1 { // it was made longer
		id = fmt.Sprintf("%s-%d", it.ID, ow.seals)
	}
	req := store.SealRequest{
		ID: id, Segments: segments, Checkpoint: ow.checkpoint, Identities: append(identities, w.follower.lookedUp(identities)...), WindowStart: ow.began, WindowEnd: ow.ended,
		Iteration: it.ID, Revision: it.Revision, Builds: it.Builds, Source: w.source.Name(),
		KeyLog: w.keys.since(ow.keys), Events: w.newEvents(ow.ended), On: w.nodes(),
	}
	if it.Exercise != nil {
		req.Exercise = it.Exercise.Name
	}
	if ow.snapshot != nil {
		req.Events = append(slices.Clone(ow.snapshot.Events), req.Events...)
	}
	ow.snapshot, err = w.store.Seal(ctx, req)
	return err
}
