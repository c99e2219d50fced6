package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/control"
)

func TestWhoMayAsk(t *testing.T) {
	d := serving(t, nil)
	for _, tt := range []struct {
		name   string
		verb   string
		change func(*http.Request)
		status int
		says   string
	}{
		{"with the token", "GET", nil, 200, `"workspace"`},
		{"in Kubeshark's header", "GET", func(r *http.Request) {
			r.Header.Set("X-Kubeshark-Authorization", "Bearer "+d.token)
			r.Header.Del("Authorization")
		}, 200, `"workspace"`},
		{"there without a scheme", "GET", func(r *http.Request) {
			r.Header.Set("X-Kubeshark-Authorization", d.token)
			r.Header.Del("Authorization")
		}, 200, `"workspace"`},
		{"in any case", "GET", func(r *http.Request) { r.Header.Set("Authorization", "bearer "+d.token) }, 200, `"workspace"`},
		{"without", "GET", func(r *http.Request) { r.Header.Del("Authorization") }, 401, "devloop daemon token"},
		{"a wrong one", "GET", func(r *http.Request) { r.Header.Set("Authorization", "Bearer x"+d.token) }, 401, "the token is wrong"},
		{"another scheme", "GET", func(r *http.Request) { r.Header.Set("Authorization", "Basic "+d.token) }, 401, "a token is needed"},
		{"a licence key", "GET", func(r *http.Request) { r.Header.Del("Authorization"); r.Header.Set("License-Key", d.token) }, 401, "a token is needed"},
		{"in the URL", "GET", func(r *http.Request) { r.Header.Del("Authorization"); r.URL.RawQuery = "token=" + d.token }, 401, "which others log"},
		{"a web page of another origin", "GET", func(r *http.Request) { r.Header.Set("Origin", "https://example.com") }, 403, "another origin"},
		{"one that posts", "POST", func(r *http.Request) { r.Header.Set("Origin", "https://example.com") }, 403, "another origin"},
		{"one of no origin", "GET", func(r *http.Request) { r.Header.Set("Origin", "null") }, 403, "another origin"},
		{"one that the browser tells of", "GET", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403, "another origin"},
		{"a page from here", "GET", func(r *http.Request) { r.Header.Set("Origin", d.url); r.Header.Set("Sec-Fetch-Site", "same-origin") }, 200, `"workspace"`},
		{"a name that leads here", "GET", func(r *http.Request) { r.Host = "rebinding.example.com" }, 403, "not this machine's"},
		{"one that only begins like it", "GET", func(r *http.Request) { r.Host = "127.0.0.1.example.com" }, 403, "not this machine's"},
		{"an address that is not loopback", "GET", func(r *http.Request) { r.Host = "192.0.2.1:80" }, 403, "not this machine's"},
		{"no name", "GET", func(r *http.Request) { r.Host = "@" }, 403, "not this machine's"},
		{"localhost", "GET", func(r *http.Request) { r.Host = "localhost:1" }, 200, `"workspace"`},
		{"IPv6", "GET", func(r *http.Request) { r.Host = "[::1]:1" }, 200, `"workspace"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := d.do(d.request(tt.verb, "/mcp/status", nil, tt.change))
			if resp.StatusCode != tt.status || !strings.Contains(body, tt.says) {
				t.Errorf("%s: %s, want %d and %q", resp.Status, body, tt.status, tt.says)
			}
			if challenge := resp.Header.Get("WWW-Authenticate"); strings.HasPrefix(challenge, "Bearer realm=") != (tt.status == 401) {
				t.Errorf("WWW-Authenticate %q with status %d", challenge, tt.status)
			}
			if strings.Contains(body, d.token) {
				t.Error("the answer has the token in it")
			}
		})
	}
	for _, path := range []string{"/v1/status", "/mcp", "/openapi.json", "/", "/api/mcp/calls"} {
		if resp, body := d.do(d.request("GET", path, nil, func(r *http.Request) { r.Header.Del("Authorization") })); resp.StatusCode != 401 {
			t.Errorf("%s without a token: %s %s", path, resp.Status, body)
		}
	}
}

func TestATokenEndsWithItsDaemon(t *testing.T) {
	d := serving(t, nil)
	file, err := control.TokenPath(d.workspace)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token's file: %v, %v", info, err)
	}
	old, address := d.token, strings.TrimPrefix(d.url, "http://")
	d.stop()
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the token is left: %v", err)
	}
	var log bytes.Buffer
	d.start(Options{Workspace: d.workspace, Version: "test", Listen: address, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if d.token == old {
		t.Fatal("both daemons have the same token")
	}
	_, err = remote(t, d.url, old).Status(t.Context())
	if err == nil || !strings.Contains(err.Error(), "does not take this token") {
		t.Errorf("the old token: %v", err)
	}
	st, err := remote(t, d.url, d.token).Status(t.Context())
	if err != nil || st.Workspace != d.workspace {
		t.Errorf("the new token: %+v, %v", st, err)
	}
	b, err := json.Marshal(st)
	if err != nil || strings.Contains(string(b), d.token) || strings.Contains(log.String(), d.token) || !strings.Contains(log.String(), d.url) {
		t.Errorf("status %s, log %s, %v", b, log.String(), err)
	}
}

func remote(t *testing.T, url, token string) *control.Client {
	t.Helper()
	c, err := control.NewRemote(url, token, false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWhereTheDaemonListens(t *testing.T) {
	for _, tt := range []struct {
		address string
		remote  bool
		says    string
	}{
		{"127.0.0.1:0", false, ""},
		{"[::1]:0", false, ""},
		{"localhost:0", false, ""},
		{"127.9.9.9:0", false, ""},
		{":8898", false, "can be reached from other machines"},
		{"0.0.0.0:8898", false, "can be reached from other machines"},
		{"[::]:8898", false, "can be reached from other machines"},
		{"192.0.2.1:8898", false, "can be reached from other machines"},
		{"example.com:8898", false, "can be reached from other machines"},
		{"0.0.0.0:8898", true, ""},
		{"8898", false, "no address to listen on"},
	} {
		_, err := listenHost(tt.address, tt.remote)
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %v, want %q", tt.address, err, tt.says)
		}
	}
	d := serving(t, nil)
	again, err := d.client.Listen(t.Context(), control.ListenRequest{Address: "127.0.0.1:1"})
	if err != nil || again.URL != d.url {
		t.Errorf("listening again: %+v, %v", again, err)
	}
}

// TestATakenPort has a daemon end that cannot listen, and leave nothing.
func TestATakenPort(t *testing.T) {
	d := serving(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d.stop()
	err = Run(t.Context(), Options{Workspace: d.workspace, Listen: l.Addr().String()})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("%v", err)
	}
	if file, _ := control.TokenPath(d.workspace); file == "" {
		t.Error("no path for the token")
	} else if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("its token is left: %v", err)
	}
}

func TestTooMuch(t *testing.T) {
	d := serving(t, nil)
	large := `{"kfl": "` + strings.Repeat("a", maxRequest) + `"}`
	for _, path := range []string{"/mcp/filters", "/mcp/tools/call", "/mcp", "/v1/status"} {
		for _, chunked := range []bool{false, true} {
			r := d.request("POST", path, strings.NewReader(large), func(r *http.Request) {
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Accept", "application/json, text/event-stream")
				if chunked {
					r.ContentLength = -1
				}
			})
			if resp, body := d.do(r); resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(body, "10 MB") {
				t.Errorf("%s, chunked %t: %s %.200s", path, chunked, resp.Status, body)
			}
		}
	}
	resp, err := http.DefaultClient.Do(d.request("GET", "/mcp/status?x="+strings.Repeat("a", maxHeader+8192), nil, nil))
	if err == nil { // it may be cut off while it still writes
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("a URL of %d bytes: %s", maxHeader, resp.Status)
		}
	}
}

// TestStreamsAreBounded holds as many streams as there may be: the next is told to come again, and other requests pass.
func TestStreamsAreBounded(t *testing.T) {
	d := serving(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	open := func() *http.Response {
		resp, err := http.DefaultClient.Do(d.request("POST", "/v1/events", strings.NewReader("{}"), nil).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	for range maxStreams {
		if resp := open(); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	resp := open()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one too many: %s", resp.Status)
	}
	if resp.Header.Get("Retry-After") == "" {
		t.Error("the refusal does not say when to come again")
	}
	if st, err := remote(t, d.url, d.token).Status(ctx); err != nil || st.Workspace == "" {
		t.Errorf("another request: %v", err)
	}
	cancel()
}

// TestASlowClient sends a request's head and never its body: it is cut off, and others are served meanwhile.
func TestASlowClient(t *testing.T) {
	before := bodyTimeout
	bodyTimeout = 300 * time.Millisecond
	defer func() { bodyTimeout = before }()
	d := serving(t, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /mcp/filters HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{", d.token)
	var st control.Status
	d.get("/mcp/status", &st)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(b), "did not come whole") {
		t.Errorf("%s %s", resp.Status, b)
	}
}

func TestUnknownRoutes(t *testing.T) {
	d := serving(t, nil)
	for _, tt := range []struct {
		verb, path string
		status     int
		says       string
	}{
		{"GET", "/mcp/cals", 404, "GET /mcp/status"},
		{"GET", "/", 404, "POST /mcp/tools/call"},
		{"GET", "/api/mcp/nothing", 404, "there is no GET"},
		{"DELETE", "/mcp/status", 405, "use GET"},
		{"PUT", "/mcp/tools/call", 405, "use POST"},
		{"GET", "/v1/status", 405, "use POST"},
		{"POST", "/v1/nothing", 404, "there is no POST /v1/nothing"},
		{"GET", "/mcp/status?verbose=1", 400, "there are no parameters"},
		{"GET", "/mcp/status?a=%zz", 400, "unreadable"},
	} {
		resp, body := d.do(d.request(tt.verb, tt.path, nil, nil))
		if resp.StatusCode != tt.status || !strings.Contains(body, tt.says) || !json.Valid([]byte(body)) {
			t.Errorf("%s %s: %s %s, want %d and %q", tt.verb, tt.path, resp.Status, body, tt.status, tt.says)
		}
		if allow := resp.Header.Get("Allow"); (allow != "") != (tt.status == 405) {
			t.Errorf("%s %s: Allow %q", tt.verb, tt.path, allow)
		}
	}
}

// TestUnknownThings names what is not there: 404 with a code and the next step, and not 400 as for a mistake.
func TestUnknownThings(t *testing.T) {
	d := serving(t, nil)
	for _, tt := range []struct{ verb, path, says, hint string }{
		{"GET", "/mcp/snapshots/nope", "nope", "list_snapshots"},
		{"DELETE", "/mcp/snapshots/nope", "nope", "list_snapshots"},
		{"GET", "/mcp/snapshots/nope/pcap", "nope", "list_snapshots"},
		{"GET", "/mcp/calls?db=nope/rows", "nope", "list_snapshots"},
		{"GET", "/mcp/dissections/nope/rows", "nope/rows", "start_snapshot_dissection"},
		{"DELETE", "/mcp/dissections/nope/rows", "nope", ""},
		{"GET", "/mcp/iterations/i99", "iteration", "devloop run"},
		{"GET", control.FilesPath + "nope.pcapng", "nope.pcapng", "export_pcap"},
	} {
		resp, body := d.do(d.request(tt.verb, tt.path, nil, nil))
		var e control.Error
		if err := json.Unmarshal([]byte(body), &e); err != nil || resp.StatusCode != http.StatusNotFound || e.Code != control.NotFound ||
			!strings.Contains(e.What, tt.says) || !strings.Contains(e.Hint, tt.hint) || e.Hint == "" {
			t.Errorf("%s %s: %s %s, %v", tt.verb, tt.path, resp.Status, body, err)
		}
	}
}

// TestCaptureRoutes: the choice of what is captured can be made by REST; here nothing runs that could be captured.
func TestCaptureRoutes(t *testing.T) {
	d := serving(t, nil)
	for path, says := range map[string]string{
		"/mcp/capture/start": "capture cannot be started", "/mcp/capture/stop": "capture cannot be stopped", "/mcp/capture/targets": "capture cannot be configured",
	} {
		resp, body := d.do(d.request("POST", path, nil, nil))
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, says+": no services run") || !strings.Contains(body, "devloop run") {
			t.Errorf("%s: %s %s", path, resp.Status, body)
		}
	}
}

// TestRemoteClients is how control's client reads answers that are not the daemon's.
func TestRemoteClients(t *testing.T) {
	answer := func(status int, header, value, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if header != "" {
				w.Header().Set(header, value)
			}
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	for _, tt := range []struct{ name, url, says string }{
		{"a login page", answer(302, "Location", "https://login.example.com/", ""), "to a login, perhaps"},
		{"a stranger", answer(404, "", "", "404 page not found"), "is no devloop daemon"},
		{"a wrong token", answer(401, "", "", ""), "does not take this token"},
		{"a page", answer(200, "", "", "<html>"), "status"},
		{"an overloaded one", answer(503, "", "", `{"error":"64 requests are under way","exit":3}`), "64 requests are under way"},
		{"nobody", "http://127.0.0.1:1", "nothing answers"},
	} {
		if _, err := remote(t, tt.url, "token").Status(t.Context()); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
	for address, says := range map[string]string{
		"http://192.0.2.1:8898": "unencrypted", "ftp://127.0.0.1": "no URL", "127.0.0.1:8898": "no URL",
		"http://127.0.0.1:8898/?token=x": "more than an address", "http://a:b@127.0.0.1:8898": "more than an address",
	} {
		if _, err := control.NewRemote(address, "token", false); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", address, err, says)
		}
	}
	for _, address := range []string{"https://devloop.example.com", "http://localhost:1/mcp", "http://[::1]:1"} {
		if _, err := control.NewRemote(address, "token", false); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}
