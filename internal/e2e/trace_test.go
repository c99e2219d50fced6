package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// The tree of the slowest request has the calls that its services made for it, each found by its trace.
func TestTraceShowsWhatARequestCaused(t *testing.T) {
	w := shop(t)
	w.run()
	code, stdout, stderr := w.devloop("trace")
	if code != 0 || !strings.Contains(stdout, "PARENT BY") || !strings.Contains(stdout, "* ") {
		t.Fatalf("devloop trace: exit %d\n%s%s", code, stdout, stderr)
	}
	t.Logf("devloop trace\n%s", stdout)
	_, stdout, stderr = w.devloop("trace", "-o", "json")
	var a control.TraceAnswer
	if err := json.Unmarshal([]byte(stdout), &a); err != nil {
		t.Fatal(err, stdout, stderr)
	}
	calls, traced, depth := 0, 0, 0
	var walk func(n, parent *traffic.TraceNode)
	walk = func(n, parent *traffic.TraceNode) {
		calls, depth = calls+1, max(depth, n.Depth)
		if parent != nil && n.Src != parent.Service {
			t.Errorf("%s was made by %s, and stands below a call to %s", n.Call, n.Src, parent.Service)
		}
		if n.ParentBy == traffic.ByTrace {
			traced++
			if n.Candidates != 1 {
				t.Errorf("%s has %d calls that could be its parent", n.Call, n.Candidates)
			}
		}
		if n.Self < 0 || n.Self > n.Latency {
			t.Errorf("%s took %v ms, of which %v itself", n.Call, n.Latency, n.Self)
		}
		for _, x := range n.Children {
			walk(x, n)
		}
	}
	walk(a.Root, nil)
	if traced == 0 || depth < 2 || !a.Root.Critical || !a.Root.Asked {
		t.Errorf("%d of %d calls by trace, %d deep, root %+v", traced, calls, depth, a.Root)
	}
	leaf := a.Root
	for len(leaf.Children) > 0 {
		leaf = leaf.Children[0]
	}
	if code, stdout, stderr = w.devloop("trace", leaf.Call); code != 0 || !strings.Contains(stdout, leaf.Call+"  ←") || !strings.Contains(stdout, a.Root.Call) {
		t.Errorf("the tree of %s: exit %d\n%s%s", leaf.Call, code, stdout, stderr)
	}
	if code, _, stderr = w.devloop("trace", "local/none/0"); code != control.ExitUsage || !strings.Contains(stderr, "no call") {
		t.Errorf("the tree of no call: exit %d, %s", code, stderr)
	}
	if _, stdout, stderr = w.devloop("calls", "-o", "json", `http && depth == 0 && !background && parent_by != ""`); strings.Contains(stdout, `"id"`) {
		t.Errorf("calls with a parent and depth 0:\n%s%s", stdout, stderr)
	}
}
