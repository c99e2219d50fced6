//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/internal/agentbin"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/internal/daemon"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/kindenv"
	"github.com/devloop-io/devloop/kindenv/cluster"
	"github.com/devloop-io/devloop/traffic"
)

// BenchmarkKind measures the loop in a kind cluster of one node that devloop makes, each figure as a part of its bound: what
// passes from a save of one service to its new program serving, and to the verdict; a daemon that attaches to what runs;
// the node agent's memory and processor time during the shop's rush; and what [wireOf] measures.
func BenchmarkKind(b *testing.B) {
	testenv.NeedsKind(b)
	asReleased(b)
	w, it := kindShop(b, 1)
	if it.Verdict != traffic.Pass {
		b.Fatalf("%s\n%s", it.Verdict, explain(not(it, traffic.Pass)))
	}
	if code, stdout, stderr := w.devloop("up", "--env", "kind", "--detach"); code != 0 {
		b.Fatalf("devloop up: exit %d\n%s%s", code, stdout, stderr)
	}
	save := saver(b, w)
	save(-1) // warms the build cache
	var totals, serving []float64
	for n := range max(b.N, 7) {
		it, took := save(n)
		totals = append(totals, took.Seconds())
		deploy := 0.0
		for _, p := range it.Ledger {
			if p.Phase == "deploy" {
				deploy = float64(p.NS) / 1e9
			}
		}
		serving = append(serving, deploy)
	}
	b.ReportMetric(median(serving), "build-to-serving/1s")
	b.ReportMetric(median(totals)/5, "save-to-verdict/5s")

	_, before := agents(b, w)
	began := time.Now()
	for range 3 {
		if it := w.run(); it.Verdict != traffic.Pass {
			b.Fatalf("%s\n%s", it.Verdict, explain(not(it, traffic.Pass)))
		}
	}
	rss, after := agents(b, w)
	b.ReportMetric(float64(rss)/(64<<20), "agent-rss/64MiB")
	b.ReportMetric(100*(after-before)/time.Since(began).Seconds(), "agent-cpu-%")

	var attach []float64
	for range 3 {
		if err := w.leave(); err != nil {
			b.Fatal(err)
		}
		it := w.run("--env", "kind", "--until", "deploy")
		for _, p := range it.Ledger {
			if p.Phase == "start" {
				attach = append(attach, float64(p.NS)/1e9)
			}
		}
	}
	b.ReportMetric(median(attach), "second-up/1s")
	wireOf(b, shopCluster(1))
	b.ReportMetric(0, "ns/op")
}

// The bounds of the wire, and how long it is measured.
const (
	wireRate    = 50_000 // packets a second
	wireSeconds = 10
)

// wireOf measures how long the agents take to install, and sends 50,000 packets a second from a pod's kernel to a recording
// on this machine: every one is recorded or counted as lost.
func wireOf(b *testing.B, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	e, _ := inProcess(ctx, b, "flood", name, "f100d000")
	withoutAgent(ctx, b, name, e.Arch())
	began := time.Now()
	source, why, err := e.Capture(ctx, func(err error) { b.Error(err) })
	if err != nil || why != "" {
		b.Fatalf("capture: %v, %s", err, why)
	}
	b.ReportMetric(time.Since(began).Seconds()/5, "agent-install/5s")
	recorder, err := capture.NewRecorder(b.TempDir(), capture.RecorderOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer recorder.Close()
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		var ifaces []traffic.Interface
		err := source.Run(running, func(p *traffic.Packet) {
			if p.Interface >= len(ifaces) {
				ifaces = source.Interfaces()
			}
			_ = recorder.Write(p, &ifaces[p.Interface]) // counted as lost
		})
		if err != nil {
			b.Error(err)
		}
	})
	defer func() { stop(); wg.Wait(); source.Close() }()
	if err := e.StartDependencies(ctx); err != nil {
		b.Fatal(err)
	}
	program := filepath.Join(b.TempDir(), "flood")
	if err := compiled(ctx, "./internal/e2e/testdata/flood/cmd/flood", e.Arch(), program); err != nil {
		b.Fatal(err)
	}
	if err := e.Start(ctx, "flood", kindenv.Build{ID: "1", Program: program}); err != nil {
		b.Fatal(err)
	}
	if _, err := e.Configure(ctx, kindenv.Targets{Ports: []uint16{9999}}); err != nil { // and nothing else
		b.Fatal(err)
	}
	if err := source.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	recorded, lost := recorder.Total(), source.Stats().Dropped
	cpu := e.NodeStates(ctx)[0].Health.CPU
	sent, took := flood(ctx, b, e)
	if err := source.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	recorded, lost = recorder.Total()-recorded, source.Stats().Dropped-lost+recorder.Lost()
	h := e.NodeStates(ctx)[0].Health
	b.ReportMetric(float64(sent)/took.Seconds()/wireRate, "wire-packets-per-s/50000")
	b.ReportMetric(100*float64(lost)/float64(sent), "wire-lost-%")
	b.ReportMetric(float64(h.RSS)/(64<<20), "wire-agent-rss/64MiB")
	b.ReportMetric(100*(h.CPU-cpu)/took.Seconds(), "wire-agent-cpu-%")
	if recorded+lost != sent {
		b.Errorf("%d packets were sent, %d recorded and %d counted as lost: %d are nowhere", sent, recorded, lost, int64(sent)-int64(recorded+lost))
	}
}

