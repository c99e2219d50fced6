package http1

import (
	"bytes"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// Protocol is this package's row in dissect's table.
var Protocol = protocol.Protocol{
	Name:    traffic.ProtoHTTP,
	Network: "tcp",
	Detect:  detect,
	Cut:     detectCut,
	New:     func() protocol.Parser { return &Parser{} },
}

const maxLine = 16 << 10 // of a first line

// methods that are believed without a version behind the target (HTTP/0.9, or a line that is still to come).
var methods = []string{"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT",
	"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "NOTIFY", "SUBSCRIBE",
	"M-SEARCH", "PURGE"}

// detect says whether bytes begin an HTTP/1 message, and whose.
func detect(b []byte) protocol.Verdict {
	b = skipBlank(b)
	if len(b) == 0 {
		return protocol.Undecided
	}
	if v := detectResponse(b); v != protocol.No {
		return v
	}
	return detectRequest(b)
}

// skipBlank drops empty lines before a message (RFC 9112 section 2.2).
func skipBlank(b []byte) []byte {
	for len(b) > 0 && (b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}

const statusPrefix = "HTTP/1."

// detectResponse wants "HTTP/x.y 200". What stands for the version is not looked at: clients are lenient, too.
func detectResponse(b []byte) protocol.Verdict {
	const prefix, maxVersion = "HTTP/", 8
	if len(b) < len(prefix)+1 {
		if bytes.HasPrefix(b, []byte(prefix)[:min(len(b), len(prefix))]) {
			return protocol.Undecided
		}
		return protocol.No
	}
	if string(b[:5]) != prefix {
		return protocol.No
	}
	k := 5
	for k < len(b) && k <= 5+maxVersion && b[k] != ' ' && b[k] != '\t' && b[k] != '\r' && b[k] != '\n' {
		k++
	}
	if k == len(b) {
		return protocol.Undecided
	}
	if k == 5 || b[k] != ' ' && b[k] != '\t' {
		return protocol.No
	}
	rest := b[k+1:]
	for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
		rest = rest[1:]
	}
	if len(rest) < 3 {
		return protocol.Undecided
	}
	if digit(rest[0]) && digit(rest[1]) && digit(rest[2]) {
		return protocol.FromServer
	}
	return protocol.No
}

// detectCut recognises a request line that a gap cuts, in its target or behind it.
func detectCut(b []byte) protocol.Verdict {
	b = skipBlank(b)
	method, rest, _ := bytes.Cut(b, []byte(" "))
	target, version, _ := bytes.Cut(rest, []byte(" "))
	if isKnown(method) && showsPath(target) && (bytes.HasPrefix([]byte("HTTP/1.1\r"), version) || bytes.HasPrefix([]byte("HTTP/1.0\r"), version)) {
		return protocol.FromClient
	}
	return protocol.No
}

// showsPath reports whether a target is there as far as the beginning of its path.
func showsPath(target []byte) bool {
	for _, scheme := range []string{"http://", "https://"} {
		if rest, ok := bytes.CutPrefix(target, []byte(scheme)); ok {
			return bytes.IndexByte(rest, '/') >= 0
		}
	}
	return len(target) > 0 && target[0] == '/'
}

func digit(b byte) bool { return b >= '0' && b <= '9' }

// detectRequest wants "METHOD target HTTP/x.y", or a known method when the line is longer than what is here.
func detectRequest(b []byte) protocol.Verdict {
	n := 0
	for n < len(b) && n < 32 && tokenByte[b[n]] {
		n++
	}
	if n == len(b) && n < 32 {
		return protocol.Undecided
	}
	if n == 0 || n == 32 || b[n] != ' ' && b[n] != '\t' {
		return protocol.No
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		for _, x := range b[n:] {
			if x < 9 {
				return protocol.No
			}
		}
		if len(b) > maxLine {
			return protocol.No
		}
		return protocol.Undecided
	}
	if usual := " HTTP/1.1\r"; end-len(usual) >= n && string(b[end-len(usual):end]) == usual {
		return protocol.FromClient
	}
	line := bytes.TrimRight(b[:end], "\r\n \t")
	if k := bytes.LastIndexAny(line, " \t"); k >= n && isVersion(line[k+1:]) {
		return protocol.FromClient
	}
	if isKnown(b[:n]) && len(line) > n+1 && (line[n+1] == '/' || line[n+1] == '*' || bytes.HasPrefix(line[n+1:], []byte("http"))) {
		return protocol.FromClient
	}
	return protocol.No
}

func isVersion(b []byte) bool {
	return len(b) >= 8 && string(b[:5]) == "HTTP/" && digit(b[5]) && b[5] != '2' && b[6] == '.'
}

func isKnown(b []byte) bool {
	for _, m := range methods {
		if string(b) == m {
			return true
		}
	}
	return false
}

// tokenByte is tchar of RFC 9110 section 5.6.2.
var tokenByte = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-32] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()
