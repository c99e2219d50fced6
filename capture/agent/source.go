package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/traffic"
)

// Options are the settings of a [Source].
type Options struct {
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error) // of the control connection; nil dials Address
	DialStream  func(ctx context.Context, network, addr string) (net.Conn, error) // of the stream; nil is DialContext. A stalled stream blocks all else on the same port-forward
	DialPast    func(ctx context.Context, network, addr string) (net.Conn, error) // of what Past reads; nil is DialStream
	Address     string                                                            // host:port; 127.0.0.1:8899
	Token       string
	Since       time.Time                                                      // packets from then on come too, as far as the ring and this run of the agent have them; zero: from Dial on
	Node        string                                                         // as in identities; empty takes the agent's own
	Resolve     func(podUID, containerID string) (w traffic.Workload, ok bool) // names what the agent knows by number; asked again while false
	Buffer      int                                                            // bytes that may wait for emit: 16 MiB
	Restarted   func()                                                         // the agent was started anew and knows no targets; called from a goroutine of its own
	Log         *slog.Logger
}

// Source captures on one node. It is made by [Dial].
type Source struct {
	o       Options
	control *Client
	stream  *Client
	past    *Client
	node    string
	chunks  chan chunk
	begin   Position
	started atomic.Bool
	ended   chan struct{}

	mu      sync.Mutex
	reached Position
	moved   chan struct{} // closed and replaced when reached moves
	points  []*point
	byKey   map[pointKey]*point
	runs    map[string]*runStats
	run     string // of the segment that is read
	expect  uint64 // packets of that run before the next one
	dialled uint64 // the segment that began with Dial: what was lost in those before is in them alone
	gaps    []Gap
	missing uint64 // packets that were recorded and not delivered
	clock   Clock
	ahead   time.Duration // taken off the packets' times
	emitted uint64
}

// point is one capture point of the node.
type point struct {
	ifc      traffic.Interface
	unseen   uint64 // how often the agent was away: packets of then were not captured, at least one each time
	pod      string
	box      string
	resolved bool
}

type pointKey struct {
	cgroup uint64
	name   string
}

// runStats is what one run of the agent lost, as it said first and last.
type runStats struct{ first, last Stats }

// Gap is a hole in what a source delivered.
type Gap struct {
	Node    string
	At      time.Time // when it was noticed
	Packets uint64    // 0 when the number is not known
	Why     string
}

// Clock is an estimate of how far the node's clock is ahead of ours.
type Clock struct {
	Offset time.Duration
	Error  time.Duration // half of the round trip that the estimate comes from
}

var _ capture.Source = (*Source)(nil)

// Dial reaches an agent and marks the place from which on its packets are delivered.
func Dial(ctx context.Context, o Options) (*Source, error) {
	if o.Log == nil {
		o.Log = discard()
	}
	if o.Buffer <= 0 {
		o.Buffer = 16 << 20
	}
	if o.DialStream == nil {
		o.DialStream = o.DialContext
	}
	if o.DialPast == nil {
		o.DialPast = o.DialStream
	}
	if o.Restarted == nil {
		o.Restarted = func() {}
	}
	if o.Resolve == nil {
		o.Resolve = func(string, string) (traffic.Workload, bool) { return traffic.Workload{}, false }
	}
	s := &Source{o: o, ended: make(chan struct{}), moved: make(chan struct{}), byKey: map[pointKey]*point{}, runs: map[string]*runStats{},
		control: NewClient(ClientOptions{DialContext: o.DialContext, Address: o.Address, Token: o.Token}),
		stream:  NewClient(ClientOptions{DialContext: o.DialStream, Address: o.Address, Token: o.Token}),
		past:    NewClient(ClientOptions{DialContext: o.DialPast, Address: o.Address, Token: o.Token}),
		chunks:  make(chan chunk, max(o.Buffer/chunkSize, 1)),
		node:    o.Node}
	if err := s.greet(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("reach the agent of node %s: %w", o.Node, err)
	}
	return s, nil
}

