package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/devloop-io/devloop/capture/agent"
	"github.com/devloop-io/devloop/traffic"
)

// Options are the settings of an [Agent]. Zero values mean the defaults.
type Options struct {
	Node       string
	PodUID     string // of the agent's own pod, which is never captured
	Token      string // of at least MinToken characters
	CGroups    []string
	NetNS      string // folder of the pods' network namespaces, for the fallback: /run/netns
	Source     string // tap, afpacket or none; empty takes the best that works
	Ring       string // folder
	RingSize   int64  // 256 MiB
	Segment    int64  // 16 MiB
	KernelRing int    // bytes, a power of two: 8 MiB
	Rules      agent.Rules
	Streams    int           // how many may be open: 16
	Refresh    time.Duration // how often all pods are looked for: 250 ms
	Log        *slog.Logger
}

// MinToken is how short a token may be.
const MinToken = 16

func (o *Options) defaults() error {
	if len(o.Token) < MinToken {
		return fmt.Errorf("start the agent: its token has %d characters, and needs %d at least", len(o.Token), MinToken)
	}
	if o.Ring == "" {
		return errors.New("start the agent: it needs a folder for its ring")
	}
	if len(o.CGroups) == 0 {
		o.CGroups = []string{"/host/cgroup", "/host/cgroup/unified"}
	}
	if o.NetNS == "" {
		o.NetNS = "/run/netns"
	}
	if o.RingSize <= 0 {
		o.RingSize = 256 << 20
	}
	if o.Segment <= 0 {
		o.Segment = min(16<<20, o.RingSize/8)
	}
	if o.KernelRing <= 0 {
		o.KernelRing = 8 << 20
	}
	if o.Streams <= 0 {
		o.Streams = 16
	}
	if o.Refresh <= 0 {
		o.Refresh = refreshEvery
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o.Rules.Validate()
}

// Agent captures on one node. It is made by [Open].
type Agent struct {
	o        Options
	log      *slog.Logger
	groups   *groups // nil without cgroup v2
	source   source
	faults   *faults
	degraded string
	ring     *ring
	started  time.Time
	tokenSum [32]byte

	mu    sync.Mutex
	rules agent.Rules
	hurry chan struct{} // pods were named

	streams atomic.Int64
	packets atomic.Uint64
	bytes   atomic.Uint64
	pending int64 // bytes since the last publish; of the capturing goroutine
	ifaces  []traffic.Interface
	room    []byte                 // for a packet of a relay; of the capturing goroutine
	problem atomic.Pointer[string] // of the ring
}

// Open begins to capture. Where nothing can be captured the agent opens too, and says so.
func Open(o Options) (*Agent, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	a := &Agent{o: o, log: o.Log, rules: o.Rules, started: time.Now(), tokenSum: digest(o.Token), hurry: make(chan struct{}, 1)}
	root, noGroups := findRoot(o.CGroups)
	if noGroups == nil {
		a.groups, noGroups = newGroups(root)
	}
	var err error
	if a.ring, err = openRing(o.Ring, o.Node, o.RingSize, o.Segment); err != nil {
		return nil, fmt.Errorf("start the agent: %w", err)
	}
	a.source, a.degraded = openSource(o, a.groups, noGroups, o.Log)
	a.faults = newFaults(a.groups, o.Log)
	return a, nil
}

// Run captures, and answers on l, until ctx ends. It closes the agent.
func (a *Agent) Run(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{Handler: a.handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return ctx }}
	var wg sync.WaitGroup
	errs := make([]error, 2)
	wg.Go(func() {
		defer cancel()
		errs[0] = a.source.Run(ctx, a.record)
	})
	wg.Go(func() {
		defer cancel()
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			errs[1] = fmt.Errorf("answer on %s: %w", l.Addr(), err)
		}
	})
	wg.Go(func() { a.tick(ctx) })
	wg.Go(func() { a.hunt(ctx) })
	a.log.Info("capturing", "source", a.source.Name(), "degraded", a.degraded, "address", l.Addr().String(), "ring", a.o.Ring)
	<-ctx.Done()
	closing, done := context.WithTimeout(context.Background(), time.Second)
	defer done()
	if server.Shutdown(closing) != nil {
		server.Close()
	}
	wg.Wait()
	return errors.Join(append(errs, a.close())...)
}

func (a *Agent) close() error {
	err := errors.Join(a.faults.endAll(), a.ring.rotate(a.source.Stats()))
	return errors.Join(err, a.ring.Close(), a.source.Close())
}

// Followers see packets after so many bytes or so much time: writing each one on costs several times as much.
const (
	publishBytes = 64 << 10
	publishEvery = 100 * time.Millisecond
	refreshEvery = 250 * time.Millisecond
)

