package redact

import (
	"bytes"
	"net/url"
	"strconv"
)

// encoding says how a value is written where it stands.
type encoding uint8

const (
	encPlain encoding = iota
	encJSON           // with backslash escapes
	encURL            // with percent escapes
)

// span is one secret in a text.
type span struct {
	from, to int
	kind     string
	name     []byte // the key or header it stood under; nil when it was recognised by its looks
	enc      encoding
	quote    bool // a bare JSON number: the marker needs quotes to leave JSON behind
}

// bare is the value as its owner would type it: what is hashed and measured.
func (s *span) bare(b []byte) []byte {
	v := b[s.from:s.to]
	switch s.enc {
	case encJSON:
		if bytes.IndexByte(v, '\\') >= 0 {
			if u, err := strconv.Unquote(`"` + string(bytes.ReplaceAll(v, []byte(`\/`), []byte("/"))) + `"`); err == nil {
				return []byte(u)
			}
		}
	case encURL:
		if bytes.IndexByte(v, '%') >= 0 || bytes.IndexByte(v, '+') >= 0 {
			if u, err := url.QueryUnescape(string(v)); err == nil {
				return []byte(u)
			}
		}
	}
	return v
}

// flags of find.
const (
	noDigits = 1 << iota // identifiers: look for no card or id numbers
	noKeys               // only what is recognised by its looks
	asForm               // of [memo] alone: it was read by form
)

const (
	cWord  = 1 + iota // letters, digits, underscore
	cOther            // punctuation that begins something
)

var class = func() (t [256]uint8) {
	for c := '0'; c <= '9'; c++ {
		t[c] = cWord
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-32] = cWord, cWord
	}
	t['_'] = cWord
	for _, c := range ":=>[-%\\*" {
		t[c] = cOther
	}
	return t
}()

// find appends the secrets of b to spans, in order and without overlap. It reads b once: at each word's start it asks
// whether a known token begins there, at each separator whether a telling name stands before it.
func (r *Redactor) find(spans []span, b []byte, flags int) []span {
	for i := 0; i < len(b); {
		switch class[b[i]] {
		case 0:
			i++
		case cWord:
			if s, ok := token(b, i, flags); ok {
				spans = append(spans, s)
				i = s.to
				continue
			}
			for i < len(b) && class[b[i]] == cWord {
				i++
			}
		default:
			spans, i = r.punctuation(spans, b, i, flags)
		}
	}
	return spans
}

// punctuation handles the byte at i, which is not part of a word, and returns where to go on.
func (r *Redactor) punctuation(spans []span, b []byte, i, flags int) ([]span, int) {
	switch b[i] {
	case '[':
		if n := marker(b[i:]); n > 0 {
			return spans, i + n
		}
	case '%': // a percent escape ends a word: what follows begins one
		if i+2 < len(b) && isHex(b[i+1]) && isHex(b[i+2]) {
			return spans, i + 3
		}
	case '\\':
		if i+5 < len(b) && b[i+1] == 'u' {
			return spans, i + 6
		}
		return spans, min(i+2, len(b))
	case '-':
		if bytes.HasPrefix(b[i:], []byte("-----BEGIN ")) {
			if end := privateKey(b, i); end > 0 {
				return append(spans, span{from: i, to: end, kind: "private_key", enc: escapes(b[i:end])}), end
			}
		}
	case '*':
		if from, to, next := redisAuth(b, i); next > 0 {
			return append(spans, span{from: from, to: to, kind: "password"}), next
		}
		if from, to, next := redisHello(b, i); next > 0 {
			return append(spans, span{from: from, to: to, kind: "password"}), next
		}
	case ':':
		if bytes.HasPrefix(b[i:], []byte("://")) {
			if from, to := userinfo(b, i+3); to > from {
				return append(spans, span{from: from, to: to, kind: "password", enc: encURL}), to
			}
			return spans, i + 3
		}
		if flags&noKeys == 0 {
			return r.keyValue(spans, b, i)
		}
	case '=':
		if flags&noKeys == 0 {
			return r.keyValue(spans, b, i)
		}
	case '>':
		if flags&noKeys == 0 {
			return r.element(spans, b, i)
		}
	}
	return spans, i + 1
}

