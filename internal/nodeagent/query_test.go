package nodeagent

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/devloop-io/devloop/capture/agent"
)

// quietAgent answers the API, and captures nothing.
func quietAgent(t testing.TB) *Agent {
	t.Helper()
	r, err := openRing(t.TempDir(), "n1", 1<<20, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return &Agent{o: Options{Node: "n1", Streams: 4}, log: slog.New(slog.DiscardHandler), ring: r, source: silent{}, hurry: make(chan struct{}, 1), tokenSum: digest("token")}
}

// FuzzQuery asks with any path and query: the agent answers with JSON that says what is wrong, or with what was asked for,
// and never with an error of its own.
func FuzzQuery(f *testing.F) {
	for _, seed := range [][3]string{
		{"GET", "/segments", "after=18446744073709551615"}, {"GET", "/segments", "after=-1"}, {"GET", "/segments/1", ""},
		{"GET", "/segments/99999999999999999999", ""}, {"POST", "/snapshot", "from=1&to=0"}, {"POST", "/snapshot", "from=9223372036854775807&to=1"},
		{"GET", "/stream", "after=ring.1.0"}, {"GET", "/stream", "after=a.b"}, {"GET", "/stream", "after=%00.0.-1"}, {"GET", "/nothing", "x=;"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	h := quietAgent(f).handler()
	gone, cancel := context.WithCancel(context.Background())
	cancel() // streams end at once
	f.Fuzz(func(t *testing.T, method, path, query string) {
		r, err := http.NewRequestWithContext(gone, method, "http://agent/", http.NoBody)
		if err != nil || len(path) == 0 || path[0] != '/' {
			return
		}
		r.URL = &url.URL{Scheme: "http", Host: "agent", Path: path, RawQuery: query}
		r.Header.Set("Authorization", "Bearer token")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%s %s?%s: %d %s", method, path, query, w.Code, w.Body)
		}
		if w.Code >= 400 && w.Header().Get("Content-Type") == "application/json" {
			var p agent.Problem
			if json.Unmarshal(w.Body.Bytes(), &p) != nil || p.Message == "" {
				t.Errorf("%s %s?%s: %d %s", method, path, query, w.Code, w.Body)
			}
		}
		_, _ = io.Copy(io.Discard, w.Body)
	})
}