func (s *Source) greet(ctx context.Context) error {
	v, err := s.control.Version(ctx)
	if err != nil {
		return err
	}
	if v.API != API {
		return fmt.Errorf("the agent is version %s and speaks API %d, and this program speaks %d: install it again", v.Version, v.API, API)
	}
	if err := s.measure(ctx); err != nil {
		return err
	}
	h, err := s.control.Health(ctx)
	if err != nil {
		return err
	}
	if s.node == "" {
		s.node = h.Node
	}
	f, err := s.control.Rotate(ctx)
	if err != nil {
		return err
	}
	s.begin, s.reached, s.run, s.expect = f.Position, f.Position, f.Stats.Run, f.Before
	s.runs = map[string]*runStats{f.Stats.Run: {first: f.Stats, last: f.Stats}}
	s.dialled = f.Position.Segment
	if s.o.Since.IsZero() {
		return nil
	}
	return s.earlier(ctx)
}

// earlier has the packets begin where Since wants them.
func (s *Source) earlier(ctx context.Context) error {
	list, err := s.control.Segments(ctx, 0)
	if err != nil {
		return err
	}
	since := s.o.Since.UnixNano() + int64(s.ahead)
	for _, g := range list.Segments { // an earlier run's have no times
		if list.Ring == s.begin.Ring && g.Seq < s.begin.Segment && g.First != 0 && g.Last >= since {
			s.begin.Segment, s.reached = g.Seq, Position{Ring: list.Ring, Segment: g.Seq}
			s.expect = unknown
			return nil
		}
	}
	return nil
}

// unknown is expected where nothing is known of what came before.
const unknown = math.MaxUint64

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Name is "agent".
func (*Source) Name() string { return "agent" }

// Node is the node's name.
func (s *Source) Node() string { return s.node }

// Client asks the same agent for other things, beside the stream.
func (s *Source) Client() *Client { return s.control }

// Run delivers packets until ctx ends. It can be called once. While the agent cannot be reached it tries again.
func (s *Source) Run(ctx context.Context, emit func(*traffic.Packet)) error {
	if !s.started.CompareAndSwap(false, true) {
		return errors.New("run the agent's source: it ran already")
	}
	defer close(s.ended)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { s.follow(ctx) })
	wg.Go(func() { s.ask(ctx) })
	d := decoder{s: s, emit: emit}
	for {
		select {
		case c := <-s.chunks:
			d.decode(c)
		case <-ctx.Done():
			return nil
		}
	}
}

const (
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = time.Second
	patience     = time.Second     // how long a full buffer holds the stream up before it is hung up
	polling      = 2 * time.Second // of losses and clocks
)

// follow keeps a stream open. When the buffer stays full it hangs up, and comes again once there is room: meanwhile the
// packets wait in the agent's ring, and nothing else is held up by a stream that nobody reads.
func (s *Source) follow(ctx context.Context) {
	at, backoff := s.begin, firstBackoff
	for ctx.Err() == nil {
		before := at
		var late *chunk
		err := s.follow1(ctx, at, func(c chunk) bool {
			select {
			case s.chunks <- c:
			default:
				t := time.NewTimer(patience)
				defer t.Stop()
				select {
				case s.chunks <- c:
				case <-t.C:
					late = &c
				case <-ctx.Done():
					return false
				}
			}
			at = c.after
			return late == nil
		})
		if late != nil {
			select {
			case s.chunks <- *late:
			case <-ctx.Done():
			}
			continue
		}
		if err != nil && ctx.Err() == nil {
			s.o.Log.Debug("the agent's stream ended", "node", s.node, "after", at.String(), "why", err)
		}
		if at != before {
			backoff = firstBackoff
		}
		wait(ctx, backoff)
		backoff = min(2*backoff, lastBackoff)
	}
}

