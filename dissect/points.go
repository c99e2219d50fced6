package dissect

import (
	"encoding/binary"
	"net/netip"

	"github.com/devloop-io/devloop/traffic"
)

// Both ends of a conversation are captured, each at its own socket. Without address translation both name it by the same
// addresses and ports, and one key finds the one connection. Behind kube-proxy, a masquerade or a redirect each end has names
// of its own:
//
//	client's point   10.1.0.5:40000 → 10.96.0.7:80     the Service
//	server's point   10.1.0.5:40000 → 10.1.2.9:8080    a backend; with SNAT also 10.1.0.1:1031 →
//
// What no translation changes are the sequence numbers. So a connection with a new name, seen at one end, is compared with
// those that were seen at the other end only; on proof it becomes a second name of the older one:
//
//   - both initial sequence numbers, 64 bits, from the SYN-ACK;
//   - before there is an answer: the client's address and port with its initial sequence number, 80 bits;
//   - of what was refused: the initial sequence number with the SYN's timestamp, 64 bits;
//   - in the middle of a stream: sequence and acknowledgment number of one segment with data, 64 bits;
//   - of UDP: the client's address and port and the same datagram (for DNS: id and question).
//
// In addition both sightings lie within joinWithin, each was captured at one end only, and not at the same end. Proofs are
// kept in order of arrival, at most maxProofs of them, and go with the checkpoint.
const (
	joinWithin = int64(5e9) // between the points' times: clocks of nodes differ, and segments arrive late
	maxProofs  = 1 << 16
	maxEarly   = 8  // packets without payload that a connection remembers until it is joined
	maxTries   = 16 // packets with payload of one connection that are looked up or remembered
	maxCopies  = 16 // datagrams that came from the receiver's point first
)

// Kinds of proof.
const (
	proofNumbers = iota
	proofOpening
	proofRefused
	proofSegment
	proofDatagram
)

// proof is what two sightings of one conversation have in common.
type proof struct {
	Kind uint8
	X, Y uint64
}

// sighting says which connection showed a proof.
type sighting struct {
	Proof  proof
	Key    connKey
	Serial uint64
	Dir    int   // which end of Key sent the packet
	Time   int64 // of the packet, at its point
	At     int64 // latest packet time when it came
}

// sightings remembers proofs, oldest first.
type sightings struct {
	byProof map[proof]sighting
	queue   []sighting
	head    int
}

func (s *sightings) add(x sighting) {
	if s.byProof == nil {
		s.byProof = map[proof]sighting{}
	}
	for len(s.queue)-s.head >= maxProofs || s.head < len(s.queue) && s.queue[s.head].At < x.At-2*joinWithin {
		s.drop()
	}
	s.byProof[x.Proof] = x
	s.queue = append(s.queue, x)
}

// drop forgets the oldest.
func (s *sightings) drop() {
	old := s.queue[s.head]
	if s.byProof[old.Proof] == old {
		delete(s.byProof, old.Proof)
	}
	if s.head++; s.head > 1024 && s.head > len(s.queue)/2 {
		s.queue = s.queue[:copy(s.queue, s.queue[s.head:])]
		s.head = 0
	}
}

// list is what a checkpoint carries.
func (s *sightings) list() []sighting { return s.queue[s.head:] }

// early is a packet without payload of a connection that may turn out to be another's second name.
type early struct {
	Seq, Ack      uint32
	Flags         uint8
	Window, Scale int
	Dir           int
	Time          int64
	Number        uint64
	Way           traffic.Direction
}

// names are the two names of a joined connection.
type names struct {
	Joined bool
	Other  connKey // the second one
	Flip   int     // 1 when its A is the first name's B
	Owner  int     // the end, by the first name, whose point uses the second
}

// scope tells network namespaces apart where addresses mean something only within one. Other addresses have none.
func scope(dg *datagram, ifc *traffic.Interface) uint64 {
	if ifc == nil || ifc.Workload == nil || !confined(&dg.src) || !confined(&dg.dst) {
		return 0
	}
	h := uint64(14695981039346656037)
	w := ifc.Workload
	h = mix(mix(h, []byte(w.Node)), []byte{0})
	if w.Pod != "" && !w.HostNetwork { // without a pod, and for one on the node's network, it is the node's own namespace
		h = mix(mix(mix(h, []byte(w.Namespace)), []byte{0}), []byte(w.Pod))
	}
	return fold53(h)
}

