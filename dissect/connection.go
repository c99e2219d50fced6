package dissect

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// connKey names a socket pair, whichever way a packet goes: a is the smaller end.
type connKey struct {
	A, B  address
	Ports uint32 // A's port in the upper half
	Proto uint8
	Scope uint64 // network namespace of addresses that mean something only within one, see scope
}

// canonical makes the key of a packet; dir is 0 when A sent it.
func canonical(dg *datagram, sport, dport uint16) (k connKey, dir int) {
	order := bytes.Compare(dg.src[:], dg.dst[:])
	if order < 0 || order == 0 && sport <= dport {
		return connKey{A: dg.src, B: dg.dst, Ports: uint32(sport)<<16 | uint32(dport), Proto: dg.proto}, 0
	}
	return connKey{A: dg.dst, B: dg.src, Ports: uint32(dport)<<16 | uint32(sport), Proto: dg.proto}, 1
}

// end is the address of A (0) or B (1).
func (k *connKey) end(i int) (netip.Addr, uint16) {
	a, port := k.A, uint16(k.Ports>>16)
	if i == 1 {
		a, port = k.B, uint16(k.Ports)
	}
	return netip.AddrFrom16(a).Unmap(), port
}

// Stages of finding out what a connection speaks.
const (
	stageDetect = iota
	stageParsed
	stageOther // none of ours, for good
	stageHunt  // unknown so far: every packet may begin a message
)

// connection is the state of one socket pair. Exported fields are what a checkpoint carries.
type connection struct {
	Key     connKey
	ID      uint64
	Serial  uint64 // order of first sight
	Client  int    // which of the ends is the client
	Guessed bool
	Dir     [2]direction // by sender

	Began, Last, Touched int64
	Stage                uint8
	L7                   string
	FromStart            bool // every byte since the handshake was seen
	HandedOver           bool
	Reversed             bool // who was called asks, and the caller answers
	Parser               protocol.Parser
	Legacy               *legacy     // what the next protocol is to answer
	Inner                *connection // the plaintext of its encryption, where secrets are known
	In                   inner
	Deadline             int64

	Points    [2]bool   // captured at A's, at B's interface
	Tapped    [2]uint64 // packets that each of them recorded
	Iface     [2]string // their names
	Names     names
	Seeks     bool // it may turn out to be the other end's view of a connection that has another name there
	Numbered  bool // both initial sequence numbers are known to the table of proofs
	Tries     int
	Timestamp uint32 // of the SYN
	Early     []early
	Copies    [2][]uint64 // UDP: what the receiver's point told first
	Wire      bool        // captured by someone who belongs to neither
	Who       [2]traffic.Workload
	WhoKnown  [2]bool

	Handshake handshake
	Metrics   metrics
	ClosedAt  int64
	ResetBy   int // 0 none, else 1 + end
	Refused   bool
	Ended     bool // parser was told the end
	MidReset  bool
	FirstFIN  int // 0 none, else 1 + end

	Calls      int
	NextIndex  int
	Background bool
	SNI        string
	Missing    uint64
	Undecoded  uint64
	Encrypted  uint64
	Held       []held

	// of this window
	WindowCalls                    int
	WindowMissing, WindowUndecoded uint64
	Opened                         bool
	ClosedHere                     bool
	Packets                        traffic.PacketRange
	Active                         bool

	prev, next *connection
	listed     int
	gone       bool
	idPrefix   string
	resolved   [2]bool
	ends       [2]traffic.Endpoint
	flow       uint64
	endsReady  bool // ends and flow are right
}

// legacy is a request that the protocol before was sent.
type legacy struct {
	Call    *traffic.Call
	Request protocol.Span
}

// handshake is when the three packets were seen, at which end.
type handshake struct {
	FirstSYN, LastSYN   int64 // at the client, or on the wire
	SYNSent, SYNACKSent bool  // counted at the sender's point
	SYNAtServer         int64
	SYNs, SYNACKs       int // sent by the client, the server, retransmissions included
	SYNACKAtClient      int64
	SYNACKAtServer      int64 // last
	ACKAtServer         int64
	ACKAtClient         int64
	Established         bool
}

