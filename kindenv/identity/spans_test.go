package identity

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/devloop-io/devloop/traffic"
)

// The tests here are of the order in which news come and of bounds: no API server sends news in a wanted order, or ten thousand
// a second.

// quiet is a watcher of a cluster in which nothing happens but what a test tells it.
func quiet(t *testing.T) (w *Watcher, now *time.Time) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	clock := time.Unix(1_700_000_000, 0)
	w, err := Watch(ctx, Options{Client: fake.NewClientset(), Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	return w, &clock
}

// pod is one whose container began at a time, and ended at another unless that is zero.
func pod(name, ip string, began, ended time.Time) *corev1.Pod {
	s := corev1.ContainerStatus{Name: "app", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(began.Truncate(time.Second))}}}
	if !ended.IsZero() {
		s.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			StartedAt: metav1.NewTime(began.Truncate(time.Second)), FinishedAt: metav1.NewTime(ended.Truncate(time.Second)), ExitCode: 1, Reason: "Error"}}
	}
	start := metav1.NewTime(began.Truncate(time.Second))
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", UID: types.UID(name), Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "app"}}},
		Status:     corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: ip}}, StartTime: &start, Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{s}},
	}
}

// TestNewsInAnyOrder hands an address over, whatever is told first.
func TestNewsInAnyOrder(t *testing.T) {
	t.Parallel()
	const ip = "10.244.0.7"
	began := time.Unix(1_700_000_000, 0)
	ended := began.Add(10*time.Second + 300*time.Millisecond)
	heirs := began.Add(12*time.Second + 700*time.Millisecond)
	runs, over, heir := pod("old", ip, began, time.Time{}), pod("old", ip, began, ended), pod("heir", ip, heirs, time.Time{})
	waiting := pod("heir", ip, heirs, time.Time{})
	waiting.Status.ContainerStatuses = nil
	for name, tell := range map[string]func(w *Watcher, now *time.Time){
		"in order": func(w *Watcher, now *time.Time) {
			w.pod(runs)
			*now = ended.Add(50 * time.Millisecond)
			w.podChanged(runs, over)
			*now = ended.Add(time.Second)
			w.podGone(over)
			*now = heirs.Add(time.Second)
			w.pod(heir)
		},
		"the heir first": func(w *Watcher, now *time.Time) {
			w.pod(runs)
			*now = heirs.Add(time.Second)
			w.pod(heir)
			w.podChanged(runs, over)
			w.podGone(over)
			w.podChanged(heir, heir)
		},
		"the heir's address before its container": func(w *Watcher, now *time.Time) {
			w.pod(runs)
			*now = ended.Add(50 * time.Millisecond)
			w.podChanged(runs, over)
			*now = heirs
			w.pod(waiting)
			w.podGone(over)
		},
		"without an end": func(w *Watcher, now *time.Time) { // deleted by force
			w.pod(runs)
			*now = ended.Add(50 * time.Millisecond)
			w.podGone(runs)
			*now = heirs.Add(time.Second)
			w.pod(heir)
		},
		"the heir began earlier": func(w *Watcher, now *time.Time) { // it waited long for an address
			early := pod("heir", ip, heirs, time.Time{})
			start := metav1.NewTime(began.Add(-time.Minute))
			early.Status.StartTime = &start
			w.pod(runs)
			*now = heirs.Add(time.Second)
			if err := w.pods.GetStore().Add(early); err != nil {
				panic(err)
			}
			w.pod(early)
			w.podGone(over)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, now := quiet(t)
			tell(w, now)
			for at, want := range map[time.Time]string{began: "old", ended: "old", heirs: "heir", heirs.Add(time.Hour): "heir"} {
				if who, ok := w.Resolve(netip.MustParseAddr(ip), at.UnixNano()); !ok || who.Pod != want {
					t.Errorf("%s after the start it is %q, want %q", at.Sub(began), who.Pod, want)
				}
			}
			list := w.Identities()
			if len(list) != 2 || list[0].To != list[1].From || list[0].From != 0 || list[1].To != 0 {
				t.Errorf("gaps or overlaps: %+v", list)
			}
		})
	}
}

// TestNobodyTookItAgain leaves an address to its last holder for a while.
func TestNobodyTookItAgain(t *testing.T) {
	t.Parallel()
	w, now := quiet(t)
	began := *now
	p := pod("old", "10.244.0.7", began, time.Time{})
	w.pod(p)
	*now = began.Add(time.Minute)
	w.podGone(p)
	for after, want := range map[time.Duration]bool{time.Minute + 50*time.Second: true, 3 * time.Minute: false} {
		if who, ok := w.Resolve(netip.MustParseAddr("10.244.0.7"), began.Add(after).UnixNano()); ok != want {
			t.Errorf("after %s: %+v, %t", after, who, ok)
		}
	}
}

