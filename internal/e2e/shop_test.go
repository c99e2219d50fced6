//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/devloop-io/devloop/devloop"
	"github.com/devloop-io/devloop/traffic"
)

// TestCleanShopPasses is what a newcomer sees first, twenty times: every check passes, and the text names each check
// with its verdict, its n and the command that shows its evidence.
func TestCleanShopPasses(t *testing.T) {
	w := shop(t)
	code, stdout, stderr := w.devloop("run")
	if code != 0 {
		t.Fatalf("devloop run: exit %d\n%s%s", code, stdout, stderr)
	}
	it := w.run()
	if it.Source != "tap" {
		t.Errorf("captured with %s, want the tap", it.Source)
	}
	for _, c := range it.Checks {
		if c.Builtin && c.Verdict == traffic.Skipped {
			continue
		}
		if !strings.Contains(stdout, c.Name) || !strings.Contains(stdout, "devloop explain "+devloop.Slug(c.Name)) {
			t.Errorf("the text does not name %q with its command:\n%s", c.Name, stdout)
		}
	}
	for run := range 20 {
		if it := w.run(); it.Verdict != traffic.Pass || it.ExitCode != 0 {
			t.Errorf("clean run %d of 20: %s, exit %d, failure %+v\n%s", run+1, it.Verdict, it.ExitCode, it.Failure, explain(not(it, traffic.Pass)))
		}
	}
}

// fault is a row of faults.yaml.
type fault struct {
	Fault    string
	Check    string
	Builtin  []string
	Services []string
}

func faults(t *testing.T) []fault {
	b, err := os.ReadFile(filepath.Join(root(), "examples", "shop", "faults.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Faults []fault }
	if err := yaml.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Faults) < 10 {
		t.Fatalf("faults.yaml names %d faults only", len(file.Faults))
	}
	return file.Faults
}

// TestEachFaultIsCaughtByItsOwnCheck plants one fault after the other: `devloop run` exits 1, the fault's own check
// fails, names the services and shows calls and packets, and no other check fails by accident.
func TestEachFaultIsCaughtByItsOwnCheck(t *testing.T) {
	w := shop(t)
	for _, f := range faults(t) {
		t.Run(f.Fault, func(t *testing.T) {
			w.write("faults.env", "FAULTS="+f.Fault+"\n")
			caught(t, w.run(), f)
		})
	}
}

// caught wants the fault's own check to fail with its proof, and no other that the fault is not known to break.
func caught(t *testing.T, it *traffic.Iteration, f fault) {
	t.Helper()
	if it.ExitCode != 1 || it.Verdict != traffic.Fail {
		t.Fatalf("verdict %s, exit %d, failure %+v\n%s", it.Verdict, it.ExitCode, it.Failure, explain(not(it, traffic.Pass)))
	}
	own := false
	allowed := map[string]bool{f.Check: true}
	for _, name := range f.Builtin {
		allowed[name] = true
	}
	for _, c := range it.Checks {
		if c.Verdict != traffic.Fail {
			continue
		}
		if !allowed[c.Name] {
			t.Errorf("%q fails too, by accident:\n%s", c.Name, explain([]traffic.CheckResult{c}))
		}
		if c.Name == f.Check {
			own = true
			proves(t, c, f)
		}
	}
	if !own {
		t.Errorf("its own check %q does not fail:\n%s", f.Check, explain(not(it, traffic.Pass)))
	}
}

// proves looks at a failing check's proof.
func proves(t *testing.T, c traffic.CheckResult, f fault) {
	t.Helper()
	text := c.Reason
	for _, e := range c.Evidence {
		text += " " + e.Summary
		if e.Packets.First == 0 || e.Packets.Last < e.Packets.First {
			t.Errorf("evidence without packets: %+v", e)
		}
	}
	if len(c.Evidence) == 0 {
		t.Error("the check fails without evidence")
	}
	for _, service := range f.Services {
		if !strings.Contains(text, service) {
			t.Errorf("neither reason nor evidence names %s: %s", service, text)
		}
	}
}
