package http1

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// fields is what framing and tracing need of a message's headers.
type fields struct {
	length    int64 // -1 without Content-Length
	transfer  string
	chunked   bool
	coding    string
	content   string // its type
	host      string
	upgrade   string
	agent     string
	parent    string
	iteration string
	baggage   string
	headers   []traffic.Header
}

// request reads a request's head.
func (p *Parser) request(h protocol.Host, s *half, head []byte, first, last protocol.Mark) {
	if len(p.Open) >= maxOpen { // responses are not captured, it seems: nothing can be said of the oldest
		p.Open[0].Call.State = traffic.StateOpen
		p.emit(h, p.Open[0])
		p.drop(1)
	}
	p.forsake(h, first) // who asks again has had the answer
	x := p.add(h)
	c, web := x.Call, x.Call.HTTP
	text := x.of(h).Text(head)
	method, target, version, words := requestLine(cutEnd(text[:p.ends[0]]))
	var f fields
	f.read(x.of(h), text, p.ends)
	x.Request.Add(first)
	x.Request.Add(last)
	c.Method = method
	if web.RequestHeadersCut = p.cutHead; p.cutHead {
		web.BodyError = "headers are missing"
		if version == "0.9" && head[len(head)-1] != '\n' { // the line ends before it
			version = ""
		}
	}
	if words && !p.cutHead {
		web.BodyError = "the request line has more than three words: the target ends at its first blank"
	}
	c.Path, web.Query = splitTarget(target)
	web.Version, web.Host = version, f.host
	web.RequestHeaders, web.RequestHeadersSize = f.headers, len(head)
	x.RequestCoding = f.coding
	if isAbsolute(target) {
		host, path := splitAbsolute(c.Path)
		c.Path = path
		if web.Host == "" {
			web.Host = host
		}
	}
	x.web(protocol.Client, &f)
	(&Trace{Parent: f.parent, Iteration: f.iteration, Baggage: f.baggage, Agent: f.agent}).Note(c)
	x.Upgrade = method == "CONNECT" || f.upgrade != ""
	if method == "CONNECT" {
		web.Upgrade = "tunnel"
		web.Host = target
		c.Path = target
	} else {
		web.Upgrade = f.upgrade
	}
	switch {
	case f.chunked:
		s.At = atChunkSize
	case f.length > 0:
		s.At, s.Left = atBody, f.length
	default:
		p.messageEnd(h, protocol.Client)
	}
}

// response reads a response's head.
func (p *Parser) response(h protocol.Host, s *half, head []byte, first, last protocol.Mark) {
	if len(p.Open) > 1 { // of several, whose answer this is cannot be told
		p.forsake(h, first)
	}
	x := p.answering()
	text := x.of(h).Text(head)
	version, status, reason := statusLine(cutEnd(text[:p.ends[0]]))
	if status >= 100 && status < 200 && status != 101 {
		if x != nil && status == 100 {
			x.Call.HTTP.Continued = true
		}
		p.Continued = x == nil && status == 100
		return // the final response is still to come
	}
	if x == nil { // its request was not seen
		x = p.add(h)
		x.NoRequest, x.RequestDone = true, true
		x.Call.HTTP.Continued, p.Continued = p.Continued, false
		x.Call.HTTP.Version = version
		x.Call.HTTP.RequestHeaders = []traffic.Header{}
	}
	var f fields
	f.read(x.of(h), text, p.ends)
	c, web := x.Call, x.Call.HTTP
	x.Response.Add(first)
	x.Response.Add(last)
	x.ResponseBegun = true
	c.Status, web.Reason = status, reason
	if len(version) != 3 || version[1] != '.' || !digit(version[0]) || !digit(version[2]) || status < 100 {
		c.Error = traffic.ErrorProtocol // and what clients make of it differs
	}
	if web.ResponseHeadersCut = p.cutHead; p.cutHead {
		web.BodyError = "headers are missing"
	}
	web.ResponseHeaders, web.ResponseHeadersSize = f.headers, len(head)
	x.ResponseCoding = f.coding
	x.Events.Begin(web, f.content, f.coding)
	x.web(protocol.Server, &f)
	switched := status == 101 || c.Method == "CONNECT" && status >= 200 && status < 300
	if status == 101 && f.upgrade != "" {
		web.Upgrade = f.upgrade
	}
	if !switched {
		web.Upgrade = ""
		x.Upgrade = false
		if w := &p.Sides[protocol.Client]; w.At == atWaiting {
			w.At = atHead
			h.Wake()
		}
	}
	switch {
	case switched:
		x.RequestDone = true
		bequeath(h, x)
		p.messageEnd(h, protocol.Server)
		p.abandonAfterSwitch(h)
		s.At = atWaiting
		p.Sides[protocol.Client].At = atWaiting
		h.HandOver()
	case c.Method == "HEAD" || status == 204 || status == 304:
		p.messageEnd(h, protocol.Server)
	case f.chunked:
		s.At = atChunkSize
	case f.transfer != "" || f.length < 0:
		s.At = atUntilClose
	case f.length > 0:
		s.At, s.Left = atBody, f.length
	default:
		p.messageEnd(h, protocol.Server)
	}
}

