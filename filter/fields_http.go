package filter

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

func httpSection() section {
	return section{name: "HTTP", rows: Calls, fields: []Field{
		text(Field{Name: "method", Request: true, echoed: true, JSON: "method", Aliases: []string{"request.method", "http.request.method"}, Column: "method",
			Doc: "HTTP method; DNS question type; Redis command; opcode of a WebSocket message; ClientHello of a TLS handshake", Example: `http && method == "POST"`},
			ofCall(func(c *traffic.Call) string { return c.Method })),
		text(Field{Name: "path", Request: true, echoed: true, JSON: "path", Aliases: []string{"request.path", "url.path", "http.request.uri.path"}, Column: "path",
			Doc: "path without the query; the name of a DNS query; the key of a Redis command; the server name of a TLS handshake", Example: `http && path.startsWith("/api/")`},
			ofCall(func(c *traffic.Call) string { return c.Path })),
		number(Field{Name: "status_code", JSON: "status", Aliases: []string{"response.status", "status", "http.response.status_code",
			"http.response.code", "response.status_code"}, Column: "status", Response: true,
			Doc: "HTTP status; DNS rcode; TLS alert; 0 without a response", Example: `http && status_code >= 500`},
			ofAnswer(func(c *traffic.Call) int64 { return int64(c.Status) })),
		text(Field{Name: "status_class", Aliases: []string{"http.status_class"}, Response: true, Doc: "class of an HTTP status: 2xx, 5xx",
			Example: `status_class == "5xx"`, applies: isHTTP}, statusClass),
		text(Field{Name: "url", head: requestHead, Request: true, Aliases: []string{"request.url", "url.full", "http.request.full_uri"}, Doc: "http://host/path?query of an HTTP request",
			Example: `http && url.matches(".*/api/v[0-9]+/.*")`, applies: isHTTP}, fullURL),
		text(Field{Name: "host", head: requestHead, Request: true, JSON: "http.host", Aliases: []string{"request.host", "http.host", "url.domain"}, Column: "host",
			Doc: "Host that an HTTP request asked for", Example: `host == "api.stripe.com"`, applies: isHTTP},
			ofHTTP(func(h *traffic.HTTP) string { return h.Host })),
		text(Field{Name: "http_version", JSON: "http.version", Aliases: []string{"http.version", "network.protocol.version"}, Column: "http_version",
			Doc: "1.0, 1.1 or 2", Example: `http_version == "1.0"`, applies: isHTTP}, ofHTTP(func(h *traffic.HTTP) string { return h.Version })),
		text(Field{Name: "reason", JSON: "http.reason", Column: "reason", Response: true, Doc: "reason phrase of the status line", Example: `reason == "Too Busy"`,
			applies: isHTTP}, ofHTTPAnswer(func(h *traffic.HTTP) string { return h.Reason })),
		mapping(Field{Name: "query_string", Request: true, Aliases: []string{"request.query", "request.queryString", "url.query"},
			Doc: "query parameters, decoded", Example: `query_string["page"] == "2"`, applies: isHTTP}, ofHTTP(query)),
		mapping(Field{Name: "request.headers", head: requestHead, Request: true, JSON: "http.req_headers", Aliases: []string{"http.request.header", "request.header"},
			Column: "req_headers", Doc: "request headers; names are case-insensitive", Example: `request.headers["authorization"] == ""`, applies: isHTTP},
			ofHTTP(func(h *traffic.HTTP) *stringsMap { return headers(h.RequestHeaders) })),
		mapping(Field{Name: "response.headers", head: responseHead, JSON: "http.resp_headers", Aliases: []string{"http.response.header", "response.header"},
			Column: "resp_headers", Response: true, Doc: "response headers; names are case-insensitive",
			Example: `response.headers["cache-control"].contains("max-age")`, applies: isHTTP},
			ofHTTPAnswer(func(h *traffic.HTTP) *stringsMap { return headers(h.ResponseHeaders) })),
		mapping(Field{Name: "request.cookies", head: requestHead, Request: true, Aliases: []string{"http.request.cookies"}, Doc: "cookies that the request sent; the values are redacted",
			Example: `"session" in request.cookies`, applies: isHTTP}, ofHTTP(requestCookies)),
		mapping(Field{Name: "response.cookies", head: responseHead, Aliases: []string{"http.response.cookies"}, Response: true,
			Doc: "cookies that the response set; the values are redacted", Example: `"session" in response.cookies`, applies: isHTTP}, ofHTTPAnswer(responseCookies)),
		text(Field{Name: "request.body", head: requestHead, Request: true, JSON: "http.req_body", Aliases: []string{"http.request.body"}, Column: "req_body",
			Doc: "request body, decoded, as far as it was kept; gRPC messages as JSON, one a line", Example: `request.body.contains("\"cart\"")`, applies: isHTTP},
			requestBody),
		text(Field{Name: "response.body", head: responseHead, JSON: "http.resp_body", Aliases: []string{"http.response.body", "http.file_data"}, Column: "resp_body",
			Response: true, Doc: "response body, decoded, as far as it was kept; gRPC messages as JSON, one a line", Example: `response.body.contains("error")`, applies: isHTTP},
			responseBody),
		flag(Field{Name: "request_body_cut", head: requestHead, Request: true, JSON: "http.req_body_cut", Column: "req_body_cut", Doc: "the request body was longer than what was kept", Example: `request_body_cut`,
			applies: isHTTP}, ofHTTP(func(h *traffic.HTTP) bool { return h.RequestBodyCut })),
		flag(Field{Name: "response_body_cut", head: responseHead, JSON: "http.resp_body_cut", Column: "resp_body_cut", Response: true, Doc: "the response body was longer than what was kept",
			Example: `response_body_cut`, applies: isHTTP}, ofHTTPAnswer(func(h *traffic.HTTP) bool { return h.ResponseBodyCut })),
		flag(Field{Name: "request_headers_cut", Request: true, JSON: "http.req_headers_cut", Column: "req_headers_cut", Doc: "the capture lacks the later request headers",
			Example: `request_headers_cut`, applies: isHTTP}, ofHTTP(func(h *traffic.HTTP) bool { return h.RequestHeadersCut })),
		flag(Field{Name: "response_headers_cut", JSON: "http.resp_headers_cut", Column: "resp_headers_cut", Response: true, Doc: "the capture lacks the later response headers",
			Example: `response_headers_cut`, applies: isHTTP}, ofHTTPAnswer(func(h *traffic.HTTP) bool { return h.ResponseHeadersCut })),
		number(Field{Name: "request_headers_size", head: requestHead, Request: true, JSON: "http.req_headers_size", Column: "req_headers_size", Unit: "bytes", Doc: "request line and headers",
			Example: `request_headers_size > 8000`, applies: isHTTP}, ofHTTP(func(h *traffic.HTTP) int64 { return int64(h.RequestHeadersSize) })),
		number(Field{Name: "response_headers_size", head: responseHead, JSON: "http.resp_headers_size", Column: "resp_headers_size", Unit: "bytes", Response: true, Doc: "status line and headers",
			Example: `response_headers_size > 8000`, applies: isHTTP}, ofHTTPAnswer(func(h *traffic.HTTP) int64 { return int64(h.ResponseHeadersSize) })),
		number(Field{Name: "request_body_size", head: requestHead, Request: true, JSON: "req_size", Aliases: []string{"request.size", "http.request.body.size"}, Column: "req_size",
			Unit: "bytes", Doc: "request body on the wire", Example: `request_body_size > 1000000`},
			ofCall(func(c *traffic.Call) int64 { return c.RequestSize })),
		number(Field{Name: "response_body_size", head: responseHead, JSON: "resp_size", Aliases: []string{"response.size", "http.response.body.size"}, Column: "resp_size",
			Unit: "bytes", Response: true, Doc: "response body on the wire", Example: `http && response_body_size > 10000`},
			ofWhole(func(c *traffic.Call) int64 { return c.ResponseSize })),
		flag(Field{Name: "kept_alive", Request: true, JSON: "http.kept_alive", Column: "kept_alive", Doc: "not the first call on its connection",
			Example: `http && !kept_alive`, applies: isHTTP}, ofHTTP(func(h *traffic.HTTP) bool { return h.KeptAlive })),
		text(Field{Name: "http_upgrade", head: responseHead, JSON: "http.upgrade", Column: "upgrade", Response: true, Doc: "protocol that the connection switched to", Example: `http_upgrade == "websocket"`,
			applies: isHTTP}, ofHTTPAnswer(func(h *traffic.HTTP) string { return h.Upgrade })),
		text(Field{Name: "http_reset", JSON: "http.reset", Column: "http_reset", Doc: "code with which HTTP/2 gave the call up: CANCEL, REFUSED_STREAM",
			Example: `http_reset == "REFUSED_STREAM"`, applies: isHTTP}, ofHTTP(func(h *traffic.HTTP) string { return h.Reset })),
		number(Field{Name: "http_stream", JSON: "http.stream", Aliases: []string{"http2.streamid"}, Column: "http_stream", Doc: "HTTP/2 stream of the call, 0 in HTTP/1",
			Example: `http_stream == 5`, applies: isHTTP}, ofHTTP(func(h *traffic.HTTP) int64 { return int64(h.Stream) })),
		flag(Field{Name: "pushed", JSON: "http.pushed", Column: "pushed", Doc: "the server promised the request itself (HTTP/2 push)", Example: `http && pushed`,
			applies: isHTTP}, ofHTTP(func(h *traffic.HTTP) bool { return h.Pushed })),
		number(Field{Name: "unknown_headers", JSON: "http.unknown_headers", Column: "unknown_headers",
			Doc: "HTTP/2 header fields that refer to what came before the capture or in a hole; their names read (unknown)", Example: `unknown_headers > 0`,
			applies: isHTTP}, ofHTTP(func(h *traffic.HTTP) int64 { return int64(h.UnknownHeaders) })),
		text(Field{Name: "body_error", JSON: "http.body_error", Column: "body_error", Doc: "why a body could not be decoded", Example: `body_error != ""`, applies: isHTTP},
			ofHTTP(func(h *traffic.HTTP) string { return h.BodyError })),
	}}
}

