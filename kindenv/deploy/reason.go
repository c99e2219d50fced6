package deploy

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// patienceWith is for how long a rollout may hang for a reason before it is given up; false where only the caller's
// deadline ends it.
func patienceWith(reason string) (time.Duration, bool) {
	switch reason {
	case "ErrImageNeverPull", "InvalidImageName", "ImagePullBackOff", "ErrImageMissing", "CrashLoopBackOff", "RunContainerError", "StartError", "PodSecurity", "Deleted",
		"LivenessFailed", "BackoffLimitExceeded", "DeadlineExceeded":
		return 0, true
	case "CreateContainerConfigError", "CreateContainerError":
		return 3 * time.Second, true
	case "Unschedulable", "FailedCreate", "FailedMount", "VolumePending": // room comes free when old pods go
		return 10 * time.Second, true
	}
	return 0, false
}

// reason is what a pod waits for, in the order in which these things happen.
func reason(s Service, pod *corev1.Pod) *HangError {
	h := &HangError{Service: s.Name, Pod: pod.Name}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			h.Reason, h.What = c.Reason, "no node takes its pod: "+cut(c.Message)
			return h
		}
	}
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if h.container(pod, &c) {
			return h
		}
	}
	h.Reason, h.What, h.Container = "NotReady", "its pod runs and is not ready", s.Container
	if pod.Status.Phase == corev1.PodPending && len(pod.Status.ContainerStatuses) == 0 {
		h.Reason, h.What = "ContainerCreating", "its pod is being made"
	}
	return h
}

// container says what a container waits for; false where it runs, or is an init container that has done its work.
func (h *HangError) container(pod *corev1.Pod, c *corev1.ContainerStatus) bool {
	name := "container " + c.Name
	if isInit(pod, c.Name) {
		name = "init " + name
	}
	h.Container = c.Name
	if w := c.State.Waiting; w != nil {
		h.Reason = w.Reason
		switch w.Reason {
		case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable", "ImageInspectError":
			h.What = fmt.Sprintf("image %s cannot be had: %s", c.Image, cut(w.Message))
			h.Hint = "devloop cluster load IMAGE loads one from this machine's engine"
			if w.Reason == "ErrImagePull" && missing(w.Message) {
				h.Reason = "ErrImageMissing"
			}
		case "CrashLoopBackOff":
			h.What = fmt.Sprintf("%s ends again and again%s", name, ended(c.LastTerminationState.Terminated))
		case "ContainerCreating", "PodInitializing":
			h.What = "its pod is being made"
			if w.Message != "" {
				h.What += ": " + cut(w.Message)
			}
			if w.Reason == "PodInitializing" && !isInit(pod, c.Name) {
				h.What = "its init containers run"
			}
		default:
			h.What = strings.TrimSuffix(fmt.Sprintf("%s cannot be started: %s: %s", name, w.Reason, cut(w.Message)), ": ")
		}
		return true
	}
	if t := c.State.Terminated; t != nil && (t.ExitCode != 0 || !isInit(pod, c.Name)) {
		h.Reason, h.What = cmp.Or(t.Reason, "Terminated"), fmt.Sprintf("%s has ended%s", name, ended(t))
		return true
	}
	if isInit(pod, c.Name) && c.State.Running != nil && (c.Started == nil || !*c.Started || c.RestartCount > 0) && !sidecar(pod, c.Name) {
		h.Reason, h.What = "PodInitializing", name+" runs"
		return true
	}
	return false
}

// missing says whether a pull failed for a reason that another attempt does not mend.
func missing(message string) bool {
	for _, s := range []string{"not found", "no such host", "denied", "unauthorized", "does not exist", "failed to resolve"} {
		if strings.Contains(message, s) {
			return true
		}
	}
	return false
}

func isInit(pod *corev1.Pod, container string) bool {
	return slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == container })
}

func sidecar(pod *corev1.Pod, container string) bool {
	return slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool {
		return c.Name == container && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
	})
}

func ended(t *corev1.ContainerStateTerminated) string {
	switch {
	case t == nil:
		return ""
	case t.Reason == "OOMKilled":
		return ": it took more memory than its limit (OOMKilled)"
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
		message = strings.ToValidUTF8(message[:500], "") + "…"
	}
	return message
}