// abandonAfterSwitch emits what was pipelined behind a request that changed the protocol.
func (p *Parser) abandonAfterSwitch(h protocol.Host) {
	for _, x := range p.Open {
		x.Call.State, x.Call.Error = traffic.StateUnanswered, traffic.ErrorProtocol
		p.emit(h, x)
	}
	p.drop(len(p.Open))
}

// trailer keeps a field that came after a chunked body with the headers.
func (p *Parser) trailer(from protocol.Side, line []byte) {
	x := p.current(from)
	k := bytes.IndexByte(line, ':')
	if x == nil || k <= 0 {
		return
	}
	field := traffic.Header{Name: string(line[:k]), Value: string(bytes.TrimSpace(line[k+1:]))}
	list := &x.Call.HTTP.RequestHeaders
	if from == protocol.Server {
		list = &x.Call.HTTP.ResponseHeaders
	}
	if len(*list) < maxHeaders {
		*list = append(*list, field)
	}
}

// cutEnd is a line without its end. One that was cut has none.
func cutEnd(line string) string {
	n := len(line)
	if n == 0 || line[n-1] != '\n' {
		return line
	}
	if n > 1 && line[n-2] == '\r' {
		n--
	}
	return line[:n-1]
}

// requestLine splits "METHOD target HTTP/1.1" at its blanks. A target with blanks ends at the first (RFC 9112 section 3.2 forbids
// them, and servers take it so, if at all); more says that something stood behind.
func requestLine(line string) (method, target, version string, more bool) {
	k := blankAt(line)
	if k < 0 {
		return line, "", "0.9", false
	}
	method, target, version = line[:k], blanks(line[k+1:]), "0.9"
	if t, usual := strings.CutSuffix(target, " HTTP/1.1"); usual {
		target, version = blanks(t), "1.1"
	} else if k := strings.LastIndexAny(target, " \t"); k >= 0 && strings.HasPrefix(target[k+1:], "HTTP/") {
		target, version = strings.TrimRight(target[:k], " \t"), target[k+6:]
	} else if strings.HasPrefix(target, "HTTP/") {
		target, version = "", target[5:]
	}
	if k := blankAt(target); k >= 0 {
		return method, target[:k], version, true
	}
	return method, target, version, false
}

// blankAt is where the first blank or tab is, or -1.
func blankAt(s string) int {
	k := strings.IndexByte(s, ' ')
	if tab := strings.IndexByte(s[:max(k, 0)], '\t'); tab >= 0 {
		return tab
	} else if k < 0 {
		return strings.IndexByte(s, '\t')
	}
	return k
}

func statusLine(line string) (version string, status int, reason string) {
	k := blankAt(line)
	if k < 5 {
		return "", 0, ""
	}
	version = line[5:k]
	rest := blanks(line[k:])
	n := 0
	for n < len(rest) && n < 3 && digit(rest[n]) {
		status = status*10 + int(rest[n]-'0')
		n++
	}
	return version, status, strings.TrimSpace(rest[n:])
}

