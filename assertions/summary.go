package assertions

import "github.com/devloop-io/devloop/traffic"

// Exit codes that a verdict maps to.
const (
	exitPass         = 0
	exitFail         = 1
	exitInconclusive = 4
)

// Summary is the verdict over all results and the exit code for it. Only results of severity error count, and skipped ones
// never do. Fail outweighs error, inconclusive and nodata, in this order. With allowInconclusive these three give exit code 0;
// the verdict still names them. Where nothing was judged at all, the verdict is skipped.
func Summary(results []traffic.CheckResult, allowInconclusive bool) (traffic.Verdict, int) {
	seen := map[traffic.Verdict]bool{}
	judged := false
	for _, r := range results {
		judged = judged || r.Verdict != traffic.Skipped
		if r.Severity == SeverityError {
			seen[r.Verdict] = true
		}
	}
	if seen[traffic.Fail] {
		return traffic.Fail, exitFail
	}
	for _, v := range []traffic.Verdict{traffic.Error, traffic.Inconclusive, traffic.NoData} {
		if seen[v] {
			if allowInconclusive {
				return v, exitPass
			}
			return v, exitInconclusive
		}
	}
	if !judged {
		return traffic.Skipped, exitPass
	}
	return traffic.Pass, exitPass
}
