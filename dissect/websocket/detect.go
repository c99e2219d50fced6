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

// detect knows a connection that was joined after its upgrade by a text message of the client. Its header says little, but
// what comes out when the mask is taken off must be readable, and end where the packet or the next frame does.
func detect(b []byte) protocol.Verdict {
	const text, masked = 0x80 | opText, 0x80
	if b[0] != text || len(b) > 1 && b[1]&masked == 0 {
		return protocol.No
	}
	f, n := readFrame(b, false)
	switch {
	case n < 0 || n > 0 && (f.Len < minTold || f.Len > maxTold):
		return protocol.No
	case n == 0 || int64(len(b)-n) < f.Len:
		return protocol.Undecided
	}
	end := n + int(f.Len)
	if !readable(f.unmask(nil, b[n:end], 0)) || len(b) > end && !begins(b[end:], protocol.Client, true) {
		return protocol.No
	}
	return protocol.FromClient
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
