package identity

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/devloop-io/devloop/kindenv/deploy"
	"github.com/devloop-io/devloop/traffic"
)

// Kinds of workloads in a cluster, beside those of devloop.yaml.
const (
	KindPod       = "pod"
	KindNode      = "node"
	KindService   = "k8s_service" // a Service's own address, when nobody saw which pod answered
	KindEndpoint  = "endpoint"    // what a Service without a selector stands for, which is no pod
	KindAPIServer = "apiserver"
)

// Bounds of what a workload carries along.
const (
	maxLabels      = 64
	maxAnnotations = 16
	maxValue       = 256 // bytes of an annotation
	hidden         = "[redacted]"
)

// Container names the workload in a container. Of a pod that the cluster has not told of yet it is not ok, and of one
// whose containers it has not told of it is so only where there is one.
func (w *Watcher) Container(podUID, containerID string) (traffic.Workload, bool) {
	found, err := w.pods.GetIndexer().ByIndex(byUID, podUID)
	if err != nil || len(found) == 0 {
		return traffic.Workload{}, false
	}
	pod := found[0].(*corev1.Pod)
	name := ""
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses) {
		if _, id, ok := strings.Cut(s.ContainerID, "://"); ok && id == containerID {
			name = s.Name
		}
	}
	if name == "" && len(pod.Spec.Containers) == 1 && len(pod.Spec.InitContainers) == 0 {
		name = pod.Spec.Containers[0].Name
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ofPod(pod, name), name != ""
}

// name is the workload of an object. The caller holds the lock.
func (w *Watcher) name(o metav1.Object) traffic.Workload {
	switch o := o.(type) {
	case *corev1.Pod:
		return w.ofPod(o, "")
	case *corev1.Service:
		return w.ofService(o)
	case *corev1.Node:
		p := w.places[o.Name]
		return traffic.Workload{Kind: KindNode, Node: o.Name, Service: o.Name, Labels: few(o.Labels), Annotations: o.Annotations, Zone: p.zone, NodeIP: p.ip, HostNetwork: true}
	}
	return traffic.Workload{}
}

// ofPod names a pod's container. The caller holds the lock.
func (w *Watcher) ofPod(pod *corev1.Pod, container string) traffic.Workload {
	at := w.places[pod.Spec.NodeName]
	t := traffic.Workload{
		Namespace: pod.Namespace, Kind: KindPod, Pod: pod.Name, Container: container, Node: pod.Spec.NodeName, Labels: few(pod.Labels),
		Annotations: pod.Annotations, Service: w.serviceOf(pod), Zone: at.zone, NodeIP: at.ip, HostNetwork: pod.Spec.HostNetwork,
	}
	t.OwnerKind, t.Owner = ownerOf(pod)
	if pod.Labels[deploy.LabelWorkspace] == w.o.Workspace && pod.Labels[deploy.LabelService] != "" {
		t.Kind, t.Service = pod.Labels[deploy.LabelRole], pod.Labels[deploy.LabelService]
		t.Outside = w.o.Outside[t.Service]
	}
	if container == "" && len(pod.Spec.Containers) == 1 {
		container = pod.Spec.Containers[0].Name
	}
	t.Build = cmp.Or(w.builds[string(pod.UID)+"/"+container], pod.Annotations[deploy.AnnotationBuild])
	return t
}

// ownerOf is what made a pod. A ReplicaSet of a Deployment is called after it and the hash of its template, which the pod
// has in a label; so ReplicaSets need not be watched.
func ownerOf(pod *corev1.Pod) (kind, name string) {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return "", ""
	}
	if hash := pod.Labels["pod-template-hash"]; owner.Kind == "ReplicaSet" && hash != "" {
		if deployment, ok := strings.CutSuffix(owner.Name, "-"+hash); ok {
			return "Deployment", deployment
		}
	}
	return owner.Kind, owner.Name
}