// keyValue looks at `name: value` and `name=value` in their many spellings; sep is at b[i].
func (r *Redactor) keyValue(spans []span, b []byte, i int) ([]span, int) {
	name, from, quoted := nameBefore(b, i)
	if name == nil {
		return spans, i + 1
	}
	if b[i] == '=' && string(name) == "name" {
		return r.multipart(spans, b, i)
	}
	kind := r.keyKind(name)
	if kind == "" {
		return spans, i + 1
	}
	at := i + 1
	for at < len(b) && (b[at] == ' ' || b[at] == '\t' || quoted && (b[at] == '\n' || b[at] == '\r')) {
		at++
	}
	if at == len(b) || b[i] == '=' && b[at] == '=' {
		return spans, i + 1
	}
	spaced := at > i+1 || from > 0 && i > 0 && b[i-1] == ' '
	lineStart := !quoted && startsLine(b, from)
	switch c := b[at]; {
	case c == '"' || c == '\'' || c == '\\' && at+1 < len(b) && b[at+1] == '"':
		return r.quotedValue(spans, b, at, kind, name)
	case quoted && c == '[':
		return r.list(spans, b, at, kind, name)
	case quoted && c == '{':
		return spans, at + 1
	case quoted: // JSON number, or a literal
		to := at
		for to < len(b) && (class[b[to]] == cWord || b[to] == '.' || b[to] == '-' || b[to] == '+') {
			to++
		}
		if !secretNumber(name, b[at:to]) {
			return spans, max(at, i+1)
		}
		return append(spans, span{from: at, to: to, kind: valueKind(kind), name: name, quote: b[i] == ':'}), to
	case b[i] == ':' && lineStart: // a header line, or YAML
		to := at
		for to < len(b) && b[to] != '\r' && b[to] != '\n' {
			to++
		}
		return r.headerValue(spans, b, at, to, kind, name), to
	case b[i] == '=' && !spaced:
		for n := marker(b[at:]); n > 0; n = marker(b[at:]) {
			at += n
		}
		to := at
		for to < len(b) && !endsBare(b[to]) {
			to++
		}
		if to == at || literal(b[at:to]) {
			return spans, at
		}
		return append(spans, span{from: at, to: to, kind: valueKind(kind), name: name, enc: encURL}), to
	}
	return spans, i + 1
}

// secretNumber reports whether a JSON number under a telling name is a secret and no count.
func secretNumber(name, v []byte) bool {
	if len(v) < 3 || !isDigit(v[0]) {
		return false
	}
	switch lower(string(name)) {
	case "tokens", "secrets", "credentials", "pass", "auth":
		return false
	}
	return true
}

// quotedValue is the string that begins with the quote at b[at]; the quote may itself be escaped (JSON within JSON).
func (r *Redactor) quotedValue(spans []span, b []byte, at int, kind string, name []byte) ([]span, int) {
	from, to, next := quotedText(b, at)
	v := b[from:to]
	if len(v) == 0 || marker(v) == len(v) {
		return spans, next
	}
	switch kind {
	case "auth", "cookie", "set_cookie":
		before := len(spans)
		spans = r.headerValue(spans, b, from, to, kind, name)
		for i := before; i < len(spans); i++ {
			spans[i].enc = encJSON
		}
		return spans, next
	}
	return append(spans, span{from: from, to: to, kind: refine(v, kind), name: name, enc: encJSON}), next
}

