package clustertest

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/devloop-io/devloop/kindenv/cluster"
)

// Way is a proxy before a cluster's API server that can be cut off, taken away and put back.
type Way struct {
	t       testing.TB
	to      string
	address string

	mu   sync.Mutex
	l    net.Listener
	open map[net.Conn]bool
}

// NewWay is a way to a cluster, which ends with the test.
func NewWay(t testing.TB, c *cluster.Cluster) *Way {
	t.Helper()
	u, err := url.Parse(c.REST().Host)
	if err != nil {
		t.Fatal(err)
	}
	w := &Way{t: t, to: u.Host, address: "127.0.0.1:0", open: map[net.Conn]bool{}}
	w.Back()
	t.Cleanup(w.Gone)
	return w
}

// URL is where the API server is reached through the way.
func (w *Way) URL() string { return "https://" + w.address }

// REST are the cluster's settings through the way.
func (w *Way) REST(c *cluster.Cluster) *rest.Config {
	config := c.REST()
	config.TLSClientConfig.ServerName = hostOf(config.Host)
	config.Host = w.URL()
	return config
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// Back lets connections through, as at first.
func (w *Way) Back() {
	l, err := net.Listen("tcp", w.address)
	if err != nil {
		w.t.Error(err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.address, w.l = l.Addr().String(), l
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go w.pass(in)
		}
	}()
}

func (w *Way) pass(in net.Conn) {
	out, err := net.Dial("tcp", w.to)
	if err != nil {
		in.Close()
		return
	}
	w.mu.Lock()
	w.open[in], w.open[out] = true, true
	w.mu.Unlock()
	go func() { _, _ = io.Copy(out, in); out.Close() }()
	_, _ = io.Copy(in, out)
	in.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, in)
	delete(w.open, out)
}

// Cut ends all connections, and says how many there were. New ones are let through.
func (w *Way) Cut() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for conn := range w.open {
		conn.Close()
	}
	return len(w.open) / 2
}

// Gone ends all connections and refuses new ones, until [Way.Back].
func (w *Way) Gone() {
	w.mu.Lock()
	w.l.Close()
	w.mu.Unlock()
	w.Cut()
}
