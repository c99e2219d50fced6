package devloop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// A verdict is a pass only where everything still ran the revision that it speaks of; what was found broken stays so.
func TestAPassIsOfOneRevision(t *testing.T) {
	suite, err := assertions.Parse("a.netcheck.yaml", []byte("checks:\n  - {name: sound, on: http, expect: none(status_code >= 500)}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		wrong  []string
		allow  bool
		status int
		want   traffic.Verdict
		exit   int
	}{
		"all of one":                     {nil, false, 200, traffic.Pass, 0},
		"one runs another":               {[]string{"cart runs r1"}, false, 200, traffic.Inconclusive, control.ExitInconclusive},
		"one runs another, as allowed":   {[]string{"cart runs r1"}, true, 200, traffic.Inconclusive, 0},
		"one runs another, and it fails": {[]string{"cart runs r1"}, false, 503, traffic.Fail, control.ExitFail},
	} {
		d := &traffic.Dissection{Calls: []*traffic.Call{{ID: "c", Protocol: traffic.ProtoHTTP, Status: x.status, State: traffic.StateComplete, HTTP: &traffic.HTTP{}}}}
		turn := &turn{s: &Session{cfg: &config.Config{}, workspace: t.TempDir()}, it: &traffic.Iteration{ID: "i1"}, suite: suite, wrong: x.wrong,
			window: &openWindow{dissection: d}, r: &request{RunRequest: control.RunRequest{AllowInconclusive: x.allow}}}
		if _, err := turn.judge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if turn.it.Verdict != x.want || turn.it.ExitCode != x.exit {
			t.Errorf("%s: %s, exit %d, want %s, exit %d", name, turn.it.Verdict, turn.it.ExitCode, x.want, x.exit)
		}
	}
}

// What compilers, services and commands printed leaves the machine with its secrets redacted.
func TestPrintedSecretsAreHidden(t *testing.T) {
	dir := t.TempDir()
	st, err := store.Open(filepath.Join(dir, store.Folder), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const printed = "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
	it := &traffic.Iteration{Failure: &traffic.Failure{What: printed, Output: printed}, Exercise: &traffic.ExerciseResult{Steps: []traffic.StepResult{{Output: printed}}}}
	(&Session{workspace: dir, store: st}).hideSecrets(it)
	for where, text := range map[string]string{"what": it.Failure.What, "output": it.Failure.Output, "step": it.Exercise.Steps[0].Output} {
		if strings.Contains(text, "eyJ") || !strings.Contains(text, "redacted") {
			t.Errorf("%s: %s", where, text)
		}
	}
}

// An iteration that ends before its verdict hides what its failure repeats.
func TestFailuresHideSecrets(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"devloop.yaml": "version: 1\nservices: {a: {command: ./a}}\nchecks: [\"*.netcheck.yaml\"]\n", "a.netcheck.yaml": "checks:\n  - name: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := New(Options{Workspace: dir})
	if err != nil {
		t.Fatal(err)
	}
	it := &traffic.Iteration{ID: "i1"}
	if err := s.iterate(t.Context(), it, &request{}); err != nil || it.Failure == nil {
		t.Fatalf("%+v, %v", it, err)
	}
	if strings.Contains(it.Failure.What, "eyJ") || !strings.Contains(it.Failure.What, "redacted") {
		t.Errorf("%s", it.Failure.What)
	}
}
