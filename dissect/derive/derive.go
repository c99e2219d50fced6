package derive

import "github.com/devloop-io/devloop/traffic"

// All fills the derived fields of calls: parents, depth, self time and routes. Calls may come in any order, and what they
// held in these fields before is forgotten.
func All(calls []*traffic.Call) {
	Parents(calls)
	SelfTimes(calls)
	Routes(calls)
}
