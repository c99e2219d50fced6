package dissect

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"

	"github.com/devloop-io/devloop/dissect/protobuf"
	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/dissect/tls"
	"github.com/devloop-io/devloop/traffic"
)

// Options configures a [Dissector]. The zero value works; callbacks that are nil are not called.
type Options struct {
	// Resolve names the remote ends that no interface names. It may be nil.
	Resolve func(ip netip.Addr, at int64) (traffic.Workload, bool)
	// Secrets open TLS. It may be nil, and may be added to while the dissection runs.
	Secrets *tls.Secrets
	// OnCall is called as each call completes; the call belongs to the callee afterwards.
	OnCall func(*traffic.Call)
	// Returned makes calls lent: it is asked after each OnCall how many of them, the oldest first, are not used any more, nor anything that
	// they refer to. Their memory is used again. It may be nil.
	Returned func() int
	// OnConnection is called once per window for every connection that was active in it.
	OnConnection func(*traffic.Connection)
	// Types describes the messages of gRPC methods. Without it they are shown by the numbers of their fields.
	Types *protobuf.Types
	// Quotes also tells the calls in packets that ICMP errors quote and in those that sFlow sampled, which were mostly captured themselves.
	// CaptureSource marks them.
	Quotes bool

	Node           string // first part of call IDs; "local" when empty
	BodyLimit      int    // bytes of each decoded body that are kept; 64 KiB when 0, none when negative
	MaxConnections int    // connections remembered at a time; 65536 when 0. Closed and long idle ones give way first
	MaxBuffered    int    // bytes that one connection may hold back, waiting for a gap to fill or a message to end; 4 MiB when 0
	MaxTotal       int    // the same for all connections together; 256 MiB when 0
}

// Idle limits, in ns of packet time.
const (
	idleTCP    = int64(3600e9)
	idleUDP    = int64(60e9)
	lingering  = int64(30e9) // of closed connections, so that their last ACKs find them
	futureSlip = int64(600e9)
)

func (o *Options) setDefaults() {
	o.Node = cmp.Or(o.Node, "local")
	o.BodyLimit = max(0, cmp.Or(o.BodyLimit, 64<<10))
	o.MaxConnections = cmp.Or(o.MaxConnections, 65536)
	o.MaxBuffered = cmp.Or(o.MaxBuffered, 4<<20)
	o.MaxTotal = cmp.Or(o.MaxTotal, 256<<20)
}

// Dissector reads packets in the order of their capture. It is made by [New] or [Restore] and is not safe for
// concurrent use.
type Dissector struct {
	o       Options
	account traffic.Account
	now     int64 // latest packet time
	serial  uint64

	conns  map[connKey]*connection
	lists  [3]list         // oldest activity first: open TCP, UDP, closed
	recent [64]*connection // of TCP, by their ports: what looking into conns would find, unless they are gone
	total  int             // bytes held back by all connections

	fragments     map[fragmentKey]*partial
	fragmentOrder []*partial
	sightings     sightings
	timers        timerHeap

	host   host
	memory protocol.Memory
	lent   []*traffic.Call // in the order of OnCall
	mark   [1]protocol.Mark
	view   protocol.View
}

// New makes a Dissector that has seen nothing.
func New(o Options) *Dissector {
	o.setDefaults()
	d := &Dissector{o: o, conns: map[connKey]*connection{}, fragments: map[fragmentKey]*partial{}}
	d.host.d = d
	if o.Returned != nil {
		d.memory.Lends()
	}
	d.resetAccount()
	return d
}

func (d *Dissector) resetAccount() {
	d.account = traffic.Account{Ignored: map[string]uint64{}, Malformed: map[string]uint64{}, GivenUp: map[string]uint64{}}
}

// Packet reads one packet. ifc is the interface it was captured on, or nil. Nothing of p is kept.
func (d *Dissector) Packet(p *traffic.Packet, ifc *traffic.Interface) {
	d.account.Packets++
	d.account.Bytes += uint64(max(p.Length, len(p.Data)))
	if d.account.First == 0 || p.Time < d.account.First {
		d.account.First = p.Time
	}
	d.account.Last = max(d.account.Last, p.Time)
	d.advance(p.Time)

	var dg datagram
	var f fragment
	r := decode(p, &dg, &f)
	if r.kind != "" || dg.proto == protoUDP {
		whole, tunnels := true, 0
		if r, tunnels, whole = d.unwrap(p, &dg, &f, r); !whole {
			d.account.Decoded++
			return
		}
		if tunnels > 0 { // the interface is the tunnel's end, not the inner packet's
			inner := *p
			inner.Direction = traffic.DirectionUnknown
			p, ifc = &inner, nil
		}
	}
	switch {
	case r.malformed:
		d.account.Malformed[r.kind]++
	case r.kind != "":
		d.account.Ignored[r.kind]++
		if d.o.Quotes && r.kind == "icmp" {
			d.quoted(p, &dg)
		}
	case dg.proto == protoTCP:
		d.tcp(p, ifc, &dg)
	default:
		d.udp(p, ifc, &dg)
		if d.o.Quotes {
			d.sampled(p, &dg)
		}
	}
}

