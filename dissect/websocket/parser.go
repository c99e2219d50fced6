package websocket

import (
	"bytes"
	"encoding/binary"

	"github.com/devloop-io/devloop/dissect/graphql"
	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// Protocol is this package's row in dissect's table. An upgrade leads here; without one only texts of a client are known.
var Protocol = protocol.Protocol{
	Name:    traffic.ProtoWS,
	Network: "tcp",
	Upgrade: "websocket",
	Detect:  detect,
	New:     func() protocol.Parser { return &Parser{} },
}

// Where a direction is.
const (
	atFrame = iota
	atPayload
	atResync // after a hole: until a packet begins with a frame
	atClosed // behind a close frame nothing may come
)

// Parser is the state of one connection. Exported for checkpoints.
type Parser struct {
	Sides [2]half
	Cause cause
	Known bool // what was agreed on: the upgrade was seen, or this was joined later and that was noted
}

// cause is what messages share with the request that opened the connection.
type cause struct {
	Path, TraceID, SpanID, Iteration string
	Background                       bool
	GraphQL                          bool // the subprotocol is one of GraphQL's
}

// half is one direction.
type half struct {
	At      int
	Frame   frame
	Done    int64 // bytes of its payload that were read
	Data    message
	Control message // may stand between the fragments of another
	Deflate inflater
	Broken  bool // a hole cut a message whose fragments may still come
}

// message is one that is under way. Call is nil when there is none.
type message struct {
	Call   *traffic.Call
	Span   protocol.Span
	Packed []byte // compressed, until the message is whole
	Wire   int64
	Lost   bool // bytes are missing
	Cut    bool
}

// Inherit implements [protocol.Heir]: the upgrade says what was agreed on.
func (p *Parser) Inherit(_ protocol.Host, c *traffic.Call, _ protocol.Span) {
	p.Cause = cause{Path: c.Path, TraceID: c.TraceID, SpanID: c.SpanID, Iteration: c.Iteration, Background: c.Background}
	p.Known = true
	client, server := &p.Sides[protocol.Client], &p.Sides[protocol.Server]
	if c.HTTP.ResponseHeadersCut { // by a hole, which may hold frames as well
		client.Deflate, server.Deflate = inflater{On: true, Lost: true}, inflater{On: true, Lost: true}
		server.At = atResync
		return
	}
	client.Deflate, server.Deflate = agree(c.HTTP.ResponseHeaders)
	p.Cause.GraphQL = graphql.Speaks(c.HTTP.ResponseHeaders)
}

// join begins in the middle: whether messages are compressed is not known, and where one begins is to be found.
func (p *Parser) join() {
	p.Known = true
	for i := range p.Sides {
		p.Sides[i] = half{At: atResync, Deflate: inflater{On: true, Lost: true}}
	}
}

// Data implements [protocol.Parser].
func (p *Parser) Data(h protocol.Host, from protocol.Side, v *protocol.View) int {
	if !p.Known {
		p.join()
	}
	s := &p.Sides[from]
	used := 0
	for used < len(v.Data) {
		n := p.step(h, from, s, v, used)
		used += n
		if n == 0 {
			break
		}
	}
	return used
}

// step reads one element at v.Data[at:]: how many bytes it took, 0 when some are missing.
func (p *Parser) step(h protocol.Host, from protocol.Side, s *half, v *protocol.View, at int) int {
	b := v.Data[at:]
	switch s.At {
	case atPayload:
		n := int(min(s.Frame.Len-s.Done, int64(len(b))))
		p.payload(h, from, s, b[:n], v.At(at+n-1))
		return n
	case atResync:
		return p.resync(h, from, s, v, at)
	case atClosed:
		h.Undecoded(int64(len(b)), "ws_after_close")
		return len(b)
	}
	f, n := readFrame(b, s.Deflate.On)
	switch {
	case n == 0:
		return 0
	case n < 0 || f.Masked != (from == protocol.Client) || f.Op == opContinuation && s.Data.Call == nil && !s.Broken,
		f.Op != opContinuation && f.Op < opClose && s.Data.Call != nil:
		p.lose(h, from, s)
		s.At = atResync
		h.Undecoded(1, "ws_malformed")
		return 1
	}
	s.Frame, s.Done, s.At = f, 0, atPayload
	p.begin(h, s, v.At(at), v.At(at+n-1))
	if f.Len == 0 {
		p.frameEnd(h, from, s)
	}
	return n
}

// message is the one that the frame at hand belongs to; nil when its beginning is missing.
func (s *half) message() *message {
	switch {
	case s.Frame.Op >= opClose:
		return &s.Control
	case s.Frame.Op == opContinuation && s.Data.Call == nil:
		return nil
	}
	return &s.Data
}

// callAndMessage is allocated as one.
type callAndMessage struct {
	call traffic.Call
	ws   traffic.WebSocket
}

// begin takes a frame's header.
func (p *Parser) begin(h protocol.Host, s *half, first, last protocol.Mark) {
	if s.Frame.Op != opContinuation && s.Frame.Op < opClose {
		s.Broken = false
	}
	m := s.message()
	if m == nil {
		return
	}
	if m.Call == nil {
		both := &callAndMessage{}
		c, ws := &both.call, &both.ws
		c.WebSocket, c.Protocol, c.Index = ws, traffic.ProtoWS, h.NextCall()
		c.Method, c.Path, c.Background = opcodes[s.Frame.Op], p.Cause.Path, p.Cause.Background
		c.TraceID, c.SpanID, c.Iteration = p.Cause.TraceID, p.Cause.SpanID, p.Cause.Iteration
		ws.Opcode, ws.Compressed = c.Method, s.Frame.Compressed
		m.Call = c
	}
	m.Call.WebSocket.Fragments++
	m.Span.Add(first)
	m.Span.Add(last)
}

// payload takes bytes of the frame at hand.
func (p *Parser) payload(h protocol.Host, from protocol.Side, s *half, b []byte, last protocol.Mark) {
	at := s.Done
	s.Done += int64(len(b))
	if m := s.message(); m == nil {
		h.Undecoded(int64(len(b)), "no_sync")
	} else {
		m.Span.Add(last)
		m.Wire += int64(len(b))
		ws := m.Call.WebSocket
		kept, limit := &ws.Payload, h.BodyLimit()
		if s.Frame.Op == opClose {
			limit += 2 // for the code
		}
		if ws.Compressed {
			kept, limit = &m.Packed, maxPacked
		}
		if room := limit - len(*kept); m.Lost {
			m.Cut = true
		} else if room < len(b) {
			m.Cut = true
			*kept = s.Frame.unmask(*kept, b[:room], at)
		} else {
			*kept = s.Frame.unmask(*kept, b, at)
		}
	}
	if s.Done == s.Frame.Len {
		p.frameEnd(h, from, s)
	}
}

func (p *Parser) frameEnd(h protocol.Host, from protocol.Side, s *half) {
	s.At = atFrame
	m := s.message()
	if m == nil {
		s.Broken = !s.Frame.Fin
		return
	}
	if !s.Frame.Fin {
		return
	}
	m.finish(h, s, true)
	m.Call.State = traffic.StateComplete
	if ws := m.Call.WebSocket; p.Cause.GraphQL && ws.Opcode == "text" && ws.Error == "" {
		graphql.ReadMessage(m.Call)
	}
	m.emit(h, from)
	if s.Frame.Op == opClose {
		s.At = atClosed
	}
}

// finish makes the payload readable.
func (m *message) finish(h protocol.Host, s *half, whole bool) {
	ws := m.Call.WebSocket
	ws.Length, ws.PayloadCut = m.Wire, m.Cut || !whole
	if m.Lost {
		ws.Error = "bytes are missing"
	}
	if ws.Compressed {
		m.unpack(h, s, whole)
	}
	if ws.Opcode != "close" {
		return
	}
	if len(ws.Payload) >= 2 {
		ws.CloseCode = int(binary.BigEndian.Uint16(ws.Payload))
		ws.Payload = ws.Payload[2:]
	}
}

func (m *message) unpack(h protocol.Host, s *half, whole bool) {
	ws, packed := m.Call.WebSocket, m.Packed
	m.Packed = nil
	if m.Lost || m.Cut || !whole {
		s.Deflate.lose()
		if ws.Error == "" && whole {
			ws.Error = errTooLong.Error()
		}
		h.Undecoded(m.Wire, "ws_compressed")
		return
	}
	out, length, err := s.Deflate.unpack(packed, h.BodyLimit())
	ws.Payload, ws.Length = out, length
	ws.PayloadCut = length > int64(len(out))
	if err != nil {
		ws.Error, ws.Length, ws.PayloadCut = err.Error(), m.Wire, true
		h.Undecoded(m.Wire, "ws_compressed")
	}
}

// emit hands the message over and makes room for the next.
func (m *message) emit(h protocol.Host, from protocol.Side) {
	var none protocol.Span
	if from == protocol.Client {
		m.Call.RequestSize = m.Wire
		h.Emit(m.Call, &m.Span, &none)
	} else {
		m.Call.ResponseSize, m.Call.WebSocket.FromServer = m.Wire, true
		h.Emit(m.Call, &none, &m.Span)
	}
	*m = message{}
}

// lose gives up the messages under way: a hole took away where they end.
func (p *Parser) lose(h protocol.Host, from protocol.Side, s *half) {
	for _, m := range []*message{&s.Data, &s.Control} {
		if m.Call == nil {
			continue
		}
		m.Lost = true
		m.finish(h, s, false)
		m.Call.State = traffic.StateOpen
		m.emit(h, from)
	}
	s.Deflate.lose()
	s.Broken = true
}

// resync drops bytes until a packet begins with a frame.
func (p *Parser) resync(h protocol.Host, from protocol.Side, s *half, v *protocol.View, at int) int {
	for _, mark := range v.Marks {
		i := int(mark.Offset - v.Base)
		if i < at || i >= len(v.Data) {
			continue
		}
		if begins(v.Data[i:], from, s.Deflate.On) {
			h.Undecoded(int64(i-at), "no_sync")
			s.At = atFrame
			if i > at {
				return i - at
			}
			return p.step(h, from, s, v, at)
		}
	}
	h.Undecoded(int64(len(v.Data)-at), "no_sync")
	return len(v.Data) - at
}

// Gap implements [protocol.Parser]: a hole inside a frame does not lose the place.
func (p *Parser) Gap(h protocol.Host, from protocol.Side, n int64, at protocol.Mark) {
	if !p.Known {
		p.join()
	}
	s := &p.Sides[from]
	if s.At == atClosed {
		return
	}
	if s.At == atPayload && s.Frame.Len-s.Done >= n {
		s.Done += n
		if m := s.message(); m != nil {
			m.Lost, m.Cut = true, true
			m.Wire += n
		}
		if s.Done == s.Frame.Len {
			p.frameEnd(h, from, s)
		}
		return
	}
	p.lose(h, from, s)
	s.At = atResync
}

// Closed implements [protocol.Parser].
func (p *Parser) Closed(h protocol.Host, from protocol.Side, at protocol.Mark) {
	p.abandon(h, from, protocol.End{Mark: at, By: from})
}

// End implements [protocol.Parser].
func (p *Parser) End(h protocol.Host, e protocol.End) {
	p.abandon(h, protocol.Client, e)
	p.abandon(h, protocol.Server, e)
}

// abandon emits what its sender did not finish.
func (p *Parser) abandon(h protocol.Host, from protocol.Side, e protocol.End) {
	s := &p.Sides[from]
	for _, m := range []*message{&s.Data, &s.Control} {
		if m.Call == nil {
			continue
		}
		m.finish(h, s, false)
		m.Call.State, m.Call.Error = traffic.StateTruncated, traffic.ErrorTruncated
		switch {
		case e.Dropped:
			m.Call.State, m.Call.Error = traffic.StateOpen, ""
		case e.Reset:
			m.Call.Error = traffic.ErrorReset
		}
		m.emit(h, from)
	}
	s.At = atClosed
}

// Tick implements [protocol.Parser]; WebSocket sets no deadlines.
func (p *Parser) Tick(protocol.Host, int64) {}

// Window implements [protocol.Parser].
func (p *Parser) Window(h protocol.Host) {
	for from := range p.Sides {
		s := &p.Sides[from]
		for _, m := range []*message{&s.Data, &s.Control} {
			if m.Call == nil {
				continue
			}
			copied := *m
			c, ws := *m.Call, *m.Call.WebSocket
			ws.Payload, ws.Length, ws.PayloadCut = bytes.Clone(ws.Payload), m.Wire, true
			if ws.Opcode == "close" { // its beginning is a number
				ws.Payload = nil
			}
			c.WebSocket, c.State = &ws, traffic.StateOpen
			copied.Call = &c
			copied.emit(h, protocol.Side(from))
			m.Span.Forget()
		}
	}
}
