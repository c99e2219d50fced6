package replay

import (
	"cmp"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// Plan is what to send, and how.
type Plan struct {
	Requests    []Request `json:"requests"`
	Factor      float64   `json:"factor"` // of the recorded pauses: 0.5 is twice as fast, 0 leaves them out
	Concurrency int       `json:"concurrency"`
}

// Request is one recorded request.
type Request struct {
	ID      string           `json:"id"` // of the recorded call
	At      int64            `json:"at_ns"`
	Method  string           `json:"method"`
	URL     string           `json:"url"`
	Host    string           `json:"host"`
	Headers []traffic.Header `json:"headers,omitempty"`
	Body    []byte           `json:"body,omitempty"`
}

// Options say which requests may be sent.
type Options struct {
	All     bool              // methods that are not idempotent, too
	Headers map[string]string // given by the user: what rows do not hold, such as Authorization
	Most    int               // requests at most
}

// Skipped says why requests are not sent.
type Skipped struct {
	Why     string `json:"why"`
	N       int    `json:"n"`
	Example string `json:"example" jsonschema:"id of a call"`
}

// Headers that belong to a connection or a message's form, and those that mark what an exercise sends: the new request has its own.
var ownHeaders = []string{"Connection", "Keep-Alive", "Transfer-Encoding", "Content-Length", "Te", "Trailer", "Upgrade", "Proxy-Connection", "Proxy-Authorization",
	"Accept-Encoding", "Expect", "Host", "Traceparent", "Tracestate", "Baggage", "Devloop-Iteration"}

// Make plans calls, in the order in which they began.
func Make(calls []*traffic.Call, o Options) (Plan, []Skipped) {
	calls = slices.Clone(calls)
	slices.SortStableFunc(calls, func(a, b *traffic.Call) int { return cmp.Compare(a.Start, b.Start) })
	var p Plan
	var skipped []Skipped
	var began int64 // when the first request that is sent was
	skip := func(c *traffic.Call, why string) {
		i := slices.IndexFunc(skipped, func(s Skipped) bool { return s.Why == why })
		if i < 0 {
			i = len(skipped)
			skipped = append(skipped, Skipped{Why: why, Example: c.ID})
		}
		skipped[i].N++
	}
	for _, c := range calls {
		r, why := request(c, o)
		if why == "" && o.Most > 0 && len(p.Requests) >= o.Most {
			why = "there are more than " + strconv.Itoa(o.Most) + " requests"
		}
		if why != "" {
			skip(c, why)
			continue
		}
		if len(p.Requests) == 0 {
			began = c.Start
		}
		r.At = c.Start - began
		p.Requests = append(p.Requests, r)
	}
	return p, skipped
}

const redacted = "[redacted "

// request is a call's request, or why it cannot be sent again.
func request(c *traffic.Call, o Options) (Request, string) {
	switch h := c.HTTP; {
	case h == nil || c.GRPC != nil || h.Upgrade != "":
		return Request{}, "it is no plain HTTP request"
	case c.Dst.Outside || c.Dst.Kind == traffic.KindExternal:
		return Request{}, "it leaves the system"
	case c.CaptureSource != "":
		return Request{}, "it was sent over TLS"
	case !c.Asked() || h.RequestHeadersCut:
		return Request{}, "the capture lacks a part of the request"
	case h.RequestBodyCut || h.BodyError != "":
		return Request{}, "its body was not kept whole"
	case !o.All && !idempotent(c.Method):
		return Request{}, c.Method + " is not idempotent; it is sent all the same with all (--all)"
	case strings.Contains(c.Path+h.Query, redacted) || strings.Contains(string(h.RequestBody), redacted):
		return Request{}, "a secret stood in its URL or body, which rows do not hold"
	}
	name := c.Dst.Name()
	if name == "" {
		name = c.Dst.IP.String()
	}
	r := Request{ID: c.ID, Method: c.Method, Host: c.HTTP.Host, Body: c.HTTP.RequestBody, URL: "http://" + net.JoinHostPort(name, strconv.Itoa(int(c.Dst.Port))) + c.Path}
	if c.HTTP.Query != "" {
		r.URL += "?" + c.HTTP.Query
	}
	for _, h := range c.HTTP.RequestHeaders {
		key := http.CanonicalHeaderKey(h.Name)
		if strings.HasPrefix(h.Name, ":") || slices.Contains(ownHeaders, key) || key == "Content-Encoding" { // bodies are kept decoded
			continue
		}
		_, given := o.Headers[key]
		if strings.Contains(h.Value, redacted) && !given {
			return Request{}, "its header " + key + " is a secret, which rows do not hold; give it as one of headers (--header, $DEVLOOP_REPLAY_HEADER)"
		}
		if !given {
			r.Headers = append(r.Headers, traffic.Header{Name: key, Value: h.Value})
		}
	}
	return r, ""
}

// idempotent reports what RFC 9110, section 9.2.2 says of a method.
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}
