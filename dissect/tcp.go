package dissect

import (
	"encoding/binary"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// TCP header flags.
const (
	flagFIN = 1
	flagSYN = 2
	flagRST = 4
	flagACK = 16
)

// segment is one TCP segment. data may be cut: length is its payload on the wire.
type segment struct {
	seq, ack  uint32
	flags     uint8
	window    int
	scale     int    // of the SYN's option; -1 without one
	timestamp uint32 // of the SYN's option; 0 without one
	data      []byte
	length    int
}

// Sequence arithmetic (RFC 9293 section 3.4).
func before(a, b uint32) bool { return int32(a-b) < 0 }
func after(a, b uint32) bool  { return int32(a-b) > 0 }

func (d *Dissector) tcp(p *traffic.Packet, ifc *traffic.Interface, dg *datagram) {
	b := dg.data
	if len(b) < 20 {
		d.account.Malformed["tcp"]++
		return
	}
	head := int(b[12]>>4) * 4
	if head < 20 || head > dg.wire {
		d.account.Malformed["tcp"]++
		return
	}
	d.account.Decoded++
	s := segment{seq: binary.BigEndian.Uint32(b[4:]), ack: binary.BigEndian.Uint32(b[8:]), flags: b[13] & 0x3f,
		window: int(binary.BigEndian.Uint16(b[14:])), scale: -1, length: dg.wire - head}
	if head < len(b) {
		s.data = b[head:]
	}
	if s.flags&flagSYN != 0 {
		s.scale = windowScale(b[20:max(20, min(head, len(b)))])
		s.timestamp = tcpTimestamp(b[20:max(20, min(head, len(b)))])
	}
	k, dir := canonical(dg, binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]))
	if ifc != nil {
		k.Scope = scope(dg, ifc)
	}
	c := d.tcpConnection(k, dir, &s, p.Time)
	dir = c.named(&k, dir)
	c.note(p, ifc, dir)
	if c.Seeks {
		c, dir = d.joinTCP(c, dir, &s, p)
	}
	d.touch(c)
	d.tcpPacket(c, dir, &s, p)
}

// windowScale finds option 3 (RFC 7323).
func windowScale(o []byte) int {
	for len(o) > 0 {
		switch {
		case o[0] == 0:
			return -1
		case o[0] == 1:
			o = o[1:]
			continue
		case len(o) < 2 || o[1] < 2 || int(o[1]) > len(o):
			return -1
		case o[0] == 3 && o[1] == 3:
			return int(min(o[2], 14))
		}
		o = o[o[1]:]
	}
	return -1
}

// tcpConnection finds the connection of a segment, or opens a new one: for a new key, and for a SYN with a new initial
// sequence number on an old one.
func (d *Dissector) tcpConnection(k connKey, dir int, s *segment, t int64) *connection {
	recent := &d.recent[(k.Ports^k.Ports>>16)%uint32(len(d.recent))]
	c := *recent
	if c == nil || c.gone || c.Key != k {
		c = d.conns[k]
		*recent = c
	}
	kind := s.flags & (flagSYN | flagACK | flagRST | flagFIN)
	if c != nil {
		mine := &c.Dir[c.named(&k, dir)]
		reopened := kind == flagSYN && (mine.ISNSeen && mine.ISN != s.seq || !mine.ISNSeen && (mine.Packets > 0 || c.ClosedAt != 0)) ||
			kind == flagSYN|flagACK && c.ClosedAt != 0 && mine.ISNSeen && mine.ISN != s.seq
		if !reopened {
			return c
		}
		d.remove(c, "new_connection")
	}
	switch kind {
	case flagSYN:
		c = d.open(k, uint64(s.seq), t, dir, false)
	case flagSYN | flagACK:
		c = d.open(k, uint64(s.ack-1), t, 1-dir, false)
	default:
		c = d.open(k, uint64(t), t, likelyClient(&k), true)
	}
	c.FromStart = kind&flagSYN != 0
	c.Opened = c.FromStart
	*recent = c
	return c
}

