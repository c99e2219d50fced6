package assertions

import (
	"fmt"
	"slices"
	"time"

	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// What counts as an unbounded retry.
const (
	mostAttempts   = 5
	stormAttempts  = 3
	stormSpan      = 100 * time.Millisecond
	politeGrowth   = 1.25                 // a delay that is at least so much longer than the one before is back-off
	politeMinDelay = 5 * time.Millisecond // below it, growth is noise
)

var unboundedRetry = builtin{
	name: "builtin/unbounded-retry", on: `http`, unit: "calls",
	expect: fmt.Sprintf("max(retry.attempts) <= %d, and never %d attempts within %s without growing delays", mostAttempts, stormAttempts, stormSpan),
	doc: fmt.Sprintf("No request is attempted more than %d times, and none %d times within %s without growing delays. Attempts that were "+
		"recognised by their likeness alone count only when the one before failed; clients of the exercise are left out. Delays grow when the second "+
		"is at least %g times the first, at the median of an endpoint's requests that were retried so fast: back-off with jitter does not grow in each.",
		mostAttempts, stormAttempts, stormSpan, politeGrowth),
	find: func(w *world, rows []filter.Row) finding {
		calls := callsOf(rows)
		groups := map[string][]int{}
		for i, c := range calls {
			if c.Retry != nil && c.Retry.Group != "" && c.Src.Kind != traffic.KindExercise && !c.Src.Outside {
				groups[c.Retry.Group] = append(groups[c.Retry.Group], i)
			}
		}
		f := finding{looked: len(rows), nodata: "no HTTP calls were seen", ordered: true}
		edges := &selection{rows: rows}
		fast := map[string]float64{}     // by group: how its delays grow
		growth := map[string][]float64{} // the same by endpoint
		for name := range groups {
			byStart(calls, groups[name])
			groups[name] = failing(calls, groups[name])
			if g, ok := growthOf(calls, groups[name]); ok {
				fast[name] = g
				endpoint := baseline.NameOf(calls[groups[name][0]])
				growth[endpoint] = append(growth[endpoint], g)
			}
		}
		for _, all := range growth {
			slices.Sort(all)
		}
		var many, storms int
		var first string
		names := sortedKeys(groups)
		slices.SortStableFunc(names, func(a, b string) int { return len(groups[b]) - len(groups[a]) })
		for _, name := range names {
			attempts := groups[name]
			worst := attemptsOf(calls, attempts)
			g, storm := fast[name]
			if storm = storm && g < politeGrowth; storm {
				all := growth[baseline.NameOf(calls[attempts[0]])]
				storm = all[(len(all)-1)/2] < politeGrowth
			}
			if worst <= mostAttempts && !storm {
				continue
			}
			if first == "" {
				first = fmt.Sprintf("; first %s: %d attempts in %s", describeCall(calls[attempts[0]]), worst,
					formatDuration(time.Duration(calls[attempts[len(attempts)-1]].Start-calls[attempts[0]].Start)))
			}
			if worst > mostAttempts {
				many++
			} else {
				storms++
			}
			f.hits = append(f.hits, attempts...)
		}
		f.examples = everyIndex(len(rows))
		f.reason = fmt.Sprintf("without bound were retried (%s): %s more than %d times, %s at least %d times within %s and without growing delays%s",
			edges.edgesOf(f.hits), quantify(uint64(many), "request"), mostAttempts, quantify(uint64(storms), "request"), stormAttempts,
			formatDuration(stormSpan), first)
		f.kept = fmt.Sprintf("%s, %d of them retried: none without bound", quantify(uint64(len(rows)), "call"), len(groups))
		return f
	},
}

func everyIndex(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// failed reports whether a call gives its client a reason to try again.
func failed(c *traffic.Call) bool {
	return c.State == traffic.StateUnanswered || c.State == traffic.StateTruncated || c.Status >= 500 || c.Status == 429 || c.Status == 408 || c.Status == 425
}

// failing cuts a group of attempts that was inferred down to its beginning in which each attempt but the last failed: calls
// that merely look alike are no retries.
func failing(calls []*traffic.Call, attempts []int) []int {
	for i, at := range attempts {
		if calls[at].Retry.Confidence != "exact" && !failed(calls[at]) {
			return attempts[:i+1]
		}
	}
	return attempts
}

// attemptsOf is how many attempts a group has; an exact group may have begun before the window.
func attemptsOf(calls []*traffic.Call, attempts []int) int {
	n := len(attempts)
	for _, i := range attempts {
		if calls[i].Retry.Confidence == "exact" {
			n = max(n, calls[i].Retry.Attempt)
		}
	}
	return n
}

// growthOf is how many times longer the second delay is than the first, at the least of three attempts that follow each other fast.
func growthOf(calls []*traffic.Call, attempts []int) (least float64, fast bool) {
	for i := stormAttempts - 1; i < len(attempts); i++ {
		before, middle, last := calls[attempts[i-2]], calls[attempts[i-1]], calls[attempts[i]]
		if last.Start-before.Start > int64(stormSpan) {
			continue
		}
		growth := 0.0
		if first, second := middle.Retry.DelayNS, last.Retry.DelayNS; second >= int64(politeMinDelay) {
			growth = float64(second) / float64(max(first, 1))
		}
		if !fast || growth < least {
			least, fast = growth, true
		}
	}
	return least, fast
}
