package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// HangError says why a rollout does not come to its end.
type HangError struct {
	Service   string
	Pod       string
	Container string
	Reason    string // the cluster's word for it: ImagePullBackOff, CrashLoopBackOff, Unschedulable, …
	What      string // one sentence
	Log       string // last lines of the container, where they explain it
	Hint      string
}

// Error is the sentence.
func (e *HangError) Error() string { return e.Service + ": " + e.What }

const (
	pollEvery   = 50 * time.Millisecond
	askEvery    = time.Second     // events of a rollout that hangs
	tellAfter   = 3 * time.Second // what a rollout waits for
	logTail     = 20
	reasonBound = 5 * time.Second // for finding out why
)

// Pods lists the pods of a service that are not on their way out, of the newest revision of its workload only.
func (d *Deployer) Pods(ctx context.Context, p *Plan, s Service) ([]corev1.Pod, error) {
	pods, err := d.allPods(ctx, p, s)
	return slices.DeleteFunc(pods, func(pod corev1.Pod) bool {
		return pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
	}), err
}

// allPods are those that leave or have ended as well.
func (d *Deployer) allPods(ctx context.Context, p *Plan, s Service) ([]corev1.Pod, error) {
	list, err := d.client.CoreV1().Pods(p.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(s.Selector).String()})
	if err != nil {
		return nil, fmt.Errorf("list the pods of %s: %w", s.Name, explain(err, nil))
	}
	return list.Items, nil
}

// WaitRunning waits until every pod of the workload's newest revision runs the service's container, ready or not, and
// returns these pods. It is how a service whose program is pushed comes up.
func (d *Deployer) WaitRunning(ctx context.Context, p *Plan, s Service) ([]corev1.Pod, error) {
	return d.wait(ctx, &rollout{d: d, namespace: p.Namespace, s: s, done: func(pod *corev1.Pod) bool {
		for _, c := range pod.Status.ContainerStatuses {
			if c.Name == s.Container {
				return c.State.Running != nil
			}
		}
		return false
	}})
}

// WaitReady waits until every pod of the workload's newest revision is ready and no other is left, and returns them.
func (d *Deployer) WaitReady(ctx context.Context, p *Plan, s Service) ([]corev1.Pod, error) {
	return d.wait(ctx, &rollout{d: d, namespace: p.Namespace, s: s, done: ready, alone: true, steady: s.Role != ""})
}

// leaveBound is how long nodes are given to learn that a pod is on its way out: by default kube-proxy gathers changes for
// a second (minSyncPeriod of its configuration), and then writes its rules.
const leaveBound = 3 * time.Second