func (s *Source) follow1(ctx context.Context, at Position, give func(chunk) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, err := s.stream.Stream(ctx, at)
	if err != nil {
		return err
	}
	defer body.Close()
	return scan(body, at, give)
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// ask learns now and then what the agent lost, and how its clock goes.
func (s *Source) ask(ctx context.Context) {
	for wait(ctx, polling); ctx.Err() == nil; wait(ctx, polling) {
		if err := s.measure(ctx); err != nil && ctx.Err() == nil {
			s.o.Log.Debug("the agent does not answer", "node", s.node, "why", err)
		}
	}
}

// measure asks for losses, and takes the round trip's middle for the moment at which the node's clock was read.
func (s *Source) measure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	before := time.Now()
	st, err := s.control.Stats(ctx)
	if err != nil {
		return err
	}
	half := time.Since(before) / 2
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takeStats(st)
	s.compare(Clock{Offset: time.Duration(st.Now - before.Add(half).UnixNano()), Error: half})
	return nil
}

// tolerated is how far apart clocks may be before the packets' times are corrected. A correction that is renewed moves times
// within connections, so what does no harm is left alone.
const tolerated = 50 * time.Millisecond

// compare takes a new estimate of the clocks into account. One is replaced by a better one, or when the clocks have
// certainly moved. The caller holds the lock.
func (s *Source) compare(c Clock) {
	if apart := (c.Offset - s.clock.Offset).Abs(); s.clock.Error == 0 || c.Error <= s.clock.Error || apart > c.Error+s.clock.Error {
		s.clock = c
	}
	if wrong := (s.clock.Offset - s.ahead).Abs(); wrong > s.clock.Error+tolerated {
		s.o.Log.Warn("the node's clock and ours are apart", "node", s.node, "ahead", s.clock.Offset, "error", s.clock.Error)
		s.ahead = s.clock.Offset
	}
}

// Clock estimates how far the node's clock is ahead of ours.
func (s *Source) Clock() Clock {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}

// Ahead is what is taken off the times of packets, which the node's clock gave them: 0 while the clocks are not certainly
// apart.
func (s *Source) Ahead() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ahead
}

// Gaps lists the holes in what was delivered. Packets that the node's kernel lost are in Stats alone.
func (s *Source) Gaps() []Gap {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Gap(nil), s.gaps...)
}

func (s *Source) takeStats(st Stats) {
	if r := s.runOf(st.Run); st.Dropped >= r.last.Dropped {
		r.last = st
	}
}

// runOf is the account of a run of the agent. With a new one it is noted what passed unseen before it: by capture point,
// so that nobody else is suspected, whether the agent's own answers or its ring tell of it first. The caller holds the lock.
func (s *Source) runOf(run string) *runStats {
	r := s.runs[run]
	if r == nil {
		r = &runStats{}
		s.runs[run] = r
		if s.run == "" { // it is the first
			return r
		}
		for _, p := range s.points {
			p.unseen++
		}
		if len(s.points) == 0 {
			s.missing++
		}
		s.note(Gap{Node: s.node, At: time.Now(), Why: "the agent was restarted: what passed meanwhile was not captured"})
		go s.o.Restarted()
	}
	return r
}

// decoder turns chunks into packets.
type decoder struct {
	s      *Source
	emit   func(*traffic.Packet)
	data   bytes.Reader
	reader *pcapfile.Reader
	points []*point // by the section's interface

	segment uint64
}

// account adds what the node's kernel lost in a segment from before Dial, which ends.
func (d *decoder) account() {
	if d.reader == nil || d.segment >= d.s.dialled {
		return
	}
	for i, ifc := range d.reader.Interfaces() {
		p := d.point(i)
		d.s.mu.Lock()
		p.unseen += ifc.Dropped
		d.s.mu.Unlock()
	}
}

