package assertions

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/traffic"
)

const rerunFile = `checks:
  - name: few
    on: http
    expect: p50(latency) < duration("1s")
    on_inconclusive: rerun(max=2, budget=10s)
  - name: never again
    on: http
    expect: p50(latency) < duration("1s")
  - name: no budget
    on: http
    expect: p50(latency) < duration("1s")
    on_inconclusive: rerun(max=0)
  - name: no time
    on: http
    expect: p50(latency) < duration("1s")
    on_inconclusive: rerun(budget=0s)
`

// More data are asked for only where they could decide, within the bounds, and never where something failed.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	s, err := Parse("a.netcheck.yaml", []byte(rerunFile))
	if err != nil {
		t.Fatal(err)
	}
	result := func(name, group string, v traffic.Verdict, more int) traffic.CheckResult {
		return traffic.CheckResult{Name: name, File: "a.netcheck.yaml", Group: group, Verdict: v, NeedMore: more}
	}
	open := result("few", "", traffic.Inconclusive, 3)
	for name, c := range map[string]struct {
		results []traffic.CheckResult
		done    int
		spent   time.Duration
		want    []string
	}{
		"open":            {[]traffic.CheckResult{open}, 0, 0, []string{"few"}},
		"often enough":    {[]traffic.CheckResult{open}, 2, 0, nil},
		"long enough":     {[]traffic.CheckResult{open}, 1, 10 * time.Second, nil},
		"no data helps":   {[]traffic.CheckResult{result("few", "", traffic.Inconclusive, 0)}, 0, 0, nil},
		"passed":          {[]traffic.CheckResult{result("few", "", traffic.Pass, 0)}, 0, 0, nil},
		"a group failed":  {[]traffic.CheckResult{result("few", "x", traffic.Inconclusive, 3), result("few", "y", traffic.Fail, 0)}, 0, 0, nil},
		"not asked for":   {[]traffic.CheckResult{result("never again", "", traffic.Inconclusive, 3)}, 0, 0, nil},
		"a budget of 0":   {[]traffic.CheckResult{result("no budget", "", traffic.Inconclusive, 3)}, 0, 0, nil},
		"no time at all":  {[]traffic.CheckResult{result("no time", "", traffic.Inconclusive, 3)}, 0, 0, nil},
		"nothing at all":  {nil, 0, 0, nil},
		"failed outright": {[]traffic.CheckResult{result("few", "", traffic.Fail, 3)}, 0, 0, nil},
	} {
		if diff := cmp.Diff(c.want, s.Unfinished(c.results, c.done, c.spent)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	got := Renew([]traffic.CheckResult{open, result("never again", "", traffic.Fail, 0), result("no budget", "", traffic.Pass, 0)},
		[]traffic.CheckResult{result("few", "", traffic.Pass, 0), result("never again", "", traffic.Pass, 0), result("few", "late", traffic.Fail, 0)})
	var verdicts []traffic.Verdict
	for _, r := range got {
		verdicts = append(verdicts, r.Verdict)
	}
	if diff := cmp.Diff([]traffic.Verdict{traffic.Pass, traffic.Fail, traffic.Pass, traffic.Fail}, verdicts); diff != "" {
		t.Errorf("after more data (-want +got):\n%s", diff)
	}
}
