package lsp

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// thousand is a check file of a thousand lines, and the verdicts of its checks.
func thousand() (string, *traffic.Iteration) {
	var b strings.Builder
	it := &traffic.Iteration{ID: "i1", Revision: "r1"}
	b.WriteString("checks:\n")
	for i := range 250 {
		on, expect := fmt.Sprintf(`http && dst.service.name == "service-%d" && path.startsWith("/api/v%d")`, i%9, i), "p95(latency) < duration(\"250ms\") && none(status_code >= 500)"
		fmt.Fprintf(&b, "  - name: check %d\n    on: %s\n    expect: %s\n    severity: warning\n", i, on, expect)
		r := traffic.CheckResult{Name: fmt.Sprintf("check %d", i), File: "a.netcheck.yaml", On: on, Expect: expect, Verdict: traffic.Pass, N: 10, Terms: []traffic.Term{{Text: "p95(latency)", Value: "96 ms", N: 10}}}
		if i%10 == 0 {
			r.Verdict, r.Reason = traffic.Fail, "p95(latency) is 260 ms"
		}
		it.Checks = append(it.Checks, r)
	}
	return b.String(), it
}

// big is a server with a large document open, as after an iteration.
func big(b *testing.B) (*server, *document) {
	dir := b.TempDir()
	text, it := thousand()
	s := &server{o: Options{Workspace: dir}, folder: dir, docs: map[string]*document{}, live: &live{}}
	s.live.facts = facts{connected: true, status: &control.Status{Revision: "r1"}, iteration: it}
	d := newDocument(uriOf(filepath.Join(dir, "a.netcheck.yaml")), 1, text, false)
	s.docs[d.uri] = d
	return s, d
}

// bar reports how long one turn took as a part of what it may take: below 1 is within it.
func bar(b *testing.B, limit time.Duration) {
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(limit), "of-the-bar")
}

// BenchmarkKeystroke: a letter is typed in a check file of 1,000 lines, and its diagnostics are made. At most 50 ms.
func BenchmarkKeystroke(b *testing.B) {
	s, d := big(b)
	at := Range{Position{501, 20}, Position{501, 20}}
	for n := 0; b.Loop(); n++ {
		next := d.changed(n, []ContentChange{{Range: &at, Text: string(rune('a' + n%26))}})
		if len(s.diagnose(next)) < 20 {
			b.Fatal("the verdicts are not there")
		}
	}
	bar(b, 50*time.Millisecond)
}

// BenchmarkHover: what stands under the pointer in a check file of 1,000 lines. At most 20 ms.
func BenchmarkHover(b *testing.B) {
	s, d := big(b)
	line := 4*200 + 3
	at := d.position(line, strings.Index(d.line(line), "p95")+1)
	for b.Loop() {
		if h := s.hover(d, at); h == nil || !strings.Contains(h.Contents.Value, "96 ms") {
			b.Fatalf("hover: %+v", h)
		}
	}
	bar(b, 20*time.Millisecond)
}