// WaitLeft waits until the pods of a service that are on their way out have ended, and no longer than nodes take to learn
// that they are: until then whoever connects to the service may get to one of them, and be answered by its revision before.
func (d *Deployer) WaitLeft(ctx context.Context, p *Plan, s Service) error {
	ctx, cancel := context.WithTimeout(ctx, leaveBound)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		pods, err := d.allPods(ctx, p, s)
		switch {
		case ctx.Err() != nil: // whoever gave the context looks at it
			return nil
		case err != nil:
			return err
		case !slices.ContainsFunc(pods, leaves):
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// leaves says whether a pod is on its way out, and something in it may still answer.
func leaves(pod corev1.Pod) bool {
	return pod.DeletionTimestamp != nil && slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.State.Running != nil })
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// rollout is what is waited for.
type rollout struct {
	d         *Deployer
	namespace string
	s         Service
	done      func(*corev1.Pod) bool
	alone     bool                 // pods of older revisions must be gone
	steady    bool                 // containers without a readiness probe must run for a while
	first     map[string]time.Time // when a container was seen running first, by its ID
	patience  patience
	began     time.Time // when it ran first, or tried to
}

// patience is how long a rollout is waited for that others may have to come before.
type patience struct {
	yields   bool          // it gives way to the services when it runs and does not come up
	crashing time.Duration // how long it may crash
}

// errGivesWay says that a rollout may need a service that is not there yet.
var errGivesWay = errors.New("it may need one of the services")

// givesWay says whether a rollout runs, and may wait for one of the services.
func (r *rollout) givesWay(h *hang) bool {
	if !r.patience.yields {
		return false
	}
	switch h.plain.Reason {
	case "CrashLoopBackOff", "LivenessFailed":
	case "NotReady", "Running", "Error", "Completed", "Started":
		if r.began.IsZero() {
			r.began = time.Now()
		}
		if time.Since(r.began) < giveWay {
			return false
		}
	default:
		return false
	}
	r.d.say("%s: %s: the services are started meanwhile, it may need one of them", h.Service, h.What)
	return true
}

// wait polls until the rollout is over and each pod is as it should be. What cannot heal by itself ends it at once, what
// rarely does after some seconds; everything else is told when ctx ends. Meanwhile it says what is waited for.
func (d *Deployer) wait(ctx context.Context, r *rollout) ([]corev1.Pod, error) {
	if r.s.Kind == "" {
		return nil, nil
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	h := &hang{HangError: &HangError{Service: r.s.Name, Reason: "NoPods", What: "no pod of it has come up"}, since: time.Now()}
	for {
		pods, news, err := r.look(ctx)
		if err != nil && (ctx.Err() == nil || errors.As(err, new(*UnreachableError))) {
			return nil, err
		}
		if err == nil && news == nil {
			return pods, nil
		}
		h.update(ctx, r, news)
		if ctx.Err() == nil && r.givesWay(h) {
			return nil, errGivesWay
		}
		if ctx.Err() == nil && h.hopeless(r.patience) {
			return nil, r.tell(ctx, h)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, context.Cause(ctx)
			}
			return nil, r.tell(context.WithoutCancel(ctx), h)
		}
	}
}

// hang is what a rollout waits for, and since when.
type hang struct {
	*HangError           // with what events say of it
	plain      HangError // without
	since      time.Time
	asked      time.Time
	said       string
}

// update takes a new look into account; events are asked now and then. nil is no news.
func (h *hang) update(ctx context.Context, r *rollout, news *HangError) {
	if news == nil || ctx.Err() != nil {
		return
	}
	if news.Reason != h.plain.Reason {
		h.since, h.asked = time.Now(), time.Time{}
	}
	if *news != h.plain {
		h.plain, h.HangError = *news, news
		h.asked = time.Time{}
	}
	if lasts := time.Since(h.since); lasts > askEvery && time.Since(h.asked) > askEvery {
		h.asked = time.Now()
		detailed := h.plain
		r.detail(ctx, &detailed)
		h.HangError = &detailed
		if lasts > tellAfter && h.What != h.said {
			h.said = h.What
			r.d.say("%s: waiting: %s", h.Service, h.What)
		}
	}
}

// hopeless says whether it has lasted for as long as such things are given.
func (h *hang) hopeless(p patience) bool {
	given, ends := patienceWith(h.Reason)
	if h.Reason == "CrashLoopBackOff" {
		given = max(given, p.crashing)
	}
	return ends && time.Since(h.since) >= given
}

// tell finds out all that is to be said of a rollout that is given up.
func (r *rollout) tell(ctx context.Context, h *hang) error {
	ctx, cancel := context.WithTimeout(ctx, reasonBound)
	defer cancel()
	e := h.plain
	if e.Reason == "" {
		e = *h.HangError
	}
	r.detail(ctx, &e)
	r.addLog(ctx, &e)
	return &e
}

// look is one look at a rollout: its pods when it is over, else what it waits for.
func (r *rollout) look(ctx context.Context) ([]corev1.Pod, *HangError, error) {
	switch r.s.Kind {
	case "Pod":
		return r.single(ctx)
	case "Job":
		return r.job(ctx)
	}
	want, newest, trouble, err := r.revision(ctx)
	if err != nil || trouble != nil {
		return nil, trouble, err
	}
	pods, err := r.d.Pods(ctx, &Plan{Namespace: r.namespace}, r.s)
	if err != nil {
		return nil, nil, err
	}
	var current, old []corev1.Pod
	for _, pod := range pods {
		if newest(&pod) {
			current = append(current, pod)
		} else {
			old = append(old, pod)
		}
	}
	for _, pod := range current {
		if !r.done(&pod) {
			return nil, reason(r.s, &pod), nil
		}
		if r.steady && !r.runs(&pod) {
			return nil, &HangError{Service: r.s.Name, Pod: pod.Name, Reason: "Started", What: "its container has started only now, and has no readiness probe"}, nil
		}
	}
	if len(current) < want {
		r.unblock(ctx, old)
		return nil, &HangError{Service: r.s.Name, Reason: "NoPods", What: fmt.Sprintf("%d of %d pods are there", len(current), want)}, nil
	}
	if r.alone && len(old) > 0 {
		return nil, &HangError{Service: r.s.Name, Reason: "OldPods", What: fmt.Sprintf("pod %s of its revision before is still there", old[0].Name)}, nil
	}
	return current, nil, nil
}

// steadyAfter is how long a container without a readiness probe must run: such a one counts as ready between its crashes.
const steadyAfter = 2 * time.Second

// runs says whether containers that nothing probes keep running.
func (r *rollout) runs(pod *corev1.Pod) bool {
	steady := true
	for _, c := range pod.Spec.Containers {
		i := slices.IndexFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == c.Name })
		if c.ReadinessProbe != nil || i < 0 {
			continue
		}
		state := pod.Status.ContainerStatuses[i]
		if state.State.Running == nil || time.Since(state.State.Running.StartedAt.Time) > 10*steadyAfter {
			continue
		}
		if r.first == nil {
			r.first = map[string]time.Time{}
		}
		if r.first[state.ContainerID].IsZero() {
			r.first[state.ContainerID] = time.Now()
		}
		steady = steady && time.Since(r.first[state.ContainerID]) >= steadyAfter
	}
	return steady
}

