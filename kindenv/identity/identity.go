package identity

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/devloop-io/devloop/kindenv/deploy"
	"github.com/devloop-io/devloop/traffic"
)

// Kinds of workloads in a cluster, beside those of devloop.yaml.
const (
	KindPod       = "pod"
	KindNode      = "node"
	KindService   = "k8s_service" // a Service's own address, when nobody saw which pod answered
	KindAPIServer = "apiserver"
)

// Options of [Watch].
type Options struct {
	Client    kubernetes.Interface
	Workspace string          // hash in the label of our own pods
	Outside   map[string]bool // services of devloop.yaml that are somebody else's
	Now       func() time.Time
}

// Watcher follows a cluster. Its methods may be called from any goroutine.
type Watcher struct {
	o         Options
	factory   informers.SharedInformerFactory
	pods      cache.SharedIndexInformer
	services  cache.SharedIndexInformer
	slices    cache.SharedIndexInformer
	nodes     cache.SharedIndexInformer
	mu        sync.Mutex
	held      []traffic.Identity // spans that have ended, oldest first
	current   map[netip.Addr]holder
	builds    map[string]string // of containers, by pod UID and name
	observers []func(*corev1.Pod)
}

// holder is who has an address now.
type holder struct {
	uid  string
	from int64
}

// maxHeld bounds the spans that have ended: about a day of a pod every ten seconds.
const maxHeld = 8192

// Watch begins to follow a cluster and returns when everything that is there is known.
func Watch(ctx context.Context, o Options) (*Watcher, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	w := &Watcher{o: o, factory: informers.NewSharedInformerFactory(o.Client, 0), current: map[netip.Addr]holder{}, builds: map[string]string{}}
	w.pods = w.factory.Core().V1().Pods().Informer()
	w.services = w.factory.Core().V1().Services().Informer()
	w.slices = w.factory.Discovery().V1().EndpointSlices().Informer()
	w.nodes = w.factory.Core().V1().Nodes().Informer()
	for _, i := range []cache.SharedIndexInformer{w.pods, w.services, w.slices, w.nodes} {
		if err := i.SetTransform(trim); err != nil {
			return nil, fmt.Errorf("watch the cluster: %w", err)
		}
	}
	registered, err := w.pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { w.seen(o.(*corev1.Pod)) },
		UpdateFunc: func(_, o any) { w.seen(o.(*corev1.Pod)) },
		DeleteFunc: w.gone,
	})
	if err != nil {
		return nil, fmt.Errorf("watch the cluster: %w", err)
	}
	w.factory.Start(ctx.Done())
	for kind, ok := range w.factory.WaitForCacheSync(ctx.Done()) {
		if !ok {
			return nil, fmt.Errorf("watch the cluster's %s: %w", kind, context.Cause(ctx))
		}
	}
	if !cache.WaitForCacheSync(ctx.Done(), registered.HasSynced) {
		return nil, fmt.Errorf("watch the cluster's pods: %w", context.Cause(ctx))
	}
	return w, nil
}

// trim forgets what nobody here asks for, which is most of an object.
func trim(o any) (any, error) {
	switch o := o.(type) {
	case *corev1.Pod:
		o.ManagedFields = nil
		o.Spec.Volumes, o.Spec.Tolerations, o.Spec.Affinity = nil, nil, nil
		for i := range o.Spec.Containers {
			o.Spec.Containers[i].Env, o.Spec.Containers[i].VolumeMounts = nil, nil
		}
	case *corev1.Service:
		o.ManagedFields = nil
	case *discoveryv1.EndpointSlice:
		o.ManagedFields = nil
	case *corev1.Node:
		o.ManagedFields, o.Status.Images = nil, nil
	}
	return o, nil
}

// seen notes which address a pod has. A pod whose containers have ended has none any more.
func (w *Watcher) seen(pod *corev1.Pod) {
	w.mu.Lock()
	over := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	for _, ip := range addresses(pod) {
		now := w.o.Now().UnixNano()
		h, held := w.current[ip]
		switch {
		case held && h.uid == string(pod.UID):
			if over {
				w.release(ip, now, pod)
			}
			continue
		case over:
			continue
		case held: // its pod is gone, and the news of that come late
			w.release(ip, now, nil)
		}
		w.current[ip] = holder{string(pod.UID), w.since(ip, pod)}
	}
	observers := slices.Clone(w.observers)
	w.mu.Unlock()
	for _, tell := range observers {
		tell(pod)
	}
}

// since is when a pod's address became its own: when the holder before lost it, else when the kubelet took the pod.
// Without either it is since ever: an address that nobody else had needs no beginning.
func (w *Watcher) since(ip netip.Addr, pod *corev1.Pod) int64 {
	for _, id := range slices.Backward(w.held) {
		if id.IP == ip {
			return id.To
		}
	}
	return 0
}

func (w *Watcher) gone(o any) {
	if late, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = late.Obj
	}
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return
	}
	w.mu.Lock()
	for _, ip := range addresses(pod) {
		if w.current[ip].uid == string(pod.UID) {
			w.release(ip, w.o.Now().UnixNano(), pod)
		}
	}
	observers := slices.Clone(w.observers)
	w.mu.Unlock()
	for _, tell := range observers {
		tell(pod)
	}
}

