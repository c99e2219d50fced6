package redact

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sort"

	"github.com/devloop-io/devloop/traffic"
)

// Streams masks secrets for the export of packets, also those that span TCP segments. It reads the packets twice:
// first Learn with every packet in order, then Done, then Mask with the same packets in the same order. Each direction
// of each connection is put together, its secret ranges found, and every copy of a byte in them masked: both capture
// points', and retransmissions.
//
// Memory is bounded by what lies out of order, one buffer per open direction, and the ranges found.
type Streams struct {
	r     *Redactor
	dirs  map[dirKey]*direction
	first bool // learning
	held  int  // bytes in all buffers
}

type dirKey struct{ src, dst netip.AddrPort }

// direction is one direction of one connection; when its addresses and ports are used again, the next one follows.
type direction struct {
	base   uint32 // sequence number at offset 0
	seen   bool
	next   int64 // offset that comes next in order
	stream scanner
	later  []piece // out of order, by offset
	size   int     // bytes in later

	ranges []rng
	reused *direction
	isn    uint32
	hasISN bool
}

type piece struct {
	at   int64
	data []byte
}

type rng struct{ from, to int64 }

// Bounds of what is kept while learning.
const (
	maxLater  = 1 << 20  // out of order bytes of one direction,
	maxPieces = 4 << 10  // and pieces that they come in
	maxHeld   = 64 << 20 // bytes in all buffers
	scanBlock = 1 << 20  // a direction is scanned in blocks of this size,
	overlap   = 64 << 10 // each with this much of the one before
)

// Streams begins masking a sequence of packets.
func (r *Redactor) Streams() *Streams {
	return &Streams{r: r, dirs: map[dirKey]*direction{}, first: true}
}

// Learn reads a packet on the first pass. It keeps nothing of data.
func (s *Streams) Learn(data []byte, link traffic.LinkType) {
	seg, ok := segment(data, link)
	if !ok {
		return
	}
	d := s.direction(seg)
	at := d.offset(seg)
	s.held -= d.held()
	d.add(s.r, at, data[seg.l.Payload:seg.l.End])
	s.held += d.held()
	if s.held > maxHeld {
		s.flush()
	}
}

// flush scans what all directions hold, so that memory stays bounded with very many connections.
func (s *Streams) flush() {
	for _, d := range s.dirs {
		d.skipGaps(s.r)
		d.stream.end(s.r, d)
		d.stream.buf, d.stream.block = nil, 0
	}
	s.held = 0
}

// Done ends the first pass.
func (s *Streams) Done() {
	for _, d := range s.dirs {
		for ; d != nil; d = d.reused {
			d.finish(s.r)
		}
	}
	s.first = false
	for k, d := range s.dirs {
		for p := d; p != nil; p = p.reused {
			p.seen, p.next = false, 0
			p.ranges = merge(p.ranges)
		}
		s.dirs[k] = oldest(d)
	}
}

// oldest reverses the list of a tuple's uses: the second pass meets them from the first on.
func oldest(d *direction) *direction {
	var before *direction
	for d != nil {
		d.reused, before, d = before, d, d.reused
	}
	return before
}

// Mask overwrites the secrets of a packet on the second pass, repairs its checksums and reports whether there were any.
func (s *Streams) Mask(data []byte, link traffic.LinkType) bool {
	seg, ok := segment(data, link)
	if !ok {
		if l, isIP := Parse(data, link); isIP && l.Proto == 6 {
			return false // no payload
		}
		return s.r.MaskPacket(data, link)
	}
	d := s.direction(seg)
	at := d.offset(seg)
	payload := data[seg.l.Payload:seg.l.End]
	d.next = max(d.next, at+int64(len(payload)))
	var old []byte
	i := sort.Search(len(d.ranges), func(i int) bool { return d.ranges[i].to > at })
	for ; i < len(d.ranges) && d.ranges[i].from < at+int64(len(payload)); i++ {
		if old == nil {
			old = append([]byte(nil), payload...)
		}
		from, to := max(0, d.ranges[i].from-at), min(int64(len(payload)), d.ranges[i].to-at)
		for ; from < to; from++ {
			payload[from] = Mask
		}
	}
	if old == nil {
		return false
	}
	seg.l.repair(data, old)
	return true
}

// tcpSegment is a TCP packet that carries payload or begins a connection.
type tcpSegment struct {
	l   Layers
	key dirKey
	seq uint32
	syn bool
}

