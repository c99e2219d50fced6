package quic

import "encoding/binary"

// Kinds of packets, as version 1 numbers those with long headers (RFC 9000 section 17.2).
const (
	initial = iota
	zeroRTT
	handshake
	retry
	negotiation // of versions
	short
)

// packet is one of the packets that a datagram carries.
type packet struct {
	kind       int
	version    uint32
	dcid, scid []byte
	number     int    // where the packet number is, of Initial packets
	data       []byte // the packet alone
}

// split takes the first packet off a datagram (RFC 9000 section 12.2). ok is false when b begins no packet of a version known.
func split(b []byte) (p packet, rest []byte, ok bool) {
	if len(b) == 0 {
		return p, nil, false
	}
	if b[0]&0x80 == 0 {
		p.kind, p.data = short, b
		return p, nil, b[0]&0x40 != 0
	}
	if len(b) < 7 {
		return p, nil, false
	}
	p.version = binary.BigEndian.Uint32(b[1:])
	r := reader{b: b, at: 5}
	p.dcid = r.bytes(int(r.byte()))
	p.scid = r.bytes(int(r.byte()))
	if p.version == 0 {
		p.kind, p.data = negotiation, b
		return p, nil, !r.bad
	}
	if salt(p.version) == nil || b[0]&0x40 == 0 || len(p.dcid) > 20 || len(p.scid) > 20 {
		return p, nil, false
	}
	p.kind = int(b[0] >> 4 & 3)
	if p.version == version2 { // which numbers them otherwise (RFC 9369 section 3.2)
		p.kind = (p.kind + 3) & 3
	}
	if p.kind == retry {
		p.data = b
		return p, nil, !r.bad
	}
	if p.kind == initial {
		r.bytes(int(min(r.varint(), 1<<16))) // token
	}
	length := r.varint()
	p.number = r.at
	if r.bad || length > uint64(len(b)-r.at) {
		return p, nil, false
	}
	end := r.at + int(length)
	p.data = b[:end:end]
	return p, b[end:], true
}

// reader reads fields one after the other; bad is set when there are too few bytes.
type reader struct {
	b   []byte
	at  int
	bad bool
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.b)-r.at {
		r.bad, r.at = true, len(r.b)
		return nil
	}
	r.at += n
	return r.b[r.at-n : r.at : r.at]
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// varint is an integer of 1, 2, 4 or 8 bytes (RFC 9000 section 16).
func (r *reader) varint() uint64 {
	first := r.byte()
	n := uint64(first & 0x3f)
	for _, x := range r.bytes(1<<(first>>6) - 1) {
		n = n<<8 | uint64(x)
	}
	return n
}