// confined reports whether an address is a loopback or link-local one.
func confined(a *address) bool {
	if a[0] == 0 {
		if a[10] == 0xff && a[11] == 0xff {
			return a[12] == 127 || a[12] == 169 && a[13] == 254
		}
		return a[15] == 1 && *a == address{15: 1}
	}
	return a[0] == 0xfe && a[1]&0xc0 == 0x80
}

// named puts a packet's direction by one of a connection's names into that by its first name.
func (c *connection) named(k *connKey, dir int) int {
	if c.Names.Joined && c.Key != *k {
		return dir ^ c.Names.Flip
	}
	return dir
}

// name is how the point of an end (by the first name) calls the connection; flip as in names.
func (c *connection) name(end int) (k *connKey, flip int) {
	if c.Names.Joined && c.Names.Owner == end {
		return &c.Names.Other, c.Names.Flip
	}
	return &c.Key, 0
}

// seen is an end's address as a point calls it: both are ends of the first name.
func (c *connection) seen(point, end int) (netip.Addr, uint16) {
	k, flip := c.name(point)
	return k.end(end ^ flip)
}

// single reports whether the connection was captured at exactly one of its ends, and which.
func (c *connection) single() (end int, ok bool) {
	if c.Wire || c.Names.Joined || c.Points[0] == c.Points[1] {
		return 0, false
	}
	if c.Points[1] {
		end = 1
	}
	return end, true
}

// joinTCP looks whether a segment proves its connection to be another's, seen from the other end. It returns the connection
// that goes on and the segment's direction in it.
func (d *Dissector) joinTCP(c *connection, dir int, s *segment, p *traffic.Packet) (*connection, int) {
	if _, ok := c.single(); !ok {
		c.Seeks, c.Early = false, nil
		return c, dir
	}
	x := sighting{Key: c.Key, Serial: c.Serial, Dir: dir, Time: p.Time, At: d.now}
	switch kind := s.flags & (flagSYN | flagACK | flagRST); {
	case kind == flagSYN:
		a, port := c.Key.A, uint16(c.Key.Ports>>16)
		if dir == 1 {
			a, port = c.Key.B, uint16(c.Key.Ports)
		}
		c.Timestamp = s.timestamp
		if !confined(&a) {
			x.Proof = proof{proofOpening, uint64(s.seq), clientProof(&a, port)}
		}
	case kind == flagSYN|flagACK:
		c.Numbered = true
		x.Proof = proof{proofNumbers, uint64(s.ack-1)<<32 | uint64(s.seq), 0}
	case kind&flagRST != 0:
		if client := &c.Dir[c.Client]; !c.Numbered && client.ISNSeen && c.Timestamp != 0 && dir != c.Client {
			x.Proof = proof{proofRefused, uint64(client.ISN), uint64(c.Timestamp)}
		}
	case s.length > 0 && c.Numbered:
		c.Seeks, c.Early = false, nil // from here on only others can be joined to it
		return c, dir
	case s.length > 0:
		x.Proof = proof{proofSegment, uint64(s.seq)<<32 | uint64(s.ack), 0}
		if c.Tries++; c.Tries == maxTries {
			c.Seeks, c.Early = false, nil
		}
	}
	if x.Proof != (proof{}) {
		if to, flip := d.join(c, x); to != nil {
			return to, dir ^ flip
		}
	}
	if c.Seeks && s.length == 0 && len(c.Early) < maxEarly {
		c.Early = append(c.Early, early{s.seq, s.ack, s.flags, s.window, s.scale, dir, p.Time, p.Number, p.Direction})
	}
	return c, dir
}

func clientProof(a *address, port uint16) uint64 {
	return mix(mix(14695981039346656037, a[:]), []byte{byte(port >> 8), byte(port)})
}

