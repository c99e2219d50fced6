package dissect_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// exchange2 is what a client and a server know of a call over HTTP/2.
type exchange2 struct {
	Method, Path, Query string
	Status              int
	Request, Response   string // bodies, decoded, their first 20 bytes
	RequestSize         int64
	Header, Trailer     string // of the response: X-Name, X-Sum
	State, Error, Reset string
	Continued           bool
}

func serveHTTP2() (addr string, stop func(), err error) {
	mux := http.NewServeMux()
	mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "plain text") })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
		w.Write(b)
	})
	mux.HandleFunc("/gzip", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprint(z, strings.Repeat("devloop ", 500))
		z.Close()
	})
	mux.HandleFunc("/none", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprint(w, "body")
		w.Header().Set("X-Sum", "7")
	})
	mux.HandleFunc("/abort", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/half", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "half of a")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/early", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Name", r.URL.Path)
		mux.ServeHTTP(w, r)
	}), Protocols: &p}
	go s.Serve(l)
	return l.Addr().String(), func() { s.Close() }, nil
}

// everyHTTP2 makes one call of each kind, and logs them in their order.
func everyHTTP2(file string) func() error {
	return func() error {
		addr, stop, err := serveHTTP2()
		if err != nil {
			return err
		}
		defer stop()
		var p http.Protocols
		p.SetUnencryptedHTTP2(true)
		transport := &http.Transport{Protocols: &p, ExpectContinueTimeout: time.Second}
		defer transport.CloseIdleConnections()
		var log []exchange2
		call := func(ctx context.Context, method, target string, body io.Reader, want exchange2, edit func(*http.Request)) error {
			r, err := http.NewRequestWithContext(ctx, method, "http://"+addr+target, body)
			if err != nil {
				return err
			}
			r.Header.Set("Cookie", "sid=1; theme=dark")
			if edit != nil {
				edit(r)
			}
			want.Method, want.Path, want.Query = method, r.URL.Path, r.URL.RawQuery
			a, err := transport.RoundTrip(r)
			if err == nil {
				var b []byte
				b, err = io.ReadAll(a.Body)
				a.Body.Close()
				want.Status, want.Response, want.Header, want.Trailer = a.StatusCode, string(b[:min(len(b), 20)]), a.Header.Get("X-Name"), a.Trailer.Get("X-Sum")
			}
			if want.State == "" {
				want.State = string(traffic.StateComplete)
				if err != nil {
					return err
				}
			}
			log = append(log, want)
			return nil
		}
		bg := context.Background()
		long := strings.Repeat("0123456789", longBody(file)/20)
		err = errors.Join(
			call(bg, "GET", "/plain?a=1&b=%20", nil, exchange2{}, nil),
			call(bg, "POST", "/echo", strings.NewReader("hello"), exchange2{Request: "hello", RequestSize: 5}, nil),
			call(bg, "PUT", "/echo", strings.NewReader(long), exchange2{Request: long[:20], RequestSize: int64(len(long))}, nil),
			call(bg, "GET", "/gzip", nil, exchange2{}, func(r *http.Request) {
				r.Header.Set("Accept-Encoding", "gzip")
				r.Header.Set("X-Long", strings.Repeat("é", 8_500))
			}),
			call(bg, "HEAD", "/plain", nil, exchange2{}, nil),
			call(bg, "GET", "/nowhere", nil, exchange2{}, nil),
			call(bg, "DELETE", "/none", nil, exchange2{}, nil),
			call(bg, "GET", "/trailers", nil, exchange2{}, nil),
			call(bg, "GET", "/abort", nil, exchange2{State: "unanswered", Error: traffic.ErrorStream, Reset: "INTERNAL_ERROR"}, nil),
			call(bg, "GET", "/half", nil, exchange2{State: "truncated", Error: traffic.ErrorStream, Reset: "INTERNAL_ERROR"}, nil),
			func() error { // the time begins when the calls before are done: the request has long left when it is over
				soon, cancel := context.WithTimeout(bg, 300*time.Millisecond)
				defer cancel()
				return call(soon, "GET", "/slow", nil, exchange2{State: "unanswered", Error: traffic.ErrorCancelled, Reset: "CANCEL"}, nil)
			}(),
			call(bg, "POST", "/echo", strings.NewReader("waited"), exchange2{Request: "waited", RequestSize: 6, Continued: true},
				func(r *http.Request) { r.Header.Set("Expect", "100-continue") }),
		)
		if err != nil {
			return err
		}
		for i := range log {
			if log[i].Path == "/gzip" { // it comes as it is
				log[i].Response = "devloop devloop devl"
			}
			if log[i].State == "truncated" {
				log[i].Response = "half of a"
			}
		}
		return writeLog(file, log)
	}
}

func seen2(c *traffic.Call) exchange2 {
	h := c.HTTP
	x := exchange2{Method: c.Method, Path: c.Path, Query: h.Query, Status: c.Status, Request: string(h.RequestBody[:min(len(h.RequestBody), 20)]),
		Response: string(h.ResponseBody[:min(len(h.ResponseBody), 20)]), RequestSize: c.RequestSize, State: string(c.State), Error: c.Error, Reset: h.Reset,
		Continued: h.Continued}
	for _, f := range h.ResponseHeaders {
		switch f.Name {
		case "x-name":
			x.Header = f.Value
		case "x-sum":
			x.Trailer = f.Value
		}
	}
	return x
}

// TestHTTP2 compares the calls in a capture of Go's client and server with what these two know.
func TestHTTP2(t *testing.T) {
	compareReal(t, "http2", testenv.NeedsRoot, checkHTTP2)
}

func checkHTTP2(t *testing.T, file string) {
	want := readLog[exchange2](t, file)
	calls, conns, err := dissectFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sort.Slice(calls, func(i, j int) bool { return calls[i].Index < calls[j].Index })
	var got []exchange2
	for i, c := range calls {
		got = append(got, seen2(c))
		h := c.HTTP
		if h.Version != "2" || h.Host == "" || h.UnknownHeaders != 0 || h.BodyError != "" || h.Stream != uint32(2*i+1) || h.KeptAlive != (i > 0) ||
			!bytes.Contains([]byte(fmt.Sprint(h.RequestHeaders)), []byte("theme=dark")) || h.RequestHeadersSize == 0 {
			t.Errorf("call %d: %+v", i, h)
		}
	}
	for i := range want { // the answer that was cut is not the client's to see
		if want[i].State == "truncated" {
			want[i].Status, want[i].Header = 200, want[i].Path
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls of %s (-client +dissected):\n%s", file, diff)
	}
	if len(conns) != 1 || conns[0].Undecoded != 0 || conns[0].L7 != traffic.ProtoHTTP {
		t.Errorf("connections: %+v", conns)
	}
}
