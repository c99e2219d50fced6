package store

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"sync"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/dissect/derive"
	"github.com/devloop-io/devloop/dissect/facts"
	"github.com/devloop-io/devloop/dissect/retries"
	"github.com/devloop-io/devloop/internal/startheap"
	"github.com/devloop-io/devloop/traffic"
)

// bounds are of what [Snapshot.DissectInto] holds.
type bounds struct {
	facts int // calls of which facts are kept; parents and the like are not found for the rest
	rows  int // calls, and connections, that wait to be written in the order in which they began
	bytes int // of the calls' bodies
}

var usualBounds = bounds{facts: 4 << 20, rows: 8 << 10, bytes: 16 << 20}

// Progress is how far a dissection came.
type Progress struct {
	Part      float64 // of the work, from 0 to 1
	Packets   uint64
	Calls     uint64
	Protocols map[string]uint64 // calls by protocol; valid during the call alone
}

// DissectInto stores a dissection under a name of its own, as [Snapshot.Dissect] and [Snapshot.WriteDissectionAs] do together, but
// does not hold the rows: for windows of any size. It reads the packets twice. The first reading keeps facts of each call, in which parents,
// routes and retries are found, and who the ends turned out to be. The second one, which finds the same calls in the same order, writes
// the rows. Rows that completed long after they began, when thousands of later ones were written, stand behind those.
// It calls tell now and then, unless that is nil.
func (sn *Snapshot) DissectInto(ctx context.Context, name string, o dissect.Options, tell func(Progress)) error {
	err := checkID(name)
	if err == nil {
		err = sn.dissectInto(ctx, name, o, tell, usualBounds)
	}
	if err != nil {
		return fmt.Errorf("dissect snapshot %s into %s: %w", sn.ID(), name, full(err))
	}
	return nil
}

func (sn *Snapshot) dissectInto(ctx context.Context, name string, o dissect.Options, tell func(Progress), most bounds) error {
	defer frugally()()
	r, err := sn.reading(o)
	if err != nil {
		return err
	}
	l := learning{r: r, most: most, facts: facts.New(), joined: map[uint64]joined{}, ends: map[*facts.End]*traffic.Endpoint{}, far: Progress{Protocols: map[string]uint64{}}}
	half := max(1, float64(2*sn.Window.Packets))
	account, err := r.run(ctx, l.call, l.connection, func(packets uint64) {
		l.far.Packets, l.far.Part = packets, min(0.5, float64(packets)/half)
		if tell != nil {
			tell(l.far)
		}
	})
	if err != nil {
		return err
	}
	account.Underived = l.beyond
	w := l.find(&account)
	return sn.writeAs(ctx, name, func(dir string) ([]string, error) {
		return w.write(ctx, dir, func(packets uint64) {
			l.far.Part = min(1, 0.5+float64(packets)/half)
			if tell != nil {
				tell(l.far)
			}
		})
	})
}

// frugal is while dissections run that hold facts.
var frugal struct {
	sync.Mutex
	running, usual int
}

// frugally has garbage collected early: facts may be hundreds of megabytes that stay, and the usual is to let as much garbage come before
// it is collected. What it returns sets that back.
func frugally() (done func()) {
	const percent = 30
	frugal.Lock()
	defer frugal.Unlock()
	if frugal.running++; frugal.running == 1 {
		startheap.End()
		if frugal.usual = debug.SetGCPercent(percent); frugal.usual >= 0 && frugal.usual < percent {
			debug.SetGCPercent(frugal.usual)
		}
	}
	return func() {
		frugal.Lock()
		defer frugal.Unlock()
		if frugal.running--; frugal.running == 0 {
			debug.SetGCPercent(frugal.usual)
		}
	}
}

// reading is how a snapshot's packets are read: from the state before them, with the secrets and names that it holds.
type reading struct {
	sn    *Snapshot
	state []byte
	o     dissect.Options
}

func (sn *Snapshot) reading(o dissect.Options) (*reading, error) {
	state, err := sn.Checkpoint()
	if err != nil {
		return nil, err
	}
	if o.Resolve == nil {
		o.Resolve = Resolver(sn.Identities)
	}
	if o.Secrets == nil {
		if o.Secrets, err = sn.secrets(); err != nil {
			return nil, err
		}
	}
	return &reading{sn, state, o}, nil
}