// quotedText bounds the text of a quoted string, and says where to go on behind it.
func quotedText(b []byte, at int) (from, to, next int) {
	if b[at] == '\\' { // \"text\": ends at the next escaped quote
		from = at + 2
		end := bytes.Index(b[from:], []byte(`\"`))
		if end < 0 {
			if end = bytes.IndexByte(b[from:], '"'); end < 0 {
				return from, len(b), len(b)
			}
			return from, from + end, from + end + 1
		}
		for end > 0 && b[from+end-1] == '\\' && bytes.HasPrefix(b[from+end+1:], []byte(`"`)) {
			more := bytes.Index(b[from+end+2:], []byte(`\"`))
			if more < 0 {
				break
			}
			end += 2 + more
		}
		return from, from + end, from + end + 2
	}
	q := b[at]
	from = at + 1
	for to = from; to < len(b) && b[to] != q; to++ {
		if b[to] == '\\' {
			to++
		}
	}
	to = min(to, len(b)) // an unfinished string: the body was cut, and the rest belongs to it
	return from, to, min(to+1, len(b))
}

// list redacts the strings of `"tokens": ["a", "b"]`.
func (r *Redactor) list(spans []span, b []byte, at int, kind string, name []byte) ([]span, int) {
	for at++; at < len(b); {
		switch c := b[at]; {
		case c == '"':
			spans, at = r.quotedValue(spans, b, at, kind, name)
		case c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t':
			at++
		default:
			return spans, at
		}
	}
	return spans, at
}

// element is `<password>value</password>`; b[i] is the '>' of the opening tag.
func (r *Redactor) element(spans []span, b []byte, i int) ([]span, int) {
	open := bytes.LastIndexByte(b[max(0, i-2*maxKey):i], '<')
	if open < 0 {
		return spans, i + 1
	}
	tag := b[max(0, i-2*maxKey)+open+1 : i]
	if n := bytes.IndexAny(tag, " \t\r\n/"); n >= 0 {
		tag = tag[:n]
	}
	if n := bytes.IndexByte(tag, ':'); n >= 0 {
		tag = tag[n+1:]
	}
	kind := r.keyKind(tag)
	if kind == "" {
		return spans, i + 1
	}
	from, to := i+1, i+1
	for to < len(b) && b[to] != '<' {
		to++
	}
	v := bytes.TrimSpace(b[from:to])
	if len(v) == 0 || marker(v) == len(v) {
		return spans, to
	}
	from += bytes.Index(b[from:to], v)
	return append(spans, span{from: from, to: from + len(v), kind: refine(v, valueKind(kind)), name: tag}), to
}

// multipart is `name="password"` CRLF … CRLF CRLF value CRLF --boundary, as forms with files are sent.
func (r *Redactor) multipart(spans []span, b []byte, i int) ([]span, int) {
	if i+1 >= len(b) || b[i+1] != '"' {
		return spans, i + 1
	}
	from, to, next := quotedText(b, i+1)
	kind := r.keyKind(b[from:to])
	if kind == "" {
		return spans, next
	}
	head := bytes.Index(b[next:min(len(b), next+512)], []byte("\r\n\r\n"))
	if head < 0 || bytes.Contains(b[next:next+head], []byte("\r\n--")) {
		return spans, next
	}
	at := next + head + 4
	end := bytes.Index(b[at:], []byte("\r\n--"))
	if end < 0 {
		end = len(b) - at
	}
	v := b[at : at+end]
	if len(v) == 0 || marker(v) == len(v) {
		return spans, at
	}
	return append(spans, span{from: at, to: at + end, kind: refine(v, valueKind(kind)), name: b[from:to]}), at + end
}

// form finds the secrets of `a=1&b=2`: names and values are percent-encoded.
func (r *Redactor) form(spans []span, b []byte) []span {
	oauth := bytes.Contains(b, []byte("grant_type=")) || bytes.Contains(b, []byte("state="))
	for at := 0; at < len(b); {
		end := at
		for end < len(b) && b[end] != '&' && b[end] != ';' {
			end++
		}
		spans = r.pair(spans, b, at, end, oauth)
		at = end + 1
	}
	return spans
}