// tcpPacket runs one segment through a connection.
func (d *Dissector) tcpPacket(c *connection, dir int, s *segment, p *traffic.Packet) {
	me, peer := &c.Dir[dir], &c.Dir[1-dir]
	c.Active = true
	c.Last = max(c.Last, p.Time)
	if c.Packets.First == 0 {
		c.Packets.First = p.Number
	}
	c.Packets.Last = p.Number

	if primary := me.countable(p.Direction, s); primary {
		me.Packets++
		d.analyse(c, dir, s, p.Time, p.Direction)
	} else {
		c.sampleRTT(dir, s, p.Time, p.Direction)
	}
	c.handshake(dir, s, p)
	if c.stale(dir, s) {
		return
	}

	if s.flags&flagSYN != 0 {
		if !me.ISNSeen {
			me.ISN, me.ISNSeen = s.seq, true
			if !me.Init || me.Offset == 0 {
				me.Next, me.Init = s.seq+1, true
			}
		}
		s.seq++ // data on a SYN begins behind it (TCP Fast Open)
	} else if !me.Init {
		me.Next, me.Init = s.seq, true
		if s.flags&flagRST == 0 && s.seq != 0 && !c.FromStart {
			me.Joined = true
		}
	}
	m := protocol.Mark{Packet: p.Number, Time: p.Time}
	if len(c.Held) > 0 {
		d.patchHeld(c, dir, s, p)
	}
	if s.length > 0 && s.flags&flagACK != 0 && peer.Init && after(s.ack, peer.Next) {
		// Whoever answers has read what the capture lacks: the gap is told first, or the answer would find no question.
		d.gapKnown(c, 1-dir, s.ack, m)
	}
	if s.length > 0 && s.flags&flagRST == 0 { // a RST may carry text about its reason: no part of the stream
		d.payload(c, dir, s, m, p.Direction)
	}
	if s.flags&flagFIN != 0 && !me.FINSeen {
		me.FINSeen, me.FIN = true, s.seq+uint32(s.length)
		if c.FirstFIN == 0 {
			c.FirstFIN = 1 + dir
		}
	}
	if s.flags&flagACK != 0 && s.flags&flagRST == 0 && peer.Init {
		if !peer.AckedSeen || after(s.ack, peer.Acked) {
			peer.Acked, peer.AckedSeen = s.ack, true
		}
	}
	d.checkGap(c, 1-dir, p.Time)
	d.checkGap(c, dir, p.Time)
	if me.FINSeen && !me.Closed {
		d.checkClosed(c, dir, m)
	}
	if peer.FINSeen && !peer.Closed {
		d.checkClosed(c, 1-dir, m)
	}
	if s.flags&flagRST != 0 {
		d.reset(c, dir, s, m)
	}
}

// stale recognises what is left of an older connection on the same ports: a server that still has it answers the SYN with
// an ACK of its own, and the client's RST, at that number, ends the old one (RFC 9293 section 3.5.1, RFC 5961 section 4).
func (c *connection) stale(dir int, s *segment) bool {
	client := &c.Dir[c.Client]
	if !client.ISNSeen || c.Handshake.SYNACKs > 0 || s.flags&(flagSYN|flagACK|flagRST) == 0 || s.flags&flagSYN != 0 || s.length > 0 {
		return false
	}
	number := s.ack
	if dir == c.Client {
		if s.flags&(flagACK|flagRST) != flagRST {
			return false
		}
		number = s.seq
	}
	return number-client.ISN-1 > 1<<20 // further than a capture that lacks the beginning would miss
}

