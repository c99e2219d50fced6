package http2

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// isGRPC reports whether a content type is gRPC's, whatever its messages are coded in.
func isGRPC(contentType string) bool {
	const name = "application/grpc"
	if !strings.HasPrefix(contentType, name) {
		return false
	}
	rest := contentType[len(name):]
	return rest == "" || rest[0] == '+' || rest[0] == ';' || strings.HasPrefix(rest, "-web")
}

// grpc makes the call a gRPC call: /package.Service/Method.
func (x *stream) grpc(encoding string) {
	g := &traffic.GRPC{Status: -1, Encoding: encoding}
	if name, ok := strings.CutPrefix(x.Call.Path, "/"); ok {
		if k := strings.LastIndexByte(name, '/'); k >= 0 {
			g.Service, g.Method = name[:k], name[k+1:]
		}
	}
	x.Call.GRPC = g
}

// readStatus finds what the call came to: in the trailers, or in the headers of a response without messages.
func readStatus(g *traffic.GRPC, fields []field) {
	for i := range fields {
		switch f := &fields[i]; f.Name {
		case "grpc-status":
			if n, err := strconv.Atoi(f.Value); err == nil && n >= 0 && n < 1<<31 {
				g.Status = n
			}
		case "grpc-message":
			g.Message = percentDecode(f.Value)
		}
	}
}

// percentDecode undoes grpc-message's encoding; what is no code stays as it is.
func percentDecode(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(n))
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

var timeoutUnits = map[byte]int64{'H': 3600e9, 'M': 60e9, 'S': 1e9, 'm': 1e6, 'u': 1e3, 'n': 1}

// parseTimeout reads grpc-timeout: at most eight digits and a unit; 0 when it is none.
func parseTimeout(s string) int64 {
	if len(s) < 2 || len(s) > 9 {
		return 0
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 63)
	unit := timeoutUnits[s[len(s)-1]]
	if err != nil || unit == 0 {
		return 0
	}
	if n > 1<<62/uint64(unit) {
		return 1<<63 - 1
	}
	return int64(n) * unit
}

// messages counts the length-prefixed messages of one direction:
//
//	compressed (1 byte) │ length (4 bytes) │ message
type messages struct {
	Prefix [5]byte
	Have   int   // bytes of the prefix
	Left   int64 // of the message
	Count  int   // seen whole
	Lost   bool  // a hole: where the next one begins is not known
}

func (m *messages) read(b []byte) {
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
		m.Left -= n
		b = b[n:]
		if m.Left == 0 {
			m.Have = 0
			if m.Prefix[0]&0x80 == 0 { // gRPC-Web's trailers come as one more
				m.Count++
			}
		}
	}
}

// count tells the call how many messages went either way.
func (x *stream) count() {
	if g := x.Call.GRPC; g != nil {
		g.RequestMessages, g.ResponseMessages = x.Messages[0].Count, x.Messages[1].Count
	}
}

// webTrailers reads the status of a gRPC-Web call, whose trailers are the last message of the body.
func (x *stream) webTrailers() {
	g := x.Call.GRPC
	if g == nil || g.Status >= 0 || x.Call.HTTP.ResponseBodyCut {
		return
	}
	b := x.Call.HTTP.ResponseBody
	for len(b) >= 5 {
		n := uint64(binary.BigEndian.Uint32(b[1:]))
		if n > uint64(len(b)-5) {
			return
		}
		if b[0]&0x80 != 0 {
			var fields []field
			for line := range strings.Lines(string(b[5 : 5+n])) {
				if name, value, ok := strings.Cut(line, ":"); ok {
					fields = append(fields, field{strings.ToLower(name), strings.TrimSpace(value)})
				}
			}
			readStatus(g, fields)
			return
		}
		b = b[5+n:]
	}
}
