package suggest

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/traffic"
)

// What is looked at, at most: drafting tries every draft on every run.
const (
	mostRuns   = 60
	mostCalls  = 60_000 // of all runs together
	mostPlaces = 300
)

// observed is what the runs showed, by place.
type observed struct {
	runs   []assertions.Input
	names  *namer
	facts  *baseline.Baseline          // headers, fields and outcomes of endpoints
	places []place                     // all that carry calls, sorted
	calls  map[place][][]*traffic.Call // by run, in the order in which they began
	known  map[place][]string          // endpoints of facts that lie in a place

	declared []string // edges that configuration declares
}

// gather sorts the calls of all runs by place. It says what it left out.
func gather(runs []assertions.Input) (*observed, []string) {
	runs, warnings := bounded(runs)
	o := &observed{runs: runs, names: &namer{servers: map[netip.Addr]bool{}, exercised: map[end]bool{}},
		calls: map[place][][]*traffic.Call{}, known: map[place][]string{}}
	for _, r := range o.runs {
		o.names.learn(r.Dissection.Calls)
	}
	var summaries []*baseline.Run
	for i, r := range o.runs {
		summaries = append(summaries, baseline.Summarize("", r.Dissection))
		for _, c := range r.Dissection.Calls {
			if c != nil && !c.Background && c.Asked() && c.Start >= r.WindowStart && (r.WindowEnd == 0 || c.Start <= r.WindowEnd) {
				o.add(i, c)
			}
		}
	}
	o.facts, _ = baseline.New(baseline.Meta{}, summaries) // there is at least one run
	for p := range o.calls {
		o.places = append(o.places, p)
	}
	slices.SortFunc(o.places, func(a, b place) int { return cmp.Or(cmp.Compare(o.count(b), o.count(a)), comparePlaces(a, b)) })
	if len(o.places) > mostPlaces {
		warnings = append(warnings, fmt.Sprintf("%d of %d kinds of requests were looked at: the most frequent", mostPlaces, len(o.places)))
		o.places = o.places[:mostPlaces]
	}
	slices.SortFunc(o.places, comparePlaces)
	return o, warnings
}

// bounded leaves out what is too much: the oldest runs, and the oldest calls of a single one.
func bounded(runs []assertions.Input) ([]assertions.Input, []string) {
	runs = slices.DeleteFunc(slices.Clone(runs), func(r assertions.Input) bool { return r.Dissection == nil })
	total, given := 0, len(runs)
	for _, r := range runs {
		total += len(r.Dissection.Calls)
	}
	for len(runs) > 1 && (total > mostCalls || len(runs) > mostRuns) {
		total -= len(runs[0].Dissection.Calls)
		runs = runs[1:]
	}
	var warnings []string
	if left := given - len(runs); left > 0 {
		warnings = append(warnings, fmt.Sprintf("the oldest %d of %d runs were left out: at most %d runs and %d calls are looked at", left, given, mostRuns, mostCalls))
	}
	if total > mostCalls {
		var starts []int64
		for _, c := range runs[0].Dissection.Calls {
			starts = append(starts, c.Start)
		}
		slices.Sort(starts)
		runs[0].WindowStart = starts[len(starts)-mostCalls]
		warnings = append(warnings, fmt.Sprintf("the newest %d of %d calls were looked at", mostCalls, total))
	}
	return runs, warnings
}

func (o *observed) add(run int, c *traffic.Call) {
	p := o.names.place(c)
	if !p.usable() {
		return
	}
	if o.calls[p] == nil {
		o.calls[p] = make([][]*traffic.Call, len(o.runs))
	}
	o.calls[p][run] = append(o.calls[p][run], c)
	if name := baseline.NameOf(c); !slices.Contains(o.known[p], name) {
		o.known[p] = append(o.known[p], name)
	}
}

// count is how many calls of all runs lie in a place of a call.
func (o *observed) count(p place) int {
	n := 0
	for _, calls := range o.calls[p] {
		n += len(calls)
	}
	return n
}

// of are the places of some protocols.
func (o *observed) of(protocols ...string) []place {
	return slices.DeleteFunc(slices.Clone(o.places), func(p place) bool { return !slices.Contains(protocols, p.proto) })
}

// edges are the edges of some protocols.
func (o *observed) edges(protocols ...string) []place { return edgesOf(o.of(protocols...)) }

// within are the calls of a place, by run.
func (o *observed) within(p place) [][]*traffic.Call {
	byRun := make([][]*traffic.Call, len(o.runs))
	for _, q := range o.places {
		if p.covers(q) {
			for i, calls := range o.calls[q] {
				byRun[i] = append(byRun[i], calls...)
			}
		}
	}
	return byRun
}

// all reports whether every call of a place is as asked, and there are some.
func (o *observed) all(p place, is func(*traffic.Call) bool) bool {
	n := 0
	for _, calls := range o.within(p) {
		n += len(calls)
		if slices.ContainsFunc(calls, func(c *traffic.Call) bool { return !is(c) }) {
			return false
		}
	}
	return n > 0
}

// least is the smallest number of calls that a run has in a place.
func (o *observed) least(p place) int {
	least := -1
	for _, calls := range o.within(p) {
		if least < 0 || len(calls) < least {
			least = len(calls)
		}
	}
	return max(least, 0)
}

// egress reports whether what is in a place leaves the system.
func (o *observed) egress(p place) bool {
	return o.all(p, func(c *traffic.Call) bool { return leaves(&c.Dst) })
}

// leaves is the filter language's egress.
func leaves(e *traffic.Endpoint) bool {
	if e.Outside || e.Kind == traffic.KindExternal {
		return true
	}
	ip := e.IP.Unmap()
	return e.Service == "" && e.Pod == "" && e.Process == "" && ip.IsGlobalUnicast() && !ip.IsPrivate()
}

// driven reports whether only the exercise, or somebody unknown, speaks in a place.
func (o *observed) driven(p place) bool {
	return o.all(p, func(c *traffic.Call) bool { e := o.names.end(&c.Src); return e == end{} || e.field == "kind" })
}

// always are the names that all facts of a place's endpoints have in each of their calls.
func (o *observed) always(p place, of func(*baseline.EndpointFacts) baseline.SetFacts) []string {
	var names []string
	for i, endpoint := range o.known[p] {
		f, ok := o.facts.Endpoint(endpoint)
		if !ok {
			return nil
		}
		set := of(f)
		var here []string
		for name, x := range set.Items {
			if x.Calls == set.Of.Calls {
				here = append(here, name)
			}
		}
		if i == 0 {
			names = here
		} else {
			names = slices.DeleteFunc(names, func(n string) bool { return !slices.Contains(here, n) })
		}
	}
	slices.Sort(names)
	return names
}
