package identity

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/devloop-io/devloop/traffic"
)

// Bounds of events.
const (
	maxEvents  = 4096
	maxMessage = 512 // bytes
)

// Events come in two ways. The cluster's own are recorded by its components, which hold back what comes often. What a pod's
// status says is never held back, so restarts and readiness are taken from there.

// kinds says what the reasons of the cluster's own events mean.
var kinds = map[string]string{
	"Unhealthy": traffic.EventProbe, "ProbeWarning": traffic.EventProbe,
	"BackOff": traffic.EventRestart, "CrashLoopBackOff": traffic.EventRestart, "OOMKilling": traffic.EventRestart, "Evicted": traffic.EventRestart,
	"Preempting": traffic.EventRestart, "ExceededGracePeriod": traffic.EventRestart,
	"ScalingReplicaSet": traffic.EventRollout, "SuccessfulCreate": traffic.EventRollout, "SuccessfulDelete": traffic.EventRollout,
	"FailedCreate": traffic.EventRollout, "FailedDelete": traffic.EventRollout, "DeploymentRollback": traffic.EventRollout,
	"Killing": traffic.EventRollout, "SuccessfulRescale": traffic.EventRollout, "Completed": traffic.EventRollout,
	"Scheduled": traffic.EventScheduling, "FailedScheduling": traffic.EventScheduling, "Preempted": traffic.EventScheduling,
	"Unschedulable": traffic.EventScheduling,
	"Pulling":       traffic.EventImage, "Pulled": traffic.EventImage, "ErrImagePull": traffic.EventImage, "ImagePullBackOff": traffic.EventImage,
	"ErrImageNeverPull": traffic.EventImage, "InspectFailed": traffic.EventImage, "InvalidImageName": traffic.EventImage,
	"Created": traffic.EventStart, "Started": traffic.EventStart, "Failed": traffic.EventStart, "FailedMount": traffic.EventStart,
	"FailedAttachVolume": traffic.EventStart, "FailedCreatePodSandBox": traffic.EventStart, "SandboxChanged": traffic.EventStart,
	"NetworkNotReady": traffic.EventStart, "CreateContainerConfigError": traffic.EventStart, "CreateContainerError": traffic.EventStart,
	"RunContainerError": traffic.EventStart,
}

// kindOf is what an event is about.
func kindOf(object, reason, message string) string {
	switch {
	case object == "Node":
		return traffic.EventNode
	case strings.Contains(message, "image") && (reason == "BackOff" || reason == "Failed"):
		return traffic.EventImage
	case reason == "Killing" && strings.Contains(message, "probe"):
		return traffic.EventProbe
	}
	return cmp.Or(kinds[reason], traffic.EventOther)
}

// watchEvents follows the events of the namespace and of the nodes. Where they may not be read there are none.
func (w *Watcher) watchEvents(ctx context.Context) {
	follow := func(what string, options ...informers.SharedInformerOption) {
		factory := informers.NewSharedInformerFactoryWithOptions(w.o.Client, 0, options...)
		informer := factory.Core().V1().Events().Informer()
		_, _ = w.prepare(&watch{what: what, informer: informer, handler: cache.ResourceEventHandlerFuncs{ // fails only once it runs
			AddFunc: func(o any) { w.told(nil, o.(*corev1.Event)) }, UpdateFunc: func(old, o any) { w.told(old.(*corev1.Event), o.(*corev1.Event)) },
		}})
		factory.Start(ctx.Done())
	}
	follow("events", informers.WithNamespace(w.o.Namespace))
	if w.o.Namespace != "" {
		follow("events of nodes", informers.WithNamespace(metav1.NamespaceDefault),
			informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.FieldSelector = "involvedObject.kind=Node" }))
	}
}

