package quic

import (
	"bytes"
	"slices"

	"github.com/devloop-io/devloop/dissect/protocol"
)

// Frames that Initial packets may carry (RFC 9000 section 12.4).
const (
	framePadding = 0x00
	framePing    = 0x01
	frameACK     = 0x02
	frameACKECN  = 0x03
	frameCrypto  = 0x06
	frameClose   = 0x1c

	errorCrypto = 0x100 // and the alert of TLS in the lowest byte
)

// Limits of the crypto stream of one side.
const (
	maxStream = 64 << 10
	maxPieces = 256
)

// stream is what one side sends in CRYPTO frames, which may come in any order.
type stream struct {
	Largest int64 // highest packet number, plus 1
	Next    uint64
	Pieces  []piece // beyond Next, ascending
}

type piece struct {
	Offset uint64
	Data   []byte
}

// frames reads the payload of an Initial packet.
func (p *Parser) frames(h protocol.Host, from protocol.Side, b []byte, at protocol.Mark) {
	for r := (reader{b: b}); r.at < len(b) && !r.bad; {
		switch kind := r.varint(); kind {
		case framePadding, framePing:
		case frameACK, frameACKECN:
			skipACK(&r, kind == frameACKECN)
		case frameCrypto:
			offset := r.varint()
			data := r.bytes(int(min(r.varint(), maxStream)))
			if data != nil {
				p.crypto(h, from, offset, data, at)
			}
		case frameClose:
			code := r.varint()
			if r.bad {
				return
			}
			if code>>8 == errorCrypto>>8 {
				p.TLS.Alert(h, byte(code), at)
			}
			p.TLS.End(h, protocol.End{Mark: at, Reset: true, By: from})
			return
		default:
			return
		}
	}
}

// skipACK passes over the ranges of an ACK frame (RFC 9000 section 19.3).
func skipACK(r *reader, ecn bool) {
	r.varint()
	r.varint()
	n := r.varint()
	r.varint()
	for range n {
		r.varint()
		r.varint()
		if r.bad {
			return
		}
	}
	if ecn {
		r.varint()
		r.varint()
		r.varint()
	}
}

// crypto takes a piece of the stream and hands on what has become contiguous.
func (p *Parser) crypto(h protocol.Host, from protocol.Side, offset uint64, data []byte, at protocol.Mark) {
	s := &p.Sides[from]
	if offset > maxStream {
		h.Undecoded(int64(len(data)), "quic_crypto_limit")
		return
	}
	if offset > s.Next {
		s.hold(offset, data)
		return
	}
	for {
		if skip := s.Next - offset; skip < uint64(len(data)) {
			s.Next += uint64(len(data)) - skip
			p.TLS.Handshake(h, from, data[skip:], at)
		}
		if len(s.Pieces) == 0 || s.Pieces[0].Offset > s.Next {
			return
		}
		offset, data = s.Pieces[0].Offset, s.Pieces[0].Data
		s.Pieces = slices.Delete(s.Pieces, 0, 1)
	}
}

// hold keeps a piece that came before its turn. Repeated ones are dropped; of what is too much, the later ones are.
func (s *stream) hold(offset uint64, data []byte) {
	i, same := slices.BinarySearchFunc(s.Pieces, offset, func(x piece, offset uint64) int {
		if x.Offset < offset {
			return -1
		} else if x.Offset > offset {
			return 1
		}
		return 0
	})
	if same && len(s.Pieces[i].Data) >= len(data) || len(s.Pieces) == maxPieces {
		return
	}
	held := 0
	for _, x := range s.Pieces {
		held += len(x.Data)
	}
	if held+len(data) > maxStream {
		return
	}
	s.Pieces = slices.Insert(s.Pieces, i, piece{offset, bytes.Clone(data)})
}