// serviceOf is the name that peers use: the first by name of the Services that select the pod, or that somebody wrote the
// pod's address into.
func (w *Watcher) serviceOf(pod *corev1.Pod) string {
	for _, s := range w.selectors[pod.Namespace] {
		if s.match.Matches(labels.Set(pod.Labels)) {
			return s.name
		}
	}
	best := ""
	for _, ip := range addresses(pod) {
		for _, s := range w.endpointsOf(ip) {
			if name := s.Labels[discoveryv1.LabelServiceName]; s.Namespace == pod.Namespace && name != "" && (best == "" || name < best) {
				best = name
			}
		}
	}
	return best
}

func (w *Watcher) endpointsOf(ip netip.Addr) (all []*discoveryv1.EndpointSlice) {
	found, err := w.slices.GetIndexer().ByIndex(byIP, ip.String())
	if err != nil {
		return nil
	}
	for _, o := range found {
		all = append(all, o.(*discoveryv1.EndpointSlice))
	}
	return all
}

// endpoint names an address that is neither a pod's nor a node's, by the Service that somebody wrote it into. The caller holds
// the lock.
func (w *Watcher) endpoint(ip netip.Addr) (traffic.Workload, bool) {
	var t traffic.Workload
	for _, s := range w.endpointsOf(ip) {
		name := s.Labels[discoveryv1.LabelServiceName]
		if name == "" || t.Service != "" && s.Namespace+"/"+name > t.Namespace+"/"+t.Service {
			continue
		}
		o, there, err := w.services.GetStore().GetByKey(s.Namespace + "/" + name)
		service, ok := o.(*corev1.Service)
		if err != nil || !there || !ok || len(service.Spec.Selector) > 0 { // a pod's, whose end was told already
			continue
		}
		t = w.ofService(service)
		if t.Kind == KindService {
			t.Kind = KindEndpoint
		}
	}
	return t, t.Service != ""
}

// ofService names a Service's own addresses. The API server goes by one of them.
func (w *Watcher) ofService(s *corev1.Service) traffic.Workload {
	t := traffic.Workload{Namespace: s.Namespace, Kind: KindService, Service: s.Name, Labels: few(s.Labels), Annotations: s.Annotations}
	switch {
	case s.Namespace == "default" && s.Name == "kubernetes":
		t.Kind = KindAPIServer
	case s.Labels[deploy.LabelWorkspace] == w.o.Workspace && s.Labels[deploy.LabelRole] != "":
		t.Kind, t.Outside = s.Labels[deploy.LabelRole], w.o.Outside[s.Name]
	}
	return t
}

// few bounds labels; each is short by the cluster's own rules. Objects that informers give do not change, so their maps are
// shared.
func few(m map[string]string) map[string]string {
	if len(m) <= maxLabels {
		return m
	}
	kept := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(m))[:maxLabels] {
		kept[name] = m[name]
	}
	return kept
}

// short keeps some annotations: those that say what runs, in front by name, cut where they are long and hidden where they look
// like secrets.
func (w *Watcher) short(m map[string]string) map[string]string {
	delete(m, corev1.LastAppliedConfigAnnotation)
	if len(m) == 0 {
		return nil
	}
	needed := func(name string) bool {
		return name == corev1.MirrorPodAnnotationKey || strings.HasPrefix(name, "devloop.dev/")
	}
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if needed(a) != needed(b) {
			if needed(a) {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	kept := map[string]string{}
	for _, name := range names[:min(len(names), maxAnnotations)] {
		kept[name] = w.value(name, m[name])
	}
	return kept
}

// value is an annotation's, fit to be shown.
func (w *Watcher) value(name, text string) string {
	text = cut(text, maxValue)
	_, key, qualified := strings.Cut(name, "/")
	if !qualified {
		key = name
	}
	if line := key + ": " + text; w.redactor.Text(line) != line {
		return hidden
	}
	return text
}

// text is a message of the cluster, fit to be shown.
func (w *Watcher) text(s string) string {
	return w.redactor.Text(cut(strings.Join(strings.Fields(s), " "), maxMessage))
}

// cut bounds a text, at a character.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