// unblock deletes pods of a stateful set's older revisions that will never be ready: its controller waits for them before it
// goes on, so a revision that fails would block the one that mends it.
func (r *rollout) unblock(ctx context.Context, old []corev1.Pod) {
	if r.s.Kind != "StatefulSet" {
		return
	}
	for _, pod := range old {
		if patience, ends := patienceWith(reason(r.s, &pod).Reason); ready(&pod) || !ends || patience > 0 {
			continue
		}
		err := r.d.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pod.UID}})
		if err == nil {
			r.d.say("%s: pod %s of its revision before fails and blocks the new one: it is deleted", r.s.Name, pod.Name)
		}
	}
}

// revision says how many pods the workload wants, and which are of its newest revision.
func (r *rollout) revision(ctx context.Context) (want int, newest func(*corev1.Pod) bool, trouble *HangError, err error) {
	apps, s := r.d.client.AppsV1(), r.s
	switch s.Kind {
	case "Deployment":
		o, err := apps.Deployments(r.namespace).Get(ctx, s.Workload, metav1.GetOptions{})
		if err != nil {
			return r.gone(ctx, err)
		}
		if o.Status.ObservedGeneration < o.Generation {
			return 0, nil, &HangError{Service: s.Name, Reason: "NotObserved", What: "the cluster's controller has not looked at its deployment yet"}, nil
		}
		for _, c := range o.Status.Conditions {
			if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
				return 0, nil, &HangError{Service: s.Name, Reason: c.Reason, What: "its pods are refused: " + refusal(c.Message), Hint: fmt.Sprintf("kubectl -n %s describe deployment %s", r.namespace, s.Workload)}, nil
			}
		}
		set, err := r.d.replicaSet(ctx, o)
		if err != nil {
			return 0, nil, nil, err
		}
		return int(deref(o.Spec.Replicas, 1)), func(pod *corev1.Pod) bool { return set != "" && pod.Labels["pod-template-hash"] == set }, nil, nil
	case "StatefulSet":
		o, err := apps.StatefulSets(r.namespace).Get(ctx, s.Workload, metav1.GetOptions{})
		if err != nil {
			return r.gone(ctx, err)
		}
		if o.Status.ObservedGeneration < o.Generation {
			return 0, nil, &HangError{Service: s.Name, Reason: "NotObserved", What: "the cluster's controller has not looked at its statefulset yet"}, nil
		}
		return int(deref(o.Spec.Replicas, 1)), func(pod *corev1.Pod) bool { return pod.Labels["controller-revision-hash"] == o.Status.UpdateRevision }, nil, nil
	case "DaemonSet":
		o, err := apps.DaemonSets(r.namespace).Get(ctx, s.Workload, metav1.GetOptions{})
		if err != nil {
			return r.gone(ctx, err)
		}
		if o.Status.ObservedGeneration < o.Generation || o.Status.UpdatedNumberScheduled < o.Status.DesiredNumberScheduled {
			return 0, nil, &HangError{Service: s.Name, Reason: "NotObserved", What: "its daemonset is being rolled out"}, nil
		}
		return int(o.Status.DesiredNumberScheduled), func(*corev1.Pod) bool { return true }, nil, nil
	}
	return 0, nil, nil, fmt.Errorf("a rollout of a %s cannot be waited for", s.Kind)
}

// gone says why a workload cannot be looked at.
func (r *rollout) gone(ctx context.Context, err error) (int, func(*corev1.Pod) bool, *HangError, error) {
	if !apierrors.IsNotFound(err) {
		return 0, nil, nil, fmt.Errorf("look at %s %s: %w", strings.ToLower(r.s.Kind), r.s.Workload, explain(err, nil))
	}
	h := &HangError{Service: r.s.Name, Reason: "Deleted", What: fmt.Sprintf("its %s %s was deleted by somebody else", strings.ToLower(r.s.Kind), r.s.Workload)}
	ns, err := r.d.client.CoreV1().Namespaces().Get(ctx, r.namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && ns.DeletionTimestamp != nil {
		h.What = fmt.Sprintf("namespace %s is being deleted by somebody else", r.namespace)
	}
	return 0, nil, h, nil
}

// replicaSet is the hash of a deployment's newest one, empty while there is none.
func (d *Deployer) replicaSet(ctx context.Context, o *appsv1.Deployment) (string, error) {
	selector, err := metav1.LabelSelectorAsSelector(o.Spec.Selector)
	if err != nil {
		return "", fmt.Errorf("deployment %s: %w", o.Name, err)
	}
	sets, err := d.client.AppsV1().ReplicaSets(o.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return "", fmt.Errorf("look at the replica sets of %s: %w", o.Name, err)
	}
	const revision = "deployment.kubernetes.io/revision"
	for _, set := range sets.Items {
		if metav1.IsControlledBy(&set, o) && set.Annotations[revision] == o.Annotations[revision] {
			return set.Labels["pod-template-hash"], nil
		}
	}
	return "", nil
}

func deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
