package dissect_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// everyShape lets Go's own client and server exchange one message of every shape that HTTP/1.1 has, one after another.
func everyShape() error {
	l, err := net.Listen("tcp", "127.0.0.1:8080")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: shapes()}
	go server.Serve(l)
	defer server.Close()
	for _, step := range []func() error{keepAlive, pipelined, chunkedBothWays, expectContinue, upgraded, endedEarly} {
		if err := step(); err != nil {
			return err
		}
		http.DefaultClient.CloseIdleConnections()
	}
	return nil
}

const base = "http://127.0.0.1:8080"

func shapes() *http.ServeMux {
	m := http.NewServeMux()
	m.HandleFunc("/plain/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello", r.URL.Path) })
	m.HandleFunc("/gzip", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprint(z, strings.Repeat("devloop ", 200))
		z.Close()
	})
	m.HandleFunc("/chunked", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Sum")
		for part := range bytes.SplitSeq(body, []byte(" ")) {
			w.Write(part)
			w.(http.Flusher).Flush()
		}
		w.Header().Set("X-Sum", r.Trailer.Get("X-Sum"))
	})
	m.HandleFunc("/continue", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
	})
	m.HandleFunc("/empty", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	m.HandleFunc("/unchanged", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotModified) })
	m.HandleFunc("/upgrade", func(w http.ResponseWriter, r *http.Request) {
		c, rw := hijack(w)
		defer c.Close()
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := rw.ReadString('\n')
		fmt.Fprint(c, line)
	})
	m.HandleFunc("/early", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	})
	m.HandleFunc("/closed", func(w http.ResponseWriter, r *http.Request) { c, _ := hijack(w); c.Close() })
	m.HandleFunc("/reset", func(w http.ResponseWriter, r *http.Request) {
		c, _ := hijack(w)
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	})
	m.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "ten bytes.")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	m.HandleFunc("/cancelled", func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // or it would answer to nobody
	})
	return m
}

func hijack(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter) {
	c, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	return c, rw
}

// ask sends a request and reads its answer to the end.
func ask(ctx context.Context, method, path string, body io.Reader, edit func(*http.Request)) error {
	r, err := http.NewRequestWithContext(ctx, method, base+path, body)
	if err != nil {
		return err
	}
	if edit != nil {
		edit(r)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	_, err = io.Copy(io.Discard, a.Body)
	return err
}

func keepAlive() error {
	var all error
	for _, x := range [][2]string{{"GET", "/plain/1?page=2"}, {"HEAD", "/plain/2"}, {"GET", "/gzip"}, {"DELETE", "/empty"}, {"GET", "/unchanged"}, {"GET", "/plain/3"}} {
		all = errors.Join(all, ask(context.Background(), x[0], x[1], nil, nil))
	}
	return all
}

// pipelined sends three requests before the first answer, and the third in two parts.
func pipelined() error {
	c, err := net.Dial("tcp", "127.0.0.1:8080")
	if err != nil {
		return err
	}
	defer c.Close()
	one := "GET /plain/p1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /continue HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /plain/p3 HT"
	if _, err := io.WriteString(c, one); err != nil {
		return err
	}
	r := bufio.NewReader(c)
	for i := range 3 {
		a, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, a.Body); err != nil {
			return err
		}
		if i == 1 {
			if _, err := io.WriteString(c, "TP/1.1\r\nHost: a\r\n\r\n"); err != nil {
				return err
			}
		}
	}
	return nil
}

func chunkedBothWays() error {
	in, out := io.Pipe()
	go func() {
		for _, word := range []string{"one ", "two ", "three"} {
			fmt.Fprint(out, word)
		}
		out.Close()
	}()
	return ask(context.Background(), "POST", "/chunked", in, func(r *http.Request) { r.Trailer = http.Header{"X-Sum": {"7"}} })
}

func expectContinue() error {
	return ask(context.Background(), "PUT", "/continue", strings.NewReader("the body"), func(r *http.Request) { r.Header.Set("Expect", "100-continue") })
}

func upgraded() error {
	c, err := net.Dial("tcp", "127.0.0.1:8080")
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Fprint(c, "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	r := bufio.NewReader(c)
	if _, err := http.ReadResponse(r, nil); err != nil {
		return err
	}
	fmt.Fprint(c, "ping\n")
	_, err = r.ReadString('\n')
	return err
}

// endedEarly are the exchanges that do not end well: none may be answered whole.
func endedEarly() error {
	if err := ask(context.Background(), "POST", "/early", strings.NewReader(strings.Repeat("x", 20_000)), nil); err != nil {
		return err
	}
	http.DefaultClient.CloseIdleConnections()
	for _, path := range []string{"/closed", "/reset", "/cut", "/cancelled"} {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		err := ask(ctx, "POST", path, nil, nil)
		cancel()
		if err == nil {
			return fmt.Errorf("%s was answered", path)
		}
		http.DefaultClient.CloseIdleConnections()
	}
	return nil
}

// manyCalls is the load that the benchmark captures: a real server and 16 clients with connections of their own, bodies
// of 50 to 2,400 bytes.
func manyCalls() error {
	const clients, each = 16, 1250
	l, err := net.Listen("tcp", "127.0.0.1:8080")
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(1, 2))
	var bodies []string
	for range 256 {
		body := `{"id":1`
		for n := 50 + r.IntN(2400); len(body) < n; {
			body += fmt.Sprintf(`,"price":%d`, r.IntN(100000))
		}
		bodies = append(bodies, body+"}")
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, bodies[len(r.URL.Path)*31%256])
	})}
	go server.Serve(l)
	defer server.Close()
	var wg sync.WaitGroup
	failed := make([]error, clients)
	for n := range clients {
		wg.Go(func() {
			c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
			defer c.CloseIdleConnections()
			r := rand.New(rand.NewPCG(3, uint64(n)))
			for i := 0; i < each && failed[n] == nil; i++ {
				method, body := "GET", io.Reader(nil)
				if r.IntN(3) == 0 {
					method, body = "POST", strings.NewReader(bodies[r.IntN(256)])
				}
				q, err := http.NewRequest(method, fmt.Sprintf("%s/api/v1/orders/%d/%s?page=%d", base, r.IntN(1000000), "items"[:r.IntN(5)], r.IntN(50)), body)
				if err != nil {
					failed[n] = err
					break
				}
				q.Header.Set("Traceparent", fmt.Sprintf("00-%016x%016x-%016x-01", r.Uint64(), r.Uint64(), r.Uint64()))
				q.Header.Set("X-Request-Id", fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64()))
				a, err := c.Do(q)
				if err != nil {
					failed[n] = err
					break
				}
				_, failed[n] = io.Copy(io.Discard, a.Body)
				a.Body.Close()
			}
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}
