//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

// Suggested checks alone catch every fault of the shop, and the clean shop passes them: in as many runs as
// DEVLOOP_SUGGEST_RUNS says, 8 by default, some of them on services that just started.
func TestSuggestedChecksAlone(t *testing.T) {
	w := shop(t)
	for range 4 { // the first starts the services
		if it := w.run(); it.Verdict != traffic.Pass {
			t.Fatalf("the clean shop: %s\n%s", it.Verdict, explain(not(it, traffic.Pass)))
		}
	}
	w.says(0, []string{"wrote "}, "suggest", "--write", "checks/observed.netcheck.yaml")
	w.says(2, []string{"is there already"}, "suggest", "--write", "checks/observed.netcheck.yaml")
	suggested, err := os.ReadFile(filepath.Join(w.dir, "checks", "observed.netcheck.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(suggested), "- name:"); n < 15 || n > 25 {
		t.Errorf("%d checks are suggested:\n%s", n, suggested)
	}
	w.edit("devloop.yaml", "checks/*.netcheck.yaml", "checks/observed.netcheck.yaml")
	for i := range runsAsked(8) {
		if i%4 == 0 {
			w.write("faults.env", "FAULTS=\n# "+strconv.Itoa(i)+"\n") // services start anew
		}
		if it := w.run(); it.Verdict != traffic.Pass {
			t.Errorf("clean run %d: %s\n%s", i+1, it.Verdict, explain(not(it, traffic.Pass)))
		}
	}
	for _, f := range faults(t) {
		t.Run(f.Fault, func(t *testing.T) {
			w.write("faults.env", "FAULTS="+f.Fault+"\n")
			it := w.run()
			text, failed := "", 0
			for _, c := range it.Checks {
				if c.Verdict == traffic.Fail && !c.Builtin {
					failed++
					text += c.Reason
					for _, e := range c.Evidence {
						text += e.Summary
					}
				}
			}
			if failed == 0 || it.ExitCode != 1 {
				t.Fatalf("no suggested check fails: exit %d\n%s\n%s", it.ExitCode, explain(not(it, traffic.Pass)), suggested)
			}
			if !strings.Contains(text, f.Services[0]) {
				t.Errorf("what fails does not speak of %s: %s", f.Services[0], text)
			}
		})
	}
}

// runsAsked is how many runs DEVLOOP_SUGGEST_RUNS asks for.
func runsAsked(otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv("DEVLOOP_SUGGEST_RUNS")); err == nil {
		return n
	}
	return otherwise
}