// pair is one name=value of a form or query.
func (r *Redactor) pair(spans []span, b []byte, from, to int, oauth bool) []span {
	eq := bytes.IndexByte(b[from:to], '=')
	if eq < 0 {
		return r.within(spans, b, from, to, noKeys)
	}
	name, at := b[from:from+eq], from+eq+1
	if bytes.IndexByte(name, '%') >= 0 {
		if u, err := url.QueryUnescape(string(name)); err == nil {
			name = []byte(u)
		}
	}
	if n := len(name); n > 0 && name[n-1] == ']' { // user[password]
		if o := bytes.LastIndexByte(name, '['); o >= 0 && o < n-2 {
			name = name[o+1 : n-1]
		}
	}
	v := b[at:to]
	kind := r.keyKind(name)
	if kind == "" && len(v) >= 16 && (oauth && string(name) == "code" || string(name) == "sig" || string(name) == "signature") {
		kind = "secret"
	}
	switch {
	case len(v) == 0 || marker(v) == len(v):
		return spans
	case kind != "" && !literal(v):
		s := span{from: at, to: to, kind: valueKind(kind), name: name, enc: encURL}
		s.kind = refine(s.bare(b), s.kind)
		return append(spans, s)
	}
	before := len(spans)
	spans = r.within(spans, b, at, to, 0)
	if len(spans) == before && bytes.IndexByte(v, '%') >= 0 {
		// What the escapes hide cannot be pointed at in the encoded text, so the whole value goes.
		if u, err := url.QueryUnescape(string(v)); err == nil {
			if hidden := r.find(nil, []byte(u), 0); len(hidden) > 0 {
				return append(spans, span{from: at, to: to, kind: hidden[0].kind, name: name, enc: encURL})
			}
		}
	}
	for i := before; i < len(spans); i++ {
		if spans[i].name == nil {
			spans[i].name = name
		}
	}
	return spans
}

// within is find over b[from:to], with positions in b.
func (r *Redactor) within(spans []span, b []byte, from, to, flags int) []span {
	before := len(spans)
	spans = r.find(spans, b[from:to], flags)
	for i := before; i < len(spans); i++ {
		spans[i].from += from
		spans[i].to += from
	}
	return spans
}

// headerValue finds what is secret in the value b[from:to] of a header of the given kind.
func (r *Redactor) headerValue(spans []span, b []byte, from, to int, kind string, name []byte) []span {
	from, to = trim(b, from, to)
	switch kind {
	case "auth":
		return authorization(spans, b, from, to, name)
	case "cookie":
		for at := from; at < to; {
			end := at
			for end < to && b[end] != ';' {
				end++
			}
			spans = cookie(spans, b, at, end)
			at = end + 1
		}
		return spans
	case "set_cookie":
		end := from
		for end < to && b[end] != ';' {
			end++
		}
		return cookie(spans, b, from, end)
	}
	if v := b[from:to]; len(v) > 0 && marker(v) != len(v) && !literal(v) {
		spans = append(spans, span{from: from, to: to, kind: refine(v, kind), name: name})
	}
	return spans
}

// authorization keeps the scheme and hides what follows it (RFC 9110, section 11.4).
func authorization(spans []span, b []byte, from, to int, name []byte) []span {
	kind := "auth"
	at := from
	for at < to && at-from <= 24 && (class[b[at]] == cWord || b[at] == '-') {
		at++
	}
	if at < to && b[at] == ' ' && at > from {
		switch scheme := lower(string(b[from:at])); scheme {
		case "bearer", "basic", "digest":
			kind = scheme
		case "token", "apikey", "api-key":
			kind = "token"
		}
		from, to = trim(b, at, to)
	}
	if v := b[from:to]; len(v) == 0 || marker(v) == len(v) {
		return spans
	}
	return append(spans, span{from: from, to: to, kind: kind, name: name})
}