// run reads them once. Rows that do not belong to the window are left out.
func (r *reading) run(ctx context.Context, call func(*traffic.Call), connection func(*traffic.Connection), tell func(packets uint64)) (traffic.Account, error) {
	p := r.sn.Packets()
	defer p.Close()
	o, within := r.o, r.sn.Window.within()
	o.OnCall = func(c *traffic.Call) {
		if within == nil || within(c.Start, c.End) {
			call(c)
		}
	}
	o.OnConnection = func(c *traffic.Connection) {
		if within == nil || within(c.Start, c.End) {
			connection(c)
		}
	}
	account, err := runWindow(ctx, p, r.state, o, tell)
	if err != nil {
		return account, err
	}
	account.Source = r.sn.Window.Source
	complete(&account, p.Interfaces(), p.Truncated())
	return account, nil
}

// learning is the first reading.
type learning struct {
	r       *reading
	most    bounds
	beyond  uint64
	facts   *facts.Window
	far     Progress
	answers []reply
	unknown []unknown
	joined  map[uint64]joined
	ends    map[*facts.End]*traffic.Endpoint // latest of each, see known
}

// joined are the ends that a connection turned out to have, see [dissect.Settle].
type joined struct {
	src, dst knownEnd
	flow     uint64
}

// knownEnd is an end. Connections of one workload share what is known of it.
type knownEnd struct {
	who  *traffic.Endpoint // without its port
	port uint16
	end  *facts.End
}

func (s *knownEnd) endpoint() traffic.Endpoint {
	e := *s.who
	e.Port = s.port
	return e
}

func (l *learning) known(e *traffic.Endpoint) knownEnd {
	s := knownEnd{port: e.Port, end: l.facts.End(e)}
	who := *e
	who.Port = 0
	if s.who = l.ends[s.end]; s.who == nil || !reflect.DeepEqual(*s.who, who) {
		s.who = &who
		l.ends[s.end] = s.who
	}
	return s
}

func (l *learning) call(c *traffic.Call) {
	l.far.Calls++
	l.far.Protocols[c.Protocol]++
	if a, ok := replyOf(c); ok {
		l.answers = append(l.answers, a)
	}
	if l.facts.Len() == l.most.facts {
		l.beyond++
		return
	}
	l.r.sn.s.redactor.Call(c)
	l.facts.Add(c)
}

func (l *learning) connection(c *traffic.Connection) {
	if u, ok := unknownOf(c); ok {
		l.unknown = append(l.unknown, u)
	}
	if dissect.Joined(c) {
		l.joined[c.ID] = joined{l.known(&c.Src), l.known(&c.Dst), c.FlowID}
	}
	l.facts.Refuse(c)
}

// find finds what follows from all calls together.
func (l *learning) find(account *traffic.Account) *writing {
	names := namesOf(l.answers, l.unknown)
	for f := range l.facts.All() {
		if j, ok := l.joined[f.Conn]; ok {
			f.Src, f.Dst, f.Port = j.src.end, j.dst.end, j.dst.port
		}
		if w, ok := names[f.Conn]; ok && f.Dst.Name == "" {
			f.Dst = l.facts.Named(f.Dst, w.DNS)
		}
	}
	for i := range l.facts.Refused {
		if r := &l.facts.Refused[i]; r.Dst.Name == "" {
			r.Dst = l.facts.Named(r.Dst, names[r.Conn].DNS)
		}
	}
	retries.Find(l.facts)
	derive.Find(l.facts)
	l.facts.Close()
	return &writing{r: l.r, most: l.most, facts: l.facts, names: names, joined: l.joined, account: account, lost: lossesOf(account)}
}

// writing is the second reading.
type writing struct {
	r       *reading
	most    bounds
	facts   *facts.Window
	names   map[uint64]traffic.Workload
	joined  map[uint64]joined
	account *traffic.Account
	lost    map[Tuple]uint64

	seen        int
	calls       rows[*traffic.Call]
	connections rows[*traffic.Connection]
	stop        context.CancelCauseFunc
}

// errDiffers cannot happen: a snapshot does not change.
var errDiffers = errors.New("its packets do not tell the same calls a second time")

