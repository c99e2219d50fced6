package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/devloop-io/devloop/dissect/derive"
	"github.com/devloop-io/devloop/traffic"
)

// maxTreeCalls bounds the calls among which a tree is looked for.
const maxTreeCalls = 2_000_000

// GetCallTree returns the tree of calls that a call belongs to, and where its time went.
func GetCallTree(ctx context.Context, db *Database, r TreeRequest) (*TreeAnswer, error) {
	limit, err := bounded(r.Limit, 200, 1000)
	if err != nil {
		return nil, err
	}
	chosen, err := openSurvey(ctx, db, r.Selection)
	if err != nil {
		return nil, err
	}
	all, err := openSurvey(ctx, db, Selection{})
	if err != nil {
		return nil, err
	}
	var calls, candidates []*traffic.Call
	for c, err := range all.calls() {
		if err != nil {
			return nil, err
		}
		if len(calls) >= maxTreeCalls {
			return nil, mistake("ask for a snapshot of a shorter time", "%s has more than %d calls", db.Name, maxTreeCalls)
		}
		calls = append(calls, bare(c))
	}
	for c, err := range chosen.calls() {
		if err != nil {
			return nil, err
		}
		if r.ID == "" || c.ID == r.ID {
			candidates = append(candidates, c)
		}
	}
	asked, err := askedCall(r.ID, calls, candidates)
	if err != nil {
		return nil, err
	}
	a := &TreeAnswer{Spent: []Spent{}, Joined: map[string]int{}}
	a.Reading = chosen.reading("calls")
	if asked == nil {
		a.Why = cmp.Or(a.Why, "no call of the window is the root of a tree")
		return a, nil
	}
	a.Root, a.Omitted = derive.Tree(calls, asked, limit)
	byID := make(map[string]*traffic.Call, len(calls))
	for _, c := range calls {
		byID[c.ID] = c
	}
	a.walk(a.Root, byID, false)
	slices.SortStableFunc(a.Spent, func(x, y Spent) int { return cmp.Compare(y.MS, x.MS) })
	return a, a.network(db, byID)
}

// askedCall is the call with an ID, else the slowest root of the trees that the candidates belong to.
func askedCall(id string, calls, candidates []*traffic.Call) (*traffic.Call, error) {
	byID := make(map[string]*traffic.Call, len(calls))
	for _, c := range calls {
		byID[c.ID] = c
	}
	if id != "" {
		if c := byID[id]; c != nil {
			return c, nil
		}
		return nil, missing("list_api_calls (devloop calls) gives the ids", "there is no call %q", id)
	}
	var roots []*traffic.Call
	for _, c := range candidates {
		top := byID[c.ID]
		for up := 0; top != nil && byID[top.Parent] != nil && up < maxAncestors; up++ {
			top = byID[top.Parent]
		}
		if top != nil {
			roots = append(roots, top)
		}
	}
	return derive.Slowest(roots), nil
}

// bare is a call without payload and headers.
func bare(c *traffic.Call) *traffic.Call {
	x := *c
	if x.HTTP != nil {
		x.HTTP = &traffic.HTTP{}
	}
	return &x
}

// walk notes where the time went, and who gave up; waits says that the caller lies on the critical path.
func (a *TreeAnswer) walk(n *traffic.TraceNode, byID map[string]*traffic.Call, waits bool) {
	if n.ParentBy != "" {
		a.Joined[n.ParentBy]++
	}
	if n.Candidates > 1 {
		a.Guessed++
	}
	c := byID[n.Call]
	n.Failed = c != nil && failure(c)
	if c != nil && !c.Answered() && c.State != traffic.StateOpen { // an inner one comes later, and takes its place
		who, what := nameOf(&c.Dst), cmp.Or(c.Error, string(c.State))
		if c.Error == traffic.ErrorCancelled || c.Error == traffic.ErrorTimeout {
			who = nameOf(&c.Src)
		}
		a.GaveUp = fmt.Sprintf("%s, after %.4g ms: %s → %s (%s)", who, n.Latency, nameOf(&c.Src), endpointOf(c), what)
	}
	if caller := callerOf(c, byID); caller != nil && gaveUpOn(caller, c) {
		waited := ms(caller.ResponseStart - c.Start)
		a.GaveUp = fmt.Sprintf("%s, after %.4g ms: %s → %s (its answer, %s, came too late)", nameOf(&c.Src), waited, nameOf(&c.Src), endpointOf(c), result(c))
		if waits && !n.Critical { // the answer did not wait for it, but its caller had
			a.spend(n, c, waited)
		}
	}
	if n.Critical && c != nil {
		took := n.Self
		if c.State != traffic.StateComplete { // its self time is not known: what its children do not explain
			took = n.Latency
			for _, x := range n.Children {
				if x.Critical {
					took -= x.Latency
				}
			}
		}
		a.spend(n, c, took)
	}
	for _, x := range n.Children {
		a.walk(x, byID, n.Critical)
	}
}

// spend notes time that a call took.
func (a *TreeAnswer) spend(n *traffic.TraceNode, c *traffic.Call, took float64) {
	if took > 0 {
		a.Spent = append(a.Spent, Spent{Service: n.Service, What: cut(asked(c), 160), MS: took, Share: min(1, took/max(a.Root.Latency, 1e-6)), Call: n.Call})
	}
}

// gaveUpOn reports whether a caller had answered before a failure came that it had asked for.
func gaveUpOn(caller, c *traffic.Call) bool {
	return c.Answered() && failure(c) && caller.ResponseStart > c.Start && c.ResponseStart > caller.ResponseStart
}

// callerOf is the call that caused one, where it is known.
func callerOf(c *traffic.Call, byID map[string]*traffic.Call) *traffic.Call {
	if c == nil {
		return nil
	}
	return byID[c.Parent]
}

// network adds the round trip of each step's connection: what of its time no server can save.
func (a *TreeAnswer) network(db *Database, byID map[string]*traffic.Call) error {
	trips := map[uint64]int64{}
	for _, x := range a.Spent {
		trips[byID[x.Call].ConnID] = 0
	}
	var errs error
	for c, err := range db.ReadConnections() {
		if err != nil {
			errs = errors.Join(errs, err)
			break
		}
		if _, ok := trips[c.ID]; ok && c.TCP != nil {
			trips[c.ID] = cmp.Or(c.HandshakeClientNS, c.TCP.RTTAvg*1000)
		}
	}
	for i := range a.Spent {
		a.Spent[i].Network = ms(trips[byID[a.Spent[i].Call].ConnID])
	}
	return errs
}
