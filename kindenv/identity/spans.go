package identity

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/devloop-io/devloop/traffic"
)

// An address has one holder at a time, and what the cluster tells of it comes late, in any order and in whole seconds:
//
//	old pod   ── running ──┤ ended      ┤ told so     ┤ deleted
//	new pod            ├ taken by the kubelet   ├ address ├ container started    ├ told so
//
// The bound between two holders is one instant, so that there is neither gap nor overlap: not before the old one's
// containers had ended, and as near as can be told to the new one's first packet.
type spans struct {
	byIP  map[netip.Addr][]*span // oldest first; only the last one can be lasting
	ended []*span                // oldest first
}

// span is the time during which somebody had an address.
type span struct {
	ip       netip.Addr
	uid      types.UID
	from, to int64            // to is 0 while it lasts
	of       metav1.Object    // while it lasts
	who      traffic.Workload // afterwards
	end      int64            // when the holder is known to have ended, 0 when it is not
}

const (
	// maxHeld bounds the spans that have ended: about a day of a pod every ten seconds.
	maxHeld = 8192
	// linger is how long an address that nobody took again is still its last holder's: answers to it come late.
	linger = int64(time.Minute)
)

// lasting is the span that has not ended.
func (s *spans) lasting(ip netip.Addr) *span {
	list := s.byIP[ip]
	if len(list) == 0 || list[len(list)-1].to != 0 {
		return nil
	}
	return list[len(list)-1]
}

// take notes that an address is an object's. The caller holds the lock.
func (w *Watcher) take(ip netip.Addr, o metav1.Object, now int64) {
	ip = ip.Unmap()
	list := w.spans.byIP[ip]
	if held := w.spans.lasting(ip); held != nil && held.uid == o.GetUID() {
		held.of = o
		w.remember(held)
		return
	}
	if slices.ContainsFunc(list, func(s *span) bool { return s.uid == o.GetUID() }) {
		return // late news of somebody who had it before
	}
	s := &span{ip: ip, uid: o.GetUID(), of: o}
	if len(list) > 0 {
		before := list[len(list)-1]
		if before.to == 0 {
			if !follows(o, before.of) {
				return
			}
			w.freeze(before, now)
		}
		s.from = max(bound(before.end, o, now), before.from+1)
		before.to = s.from
	}
	w.remember(s)
	w.spans.byIP[ip] = append(list, s)
}

// follows says whether o can have an address after another object that is still there as far as is known.
func follows(o, other metav1.Object) bool {
	pod, ok1 := o.(*corev1.Pod)
	before, ok2 := other.(*corev1.Pod)
	if !ok1 || !ok2 {
		return ok1 == ok2 // nodes and Services do not share addresses with pods
	}
	if going, gone := pod.DeletionTimestamp != nil, before.DeletionTimestamp != nil; going != gone {
		return gone
	}
	return !seconds(pod.Status.StartTime).Before(seconds(before.Status.StartTime))
}

func seconds(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

// bound is the instant from which an address is a new holder's. ended is when the old one had ended for sure, 0 if that
// is not known.
func bound(ended int64, o metav1.Object, now int64) int64 {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return now
	}
	if started := startOf(pod); started != 0 {
		return max(started, ended)
	}
	if ended == 0 {
		return now
	}
	if t := pod.Status.StartTime; t != nil {
		return max(ended, t.UnixNano())
	}
	return ended
}

// startOf is when the first of a pod's containers began, in whole seconds; 0 when none has.
func startOf(pod *corev1.Pod) (first int64) {
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		for _, state := range []corev1.ContainerState{s.State, s.LastTerminationState} {
			var at metav1.Time
			switch {
			case state.Running != nil:
				at = state.Running.StartedAt
			case state.Terminated != nil:
				at = state.Terminated.StartedAt
			}
			if !at.IsZero() && (first == 0 || at.UnixNano() < first) {
				first = at.UnixNano()
			}
		}
	}
	return first
}

// endOf is when the last of a pod's containers ended: after that instant it sent nothing. 0 when one may still run.
func endOf(pod *corev1.Pod, now int64) (end int64) {
	for _, s := range pod.Status.ContainerStatuses {
		if s.State.Terminated == nil {
			return 0
		}
		end = max(end, refine(s.State.Terminated.FinishedAt, now))
	}
	return end
}