// write writes the files of the dissection into a folder, and returns their names.
func (w *writing) write(ctx context.Context, dir string, tell func(packets uint64)) ([]string, error) {
	s := w.r.sn.s
	ctx, w.stop = context.WithCancelCause(ctx)
	defer w.stop(nil)
	f, err := s.create(filepath.Join(dir, callsName))
	if err != nil {
		return nil, err
	}
	calls := NewCallWriter(f)
	calls.Shares(s.redactor)
	if f, err = s.create(filepath.Join(dir, connectionsName)); err != nil {
		return nil, errors.Join(err, calls.Close())
	}
	connections := NewConnectionWriter(f)
	w.calls = rows[*traffic.Call]{most: w.most, before: beganBefore, size: bodyBytes, write: w.writer(calls.Write)}
	w.connections = rows[*traffic.Connection]{most: w.most, before: openedBefore, write: func(c *traffic.Connection) {
		if err := connections.Write(c); err != nil {
			w.stop(err)
		}
	}}
	_, err = w.r.run(ctx, w.call, w.connection, tell)
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	w.calls.flush()
	w.connections.flush()
	if err == nil && w.seen < w.facts.Len() {
		err = errDiffers
	}
	if err := errors.Join(calls.Close(), connections.Close(), err); err != nil { // closing tells why writing failed
		return nil, err
	}
	return []string{callsName, connectionsName, lossName}, s.writeJSON(filepath.Join(dir, lossName), w.account)
}

func (w *writing) writer(write func(*traffic.Call) error) func(*traffic.Call) {
	return func(c *traffic.Call) {
		if err := write(c); err != nil {
			w.stop(err)
		}
	}
}

func (w *writing) call(c *traffic.Call) {
	if j, ok := w.joined[c.ConnID]; ok {
		c.Src, c.Dst, c.FlowID = j.src.endpoint(), j.dst.endpoint(), j.flow
	}
	nameServer(&c.Dst, w.names[c.ConnID])
	w.r.sn.s.redactor.Call(c)
	if w.seen < w.facts.Len() {
		f := w.facts.At(w.seen)
		if f.ID != c.ID {
			w.stop(errDiffers)
			return
		}
		f.Fill(c)
		w.seen++
	}
	w.r.sn.Window.stampCall(c)
	w.calls.add(c)
}

func (w *writing) connection(c *traffic.Connection) {
	nameServer(&c.Dst, w.names[c.ID])
	c.Lost += w.lost[TupleOf(c)]
	w.r.sn.Window.stampConnection(c)
	w.connections.add(c)
}

// rows are written in order as far as a bounded number of them can be put in order.
type rows[R any] struct {
	most   bounds
	before func(a, b R) int
	size   func(R) int // of what a row has beyond the usual; nil is nothing
	write  func(R)
	bytes  int
	list   []R // a heap, the earliest first
}

func (x *rows[R]) add(r R) {
	heap.Push(x, r)
	if x.size != nil {
		x.bytes += x.size(r)
	}
	for len(x.list) > x.most.rows || x.bytes > x.most.bytes {
		x.pop()
	}
}

func (x *rows[R]) flush() {
	for len(x.list) > 0 {
		x.pop()
	}
}

func (x *rows[R]) pop() {
	r := heap.Pop(x).(R)
	if x.size != nil {
		x.bytes -= x.size(r)
	}
	x.write(r)
}

// Len, Less, Swap, Push and Pop implement [heap.Interface].
func (x *rows[R]) Len() int           { return len(x.list) }
func (x *rows[R]) Less(i, j int) bool { return x.before(x.list[i], x.list[j]) < 0 }
func (x *rows[R]) Swap(i, j int)      { x.list[i], x.list[j] = x.list[j], x.list[i] }
func (x *rows[R]) Push(r any)         { x.list = append(x.list, r.(R)) }

func (x *rows[R]) Pop() any {
	n := len(x.list) - 1
	r := x.list[n]
	clear(x.list[n:])
	x.list = x.list[:n]
	return r
}

func bodyBytes(c *traffic.Call) int {
	if c.HTTP == nil {
		return 0
	}
	return len(c.HTTP.RequestBody) + len(c.HTTP.ResponseBody)
}

func beganBefore(a, b *traffic.Call) int {
	return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ConnID, b.ConnID), cmp.Compare(a.Index, b.Index))
}

func openedBefore(a, b *traffic.Connection) int {
	return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ID, b.ID))
}
