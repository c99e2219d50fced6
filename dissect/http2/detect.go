package http2

import (
	"bytes"
	"encoding/binary"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// Protocol is this package's row in dissect's table.
var Protocol = protocol.Protocol{
	Name:    traffic.ProtoHTTP,
	Network: "tcp",
	Detect:  detect,
	New:     func() protocol.Parser { return &Parser{} },
}

// preface is what a client sends first (RFC 9113 section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Frame types (RFC 9113 section 6).
const (
	typeData = iota
	typeHeaders
	typePriority
	typeReset
	typeSettings
	typePush
	typePing
	typeGoAway
	typeWindow
	typeContinuation
)

// Flags of frames.
const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

const headerLen = 9

// frame is the header that each frame begins with.
type frame struct {
	Len    int
	Type   byte
	Flags  byte
	Stream uint32
}

func readFrame(b []byte) frame {
	return frame{Len: int(b[0])<<16 | int(b[1])<<8 | int(b[2]), Type: b[3], Flags: b[4], Stream: binary.BigEndian.Uint32(b[5:])}
}

// sound reports whether a frame's header keeps the rules of its type.
func (f *frame) sound() bool {
	if f.Stream>>31 != 0 {
		return false
	}
	switch f.Type {
	case typeData, typeHeaders, typeContinuation:
		return f.Stream != 0
	case typePriority:
		return f.Stream != 0 && f.Len == 5
	case typeReset:
		return f.Stream != 0 && f.Len == 4
	case typeSettings:
		return f.Stream == 0 && f.Len%6 == 0 && (f.Flags&flagAck == 0 || f.Len == 0)
	case typePush:
		return f.Stream != 0 && f.Len >= 4
	case typePing:
		return f.Stream == 0 && f.Len == 8
	case typeGoAway:
		return f.Stream == 0 && f.Len >= 8
	case typeWindow:
		return f.Len == 4
	}
	return true // types that are not known are skipped (section 5.5)
}

var knownFlags = [...]byte{typeData: 0x9, typeHeaders: 0x2d, typeSettings: 1, typePush: 0xc, typePing: 1, typeContinuation: 4}

// plausible is stricter: for bytes that may be anything.
func (f *frame) plausible() bool {
	return f.Type <= typeContinuation && f.Len <= 16<<10 && f.Flags&^knownFlags[f.Type] == 0 && f.sound() &&
		(f.Len > 0 || f.Type == typeSettings || f.Type != typeHeaders && f.Type != typePush && f.Flags != 0)
}

// detect says whether bytes begin a connection or, where it was joined late, a frame, and who sent them.
func detect(b []byte) protocol.Verdict {
	if b[0] == preface[0] {
		n := min(len(b), len(preface))
		switch {
		case string(b[:n]) != preface[:n]:
			return protocol.No
		case n < len(preface):
			return protocol.Undecided
		}
		return protocol.FromClient
	}
	if b[0] != 0 {
		return protocol.No
	}
	for len(b) >= headerLen {
		f := readFrame(b)
		if !f.plausible() || f.Stream != 0 && f.Stream%2 == 0 {
			return protocol.No
		}
		if f.Type == typeSettings && f.Flags&flagAck == 0 {
			return settingsVerdict(b, &f)
		}
		if len(b) < headerLen+f.Len {
			return protocol.Undecided
		}
		if f.Type == typeHeaders {
			if v := headersVerdict(b[headerLen:headerLen+f.Len], &f); v != protocol.Undecided {
				return v
			}
		}
		b = b[headerLen+f.Len:]
	}
	return protocol.Undecided
}

// settingsVerdict reads a server's first frame: a client's follows the preface.
func settingsVerdict(b []byte, f *frame) protocol.Verdict {
	if f.Len > 6*32 {
		return protocol.No
	}
	if len(b) < headerLen+f.Len {
		return protocol.Undecided
	}
	for p := b[headerLen : headerLen+f.Len]; len(p) > 0; p = p[6:] {
		if id := binary.BigEndian.Uint16(p); id == 0 || id > 0x10 && id < 0x0a0a {
			return protocol.No
		}
	}
	return protocol.FromServer
}

// headersVerdict tells requests from responses by the first field: pseudo-fields come first (RFC 9113 section 8.3).
func headersVerdict(p []byte, f *frame) protocol.Verdict {
	block, ok := unpad(p, f.Flags)
	if !ok {
		return protocol.No
	}
	fields, _, err := (&table{Lost: true}).decode(block, nil)
	if err != nil && f.Flags&flagEndHeaders != 0 || len(fields) == 0 {
		return protocol.No
	}
	switch fields[0].Name {
	case ":status":
		return protocol.FromServer
	case ":method", ":path", ":scheme", ":authority":
		return protocol.FromClient
	}
	for _, x := range fields {
		if x.Name == "grpc-status" {
			return protocol.FromServer
		}
	}
	return protocol.Undecided
}

// unpad drops padding and priority of a HEADERS payload, or padding of a PUSH_PROMISE.
func unpad(p []byte, flags byte) ([]byte, bool) {
	if flags&flagPadded != 0 {
		if len(p) == 0 || int(p[0]) >= len(p) {
			return nil, false
		}
		p = p[1 : len(p)-int(p[0])]
	}
	if flags&flagPriority != 0 {
		if len(p) < 5 {
			return nil, false
		}
		p = p[5:]
	}
	return p, true
}

// resync finds where frames begin again after a hole. It returns how many bytes come before that, or, with found false,
// how many can be given up for now.
func resync(b []byte, last uint32) (n int, found bool) {
	for n = 0; n < len(b); n++ {
		if len(b)-n < headerLen {
			return n, false
		}
		if b[n] != 0 {
			if k := bytes.IndexByte(b[n:], 0); k > 0 {
				n += k - 1
				continue
			}
			return len(b), false
		}
		f := readFrame(b[n:])
		if !f.plausible() || f.Stream > last+4096 || f.Type == typeSettings && f.Flags == 0 {
			continue
		}
		next := n + headerLen + f.Len
		switch {
		case next == len(b):
			return n, true
		case next+headerLen <= len(b):
			if g := readFrame(b[next:]); g.plausible() && g.Stream <= last+4096 {
				return n, true
			}
		default:
			return n, false // the next frame's header is still to come
		}
	}
	return n, false
}