var classes = [...]string{"", "1xx", "2xx", "3xx", "4xx", "5xx"}

func statusClass(r *Row) (string, bool) {
	if !isHTTP(r) || !r.Call.Answered() {
		return "", false
	}
	if class := r.Call.Status / 100; class > 0 && class < len(classes) {
		return classes[class], true
	}
	return "", true
}

func fullURL(r *Row) (string, bool) {
	if !isHTTP(r) {
		return "", false
	}
	u := "http://" + r.Call.HTTP.Host + r.Call.Path
	if r.Call.HTTP.Query != "" {
		u += "?" + r.Call.HTTP.Query
	}
	return u, true
}

func headers(lines []traffic.Header) *stringsMap { return &stringsMap{pairs: lines, fold: true} }

// query keeps what parses; the first of several values of a name stands for it.
func query(h *traffic.HTTP) *stringsMap {
	if h.Query == "" {
		return nil
	}
	m := &stringsMap{}
	for part := range strings.SplitSeq(h.Query, "&") {
		name, value, _ := strings.Cut(part, "=")
		name, value = unescape(name), unescape(value)
		if name != "" && len(m.pairs) < maxPairs {
			m.pairs = append(m.pairs, traffic.Header{Name: name, Value: value})
		}
	}
	return m
}

// maxPairs bounds what a hostile query or cookie line costs.
const maxPairs = 512

