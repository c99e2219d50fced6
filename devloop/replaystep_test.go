package devloop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/devloop/replay"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// What is replayed of a bundle lies in the workspace: neither a path nor a link leads to another, and a folder is none.
func TestRecordedInTheWorkspace(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	for _, err := range []error{
		os.WriteFile(filepath.Join(outside, "a.bundle"), []byte("x"), 0o600), os.Symlink(filepath.Join(outside, "a.bundle"), filepath.Join(dir, "link.bundle")),
		os.Mkdir(filepath.Join(dir, "folder.bundle"), 0o700), os.WriteFile(filepath.Join(dir, "text.bundle"), []byte("x"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	up, err := filepath.Rel(dir, filepath.Join(outside, "a.bundle"))
	if err != nil {
		t.Fatal(err)
	}
	s := &Session{workspace: dir}
	for name, want := range map[string]string{
		"none.bundle": "there is no file none.bundle in the workspace", "link.bundle": "escapes", up: "escapes", filepath.Join(outside, "a.bundle"): "escapes",
		"folder.bundle": "is no file", "text.bundle": "no ZIP",
	} {
		if _, err := s.recordedIn(config.ReplayStep{Snapshot: name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// A step that expects the same answers fails on another one; without it the differences are told alone. Values, of which some are
// secrets, and what moves a cursor are never told.
func TestReplaysAreTold(t *testing.T) {
	recorded := func(n int, body string) *traffic.Call {
		return &traffic.Call{ID: fmt.Sprintf("c%d", n), Protocol: traffic.ProtoHTTP, State: traffic.StateComplete, Method: "GET", Path: "/a\x1b[2J", Route: "/a\x1b[2J", Status: 200,
			Dst:  traffic.Endpoint{Port: 80, Workload: traffic.Workload{Service: "shop"}},
			HTTP: &traffic.HTTP{ResponseHeaders: []traffic.Header{{Name: "Content-Type", Value: "application/json"}}, ResponseBody: []byte(body)}}
	}
	calls := []*traffic.Call{recorded(1, `{"token": "sesame"}`), recorded(2, `{"token": "sesame"}`)}
	plan, _ := replay.Make(calls, replay.Options{})
	if len(plan.Requests) != 2 {
		t.Fatalf("%+v", plan)
	}
	answer := func(body string) replay.Answer {
		return replay.Answer{Status: 200, Headers: calls[0].HTTP.ResponseHeaders, Body: []byte(body)}
	}
	same, other := []replay.Answer{answer(`{"token": "sesame"}`), answer(`{"token": "sesame"}`)}, []replay.Answer{answer(`{"token": "opened"}`), answer(`{"token": "opened"}`)}
	for name, x := range map[string]struct {
		answers    []replay.Answer
		expectSame bool
		fails      bool
		want       string // in the step's output
	}{
		"the same":                {same, true, false, "2 of 2 answers are as they were"},
		"others, and told":        {other, false, false, "value of token is another"},
		"others, and not allowed": {other, true, true, "value of token is another"},
		"never sent":              {nil, true, false, ""},
	} {
		turn := &turn{recordings: map[int]recording{0: {plan: plan, recorded: calls}}}
		e := config.Exercise{Steps: []config.Step{{Replay: &config.ReplayStep{Snapshot: "i1", ExpectSame: x.expectSame}}}}
		result := &traffic.ExerciseResult{Name: "again", Steps: make([]traffic.StepResult, 1)}
		err := turn.tellReplays(e, result, map[int][]replay.Answer{0: x.answers})
		if err != nil != x.fails || x.fails && (result.ExitCode == 0 || err.(*failure).exit != control.ExitFail) {
			t.Errorf("%s: %v, exit %d", name, err, result.ExitCode)
		}
		if got := result.Steps[0].Output; !strings.Contains(got, x.want) || x.want == "" && got != "" || strings.ContainsAny(got, "\x1b") || strings.Contains(got, "sesame") || strings.Contains(got, "opened") {
			t.Errorf("%s: %q, want %q", name, got, x.want)
		}
	}
}
