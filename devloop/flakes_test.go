package devloop

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

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
	if err := os.WriteFile(s.ledgerFile(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Flakes(struct{}{}); err == nil {
		t.Error("a ledger that was cut off is read")
	}
	run("b", traffic.Pass) // begins anew
	if a, err := s.Flakes(struct{}{}); err != nil || a.Checks[0].Runs != 1 {
		t.Errorf("%+v, %v", a, err)
	}
}
