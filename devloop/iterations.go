package devloop

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// mostFailing bounds the names of failed checks in a list of iterations.
const mostFailing = 5

// Iterations lists the iterations that are kept, newest first, the running one included.
func (s *Session) Iterations(_ context.Context, r control.IterationsRequest) (*control.IterationsAnswer, error) {
	limit := cmp.Or(r.Limit, defaultLimit)
	if limit < 1 || limit > maxLimit {
		return nil, control.Usagef(fmt.Sprintf("1 to %d; %d by default", maxLimit, defaultLimit), fmt.Sprintf("limit %d is out of range", r.Limit))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &control.IterationsAnswer{Iterations: []control.IterationInfo{}, Total: len(s.recent)}
	if s.current != nil {
		a.Total++
		a.Iterations = append(a.Iterations, inShort(s.current))
	}
	for _, it := range slices.Backward(s.recent) {
		if len(a.Iterations) >= limit {
			break
		}
		a.Iterations = append(a.Iterations, inShort(it))
	}
	return a, nil
}

// inShort is an iteration for a list.
func inShort(it *traffic.Iteration) control.IterationInfo {
	i := control.IterationInfo{
		ID: it.ID, Revision: it.Revision, Changed: it.Changed, Trigger: it.Trigger, Files: it.Files, Phase: it.Phase, State: it.State, Verdict: it.Verdict,
		Verdicts: map[traffic.Verdict]int{}, Snapshot: it.Snapshot, Calls: it.Calls, Ledger: slices.Clone(it.Ledger), Started: it.Started, Ended: it.Ended,
	}
	for _, c := range it.Checks {
		i.Verdicts[c.Verdict]++
		if c.Verdict == traffic.Fail && len(i.Failing) < mostFailing {
			i.Failing = append(i.Failing, c.Name)
		}
	}
	if it.Failure != nil {
		i.Failure = it.Failure.What
	}
	if it.WireDiff != nil {
		i.Changes = it.WireDiff.Total
	}
	return i
}
