package fault

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// relayed begins a fault in front of a server, without any namespace.
func relayed(t *testing.T, f Fault, to string) (r *Relay, addr string) {
	t.Helper()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r = NewRelay(f, listen, func() (net.Conn, error) { return net.Dial("tcp", to) })
	return r, listen.Addr().String()
}

// TestRelaySeed wants the same requests to meet a fault with the same seed, others with another, and those that do not
// meet it unchanged: with bodies in chunks, without, and after an interim answer.
func TestRelaySeed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusEarlyHints)
		fmt.Fprintf(w, "%d %s", len(b), strings.Repeat("x", 50_000))
	}))
	defer server.Close()
	met := func(seed uint64) string {
		r, addr := relayed(t, Fault{ID: "f1", Kind: Status, Status: 418, Rate: 0.5, Seed: seed}, server.Listener.Addr().String())
		defer r.Close()
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		var b strings.Builder
		for i := range 40 {
			body := io.MultiReader(strings.NewReader(strings.Repeat("y", i*1000))) // of unknown length: in chunks
			resp, err := client.Post("http://"+addr, "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			said, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("%d %s", i*1000, strings.Repeat("x", 50_000)); resp.StatusCode == 200 && string(said) != want {
				t.Fatalf("request %d: %d bytes, want %d", i, len(said), len(want))
			}
			fmt.Fprint(&b, resp.StatusCode, " ")
		}
		if r.seen != 40 || r.hit != strings.Count(b.String(), "418") || r.hit < 10 || r.hit > 30 {
			t.Errorf("seen %d, met %d: %s", r.seen, r.hit, &b)
		}
		return b.String()
	}
	if a, b := met(7), met(7); a != b {
		t.Errorf("seed 7 twice:\n%s\n%s", a, b)
	}
	if met(7) == met(8) {
		t.Error("seeds 7 and 8 are the same")
	}
}

// TestRelayOtherProtocols wants what is not HTTP/1 to pass untouched where a status is asked for.
func TestRelayOtherProtocols(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); io.Copy(c, c) }()
		}
	}()
	for _, first := range []string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x00\x05hello", "*1\r\n$4\r\nPING\r\n"} {
		r, addr := relayed(t, Fault{Kind: Status, Status: 503, Rate: 1}, echo.Addr().String())
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, first)
		c.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(c)
		if err != nil || string(got) != first || r.unfit != 1 {
			t.Errorf("%q: got %q, %v, unfit %d", first, got, err, r.unfit)
		}
		c.Close()
		r.Close()
	}
}

// FuzzRelayRequests wants any bytes to be passed on or refused, within bounds.
func FuzzRelayRequests(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		client, far := net.Pipe()
		go func() {
			client.Write(b)
			client.Close()
		}()
		w := newWiretap(far)
		if !w.speaksHTTP1() {
			return
		}
		var passed bytes.Buffer
		for {
			req, err := http.ReadRequest(w.in)
			if err != nil {
				break
			}
			passed.Write(w.take())
			if w.body(&passed, req.Body) != nil {
				break
			}
		}
		if !bytes.HasPrefix(b, passed.Bytes()) {
			t.Errorf("passed on %q of %q", passed.Bytes(), b)
		}
	})
}
