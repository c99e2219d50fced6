package protocol

import (
	"unsafe"

	"github.com/devloop-io/devloop/traffic"
)

// Sizes of the pieces that Memory cuts from: some ten calls each, so that a call which is kept alone keeps little else.
const (
	pieceCalls   = 8
	pieceHeaders = 256
	pieceText    = 8 << 10
	pieceBodies  = 16 << 10

	usualHeaders = pieceHeaders / 8 // of a message
)

// Memory hands out what calls consist of, cut from pieces that several calls share: most of the cost of a small allocation is that it
// is one. What was handed out is never handed out again, unless it was lent; the garbage collector frees a piece with the last call of
// it. The zero value works.
type Memory struct {
	calls   []httpCall
	headers []traffic.Header
	bodies  []byte
	text    []byte

	usedCalls, usedHeaders, usedBodies, usedText int // numbers, because moving the slices would cost a write barrier each

	own   bool // it is one call's, see loan
	lends bool
	lent  map[*traffic.Call]*loan
	free  []*loan
}

// piece is how large the next piece should be, where the last one has so many elements and n are needed now. What belongs to one call begins
// small, and grows with the calls that it is used for.
func (m *Memory) piece(usual, last, n int) int {
	if m.own {
		return max(usual/8, 2*last, n)
	}
	return usual
}

// fits reports whether n elements are few enough to be cut from a piece: a quarter of it, or all of it where it belongs to one call.
func (m *Memory) fits(usual, n int) bool { return n <= usual/4 || m.own && n <= usual }

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
	if !m.fits(pieceHeaders, n) {
		return make([]traffic.Header, 0, n)
	}
	m.room(max(n, 1))
	m.usedHeaders += n
	return m.headers[m.usedHeaders-n : m.usedHeaders-n : m.usedHeaders]
}

// Room is an empty list with room for some headers, which [Memory.Keep] then takes. In between, no others must be asked for.
func (m *Memory) Room() []traffic.Header {
	m.room(usualHeaders)
	return m.headers[m.usedHeaders:m.usedHeaders]
}

func (m *Memory) room(n int) {
	if len(m.headers)-m.usedHeaders < n {
		m.headers, m.usedHeaders = make([]traffic.Header, m.piece(pieceHeaders, len(m.headers), n)), 0
	}
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
	if len(b) == 0 || !m.fits(pieceText, len(b)) {
		return string(b)
	}
	if len(m.text)-m.usedText < len(b) {
		m.text, m.usedText = make([]byte, m.piece(pieceText, len(m.text), len(b))), 0
	}
	at := m.text[m.usedText:]
	m.usedText += len(b)
	return unsafe.String(&at[0], copy(at, b))
}

// Body is an empty slice with room for n bytes.
func (m *Memory) Body(n int) []byte {
	if !m.fits(pieceBodies, n) {
		return make([]byte, 0, n)
	}
	if n > len(m.bodies)-m.usedBodies {
		m.bodies, m.usedBodies = make([]byte, m.piece(pieceBodies, len(m.bodies), n)), 0
	}
	m.usedBodies += n
	return m.bodies[m.usedBodies-n : m.usedBodies-n : m.usedBodies]
}
