package http2

import (
	"bytes"
	"fmt"

	"github.com/devloop-io/devloop/dissect/grpc"
	"github.com/devloop-io/devloop/dissect/http1"
	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

const version = "2"

// stream is a call that is not finished on both sides.
type stream struct {
	ID                uint32
	Call              *traffic.Call
	Request, Response protocol.Span
	RequestBegun      bool
	RequestDone       bool
	ResponseBegun     bool
	ResponseDone      bool
	NoRequest         bool // the request's head was not seen, or not what it asks for
	NoStatus          bool // the response's head was not seen, or not its status
	RequestLost       bool // frames may be missing
	ResponseLost      bool
	Coding            [2]string // of bodies
	Messages          [2]grpc.Messages
	Events            http1.Events
}

func (p *Parser) add(h protocol.Host, id uint32) *stream {
	if len(p.Streams) >= maxOpen { // their ends are not captured, it seems: nothing can be said of the oldest
		x := p.Streams[0]
		x.Call.State = traffic.StateOpen
		x.forget(x.Call)
		p.emit(h, x)
	}
	var x *stream
	if n := len(p.free); n > 0 {
		x, p.free = p.free[n-1], p.free[:n-1]
		*x = stream{}
	} else {
		x = &stream{}
	}
	x.ID, x.Call = id, h.Memory().HTTPCall()
	x.Call.Protocol = traffic.ProtoHTTP
	x.Call.Index = h.NextCall()
	x.Call.HTTP.Version, x.Call.HTTP.Stream = version, id
	x.Call.HTTP.KeptAlive = p.Count > 0
	p.Count++
	p.Streams = append(p.Streams, x)
	if id%2 == 1 {
		p.Last = max(p.Last, id)
	}
	return x
}

// find is the open stream of that number.
func (p *Parser) find(id uint32) *stream {
	if p.near < len(p.Streams) && p.Streams[p.near].ID == id {
		return p.Streams[p.near]
	}
	for i, x := range p.Streams {
		if x.ID == id {
			p.near = i
			return x
		}
	}
	return nil
}

// emit hands out a stream's call and forgets the stream, which must not be used any more.
func (p *Parser) emit(h protocol.Host, x *stream) {
	for i, y := range p.Streams {
		if y == x {
			last := len(p.Streams) - 1
			copy(p.Streams[i:], p.Streams[i+1:])
			p.Streams[last] = nil
			p.Streams = p.Streams[:last]
			break
		}
	}
	h.Emit(x.Call, &x.Request, &x.Response)
	if x.Call = nil; len(p.free) < 8 {
		p.free = append(p.free, x)
	}
}

func (x *stream) span(from protocol.Side) *protocol.Span {
	if from == protocol.Client {
		return &x.Request
	}
	return &x.Response
}

// lose notes that frames of a direction may be missing.
func (x *stream) lose(from protocol.Side) {
	x.Messages[from].Lost = true
	switch {
	case from == protocol.Client && !x.RequestDone:
		x.RequestLost = true
	case from == protocol.Server && !x.ResponseDone:
		x.ResponseLost = true
		x.Events.Gap()
	}
}

// missing notes a hole in a body.
func (x *stream) missing(from protocol.Side, n int64) {
	x.Messages[from].Lost = true
	if from == protocol.Server {
		x.Events.Gap()
	}
	web := x.Call.HTTP
	web.BodyError = "bytes are missing"
	if from == protocol.Client {
		x.Call.RequestSize += n
		web.RequestBodyCut = true
	} else {
		x.Call.ResponseSize += n
		web.ResponseBodyCut = true
	}
}

func (p *Parser) beginData(h protocol.Host, from protocol.Side, s *half, v *protocol.View, at int, f *frame) (int, bool) {
	n, pad := headerLen, 0
	if f.Flags&flagPadded != 0 {
		if len(v.Data)-at < headerLen+1 {
			return 0, false
		}
		pad, n = int(v.Data[at+headerLen]), n+1
		if pad >= f.Len {
			p.lost(from, s)
			h.Undecoded(1, "no_sync")
			return 1, true
		}
	}
	s.At, s.Stream, s.Flags = atData, f.Stream, f.Flags
	s.Left, s.Pad = int64(f.Len-pad-(n-headerLen)), int64(pad)
	x := p.owner(h, from, f.Stream)
	if x != nil {
		span := x.span(from)
		span.Add(v.At(at))
		span.Add(v.At(at + n - 1))
		if from == protocol.Server && !x.ResponseBegun { // its head was not seen
			x.ResponseBegun, x.NoStatus = true, true
		}
	}
	p.endData(h, from, s, x)
	return n, true
}

// owner is the stream of a DATA frame, made anew when its head was not captured.
func (p *Parser) owner(h protocol.Host, from protocol.Side, id uint32) *stream {
	x := p.find(id)
	if x == nil && p.fresh(id) {
		x = p.half(h, id, from)
		x.lose(from)
		x.Messages[from].Lost = true
	}
	return x
}

// fresh reports whether a stream that is not open may be one of which frames are missing, rather than one that ended.
func (p *Parser) fresh(id uint32) bool {
	for _, e := range p.Ended {
		if e == id {
			return false
		}
	}
	if p.socket(id) != nil {
		return false
	}
	return p.Lossy || id > p.Last || id%2 == 0
}

// half makes a stream whose request's head was not seen.
func (p *Parser) half(h protocol.Host, id uint32, from protocol.Side) *stream {
	x := p.add(h, id)
	x.NoRequest = true
	x.RequestBegun, x.RequestDone = true, from == protocol.Server
	return x
}

// payload reads bytes of a DATA frame.
func (p *Parser) payload(h protocol.Host, from protocol.Side, s *half, v *protocol.View, at int) int {
	b := v.Data[at:]
	x := p.find(s.Stream)
	n := int(min(s.Left, int64(len(b))))
	if n > 0 {
		s.Left -= int64(n)
		if x != nil {
			x.span(from).Add(v.At(at + n - 1))
			x.body(h, from, b[:n], int(s.Left), len(p.Streams) > maxBodies)
			if x.Events.On && from == protocol.Server {
				x.Events.Read(x.Call.HTTP, b[:n], v.At(at+n-1).Time)
			}
		} else if k := p.socket(s.Stream); k != nil {
			k.data(h, from, v, at, n)
		}
	} else {
		n = int(min(s.Pad, int64(len(b))))
		s.Pad -= int64(n)
	}
	p.endData(h, from, s, x)
	return n
}

// endData ends a DATA frame once all of it was read.
func (p *Parser) endData(h protocol.Host, from protocol.Side, s *half, x *stream) {
	if s.Left+s.Pad > 0 {
		return
	}
	s.At = atFrame
	switch {
	case s.Flags&flagEndStream == 0:
	case x != nil:
		p.endStream(h, from, x)
	default:
		p.closeSocket(h, from, s.Stream)
	}
}

// body keeps payload up to the limit; it is decoded when the message ends. More of the frame is still to come.
func (x *stream) body(h protocol.Host, from protocol.Side, b []byte, more int, crowded bool) {
	web := x.Call.HTTP
	kept, size, cut := &web.RequestBody, &x.Call.RequestSize, &web.RequestBodyCut
	if from == protocol.Server {
		kept, size, cut = &web.ResponseBody, &x.Call.ResponseSize, &web.ResponseBodyCut
	}
	*size += int64(len(b))
	if x.Call.GRPC != nil {
		x.Messages[from].Read(b)
	}
	if x.Messages[from].Lost { // what follows a hole would be read as if it followed what was before
		*cut = true
		return
	}
	limit := h.BodyLimit()
	if crowded {
		limit = 0
	}
	if room := limit - len(*kept); room < len(b) {
		*cut = true
		b = b[:max(0, room)]
	}
	if len(b) == 0 {
		return
	}
	if *kept == nil {
		*kept = h.Memory().Body(min(len(b)+more, limit))
	}
	*kept = append(*kept, b...)
}

// endStream notes that a side said all it has to say.
func (p *Parser) endStream(h protocol.Host, from protocol.Side, x *stream) {
	if from == protocol.Client {
		x.RequestDone = true
	} else {
		x.ResponseDone = true
	}
	if x.ResponseDone && (x.RequestDone || x.RequestLost) {
		p.complete(h, x)
	}
}

// decode undoes the codings of the bodies, as far as they were received. gRPC's messages have their own.
func (x *stream) decode(h protocol.Host) {
	web := x.Call.HTTP
	web.RequestBody = http1.Decode(web.RequestBody, x.Coding[protocol.Client], h.BodyLimit(), &web.RequestBodyCut, &web.BodyError)
	web.ResponseBody = http1.Decode(web.ResponseBody, x.Coding[protocol.Server], h.BodyLimit(), &web.ResponseBodyCut, &web.BodyError)
}

// complete hands out a call with its whole answer.
func (p *Parser) complete(h protocol.Host, x *stream) {
	x.settle(traffic.StateComplete)
	x.Events.End(x.Call.HTTP, x.Response.Last.Time)
	x.decode(h)
	p.emit(h, x)
}

// settle is the state of a stream that was answered, as far as the capture tells.
func (x *stream) settle(s traffic.State) {
	c := x.Call
	switch c.State = s; {
	case x.NoStatus: // the answer was lost to the capture
		c.State = traffic.StateOpen
	case x.NoRequest:
		c.State = traffic.StateHalf
	}
	x.count()
	x.forget(c)
}

// forget drops the method of an open call of which it is not known what it asks for: see [traffic.Call.Asked].
func (x *stream) forget(c *traffic.Call) {
	if x.NoRequest && c.State == traffic.StateOpen {
		c.Method = ""
	}
}

// reset reads RST_STREAM (RFC 9113 section 6.4).
func (p *Parser) reset(h protocol.Host, from protocol.Side, id, code uint32, at protocol.Mark) {
	if k := p.socket(id); k != nil {
		p.endSocket(h, k, protocol.End{Mark: at, By: from}) // the connection goes on: what was under way is cut, not reset
		return
	}
	p.ended(id)
	x := p.find(id)
	switch {
	case x == nil:
		return
	case x.ResponseDone: // the rest of the request is not wanted
		p.complete(h, x)
		return
	}
	x.Call.HTTP.Reset = codeName(code)
	why := traffic.ErrorStream
	if from == protocol.Client && (code == codeCancel || code == codeNone) {
		why = traffic.ErrorCancelled
	}
	p.fail(h, x, why, at.Time)
}

// ended notes that frames of a stream that come yet mean nothing.
func (p *Parser) ended(id uint32) {
	if len(p.Ended) >= maxEnded {
		p.Ended = append(p.Ended[:0], p.Ended[1:]...)
	}
	p.Ended = append(p.Ended, id)
}

// fail hands out a call whose stream ended before its answer.
func (p *Parser) fail(h protocol.Host, x *stream, why string, at int64) {
	c := x.Call
	switch {
	case x.ResponseLost && !x.ResponseBegun || x.NoStatus:
		c.State, why = traffic.StateOpen, ""
	case x.NoRequest && !x.ResponseBegun:
		c.State, why = traffic.StateOpen, ""
	case x.NoRequest:
		c.State = traffic.StateHalf
	case x.ResponseBegun:
		c.State = traffic.StateTruncated
	default:
		c.State = traffic.StateUnanswered
	}
	if g := c.GRPC; g != nil && g.TimeoutNS > 0 && why != "" && x.Request.Seen && at-x.Request.First.Time >= g.TimeoutNS-g.TimeoutNS/20 {
		why = traffic.ErrorTimeout // both ends watch the deadline, and either may be the first to give up
	}
	c.Error, c.End = why, at
	x.forget(c)
	x.count()
	x.decode(h)
	p.emit(h, x)
}

// goAway reads GOAWAY (RFC 9113 section 6.8): what the other side opened after the last stream was not looked at.
func (p *Parser) goAway(h protocol.Host, from protocol.Side, last, code uint32, at protocol.Mark) {
	if code != codeNone {
		p.GoAway = codeName(code)
	}
	for i := 0; i < len(p.Streams); {
		x := p.Streams[i]
		if opener := protocol.Side(1 - x.ID%2); x.ID <= last || opener == from {
			i++
			continue
		}
		x.Call.HTTP.Reset = codeName(code)
		p.fail(h, x, traffic.ErrorGoAway, at.Time)
	}
}

// abandon emits what will not be answered any more.
func (p *Parser) abandon(h protocol.Host, e protocol.End) {
	for len(p.Sockets) > 0 {
		p.endSocket(h, p.Sockets[0], e)
	}
	for len(p.Streams) > 0 {
		x := p.Streams[0]
		switch {
		case x.ResponseDone:
			p.complete(h, x)
		case e.Dropped:
			x.Call.State = traffic.StateOpen
			x.forget(x.Call)
			x.count()
			x.decode(h)
			p.emit(h, x)
		case p.GoAway != "":
			x.Call.HTTP.Reset = p.GoAway
			p.fail(h, x, traffic.ErrorGoAway, e.Time)
		case e.By == protocol.Client || p.Leave:
			p.fail(h, x, traffic.ErrorCancelled, e.Time)
		case e.Reset:
			p.fail(h, x, traffic.ErrorReset, e.Time)
		case x.ResponseBegun:
			p.fail(h, x, traffic.ErrorTruncated, e.Time)
		default:
			p.fail(h, x, traffic.ErrorClosed, e.Time)
		}
	}
}

// copy is the call as far as it got, for the end of a window.
func (x *stream) copy() *traffic.Call {
	x.count()
	c := *x.Call
	c.State = traffic.StateOpen
	x.forget(&c)
	web := *x.Call.HTTP
	web.RequestBody, web.ResponseBody = bytes.Clone(web.RequestBody), bytes.Clone(web.ResponseBody)
	web.RequestHeaders, web.ResponseHeaders = append([]traffic.Header(nil), web.RequestHeaders...), append([]traffic.Header(nil), web.ResponseHeaders...)
	c.HTTP = &web
	if c.GRPC != nil {
		g := *c.GRPC
		c.GRPC = &g
	}
	return &c
}

// Error codes that mean something here (RFC 9113 section 7).
const (
	codeNone   = 0
	codeCancel = 8
)

var codes = [...]string{"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR",
	"REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"}

func codeName(code uint32) string {
	if code < uint32(len(codes)) {
		return codes[code]
	}
	return fmt.Sprintf("0x%x", code)
}