func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

func requestCookies(h *traffic.HTTP) *stringsMap {
	m := &stringsMap{}
	for _, line := range h.RequestHeaders {
		if !strings.EqualFold(line.Name, "Cookie") {
			continue
		}
		for part := range strings.SplitSeq(line.Value, ";") {
			m.addCookie(part)
		}
	}
	return m
}

func responseCookies(h *traffic.HTTP) *stringsMap {
	m := &stringsMap{}
	for _, line := range h.ResponseHeaders {
		if strings.EqualFold(line.Name, "Set-Cookie") {
			pair, _, _ := strings.Cut(line.Value, ";")
			m.addCookie(pair)
		}
	}
	return m
}

func (m *stringsMap) addCookie(pair string) {
	name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
	if ok && name != "" && len(m.pairs) < maxPairs {
		m.pairs = append(m.pairs, traffic.Header{Name: name, Value: value})
	}
}

// securitySection is what redaction found: kinds, places and keyed hashes, never a value.
func securitySection() section {
	return section{name: "Credentials", rows: Calls, fields: []Field{
		texts(Field{Name: "credentials", head: requestHead, Request: true, JSON: "credentials", Column: "credentials", Doc: "kinds of secrets that the call carried: bearer, basic, cookie, api_key, jwt",
			Example: `"bearer" in credentials`}, ofCall(func(c *traffic.Call) []string {
			return credentials(c, func(k traffic.Credential) string { return k.Kind })
		})),
		texts(Field{Name: "credential_hashes", head: requestHead, Request: true, Doc: "keyed hashes of those secrets: the same secret on two calls has the same hash",
			Example: `"5f1c22aa" in credential_hashes`}, ofCall(func(c *traffic.Call) []string {
			return credentials(c, func(k traffic.Credential) string { return k.Hash })
		})),
		texts(Field{Name: "credential_places", head: requestHead, Request: true, Doc: "where they stood: request.header:authorization, request.query:token",
			Example: `credential_places.exists(p, p.startsWith("request.query:"))`}, ofCall(func(c *traffic.Call) []string {
			return credentials(c, func(k traffic.Credential) string { return k.Place })
		})),
		flag(Field{Name: "auth.present", head: requestHead, Request: true, Doc: "the request carried an Authorization header, a cookie or another credential", Example: `http && auth.present`,
			applies: isHTTP}, func(r *Row) (bool, bool) { return authorized(r), isHTTP(r) }),
		flag(Field{Name: "auth.missing", head: requestHead, Request: true, Doc: "an HTTP request without any credential", Example: `http && auth.missing && status_code < 300`,
			applies: isHTTP}, func(r *Row) (bool, bool) { return !authorized(r), isHTTP(r) }),
		text(Field{Name: "auth.scheme", head: requestHead, Request: true, Doc: "scheme of the Authorization header in lower case: bearer, basic", Example: `auth.scheme == "basic"`,
			applies: isHTTP}, ofHTTP(authScheme)),
		flag(Field{Name: "plaintext", Rows: Both, Doc: "the payload is readable on the wire: not behind TLS", Example: `plaintext && egress`}, plaintext),
	}}
}

