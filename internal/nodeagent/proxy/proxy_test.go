package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/testenv"
)

func serve(t *testing.T) string { return serveWith(t, Options{}) }

func serveWith(t *testing.T, o Options) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func echoServer(t *testing.T) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, b)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestPlainRequests(t *testing.T) {
	t.Parallel()
	web, addr := echoServer(t), serve(t)
	c := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: addr})}}
	defer c.CloseIdleConnections()
	for range 3 {
		res, err := c.Post(web.URL+"/a", "text/plain", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(b) != "POST /a hello" {
			t.Errorf("got %q", b)
		}
	}
	res, err := http.Get("http://" + addr + "/")
	if err != nil || res.StatusCode != http.StatusBadRequest {
		t.Errorf("a request to the proxy itself: %v, %v", res, err)
	}
}

// curl speaks CONNECT and SOCKS5, the latter with names that the proxy resolves.
func TestCurlComesThrough(t *testing.T) {
	t.Parallel()
	curl := testenv.NeedsProgram(t, "curl")
	web, addr := echoServer(t), serve(t)
	u, _ := url.Parse(web.URL)
	for _, args := range [][]string{
		{"--proxytunnel", "--proxy", "http://" + addr},
		{"--proxy", "socks5h://" + addr},
		{"--proxy", "socks5://" + addr},
	} {
		args = append(args, "-sS", "-m", "10", "-d", "hi", "http://localhost:"+u.Port()+"/b")
		out, err := exec.Command(curl, args...).CombinedOutput()
		if err != nil || string(out) != "POST /b hi" {
			t.Errorf("curl %v: %v: %s", args, err, out)
		}
	}
}

// The end of what one side says is passed on while the other still speaks.
func TestHalfClosedConnectionsStayOpen(t *testing.T) {
	t.Parallel()
	addr := serve(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		all, _ := io.ReadAll(c)
		c.Write(bytes.ToUpper(all))
	}()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", l.Addr())
	head := make([]byte, len("HTTP/1.1 200 OK\r\n\r\n"))
	if _, err := io.ReadFull(c, head); err != nil || !strings.HasPrefix(string(head), "HTTP/1.1 200") {
		t.Fatalf("%q, %v", head, err)
	}
	c.Write([]byte("shout"))
	c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "SHOUT" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	addr := serve(t)
	for name, c := range map[string]struct{ send, want string }{
		"authentication is asked for": {"\x05\x01\x02", "\x05\xff"},
		"bind":                        {"\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x01", "\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00"},
		"address of another kind":     {"\x05\x01\x00\x05\x01\x00\x09", "\x05\x00\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00"},
		"nobody there":                {"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x01", "\x05\x00\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00"},
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		conn.Write([]byte(c.send))
		got := make([]byte, len(c.want))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != c.want {
			t.Errorf("%s: got %x, %v, want %x", name, got, err, c.want)
		}
		conn.Close()
	}
}

