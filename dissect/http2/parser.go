package http2

import (
	"encoding/binary"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// Limits of one connection.
const (
	maxOpen   = 1000      // streams that wait
	maxBodies = 64        // of them, with bodies
	maxFrame  = 192 << 10 // of a frame that is read whole: all but DATA
	maxBlock  = 256 << 10 // of a header block in several frames
	maxEnded  = 64        // streams that were reset and of which late frames may come
)

// Where a direction is.
const (
	atStart = iota
	atFrame
	atData // within a DATA frame
	atSkip // within a frame that is too long to be read whole
	atSync // after a hole: until something looks like a frame
)

// Parser is the state of one connection. Exported for checkpoints.
type Parser struct {
	Sides   [2]half
	Streams []*stream // in the order of their first frames
	Sockets []*socket // streams that became WebSockets
	Count   int
	Lossy   bool     // frames are missing: a stream that is not known may be an old one
	Last    uint32   // highest stream that the client opened
	Ended   []uint32 // reset lately
	GoAway  string   // code with which one end gave the connection up
	Leave   bool     // the client has closed its half

	near    int // where the last stream was found
	free    []*stream
	scratch []field
}

// half is one direction.
type half struct {
	At       int
	Left     int64 // of the DATA frame or what is skipped
	Pad      int64 // behind it
	Stream   uint32
	Flags    byte // of the DATA frame
	Headers  table
	Block    []byte // of HEADERS whose CONTINUATION is still to come
	Of       block  // whose it is
	Awaiting bool
}

// block says what a header block belongs to.
type block struct {
	Stream  uint32 // that it opens or continues
	Flags   byte
	Promise bool // the stream is one that the server promises
	Span    protocol.Span
	Size    int
}

// Data implements [protocol.Parser].
func (p *Parser) Data(h protocol.Host, from protocol.Side, v *protocol.View) int {
	s := &p.Sides[from]
	used := 0
	for used < len(v.Data) {
		n, more := p.step(h, from, s, v, used)
		used += n
		if !more {
			break
		}
	}
	return used
}

// step reads one element at v.Data[at:] and reports whether to go on.
func (p *Parser) step(h protocol.Host, from protocol.Side, s *half, v *protocol.View, at int) (n int, more bool) {
	b := v.Data[at:]
	switch s.At {
	case atStart:
		return p.start(from, s, b)
	case atData:
		return p.payload(h, from, s, v, at), true
	case atSkip:
		n = int(min(s.Left, int64(len(b))))
		if s.Left -= int64(n); s.Left == 0 {
			s.At = atFrame
		}
		return n, true
	case atSync:
		n, found := resync(b, p.Last)
		if n > 0 {
			h.Undecoded(int64(n), "no_sync")
		}
		if found {
			s.At = atFrame
		}
		return n, found
	}
	return p.frame(h, from, s, v, at)
}

// start takes the preface. Who begins otherwise was joined late, but for servers: they begin with SETTINGS.
func (p *Parser) start(from protocol.Side, s *half, b []byte) (int, bool) {
	if from == protocol.Client && b[0] == preface[0] {
		if len(b) < len(preface) {
			return 0, false
		}
		s.At = atFrame
		return len(preface), true
	}
	if len(b) < headerLen {
		return 0, false
	}
	if f := readFrame(b); from == protocol.Client || f.Type != typeSettings || f.Flags&flagAck != 0 {
		s.Headers.lose()
		p.Lossy = true
		if !f.plausible() {
			s.At = atSync
			return 0, true
		}
	}
	s.At = atFrame
	return 0, true
}

func (p *Parser) frame(h protocol.Host, from protocol.Side, s *half, v *protocol.View, at int) (int, bool) {
	b := v.Data[at:]
	if len(b) < headerLen {
		return 0, false
	}
	f := readFrame(b)
	if !f.sound() || f.Type > typeContinuation && s.Headers.Lost || s.Awaiting && (f.Type != typeContinuation || f.Stream != s.Of.Stream && !s.Of.Promise) {
		p.lost(from, s)
		h.Undecoded(1, "no_sync")
		return 1, true
	}
	if f.Type == typeData {
		return p.beginData(h, from, s, v, at, &f)
	}
	whole := headerLen + f.Len
	if f.Len > maxFrame {
		switch f.Type {
		case typeHeaders, typePush, typeContinuation:
			p.lost(from, s)
			h.Undecoded(int64(whole), "header_limit")
		}
		s.At, s.Left = atSkip, int64(whole)
		return 0, true
	}
	if len(b) < whole {
		return 0, false
	}
	p.control(h, from, s, &f, b[headerLen:whole], v, at)
	return whole, true
}

// control reads a frame that is there whole.
func (p *Parser) control(h protocol.Host, from protocol.Side, s *half, f *frame, body []byte, v *protocol.View, at int) {
	switch f.Type {
	case typeHeaders:
		part, ok := unpad(body, f.Flags)
		if !ok {
			p.lost(from, s)
			return
		}
		s.Of = block{Stream: f.Stream, Flags: f.Flags}
		p.fragment(h, from, s, f, part, v, at)
	case typePush:
		part, ok := unpad(body, f.Flags&flagPadded)
		if !ok || len(part) < 4 {
			p.lost(from, s)
			return
		}
		s.Of = block{Stream: binary.BigEndian.Uint32(part) &^ (1 << 31), Flags: flagEndStream, Promise: true}
		p.fragment(h, from, s, f, part[4:], v, at)
	case typeContinuation:
		if s.Awaiting {
			p.fragment(h, from, s, f, body, v, at)
		} else { // its HEADERS lie before the capture
			s.Headers.lose()
			h.Undecoded(int64(f.Len), "hpack_state")
		}
	case typeReset:
		p.reset(h, from, f.Stream, binary.BigEndian.Uint32(body), v.At(at))
	case typeGoAway:
		p.goAway(h, from, binary.BigEndian.Uint32(body)&^(1<<31), binary.BigEndian.Uint32(body[4:]), v.At(at))
	}
}

// fragment takes a part of a header block, and reads the block when that was the last.
func (p *Parser) fragment(h protocol.Host, from protocol.Side, s *half, f *frame, part []byte, v *protocol.View, at int) {
	s.Of.Span.Add(v.At(at))
	s.Of.Span.Add(v.At(at + headerLen + f.Len - 1))
	s.Of.Size += headerLen + f.Len
	if f.Flags&flagEndHeaders == 0 {
		if len(s.Block)+len(part) > maxBlock {
			p.lost(from, s)
			h.Undecoded(int64(len(part)), "header_limit")
			return
		}
		s.Block = append(s.Block, part...)
		s.Awaiting = true
		return
	}
	if s.Awaiting {
		part = append(s.Block, part...)
	}
	s.Awaiting, s.Block = false, nil
	fields, missing, err := s.Headers.decode(part, p.scratch[:0])
	p.scratch = fields
	if err != nil && err != errLimit {
		s.Headers.lose()
	}
	if err != nil || missing > 0 {
		h.Undecoded(int64(len(part)), "hpack_state")
	}
	p.message(h, from, &s.Of, fields, missing, err)
}

// lost gives up the place in a direction and all that its headers were to be read with.
func (p *Parser) lost(from protocol.Side, s *half) {
	s.At, s.Left, s.Pad = atSync, 0, 0
	s.Awaiting, s.Block = false, nil
	s.Headers.lose()
	p.Lossy = true
	for _, x := range p.Streams {
		x.lose(from)
	}
	for _, k := range p.Sockets {
		k.Sides[from].Gapped = true
	}
}

// Gap implements [protocol.Parser]: a hole within one DATA frame loses neither the place nor the headers.
func (p *Parser) Gap(h protocol.Host, from protocol.Side, n int64, at protocol.Mark) {
	s := &p.Sides[from]
	switch {
	case n > 0 && s.At == atData && n <= s.Left+s.Pad:
		x := p.find(s.Stream)
		if x != nil {
			x.missing(from, min(n, s.Left))
		} else if k := p.socket(s.Stream); k != nil {
			k.gap(h, from, min(n, s.Left))
		}
		data := min(n, s.Left)
		s.Left, s.Pad = s.Left-data, s.Pad-(n-data)
		p.endData(h, from, s, x)
	case n > 0 && s.At == atSkip && n <= s.Left:
		if s.Left -= n; s.Left == 0 {
			s.At = atFrame
		}
	default:
		p.lost(from, s)
	}
}

// Closed implements [protocol.Parser].
func (p *Parser) Closed(h protocol.Host, from protocol.Side, at protocol.Mark) {
	if from == protocol.Client {
		p.Leave = true
		return
	}
	p.abandon(h, protocol.End{Mark: at, By: protocol.Server})
}

// End implements [protocol.Parser].
func (p *Parser) End(h protocol.Host, e protocol.End) { p.abandon(h, e) }

// Tick implements [protocol.Parser]; HTTP sets no deadlines.
func (p *Parser) Tick(protocol.Host, int64) {}

// Window implements [protocol.Parser].
func (p *Parser) Window(h protocol.Host) {
	for _, x := range p.Streams {
		c := x.copy()
		h.Emit(c, &x.Request, &x.Response)
		x.Request.Forget()
		x.Response.Forget()
	}
	for _, k := range p.Sockets {
		k.window(h)
	}
	for i := range p.Sides {
		p.Sides[i].Of.Span.Forget()
	}
}

// Inherit implements [protocol.Heir]: the request that asked for HTTP/2 is stream 1.
func (p *Parser) Inherit(h protocol.Host, c *traffic.Call, request protocol.Span) {
	x := p.add(h, 1)
	c.Index = x.Call.Index
	http := *c.HTTP
	http.Stream, http.Upgrade, http.Version, http.Reason = 1, "", version, ""
	http.ResponseHeaders, http.ResponseHeadersSize, http.ResponseBody = nil, 0, nil
	*x.Call = *c
	x.Call.HTTP = &http
	x.Call.Status = 0
	x.Request, x.RequestBegun, x.RequestDone = request, true, true
	p.Last = 1
}
