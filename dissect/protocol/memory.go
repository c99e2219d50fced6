package protocol

import (
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// Sizes of the pieces that Memory cuts from: some ten calls each, so that a call which is kept alone keeps little else.
const (
	pieceCalls   = 8
	pieceHeaders = 256
	pieceText    = 8 << 10
	pieceBodies  = 16 << 10
)

// Memory hands out what calls consist of, cut from pieces that several calls share: most of the cost of a small allocation is that it
// is one. What was handed out is never handed out again; the garbage collector frees a piece with the last call of it. The zero
// value works.
type Memory struct {
	calls   []httpCall
	headers []traffic.Header
	bodies  []byte
	text    strings.Builder

	usedCalls, usedHeaders, usedBodies int // numbers, because moving the slices would cost a write barrier each
}

// httpCall is a call with its HTTP part.
type httpCall struct {
	call traffic.Call
	http traffic.HTTP
}

// HTTPCall is an empty call whose HTTP part is there.
func (m *Memory) HTTPCall() *traffic.Call {
	if m.usedCalls == len(m.calls) {
		m.calls, m.usedCalls = make([]httpCall, pieceCalls), 0
	}
	x := &m.calls[m.usedCalls]
	m.usedCalls++
	x.call.HTTP = &x.http
	return &x.call
}

// Headers is an empty list with room for n; never nil.
func (m *Memory) Headers(n int) []traffic.Header {
	if n > pieceHeaders/8 {
		return make([]traffic.Header, 0, n)
	}
	list := m.Room()[:0:n]
	m.usedHeaders += n
	return list
}

// Room is an empty list with room for some headers, which [Memory.Keep] then takes. In between, no others must be asked for.
func (m *Memory) Room() []traffic.Header {
	if len(m.headers)-m.usedHeaders < pieceHeaders/8 {
		m.headers, m.usedHeaders = make([]traffic.Header, pieceHeaders), 0
	}
	return m.headers[m.usedHeaders:m.usedHeaders]
}

// Keep cuts off what [Memory.Room] gave and was filled, be it that it was outgrown.
func (m *Memory) Keep(list []traffic.Header) []traffic.Header {
	if cap(list) == len(m.headers)-m.usedHeaders && len(list) > 0 && &list[0] == &m.headers[m.usedHeaders] {
		m.usedHeaders += len(list)
	}
	return list[:len(list):len(list)]
}

// Text is b as a string.
func (m *Memory) Text(b []byte) string {
	if len(b) > pieceText/8 {
		return string(b)
	}
	at := m.text.Len()
	if m.text.Cap()-at < len(b) {
		m.text, at = strings.Builder{}, 0
		m.text.Grow(pieceText)
	}
	m.text.Write(b)
	return m.text.String()[at:]
}

// Body is an empty slice with room for n bytes.
func (m *Memory) Body(n int) []byte {
	if n > pieceBodies/4 {
		return make([]byte, 0, n)
	}
	if n > len(m.bodies)-m.usedBodies {
		m.bodies, m.usedBodies = make([]byte, pieceBodies), 0
	}
	m.usedBodies += n
	return m.bodies[m.usedBodies-n : m.usedBodies-n : m.usedBodies]
}