// decode delivers a chunk's packets. A Reader says io.EOF where the bytes end, and goes on with the next chunk's.
func (d *decoder) decode(c chunk) {
	if c.head != nil {
		d.account()
		d.s.enter(c.head)
		d.segment = c.head.Segment
		d.reader, d.points = pcapfile.NewReader(&d.data), nil
	}
	if d.reader == nil { // the first chunk begins a segment, so this is no agent
		return
	}
	d.data.Reset(c.data)
	ahead := int64(d.s.Ahead())
	var p traffic.Packet
	var n uint64
	var err error
	for err = d.reader.Next(&p); err == nil; err = d.reader.Next(&p) {
		pt := d.point(p.Interface)
		p.Interface, p.Number, p.Time = pt.ifc.Index, 0, p.Time-ahead
		d.s.count(pt)
		n++
		d.emit(&p)
	}
	if err != io.EOF {
		d.s.o.Log.Warn("packets of the agent cannot be read", "node", d.s.node, "why", err)
	}
	d.s.moveTo(c, n)
}

// point is the capture point of a section's interface.
func (d *decoder) point(i int) *point {
	for len(d.points) <= i {
		d.points = append(d.points, d.s.point(*d.reader.Interface(len(d.points))))
	}
	return d.points[i]
}

// enter notes that a segment begins: whatever this run recorded and did not come is missing.
func (s *Source) enter(h *Head) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runOf(h.Run)
	if h.Run != s.run {
		s.run, s.expect = h.Run, 0
	}
	if h.Before > s.expect {
		s.missing += h.Before - s.expect
		s.note(Gap{Node: s.node, At: time.Now(), Packets: h.Before - s.expect, Why: "the agent's ring had no room for so many packets, or its disk was full"})
	}
	s.expect = h.Before
}

const maxGaps = 1024

func (s *Source) note(g Gap) {
	if len(s.gaps) < maxGaps {
		s.gaps = append(s.gaps, g)
	}
	s.o.Log.Warn("packets are missing", "node", s.node, "packets", g.Packets, "why", g.Why)
}

func (s *Source) count(p *point) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.ifc.Packets++
	s.emitted++
}

// moveTo notes how far delivery came. Packets that could not be read are missing.
func (s *Source) moveTo(c chunk, delivered uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expect += c.packets
	if delivered < c.packets {
		s.missing += c.packets - delivered
		s.note(Gap{Node: s.node, At: time.Now(), Packets: c.packets - delivered, Why: "the agent's stream could not be read"})
	}
	s.reached = c.after
	close(s.moved)
	s.moved = make(chan struct{})
}

// maxPoints bounds the capture points of one node; what is beyond is one point.
const maxPoints = 1 << 16

// point finds the capture point that a section describes, or makes it.
func (s *Source) point(ifc traffic.Interface) *point {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pointLocked(ifc)
}

func (s *Source) pointLocked(ifc traffic.Interface) *point {
	key := pointKey{ifc.CGroup, ifc.Name}
	if s.byKey[key] == nil && len(s.points) >= maxPoints {
		key = pointKey{name: "other"}
		ifc = traffic.Interface{Name: "other", Link: ifc.Link}
	}
	if p := s.byKey[key]; p != nil {
		return p
	}
	p := newPoint(len(s.points), &ifc)
	s.name(p)
	s.points = append(s.points, p)
	s.byKey[key] = p
	return p
}

func newPoint(index int, ifc *traffic.Interface) *point {
	p := &point{ifc: traffic.Interface{Index: index, Name: ifc.Name, Link: ifc.Link, CGroup: ifc.CGroup, Workload: ifc.Workload}}
	if parts := strings.Split(ifc.Name, "/"); len(parts) == 3 && parts[0] == "pod" {
		p.pod, p.box = parts[1], parts[2]
	}
	return p
}

// name asks who a capture point is.
func (s *Source) name(p *point) {
	if p.resolved || p.pod == "" {
		return
	}
	w, ok := s.o.Resolve(p.pod, p.box)
	if !ok {
		return
	}
	p.resolved = true
	if old := p.ifc.Workload; old != nil && w.Process == "" {
		w.Process = old.Process
	}
	if w.Node == "" {
		w.Node = s.node
	}
	p.ifc.Name = strings.Join([]string{w.Namespace, w.Pod, w.Container}, "/")
	p.ifc.Workload = &w
}