// withoutAgent makes the programs for nodes and takes the agent's images out of them, so that an install is a first one.
func withoutAgent(ctx context.Context, b *testing.B, name, arch string) {
	b.Helper()
	for _, program := range []string{agentbin.Agent, agentbin.Supervisor} {
		if _, err := forNodes(ctx, program, arch); err != nil {
			b.Fatal(err)
		}
	}
	home, err := cluster.Home()
	if err != nil {
		b.Fatal(err)
	}
	c, err := home.Attach(ctx, name)
	if err != nil {
		b.Fatal(err)
	}
	nodes, err := c.NodeContainers(ctx)
	if err != nil {
		b.Fatal(err)
	}
	for _, node := range nodes {
		out, err := c.NodeExec(ctx, node, nil, "ctr", "--namespace=k8s.io", "images", "ls", "-q")
		if err != nil {
			b.Fatal(err)
		}
		for image := range strings.FieldsSeq(out) {
			if !strings.Contains(image, "/devloop-agent:") {
				continue
			}
			if _, err := c.NodeExec(ctx, node, nil, "ctr", "--namespace=k8s.io", "images", "rm", image); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// flood has the pod send, and says how many packets that were: each datagram is one that leaves and one that comes.
func flood(ctx context.Context, b *testing.B, e *kindenv.Env) (packets uint64, took time.Duration) {
	b.Helper()
	proxy, err := e.Proxy()
	if err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}, Timeout: time.Minute}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://flood:8080/flood?rate=%d&count=%d", wireRate/2, wireRate/2*wireSeconds), nil)
	if err != nil {
		b.Fatal(err)
	}
	res, err := client.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	var sent uint64
	var ns int64
	if _, err := fmt.Fscan(res.Body, &sent, &ns); err != nil || res.StatusCode != http.StatusOK {
		b.Fatalf("%s, %v", res.Status, err)
	}
	return 2 * sent, time.Duration(ns)
}

// asReleased builds devloop as `make build` does, with the programs for nodes in it where `make agent` has made them: without,
// every daemon compiles them first.
func asReleased(b *testing.B) {
	b.Helper()
	files, err := filepath.Glob(filepath.Join(root(), "internal", "agentbin", "embedded", "*.gz"))
	if err != nil || len(files) == 0 {
		b.Log("the programs for nodes are compiled by every daemon: run `make agent` first")
		return
	}
	buildOnce.Do(func() {
		var dir string
		if dir, buildErr = os.MkdirTemp("", "devloop-e2e-"); buildErr != nil {
			return
		}
		binary = filepath.Join(dir, "devloop")
		cmd := exec.Command("go", "build", "-tags", "embedagent", "-o", binary, "./cmd/devloop")
		cmd.Dir, cmd.Env = root(), append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			buildErr = fmt.Errorf("build devloop: %w\n%s", err, out)
		}
	})
}

// leave ends the daemon and nothing in the cluster, as a newer build of devloop does when it takes over.
func (w *workspace) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := w.client()
	if err != nil {
		return err
	}
	if err := c.Down(ctx, control.DownRequest{Leave: true}); err != nil {
		return err
	}
	dir, err := filepath.EvalSymlinks(w.dir)
	if err != nil {
		return err
	}
	return daemon.Ended(ctx, dir)
}

// agents are what the nodes' agents use: the most memory of any, and the processor time of all in seconds.
func agents(t testing.TB, w *workspace) (rss int64, cpu float64) {
	t.Helper()
	c, err := w.client()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	st, err := c.Capture(ctx)
	if err != nil || len(st.Nodes) == 0 {
		t.Fatalf("capture status: %+v, %v", st, err)
	}
	for _, n := range st.Nodes {
		rss, cpu = max(rss, n.RSS), cpu+n.CPU
	}
	return rss, cpu
}