func segment(data []byte, link traffic.LinkType) (tcpSegment, bool) {
	l, ok := Parse(data, link)
	if !ok || l.Proto != 6 || l.L4+20 > l.End {
		return tcpSegment{}, false
	}
	t := data[l.L4:]
	g := tcpSegment{l: l, seq: binary.BigEndian.Uint32(t[4:]), syn: t[13]&2 != 0}
	if !g.syn && l.Payload >= l.End {
		return tcpSegment{}, false
	}
	var src, dst netip.Addr
	if l.Version == 4 {
		src = netip.AddrFrom4([4]byte(data[l.IP+12:]))
		dst = netip.AddrFrom4([4]byte(data[l.IP+16:]))
	} else {
		src = netip.AddrFrom16([16]byte(data[l.IP+8:]))
		dst = netip.AddrFrom16([16]byte(data[l.IP+24:]))
	}
	g.key.src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(t))
	g.key.dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(t[2:]))
	return g, true
}

// direction finds the connection that a segment belongs to. Both passes see the same packets in the same order, so
// both decide alike where a tuple is used again: at a SYN with another number.
func (s *Streams) direction(g tcpSegment) *direction {
	d := s.dirs[g.key]
	switch {
	case d == nil:
		d = &direction{}
		s.dirs[g.key] = d
	case g.syn && d.seen && (!d.hasISN || d.isn != g.seq):
		if s.first {
			s.held -= d.held()
			d.finish(s.r)
			d = &direction{reused: d}
		} else if d.reused != nil {
			d = d.reused
		}
		s.dirs[g.key] = d
	}
	if g.syn {
		d.isn, d.hasISN = g.seq, true
	}
	if !d.seen {
		d.seen, d.base = true, g.seq
		if g.syn {
			d.base++
		}
	}
	return d
}

// offset is the place of the segment's payload in the direction, which may be before its first seen byte.
func (d *direction) offset(g tcpSegment) int64 {
	seq := g.seq
	if g.syn {
		seq++
	}
	return d.next + int64(int32(seq-d.base-uint32(d.next)))
}

func (d *direction) held() int { return d.size + len(d.stream.buf) }

// add puts payload at its place.
func (d *direction) add(r *Redactor, at int64, data []byte) {
	if len(data) == 0 {
		return
	}
	switch {
	case at+int64(len(data)) <= d.next:
		if at < 0 { // before the first seen byte: scanned alone
			var early scanner
			early.at = at
			early.write(r, data, d)
			early.end(r, d)
		}
	case at <= d.next:
		d.stream.write(r, data[d.next-at:], d)
		d.next = at + int64(len(data))
		d.drain(r)
	default:
		i, found := slices.BinarySearchFunc(d.later, at, func(p piece, at int64) int {
			switch {
			case p.at < at:
				return -1
			case p.at > at:
				return 1
			}
			return 0
		})
		if found && len(d.later[i].data) >= len(data) {
			return
		}
		d.later = slices.Insert(d.later, i, piece{at, append([]byte(nil), data...)})
		if d.size += len(data); d.size > maxLater || len(d.later) > maxPieces {
			d.skipGaps(r)
		}
	}
}

// drain takes what has become contiguous.
func (d *direction) drain(r *Redactor) {
	n := 0
	for ; n < len(d.later) && d.later[n].at <= d.next; n++ {
		p := d.later[n]
		d.size -= len(p.data)
		if end := p.at + int64(len(p.data)); end > d.next {
			d.stream.write(r, p.data[d.next-p.at:], d)
			d.next = end
		}
	}
	d.later = slices.Delete(d.later, 0, n)
}

// skipGaps gives up waiting for bytes that the capture lacks.
func (d *direction) skipGaps(r *Redactor) {
	for len(d.later) > 0 {
		d.stream.gap(r, d, d.later[0].at)
		d.next = d.later[0].at
		d.drain(r)
	}
}

func (d *direction) finish(r *Redactor) {
	d.skipGaps(r)
	d.stream.end(r, d)
	d.stream = scanner{}
}

// merge sorts ranges and joins those that touch.
func merge(in []rng) []rng {
	slices.SortFunc(in, func(a, b rng) int {
		switch {
		case a.from < b.from:
			return -1
		case a.from > b.from:
			return 1
		}
		return 0
	})
	out := in[:0]
	for _, x := range in {
		if n := len(out); n > 0 && x.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, x.to)
			continue
		}
		out = append(out, x)
	}
	return slices.Clip(out)
}
