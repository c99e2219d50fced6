package assertions

import (
	"fmt"
	"sort"
	"strings"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// What counts as keep-alive lost.
const (
	fewestCalls = 10
	leastReuse  = 0.5
)

var keepaliveLost = builtin{
	name: "builtin/keepalive-lost", on: `http && http_version == "1.1"`, unit: "calls",
	expect: fmt.Sprintf("reuse_ratio() >= %v on every edge with %d calls and more", leastReuse, fewestCalls),
	doc: fmt.Sprintf("An edge with %d HTTP/1.1 calls and more reuses its connections for at least half of them. Left out: clients outside of "+
		"the system or of the exercise, clients of which every call is another process, calls of which either side says `Connection: close`, "+
		"and connections that calls at the same time need.", fewestCalls),
	find: func(w *world, rows []filter.Row) finding {
		f := finding{nodata: fmt.Sprintf("no edge between services has %d HTTP/1.1 calls", fewestCalls)}
		calls := callsOf(rows)
		edges := map[string][]int{}
		for i, c := range calls {
			if isService(&c.Src) && !closes(c) {
				name := fmt.Sprintf("%s:%d", edgeName(&c.Src, &c.Dst), c.Dst.Port)
				edges[name] = append(edges[name], i)
			}
		}
		var sentences []string
		judged := 0
		for _, name := range sortedKeys(edges) {
			on := edges[name]
			if len(on) < fewestCalls || onePerProcess(calls, on) {
				continue
			}
			judged++
			f.looked += len(on)
			f.examples = append(f.examples, on...)
			var fresh []int
			for _, i := range on {
				if opensConnection(&rows[i], calls[i]) {
					fresh = append(fresh, i)
				}
			}
			peak := concurrency(calls, on)
			if reuse := 1 - float64(len(fresh))/float64(len(on)); reuse < leastReuse && len(fresh) > 2*peak {
				sentences = append(sentences, fmt.Sprintf("%s opened %d connections for %d calls, at most %d at a time: reuse %s",
					name, len(fresh), len(on), peak, significant(reuse)))
				f.hits = append(f.hits, fresh...)
			}
		}
		f.reason = strings.Join(sentences, "; ")
		f.kept = fmt.Sprintf("connections are kept alive on %s with %s", quantify(uint64(judged), "edge"), quantify(uint64(f.looked), "call"))
		return f
	},
}

// isService reports whether a client is a long-lived part of the system.
func isService(e *traffic.Endpoint) bool {
	if e.Outside || e.Workload.Name() == "" {
		return false
	}
	return e.Kind != traffic.KindExercise && e.Kind != traffic.KindExternal
}

// closes reports whether either side of a call is known to be one-shot: it says so.
func closes(c *traffic.Call) bool {
	if c.HTTP == nil {
		return false
	}
	for _, headers := range [][]traffic.Header{c.HTTP.RequestHeaders, c.HTTP.ResponseHeaders} {
		for _, h := range headers {
			if strings.EqualFold(h.Name, "connection") && strings.Contains(strings.ToLower(h.Value), "close") {
				return true
			}
		}
	}
	return c.HTTP.Upgrade != ""
}

// onePerProcess reports whether every call comes from another process.
func onePerProcess(calls []*traffic.Call, on []int) bool {
	seen := map[uint32]bool{}
	for _, i := range on {
		seen[calls[i].Src.PID] = true
	}
	return len(seen) == len(on) && !seen[0]
}

// concurrency is how many of the calls were under way at once, at most.
func concurrency(calls []*traffic.Call, on []int) int {
	type event struct {
		at    int64
		delta int
	}
	var events []event
	for _, i := range on {
		events = append(events, event{calls[i].Start, 1}, event{max(calls[i].End, calls[i].Start) + 1, -1})
	}
	sort.Slice(events, func(a, b int) bool {
		if events[a].at != events[b].at {
			return events[a].at < events[b].at
		}
		return events[a].delta < events[b].delta
	})
	now, peak := 0, 0
	for _, e := range events {
		now += e.delta
		peak = max(peak, now)
	}
	return peak
}
