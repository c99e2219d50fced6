package devloop

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// TestFlakes: verdicts count as flips where builds and exercise stayed, and nothing else does.
func TestFlakes(t *testing.T) {
	dir := t.TempDir()
	st, err := store.Open(filepath.Join(dir, store.Folder), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &Session{workspace: dir, store: st, log: slog.New(slog.DiscardHandler)}
	run := func(build string, v traffic.Verdict, warnings ...string) {
		s.noteFlakes(&traffic.Iteration{ID: "i1", Builds: map[string]string{"cart": build}, Exercise: &traffic.ExerciseResult{Name: "rush"}, Warnings: warnings,
			Checks: []traffic.CheckResult{{Name: "fast", File: "a.netcheck.yaml", Verdict: v}, {Name: "skipped", Verdict: traffic.Skipped}}})
	}
	run("a", traffic.Pass)
	run("b", traffic.Fail) // the code changed: no flip
	run("b", traffic.Fail)
	run("b", traffic.Pass)                             // a flip
	run("b", traffic.Fail, "fault f1 on cart: stalls") // disturbed: not counted
	run("b", traffic.NoData)                           // says nothing
	run("b", traffic.Pass)
	run("b", traffic.Inconclusive) // a flip
	a, err := s.Flakes(struct{}{})
	if err != nil || len(a.Checks) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	if f := a.Checks[0]; f.Runs != 6 || f.Chances != 4 || f.Flips != 2 || f.Score != 0.5 || !f.Flaky || f.Next == "" || f.Flipped != "pass to inconclusive in i1" {
		t.Errorf("%+v", f)
	}
	// What is proposed is what a check file takes, word for word.
	line := a.Checks[0].Next[strings.Index(a.Checks[0].Next, "\n")+1:]
	suite, err := assertions.Parse("a.netcheck.yaml", []byte("checks:\n  - name: fast\n"+line+"\n    on: http\n    expect: none(status_code >= 500)\n"))
	if err != nil {
		t.Fatalf("%v\n%s", err, a.Checks[0].Next)
	}
	failing := &traffic.Dissection{Account: traffic.Account{Last: time.Now().UnixNano()}, Calls: []*traffic.Call{{ID: "c", Protocol: traffic.ProtoHTTP, Status: 503, State: traffic.StateComplete, HTTP: &traffic.HTTP{}}}}
	if r := suite.Check(assertions.Input{Dissection: failing}, assertions.CheckOptions{NoBuiltin: true})[0]; r.Severity != assertions.SeverityWarning || !strings.Contains(r.Reason, "flipped 2 times in 4 runs of the same code, last pass to inconclusive in i1") {
		t.Errorf("%+v", r)
	}
	if err := os.WriteFile(s.ledgerFile(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Flakes(struct{}{}); err == nil {
		t.Error("a ledger that was cut off is read")
	}
	if err := os.WriteFile(s.ledgerFile(), []byte(strings.Repeat(" ", ledgerSize)+"{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Flakes(struct{}{}); err == nil || !strings.Contains(err.Error(), "larger than 8 MiB") {
		t.Errorf("a ledger that is too large: %v", err)
	}
	run("b", traffic.Pass) // begins anew
	if a, err := s.Flakes(struct{}{}); err != nil || a.Checks[0].Runs != 1 {
		t.Errorf("%+v, %v", a, err)
	}
}
