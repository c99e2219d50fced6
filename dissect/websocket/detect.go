package websocket

import (
	"unicode/utf8"

	"github.com/devloop-io/devloop/dissect/protocol"
)

// Of a text that is to tell WebSocket from other protocols.
const (
	minTold = 8
	maxTold = 4 << 10
)

// detect knows a connection that was joined after its upgrade by a text of either end. A header says little; but what comes out
// when the client's mask is taken off must be readable, and the server's must look like JSON; and each must end where the
// packet or the next frame does.
func detect(b []byte) protocol.Verdict {
	if b[0]&0x7f != opText {
		return protocol.No
	}
	f, n := readFrame(b, false)
	switch {
	case n == 0:
		return protocol.Undecided
	case n < 0 || f.Len < minTold || f.Len > maxTold:
		return protocol.No
	case int64(len(b)-n) < f.Len:
		return protocol.Undecided
	}
	end := n + int(f.Len)
	text := f.unmask(nil, b[n:end], 0)
	switch {
	case !readable(text) || !chained(b[end:], f.Masked):
		return protocol.No
	case f.Masked:
		return protocol.FromClient
	case f.Fin && (text[0] == '{' && text[len(text)-1] == '}' || text[0] == '[' && text[len(text)-1] == ']'):
		return protocol.FromServer
	}
	return protocol.No
}

// chained reports whether frames of one side follow each other to the end of b, the last of which may go on behind it.
func chained(b []byte, masked bool) bool {
	for len(b) > 0 {
		f, n := readFrame(b, true)
		if n < 0 || n > 0 && f.Masked != masked {
			return false
		}
		if n == 0 || int64(len(b)-n) < f.Len {
			return true
		}
		b = b[int64(n)+f.Len:]
	}
	return true
}

// readable reports whether all of b is text as people or programs write it.
func readable(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(b)
}