func credentials(c *traffic.Call, of func(traffic.Credential) string) []string {
	var all []string
	for _, k := range c.Credentials {
		all = append(all, of(k))
	}
	return all
}

// authorized looks at the request only: what a response sets does not authorise it.
func authorized(r *Row) bool {
	if !isHTTP(r) {
		return false
	}
	for _, k := range r.Call.Credentials {
		if strings.HasPrefix(k.Place, "request.") {
			return true
		}
	}
	for _, h := range r.Call.HTTP.RequestHeaders {
		if http.CanonicalHeaderKey(h.Name) == "Authorization" || strings.EqualFold(h.Name, "Cookie") {
			return true
		}
	}
	return false
}

// authScheme also reads redacted headers: "[redacted bearer 34 5f1c22aa]" and "Bearer [redacted …]".
func authScheme(h *traffic.HTTP) string {
	value, _ := headers(h.RequestHeaders).get("authorization")
	value = strings.TrimPrefix(value, "[redacted ")
	scheme, _, _ := strings.Cut(value, " ")
	return strings.ToLower(scheme)
}

func plaintext(r *Row) (bool, bool) {
	switch {
	case r.Call != nil:
		return r.Call.Protocol != traffic.ProtoTLS && r.Call.CaptureSource != traffic.SourceTLSKeyLog, true
	case r.Conn != nil:
		return r.Conn.L7 != traffic.ProtoTLS && r.Conn.Encrypted == 0 && r.Conn.CaptureSource == "", true
	}
	return false, false
}

// requestBody is what gRPC messages say, or the bytes.
func requestBody(r *Row) (string, bool) {
	if !isHTTP(r) {
		return "", false
	}
	if g := r.Call.GRPC; g != nil && g.RequestJSON != "" {
		return g.RequestJSON, true
	}
	return string(r.Call.HTTP.RequestBody), true
}

func responseBody(r *Row) (string, bool) {
	if !isHTTP(r) || !r.Call.Answered() {
		return "", false
	}
	if g := r.Call.GRPC; g != nil && g.ResponseJSON != "" {
		return g.ResponseJSON, true
	}
	return string(r.Call.HTTP.ResponseBody), true
}
