package dissect

import (
	"slices"
	"strings"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// Limits of one direction.
const (
	maxDetect   = 4 << 10   // bytes that detection may ask for
	maxUnread   = 256 << 10 // bytes that a protocol may leave unconsumed
	maxOutOrder = 4096      // segments held behind gaps
	keepBuffer  = 64 << 10  // buffers larger than this are given back once empty
	gapPackets  = 4         // a gap is skipped so many packets after it was acknowledged,
	gapWait     = 5e6       // or after so many ns: captures shuffle packets a little
	maxGap      = 1 << 30
)

// direction is one half of a connection: the stream that one end sends.
//
//	            Next
//	  consumed │ Buf │ hole │ Pending… │ hole │ Pending…
//	───────────┴─────┴──────┴──────────┴──────┴──────────► sequence
//	                 ▲ Offset
type direction struct {
	Packets   uint64 // counted at the primary point
	Bytes     uint64
	ISN       uint32
	ISNSeen   bool
	Init      bool
	Joined    bool   // the stream was joined in its middle
	Next      uint32 // sequence number of the next byte to hand over
	Offset    int64  // its place in the stream
	Acked     uint32 // by the peer
	AckedSeen bool
	FIN       uint32
	FINSeen   bool
	Closed    bool
	OutSeen   bool   // copies from the sender's interface exist: they are the ones that count
	SkipUntil uint32 // what was counted on the other copies before the first of those
	Skipping  bool

	Buf          []byte // handed over and not consumed
	Marks        []protocol.Mark
	Foreign      int64 // bytes that no protocol recognised
	Pending      []piece
	PendingBytes int
	GapSince     int64
	GapPackets   int

	A analysis
}

// piece is a run of bytes that arrived before its turn. Missing bytes behind it were cut by the capture.
type piece struct {
	Seq    uint32
	Data   []byte
	Cut    int
	Packet uint64
	Time   int64
}

func (p *piece) end() uint32 { return p.Seq + uint32(len(p.Data)+p.Cut) }

// forgetNumbers drops packet numbers at the end of a window.
func (x *direction) forgetNumbers() {
	for i := range x.Marks {
		x.Marks[i].Packet = 0
	}
	for i := range x.Pending {
		x.Pending[i].Packet = 0
	}
}

// countable reports whether a copy is the one that counters and TCP analysis see: the sender's, where that exists.
func (x *direction) countable(way traffic.Direction, s *segment) bool {
	switch way {
	case traffic.DirectionUnknown:
		return true
	case traffic.DirectionIn:
		return !x.OutSeen
	}
	if !x.OutSeen {
		x.OutSeen = true
		if x.Packets > 0 { // the receiver's copies came first
			x.Skipping, x.SkipUntil = true, x.A.Next
		}
	}
	if x.Skipping {
		if !after(s.seq+uint32(s.length), x.SkipUntil) {
			return false
		}
		x.Skipping = false
	}
	return true
}

// payload takes the bytes of a segment into the stream.
func (d *Dissector) payload(c *connection, dir int, s *segment, m protocol.Mark, way traffic.Direction) {
	me := &c.Dir[dir]
	data, cut, seq := s.data, max(0, s.length-len(s.data)), s.seq
	if len(data) > s.length {
		data = data[:s.length]
	}
	if cut > 0 && way == traffic.DirectionIn {
		cut = 0 // headers only: the sender's copy has the rest, or the gap will show
	}
	if skip := int32(me.Next - seq); skip > 0 {
		if int(skip) >= len(data) {
			if cut == 0 {
				return
			}
			cut = max(0, cut-(int(skip)-len(data)))
			if cut == 0 {
				return
			}
			data, seq = nil, me.Next
		} else {
			data, seq = data[skip:], me.Next
		}
	}
	if len(data)+cut == 0 {
		return
	}
	if seq == me.Next && len(me.Pending) == 0 {
		me.GapSince = 0
		d.deliver(c, dir, data, m)
		if cut > 0 {
			d.skip(c, dir, int64(cut), m)
		}
		return
	}
	if after(seq, me.Next+maxGap) {
		d.giveUpOn(c, int64(len(data)), "out_of_window")
		return
	}
	d.hold(c, dir, piece{Seq: seq, Data: data, Cut: cut, Packet: m.Packet, Time: m.Time})
	d.drain(c, dir, m)
}

// hold keeps a piece for later. Bytes that are already held win.
func (d *Dissector) hold(c *connection, dir int, p piece) {
	me := &c.Dir[dir]
	at := len(me.Pending)
	for at > 0 && after(me.Pending[at-1].Seq, p.Seq) {
		at--
	}
	if at > 0 {
		prev := &me.Pending[at-1]
		if over := int(int32(prev.end() - p.Seq)); over > 0 {
			if prev.Cut > 0 && over <= prev.Cut+len(p.Data) && len(p.Data) > 0 { // the copy that has what the other lacked
				prev.Cut -= min(prev.Cut, over)
				over = int(int32(prev.end() - p.Seq))
			}
			if over >= len(p.Data)+p.Cut {
				return
			}
			if over > 0 && over < len(p.Data) {
				p.Data, p.Seq = p.Data[over:], p.Seq+uint32(over)
			} else if over > 0 {
				p.Cut -= over - len(p.Data)
				p.Data, p.Seq = nil, p.Seq+uint32(over)
			}
		}
	}
	for at < len(me.Pending) && after(p.end(), me.Pending[at].Seq) {
		next := me.Pending[at]
		first := p
		room := int(next.Seq - p.Seq)
		first.Data, first.Cut = first.Data[:min(room, len(first.Data))], min(p.Cut, max(0, room-len(p.Data)))
		d.insert(c, me, at, first)
		if len(first.Data)+first.Cut > 0 {
			at++
		}
		at++
		passed := int(next.end() - p.Seq)
		if passed >= len(p.Data)+p.Cut {
			return
		}
		p.Cut -= max(0, passed-len(p.Data))
		p.Data = p.Data[min(passed, len(p.Data)):]
		p.Seq = next.end()
	}
	d.insert(c, me, at, p)
	if me.PendingBytes > d.o.MaxBuffered || len(me.Pending) > maxOutOrder || d.total > d.o.MaxTotal {
		d.skipTo(c, dir, me.Pending[0].Seq, protocol.Mark{Packet: p.Packet, Time: p.Time})
	}
}

func (d *Dissector) insert(c *connection, me *direction, at int, p piece) {
	if len(p.Data)+p.Cut == 0 {
		return
	}
	p.Data = slices.Clone(p.Data)
	me.Pending = slices.Insert(me.Pending, at, p)
	me.PendingBytes += len(p.Data)
	d.total += len(p.Data)
}

// drain hands over what has become contiguous.
func (d *Dissector) drain(c *connection, dir int, now protocol.Mark) {
	me := &c.Dir[dir]
	for len(me.Pending) > 0 && !after(me.Pending[0].Seq, me.Next) {
		p := me.Pending[0]
		me.Pending[0] = piece{}
		me.Pending = me.Pending[1:]
		me.PendingBytes -= len(p.Data)
		d.total -= len(p.Data)
		me.GapSince = 0
		old := int(int32(me.Next - p.Seq))
		if old < len(p.Data) {
			d.deliver(c, dir, p.Data[old:], protocol.Mark{Packet: p.Packet, Time: p.Time})
			old = len(p.Data)
		}
		if left := len(p.Data) + p.Cut - old; p.Cut > 0 && left > 0 {
			if len(me.Pending) > 0 && before(me.Pending[0].Seq, me.Next+uint32(left)) {
				left = int(int32(me.Pending[0].Seq - me.Next))
			}
			d.skip(c, dir, int64(max(0, left)), now)
		}
	}
	if len(me.Pending) == 0 {
		me.Pending = nil
	}
}

// checkGap skips a hole that the peer acknowledged: the bytes existed and the capture lacks them.
func (d *Dissector) checkGap(c *connection, dir int, now int64) {
	me := &c.Dir[dir]
	if !me.Init || !me.AckedSeen || !after(me.Acked, me.Next) {
		return
	}
	to := me.Acked
	if me.FINSeen && to == me.FIN+1 {
		to = me.FIN
	}
	if int64(to-me.Next) > maxGap || to == me.Next {
		return
	}
	if me.GapSince == 0 {
		me.GapSince, me.GapPackets = now, 0
		return
	}
	me.GapPackets++
	if me.GapPackets < gapPackets && now-me.GapSince < gapWait {
		return
	}
	if len(me.Pending) > 0 && before(me.Pending[0].Seq, to) {
		to = me.Pending[0].Seq
	}
	d.skipTo(c, dir, to, protocol.Mark{Time: now})
}

// gapKnown skips every hole before an acknowledged byte at once.
func (d *Dissector) gapKnown(c *connection, dir int, acked uint32, m protocol.Mark) {
	me := &c.Dir[dir]
	if me.FINSeen && acked == me.FIN+1 {
		acked = me.FIN
	}
	for after(acked, me.Next) && int64(acked-me.Next) < maxGap {
		to := acked
		if len(me.Pending) > 0 && before(me.Pending[0].Seq, to) {
			to = me.Pending[0].Seq
		}
		d.skipTo(c, dir, to, m)
	}
}

// skipTo gives up the bytes before a sequence number and goes on behind them.
func (d *Dissector) skipTo(c *connection, dir int, to uint32, m protocol.Mark) {
	me := &c.Dir[dir]
	me.GapSince = 0
	if n := int64(int32(to - me.Next)); n > 0 {
		d.skip(c, dir, n, m)
	}
	d.drain(c, dir, m)
}

// gapsAtWindowEnd books the holes that were acknowledged in this window, in which they belong: those of a connection that both ends have
// closed at once, because no packet of it will tell of them, others where captures that shuffle packets would have filled them by now.
func (d *Dissector) gapsAtWindowEnd(c *connection) {
	if !c.Active {
		return
	}
	over := c.Dir[0].FINSeen && c.Dir[1].FINSeen
	for dir := range c.Dir {
		if me := &c.Dir[dir]; over && me.Init && me.AckedSeen {
			d.gapKnown(c, dir, me.Acked, protocol.Mark{Time: c.Last})
		} else {
			d.checkGap(c, dir, d.now)
		}
	}
	for dir := range c.Dir { // a FIN may have waited for bytes that were given up
		if me := &c.Dir[dir]; me.FINSeen && !me.Closed {
			d.checkClosed(c, dir, protocol.Mark{Time: c.Last})
		}
	}
}

// flushStreams skips every hole, because nothing will fill them any more.
func (d *Dissector) flushStreams(c *connection) {
	for dir := range c.Dir {
		me := &c.Dir[dir]
		for len(me.Pending) > 0 {
			p := me.Pending[0]
			d.skipTo(c, dir, p.Seq, protocol.Mark{Packet: p.Packet, Time: p.Time})
		}
		if me.AckedSeen && me.Init && (me.FINSeen || after(me.Acked, me.Next+1)) { // one byte may be a FIN that was not seen
			d.gapKnown(c, dir, me.Acked, protocol.Mark{Time: c.Last})
		}
	}
}

// skip tells of n missing bytes.
func (d *Dissector) skip(c *connection, dir int, n int64, m protocol.Mark) {
	me := &c.Dir[dir]
	if n <= 0 {
		return
	}
	if n == 1 && me.Offset == 0 && me.Joined { // the stream was joined at a keep-alive, which repeats an old byte
		me.Next++
		me.Offset++
		return
	}
	d.gap(c, dir, n, m)
	d.lack(c, n)
}

// gap ends what was read of a direction so far, and goes on n bytes later.
func (d *Dissector) gap(c *connection, dir int, n int64, m protocol.Mark) {
	me := &c.Dir[dir]
	d.detectCut(c, dir)
	if c.Stage == stageParsed && len(me.Buf) > 0 {
		if p, ok := c.Parser.(protocol.Salvager); ok {
			d.view = protocol.View{Data: me.Buf, Base: me.Offset - int64(len(me.Buf)), Marks: me.Marks}
			d.host.begin(c)
			d.consume(me, p.Salvage(&d.host, c.side(dir), &d.view))
		}
	}
	d.dropBuffer(c, dir, "behind_gap")
	me.Next += uint32(n)
	m.Offset = me.Offset
	me.Offset += n
	me.Bytes += uint64(n)
	if c.Stage == stageDetect {
		c.Stage, c.FromStart = stageHunt, false
	}
	if c.Stage == stageParsed {
		d.host.c = c
		c.Parser.Gap(&d.host, c.side(dir), n, m)
		d.settle(c, dir)
	}
}

// dropBuffer gives up bytes that no message could be made of.
func (d *Dissector) dropBuffer(c *connection, dir int, reason string) {
	me := &c.Dir[dir]
	if n := len(me.Buf); n > 0 {
		d.giveUpOn(c, int64(n), reason)
		d.setBuffer(me, me.Buf[:0])
	}
}

// setBuffer replaces the unconsumed bytes, keeping the account of memory.
func (d *Dissector) setBuffer(me *direction, b []byte) {
	d.total += len(b) - len(me.Buf)
	me.Buf = b
	if len(b) == 0 {
		me.Marks = me.Marks[:0]
		if cap(b) > keepBuffer {
			me.Buf = nil
		}
	}
}

// deliver hands contiguous bytes to the connection's protocol.
func (d *Dissector) deliver(c *connection, dir int, data []byte, m protocol.Mark) {
	me := &c.Dir[dir]
	n := len(data)
	m.Offset = me.Offset
	me.Next += uint32(n)
	me.Offset += int64(n)
	me.Bytes += uint64(n)
	if n == 0 {
		return
	}
	if c.Stage == stageOther {
		if !me.startsTLS(data) {
			return
		}
		c.upgrade()
	}
	if c.Stage == stageParsed && len(me.Buf) == 0 {
		d.mark[0] = m
		d.view = protocol.View{Data: data, Base: m.Offset, Marks: d.mark[:]}
		d.host.begin(c)
		used := c.Parser.Data(&d.host, c.side(dir), &d.view)
		if used < n {
			me.Marks = append(me.Marks[:0], protocol.Mark{Packet: m.Packet, Time: m.Time, Offset: m.Offset + int64(used)})
			d.total += n - used
			me.Buf = append(me.Buf, data[used:]...)
		}
		if d.host.handOver || d.host.wake {
			d.settle(c, dir)
		}
		return
	}
	me.Marks = append(me.Marks, m)
	d.total += n
	me.Buf = append(me.Buf, data...)
	if c.Stage != stageParsed {
		d.detect(c, dir)
		return
	}
	d.parse(c, dir)
	d.settle(c, dir)
}

// parse hands the unconsumed bytes of one direction to the protocol.
func (d *Dissector) parse(c *connection, dir int) {
	me := &c.Dir[dir]
	if len(me.Buf) == 0 || c.Stage != stageParsed {
		return
	}
	d.view = protocol.View{Data: me.Buf, Base: me.Offset - int64(len(me.Buf)), Marks: me.Marks}
	d.host.begin(c)
	used := c.Parser.Data(&d.host, c.side(dir), &d.view)
	d.consume(me, used)
	if len(me.Buf) > min(maxUnread, d.o.MaxBuffered) || len(me.Buf) > 0 && d.total > d.o.MaxTotal {
		d.dropBuffer(c, dir, "buffer_limit")
		c.Parser.Gap(&d.host, c.side(dir), 0, protocol.Mark{Offset: me.Offset, Time: d.now})
	}
}

// consume drops bytes from the front of the buffer, and the marks that lie before the rest.
func (d *Dissector) consume(me *direction, n int) {
	if n == 0 {
		return
	}
	at := me.Offset - int64(len(me.Buf)) + int64(n)
	rest := me.Buf[:copy(me.Buf, me.Buf[n:])]
	d.setBuffer(me, rest)
	if len(rest) == 0 {
		return
	}
	k := len(me.Marks) - 1
	for k > 0 && me.Marks[k].Offset > at {
		k--
	}
	me.Marks = me.Marks[:copy(me.Marks, me.Marks[k:])]
	me.Marks[0].Offset = at
}

// settle does what the protocol asked for while it read: hand over, or read the other side again.
func (d *Dissector) settle(c *connection, dir int) {
	for range 64 { // each turn consumes something, or ends
		switch {
		case d.host.handOver:
			d.host.handOver, d.host.wake = false, false
			c.Parser, c.Stage, c.HandedOver = nil, stageDetect, true
			c.Deadline = 0
			if p := successor(c); p != nil {
				d.found(c, c.Client, p, protocol.FromClient)
				return
			}
			for _, i := range []int{c.Client, 1 - c.Client} {
				if c.Stage == stageDetect && len(c.Dir[i].Buf) > 0 {
					d.detect(c, i)
				}
			}
			return
		case d.host.wake && d.host.c == c:
			d.host.wake = false
			dir = 1 - dir
			d.parse(c, dir)
		default:
			return
		}
	}
}

// successor is the protocol that an upgrade leads to, where its name says so.
func successor(c *connection) *protocol.Protocol {
	if c.Legacy == nil || c.Legacy.Call.HTTP == nil {
		return nil
	}
	for i := range protocols {
		if p := &protocols[i]; p.Upgrade != "" && strings.EqualFold(p.Upgrade, c.Legacy.Call.HTTP.Upgrade) {
			return p
		}
	}
	return nil
}

// detect finds out what the bytes of a direction are.
func (d *Dissector) detect(c *connection, dir int) {
	me := &c.Dir[dir]
	if me.Foreign > 0 && me.startsTLS(me.Buf) {
		c.upgrade()
	} else if me.Foreign > 0 {
		me.Foreign += int64(len(me.Buf))
		d.setBuffer(me, me.Buf[:0])
		return
	}
	for len(me.Buf) > 0 {
		open := false
		for i := range protocols {
			p := &protocols[i]
			if p.Network != "tcp" {
				continue
			}
			switch v := p.Detect(me.Buf); v {
			case protocol.FromClient, protocol.FromServer:
				d.found(c, dir, p, v)
				return
			case protocol.Undecided:
				open = true
			}
		}
		if open && len(me.Buf) < maxDetect {
			return
		}
		if c.FromStart || c.HandedOver {
			// None of ours, unless the other side says otherwise: servers answer garbage with HTTP, too.
			me.Foreign += int64(len(me.Buf))
			d.setBuffer(me, nil)
			if c.Dir[1-dir].Foreign > 0 {
				c.Stage = stageOther
			}
			return
		}
		// Joined late: the next packet may begin a message.
		c.Stage = stageHunt
		n := len(me.Buf)
		if k := len(me.Marks); k > 1 {
			n = int(me.Marks[1].Offset - me.Marks[0].Offset)
		}
		d.giveUpOn(c, int64(n), "unknown_protocol")
		d.consume(me, n)
	}
}

// detectCut finds out what the bytes before a gap are, where nothing has been found yet.
func (d *Dissector) detectCut(c *connection, dir int) {
	if c.Stage != stageDetect && c.Stage != stageHunt || len(c.Dir[dir].Buf) == 0 || c.Dir[dir].Foreign > 0 {
		return
	}
	for i := range protocols {
		p := &protocols[i]
		if p.Cut == nil || p.Network != "tcp" {
			continue
		}
		if v := p.Cut(c.Dir[dir].Buf); v == protocol.FromClient || v == protocol.FromServer {
			d.found(c, dir, p, v)
			return
		}
	}
}

// found begins reading a protocol.
func (d *Dissector) found(c *connection, dir int, p *protocol.Protocol, v protocol.Verdict) {
	client := dir
	if v == protocol.FromServer {
		client = 1 - dir
	}
	if !c.HandedOver {
		c.setClient(client, true)
		c.Reversed = c.Client != client && v == protocol.FromClient
	}
	if c.L7 == "" {
		c.L7 = p.Name
	}
	c.Stage, c.Parser = stageParsed, p.New()
	if heir, ok := c.Parser.(protocol.Heir); ok && c.Legacy != nil {
		d.host.begin(c)
		heir.Inherit(&d.host, c.Legacy.Call, c.Legacy.Request)
	}
	c.Legacy = nil
	for i := range c.Dir {
		d.giveUpOn(c, c.Dir[i].Foreign, "no_sync")
		c.Dir[i].Foreign = 0
	}
	for _, i := range []int{c.Client, 1 - c.Client} {
		if len(c.Dir[i].Buf) > 0 {
			d.parse(c, i)
			d.settle(c, i)
		}
	}
}
