package grpc

import (
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

const contentType = "application/grpc"

// Is reports whether a content type is gRPC's, whatever its messages are coded in.
func Is(content string) bool {
	if !strings.HasPrefix(content, contentType) {
		return false
	}
	rest := content[len(contentType):]
	return rest == "" || rest[0] == '+' || rest[0] == ';' || IsWeb(content)
}

// IsWeb reports whether a content type is that of gRPC-Web.
func IsWeb(content string) bool { return strings.HasPrefix(content, contentType+"-web") }

// IsText reports whether a content type is that of gRPC-Web in base64.
func IsText(content string) bool { return strings.HasPrefix(content, contentType+"-web-text") }

// New describes the call that a path asks for: /package.Service/Method.
func New(path, content, encoding string) *traffic.GRPC {
	g := &traffic.GRPC{Status: -1, Encoding: encoding, Web: IsWeb(content)}
	if name, ok := strings.CutPrefix(path, "/"); ok {
		if k := strings.LastIndexByte(name, '/'); k >= 0 {
			g.Service, g.Method = name[:k], name[k+1:]
		}
	}
	return g
}

// Field takes a header or trailer that says what the call came to, or how its messages are packed.
func Field(g *traffic.GRPC, name, value string) {
	switch name {
	case "grpc-status":
		if n, err := strconv.Atoi(value); err == nil && n >= 0 && n < 1<<31 {
			g.Status = n
		}
	case "grpc-message":
		g.Message = percentDecode(value)
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

// Timeout reads grpc-timeout in nanoseconds: at most eight digits and a unit; 0 when it is none.
func Timeout(s string) int64 {
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