// record writes a packet into the ring.
func (a *Agent) record(p *traffic.Packet) {
	if r := a.faults.roles.Load(); r != nil && !r.act(p, &a.room) {
		return
	}
	if p.Interface >= len(a.ifaces) {
		a.ifaces = a.source.Interfaces()
	}
	if err := a.ring.Write(p, &a.ifaces[p.Interface]); err != nil {
		a.failed(err)
		return
	}
	a.packets.Add(1)
	a.bytes.Add(uint64(len(p.Data)))
	if a.pending += int64(len(p.Data)); a.pending >= publishBytes {
		a.pending = 0
		if err := a.ring.publish(); err != nil {
			a.failed(err)
		}
	}
}

// failed notes that the ring cannot be written: the packets are lost, and counted as such.
func (a *Agent) failed(err error) {
	text := err.Error()
	if a.problem.Swap(&text) == nil {
		a.log.Warn("the ring cannot be written", "why", err)
	}
}

// A pod that was named and has no folder yet is looked for often, so that its first packets are not missed where pods are
// captured only when they are named. kubelet makes the folder within a second after a pod was given to its node.
const (
	huntEvery = 10 * time.Millisecond
	huntBound = 3 * time.Second
)

// hunt looks often for the folders of pods that were named, for a while.
func (a *Agent) hunt(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.hurry:
		}
		t := time.NewTicker(huntEvery)
		for until := time.Now().Add(huntBound); a.missing() && time.Now().Before(until); {
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-a.hurry: // of others: the time begins again
				until = time.Now().Add(huntBound)
			case <-t.C:
				if err := a.source.refresh(); err != nil {
					a.log.Debug("pods cannot be listed", "why", err)
				}
			}
		}
		t.Stop()
	}
}

// missing says whether a pod of the rules has no folder yet.
func (a *Agent) missing() bool {
	if a.groups == nil {
		return false
	}
	there := map[string]bool{}
	for _, g := range a.groups.all() {
		there[g.Pod] = true
	}
	return slices.ContainsFunc(a.currentRules().Pods, func(uid string) bool { return !there[uid] })
}

// tick publishes, ends segments, and looks for new pods.
func (a *Agent) tick(ctx context.Context) {
	t := time.NewTicker(publishEvery)
	defer t.Stop()
	looked := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		err := a.ring.publish()
		if a.ring.Current().Bytes >= a.o.Segment {
			err = errors.Join(err, a.ring.rotate(a.source.Stats()))
		}
		if err != nil {
			a.failed(err)
		} else {
			a.problem.Store(nil)
		}
		if time.Since(looked) >= a.o.Refresh {
			looked = time.Now()
			if err := a.source.refresh(); err != nil {
				a.log.Debug("pods cannot be listed", "why", err)
			}
			a.faults.refresh()
		}
	}
}

// flush writes everything that the kernel captured before into the ring.
func (a *Agent) flush(ctx context.Context, rotate bool) (agent.Flushed, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := a.source.Flush(ctx); err != nil {
		return agent.Flushed{}, err
	}
	err := a.ring.publish()
	if rotate {
		err = errors.Join(err, a.ring.rotate(a.source.Stats()), a.ring.publish())
	}
	if err != nil {
		return agent.Flushed{}, err
	}
	f := agent.Flushed{Stats: a.stats()}
	f.Position, f.Before = a.ring.position()
	if rotate {
		f.Position.Offset = 0
	}
	return f, nil
}

// stats is the source's account, with the interfaces that lost something.
func (a *Agent) stats() agent.Stats {
	st := a.source.Stats()
	s := agent.Stats{Run: a.ring.run, Now: time.Now().UnixNano(), Received: st.Received, Dropped: st.Dropped}
	for _, ifc := range st.Interfaces {
		if ifc.Dropped > 0 {
			s.Interfaces = append(s.Interfaces, ifc)
		}
	}
	return s
}

func (a *Agent) currentRules() agent.Rules {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rules
}

// target changes what is captured.
func (a *Agent) target(r agent.Rules) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.groups != nil {
		if _, err := a.groups.walk(); err != nil {
			return err
		}
	}
	if err := a.source.choose(r); err != nil {
		return err
	}
	a.rules = r
	select {
	case a.hurry <- struct{}{}:
	default:
	}
	return nil
}

// targets says what the rules match.
func (a *Agent) targets() agent.Targets {
	t := agent.Targets{Rules: a.currentRules(), Note: a.source.note(), Matched: []agent.Matched{}}
	if a.groups == nil {
		return t
	}
	list := a.groups.all()
	me := self{pod: a.o.PodUID}
	if s, ok := a.source.(interface{ self() self }); ok {
		me = s.self()
	}
	yes := captured(choose(t.Rules, me, a.groups.rootID, list), a.groups.rootID, list)
	for i, g := range list {
		m := agent.Matched{CGroup: g.ID, Path: g.Path, Pod: g.Pod, Container: g.Container, Runtime: g.Runtime, QoS: g.QoS, Process: g.Host, Captured: yes[i]}
		t.Matched = append(t.Matched, m)
	}
	return t
}
