package derive

import (
	"slices"

	"github.com/devloop-io/devloop/traffic"
)

// SelfTimes fills SelfNS of complete calls: their latency less the time in which at least one of their children was
// waited for. It needs what [Parents] fills.
func SelfTimes(calls []*traffic.Call) {
	children := byParent(calls)
	for _, c := range calls {
		c.SelfNS = 0
		if c.State == traffic.StateComplete {
			c.SelfNS = c.Latency() - covered(c, children[c.ID])
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

// covered is the length of the union of the children's spans within their parent's. The children come by start.
func covered(c *traffic.Call, children []*traffic.Call) int64 {
	if c.Latency() == 0 {
		return 0
	}
	total, until := int64(0), c.Start
	for _, x := range children {
		from, to := max(x.Start, until), min(ended(x), c.End)
		if to > from {
			total += to - from
			until = to
		}
	}
	return total
}
