package identity

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The cluster's times are of its nodes' clocks, and everything here is told in ours: when packets passed, and when a window
// began and ended. So times are put right as objects come in, before anybody looks at them.

// podInOurTime puts a pod's times right that say who had an address when.
func (w *Watcher) podInOurTime(pod *corev1.Pod) {
	ahead := w.o.Ahead(pod.Spec.NodeName)
	if ahead == 0 {
		return
	}
	earlier(ahead, pod.Status.StartTime)
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range list {
			for _, s := range []*corev1.ContainerState{&list[i].State, &list[i].LastTerminationState} {
				if s.Running != nil {
					earlier(ahead, &s.Running.StartedAt)
				}
				if s.Terminated != nil {
					earlier(ahead, &s.Terminated.StartedAt, &s.Terminated.FinishedAt)
				}
			}
		}
	}
}

// eventInOurTime puts right when an event was.
func (w *Watcher) eventInOurTime(e *corev1.Event) {
	ahead := w.o.Ahead(e.Source.Host) // empty for those of the control plane
	if ahead == 0 {
		return
	}
	earlier(ahead, &e.FirstTimestamp, &e.LastTimestamp, &e.CreationTimestamp)
	exact := []*metav1.MicroTime{&e.EventTime}
	if e.Series != nil {
		exact = append(exact, &e.Series.LastObservedTime)
	}
	for _, t := range slices.DeleteFunc(exact, func(t *metav1.MicroTime) bool { return t.IsZero() }) {
		t.Time = t.Add(-ahead)
	}
}

// earlier moves times; those that are not set stay so.
func earlier(by time.Duration, times ...*metav1.Time) {
	for _, t := range times {
		if !t.IsZero() {
			t.Time = t.Add(-by)
		}
	}
}
