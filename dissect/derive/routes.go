package derive

import (
	"strings"

	"github.com/devloop-io/devloop/dissect/facts"
)

// Many is how many different segments at one place of the paths of one method and server make it a parameter.
const Many = 16

const (
	parameter    = "{id}"
	mostSegments = 32 // of a path; what follows stays as it is
)

// findRoutes fills Route, as [Routes] says.
func findRoutes(w *facts.Window) {
	asked := map[question]*pattern{}
	patterns := map[target]*pattern{}
	var all []*pattern
	for f := range w.All() {
		f.Route = nil
		if f.Asked == nil {
			continue
		}
		if f.Verbatim {
			f.Route = &f.Asked.Path
			continue
		}
		q := question{server{f.Dst.Home(), f.Port}, f.Asked}
		p := asked[q]
		if p == nil {
			made := newPattern(q)
			if p = patterns[made.target]; p == nil {
				p = made
				patterns[p.target] = p
				all = append(all, p)
			}
			asked[q] = p
		}
		p.found = p.found || !f.NotFound
		f.Route = &p.route
	}
	for level := 0; learn(all, level); level++ {
	}
	for _, p := range all {
		p.route = p.prefix.String() + p.rest
	}
}

// server is one port of a workload, or of an address.
type server struct {
	home uint32
	port uint16
}

// question is what was asked of a server.
type question struct {
	server
	asked *facts.Path
}

// target is the same for questions that differ in what is a parameter by its look alone.
type target struct {
	server
	method, path string
}

// pattern is a path on the way to its route.
type pattern struct {
	target
	segments []string // with {id} where a segment alone tells that it is one
	rest     string   // beyond mostSegments
	prefix   strings.Builder
	found    bool // not always answered 404: guessed paths teach nothing
	route    string
}

func newPattern(q question) *pattern {
	p := &pattern{segments: strings.SplitN(q.asked.Path[1:], "/", mostSegments+1)}
	if len(p.segments) > mostSegments {
		p.rest = "/" + p.segments[mostSegments]
		p.segments = p.segments[:mostSegments]
	}
	for i, s := range p.segments {
		p.segments[i] = template(s)
	}
	p.target = target{q.server, q.asked.Method, strings.Join(p.segments, "/") + p.rest}
	return p
}

// branch is where a segment stands: the server and method, and the route before it.
type branch struct {
	server
	method, prefix string
}

// learn moves one segment of every pattern to its prefix, and reports whether any had one.
func learn(all []*pattern, level int) bool {
	values := map[branch]map[string]bool{}
	more := false
	for _, p := range all {
		if level >= len(p.segments) {
			continue
		}
		more = true
		if s := p.segments[level]; p.found && s != "" && !strings.HasPrefix(s, parameter) {
			b := branch{p.server, p.method, p.prefix.String()}
			if values[b] == nil {
				values[b] = map[string]bool{}
			}
			values[b][s] = true
		}
	}
	decided := map[branch]bool{}
	for b, v := range values {
		decided[b] = len(v) >= Many
	}
	for _, p := range all {
		if level >= len(p.segments) {
			continue
		}
		s := p.segments[level]
		if s != "" && decided[branch{p.server, p.method, p.prefix.String()}] {
			s = parameter
		}
		p.prefix.WriteByte('/')
		p.prefix.WriteString(s)
	}
	return more
}

// template is {id} for a segment that is one by its look, with its extension if it has one.
func template(s string) string {
	if identifies(s) {
		return parameter
	}
	if dot := strings.LastIndexByte(s, '.'); dot > 0 && len(s)-dot <= 6 && identifies(s[:dot]) {
		return parameter + s[dot:]
	}
	return s
}

// identifies reports whether a segment alone tells that it names one of many things: a number, date, UUID, hash, long
// token, e-mail address, or a secret that was redacted.
func identifies(s string) bool {
	if s == "" {
		return false
	}
	var digits, hex, letters, lower, upper, other int
	for i := range len(s) {
		switch b := s[i]; {
		case b >= '0' && b <= '9':
			digits++
		case b >= 'a' && b <= 'f', b >= 'A' && b <= 'F':
			hex++
		}
		switch b := s[i]; {
		case b >= 'a' && b <= 'z':
			letters, lower = letters+1, lower+1
		case b >= 'A' && b <= 'Z':
			letters, upper = letters+1, upper+1
		case b >= '0' && b <= '9':
		case b == '-' || b == '_':
			other++
		case b == '@', b == '[':
			return b == '@' && i > 0 || strings.HasPrefix(s, "[redacted")
		case b == '%':
			if strings.HasPrefix(s, "%5Bredacted") || i > 0 && strings.HasPrefix(s[i:], "%40") {
				return true
			}
			other++
		case b == '=' || b == '~' || b == ':' || b == '.' || b == ',':
			other += 2
		default:
			return false
		}
	}
	n := len(s)
	switch {
	case letters == 0 && digits > 0: // 42, 2026-11-21, 10.0.0.1
		return true
	case isUUID(s):
		return true
	case digits+hex == n && n >= 8: // a hash, unless it is a word: "facade", "deadbeef"
		return digits > 0 || n >= 16
	case n >= 20 && digits >= 2 && digits+letters+other >= n: // ULID, base64, JWT
		return other <= n/8 || lower > 0 && upper > 0
	}
	return false
}

// isUUID reports whether s is 8-4-4-4-12 hexadecimal digits: RFC 9562 section 4.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch b := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if b != '-' {
				return false
			}
		case b >= '0' && b <= '9', b >= 'a' && b <= 'f', b >= 'A' && b <= 'F':
		default:
			return false
		}
	}
	return true
}