// told notes an event of the cluster's own. Each time that it came is a line of its own: one that counts on for an hour is
// not lost to the windows before.
func (w *Watcher) told(old, e *corev1.Event) {
	now := w.o.Now().UnixNano()
	count := occurrences(e)
	if old != nil {
		if count -= occurrences(old); count <= 0 {
			return
		}
	}
	o := e.InvolvedObject
	t := traffic.ClusterEvent{
		Time: whenOf(e, now), Kind: kindOf(o.Kind, e.Reason, e.Message), Reason: e.Reason, Object: o.Kind + "/" + o.Name, Namespace: o.Namespace,
		Node: e.Source.Host, Message: e.Message, Warning: e.Type == corev1.EventTypeWarning,
	}
	if count > 1 {
		t.Count = count
	}
	switch o.Kind {
	case "Pod":
		t.Pod = o.Name
		if _, rest, ok := strings.Cut(o.FieldPath, "{"); ok {
			t.Container, _, _ = strings.Cut(rest, "}")
		}
	case "Node":
		t.Node = o.Name
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(t)
}

func occurrences(e *corev1.Event) int {
	if e.Series != nil {
		return int(max(e.Series.Count, e.Count))
	}
	return int(max(e.Count, 1))
}

// whenOf is when an event came last.
func whenOf(e *corev1.Event, now int64) int64 {
	var exact int64
	if !e.EventTime.IsZero() {
		exact = e.EventTime.UnixNano()
	}
	if e.Series != nil && !e.Series.LastObservedTime.IsZero() {
		exact = max(exact, e.Series.LastObservedTime.UnixNano())
	}
	if exact != 0 {
		return exact
	}
	for _, t := range []metav1.Time{e.LastTimestamp, e.FirstTimestamp, e.CreationTimestamp} {
		if !t.IsZero() {
			return near(t, now)
		}
	}
	return now
}

// near is the likeliest instant that a time in whole seconds stands for: when it was told, if that was in that second.
func near(t metav1.Time, now int64) int64 {
	at := t.UnixNano()
	if now >= at && now < at+int64(time.Second) {
		return now
	}
	return at
}

// note keeps an event. The caller holds the lock.
func (w *Watcher) note(e traffic.ClusterEvent) {
	if len(w.events) >= maxEvents {
		w.events = w.events[:copy(w.events, w.events[maxEvents/8:])] // the oldest, some at a time
	}
	w.events = append(w.events, e)
}

// changes notes what a pod's status tells. The caller holds the lock.
func (w *Watcher) changes(old, pod *corev1.Pod, now int64) {
	if w.o.Namespace != "" && pod.Namespace != w.o.Namespace || old.UID != pod.UID {
		return
	}
	was := slices.Concat(old.Status.InitContainerStatuses, old.Status.ContainerStatuses)
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		var before corev1.ContainerStatus
		if i := slices.IndexFunc(was, func(x corev1.ContainerStatus) bool { return x.Name == s.Name }); i >= 0 {
			before = was[i]
		}
		w.container(pod, &before, &s, now)
	}
	if pod.DeletionTimestamp != nil {
		return
	}
	ready, message := condition(pod)
	if wasReady, _ := condition(old); ready != wasReady {
		e := about(pod, "", now)
		e.Kind, e.Reason, e.Message = traffic.EventProbe, "Ready", "it is ready"
		if !ready {
			e.Reason, e.Message, e.Warning = "Unready", w.text("it is not ready any more: "+message), true
		}
		w.note(e)
	}
}

// about is the frame of an event of a pod.
func about(pod *corev1.Pod, container string, at int64) traffic.ClusterEvent {
	return traffic.ClusterEvent{Time: at, Object: "Pod/" + pod.Name, Namespace: pod.Namespace, Pod: pod.Name, Container: container, Node: pod.Spec.NodeName}
}

// container notes what became of one container.
func (w *Watcher) container(pod *corev1.Pod, before, s *corev1.ContainerStatus, now int64) {
	who := pod.Name
	if len(pod.Spec.Containers)+len(pod.Spec.InitContainers) > 1 {
		who = "container " + s.Name + " of " + pod.Name
	}
	end := func(what string, t *corev1.ContainerStateTerminated, count int) {
		e := about(pod, s.Name, now)
		e.Kind, e.Reason, e.Warning, e.Message = traffic.EventRestart, "Restarted", true, who+" "+what
		if count > 1 {
			e.Count = count
		}
		if t != nil {
			e.Time, e.ExitCode, e.Reason = near(t.FinishedAt, now), int(t.ExitCode), cmp.Or(t.Reason, e.Reason)
			e.Message = w.text(fmt.Sprintf("%s: %s (exit code %d)", e.Message, e.Reason, t.ExitCode))
		}
		w.note(e)
	}
	switch t := s.State.Terminated; {
	case s.RestartCount > before.RestartCount && toldOf(before, s.LastTerminationState.Terminated):
		e := about(pod, s.Name, now)
		e.Kind, e.Reason, e.Message = traffic.EventRestart, "Restarted", who+" was restarted after that"
		w.note(e)
	case s.RestartCount > before.RestartCount:
		end("was restarted", s.LastTerminationState.Terminated, int(s.RestartCount-before.RestartCount))
	case t != nil && before.State.Terminated == nil && t.ExitCode != 0 && pod.DeletionTimestamp == nil:
		end("ended", t, 1)
	}
	if wait := s.State.Waiting; wait != nil && kinds[wait.Reason] != "" && (before.State.Waiting == nil || before.State.Waiting.Reason != wait.Reason) {
		e := about(pod, s.Name, now)
		e.Kind, e.Reason, e.Message, e.Warning = kinds[wait.Reason], wait.Reason, w.text(cmp.Or(wait.Message, wait.Reason)), true
		if e.Kind == traffic.EventRestart {
			e.Message = who + " waits: " + e.Message
		}
		w.note(e)
	}
}

// toldOf reports whether an end was seen, and noted, before the restart after it.
func toldOf(before *corev1.ContainerStatus, end *corev1.ContainerStateTerminated) bool {
	if end == nil || end.ExitCode == 0 {
		return false
	}
	for _, t := range []*corev1.ContainerStateTerminated{before.State.Terminated, before.LastTerminationState.Terminated} {
		if t != nil && t.ContainerID == end.ContainerID {
			return true
		}
	}
	return false
}

// condition says whether a pod is ready, and why not.
func condition(pod *corev1.Pod) (ready bool, why string) {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue, cmp.Or(c.Message, c.Reason)
		}
	}
	return false, ""
}

// Events are what happened in a span of time, in Unix nanoseconds, both bounds included; in the order in which it happened. The
// oldest are forgotten where there are thousands.
func (w *Watcher) Events(from, to int64) []traffic.ClusterEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []traffic.ClusterEvent
	for _, e := range w.events {
		if e.Time >= from && e.Time <= to {
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, func(a, b traffic.ClusterEvent) int { return cmp.Compare(a.Time, b.Time) })
	return all
}