// refusal is why a controller may not make a pod, without the words around it.
func refusal(message string) string {
	if _, rule, ok := strings.Cut(message, "exceeded quota: "); ok {
		return "the namespace's quota is used up: " + cut(rule)
	}
	if _, rule, ok := strings.Cut(message, "violates PodSecurity "); ok {
		return "the namespace's pod security does not allow them: " + cut(rule)
	}
	return cut(message)
}

// detail adds what events and volume claims say.
func (r *rollout) detail(ctx context.Context, e *HangError) {
	switch e.Reason {
	case "NotReady", "Error", "Completed", "CrashLoopBackOff", "OOMKilled":
		r.probes(ctx, e)
	case "ContainerCreating", "PodInitializing":
		if ev := r.event(ctx, e.Pod, "FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"); ev != nil {
			e.Reason, e.What = "FailedMount", "its pod cannot be made: "+cut(ev.Message)
		}
	case "Unschedulable":
		r.claims(ctx, e)
	case "NoPods", "NotObserved":
		if ev := r.event(ctx, r.s.Workload, "FailedCreate"); ev != nil {
			e.Reason, e.What = "FailedCreate", "its pods are refused: "+refusal(ev.Message)
		}
	}
	if e.Reason == "FailedCreate" && strings.Contains(e.What, "pod security") {
		e.Reason = "PodSecurity"
	}
}

// probes says what a probe was answered. A container that its liveness probe ends is not to blame for its exit code.
func (r *rollout) probes(ctx context.Context, e *HangError) {
	ev := r.event(ctx, e.Pod, "Unhealthy", "ProbeError")
	if ev == nil {
		return
	}
	text := cut(ev.Message)
	if e.Reason == "NotReady" {
		e.What += ": " + text
		return
	}
	if live := r.eventWith(ctx, e.Pod, "iveness probe failed"); live != nil && e.Reason != "OOMKilled" && !strings.Contains(e.What, "OOMKilled") {
		e.What = fmt.Sprintf("container %s is ended again and again by its probe: %s", e.Container, cut(live.Message))
	}
}

// claims says which volume claims a pod waits for.
func (r *rollout) claims(ctx context.Context, e *HangError) {
	pod, err := r.d.client.CoreV1().Pods(r.namespace).Get(ctx, e.Pod, metav1.GetOptions{})
	if err != nil {
		return
	}
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		name := v.PersistentVolumeClaim.ClaimName
		claim, err := r.d.client.CoreV1().PersistentVolumeClaims(r.namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil || claim.Status.Phase != corev1.ClaimPending {
			continue
		}
		e.Reason, e.What = "VolumePending", fmt.Sprintf("volume claim %s is pending", name)
		if c := claim.Spec.StorageClassName; c != nil && *c != "" {
			e.What += ", storage class " + *c
		}
		if ev := r.event(ctx, name, "ProvisioningFailed", "FailedBinding", "ExternalProvisioning", "WaitForFirstConsumer"); ev != nil {
			e.What += ": " + cut(ev.Message)
		}
		return
	}
}

// event is the newest event of an object with one of these reasons, nil where there is none or they may not be read.
func (r *rollout) event(ctx context.Context, object string, reasons ...string) *corev1.Event {
	return r.newest(ctx, object, func(e *corev1.Event) bool { return slices.Contains(reasons, e.Reason) })
}

func (r *rollout) eventWith(ctx context.Context, object, text string) *corev1.Event {
	return r.newest(ctx, object, func(e *corev1.Event) bool { return strings.Contains(e.Message, text) })
}

func (r *rollout) newest(ctx context.Context, object string, match func(*corev1.Event) bool) *corev1.Event {
	list, err := r.d.client.CoreV1().Events(r.namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + object})
	if err != nil || object == "" {
		return nil
	}
	var last *corev1.Event
	for i := range list.Items {
		if e := &list.Items[i]; match(e) && (last == nil || when(e).After(when(last))) {
			last = e
		}
	}
	return last
}

func when(e *corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	}
	return e.EventTime.Time
}

// addLog puts the end of the container's log into the error where it explains it.
func (r *rollout) addLog(ctx context.Context, e *HangError) {
	container := cmp.Or(e.Container, r.s.Container)
	if e.Pod == "" || slices.Contains([]string{"Unschedulable", "VolumePending", "FailedMount", "ContainerCreating"}, e.Reason) {
		return
	}
	for _, previous := range []bool{false, true} {
		log, err := r.d.Log(ctx, r.namespace, e.Pod, container, previous)
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
