package dissect_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/dissect/protobuf"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// connectCart is a server that speaks Connect, gRPC and gRPC-Web.
func connectCart() http.Handler {
	m := http.NewServeMux()
	m.Handle("/"+cart+"/Add", connect.NewUnaryHandler("/"+cart+"/Add", func(_ context.Context, r *connect.Request[text]) (*connect.Response[text], error) {
		switch r.Msg.Value {
		case "missing":
			return nil, connect.NewError(connect.CodeNotFound, errors.New("no cart 7: größer als 100 %"))
		}
		return connect.NewResponse(wrapperspb.String("added " + r.Msg.Value)), nil
	}))
	m.Handle("/"+cart+"/Watch", connect.NewServerStreamHandler("/"+cart+"/Watch", func(_ context.Context, r *connect.Request[text], s *connect.ServerStream[text]) error {
		for i := range 3 {
			if r.Msg.Value == "fail" && i == 2 {
				return connect.NewError(connect.CodeResourceExhausted, errors.New("enough"))
			}
			if err := s.Send(wrapperspb.String(fmt.Sprint("item ", i))); err != nil {
				return err
			}
		}
		return nil
	}))
	return inBase64(m)
}

// inBase64 is what a proxy for browsers does: application/grpc-web-text is gRPC-Web whose bodies are in base64. No client in Go
// speaks it, so the test's own does.
func inBase64(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const name = "application/grpc-web-text"
		if r.Header.Get("Content-Type") != name {
			inner.ServeHTTP(w, r)
			return
		}
		r.Header.Set("Content-Type", "application/grpc-web+proto")
		r.Body = io.NopCloser(base64.NewDecoder(base64.StdEncoding, r.Body))
		r.ContentLength = -1
		inner.ServeHTTP(&base64Writer{w, name}, r)
	})
}

// base64Writer pads each piece that it is handed.
type base64Writer struct {
	http.ResponseWriter
	content string
}

func (w *base64Writer) Write(b []byte) (int, error) {
	w.Header().Set("Content-Type", w.content)
	_, err := io.WriteString(w.ResponseWriter, base64.StdEncoding.EncodeToString(b))
	return len(b), err
}
func (w *base64Writer) WriteHeader(code int) {
	w.Header().Set("Content-Type", w.content)
	w.ResponseWriter.WriteHeader(code)
}
func (w *base64Writer) Flush() { w.ResponseWriter.(http.Flusher).Flush() }

// webRPC is what the client and the server know of a call.
type webRPC struct {
	RPC      rpc
	Version  string
	Web      bool
	Request  string // as JSON
	Response string
}

// everyWeb makes calls with connect's client over HTTP/1.1 and 2, and in base64.
func everyWeb(file string) func() error {
	return func() error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		var both, two http.Protocols
		both.SetHTTP1(true)
		both.SetUnencryptedHTTP2(true)
		two.SetUnencryptedHTTP2(true)
		server := &http.Server{Handler: connectCart(), Protocols: &both}
		go server.Serve(l)
		defer server.Close()
		var log []webRPC
		url := "http://" + l.Addr().String()
		for _, c := range []struct {
			client  *http.Client
			version string
			web     bool
			options []connect.ClientOption
		}{
			{&http.Client{Transport: &http.Transport{}}, "1.1", true, []connect.ClientOption{connect.WithGRPCWeb()}},
			{&http.Client{Transport: &http.Transport{}}, "1.1", true, []connect.ClientOption{connect.WithGRPCWeb(), connect.WithSendGzip()}},
			{&http.Client{Transport: &http.Transport{Protocols: &two}}, "2", true, []connect.ClientOption{connect.WithGRPCWeb()}},
			{&http.Client{Transport: &http.Transport{Protocols: &two}}, "2", false, []connect.ClientOption{connect.WithGRPC()}},
			{&http.Client{Transport: &textTransport{}}, "1.1", true, []connect.ClientOption{connect.WithGRPCWeb()}},
		} {
			add := connect.NewClient[text, text](c.client, url+"/"+cart+"/Add", c.options...)
			note := func(method, what string, err error, n int, response string) {
				r := webRPC{Version: c.version, Web: c.web, Request: fmt.Sprintf("%q", what), Response: response}
				r.RPC = rpc{Path: "/" + cart + "/" + method, Sent: 1, Received: n, State: string(traffic.StateComplete), Timeout: true}
				var e *connect.Error
				if errors.As(err, &e) {
					r.RPC.Code, r.RPC.Message = int(e.Code()), e.Message()
				}
				log = append(log, r)
			}
			for _, what := range []string{"tea", "missing", strings.Repeat("milk ", 500)} {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				a, err := add.CallUnary(ctx, connect.NewRequest(wrapperspb.String(what)))
				cancel()
				if err != nil {
					note("Add", what, err, 0, "")
					continue
				}
				note("Add", what, nil, 1, fmt.Sprintf("%q", a.Msg.Value))
			}
			watch := connect.NewClient[text, text](c.client, url+"/"+cart+"/Watch", c.options...)
			for _, what := range []string{"all", "fail"} {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				s, err := watch.CallServerStream(ctx, connect.NewRequest(wrapperspb.String(what)))
				if err != nil {
					cancel()
					return err
				}
				var lines []string
				for s.Receive() {
					lines = append(lines, fmt.Sprintf("%q", s.Msg().Value))
				}
				note("Watch", what, s.Err(), len(lines), strings.Join(lines, "\n"))
				s.Close()
				cancel()
			}
			c.client.CloseIdleConnections()
		}
		return writeLog(file, log)
	}
}