// Interfaces lists the capture points of the node. One whose pod could not be named is asked for again.
func (s *Source) Interfaces() []traffic.Interface {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]traffic.Interface, len(s.points))
	for i, p := range s.points {
		s.name(p)
		list[i] = p.ifc
	}
	return list
}

// Flush returns when everything that the node's kernel captured before the call was emitted.
func (s *Source) Flush(ctx context.Context) error {
	f, err := s.flushAgent(ctx)
	if err != nil {
		return fmt.Errorf("flush the agent of node %s: %w", s.node, err)
	}
	for {
		s.mu.Lock()
		s.takeStats(f.Stats)
		reached, moved := s.reached, s.moved
		s.mu.Unlock()
		if reached.Reached(f.Position) || f.Position.Segment == 0 { // 0: a new ring that nothing came into
			return nil
		}
		select {
		case <-moved:
		case <-s.ended:
			return fmt.Errorf("flush the agent of node %s: the source does not run any more", s.node)
		case <-ctx.Done():
			return fmt.Errorf("flush the agent of node %s: %v of %v came: %w", s.node, reached, f.Position, ctx.Err())
		}
	}
}

// reachable is how long a flush waits for an agent that does not answer, which may be starting again: a kubelet takes a
// second for it, and half a minute when it ended several times.
const reachable = 60 * time.Second

func (s *Source) flushAgent(ctx context.Context) (f Flushed, err error) {
	ctx, cancel := context.WithTimeout(ctx, reachable)
	defer cancel()
	for backoff := firstBackoff; ; backoff = min(2*backoff, lastBackoff) {
		var next error
		if f, next = s.control.Flush(ctx); next == nil {
			return f, nil
		}
		if ctx.Err() == nil || err == nil {
			err = next // the last one that is not about our patience
		}
		if refused(next) || ctx.Err() != nil {
			return f, err
		}
		wait(ctx, backoff)
	}
}

// Stats says what was delivered, and what the node's kernel and the way to us lost.
func (s *Source) Stats() capture.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := capture.Stats{Received: s.emitted, Dropped: s.missing}
	lost := map[*point]traffic.Interface{}
	for _, r := range s.runs {
		st.Dropped += r.last.Dropped - min(r.first.Dropped, r.last.Dropped)
		for _, ifc := range since(r.first.Interfaces, r.last.Interfaces) {
			p := s.pointLocked(ifc)
			sum := lost[p]
			sum.Dropped += ifc.Dropped
			sum.Lost = append(sum.Lost, ifc.Lost...)
			lost[p] = sum
		}
	}
	for _, p := range s.points {
		ifc := p.ifc
		ifc.Dropped, ifc.Lost = lost[p].Dropped+p.unseen, lost[p].Lost
		st.Dropped += p.unseen
		st.Interfaces = append(st.Interfaces, ifc)
	}
	return st
}

// since subtracts what was lost before.
func since(first, last []traffic.Interface) []traffic.Interface {
	type flow struct {
		key  pointKey
		flow traffic.FlowLoss
	}
	dropped, flows := map[pointKey]uint64{}, map[flow]uint64{}
	for _, ifc := range first {
		key := pointKey{ifc.CGroup, ifc.Name}
		dropped[key] = ifc.Dropped
		for _, f := range ifc.Lost {
			n := f.Packets
			f.Packets = 0
			flows[flow{key, f}] = n
		}
	}
	var list []traffic.Interface
	for _, ifc := range last {
		key := pointKey{ifc.CGroup, ifc.Name}
		ifc.Dropped -= min(dropped[key], ifc.Dropped)
		var lost []traffic.FlowLoss
		for _, f := range ifc.Lost {
			n := f.Packets
			f.Packets = 0
			n -= min(flows[flow{key, f}], n)
			if f.Packets = n; n > 0 {
				lost = append(lost, f)
			}
		}
		if ifc.Lost = lost; ifc.Dropped > 0 {
			list = append(list, ifc)
		}
	}
	return list
}

// Close hangs up. Call it after Run returned.
func (s *Source) Close() error {
	s.control.Close()
	s.stream.Close()
	s.past.Close()
	return nil
}