// held is a call that waits for the time at which its response reached the client's interface.
type held struct {
	Call        *traffic.Call
	First, Last int64 // offsets in the server's stream
	FirstDone   bool
}

const (
	listTCP = iota
	listUDP
	listClosed
)

// list is a doubly linked list of connections, oldest activity first.
type list struct{ first, last *connection }

func (l *list) remove(c *connection) {
	if c.prev == nil {
		l.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
}

func (l *list) push(c *connection) {
	c.prev, c.next = l.last, nil
	if l.last == nil {
		l.first = c
	} else {
		l.last.next = c
	}
	l.last = c
}

// listOf says which list a connection belongs to.
func listOf(c *connection) int {
	switch {
	case c.ClosedAt != 0:
		return listClosed
	case c.Key.Proto == protoUDP:
		return listUDP
	}
	return listTCP
}

// touch notes that a connection was active now.
func (d *Dissector) touch(c *connection) {
	c.Touched = d.now
	l := listOf(c)
	if l == c.listed && d.lists[l].last == c {
		return
	}
	d.lists[c.listed].remove(c)
	c.listed = l
	d.lists[l].push(c)
}

// open makes the connection of a key. token tells incarnations apart: the client's initial sequence number, or the time.
func (d *Dissector) open(k connKey, token uint64, t int64, client int, guessed bool) *connection {
	for len(d.conns) >= d.o.MaxConnections {
		d.evict()
	}
	d.serial++
	c := &connection{Key: k, Serial: d.serial, Client: client, Guessed: guessed, Began: t, Last: t, ID: connID(&k, token)}
	d.conns[k] = c
	c.listed = listOf(c)
	d.lists[c.listed].push(c)
	return c
}

// evict drops the connection that will be missed least.
func (d *Dissector) evict() {
	for _, l := range []int{listClosed, listUDP, listTCP} {
		if c := d.lists[l].first; c != nil {
			d.remove(c, "connection_limit")
			return
		}
	}
}

// remove forgets a connection; its row is emitted when the window saw it.
func (d *Dissector) remove(c *connection, reason string) {
	d.finishConnection(c, protocol.End{Mark: protocol.Mark{Time: c.Last}, Dropped: c.ClosedAt == 0}, reason)
	d.emitRow(c)
	c.gone = true
	d.lists[c.listed].remove(c)
	delete(d.conns, c.Key)
	if c.Names.Joined {
		delete(d.conns, c.Names.Other)
	}
}

// mix is a small stable hash (FNV-1a with a final avalanche): IDs must not change between versions of Go.
func mix(h uint64, b []byte) uint64 {
	for _, x := range b {
		h = (h ^ uint64(x)) * 1099511628211
	}
	return h
}

func fold53(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	return max(1, h&(1<<53-1))
}

func connID(k *connKey, token uint64) uint64 {
	var b [13]byte
	binary.BigEndian.PutUint32(b[:], k.Ports)
	binary.BigEndian.PutUint64(b[4:], token)
	b[12] = k.Proto
	h := mix(mix(mix(14695981039346656037, k.A[:]), k.B[:]), b[:])
	if k.Scope != 0 {
		h = mix(h, binary.BigEndian.AppendUint64(nil, k.Scope))
	}
	return fold53(h)
}

// flowID is the same for all connections of one client to one server port.
func (c *connection) flowID() uint64 {
	client, server, port := c.Key.A, c.Key.B, uint16(c.Key.Ports)
	if c.Client == 1 {
		client, server, port = c.Key.B, c.Key.A, uint16(c.Key.Ports>>16)
	}
	if c.Names.Joined {
		a, _ := c.seen(c.Client, c.Client)
		b, p := c.seen(1-c.Client, 1-c.Client)
		client, server, port = a.As16(), b.As16(), p
	}
	h := mix(mix(mix(14695981039346656037, client[:]), server[:]), []byte{byte(port >> 8), byte(port), c.Key.Proto})
	if c.Key.Scope != 0 {
		h = mix(h, binary.BigEndian.AppendUint64(nil, c.Key.Scope))
	}
	return fold53(h)
}

// callID is node/connection/index.
func (d *Dissector) callID(c *connection, index int) string {
	if c.idPrefix == "" {
		c.idPrefix = d.o.Node + "/" + strconv.FormatUint(c.ID, 36) + "/"
	}
	var b [96]byte
	return d.memory.Text(strconv.AppendInt(append(b[:0], c.idPrefix...), int64(index), 10))
}

// note remembers where a packet was captured and who owns that interface.
func (c *connection) note(p *traffic.Packet, ifc *traffic.Interface, dir int) {
	if p.Direction == traffic.DirectionUnknown {
		c.Wire = true
		return
	}
	owner := dir
	if p.Direction == traffic.DirectionIn {
		owner = 1 - dir
	}
	c.Tapped[owner]++
	if c.Points[owner] && c.WhoKnown[owner] {
		return
	}
	c.Seeks = c.Seeks || c.Points == [2]bool{}
	c.Points[owner] = true
	if ifc != nil {
		c.Iface[owner] = ifc.Name
	}
	if ifc != nil && ifc.Workload != nil {
		c.Who[owner], c.WhoKnown[owner], c.endsReady = *ifc.Workload, true, false
	}
}

// endpoints names both ends, client first.
func (d *Dissector) endpoints(c *connection) (client, server *traffic.Endpoint) {
	if !c.endsReady {
		for i := range c.ends {
			e := &c.ends[i]
			e.IP, e.Port = c.seen(i, i)
			if c.WhoKnown[i] {
				e.Workload = c.Who[i]
			} else if d.o.Resolve != nil && !c.resolved[i] {
				c.resolved[i] = true
				if w, ok := d.o.Resolve(e.IP, c.Began); ok {
					e.Workload = w
				}
			}
			if to, ok := c.asked(); ok && i != c.Client && d.o.Resolve != nil {
				if w, ok := d.o.Resolve(to.Addr(), c.Began); ok && w.Service != "" {
					e.Service = w.Service // the pod is the backend's, the service is who was asked
				}
			}
		}
		c.flow, c.endsReady = c.flowID(), true
	}
	return &c.ends[c.Client], &c.ends[1-c.Client]
}

// point says whose clock the times of a connection's calls are.
func (c *connection) point() string {
	switch {
	case c.Points[c.Client]:
		return "client"
	case c.Points[1-c.Client]:
		return "server"
	}
	return "wire"
}

// setClient corrects the guess of who is the client.
func (c *connection) setClient(i int, guessed bool) {
	if c.Client != i && !c.Guessed {
		return // a SYN said so
	}
	if c.Client != i {
		c.endsReady = false
	}
	c.Client, c.Guessed = i, guessed
}

// likelyClient guesses by port: servers listen on the lower one.
func likelyClient(k *connKey) int {
	if uint16(k.Ports>>16) < uint16(k.Ports) {
		return 1
	}
	return 0
}

// emitRow hands out the connection's row when the window saw it, and begins the next window.
func (d *Dissector) emitRow(c *connection) {
	if _, one := c.single(); one && c.Active {
		d.account.OnePoint++
	}
	if c.Active && d.o.OnConnection != nil {
		d.o.OnConnection(d.row(c))
	}
	c.WindowCalls, c.Opened, c.ClosedHere, c.Packets, c.Active = 0, false, false, traffic.PacketRange{}, false
	c.WindowMissing, c.WindowUndecoded = 0, 0
}

// lack counts payload that the capture does not have.
func (d *Dissector) lack(c *connection, n int64) {
	c.Missing += uint64(n)
	c.WindowMissing += uint64(n)
	d.account.Missing += uint64(n)
}

// giveUpOn counts bytes of a connection that were not decoded though a protocol might have.
func (d *Dissector) giveUpOn(c *connection, n int64, reason string) {
	c = c.outermost()
	if n > 0 {
		c.Undecoded += uint64(n)
		c.WindowUndecoded += uint64(n)
		d.giveUp(n, reason)
	}
}

func (d *Dissector) row(c *connection) *traffic.Connection {
	src, dst := d.endpoints(c)
	cl, sv := &c.Dir[c.Client], &c.Dir[1-c.Client]
	r := &traffic.Connection{
		ID: c.ID, FlowID: c.flowID(), Proto: "tcp", L7: c.l7(), Src: *src, Dst: *dst, Guessed: c.Guessed,
		Start: c.Began, End: c.Last, State: c.state(), Opened: c.Opened, Closed: c.ClosedHere,
		Calls: c.Calls, WindowCalls: c.WindowCalls, MidRequestReset: c.MidReset,
		ClientPackets: cl.Packets, ServerPackets: sv.Packets, ClientBytes: cl.Bytes, ServerBytes: sv.Bytes,
		Missing: c.Missing, Undecoded: c.Undecoded, Encrypted: c.Encrypted, Packets: c.Packets,
		WindowMissing: c.WindowMissing, WindowUndecoded: c.WindowUndecoded,
		SNI: c.SNI, Background: c.Background,
	}
	if c.Inner != nil {
		r.CaptureSource = traffic.SourceTLSKeyLog
	}
	if c.Key.Proto == protoUDP {
		r.Proto = "udp"
	} else {
		r.TCP = c.tcpMetrics()
		c.handshakeTimes(r)
	}
	if c.ResetBy != 0 {
		r.ResetBy = "server"
		if c.ResetBy-1 == c.Client {
			r.ResetBy = "client"
		}
	}
	for i, name := range []string{"client", "server"} {
		if c.Points[c.Client^i] {
			r.Points = append(r.Points, name)
		}
	}
	if c.Wire {
		r.Points = append(r.Points, "wire")
	}
	r.Views = c.views(r)
	r.OriginalDst, _ = c.asked()
	return r
}

func (c *connection) l7() string {
	switch {
	case c.L7 == traffic.ProtoTLS && c.Inner != nil && c.Inner.L7 != "":
		return c.Inner.l7()
	case c.L7 != "":
		return c.L7
	case c.Stage == stageOther, c.Dir[0].Foreign > 0, c.Dir[1].Foreign > 0:
		return traffic.ProtoOther
	}
	return traffic.ProtoUnknown
}

func (c *connection) state() traffic.State {
	switch {
	case c.Refused:
		return traffic.StateRefused
	case c.ResetBy != 0:
		return traffic.StateReset
	case c.ClosedAt != 0:
		return traffic.StateClosed
	case c.Key.Proto == protoTCP && !c.Handshake.Established && c.Dir[0].Bytes+c.Dir[1].Bytes == 0:
		return traffic.StateInProgress
	}
	return traffic.StateEstablished
}

// handshakeTimes fills in what the points saw of the handshake.
func (c *connection) handshakeTimes(r *traffic.Connection) {
	h := &c.Handshake
	r.SYNRetransmits = max(0, h.SYNs-1)
	if h.FirstSYN == 0 {
		return
	}
	if h.SYNACKAtClient != 0 {
		r.ConnectNS = h.SYNACKAtClient - h.FirstSYN
		if h.SYNs == 1 {
			r.HandshakeClientNS = r.ConnectNS
		}
	}
	if h.SYNACKAtServer != 0 && h.ACKAtServer != 0 && h.SYNACKs == 1 {
		r.HandshakeServerNS = h.ACKAtServer - h.SYNACKAtServer
	}
}
