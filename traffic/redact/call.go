package redact

import (
	"bytes"
	"strings"
	"unsafe"

	"github.com/devloop-io/devloop/traffic"
)

// Call replaces the secrets of a call in place and notes each in its Credentials. Doing it again changes nothing. A body that comes again and
// again without a secret is kept once, here, and the call gets that one: bodies must not be written to.
func (r *Redactor) Call(c *traffic.Call) {
	if c.Protocol != traffic.ProtoDNS && c.Protocol != traffic.ProtoTLS && c.PostgreSQL == nil { // names are not secret
		c.Path = r.field(c, c.Path, 0, "request.path")
	}
	r.grpcCall(c)
	r.graphqlCall(c)
	r.redisCall(c)
	r.postgresqlCall(c)
	if w := c.WebSocket; w != nil {
		w.Payload = r.body(c, w.Payload, nil, side(w)+"message")
	}
	h := c.HTTP
	if h == nil {
		return
	}
	h.Query = r.query(c, h.Query)
	h.Reason = r.field(c, h.Reason, 0, "response.reason")
	r.headerList(c, h.RequestHeaders, "request.")
	r.headerList(c, h.ResponseHeaders, "response.")
	h.RequestBody = r.body(c, h.RequestBody, h.RequestHeaders, "request.body")
	h.ResponseBody = r.body(c, h.ResponseBody, h.ResponseHeaders, "response.body")
}

// Keeps reports whether these very bytes are the ones that stand for a text which comes again and again. They never change.
func (r *Redactor) Keeps(b []byte) bool { return r.memo.keeps(b) }

// side is the part of a call that a WebSocket message is.
func side(w *traffic.WebSocket) string {
	if w.FromServer {
		return "response."
	}
	return "request."
}

func (r *Redactor) query(c *traffic.Call, q string) string {
	if q == "" {
		return q
	}
	b := view(q)
	known, slot := r.memo.known(b, asForm)
	if known != nil {
		return q
	}
	spans := r.form(nil, b)
	if len(spans) == 0 {
		r.memo.note(slot, b, asForm)
	}
	return r.apply(c, q, b, spans, "request.query")
}

func (r *Redactor) headerList(c *traffic.Call, headers []traffic.Header, side string) {
	for i := range headers {
		h := &headers[i]
		if len(h.Value) < 2 {
			continue
		}
		known := r.header(h.Name)
		name, kind := known.lower, known.kind
		if kind == "" {
			h.Value = r.plainHeader(c, known, h.Value, side)
			continue
		}
		b := view(h.Value)
		spans := r.headerValue(nil, b, 0, len(b), kind, nil)
		place := side + "header:" + name
		if kind == "cookie" || kind == "set_cookie" {
			place = side + "cookie"
			for j := range spans { // the name of each cookie stands right before its value
				spans[j].name = cookieName(b, spans[j].from)
			}
		}
		h.Value = r.apply(c, h.Value, b, spans, place)
	}
}

// plainHeader redacts the value of a header that is not secret by its name.
func (r *Redactor) plainHeader(c *traffic.Call, h *headerName, v, side string) string {
	if len(v) < shortest || len(v) > shortValue {
		return r.field(c, v, h.flags, side, "header:", h.lower)
	}
	if h.flags == noDigits|noKeys && hexadecimal(v) {
		return v
	}
	known, slot := h.plain(v)
	if known != nil {
		return *known // comparing it with itself later costs nothing
	}
	b := view(v)
	spans := r.find(nil, b, h.flags)
	if len(spans) == 0 {
		h.note(slot, v)
		return v
	}
	return r.apply(c, v, b, spans, side+"header:"+h.lower)
}

// view is the bytes of s, which must not be written to: most calls carry no secret, and copying them all costs more
// than looking.
func view(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

func idFlag(name string) int {
	if idHeaders[name] {
		return noDigits | noKeys
	}
	return 0
}

func cookieName(b []byte, at int) []byte {
	eq := bytes.LastIndexByte(b[:at], '=')
	if eq < 0 {
		return nil
	}
	return bytes.TrimSpace(b[bytes.LastIndexByte(b[:eq], ';')+1 : eq])
}

// shortest is how long a text with a secret is at least.
const shortest = 9

// field redacts one short text; place says in parts where it stood.
func (r *Redactor) field(c *traffic.Call, s string, flags int, place ...string) string {
	if len(s) < shortest {
		return s
	}
	b := view(s)
	if len(s) <= shortValue { // looking costs no more than remembering
		spans := r.find(nil, b, flags)
		if len(spans) == 0 {
			return s
		}
		return r.apply(c, s, b, spans, strings.Join(place, ""))
	}
	known, slot := r.memo.known(b, flags)
	if known != nil {
		return s
	}
	spans := r.find(nil, b, flags)
	if len(spans) == 0 {
		r.memo.note(slot, b, flags)
		return s
	}
	return r.apply(c, s, b, spans, strings.Join(place, ""))
}

func (r *Redactor) body(c *traffic.Call, b []byte, headers []traffic.Header, place string) []byte {
	if len(b) < 5 {
		return b
	}
	how := 0
	if isForm(contentType(headers), b) {
		how = asForm
	}
	known, slot := r.memo.known(b, how)
	if known != nil {
		return view(known.text)
	}
	var spans []span
	if how == asForm {
		spans = r.form(nil, b)
	} else {
		spans = r.find(nil, b, 0)
	}
	if len(spans) == 0 {
		r.memo.note(slot, b, how)
		return b
	}
	return r.replace(b, spans, noting(c, place))
}

func (r *Redactor) apply(c *traffic.Call, s string, b []byte, spans []span, place string) string {
	if len(spans) == 0 {
		return s
	}
	return string(r.replace(b, spans, noting(c, place)))
}

// maxCredentials bounds what one call is said to carry; what is redacted is not bounded.
const maxCredentials = 256

// noting adds each secret that replace finds to the call's credentials, once per place. Very short cookies are left
// out: "1" or "en" would tie together calls that share nothing.
func noting(c *traffic.Call, place string) func(*span, string) {
	return func(s *span, hash string) {
		if s.kind == "cookie" && s.to-s.from < 8 {
			return
		}
		p := place
		if len(s.name) > 0 {
			p += ":" + lower(string(s.name))
		}
		if len(c.Credentials) >= maxCredentials {
			return
		}
		found := traffic.Credential{Kind: s.kind, Place: p, Hash: hash}
		for _, have := range c.Credentials {
			if have == found {
				return
			}
		}
		c.Credentials = append(c.Credentials, found)
	}
}

// contentType is the value of the header as it was sent.
func contentType(headers []traffic.Header) string {
	for i := range headers {
		if name := headers[i].Name; len(name) == len("content-type") && strings.EqualFold(name, "content-type") {
			return headers[i].Value
		}
	}
	return ""
}

// isForm reports whether a body is a percent-encoded form: by its type, or without one by its looks.
func isForm(contentType string, b []byte) bool {
	const form = "application/x-www-form-urlencoded"
	if contentType != "" {
		return len(contentType) >= len(form) && strings.EqualFold(contentType[:len(form)], form)
	}
	head := b[:min(len(b), 256)]
	eq := bytes.IndexByte(head, '=')
	if eq <= 0 || bytes.ContainsAny(head, "\n{<\" ") {
		return false
	}
	for _, c := range head[:eq] {
		if !isName(c) && c != '%' && c != '[' && c != ']' {
			return false
		}
	}
	return true
}
