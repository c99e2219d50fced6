package grpc

import (
	"encoding/base64"
	"encoding/binary"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// maxTrailers is how long the trailers of gRPC-Web may be to be read.
const maxTrailers = 16 << 10

// Messages counts the length-prefixed messages of one direction as they arrive:
//
//	flags (1 byte) │ length (4 bytes) │ message
//
// Exported for checkpoints. The zero value is ready; Text has to be set before the first byte.
type Messages struct {
	Prefix   [5]byte
	Have     int   // bytes of the prefix
	Left     int64 // of the message
	Count    int   // seen whole
	Lost     bool  // a hole: where the next one begins is not known
	Text     bool  // in base64, of which several may follow each other
	Quad     [4]byte
	Quads    int    // bytes in Quad
	Trailers []byte // of gRPC-Web, once they are whole
	Packed   bool   // the trailers are compressed
	Partial  []byte // trailers that are not whole yet
}

const (
	flagPacked   = 0x01
	flagTrailers = 0x80
)

// Read takes the next bytes of the body.
func (m *Messages) Read(b []byte) {
	if !m.Text {
		m.read(b)
		return
	}
	var plain [3]byte
	for _, c := range b {
		if c <= ' ' {
			continue
		}
		m.Quad[m.Quads] = c
		if m.Quads++; m.Quads < len(m.Quad) {
			continue
		}
		m.Quads = 0
		n, err := base64.StdEncoding.Decode(plain[:], m.Quad[:])
		if err != nil {
			m.Lost = true
			return
		}
		m.read(plain[:n])
	}
}

func (m *Messages) read(b []byte) {
	if m.Lost {
		return
	}
	for len(b) > 0 {
		if m.Have < len(m.Prefix) {
			n := copy(m.Prefix[m.Have:], b)
			m.Have += n
			b = b[n:]
			if m.Have < len(m.Prefix) {
				return
			}
			m.Left = int64(binary.BigEndian.Uint32(m.Prefix[1:]))
		}
		n := min(m.Left, int64(len(b)))
		if m.Prefix[0]&flagTrailers != 0 && len(m.Partial)+int(n) <= maxTrailers {
			m.Partial = append(m.Partial, b[:n]...)
		}
		m.Left -= n
		b = b[n:]
		if m.Left == 0 {
			m.end()
		}
	}
}

// end ends a message.
func (m *Messages) end() {
	m.Have = 0
	if m.Prefix[0]&flagTrailers == 0 {
		m.Count++
		return
	}
	m.Trailers, m.Partial, m.Packed = m.Partial, nil, m.Prefix[0]&flagPacked != 0
}

// Note tells the call what the trailers in the body say; other trailers came as headers. Unpack undoes a content coding.
func (m *Messages) Note(g *traffic.GRPC, unpack func(b []byte, coding string) []byte) {
	text := m.Trailers
	if m.Packed {
		text = unpack(text, g.Encoding)
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			Field(g, strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value))
		}
	}
}
