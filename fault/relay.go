package fault

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Relay passes on what a client and a server say to each other, and damages it. A turn is what the client says after
// the server spoke, or first: in protocols of requests and answers, a request.
type Relay struct {
	fault  Fault
	listen net.Listener
	dial   func() (net.Conn, error)
	over   chan struct{} // closed when the fault ends

	mu    sync.Mutex
	dice  *rand.Rand
	conns map[net.Conn]bool
	ended bool
	seen  int
	hit   int
	unfit int
	busy  sync.WaitGroup
}

// NewRelay begins to pass on what comes in at a listener. dial opens a connection to the server.
func NewRelay(f Fault, listen net.Listener, dial func() (net.Conn, error)) *Relay {
	r := &Relay{fault: f, listen: listen, dial: dial, over: make(chan struct{}), conns: map[net.Conn]bool{}, dice: rand.New(rand.NewPCG(f.Seed, 0))}
	r.busy.Go(r.accept)
	return r
}

// Port is where the relay listens.
func (r *Relay) Port() int { return r.listen.Addr().(*net.TCPAddr).Port }

// Counts are the requests or connections that the fault could have met, those that it met, and the connections of a protocol in
// which it cannot be said.
func (r *Relay) Counts() (seen, hit, unfit int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen, r.hit, r.unfit
}

// Close ends the fault: every connection that goes through it is closed.
func (r *Relay) Close() {
	r.mu.Lock()
	r.ended = true
	close(r.over)
	r.listen.Close()
	for c := range r.conns {
		c.Close()
	}
	r.mu.Unlock()
	r.busy.Wait()
}

func (r *Relay) accept() {
	for {
		client, err := r.listen.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no descriptors left, for a while
			select {
			case <-r.over:
				return
			case <-time.After(50 * time.Millisecond):
				continue
			}
		}
		r.busy.Go(func() { r.serve(client) })
	}
}

// hold keeps a connection until it is let go, and refuses it when the fault is over.
func (r *Relay) hold(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		c.Close()
		return false
	}
	r.conns[c] = true
	return true
}

func (r *Relay) letGo(c net.Conn) {
	c.Close()
	r.mu.Lock()
	delete(r.conns, c)
	r.mu.Unlock()
}

// meets throws the dice for one turn.
func (r *Relay) meets() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen++
	if r.dice.Float64() >= r.fault.Rate {
		return false
	}
	r.hit++
	return true
}

func (r *Relay) cannot() {
	r.mu.Lock()
	r.unfit++
	r.mu.Unlock()
}

func (r *Relay) serve(client net.Conn) {
	if !r.hold(client) {
		return
	}
	defer r.letGo(client)
	server, err := r.dial()
	if err != nil {
		reset(client) // as the server's machine does where nobody listens
		return
	}
	if !r.hold(server) {
		return
	}
	defer r.letGo(server)
	if r.fault.Kind == Status {
		r.requests(client, server)
		return
	}
	r.turns(client, server)
}

// reset closes a connection with an RST.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}

// turns passes on bytes of any protocol.
func (r *Relay) turns(client, server net.Conn) {
	var spoke, cut, silent atomic.Bool // the server spoke since the last turn; its next answer is cut; nothing is said any more
	spoke.Store(true)
	var both sync.WaitGroup
	both.Go(func() {
		pass(server, client, func(b []byte) ([]byte, bool) {
			switch {
			case silent.Load():
				return nil, true
			case !spoke.Swap(false) || !r.meets():
				return b, true
			}
			switch r.fault.Kind {
			case Latency:
				select {
				case <-time.After(r.fault.Delay):
				case <-r.over:
				}
			case Reset:
				reset(client)
				server.Close()
				return nil, false
			case Stall:
				silent.Store(true)
				return nil, true
			case Truncate:
				cut.Store(true)
			}
			return b, true
		})
	})
	pass(client, server, func(b []byte) ([]byte, bool) {
		spoke.Store(true)
		switch {
		case silent.Load():
			return nil, true
		case cut.Load():
			return half(b), false
		}
		return b, true
	})
	if cut.Load() {
		client.Close()
		server.Close()
	}
	both.Wait()
}

// pass reads until there is no more, or what becomes of it says so, and then tells the other end that nothing follows.
func pass(to, from net.Conn, become func([]byte) ([]byte, bool)) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			b, more := become(buf[:n])
			if len(b) > 0 {
				if _, err := to.Write(b); err != nil {
					from.Close()
					return
				}
			}
			if !more {
				break
			}
		}
		if err != nil {
			var reset = !errors.Is(err, io.EOF)
			if reset {
				to.Close()
				return
			}
			break
		}
	}
	if t, ok := to.(*net.TCPConn); ok {
		t.CloseWrite()
	}
}

