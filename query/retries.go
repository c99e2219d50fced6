package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/devloop-io/devloop/dissect/retries"
	"github.com/devloop-io/devloop/traffic"
)

const (
	maxRetried     = 50_000 // retried requests that are remembered
	maxAttempts    = 100    // of one request
	retryExamples  = 3
	stormAttempts  = 3
	stormWithinMS  = 100
	delaysReported = 10
)

// ListRetries says which requests were made more than once, by whom, and how long they paused.
func ListRetries(ctx context.Context, db *Database, r RetriesRequest) (*RetriesAnswer, error) {
	limit, err := bounded(r.Limit, 50, 500)
	if err != nil {
		return nil, err
	}
	if r.StormAttempts < 0 || r.StormAttempts == 1 || r.StormMS < 0 {
		return nil, mistake("storm_attempts from 2, storm_ms from 1", "a storm of %d attempts within %d ms is none", r.StormAttempts, r.StormMS)
	}
	v, err := openSurvey(ctx, db, r.Selection)
	if err != nil {
		return nil, err
	}
	a := &RetriesAnswer{StormAt: cmp.Or(r.StormAttempts, stormAttempts), StormMS: cmp.Or(r.StormMS, stormWithinMS)}
	groups, calls, left := map[string][]*traffic.Call{}, map[[2]string]int{}, 0
	for c, err := range v.slimCalls() {
		if err != nil {
			return nil, err
		}
		if k := retryEdge(c); len(calls) < maxGroups || calls[k] > 0 {
			calls[k]++
		}
		if c.Retry == nil {
			continue
		}
		switch list := groups[c.Retry.Group]; {
		case list == nil && len(groups) >= maxRetried:
			left++
		case len(list) < maxAttempts:
			groups[c.Retry.Group] = append(list, slim(c))
		}
	}
	edges := map[[2]string]*retrySums{}
	for _, attempts := range groups {
		key := retryEdge(attempts[0])
		e := edges[key]
		if e == nil {
			e = &retrySums{RetryEdge: RetryEdge{Src: key[0], Endpoint: key[1], Calls: calls[key], Attempts: map[string]int{}}}
			edges[key] = e
		}
		e.add(attempts, a)
	}
	a.Edges = []RetryEdge{}
	for _, e := range edges {
		a.Edges = append(a.Edges, e.finish())
		a.Requests += e.Requests
		a.Retries += e.retries
		a.Storms += e.Storms
	}
	slices.SortFunc(a.Edges, func(x, y RetryEdge) int {
		return cmp.Or(cmp.Compare(y.Storms, x.Storms), cmp.Compare(y.Requests, x.Requests), cmp.Compare(x.Src, y.Src), cmp.Compare(x.Endpoint, y.Endpoint))
	})
	a.Edges, a.Truncated = head(a.Edges, limit)
	a.Reading = v.reading("calls")
	if left > 0 {
		a.Warnings = append(slices.Clone(a.Warnings), fmt.Sprintf("%d attempts of further retried requests are not counted: more than %d were retried", left, maxRetried))
	}
	if len(groups) == 0 && a.Why == "" {
		a.Why = fmt.Sprintf("none of these %d calls is an attempt of a request that was made before", v.found)
	}
	return a, nil
}

// slim is a call without its payload.
func slim(c *traffic.Call) *traffic.Call {
	x := *c
	if x.HTTP != nil {
		x.HTTP = &traffic.HTTP{}
	}
	return &x
}

func retryEdge(c *traffic.Call) [2]string { return [2]string{nameOf(&c.Src), endpointOf(c)} }

type retrySums struct {
	RetryEdge
	retries int
	delays  [delaysReported]sample // before the 2nd, 3rd, … attempt
	factors sample                 // in thousandths
}

func (e *retrySums) add(attempts []*traffic.Call, a *RetriesAnswer) {
	slices.SortFunc(attempts, func(x, y *traffic.Call) int { return cmp.Compare(x.Retry.Attempt, y.Retry.Attempt) })
	first, last := attempts[0], attempts[len(attempts)-1]
	e.Requests++
	e.Attempts[fmt.Sprint(first.Retry.Attempts)]++
	e.MaxAttempts = max(e.MaxAttempts, first.Retry.Attempts)
	e.retries += len(attempts) - 1
	if !retries.Failed(last) {
		e.Succeeded++
	}
	if first.Retry.Confidence == retries.Exact {
		e.Exact++
	}
	if first.Retry.Factor > 0 {
		e.factors.add(int64(first.Retry.Factor * 1000))
	}
	for _, c := range attempts {
		if i := c.Retry.Attempt - 2; i >= 0 && i < delaysReported {
			e.delays[i].add(c.Retry.DelayNS)
		}
	}
	storm := stormy(attempts, a.StormAt, int64(a.StormMS)*1e6)
	if storm {
		e.Storms++
	}
	e.example(attempts, storm)
}

// stormy reports whether so many attempts began within a span.
func stormy(attempts []*traffic.Call, n int, span int64) bool {
	for i := n - 1; i < len(attempts); i++ {
		if attempts[i].Start-attempts[i-n+1].Start <= span {
			return true
		}
	}
	return false
}

// example keeps the attempts of a request: storms before others, earlier ones before later ones.
func (e *retrySums) example(attempts []*traffic.Call, storm bool) {
	x := RetryExample{Group: attempts[0].Retry.Group, Storm: storm, SpanMS: ms(attempts[len(attempts)-1].Start - attempts[0].Start)}
	for _, c := range attempts {
		x.Attempts = append(x.Attempts, RetryAttempt{ID: c.ID, TS: c.Start / 1e6, Result: result(c), DelayMS: ms(c.Retry.DelayNS)})
	}
	e.Examples = append(e.Examples, x)
	slices.SortFunc(e.Examples, func(x, y RetryExample) int {
		return cmp.Or(compareBool(y.Storm, x.Storm), cmp.Compare(x.Attempts[0].TS, y.Attempts[0].TS), cmp.Compare(x.Group, y.Group))
	})
	e.Examples, _ = head(e.Examples, retryExamples)
}

func (e *retrySums) finish() RetryEdge {
	e.DelaysMS = []float64{}
	for i := range e.delays {
		if e.delays[i].n > 0 {
			e.DelaysMS = append(e.DelaysMS, e.delays[i].msAt(50))
		}
	}
	e.Factor = float64(e.factors.at(50)) / 1000
	if meant := e.Calls - e.retries; meant > 0 {
		e.Amplification = float64(e.Calls) / float64(meant)
	}
	return e.RetryEdge
}