// A proxy with a token lets in who has it, by SOCKS5, CONNECT and plain requests, and nobody else.
func TestTokenIsNeeded(t *testing.T) {
	t.Parallel()
	curl := testenv.NeedsProgram(t, "curl")
	const token = "0123456789abcdef"
	web, addr := echoServer(t), serveWith(t, Options{Token: token})
	u, _ := url.Parse(web.URL)
	target := "http://localhost:" + u.Port() + "/b"
	for _, c := range []struct {
		proxy string
		ok    bool
	}{
		{"socks5h://devloop:" + token + "@" + addr, true},
		{"socks5://devloop:" + token + "@" + addr, true},
		{"http://devloop:" + token + "@" + addr, true},
		{"socks5h://" + addr, false},
		{"socks5h://devloop:@" + addr, false},
		{"socks5h://devloop:0123456789abcdee@" + addr, false},
		{"socks5h://other:" + token + "@" + addr, false},
		{"http://" + addr, false},
		{"http://devloop:wrong@" + addr, false},
		{"http://:" + token + "@" + addr, false},
	} {
		for _, tunnel := range []bool{false, true} {
			if tunnel && !strings.HasPrefix(c.proxy, "http:") {
				continue
			}
			args := []string{"-q", "-sS", "-f", "-m", "10", "-d", "hi", target}
			if tunnel {
				args = append(args, "--proxytunnel")
			}
			cmd := exec.Command(curl, args...)
			cmd.Env = append(os.Environ(), "ALL_PROXY="+c.proxy, "http_proxy=", "HTTP_PROXY=", "NO_PROXY=", "no_proxy=")
			out, err := cmd.CombinedOutput()
			if (err == nil) != c.ok || (string(out) == "POST /b hi") != c.ok {
				t.Errorf("%s, tunnel %v: %v: %s", c.proxy, tunnel, err, out)
			}
		}
		p, err := url.Parse(c.proxy)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{Proxy: http.ProxyURL(p), DisableKeepAlives: true}}
		res, err := client.Get(web.URL + "/b")
		if err == nil {
			res.Body.Close()
		}
		if got := err == nil && res.StatusCode == http.StatusOK; got != c.ok {
			t.Errorf("%s from Go: %v, %v", c.proxy, res, err)
		}
	}
}

// The token is for the proxy: the server behind it does not see it.
func TestTokenIsNotPassedOn(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header) }))
	t.Cleanup(web.Close)
	addr := serveWith(t, Options{Token: "0123456789abcdef"})
	c := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", User: url.UserPassword(User, "0123456789abcdef"), Host: addr})}}
	defer c.CloseIdleConnections()
	res, err := c.Get(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK || strings.Contains(string(b), "Authorization") {
		t.Errorf("%s: %s", res.Status, b)
	}
}

// Clients that stop in the middle of a handshake, and those without the password, get nothing but the refusal.
func TestHandshakesWithAToken(t *testing.T) {
	t.Parallel()
	addr := serveWith(t, Options{Token: "secret"})
	for name, c := range map[string]struct{ send, want string }{
		"no method that fits":   {"\x05\x01\x00", "\x05\xff"},
		"wrong password":        {"\x05\x01\x02\x01\x07devloop\x05wrong", "\x05\x02\x01\x01"},
		"empty":                 {"\x05\x01\x02\x01\x00\x00", "\x05\x02\x01\x01"},
		"of another version":    {"\x05\x01\x02\x05\x07devloop\x06secret", "\x05\x02"},
		"a request without one": {"\x05\x01\x02\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x01", "\x05\x02"},
		"half a password":       {"\x05\x01\x02\x01\x07devloop\x06sec", "\x05\x02"},
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		conn.Write([]byte(c.send))
		conn.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(conn)
		if err != nil && !errors.Is(err, syscall.ECONNRESET) || string(got) != c.want {
			t.Errorf("%s: got %x, %v, want %x", name, got, err, c.want)
		}
		conn.Close()
	}
}

func FuzzPassword(f *testing.F) {
	s := newServer(Options{Token: "secret"})
	f.Add([]byte("\x01\x07devloop\x06secret"))
	f.Add([]byte("\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		user, password, err := readPassword(bytes.NewReader(b))
		if err == nil && s.admits(user, password) && (user != User || password != "secret") {
			t.Errorf("%q %q comes in", user, password)
		}
	})
}

func FuzzSOCKS(f *testing.F) {
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x03\x07payment\x1f\x90"))
	f.Add([]byte("\x05\x02\x00\x02\x05\x01\x00\x04" + strings.Repeat("\x00", 18)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		if ok, err := readMethods(r, noAuthentication); err != nil || !ok {
			return
		}
		addr, err := readRequest(r)
		var refused errReply
		if err != nil {
			if errors.As(err, &refused) && refused == 0 {
				t.Error("a refusal says that it succeeded")
			}
			return
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			t.Errorf("address %q: %v", addr, err)
		}
	})
}
