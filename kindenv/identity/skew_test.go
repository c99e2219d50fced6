package identity

import (
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestNodesOfAnotherTime hands an address over on nodes whose clocks are not ours. What the cluster tells is of its nodes'
// clocks; packets and windows are of ours. No node here has another clock than ours, so it is a value.
func TestNodesOfAnotherTime(t *testing.T) {
	t.Parallel()
	const ip = "10.244.0.7"
	for _, ahead := range []time.Duration{0, 5 * time.Minute, -48 * time.Hour} {
		w, now := quiet(t)
		w.o.Ahead = func(node string) time.Duration {
			if node != "n1" {
				return 0
			}
			return ahead
		}
		began := *now
		ended, heirs := began.Add(10*time.Second), began.Add(12*time.Second)
		tell := func(p *corev1.Pod) *corev1.Pod { // as the informer does
			o, err := w.trim(p)
			if err != nil {
				t.Fatal(err)
			}
			return o.(*corev1.Pod)
		}
		runs := tell(pod("old", ip, began.Add(ahead), time.Time{}))
		w.pod(runs)
		*now = ended.Add(50 * time.Millisecond)
		over := tell(pod("old", ip, began.Add(ahead), ended.Add(ahead)))
		w.podChanged(runs, over)
		w.podGone(over)
		*now = heirs.Add(time.Second)
		w.pod(tell(pod("heir", ip, heirs.Add(ahead), time.Time{})))
		for at, want := range map[time.Time]string{began: "old", ended: "old", heirs: "heir", heirs.Add(time.Hour): "heir"} {
			if who, ok := w.Resolve(netip.MustParseAddr(ip), at.UnixNano()); !ok || who.Pod != want {
				t.Errorf("clock %s ahead, %s after the start: it is %q, want %q", ahead, at.Sub(began), who.Pod, want)
			}
		}
		o, err := w.trim(&corev1.Event{Source: corev1.EventSource{Host: "n1"}, Reason: "Started", InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "heir"},
			LastTimestamp: metav1.NewTime(heirs.Add(ahead)), EventTime: metav1.NewMicroTime(heirs.Add(ahead))})
		if err != nil {
			t.Fatal(err)
		}
		w.told(nil, o.(*corev1.Event))
		if list := w.Events(ended.UnixNano(), now.UnixNano()); len(list) != 2 || list[1].Time != heirs.UnixNano() { // the other is the end of the old one
			t.Errorf("clock %s ahead: events of that time are %+v", ahead, list)
		}
	}
}