// half is the first half of an answer; of an HTTP/1 answer that came with its body, the head and half of the body.
func half(b []byte) []byte {
	if at := bytes.Index(b, []byte("\r\n\r\n")); at >= 0 && at+4 < len(b) {
		return b[:at+4+(len(b)-at-4)/2]
	}
	return b[:len(b)/2]
}

// maxHead bounds the head of a message, and of a body what is read of it in vain.
const maxHead = 1 << 20

// wiretap reads messages and keeps their bytes as they came, so that they are passed on unchanged.
type wiretap struct {
	from net.Conn
	in   *bufio.Reader
	raw  []byte
}

func newWiretap(c net.Conn) *wiretap {
	w := &wiretap{from: c}
	w.in = bufio.NewReader(w)
	return w
}

// Read is for the buffer alone.
func (w *wiretap) Read(p []byte) (int, error) {
	if len(w.raw) > maxHead {
		return 0, errors.New("the head of a message is too long")
	}
	n, err := w.from.Read(p)
	w.raw = append(w.raw, p[:n]...)
	return n, err
}

// take is what was read of messages since the last time.
func (w *wiretap) take() []byte {
	n := len(w.raw) - w.in.Buffered()
	b := w.raw[:n:n]
	w.raw = bytes.Clone(w.raw[n:])
	return b
}

// body passes on a body with its framing.
func (w *wiretap) body(to io.Writer, body io.Reader) error {
	buf := make([]byte, 16<<10)
	for {
		_, err := body.Read(buf)
		if _, err := to.Write(w.take()); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// speaksHTTP1 says whether a connection begins like one of HTTP/1: not TLS, and not HTTP/2.
func (w *wiretap) speaksHTTP1() bool {
	if _, err := w.in.Peek(1); err != nil {
		return true // nothing was said
	}
	b, _ := w.in.Peek(min(w.in.Buffered(), 14))
	return b[0] >= 'A' && b[0] <= 'Z' && !bytes.HasPrefix(b, []byte("PRI * HTTP/2"))
}

// requests passes on HTTP/1, and answers some requests itself.
func (r *Relay) requests(client, server net.Conn) {
	asked, answered := newWiretap(client), newWiretap(server)
	if !asked.speaksHTTP1() {
		r.cannot()
		r.untouched(asked, answered)
		return
	}
	for {
		req, err := http.ReadRequest(asked.in)
		if err != nil {
			return
		}
		if r.meets() {
			if !r.answer(client, req) {
				return
			}
			asked.take()
			continue
		}
		if _, err := server.Write(asked.take()); err != nil {
			return
		}
		sent := make(chan error, 1)
		r.busy.Go(func() { sent <- asked.body(server, req.Body) })
		resp, err := answered.response(client, req)
		if err != nil || resp.Close || req.Close {
			client.Close()
			server.Close()
			<-sent
			return
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			<-sent
			r.untouched(asked, answered)
			return
		}
		if <-sent != nil {
			return
		}
	}
}

// response passes on the answer to a request, with what comes before it (1xx).
func (w *wiretap) response(to io.Writer, req *http.Request) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(w.in, req)
		if err != nil {
			return nil, err
		}
		if err := w.body(to, resp.Body); err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, nil
		}
	}
}

// answer says the fault's status. It returns whether the connection can be used further.
func (r *Relay) answer(client net.Conn, req *http.Request) bool {
	keep := !req.Close && req.Header.Get("Expect") == ""
	if keep {
		n, err := io.Copy(io.Discard, io.LimitReader(req.Body, maxHead/2))
		keep = err == nil && n < maxHead/2
	}
	text := http.StatusText(r.fault.Status)
	body := fmt.Sprintf("fault %s of devloop: %d %s\n", r.fault.ID, r.fault.Status, text)
	if r.fault.Status == http.StatusNoContent || r.fault.Status == http.StatusNotModified {
		body = ""
	}
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nX-Devloop-Fault: %s\r\n", r.fault.Status, text, r.fault.ID)
	if r.fault.Status != http.StatusNoContent {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	if !keep {
		head += "Connection: close\r\n"
	}
	if req.Method == http.MethodHead {
		body = ""
	}
	_, err := io.WriteString(client, head+"\r\n"+body)
	return keep && err == nil
}

// untouched passes on everything as it is, beginning with what was read already.
func (r *Relay) untouched(asked, answered *wiretap) {
	client, server := asked.from, answered.from
	if _, err := server.Write(asked.raw); err != nil {
		return
	}
	if _, err := client.Write(answered.raw); err != nil {
		return
	}
	as := func(b []byte) ([]byte, bool) { return b, true }
	var both sync.WaitGroup
	both.Go(func() { pass(server, client, as) })
	pass(client, server, as)
	both.Wait()
}
