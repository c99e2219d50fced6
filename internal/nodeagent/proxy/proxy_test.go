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
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/testenv"
)

func serve(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l) }()
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

func FuzzSOCKS(f *testing.F) {
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x03\x07payment\x1f\x90"))
	f.Add([]byte("\x05\x02\x00\x02\x05\x01\x00\x04" + strings.Repeat("\x00", 18)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		if ok, err := readMethods(r); err != nil || !ok {
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
