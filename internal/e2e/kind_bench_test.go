//go:build linux

package e2e

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/internal/daemon"
	"github.com/devloop-io/devloop/traffic"
)

// BenchmarkKind measures the loop in a kind cluster of one node that devloop makes, against its bounds: what passes from
// a save of one service to its new program serving, and to the verdict; a daemon that attaches to what runs; and the
// node agent's memory and processor time during the shop's rush.
func BenchmarkKind(b *testing.B) {
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
	b.ReportMetric(median(serving), "deploy-s/1s")
	b.ReportMetric(median(totals)/5, "save-to-verdict/5s")
	b.ReportMetric(median(totals), "save-to-verdict-s")

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
	b.ReportMetric(median(attach), "attach-s/1s")
	b.ReportMetric(0, "ns/op")
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
