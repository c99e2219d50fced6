package devloop

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/traffic"
)

// TestEventsOnce gives each event to one window, also those that the cluster told of after the window had ended.
func TestEventsOnce(t *testing.T) {
	t.Parallel()
	var told []traffic.ClusterEvent
	w := &wire{sealed: sealedEvents{until: 10}, events: func(from, to int64) (list []traffic.ClusterEvent) {
		for _, e := range told {
			if e.Time >= from && e.Time <= to {
				list = append(list, e)
			}
		}
		return list
	}}
	tell := func(at int64, reason string) { told = append(told, traffic.ClusterEvent{Time: at, Reason: reason}) }
	windows := func(now int64) (names []string) {
		for _, e := range w.newEvents(now) {
			names = append(names, e.Reason)
		}
		return names
	}
	tell(5, "before the session")
	tell(15, "in the first")
	first := windows(20)
	tell(19, "late of the first")
	tell(25, "between")
	second := windows(30)
	third := windows(40)
	if diff := cmp.Diff([][]string{{"in the first"}, {"late of the first", "between"}, nil}, [][]string{first, second, third}); diff != "" {
		t.Errorf("events of three windows (-want +got):\n%s", diff)
	}
}

// TestNotableEvents shows what went wrong, each once.
func TestNotableEvents(t *testing.T) {
	t.Parallel()
	probe := traffic.ClusterEvent{Kind: traffic.EventProbe, Reason: "Unhealthy", Object: "Pod/a", Pod: "a", Message: "no answer", Warning: true}
	var lines []string
	for _, e := range notable([]traffic.ClusterEvent{probe, {Kind: traffic.EventRollout, Message: "scaled"}, probe, probe}) {
		lines = append(lines, e.String())
	}
	if diff := cmp.Diff([]string{"a: no answer (3 times)"}, lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
