package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// AnnotationWait on a workload of the manifests says when it is waited for: [WaitNever], [WaitServices], or, without it, before
// the services for as long as it does not seem to need one of them.
const AnnotationWait = "devloop.dev/wait"

// The values of [AnnotationWait].
const (
	WaitNever    = "false"
	WaitServices = "services" // once all services are ready
)

// giveWay is how long a workload that runs, and is not ready or complete, is waited for before the services are started.
const giveWay = 10 * time.Second

// crashPatience is for how long a workload may go on crashing once the services are there: the cluster starts it again after
// 10, 20 and 40 seconds.
const crashPatience = 30 * time.Second

// WaitRest waits for the workloads of the plan that no service and no dependency is: until their pods are ready, and Jobs
// until they are complete.
func (d *Deployer) WaitRest(ctx context.Context, p *Plan) error {
	_, err := d.waitForAll(ctx, p.rest(), patience{})
	return err
}

// WaitBefore is WaitRest for the time before the services run. A workload that may need one of them is not waited for
// longer than some seconds; those are returned, for [Deployer.WaitAfter].
func (d *Deployer) WaitBefore(ctx context.Context, p *Plan) (later []*unstructured.Unstructured, err error) {
	var first []*unstructured.Unstructured
	for _, o := range p.rest() {
		if o.GetAnnotations()[AnnotationWait] == WaitServices {
			later = append(later, o)
		} else {
			first = append(first, o)
		}
	}
	left, err := d.waitForAll(ctx, first, patience{yields: true})
	return append(later, left...), err
}

// WaitAfter waits for what [Deployer.WaitBefore] left.
func (d *Deployer) WaitAfter(ctx context.Context, objects []*unstructured.Unstructured) error {
	_, err := d.waitForAll(ctx, objects, patience{crashing: crashPatience})
	return err
}

// rest are the workloads that no service and no dependency is, without those that nobody waits for.
func (p *Plan) rest() (list []*unstructured.Unstructured) {
	for _, o := range p.Objects {
		_, known := p.Owner(o)
		if !known && slices.Contains(append([]string{"Job", "Pod"}, workloadKinds...), o.GetKind()) && o.GetAnnotations()[AnnotationWait] != WaitNever {
			list = append(list, o)
		}
	}
	return list
}

// waitForAll waits for workloads, and returns those that gave way to the services.
func (d *Deployer) waitForAll(ctx context.Context, objects []*unstructured.Unstructured, with patience) (left []*unstructured.Unstructured, err error) {
	errs := make([]error, len(objects))
	var wg sync.WaitGroup
	for i, o := range objects {
		wg.Go(func() { errs[i] = d.waitFor(ctx, o, with) })
	}
	wg.Wait()
	for i, err := range errs {
		if errors.Is(err, errGivesWay) {
			left, errs[i] = append(left, objects[i]), nil
		}
	}
	return left, errors.Join(errs...)
}

func (d *Deployer) waitFor(ctx context.Context, o *unstructured.Unstructured, with patience) error {
	s := Service{Name: Ref(o), Kind: o.GetKind(), Workload: o.GetName()}
	s.Selector, _, _ = unstructured.NestedStringMap(o.Object, "spec", "template", "metadata", "labels")
	r := &rollout{d: d, namespace: o.GetNamespace(), s: s, done: ready, alone: true, steady: true, patience: with}
	switch o.GetKind() {
	case "Job":
		r.s.Selector = map[string]string{batchv1.JobNameLabel: o.GetName()}
	case "Pod":
		r.done = func(pod *corev1.Pod) bool { return ready(pod) || pod.Status.Phase == corev1.PodSucceeded }
	}
	_, err := d.wait(ctx, r)
	return err
}

// single looks at a pod that no controller has.
func (r *rollout) single(ctx context.Context) ([]corev1.Pod, *HangError, error) {
	pod, err := r.d.client.CoreV1().Pods(r.namespace).Get(ctx, r.s.Workload, metav1.GetOptions{})
	if err != nil {
		_, _, h, err := r.gone(ctx, err)
		return nil, h, err
	}
	if r.done(pod) {
		return []corev1.Pod{*pod}, nil, nil
	}
	h := reason(r.s, pod)
	if pod.Status.Phase == corev1.PodFailed {
		h.Reason = "BackoffLimitExceeded"
	}
	return nil, h, nil
}

// job looks at a job.
func (r *rollout) job(ctx context.Context) ([]corev1.Pod, *HangError, error) {
	job, err := r.d.client.BatchV1().Jobs(r.namespace).Get(ctx, r.s.Workload, metav1.GetOptions{})
	if err != nil {
		_, _, h, err := r.gone(ctx, err)
		return nil, h, err
	}
	if deref(job.Spec.Suspend, false) {
		return nil, nil, nil
	}
	var failed *HangError
	for _, c := range job.Status.Conditions {
		switch {
		case c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue:
			return nil, nil, nil
		case c.Type == batchv1.JobFailed && c.Status == corev1.ConditionTrue:
			failed = &HangError{Service: r.s.Name, Reason: "BackoffLimitExceeded", What: "it has failed: " + cut(c.Message)}
		}
	}
	list, err := r.d.client.CoreV1().Pods(r.namespace).List(ctx, metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=" + r.s.Workload})
	if err != nil {
		return nil, nil, fmt.Errorf("list the pods of %s: %w", r.s.Name, explain(err, nil))
	}
	if len(list.Items) == 0 {
		if failed == nil {
			failed = &HangError{Service: r.s.Name, Reason: "NoPods", What: "no pod of it has come up"}
		}
		return nil, failed, nil
	}
	last := slices.MaxFunc(list.Items, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	h := reason(r.s, &last)
	if h.Reason == "NotReady" {
		h.Reason, h.What = "Running", "it runs and is not complete"
	}
	if failed != nil {
		failed.Pod, failed.Container = h.Pod, h.Container
		failed.What += ", " + strings.TrimSpace(h.What)
		return nil, failed, nil
	}
	return nil, h, nil
}
