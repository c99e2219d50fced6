package replay

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

// recorded is a call to a server as it would have been captured.
func recorded(t *testing.T, server *httptest.Server, n int, method, path, answer string, headers ...traffic.Header) *traffic.Call {
	t.Helper()
	at := netip.MustParseAddrPort(strings.TrimPrefix(server.URL, "http://"))
	return &traffic.Call{ID: fmt.Sprintf("t/%03d", n), Protocol: traffic.ProtoHTTP, Start: int64(1e9 + n*1e6), State: traffic.StateComplete, Method: method, Path: path, Route: path, Status: 200,
		Dst:  traffic.Endpoint{IP: at.Addr(), Port: at.Port()},
		HTTP: &traffic.HTTP{Host: "shop", RequestHeaders: headers, ResponseHeaders: []traffic.Header{{Name: "Content-Type", Value: "application/json"}}, ResponseBody: []byte(answer)}}
}

// What is answered otherwise is found; what differed between recorded answers to one request is noise.
func TestReplay(t *testing.T) {
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/same":
			fmt.Fprintf(w, `{"price": 3, "at": %d}`, n.Add(1))
		case "/renamed":
			fmt.Fprint(w, `{"items": [{"amount": 3}]}`)
		case "/broken":
			w.WriteHeader(503)
		case "/value":
			fmt.Fprint(w, `{"price": 4}`)
		case "/user":
			fmt.Fprintf(w, `{"token": %t, "host": %q}`, r.Header.Get("Authorization") == "Bearer mine", r.Host)
		}
	}))
	defer server.Close()
	calls := []*traffic.Call{
		recorded(t, server, 1, "GET", "/same", `{"price": 3, "at": 100}`), recorded(t, server, 2, "GET", "/same", `{"price": 3, "at": 101}`),
		recorded(t, server, 3, "GET", "/renamed", `{"items": [{"price": 3}]}`),
		recorded(t, server, 4, "GET", "/broken", `{}`),
		recorded(t, server, 5, "GET", "/value", `{"price": 3}`), recorded(t, server, 6, "GET", "/value", `{"price": 3}`),
		recorded(t, server, 7, "GET", "/user", `{"token": true, "host": "shop"}`, traffic.Header{Name: "authorization", Value: "[redacted bearer 9 abc]"}),
		recorded(t, server, 8, "POST", "/same", `{}`),
	}
	p, skipped := Make(calls, Options{})
	if len(p.Requests) != 6 || len(skipped) != 2 || !strings.Contains(skipped[0].Why, "Authorization") || !strings.Contains(skipped[1].Why, "not idempotent") {
		t.Fatalf("%d requests, %+v", len(p.Requests), skipped)
	}
	given := map[string]string{"Authorization": "Bearer mine"}
	p, _ = Make(calls, Options{Headers: given})
	p.Concurrency = 3
	got := Compare(calls, p, Send(t.Context(), p, given, http.DefaultTransport))
	var found []string
	for _, f := range got.Findings {
		found = append(found, fmt.Sprintf("%s: %s: %s → %s", strings.TrimSpace(f.Endpoint), f.What, f.Recorded, f.Now))
	}
	text := strings.Join(found, "\n")
	for _, want := range []string{"/renamed: type of items[].price: number → (none)", "/renamed: type of items[].amount: (none) → number", "/broken: status: 200 → 503", "/value: value of price: 3 → 4"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not among\n%s", want, text)
		}
	}
	if strings.Contains(text, "/same") || strings.Contains(text, "/user") || got.Same != 3 {
		t.Errorf("%d the same, and:\n%s", got.Same, text)
	}
	if len(got.Noise) != 1 || !strings.HasSuffix(got.Noise[0], "/same: value of at") {
		t.Errorf("noise: %q", got.Noise)
	}
}

// What cannot be sent again says why.
func TestSkipped(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	grpc, cut, outside, secret, tls := recorded(t, server, 1, "GET", "/", ""), recorded(t, server, 2, "GET", "/", ""), recorded(t, server, 3, "GET", "/", ""), recorded(t, server, 4, "GET", "/", ""), recorded(t, server, 5, "GET", "/", "")
	half, body, patch, upgraded := recorded(t, server, 6, "GET", "/", ""), recorded(t, server, 7, "GET", "/", ""), recorded(t, server, 8, "PATCH", "/", ""), recorded(t, server, 9, "GET", "/", "")
	half.HTTP.RequestHeadersCut, body.HTTP.RequestBody, upgraded.HTTP.Upgrade = true, []byte(`{"key": "[redacted api_key 8 ab]"}`), "websocket"
	for _, c := range []*traffic.Call{half, body, patch, upgraded} {
		if p, skipped := Make([]*traffic.Call{c}, Options{}); len(p.Requests) != 0 || len(skipped) != 1 {
			t.Errorf("%s: %+v, %+v", c.ID, p, skipped)
		}
	}
	if p, _ := Make([]*traffic.Call{patch}, Options{All: true}); len(p.Requests) != 1 {
		t.Errorf("%+v", p)
	}
	grpc.GRPC, cut.HTTP.RequestBodyCut, outside.Dst.Outside, secret.HTTP.Query, tls.CaptureSource = &traffic.GRPC{}, true, true, "key=[redacted api_key 8 ab]", traffic.SourceTLSKeyLog
	p, skipped := Make([]*traffic.Call{grpc, cut, outside, secret, tls}, Options{All: true})
	if len(p.Requests) != 0 || len(skipped) != 5 {
		t.Errorf("%+v, %+v", p, skipped)
	}
}

// Headers that belong to a connection, and credentials of a proxy, are not sent again.
func TestOwnHeaders(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	headers := []traffic.Header{{Name: "accept", Value: "*/*"}}
	for _, name := range ownHeaders {
		headers = append(headers, traffic.Header{Name: strings.ToLower(name), Value: "x"})
	}
	for _, name := range []string{"proxy-authorization", "connection", "host", "traceparent", "devloop-iteration", "content-encoding", ":authority"} {
		headers = append(headers, traffic.Header{Name: name, Value: "x"})
	}
	p, _ := Make([]*traffic.Call{recorded(t, server, 1, "GET", "/", "", headers...)}, Options{})
	if len(p.Requests) != 1 || len(p.Requests[0].Headers) != 1 || p.Requests[0].Headers[0].Name != "Accept" {
		t.Errorf("%+v", p.Requests)
	}
}

// Requests are due as long after the first that is sent as they were, in the order in which they began.
func TestPlanKeepsPauses(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	late, first, skipped := recorded(t, server, 9, "GET", "/", ""), recorded(t, server, 4, "GET", "/", ""), recorded(t, server, 1, "POST", "/", "")
	p, _ := Make([]*traffic.Call{late, skipped, first, recorded(t, server, 12, "GET", "/", "")}, Options{Most: 2})
	if len(p.Requests) != 2 || p.Requests[0].ID != first.ID || p.Requests[0].At != 0 || p.Requests[1].At != 5e6 {
		t.Errorf("%+v", p.Requests)
	}
}

func FuzzFacts(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":null}]}`), []byte(`[[[]]]`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		for fact := range both(facts(200, nil, a, false), facts(200, nil, b, false)) {
			name(fact)
		}
	})
}
