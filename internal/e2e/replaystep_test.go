//go:build linux

package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

// An exercise replays a snapshot against each revision: the same answers pass, others fail it where it expects the same, and else are
// told. A bundle in the workspace does as well, and a snapshot that is not there is a mistake with its place.
func TestReplayStep(t *testing.T) {
	w := tiny(t)
	it := w.run()
	if it.ExitCode != 0 || it.Snapshot == "" {
		t.Fatalf("exit %d: %+v", it.ExitCode, it.Failure)
	}
	w.says(0, nil, "export", "bundle", "--file", filepath.Join(w.dir, "greetings.bundle"))
	const step = "      - http: {url: \"http://echo:8080/\", repeat: 3, expect_status: 200}\n"
	w.edit("devloop.yaml", step, "      - replay: {snapshot: "+it.Snapshot+", factor: 0, expect_same: true}\n")

	again := w.run()
	if again.ExitCode != 0 || again.Verdict != traffic.Pass || len(again.Exercise.Steps) != 1 || again.Checks[0].N != 3 {
		t.Fatalf("exit %d, %+v, %+v\n%s", again.ExitCode, again.Failure, again.Exercise, explain(again.Checks))
	}
	if s := again.Exercise.Steps[0]; s.Sent != 3 || s.Status["200"] != 3 || !strings.Contains(s.Output, "3 of 3 answers are as they were recorded") {
		t.Errorf("%+v", s)
	}
	if code, stdout, _ := w.devloop("calls", "-o", "json", `http && src.kind == "exercise"`); code != 0 || !strings.Contains(strings.ToLower(stdout), "exercise") {
		t.Errorf("exit %d: the replayed calls are not the exercise's:\n%s", code, stdout)
	}

	w.edit("devloop.yaml", `env: {LISTEN: ":8080"}`, `env: {LISTEN: ":8080", MORE: " again"}`)
	other := w.run()
	if other.ExitCode != 1 || other.Failure == nil || !strings.Contains(other.Failure.What, "answered otherwise than in "+it.Snapshot) ||
		!strings.Contains(other.Failure.Output, "body: 6 bytes → 12 bytes (3 of 3") {
		t.Errorf("exit %d, %+v", other.ExitCode, other.Failure)
	}
	w.edit("devloop.yaml", "snapshot: "+it.Snapshot+", factor: 0, expect_same: true", "snapshot: greetings.bundle, factor: 0, concurrency: 1")
	told := w.run()
	if told.ExitCode != 0 || !strings.Contains(told.Exercise.Steps[0].Output, "0 of 3 answers are as they were recorded") {
		t.Errorf("exit %d, %+v, %+v", told.ExitCode, told.Failure, told.Exercise)
	}
	w.edit("devloop.yaml", "greetings.bundle", "farewells.bundle")
	w.says(2, []string{"devloop.yaml:13:28: exercises.greet.steps[0].replay.snapshot: ", "there is no file farewells.bundle", "devloop export bundle --file farewells.bundle"}, "run")
	w.edit("devloop.yaml", "farewells.bundle", "i999")
	w.says(2, []string{"devloop.yaml:13:28: exercises.greet.steps[0].replay.snapshot: ", "i999", "devloop snapshot list"}, "run")
	w.edit("devloop.yaml", "snapshot: i999", `kfl: "status_cod == 1", snapshot: `+it.Snapshot)
	w.says(2, []string{"devloop.yaml:13:23: exercises.greet.steps[0].replay.kfl: ", "status_code"}, "run")
}

// The profile agent fails what the default one lets pass, and knows from the run before that calls carried authorization.
func TestProfileAgent(t *testing.T) {
	w := tiny(t)
	const step = `http: {url: "http://echo:8080/", repeat: 3, expect_status: 200}`
	w.edit("devloop.yaml", step, `http: {url: "http://echo:8080/?api_key=sk_live_51H8abcdefGHIJKLmnop", headers: {Authorization: "Bearer abcdefgh12345678"}}`)
	if it := w.run(); it.ExitCode != 0 {
		t.Errorf("default: exit %d\n%s", it.ExitCode, explain(it.Checks))
	}
	w.edit("devloop.yaml", "version: 1\n", "version: 1\nprofile: agent\n")
	if it := w.run(); it.ExitCode != 1 || failing(it) != "builtin/secret-in-url" {
		t.Errorf("a secret in the URL: exit %d, %s\n%s", it.ExitCode, failing(it), explain(it.Checks))
	}
	w.edit("devloop.yaml", "?api_key=sk_live_51H8abcdefGHIJKLmnop", "")
	if it := w.run(); it.ExitCode != 0 {
		t.Errorf("with its token: exit %d\n%s", it.ExitCode, explain(it.Checks))
	}
	w.edit("devloop.yaml", `, headers: {Authorization: "Bearer abcdefgh12345678"}`, "")
	it := w.run()
	if it.ExitCode != 1 || failing(it) != "builtin/auth-missing" {
		t.Errorf("without its token: exit %d, %s\n%s", it.ExitCode, failing(it), explain(it.Checks))
	}
	code, stdout, stderr := w.devloop("check", "-o", "json", "--iteration", it.ID) // judged again
	var again traffic.Iteration
	if err := json.Unmarshal([]byte(stdout), &again); err != nil || code != 1 || failing(&again) != "builtin/auth-missing" {
		t.Errorf("judged again: exit %d, %v, %s\n%s", code, err, failing(&again), stderr)
	}
}

// failing are the names of the checks that fail.
func failing(it *traffic.Iteration) string {
	var names []string
	for _, c := range it.Checks {
		if c.Verdict == traffic.Fail {
			names = append(names, c.Name)
		}
	}
	return strings.Join(names, ", ")
}
