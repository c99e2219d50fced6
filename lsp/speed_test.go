package lsp

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
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
	s.diagnose(d) // the file was opened before somebody types in it: that compiled it
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

// sources are 5,000 open files of a Go service, one route each, on a server that saw traffic on all.
func sources(b *testing.B) (*server, []*document) {
	s, _ := big(b)
	dir := s.root()
	if err := os.WriteFile(filepath.Join(dir, "devloop.yaml"), []byte("version: 1\nservices:\n  shop:\n    command: ./shop\n    watch: [\"**/*.go\"]\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	var docs []*document
	for i := range 5000 {
		text := fmt.Sprintf("package p\n\nimport \"net/http\"\n\n%s\nfunc init() {\n\thttp.HandleFunc(\"GET /v%d/items/{id}\", nil)\n}\n", strings.Repeat("// A line of what files are full of: some 2 kB.\nvar _ = 1\n", 35), i%500)
		docs = append(docs, newDocument(uriOf(filepath.Join(dir, fmt.Sprintf("p%d.go", i))), 1, text, false))
	}
	for i := range endpointMax {
		s.live.facts.endpoints = append(s.live.facts.endpoints, query.Stats{Group: fmt.Sprintf("shop GET /v%d/items/{id}", i), Calls: 10, P99: 3})
	}
	return s, docs
}

// BenchmarkSourceLenses: the lenses of 5,000 source files that were not read before. At most 1 s.
func BenchmarkSourceLenses(b *testing.B) {
	s, docs := sources(b)
	for b.Loop() {
		for _, d := range docs {
			if fresh := newDocument(d.uri, 1, d.text, false); len(s.lenses(fresh)) != 1 {
				b.Fatalf("%s has no lens", d.uri)
			}
		}
	}
	bar(b, time.Second)
}

// BenchmarkSourceLensChanged: the lens of one of them after a change. At most 50 ms.
func BenchmarkSourceLensChanged(b *testing.B) {
	s, docs := sources(b)
	for n := 0; b.Loop(); n++ {
		d := docs[n%len(docs)]
		if len(s.lenses(d.changed(n, []ContentChange{{Range: &Range{}, Text: "\n"}}))) != 1 {
			b.Fatal("no lens")
		}
	}
	bar(b, 50*time.Millisecond)
}

// BenchmarkIndexChanged: 5,000 source files lie in a workspace, and one of them has changed. At most 50 ms until its routes are known.
func BenchmarkIndexChanged(b *testing.B) {
	dir := b.TempDir()
	name := func(i int) string { return filepath.Join(dir, fmt.Sprintf("p%d", i/100), fmt.Sprintf("f%d.go", i)) }
	write := func(i, version int) {
		text := fmt.Sprintf("package p\n\nimport \"net/http\"\n\n%s\nfunc init() {\n\thttp.HandleFunc(\"GET /v%d/items/{id}\", nil)\n}\n", strings.Repeat("// A line of what files are full of.\n", 50), version)
		if err := os.MkdirAll(filepath.Dir(name(i)), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(name(i), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 5000 {
		write(i, 1)
	}
	var x index
	if len(x.of(dir)) != 5000 {
		b.Fatal("not all are read")
	}
	for n := 0; b.Loop(); n++ {
		write(n%5000, 10+n)
		if found := x.of(dir)[name(n%5000)]; len(found) != 1 || found[0].Path != fmt.Sprintf("/v%d/items/{}", 10+n) {
			b.Fatalf("%+v", found)
		}
	}
	bar(b, 50*time.Millisecond)
}
