package derive

import (
	"slices"

	"github.com/devloop-io/devloop/dissect/facts"
	"github.com/devloop-io/devloop/traffic"
)

// selfTimes fills SelfNS of complete calls: their latency less the time in which at least one of their children was
// waited for, which is the length of the union of the children's spans within theirs. Facts come in order, and so do the children of
// each of them.
func selfTimes(sorted []*facts.Fact) {
	for _, x := range sorted {
		p := x.Parent
		if p == nil || p.Latency == 0 {
			continue
		}
		from, to := max(x.Start, p.Start, p.Until), min(x.Ended(), p.End)
		if to > from {
			p.SelfNS -= to - from
			p.Until = to
		}
	}
	for _, f := range sorted {
		if f.SelfNS += f.Latency; !f.Complete {
			f.SelfNS = 0
		}
	}
}

// byParent groups calls by the ID of their parent, each group in the order in which they began.
func byParent(calls []*traffic.Call) map[string][]*traffic.Call {
	children := map[string][]*traffic.Call{}
	for _, c := range calls {
		if c.Parent != "" {
			children[c.Parent] = append(children[c.Parent], c)
		}
	}
	for _, list := range children {
		slices.SortFunc(list, order)
	}
	return children
}