// handshake notes when the three packets passed, and where.
func (c *connection) handshake(dir int, s *segment, p *traffic.Packet) {
	h := &c.Handshake
	if h.Established && s.flags&flagSYN == 0 && (h.ACKAtServer != 0 && h.ACKAtClient != 0 || s.seq != c.Dir[c.Client].ISN+1) {
		return // else it may be the other point's copy, which came late
	}
	sender := p.Direction != traffic.DirectionIn // the sender's point, or the wire
	receiver := p.Direction != traffic.DirectionOut
	me := &c.Dir[dir]
	switch s.flags & (flagSYN | flagACK | flagRST) {
	case flagSYN:
		if me.ISNSeen && me.ISN != s.seq {
			return
		}
		if p.Direction == traffic.DirectionOut && !h.SYNSent { // those of the receiver's point that came first do not count
			h.SYNSent, h.SYNs, h.FirstSYN = true, 0, 0
		}
		if p.Direction == traffic.DirectionIn && h.SYNAtServer == 0 {
			h.SYNAtServer = p.Time
		}
		if !h.SYNSent || sender { // the primary copies only
			h.SYNs++
		}
		if sender || h.FirstSYN == 0 {
			if h.FirstSYN == 0 {
				h.FirstSYN = p.Time
			}
			h.LastSYN = p.Time
		}
	case flagSYN | flagACK:
		if p.Direction == traffic.DirectionOut && !h.SYNACKSent {
			h.SYNACKSent, h.SYNACKs = true, 0
		}
		if !h.SYNACKSent || sender {
			h.SYNACKs++
		}
		if sender {
			h.SYNACKAtServer = p.Time
		}
		if receiver && h.SYNACKAtClient == 0 {
			h.SYNACKAtClient = p.Time
		}
	case flagACK:
		if dir != c.Client || h.SYNACKs == 0 || s.length > 0 && h.ACKAtServer != 0 {
			return
		}
		if receiver && h.ACKAtServer == 0 {
			h.ACKAtServer = p.Time
		}
		if sender && h.ACKAtClient == 0 {
			h.ACKAtClient = p.Time
		}
		// With two points the second copy is still to come; with one, this was all.
		both := c.Points[0] && c.Points[1]
		h.Established = !both || h.ACKAtServer != 0 && h.ACKAtClient != 0
	}
}

// reset ends a connection by RST.
func (d *Dissector) reset(c *connection, dir int, s *segment, m protocol.Mark) {
	peer := &c.Dir[1-dir]
	if c.ResetBy != 0 {
		return
	}
	if c.ClosedAt != 0 { // both sides had closed: a late RST changes nothing
		return
	}
	c.ResetBy = 1 + dir
	if c.Handshake.SYNs > 0 && c.Handshake.SYNACKs == 0 && dir != c.Client && peer.Bytes == 0 {
		c.Refused = true
	}
	d.flushStreams(c)
	d.close(c, m, protocol.End{Mark: m, Reset: true, By: c.side(dir)})
}

// side turns an end into client or server.
func (c *connection) side(dir int) protocol.Side {
	if (dir == c.Client) != c.Reversed {
		return protocol.Client
	}
	return protocol.Server
}

// checkClosed tells the protocol that one side is done, once all that it sent was handed over.
func (d *Dissector) checkClosed(c *connection, dir int, m protocol.Mark) {
	me := &c.Dir[dir]
	if before(me.Next, me.FIN) {
		return
	}
	me.Closed = true
	if c.Parser != nil {
		d.host.c = c
		m.Offset = me.Offset
		c.Parser.Closed(&d.host, c.side(dir), m)
	}
	d.closeInner(c, dir, m)
	if c.Dir[1-dir].Closed {
		d.close(c, m, protocol.End{Mark: m, By: c.side(c.FirstFIN - 1)})
	}
}

// close ends a connection for good. It lingers in the table for late packets.
func (d *Dissector) close(c *connection, m protocol.Mark, e protocol.End) {
	if c.ClosedAt != 0 {
		return
	}
	c.ClosedAt, c.ClosedHere = max(m.Time, 1), true
	d.endParser(c, e)
	d.touch(c)
}

// finishConnection gives up whatever a connection still holds.
func (d *Dissector) finishConnection(c *connection, e protocol.End, reason string) {
	d.flushStreams(c)
	if e.Dropped {
		for i := range c.Dir {
			d.dropBuffer(c, i, reason)
		}
	}
	d.endParser(c, e)
}

// endParser tells the protocol the end, once.
func (d *Dissector) endParser(c *connection, e protocol.End) {
	if c.Parser != nil && !c.Ended {
		c.Ended = true
		d.host.c = c
		c.Parser.End(&d.host, e)
	}
	d.endInner(c, e)
	d.releaseHeld(c)
}
