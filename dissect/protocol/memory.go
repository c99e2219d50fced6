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
	pieceBodies  = 32 << 10
)

// Memory hands out what calls consist of, cut from pieces that several calls share: most of the cost of a small allocation is that it
// is one. What was handed out is never handed out again; the garbage collector frees a piece with the last call of it. The zero
// value works.
type Memory struct {
	calls   []httpCall
	headers []traffic.Header
	text    strings.Builder
	bodies  []byte
}

// httpCall is a call with its HTTP part.
type httpCall struct {
	call traffic.Call
	http traffic.HTTP
}

// HTTPCall is an empty call whose HTTP part is there.
func (m *Memory) HTTPCall() *traffic.Call {
	if len(m.calls) == 0 {
		m.calls = make([]httpCall, pieceCalls)
	}
	x := &m.calls[0]
	m.calls = m.calls[1:]
	x.call.HTTP = &x.http
	return &x.call
}

// Headers is an empty list with room for n; never nil.
func (m *Memory) Headers(n int) []traffic.Header {
	if n > pieceHeaders/8 {
		return make([]traffic.Header, 0, n)
	}
	if n > len(m.headers) || m.headers == nil {
		m.headers = make([]traffic.Header, pieceHeaders)
	}
	list := m.headers[:0:n]
	m.headers = m.headers[n:]
	return list
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
	if n > pieceBodies/8 {
		return make([]byte, 0, n)
	}
	if n > len(m.bodies) {
		m.bodies = make([]byte, pieceBodies)
	}
	b := m.bodies[:0:n]
	m.bodies = m.bodies[n:]
	return b
}
