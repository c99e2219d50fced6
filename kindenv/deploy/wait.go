package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	Service string
	Pod     string
	Reason  string // the cluster's word for it: ImagePullBackOff, CrashLoopBackOff, Unschedulable, …
	What    string // one sentence
	Log     string // last lines of the container, where they explain it
	Hint    string
}

// Error is the sentence.
func (e *HangError) Error() string { return e.Service + ": " + e.What }

const (
	pollEvery = 50 * time.Millisecond
	logTail   = 20
)

// Pods lists the pods of a service that are not on their way out, of the newest revision of its workload only.
func (d *Deployer) Pods(ctx context.Context, p *Plan, s Service) ([]corev1.Pod, error) {
	list, err := d.client.CoreV1().Pods(p.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(s.Selector).String()})
	if err != nil {
		return nil, fmt.Errorf("list the pods of %s: %w", s.Name, err)
	}
	pods := slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool {
		return pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
	})
	return pods, nil
}

// WaitRunning waits until every pod of the workload's newest revision runs the service's container, ready or not, and
// returns these pods. It is how a service whose program is pushed comes up.
func (d *Deployer) WaitRunning(ctx context.Context, p *Plan, s Service) ([]corev1.Pod, error) {
	return d.wait(ctx, p, s, func(pod *corev1.Pod) bool {
		for _, c := range pod.Status.ContainerStatuses {
			if c.Name == s.Container {
				return c.State.Running != nil
			}
		}
		return false
	})
}

// WaitReady waits until every pod of the workload's newest revision is ready and no other is left, and returns them.
func (d *Deployer) WaitReady(ctx context.Context, p *Plan, s Service) ([]corev1.Pod, error) {
	return d.wait(ctx, p, s, ready)
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// wait polls until the rollout is over and each pod is as it should be. What cannot heal by itself ends it at once;
// everything else is told when ctx ends.
func (d *Deployer) wait(ctx context.Context, p *Plan, s Service, done func(*corev1.Pod) bool) ([]corev1.Pod, error) {
	if s.Kind == "" {
		return nil, nil
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	hang := &HangError{Service: s.Name, Reason: "NoPods", What: "no pod of it has come up"}
	for {
		pods, news, err := d.look(ctx, p, s, done)
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		if err == nil && news == nil {
			return pods, nil
		}
		if news != nil {
			hang = news
		}
		if ctx.Err() == nil && hang.hopeless() {
			d.addLog(ctx, p, s, hang)
			return nil, hang
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, context.Cause(ctx)
			}
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			d.addLog(late, p, s, hang)
			d.addEvents(late, p, hang)
			return nil, hang
		}
	}
}

// look is one look at a rollout: its pods when it is over, else what it waits for.
func (d *Deployer) look(ctx context.Context, p *Plan, s Service, done func(*corev1.Pod) bool) ([]corev1.Pod, *HangError, error) {
	want, newest, trouble, err := d.revision(ctx, p, s)
	if err != nil {
		return nil, nil, err
	}
	if trouble != nil {
		return nil, trouble, nil
	}
	pods, err := d.Pods(ctx, p, s)
	if err != nil {
		return nil, nil, err
	}
	var current []corev1.Pod
	for _, pod := range pods {
		if newest(&pod) {
			current = append(current, pod)
		}
	}
	for _, pod := range current {
		if !done(&pod) {
			return nil, d.reason(s, &pod), nil
		}
	}
	if len(current) < want {
		return nil, &HangError{Service: s.Name, Reason: "NoPods", What: fmt.Sprintf("%d of %d pods are there", len(current), want)}, nil
	}
	return current, nil, nil
}

// revision says how many pods the workload wants, and which are of its newest revision.
func (d *Deployer) revision(ctx context.Context, p *Plan, s Service) (want int, newest func(*corev1.Pod) bool, trouble *HangError, err error) {
	apps := d.client.AppsV1()
	switch s.Kind {
	case "Deployment":
		o, err := apps.Deployments(p.Namespace).Get(ctx, s.Workload, metav1.GetOptions{})
		if err != nil {
			return 0, nil, nil, fmt.Errorf("look at deployment %s: %w", s.Workload, err)
		}
		if o.Status.ObservedGeneration < o.Generation {
			return 0, nil, &HangError{Service: s.Name, Reason: "NotObserved", What: "the cluster's controller has not looked at its deployment yet"}, nil
		}
		for _, c := range o.Status.Conditions {
			if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
				return 0, nil, &HangError{Service: s.Name, Reason: c.Reason, What: "its pods are refused: " + c.Message, Hint: "kubectl describe deployment " + s.Workload}, nil
			}
		}
		set, err := d.replicaSet(ctx, o)
		if err != nil {
			return 0, nil, nil, err
		}
		return int(deref(o.Spec.Replicas, 1)), func(pod *corev1.Pod) bool { return set != "" && pod.Labels["pod-template-hash"] == set }, nil, nil
	case "StatefulSet":
		o, err := apps.StatefulSets(p.Namespace).Get(ctx, s.Workload, metav1.GetOptions{})
		if err != nil {
			return 0, nil, nil, fmt.Errorf("look at statefulset %s: %w", s.Workload, err)
		}
		if o.Status.ObservedGeneration < o.Generation {
			return 0, nil, &HangError{Service: s.Name, Reason: "NotObserved", What: "the cluster's controller has not looked at its statefulset yet"}, nil
		}
		return int(deref(o.Spec.Replicas, 1)), func(pod *corev1.Pod) bool { return pod.Labels["controller-revision-hash"] == o.Status.UpdateRevision }, nil, nil
	case "DaemonSet":
		o, err := apps.DaemonSets(p.Namespace).Get(ctx, s.Workload, metav1.GetOptions{})
		if err != nil {
			return 0, nil, nil, fmt.Errorf("look at daemonset %s: %w", s.Workload, err)
		}
		if o.Status.ObservedGeneration < o.Generation || o.Status.UpdatedNumberScheduled < o.Status.DesiredNumberScheduled {
			return 0, nil, &HangError{Service: s.Name, Reason: "NotObserved", What: "its daemonset is being rolled out"}, nil
		}
		return int(o.Status.DesiredNumberScheduled), func(*corev1.Pod) bool { return true }, nil, nil
	}
	return 0, nil, nil, fmt.Errorf("a rollout of a %s cannot be waited for", s.Kind)
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

// reason is what a pod waits for, in the order in which these things happen.
func (d *Deployer) reason(s Service, pod *corev1.Pod) *HangError {
	h := &HangError{Service: s.Name, Pod: pod.Name}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			h.Reason, h.What = c.Reason, "no node takes its pod: "+c.Message
			return h
		}
	}
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		image := c.Image
		if w := c.State.Waiting; w != nil {
			h.Reason = w.Reason
			switch w.Reason {
			case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable", "ImageInspectError":
				h.What = fmt.Sprintf("image %s cannot be had: %s", image, cut(w.Message))
				h.Hint = "devloop cluster load IMAGE loads one from this machine's engine"
			case "CrashLoopBackOff":
				h.What = fmt.Sprintf("container %s ends again and again%s", c.Name, ended(c.LastTerminationState.Terminated))
			case "ContainerCreating", "PodInitializing":
				h.What = "its pod is being made: " + strings.TrimSpace(w.Reason+" "+cut(w.Message))
			default:
				h.What = strings.TrimSuffix(fmt.Sprintf("container %s waits: %s: %s", c.Name, w.Reason, cut(w.Message)), ": ")
			}
			return h
		}
		if t := c.State.Terminated; t != nil && (t.ExitCode != 0 || !isInit(pod, c.Name)) {
			h.Reason, h.What = t.Reason, fmt.Sprintf("container %s has ended%s", c.Name, ended(t))
			return h
		}
	}
	h.Reason, h.What = "NotReady", "its pod runs and is not ready"
	return h
}

