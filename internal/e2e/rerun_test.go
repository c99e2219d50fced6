//go:build linux

package e2e

import (
	"encoding/json"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

const rerunChecks = `checks:
  - name: fast in the middle
    on: http && dst.service.name == "echo"
    expect: p50(latency) < duration("5s")
    on_inconclusive: rerun(max=5, budget=60s)
  - name: three calls
    on: http && dst.service.name == "echo"
    expect: count() == 3
`

// Three calls cannot tell a median with the confidence that six looks leave each; nine can. The count keeps speaking of the
// first window, then and when it is judged again.
func TestRerun(t *testing.T) {
	w := tiny(t)
	w.write("echo.netcheck.yaml", rerunChecks)
	for _, args := range [][]string{{"run", "-o", "json"}, {"check", "-o", "json"}} {
		code, stdout, stderr := w.devloop(args...)
		var it traffic.Iteration
		if err := json.Unmarshal([]byte(stdout), &it); err != nil || code != 0 || it.Verdict != traffic.Pass {
			t.Fatalf("%v: exit %d, %s, %v\n%s%s", args, code, it.Verdict, err, stdout, stderr)
		}
		if it.Reruns != 2 || it.Checks[0].N != 9 || it.Checks[1].N != 3 {
			t.Errorf("%v: %d reruns, %d and %d calls; want 2, 9 and 3", args, it.Reruns, it.Checks[0].N, it.Checks[1].N)
		}
	}
}
