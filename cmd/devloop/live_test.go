package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/traffic"
)

// TestLive is what a terminal shows while the loop turns, and what scrolls away above it.
func TestLive(t *testing.T) {
	begun := time.Unix(100, 0)
	l := &live{paint: func(_, text string) string { return text }}
	var got bytes.Buffer
	show := func(what string, after time.Duration) {
		fmt.Fprintf(&got, "%s:\n%s\n\n", what, strings.Join(l.frame(begun.Add(after)), "\n"))
	}
	scroll := func(it *traffic.Iteration) {
		l.current, l.last = nil, it
		got.WriteString("scrolls:\n")
		l.writeFinished(&got, it)
		got.WriteString("\n")
	}
	show("before the first event", 0)
	l.current = &traffic.Iteration{ID: "i1", Phase: "build", State: "running", Started: begun.UnixNano(), Ledger: []traffic.PhaseTime{{Phase: "config", NS: 2e5}, {Phase: "start", NS: 12e8}}}
	show("the first build", 2*time.Second)
	scroll(&traffic.Iteration{ID: "i1", Phase: "build", State: "failed", Ended: 14e8, Failure: &traffic.Failure{Phase: "build", What: "stock does not build", Output: "main.go:3: undefined: x\n", Hint: "mend the code and save"}})
	l.watching = true
	show("waiting", 0)
	l.current = &traffic.Iteration{ID: "i2", Revision: "r1", Phase: "exercise", State: "running", Started: begun.UnixNano(), Ledger: []traffic.PhaseTime{{Phase: "build", NS: 8e8}, {Phase: "deploy", NS: 2e8}}}
	show("an exercise", 1200*time.Millisecond)
	failed := &traffic.Iteration{ID: "i2", Revision: "r1", State: "done", Verdict: traffic.Fail, Ended: 31e8, Calls: 85, Files: []string{"cmd/stock/main.go", "go.mod"}, Checks: []traffic.CheckResult{
		{Name: "stock answers", Verdict: traffic.Fail, Reason: "stock answered 5 of 85 with 5xx\x1b[2J", EvidenceTotal: 5, Evidence: []traffic.Evidence{
			{Summary: "front → stock GET /items/1 500 in 12 ms"}, {Summary: "front → stock GET /items/2 500 in 9 ms"}, {Summary: "front → stock GET /items/3 500 in 9 ms"}, {Summary: "front → stock GET /items/4 500 in 8 ms"}}},
		{Name: "stock is quick", Verdict: traffic.Inconclusive, Reason: "needs 20 more"},
		{Name: "front answers", Verdict: traffic.Pass},
	}}
	scroll(failed)
	show("waiting, with the proof", 0)
	scroll(&traffic.Iteration{ID: "i3", Revision: "r2", State: "done", Verdict: traffic.Pass, Ended: 12e9, Calls: 85, Checks: []traffic.CheckResult{{Name: "a", Verdict: traffic.Pass}}})
	show("waiting, all is well", 0)

	golden := filepath.Join("testdata", "live.txt")
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("(-want +got; -update rewrites it):\n%s", diff)
	}
}
