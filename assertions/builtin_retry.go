package assertions

import (
	"fmt"
	"slices"
	"time"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// What counts as an unbounded retry.
const (
	mostAttempts   = 5
	stormAttempts  = 3
	stormSpan      = 100 * time.Millisecond
	politeGrowth   = 1.5                  // a delay that is at least so much longer than the one before is back-off
	politeMinDelay = 5 * time.Millisecond // below it, growth is noise
)

var unboundedRetry = builtin{
	name: "builtin/unbounded-retry", on: `http`, unit: "calls",
	expect: fmt.Sprintf("max(retry.attempts) <= %d, and never %d attempts within %s without growing delays", mostAttempts, stormAttempts, stormSpan),
	doc: fmt.Sprintf("No request is attempted more than %d times, and none %d times within %s without growing delays. Attempts that were "+
		"recognised by their likeness alone count only when the one before failed; clients of the exercise are left out.", mostAttempts, stormAttempts, stormSpan),
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
		var many, storms int
		var first string
		names := sortedKeys(groups)
		slices.SortStableFunc(names, func(a, b string) int { return len(groups[b]) - len(groups[a]) })
		for _, name := range names {
			attempts := groups[name]
			byStart(calls, attempts)
			attempts = failing(calls, attempts)
			worst, storm := attemptsOf(calls, attempts), stormIn(calls, attempts)
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

// stormIn reports whether attempts follow each other fast and without back-off.
func stormIn(calls []*traffic.Call, attempts []int) bool {
	for i := stormAttempts - 1; i < len(attempts); i++ {
		before, middle, last := calls[attempts[i-2]], calls[attempts[i-1]], calls[attempts[i]]
		if last.Start-before.Start > int64(stormSpan) {
			continue
		}
		first, second := middle.Retry.DelayNS, last.Retry.DelayNS
		polite := first >= int64(politeMinDelay) && float64(second) >= politeGrowth*float64(first)
		if !polite {
			return true
		}
	}
	return false
}