// refine is the latest instant that a time in whole seconds may stand for, given that it was told by now.
func refine(t metav1.Time, now int64) int64 {
	if t.IsZero() {
		return now
	}
	at := t.UnixNano()
	if now < at { // of a clock that is ahead of ours
		return at
	}
	return min(now, at+int64(time.Second)-1)
}

// ended reports whether a pod's containers have ended for good.
func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// remember keeps what a lasting span knows of its holder's end and names: the Service may be deleted before the pod. The
// caller holds the lock.
func (w *Watcher) remember(s *span) {
	pod, ok := s.of.(*corev1.Pod)
	if !ok {
		return
	}
	if s.end == 0 {
		s.end = endOf(pod, w.o.Now().UnixNano())
	} else if endOf(pod, s.end) == 0 {
		s.end = 0 // a container was started again
	}
	if name := w.serviceOf(pod); name != "" {
		s.who.Service = name
	}
}

// release ends an object's span. The caller holds the lock.
func (w *Watcher) release(ip netip.Addr, o metav1.Object, now int64) {
	ip = ip.Unmap()
	s := w.spans.lasting(ip)
	if s == nil || s.uid != o.GetUID() {
		return
	}
	s.of = o
	w.freeze(s, now)
	if s.end == 0 {
		s.end = now
	}
	s.to = max(s.end+linger, s.from+1)
	for _, heir := range w.heirs(ip) { // its news came first
		w.take(ip, heir, now)
	}
}

// freeze makes a span independent of its object. The caller holds the lock and sets its end.
func (w *Watcher) freeze(s *span, now int64) {
	service := s.who.Service
	if pod, ok := s.of.(*corev1.Pod); ok && s.end == 0 {
		s.end = endOf(pod, now)
	}
	s.who = w.name(s.of)
	if s.who.Service == "" {
		s.who.Service = service
	}
	s.of = nil
	w.spans.ended = append(w.spans.ended, s)
	if len(w.spans.ended) <= maxHeld {
		return
	}
	old := w.spans.ended[0]
	w.spans.ended[0] = nil
	w.spans.ended = w.spans.ended[1:]
	list := slices.DeleteFunc(w.spans.byIP[old.ip], func(x *span) bool { return x == old })
	if w.spans.byIP[old.ip] = list; len(list) == 0 {
		delete(w.spans.byIP, old.ip)
	}
}

// heirs are the pods that the cluster says have an address.
func (w *Watcher) heirs(ip netip.Addr) (pods []*corev1.Pod) {
	found, err := w.pods.GetIndexer().ByIndex(byIP, ip.String())
	if err != nil {
		return nil
	}
	for _, o := range found {
		if pod := o.(*corev1.Pod); !ended(pod) {
			pods = append(pods, pod)
		}
	}
	return pods
}

// Identities says whose addresses are and were.
func (w *Watcher) Identities() []traffic.Identity {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []traffic.Identity
	for ip, list := range w.spans.byIP {
		for _, s := range list {
			all = append(all, traffic.Identity{IP: ip, From: s.from, To: s.to, Workload: w.whose(s)})
		}
	}
	for _, ip := range w.slices.GetIndexer().ListIndexFuncValues(byIP) {
		if ip, err := netip.ParseAddr(ip); err == nil && len(w.spans.byIP[ip.Unmap()]) == 0 {
			if t, ok := w.endpoint(ip); ok {
				all = append(all, traffic.Identity{IP: ip.Unmap(), Workload: t})
			}
		}
	}
	slices.SortFunc(all, func(a, b traffic.Identity) int {
		if c := a.IP.Compare(b.IP); c != 0 {
			return c
		}
		return int(min(max(a.From-b.From, -1), 1))
	})
	return all
}

// Resolve says whose an address was at a time.
func (w *Watcher) Resolve(ip netip.Addr, at int64) (traffic.Workload, bool) {
	ip = ip.Unmap()
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.spans.byIP[ip]
	for _, s := range slices.Backward(list) {
		if s.from <= at && (s.to == 0 || at < s.to) {
			return w.whose(s), true
		}
	}
	if len(list) > 0 {
		return traffic.Workload{}, false
	}
	return w.endpoint(ip)
}

// whose is a span's holder. The caller holds the lock.
func (w *Watcher) whose(s *span) traffic.Workload {
	if s.of == nil {
		return s.who
	}
	return w.name(s.of)
}
