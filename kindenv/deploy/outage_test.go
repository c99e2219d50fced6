package deploy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/devloop-io/devloop/kindenv/deploy"
)

// cutter is a proxy before the API server that can be taken away and put back.
type cutter struct {
	t       *testing.T
	to      string
	address string

	mu   sync.Mutex
	l    net.Listener
	open map[net.Conn]bool
}

func newCutter(t *testing.T, to string) *cutter {
	c := &cutter{t: t, to: to, address: "127.0.0.1:0"}
	c.back()
	t.Cleanup(c.cut)
	return c
}

func (c *cutter) back() {
	l, err := net.Listen("tcp", c.address)
	if err != nil {
		c.t.Error(err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.address, c.l, c.open = l.Addr().String(), l, map[net.Conn]bool{}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go c.pass(in)
		}
	}()
}

func (c *cutter) pass(in net.Conn) {
	out, err := net.Dial("tcp", c.to)
	if err != nil {
		in.Close()
		return
	}
	c.mu.Lock()
	c.open[in], c.open[out] = true, true
	c.mu.Unlock()
	go func() { _, _ = io.Copy(out, in); out.Close() }()
	_, _ = io.Copy(in, out)
	in.Close()
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.l.Close()
	for conn := range c.open {
		conn.Close()
	}
}

// behind is a deployer that reaches the cluster through a cutter.
func (b *bench) behind() *cutter {
	config := b.cluster.REST()
	u, err := url.Parse(config.Host)
	must(b.t, err)
	c := newCutter(b.t, u.Host)
	config = rest.CopyConfig(config)
	config.Host, config.TLSClientConfig.ServerName = "https://"+c.address, u.Hostname()
	b.deployer, err = deploy.NewDeployer(config)
	must(b.t, err)
	b.deployer.Say = b.say
	return c
}

// TestServerGoneAndBack: what is under way goes on when the API server answers again, and it is said that it is waited for.
func TestServerGoneAndBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.behind()
	p := b.plan("", deployment("serve", "readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}", ""))
	c.cut()
	time.AfterFunc(2*time.Second, c.back)
	b.apply(p)
	if !b.heard("does not answer") || !b.heard("answers again") {
		t.Errorf("said %v", b.said)
	}
	b.apply(b.plan("", strings.ReplaceAll(deployment("serve", "readinessProbe: {tcpSocket: {port: 8080}, initialDelaySeconds: 3, periodSeconds: 1}", ""), "app: x", "app: x")))
	time.AfterFunc(500*time.Millisecond, c.cut)
	time.AfterFunc(2*time.Second, c.back)
	must(t, b.deployer.WaitRest(b.ctx, p))
}

// TestServerGone: after half a minute it is said who does not answer.
func TestServerGone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.behind()
	p := b.plan("", deployment("serve", "", ""))
	b.apply(p)
	c.cut()
	began := time.Now()
	_, err := b.deployer.Apply(b.ctx, p.Objects)
	var gone *deploy.UnreachableError
	if !errors.As(err, &gone) || !strings.Contains(err.Error(), "has not answered for 30 s") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%.0f s: %v", time.Since(began).Seconds(), err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, time.Second)
	defer cancel()
	if err := b.deployer.WaitRest(ctx, p); !errors.As(err, &gone) {
		t.Errorf("wait: %v", err)
	}
}
