package dissect

import (
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

// TestScope tells loopback addresses apart by network namespace: pods have one each, except those on their node's network.
func TestScope(t *testing.T) {
	t.Parallel()
	loopback := address{15: 1}
	of := func(w traffic.Workload) uint64 {
		return scope(&datagram{src: loopback, dst: loopback}, &traffic.Interface{Workload: &w})
	}
	node := of(traffic.Workload{Node: "n1"})
	for name, c := range map[string]struct {
		w    traffic.Workload
		same bool
	}{
		"a pod on the node's network": {traffic.Workload{Node: "n1", Namespace: "shop", Pod: "a", HostNetwork: true}, true},
		"a pod":                       {traffic.Workload{Node: "n1", Namespace: "shop", Pod: "a"}, false},
		"another node":                {traffic.Workload{Node: "n2"}, false},
	} {
		if same := of(c.w) == node; same != c.same {
			t.Errorf("%s shares the node's namespace: %t, want %t", name, same, c.same)
		}
	}
	if of(traffic.Workload{Node: "n1", Namespace: "shop", Pod: "a"}) == of(traffic.Workload{Node: "n1", Namespace: "shop", Pod: "b"}) {
		t.Error("two pods share a namespace")
	}
}