// joinUDP is joinTCP for datagrams.
func (d *Dissector) joinUDP(c *connection, dir int, data []byte, p *traffic.Packet) (*connection, int) {
	if _, ok := c.single(); !ok {
		c.Seeks = false
		return c, dir
	}
	a, port := c.Key.A, uint16(c.Key.Ports>>16)
	if c.Client == 1 {
		a, port = c.Key.B, uint16(c.Key.Ports)
	}
	if confined(&a) || len(data) == 0 {
		return c, dir
	}
	if c.Tries++; c.Tries == maxTries {
		c.Seeks = false
	}
	x := sighting{Key: c.Key, Serial: c.Serial, Dir: dir, Time: p.Time, At: d.now,
		Proof: proof{proofDatagram, datagramProof(data), clientProof(&a, port)}}
	if to, flip := d.join(c, x); to != nil {
		return to, dir ^ flip
	}
	return c, dir
}

func datagramProof(data []byte) uint64 {
	n := len(data)
	return mix(mix(14695981039346656037, data[:min(n, 512)]), []byte{byte(n >> 8), byte(n)})
}

// join looks a proof up, and remembers it where it proves nothing yet. It returns the connection that stays, and whether
// c's A is that one's B.
func (d *Dissector) join(c *connection, x sighting) (to *connection, flip int) {
	o := d.proved(c, &x)
	if o == nil {
		d.sightings.add(x)
		return nil, 0
	}
	was := d.sightings.byProof[x.Proof]
	flip = x.Dir ^ was.Dir
	switch {
	case c.blank():
		d.rename(c, o, flip)
		return o, flip
	case o.blank():
		d.rename(o, c, flip)
		return c, 0
	}
	c.Seeks, c.Early = false, nil // both have told calls already
	return nil, 0
}

// proved finds the connection that showed the same proof at the other end.
func (d *Dissector) proved(c *connection, x *sighting) *connection {
	was, ok := d.sightings.byProof[x.Proof]
	if !ok || max(was.Time-x.Time, x.Time-was.Time) > joinWithin {
		return nil
	}
	o := d.conns[was.Key]
	if o == nil || o == c || o.Serial != was.Serial || o.Key.Proto != c.Key.Proto {
		return nil
	}
	mine, ok1 := c.single()
	its, ok2 := o.single()
	if !ok1 || !ok2 || mine^x.Dir == its^was.Dir {
		return nil
	}
	if c.Key.Scope != 0 && o.Key.Scope != 0 && c.Who[mine].Node != o.Who[its].Node {
		return nil // addresses of two namespaces, which are at least on one node
	}
	return o
}

// blank reports whether nothing of a connection's payload has become a call, so that it may be dropped for its other half.
func (c *connection) blank() bool {
	return c.Calls == 0 && c.NextIndex == 0 && len(c.Held) == 0 && c.Inner == nil
}

// rename makes c's name the second name of o, and o has seen what c saw.
func (d *Dissector) rename(c, o *connection, flip int) {
	mine, _ := c.single()
	owner := mine ^ flip
	d.forget(c)
	o.Names = names{Joined: true, Other: c.Key, Flip: flip, Owner: owner}
	d.conns[c.Key] = o
	o.Points[owner], o.Tapped[owner], o.Iface[owner] = true, c.Tapped[mine], c.Iface[mine]
	o.Who[owner], o.WhoKnown[owner] = c.Who[mine], c.WhoKnown[mine]
	o.endsReady = false
	o.Opened = o.Opened || c.Opened
	if owner == o.Client {
		o.Began = c.Began
	} else {
		o.Began = min(o.Began, c.Began)
	}
	d.account.Joined++
	for _, e := range c.Early {
		s := segment{seq: e.Seq, ack: e.Ack, flags: e.Flags, window: e.Window, scale: e.Scale}
		p := traffic.Packet{Time: e.Time, Number: e.Number, Direction: e.Way}
		d.tcpPacket(o, e.Dir^flip, &s, &p)
	}
	if first := c.Packets.First; first != 0 && (o.Packets.First == 0 || first < o.Packets.First) {
		o.Packets.First = first
	}
	o.Packets.Last = max(o.Packets.Last, c.Packets.Last)
	o.Active = o.Active || c.Active
	for i := range c.Copies {
		o.Copies[i^flip] = append(o.Copies[i^flip], c.Copies[i]...)
	}
	o.Seeks, o.Early = false, nil
}

