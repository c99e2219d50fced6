package devloop

import "github.com/devloop-io/devloop/traffic"

// sealedEvents is what the last snapshot has of the cluster's events, so that the next one has the others: clusters tell late,
// and what happened between two windows, such as a rollout, belongs to the later one.
type sealedEvents struct {
	from, until int64
	had         map[traffic.ClusterEvent]bool
}

// newEvents are the events until now that no snapshot has.
func (w *wire) newEvents(now int64) []traffic.ClusterEvent {
	if w.events == nil {
		return nil
	}
	before := w.sealed
	if before.from == 0 {
		before.from = before.until
	}
	w.sealed = sealedEvents{from: before.until, until: now, had: map[traffic.ClusterEvent]bool{}}
	var fresh []traffic.ClusterEvent
	for _, e := range w.events(before.from, now) {
		if !before.had[e] {
			fresh = append(fresh, e)
		}
		w.sealed.had[e] = true
	}
	return fresh
}

// notable are the events that went wrong, each kind of an object's once.
func notable(events []traffic.ClusterEvent) []traffic.ClusterEvent {
	const most = 16
	type what struct{ kind, reason, object, container string }
	at := map[what]int{}
	var list []traffic.ClusterEvent
	for _, e := range events {
		if !e.Warning {
			continue
		}
		key := what{e.Kind, e.Reason, e.Object, e.Container}
		if i, ok := at[key]; ok {
			list[i].Count = max(list[i].Count, 1) + max(e.Count, 1)
			continue
		}
		if len(list) == most {
			continue
		}
		at[key] = len(list)
		list = append(list, e)
	}
	return list
}