// TestChurn replaces 5,000 pods twenty times a second for an hour of their time, with restarts all the while: what is kept does
// not grow.
func TestChurn(t *testing.T) {
	t.Parallel()
	const pods, replaced, addresses = 5000, 20 * 3600, 6000
	w, now := quiet(t)
	address := func(n int) string { n %= addresses; return fmt.Sprintf("10.244.%d.%d", n/250, n%250+1) }
	alive := make([]*corev1.Pod, pods)
	for i := range alive {
		alive[i] = pod(fmt.Sprint("p-", i), address(i), *now, time.Time{})
		w.pod(alive[i])
		w.SetBuild(string(alive[i].UID), "app", "b1")
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	began := time.Now()
	var half int64
	for n := pods; n < pods+replaced; n++ {
		i := n % pods
		*now = now.Add(time.Second / 20)
		over := pod(alive[i].Name, alive[i].Status.PodIPs[0].IP, *now, *now)
		w.podChanged(alive[i], over)
		w.podGone(over)
		alive[i] = pod(fmt.Sprint("p-", n), address(n), *now, time.Time{})
		w.pod(alive[i])
		w.SetBuild(string(alive[i].UID), "app", "b1")
		if n == pods+replaced/2 {
			half = heap()
		}
	}
	grown := heap() - half
	spans := w.Identities()
	t.Logf("%d spans, %d events, %.1f MB more in the second half, %s a replacement", len(spans), len(w.events), float64(grown)/1e6, time.Since(began)/replaced)
	if len(spans) > pods+maxHeld || len(w.spans.ended) > maxHeld || len(w.events) > maxEvents || len(w.builds) > pods || grown > 8e6 {
		t.Errorf("%d spans, %d ended, %d events, %d builds, %d bytes more", len(spans), len(w.spans.ended), len(w.events), len(w.builds), grown)
	}
	for i, id := range spans[1:] {
		if before := spans[i]; before.IP == id.IP && (before.To == 0 || before.To > id.From) {
			t.Fatalf("%s overlaps: %+v, %+v", id.IP, before, id)
		}
	}
}

// TestWhatIsCarried bounds labels and annotations and hides what looks like a secret.
func TestWhatIsCarried(t *testing.T) {
	t.Parallel()
	w, _ := quiet(t)
	annotations := map[string]string{"zz/password": "hunter2hunter2", "devloop.dev/build": "b1", "long": strings.Repeat("ü", 4000),
		corev1.LastAppliedConfigAnnotation: "{}"}
	labels := map[string]string{}
	for i := range 200 {
		labels[fmt.Sprint("l", i)], annotations[fmt.Sprint("zzz", i)] = "v", "v"
	}
	p := pod("a", "10.244.0.7", time.Unix(1, 0), time.Time{})
	p.Labels, p.Annotations = labels, annotations
	p.OwnerReferences = []metav1.OwnerReference{{Kind: "Job", Name: "import", Controller: new(bool)}}
	*p.OwnerReferences[0].Controller = true
	trimmed, err := w.trim(p)
	if err != nil {
		t.Fatal(err)
	}
	w.pod(trimmed)
	who, _ := w.Resolve(netip.MustParseAddr("10.244.0.7"), 1)
	if len(who.Labels) != maxLabels || len(who.Annotations) != maxAnnotations || len(who.Annotations["long"]) > maxValue+4 {
		t.Errorf("%d labels, %d annotations, the long one has %d bytes", len(who.Labels), len(who.Annotations), len(who.Annotations["long"]))
	}
	if who.Annotations["devloop.dev/build"] != "b1" || who.Annotations["zz/password"] != hidden || who.OwnerKind != "Job" || who.Owner != "import" {
		t.Errorf("%+v", who)
	}
}

// TestEndsAreToldOnce notes the end of a container and its restart, together or one after the other.
func TestEndsAreToldOnce(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 0)
	runs, over := pod("p", "10.244.0.7", at, time.Time{}), pod("p", "10.244.0.7", at, at)
	over.Status.ContainerStatuses[0].State.Terminated.ContainerID = "c1"
	again := pod("p", "10.244.0.7", at, time.Time{})
	again.Status.ContainerStatuses[0].RestartCount = 1
	again.Status.ContainerStatuses[0].LastTerminationState = over.Status.ContainerStatuses[0].State
	for want, states := range map[string][]*corev1.Pod{
		"p was restarted: Error (exit code 1)":                     {runs, again},
		"p ended: Error (exit code 1)\np was restarted after that": {runs, over, again},
	} {
		w, _ := quiet(t)
		for i := range states[1:] {
			w.podChanged(states[i], states[i+1])
		}
		var lines []string
		for _, e := range w.Events(0, at.Add(time.Hour).UnixNano()) {
			if e.Kind == traffic.EventRestart {
				lines = append(lines, e.String())
			}
		}
		if got := strings.Join(lines, "\n"); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
}
