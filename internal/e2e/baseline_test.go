//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

// oneMore is the tiny workspace with a request more in its exercise.
var oneMore = strings.Replace(tinyConfig, "repeat: 3, expect_status: 200}", "repeat: 3, expect_status: 200}\n      - http: {url: \"http://echo:8080/other\"}", 1)

// A baseline is recorded, held, broken by a change, and accepted; the loop tells of the change by itself.
func TestBaseline(t *testing.T) {
	w := tiny(t)
	file := filepath.Join(w.dir, ".devloop", "baselines", "greet.yaml")
	w.says(2, []string{"no baseline is called greet", "devloop baseline record greet"}, "baseline", "compare")
	w.says(0, []string{"wrote .devloop/baselines/greet.yaml"}, "baseline", "record", "--runs", "3")
	w.says(0, []string{"verdict: pass"}, "baseline", "compare", "--runs", "1")
	w.says(0, []string{"greet", "3"}, "baseline", "list")
	w.says(0, nil, "run") // the revision that passed

	w.write("devloop.yaml", oneMore)
	w.says(1, []string{"GET /other", "is new: never in 3 runs", "devloop baseline accept"}, "baseline", "compare", "--runs", "1")
	w.says(2, []string{"a change is accepted for a reason"}, "baseline", "accept")
	w.says(0, []string{"wrote .devloop/baselines/greet.yaml"}, "baseline", "accept", "--reason", "others are asked as well")
	w.says(0, []string{"verdict: pass"}, "baseline", "compare")

	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "others are asked as well") {
		t.Errorf("the reason is not in the baseline:\n%s", text)
	}
	w.write(".devloop/baselines/greet.yaml", "<<<<<<< HEAD\n"+string(text))
	w.says(2, []string{"line 1 begins an unresolved merge conflict", "devloop baseline record"}, "baseline", "compare")
}

// A save whose traffic differs says so, against the last revision that passed.
func TestWireDiff(t *testing.T) {
	w := tiny(t)
	w.says(0, nil, "run")
	w.write("devloop.yaml", strings.Replace(oneMore, `LISTEN: ":8080"`, `LISTEN: ":8080", OTHER: "1"`, 1)) // another build
	code, stdout, stderr := w.devloop("run", "-o", "json")
	var it traffic.Iteration
	if err := json.Unmarshal([]byte(stdout), &it); err != nil || code != 0 {
		t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	// The save may have had an iteration of its own already; then the difference was told there, and not again.
	code, stdout, stderr = w.devloop("wire-diff", "-o", "json")
	var diff traffic.WireDiff
	if err := json.Unmarshal([]byte(stdout), &diff); err != nil || code != 0 {
		t.Fatalf("wire-diff: exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	if diff.Since != "i1" || diff.Total == 0 || it.ID == "i2" && it.WireDiff == nil {
		t.Fatalf("the wire diff is %+v, and the iteration's %+v", diff, it.WireDiff)
	}
	found := false
	for _, f := range diff.Findings {
		found = found || f.Kind == traffic.FindingEndpoint && strings.HasSuffix(f.Where, "GET /other")
	}
	if !found {
		t.Errorf("what is asked now is not among %+v", diff.Findings)
	}
	w.says(0, []string{"wire: ", "differences from i1", "GET /other"}, "wire-diff")
	w.says(0, []string{"from i2", "is gone"}, "wire-diff", "i1", "--since", "i2")
	w.says(2, []string{"no other revision has passed"}, "wire-diff", "i1")
	w.says(2, []string{"i9"}, "wire-diff", "--since", "i9")
}