// release ends a span. The caller holds the lock.
func (w *Watcher) release(ip netip.Addr, at int64, pod *corev1.Pod) {
	h := w.current[ip]
	delete(w.current, ip)
	if pod == nil {
		pod = w.byUID(h.uid)
	}
	if pod == nil {
		return
	}
	w.held = append(w.held, traffic.Identity{IP: ip, From: h.from, To: at, Workload: w.pod(pod, "")})
	if extra := len(w.held) - maxHeld; extra > 0 {
		w.held = slices.Delete(w.held, 0, extra)
	}
}

// addresses are a pod's own; one in the node's network has none.
func addresses(pod *corev1.Pod) []netip.Addr {
	if pod.Spec.HostNetwork {
		return nil
	}
	var all []netip.Addr
	for _, ip := range pod.Status.PodIPs {
		if a, err := netip.ParseAddr(ip.IP); err == nil {
			all = append(all, a)
		}
	}
	return all
}

func (w *Watcher) byUID(uid string) *corev1.Pod {
	for _, o := range w.pods.GetStore().List() {
		if p := o.(*corev1.Pod); string(p.UID) == uid {
			return p
		}
	}
	return nil
}

// OnPod has f called with every pod that appears, changes or goes, from now on. f must not block.
func (w *Watcher) OnPod(f func(*corev1.Pod)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.observers = append(w.observers, f)
}

// Pods are the pods that are there now.
func (w *Watcher) Pods() []*corev1.Pod {
	var all []*corev1.Pod
	for _, o := range w.pods.GetStore().List() {
		all = append(all, o.(*corev1.Pod))
	}
	return all
}

// SetBuild says which build a container runs from now on.
func (w *Watcher) SetBuild(podUID, container, build string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.builds[podUID+"/"+container] = build
}

// Container names the workload in a container. Of a pod that the cluster has not told of yet it is not ok, and of one
// whose containers it has not told of it is so only where there is one.
func (w *Watcher) Container(podUID, containerID string) (traffic.Workload, bool) {
	pod := w.byUID(podUID)
	if pod == nil {
		return traffic.Workload{}, false
	}
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
	return w.pod(pod, name), name != ""
}

// pod names a pod's container. The caller holds the lock.
func (w *Watcher) pod(pod *corev1.Pod, container string) traffic.Workload {
	t := traffic.Workload{
		Namespace: pod.Namespace, Kind: KindPod, Pod: pod.Name, Container: container, Node: pod.Spec.NodeName, Labels: maps.Clone(pod.Labels),
		Service: w.serviceOf(pod),
	}
	if pod.Labels[deploy.LabelWorkspace] == w.o.Workspace && pod.Labels[deploy.LabelService] != "" {
		t.Kind, t.Service = pod.Labels[deploy.LabelRole], pod.Labels[deploy.LabelService]
		t.Outside = w.o.Outside[t.Service]
	}
	if container == "" && len(pod.Spec.Containers) == 1 {
		container = pod.Spec.Containers[0].Name
	}
	t.Build = w.builds[string(pod.UID)+"/"+container]
	return t
}

// serviceOf is the name that peers use: the first by name of the Services that select the pod.
func (w *Watcher) serviceOf(pod *corev1.Pod) string {
	best := ""
	for _, o := range w.services.GetStore().List() {
		s := o.(*corev1.Service)
		if s.Namespace == pod.Namespace && len(s.Spec.Selector) > 0 && labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(pod.Labels)) &&
			(best == "" || s.Name < best) {
			best = s.Name
		}
	}
	return best
}

// Identities says whose addresses are and were.
func (w *Watcher) Identities() []traffic.Identity {
	w.mu.Lock()
	all := slices.Clone(w.held)
	current := maps.Clone(w.current)
	pods := map[string]*corev1.Pod{}
	for _, o := range w.pods.GetStore().List() {
		p := o.(*corev1.Pod)
		pods[string(p.UID)] = p
	}
	for ip, h := range current {
		if p := pods[h.uid]; p != nil {
			all = append(all, traffic.Identity{IP: ip, From: h.from, Workload: w.pod(p, "")})
		}
	}
	w.mu.Unlock()
	for _, o := range w.services.GetStore().List() {
		all = append(all, w.service(o.(*corev1.Service))...)
	}
	for _, o := range w.nodes.GetStore().List() {
		n := o.(*corev1.Node)
		for _, a := range n.Status.Addresses {
			if ip, err := netip.ParseAddr(a.Address); err == nil {
				all = append(all, traffic.Identity{IP: ip, Workload: traffic.Workload{Kind: KindNode, Node: n.Name, Pod: "", Service: n.Name, Labels: maps.Clone(n.Labels)}})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b traffic.Identity) int {
		if c := a.IP.Compare(b.IP); c != 0 {
			return c
		}
		return int(a.From - b.From)
	})
	return all
}

// service are a Service's own addresses. The API server goes by one of them.
func (w *Watcher) service(s *corev1.Service) []traffic.Identity {
	t := traffic.Workload{Namespace: s.Namespace, Kind: KindService, Service: s.Name, Labels: maps.Clone(s.Labels)}
	switch {
	case s.Namespace == "default" && s.Name == "kubernetes":
		t.Kind = KindAPIServer
	case s.Labels[deploy.LabelWorkspace] == w.o.Workspace && s.Labels[deploy.LabelRole] != "":
		t.Kind, t.Outside = s.Labels[deploy.LabelRole], w.o.Outside[s.Name]
	}
	var all []traffic.Identity
	for _, text := range s.Spec.ClusterIPs {
		if ip, err := netip.ParseAddr(text); err == nil {
			all = append(all, traffic.Identity{IP: ip, Workload: t})
		}
	}
	return all
}