// blanks cuts blanks and tabs from both ends.
func blanks(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// splitTarget cuts the query off.
func splitTarget(target string) (path, query string) {
	if k := strings.IndexByte(target, '?'); k >= 0 {
		return target[:k], target[k+1:]
	}
	return target, ""
}

func isAbsolute(target string) bool {
	return len(target) > 7 && target[0] != '/' && (strings.HasPrefix(target, "http://") || strings.HasPrefix(target, "https://"))
}

// splitAbsolute splits "http://host/path", as it is sent to proxies.
func splitAbsolute(target string) (host, path string) {
	rest := target[strings.Index(target, "://")+3:]
	if k := strings.IndexByte(rest, '/'); k >= 0 {
		return rest[:k], rest[k:]
	}
	return rest, "/"
}

// read parses the header lines of a head, whose lines end there. All strings are cut from one.
func (f *fields) read(m *protocol.Memory, head string, ends []int) {
	f.length = -1
	f.headers = m.Room()
	for i, end := range ends[1:] {
		line := cutEnd(head[ends[i]:end])
		if line == "" {
			continue
		}
		if (line[0] == ' ' || line[0] == '\t') && len(f.headers) > 0 { // obs-fold (RFC 9112 section 5.2)
			last := &f.headers[len(f.headers)-1]
			last.Value = strings.TrimSpace(last.Value + " " + strings.TrimSpace(line))
			f.known(last.Name, last.Value)
			continue
		}
		k := strings.IndexByte(line, ':')
		if k <= 0 || len(f.headers) >= maxHeaders {
			continue
		}
		name, value := line[:k], trim(line[k+1:])
		if name[k-1] == ' ' || name[k-1] == '\t' {
			name = strings.TrimRight(name, " \t")
		}
		f.headers = append(f.headers, traffic.Header{Name: name, Value: value})
		f.known(name, value)
	}
	f.headers = m.Keep(f.headers)
}

// trim cuts blanks from both ends; the usual value has one in front.
func trim(s string) string {
	if len(s) > 0 && s[0] == ' ' {
		s = s[1:]
	}
	if len(s) > 0 && s[0] > ' ' && s[len(s)-1] > ' ' {
		return s
	}
	return strings.Trim(s, " \t\r")
}

// known picks out the fields that mean something here. Lengths are compared before names.
func (f *fields) known(name, value string) {
	switch len(name) {
	case 4:
		if f.host == "" && is(name, "Host") {
			f.host = value
		}
	case 7:
		switch {
		case is(name, "Upgrade"):
			f.upgrade = value
		case is(name, "Baggage"):
			f.baggage = value
		}
	case 10:
		if is(name, "User-Agent") {
			f.agent = value
		}
	case 11:
		if is(name, "Traceparent") {
			f.parent = value
		}
	case 12:
		if is(name, "Content-Type") {
			f.content = value
		}
	case 14:
		if f.length < 0 && is(name, "Content-Length") {
			f.length = parseLength(value)
		}
	case 16:
		if is(name, "Content-Encoding") {
			f.coding = value
		}
	case 17:
		switch {
		case is(name, "Transfer-Encoding"):
			f.transfer = value
			f.chunked = finalCoding(value, "chunked")
			if k := strings.LastIndexByte(value, ','); f.chunked && k >= 0 && f.coding == "" {
				f.coding = strings.TrimSpace(value[:k])
			}
			if strings.EqualFold(strings.TrimSpace(value), "identity") {
				f.transfer = ""
			}
		case is(name, "Devloop-Iteration"):
			f.iteration = value
		}
	}
}

// is compares names of fields, the usual spelling first.
func is(name, usual string) bool { return name == usual || strings.EqualFold(name, usual) }

// parseLength reads the first of a list of equal lengths; -1 when it is no number.
func parseLength(s string) int64 {
	if k := strings.IndexByte(s, ','); k >= 0 {
		s = strings.TrimSpace(s[:k])
	}
	if len(s) > 0 && len(s) < 16 && digit(s[0]) { // the usual number, without the detour
		n := int64(0)
		for i := 0; i < len(s) && digit(s[i]); i++ {
			if n = n*10 + int64(s[i]-'0'); i == len(s)-1 {
				return n
			}
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// parseTraceparent reads 00-<32 hex>-<16 hex>-<flags> (W3C Trace Context section 3.2).
func parseTraceparent(s string) (trace, span string) {
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return "", ""
	}
	if trace, span = s[3:35], s[36:52]; !isHex(trace) || !isHex(span) {
		return "", ""
	}
	return trace, span
}

// isHex reports whether there are only hexadecimal digits, in lower case.
func isHex(s string) bool {
	for i := range len(s) {
		if hexByte[s[i]] == 0 {
			return false
		}
	}
	return true
}

var hexByte = [256]byte{'0': 1, '1': 1, '2': 1, '3': 1, '4': 1, '5': 1, '6': 1, '7': 1, '8': 1, '9': 1, 'a': 1, 'b': 1, 'c': 1, 'd': 1, 'e': 1, 'f': 1}

// fromBaggage finds devloop.iteration=….
func fromBaggage(s string) string {
	for s != "" {
		var item string
		item, s, _ = strings.Cut(s, ",")
		item, _, _ = strings.Cut(item, ";")
		if name, value, ok := strings.Cut(item, "="); ok && strings.TrimSpace(name) == "devloop.iteration" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
