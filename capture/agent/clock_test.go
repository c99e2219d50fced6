package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/traffic"
)

// TestClocksApart has nodes whose clocks are not ours: the packets' times are ours, as long as the clocks are apart for
// certain, also when the node's is set while we listen. An agent of the test's own stands in: no kernel here has another
// clock than ours.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		ahead, then time.Duration // of the node's clock, before and after it is set
	}{
		{"the same", 0, 0},
		{"about the same", 20 * time.Millisecond, -20 * time.Millisecond},
		{"ahead", 5 * time.Minute, 5 * time.Minute},
		{"behind", -48 * time.Hour, -48 * time.Hour},
		{"a machine that slept", 0, -8 * time.Hour},
		{"set right", time.Hour, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &clockNode{t: t}
				n.ahead.Store(int64(c.ahead))
				times := n.listen()
				want := time.Now()
				n.packet()
				synctest.Wait()
				n.ahead.Store(int64(c.then))
				time.Sleep(2 * polling) // it is asked again; the time is the test's own
				synctest.Wait()
				later := time.Now()
				n.packet()
				synctest.Wait()
				for i, at := range []time.Time{want, later} {
					if apart := time.Duration((*times)[i] - at.UnixNano()).Abs(); apart > tolerated {
						t.Errorf("packet %d is told of %s off", i, apart)
					}
				}
				if ahead := n.s.Ahead(); (ahead-c.then).Abs() > tolerated || c.then == 0 && ahead.Abs() > tolerated {
					t.Errorf("the clock is taken for %s ahead, and is %s", ahead, c.then)
				}
			})
		})
	}
}

// clockNode is an agent with a clock of its own.
type clockNode struct {
	t     *testing.T
	s     *Source
	ahead atomic.Int64
}

func (n *clockNode) now() int64 { return time.Now().UnixNano() + n.ahead.Load() }

// ServeHTTP answers as an agent does whose ring is empty.
func (n *clockNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	stats := Stats{Run: "x", Now: n.now()}
	var v any
	switch r.URL.Path {
	case "/version":
		v = Version{API: API}
	case "/health":
		v = Health{OK: true, Node: "n1"}
	case "/stats":
		v = stats
	case "/rotate":
		v = Flushed{Position: Position{Ring: "r", Segment: 1}, Stats: stats}
	}
	if err := json.NewEncoder(w).Encode(v); err != nil {
		n.t.Error(err)
	}
}

// listen dials the node and returns the times of the packets that come. Connections are pipes, which synctest knows.
func (n *clockNode) listen() *[]int64 {
	server := &http.Server{Handler: n}
	l := &pipes{conns: make(chan net.Conn)}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	s, err := Dial(n.t.Context(), Options{Token: "t", Address: "node:1", DialContext: l.dial, DialStream: func(context.Context, string, string) (net.Conn, error) {
		return nil, net.ErrClosed // packets come by packet()
	}})
	if err != nil {
		n.t.Fatal(err)
	}
	n.s = s
	ctx, cancel := context.WithCancel(n.t.Context())
	times := &[]int64{}
	wg.Go(func() { _ = s.Run(ctx, func(p *traffic.Packet) { *times = append(*times, p.Time) }) })
	n.t.Cleanup(func() {
		cancel()
		_ = s.Close()
		_ = server.Close()
		l.Close()
		wg.Wait()
	})
	return times
}

// packet delivers one whose time is the node's.
func (n *clockNode) packet() {
	var b bytes.Buffer
	w := pcapfile.NewWriter(&b, pcapfile.Header{Comment: `{"ring":"r","run":"x","segment":1}`})
	i := w.AddInterface(&traffic.Interface{Name: "pod/a/b", Link: traffic.LinkRaw, CGroup: 7})
	if err := w.Write(&traffic.Packet{Time: n.now(), Data: make([]byte, 40), Length: 40}, i); err != nil {
		n.t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		n.t.Fatal(err)
	}
	if err := scan(strings.NewReader(b.String()), Position{}, func(c chunk) bool { n.s.chunks <- c; return true }); err != nil {
		n.t.Fatal(err)
	}
}

// pipes is a listener of pipes.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours, nil
}

func (p *pipes) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.conns) }); return nil }
func (*pipes) Addr() net.Addr { return &net.TCPAddr{} }