// forget takes a connection out of the table without a row: it is another's second name.
func (d *Dissector) forget(c *connection) {
	for i := range c.Dir {
		x := &c.Dir[i]
		d.total -= len(x.Buf) + x.PendingBytes
	}
	c.gone = true
	d.lists[c.listed].remove(c)
	delete(d.conns, c.Key)
}

// copied reports whether a datagram from its sender's point was read already, from the receiver's.
func (c *connection) copied(dir int, way traffic.Direction, data []byte) bool {
	list := c.Copies[dir]
	switch way {
	case traffic.DirectionIn:
		if len(list) == maxCopies {
			list = list[:copy(list, list[1:])]
		}
		c.Copies[dir] = append(list, datagramProof(data))
	case traffic.DirectionOut:
		for i, h := range list {
			if h == datagramProof(data) {
				c.Copies[dir] = list[:copy(list, list[i+1:])]
				return true
			}
		}
	}
	return false
}

// views says what each end's point saw.
func (c *connection) views(r *traffic.Connection) (views []traffic.View) {
	for i, name := range []string{"client", "server"} {
		end := c.Client ^ i
		if !c.Points[end] {
			continue
		}
		v := traffic.View{Point: name, Interface: c.Iface[end], Packets: c.Tapped[end]}
		if c.WhoKnown[end] {
			v.Node = c.Who[end].Node
		}
		v.Src = netip.AddrPortFrom(c.seen(end, c.Client))
		v.Dst = netip.AddrPortFrom(c.seen(end, 1-c.Client))
		v.HandshakeNS = r.HandshakeClientNS
		if i == 1 {
			v.HandshakeNS = r.HandshakeServerNS
			v.ClockOffsetNS, v.ClockErrorNS = c.Handshake.offset()
		}
		views = append(views, v)
	}
	return views
}

// offset estimates how far the server's clock is ahead of the client's, from one SYN and its answer as both points saw them
// (as NTP does, RFC 5905 section 8), and by how much that may be wrong.
func (h *handshake) offset() (ns, wrong int64) {
	if h.SYNs != 1 || h.SYNACKs != 1 || !h.SYNSent || h.SYNAtServer == 0 || h.SYNACKAtServer == 0 || h.SYNACKAtClient == 0 {
		return 0, 0
	}
	out, back := h.SYNAtServer-h.FirstSYN, h.SYNACKAtClient-h.SYNACKAtServer
	return (out - back) / 2, max(1, (out+back+1)/2)
}

// asked is the address that the client spoke to, where another one answered.
func (c *connection) asked() (a netip.AddrPort, ok bool) {
	if !c.Names.Joined {
		return a, false
	}
	a = netip.AddrPortFrom(c.seen(c.Client, 1-c.Client))
	return a, a != netip.AddrPortFrom(c.seen(1-c.Client, 1-c.Client))
}

// tcpTimestamp finds the sender's value of option 8 (RFC 7323); 0 without one.
func tcpTimestamp(o []byte) uint32 {
	for len(o) > 0 {
		switch {
		case o[0] == 0:
			return 0
		case o[0] == 1:
			o = o[1:]
			continue
		case len(o) < 2 || o[1] < 2 || int(o[1]) > len(o):
			return 0
		case o[0] == 8 && o[1] == 10:
			return binary.BigEndian.Uint32(o[2:])
		}
		o = o[o[1]:]
	}
	return 0
}

// Settle gives the calls of a window the ends that their connections turned out to have: a call may be told before the
// other end's packets come.
func Settle(calls []*traffic.Call, connections []*traffic.Connection) {
	joined := map[uint64]*traffic.Connection{}
	for _, c := range connections {
		if Joined(c) {
			joined[c.ID] = c
		}
	}
	for _, call := range calls {
		if c := joined[call.ConnID]; c != nil {
			call.Src, call.Dst, call.FlowID = c.Src, c.Dst, c.FlowID
		}
	}
}

// Joined reports whether a connection was captured at both ends, so that its calls may have been told before its ends were known.
func Joined(c *traffic.Connection) bool { return c.OriginalDst.IsValid() || len(c.Views) > 1 }
