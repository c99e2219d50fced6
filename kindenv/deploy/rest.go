package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// AnnotationWait on a workload of the manifests says with "false" that nobody waits for it.
const AnnotationWait = "devloop.dev/wait"

// WaitRest waits for the workloads of the plan that no service and no dependency is: until their pods are ready, and Jobs
// until they are complete.
func (d *Deployer) WaitRest(ctx context.Context, p *Plan) error {
	var g errgroup.Group
	errs := make([]error, len(p.Objects))
	for i, o := range p.Objects {
		if _, known := p.Owner(o); known || !slices.Contains(append([]string{"Job", "Pod"}, workloadKinds...), o.GetKind()) || o.GetAnnotations()[AnnotationWait] == "false" {
			continue
		}
		g.Go(func() error {
			errs[i] = d.waitFor(ctx, o)
			return nil
		})
	}
	_ = g.Wait() // errors are in errs
	return errors.Join(errs...)
}

func (d *Deployer) waitFor(ctx context.Context, o *unstructured.Unstructured) error {
	s := Service{Name: Ref(o), Kind: o.GetKind(), Workload: o.GetName()}
	s.Selector, _, _ = unstructured.NestedStringMap(o.Object, "spec", "template", "metadata", "labels")
	r := &rollout{d: d, namespace: o.GetNamespace(), s: s, done: ready, alone: true, steady: true}
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
