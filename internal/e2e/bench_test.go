//go:build linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// BenchmarkSaveToVerdict saves one changed service of the shop and waits for the verdict, with a warm build cache. It
// prints the median ledger, and the two figures that are bounded as ratios to their bounds: 2 s for all of it, 300 ms for
// what is neither the compiler nor the exercise.
func BenchmarkSaveToVerdict(b *testing.B) {
	w := shop(b)
	if code, stdout, stderr := w.devloop("up", "--detach"); code != 0 {
		b.Fatalf("devloop up: exit %d\n%s%s", code, stdout, stderr)
	}
	save := saver(b, w)
	save(-1) // warms the build cache
	var totals, rest []float64
	phases := map[string][]float64{}
	for n := range max(b.N, 7) {
		it, took := save(n)
		other := took.Seconds() * 1000
		for _, p := range it.Ledger {
			ms := float64(p.NS) / 1e6
			phases[p.Phase] = append(phases[p.Phase], ms)
			if p.Phase == "build" || p.Phase == "exercise" {
				other -= ms
			}
		}
		phases["notice"] = append(phases["notice"], took.Seconds()*1000-float64(it.Ended-it.Started)/1e6)
		totals, rest = append(totals, took.Seconds()*1000), append(rest, other)
	}
	for _, name := range []string{"notice", "build", "deploy", "open", "exercise", "quiet", "verify", "seal", "dissect", "judge"} {
		b.ReportMetric(median(phases[name]), name+"-ms")
	}
	b.ReportMetric(median(totals), "total-ms")
	b.ReportMetric(median(totals)/2000, "total/2s")
	b.ReportMetric(median(rest), "rest-ms")
	b.ReportMetric(median(rest)/300, "rest/300ms")
	b.ReportMetric(0, "ns/op")
}

// saver returns what saves a file of catalogue as an editor does, and waits for the verdict. The loop must be up.
func saver(b *testing.B, w *workspace) func(n int) (*traffic.Iteration, time.Duration) {
	b.Helper()
	c, err := w.client()
	if err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(w.dir, catalogueFile)
	source, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	return func(n int) (*traffic.Iteration, time.Duration) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		before, err := c.Verdict(ctx, control.IterationRequest{})
		if err != nil {
			b.Fatal(err)
		}
		text := string(source) + fmt.Sprintf("\n// Saved changes with every save.\nvar Saved = %d\n", n)
		// As an editor waits: nobody tells the daemon to look for the save.
		listen, stop := context.WithCancel(ctx)
		defer stop()
		finished := make(chan *traffic.Iteration, 1)
		go func() {
			_ = c.Events(listen, func(e control.Event) { // ends with listen
				if e.Iteration != nil && e.Iteration.State != "running" && e.Iteration.ID != before.ID {
					select {
					case finished <- e.Iteration:
					default:
					}
				}
			})
		}()
		began := time.Now()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
		var it *traffic.Iteration
		select {
		case it = <-finished:
		case <-ctx.Done():
			b.Fatal("no verdict came")
		}
		took := time.Since(began)
		if it.Verdict != traffic.Pass || !slices.Equal(it.Changed, []string{"catalogue"}) {
			b.Fatalf("%s, restarted %v, failure %+v\n%s", it.Verdict, it.Changed, it.Failure, explain(not(it, traffic.Pass)))
		}
		return it, took
	}
}

// client speaks to the workspace's daemon.
func (w *workspace) client() (*control.Client, error) {
	dir, err := filepath.EvalSymlinks(w.dir)
	if err != nil {
		return nil, err
	}
	socket, err := control.SocketPath(dir)
	if err != nil {
		return nil, err
	}
	return control.NewClient(socket), nil
}

func median(values []float64) float64 {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)/2]
}