// advance moves the clock of packet time: deadlines and idle limits fire before the packet that passed them.
func (d *Dissector) advance(t int64) {
	if t <= d.now {
		return
	}
	d.now = t
	for len(d.timers) > 0 && d.timers[0].At <= t {
		e := d.timers.pop()
		if c := e.c; !c.gone && c.Deadline == e.At {
			c.Deadline = 0
			if c.Parser != nil {
				d.host.c = c
				c.Parser.Tick(&d.host, t)
			}
		}
	}
	d.dropIdle(&d.lists[listTCP], t-idleTCP)
	d.dropIdle(&d.lists[listUDP], t-idleUDP)
	d.dropIdle(&d.lists[listClosed], t-lingering)
}

func (d *Dissector) dropIdle(l *list, before int64) {
	for l.first != nil && l.first.Touched < before {
		d.remove(l.first, "idle")
	}
}

// EndWindow ends a window: calls that still wait are emitted as open copies, connections active in the window as rows,
// and the window's account is returned. The state of the connections goes on into the next window, in which the caller
// numbers packets from 1 again.
func (d *Dissector) EndWindow() traffic.Account {
	for _, c := range d.ordered() {
		d.releaseHeld(c)
		d.gapsAtWindowEnd(c)
		if c.Parser != nil {
			d.host.c = c
			c.Parser.Window(&d.host)
		}
		if c.Legacy != nil {
			c.Legacy.Request.Forget()
		}
		for i := range c.Early {
			c.Early[i].Number = 0
		}
		d.windowInner(c)
		for i := range c.Dir {
			c.Dir[i].forgetNumbers()
			if n := c.Dir[i].PendingBytes; n > 0 && c.Active { // they may still be read, in a window to come
				c.WindowUndecoded += uint64(n)
				d.giveUp(int64(n), "behind_gap_at_window_end")
			}
		}
		d.emitRow(c)
	}
	for _, p := range d.fragmentOrder {
		d.giveUp(int64(len(p.Data)), "fragment_at_window_end")
	}
	account := d.account
	for _, m := range []*map[string]uint64{&account.Ignored, &account.Malformed, &account.GivenUp} {
		if len(*m) == 0 {
			*m = nil
		}
	}
	d.resetAccount()
	return account
}

// ordered is all connections in the order in which they were first seen.
func (d *Dissector) ordered() []*connection {
	all := make([]*connection, 0, len(d.conns))
	for k, c := range d.conns {
		if k == c.Key { // not by its second name
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *connection) int { return cmp.Compare(a.Serial, b.Serial) })
	return all
}

// finish ends the wait for bytes that a whole file does not contain.
func (d *Dissector) finish() {
	for _, c := range d.ordered() {
		d.flushStreams(c)
	}
}

// giveUp counts bytes that were not decoded though a protocol might have.
func (d *Dissector) giveUp(n int64, reason string) {
	if n > 0 {
		d.account.Undecoded += uint64(n)
		d.account.GivenUp[reason] += uint64(n)
	}
}

// Run dissects a whole capture: next fills in packets until io.EOF; ifaces names their interfaces and may be nil.
func Run(ctx context.Context, next func(*traffic.Packet) error, ifaces func(int) *traffic.Interface, o Options) (traffic.Account, error) {
	d := New(o)
	var p traffic.Packet
	for n := 0; ; n++ {
		if n&1023 == 0 && ctx.Err() != nil {
			return d.EndWindow(), ctx.Err()
		}
		if err := next(&p); err != nil {
			d.finish()
			account := d.EndWindow()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return account, err
		}
		var ifc *traffic.Interface
		if ifaces != nil {
			ifc = ifaces(p.Interface)
		}
		d.Packet(&p, ifc)
	}
}