// cookie is one name=value of a Cookie or Set-Cookie header.
func cookie(spans []span, b []byte, from, to int) []span {
	from, to = trim(b, from, to)
	eq := bytes.IndexByte(b[from:to], '=')
	if eq < 0 {
		return spans
	}
	name := b[from : from+eq]
	from, to = trim(b, from+eq+1, to)
	if to-from >= 2 && b[from] == '"' && b[to-1] == '"' {
		from, to = from+1, to-1
	}
	if v := b[from:to]; len(v) == 0 || marker(v) == len(v) {
		return spans
	}
	return append(spans, span{from: from, to: to, kind: "cookie", name: name})
}

// nameBefore is the name that ends before the separator at b[i], where it begins, and whether it stands in quotes.
func nameBefore(b []byte, i int) (name []byte, from int, quoted bool) {
	end := i
	for end > 0 && i-end < 4 && (b[end-1] == ' ' || b[end-1] == '\t') {
		end--
	}
	if end == 0 {
		return nil, 0, false
	}
	var q byte
	if c := b[end-1]; c == '"' || c == '\'' {
		q, quoted = c, true
		end--
		if end > 0 && b[end-1] == '\\' {
			end--
		}
	} else if c == ']' {
		end--
	}
	from = end
	for from > 0 && end-from <= maxKey && isName(b[from-1]) {
		from--
	}
	if from == end || quoted && (from == 0 || b[from-1] != q) {
		return nil, 0, false
	}
	name = b[from:end]
	if !quoted { // --password=x, a.b.password=x: dots and dashes are part of names, leading ones are not
		name = bytes.TrimLeft(name, "-.")
	}
	return name, from, quoted
}

// startsLine reports whether only white space or a list dash stands before b[at] on its line.
func startsLine(b []byte, at int) bool {
	for at > 0 {
		switch b[at-1] {
		case '\n':
			return true
		case ' ', '\t', '-':
			at--
		default:
			return false
		}
	}
	return true
}

// marker is the length of the redaction marker that s begins with, 0 without one.
func marker(s []byte) int {
	const head = "[redacted "
	if len(s) < len(head)+5 || s[0] != '[' || string(s[:len(head)]) != head {
		return 0
	}
	i := len(head)
	kind := i
	for i < len(s) && (s[i] >= 'a' && s[i] <= 'z' || s[i] == '_') {
		i++
	}
	if i == kind || i == len(s) || s[i] != ' ' {
		return 0
	}
	i++
	digits := i
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	if i == digits || i+10 > len(s) || s[i] != ' ' || s[i+9] != ']' {
		return 0
	}
	for _, c := range s[i+1 : i+9] {
		if !isDigit(c) && (c < 'a' || c > 'f') {
			return 0
		}
	}
	return i + 10
}

// valueKind is the kind of a plain value under a name whose headers have a grammar of their own.
func valueKind(kind string) string {
	if kind == "set_cookie" {
		return "cookie"
	}
	return kind
}

// refine prefers what a value looks like over what its name says.
func refine(v []byte, kind string) string {
	if s, ok := token(v, 0, 0); ok && s.from == 0 && s.to == len(v) {
		return s.kind
	}
	return valueKind(kind)
}

// literal reports values that are no values.
func literal(v []byte) bool {
	switch string(v) {
	case "true", "false", "null", "undefined", "nil", "none", "None", "True", "False":
		return true
	}
	return false
}

func escapes(v []byte) encoding {
	if bytes.IndexByte(v, '\\') >= 0 {
		return encJSON
	}
	return encPlain
}

func trim(b []byte, from, to int) (int, int) {
	for from < to && (b[from] == ' ' || b[from] == '\t') {
		from++
	}
	for to > from && (b[to-1] == ' ' || b[to-1] == '\t') {
		to--
	}
	return from, to
}

func isName(c byte) bool { return class[c] == cWord || c == '-' || c == '.' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

// endsBare reports the bytes that end an unquoted value.
func endsBare(c byte) bool {
	switch c {
	case '&', ';', ',', ' ', '\t', '\r', '\n', '"', '\'', '<', '>', ')', '}', ']', '\\', 0:
		return true
	}
	return false
}
