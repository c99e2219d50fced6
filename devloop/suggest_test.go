package devloop

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/traffic"
)

// Iterations to draft checks from are of one revision and exercise; where every one failed, those that failed alike are.
func TestAlike(t *testing.T) {
	it := func(id, revision, snapshot string, failed ...string) *traffic.Iteration {
		x := &traffic.Iteration{ID: id, Revision: revision, Snapshot: snapshot, Verdict: traffic.Pass}
		x.Checks = []traffic.CheckResult{{Name: "warned", Verdict: traffic.Fail, Severity: assertions.SeverityWarning}}
		for _, name := range failed {
			x.Verdict = traffic.Fail
			x.Checks = append(x.Checks, traffic.CheckResult{Name: name, Verdict: traffic.Fail, Severity: assertions.SeverityError})
		}
		return x
	}
	recent := []*traffic.Iteration{it("i1", "r1", "s"), it("i2", "r2", "s", "reuse"), it("i3", "r2", ""), it("i4", "r2", "s", "reuse", "a fault"), it("i5", "r2", "s", "reuse")}
	newest := recent[4]
	if got := failedChecks(recent[0]); len(got) > 0 {
		t.Errorf("a warning is a failure: %q", got)
	}
	for name, c := range map[string]struct {
		most   int
		wanted func(*traffic.Iteration) bool
		want   []string
	}{
		"that did not fail": {10, func(it *traffic.Iteration) bool { return it.Verdict != traffic.Fail }, []string{"i1"}},
		"that failed alike": {10, func(it *traffic.Iteration) bool { return slices.Equal(failedChecks(it), failedChecks(newest)) }, []string{"i2", "i5"}},
		"not too many":      {1, func(it *traffic.Iteration) bool { return it.Verdict == traffic.Fail }, []string{"i5"}},
	} {
		var got []string
		for _, it := range alike(recent, c.most, c.wanted) {
			got = append(got, it.ID)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