// textTransport turns gRPC-Web into its base64 form and back.
type textTransport struct{ http.Transport }

func (t *textTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	coded := base64.StdEncoding.EncodeToString(b)
	r.Header.Set("Content-Type", "application/grpc-web-text")
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(coded)), int64(len(coded))
	a, err := t.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	b, err = io.ReadAll(a.Body)
	var plain []byte
	for len(b) >= 4 { // several padded pieces
		plain, _ = base64.StdEncoding.AppendDecode(plain, b[:4])
		b = b[4:]
	}
	a.Body = io.NopCloser(bytes.NewReader(plain))
	a.Header.Set("Content-Type", "application/grpc-web+proto")
	a.ContentLength = int64(len(plain))
	return a, err
}

// TestGRPCWeb compares the calls with what connect's client knows, with and without descriptors.
func TestGRPCWeb(t *testing.T) {
	testenv.NeedsRoot(t)
	file := filepath.Join(t.TempDir(), "web.pcapng")
	child(t, "grpcweb", file)
	types, err := protobuf.Load(t.Context(), filepath.Join("testdata", "proto", "cart.proto"))
	if err != nil {
		t.Fatal(err)
	}
	packets, ifaces := readPackets(file, 5000)
	want := readLog[webRPC](t, file)
	for _, o := range []dissect.Options{{Types: types}, {}} {
		var got []webRPC
		o.OnCall = func(c *traffic.Call) {
			if c.GRPC == nil {
				t.Errorf("no gRPC: %+v", c)
				return
			}
			r := webRPC{RPC: seenRPC(c), Version: c.HTTP.Version, Web: c.GRPC.Web, Request: c.GRPC.RequestJSON, Response: c.GRPC.ResponseJSON}
			if r.RPC.Encoding == "gzip" { // which the client's log does not tell
				r.RPC.Encoding = ""
			}
			got = append(got, r)
		}
		feed(dissect.New(o), packets, ifaces)
		expect := want
		if o.Types == nil {
			expect = nil
			for _, r := range want {
				r.Request, r.Response = byNumber(r.Request), byNumber(r.Response)
				expect = append(expect, r)
			}
		}
		if diff := cmp.Diff(expect, got); diff != "" {
			t.Errorf("calls (-client +dissected):\n%.4000s", diff)
		}
	}
	for at := 0; at < len(packets); at += 3 {
		if split(t, packets, ifaces, at); t.Failed() {
			return
		}
	}
}

// byNumber is what texts in a StringValue look like without its descriptor.
func byNumber(lines string) string {
	var out []string
	for line := range strings.Lines(lines) {
		out = append(out, `{"1":`+strings.TrimSuffix(line, "\n")+`}`)
	}
	return strings.Join(out, "\n")
}