func isInit(pod *corev1.Pod, container string) bool {
	return slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == container })
}

func ended(t *corev1.ContainerStateTerminated) string {
	switch {
	case t == nil:
		return ""
	case t.Reason == "OOMKilled":
		return ": it took more memory than its limit"
	case t.Signal != 0:
		return fmt.Sprintf(": signal %d", t.Signal)
	case t.Message != "":
		return fmt.Sprintf(": exit code %d, %s", t.ExitCode, cut(t.Message))
	}
	return fmt.Sprintf(": exit code %d", t.ExitCode)
}

func cut(message string) string {
	message = strings.Join(strings.Fields(message), " ")
	if len(message) > 500 {
		message = message[:500] + "…"
	}
	return message
}

// hopeless is what does not heal by waiting.
func (e *HangError) hopeless() bool {
	switch e.Reason {
	case "ErrImageNeverPull", "InvalidImageName", "ImagePullBackOff", "CrashLoopBackOff", "CreateContainerConfigError", "RunContainerError", "StartError", "FailedCreate":
		return true
	}
	return false
}

// addLog puts the end of the container's log into the error where it explains it.
func (d *Deployer) addLog(ctx context.Context, p *Plan, s Service, e *HangError) {
	if e.Pod == "" || e.Reason == "Unschedulable" {
		return
	}
	for _, previous := range []bool{false, true} {
		log, err := d.Log(ctx, p.Namespace, e.Pod, s.Container, previous)
		if err == nil && log != "" {
			e.Log = log
			return
		}
	}
}

// Log is the end of a container's log.
func (d *Deployer) Log(ctx context.Context, namespace, pod, container string, previous bool) (string, error) {
	r, err := d.client.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{
		Container: container, Previous: previous, TailLines: ptr(int64(logTail)), LimitBytes: ptr(int64(16 << 10)),
	}).Stream(ctx)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return strings.TrimSpace(string(b)), err
}

// addEvents says what the kubelet said last of a pod that never became ready.
func (d *Deployer) addEvents(ctx context.Context, p *Plan, e *HangError) {
	if e.Reason != "NotReady" && e.Reason != "ContainerCreating" {
		return
	}
	list, err := d.client.CoreV1().Events(p.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=Warning,involvedObject.name=" + e.Pod})
	if err != nil && !apierrors.IsForbidden(err) || list == nil || len(list.Items) == 0 {
		return
	}
	last := slices.MaxFunc(list.Items, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
	e.What += ": " + cut(last.Message)
}

func deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
