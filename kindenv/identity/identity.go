package identity

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/devloop-io/devloop/traffic"
	"github.com/devloop-io/devloop/traffic/redact"
)

// Options of [Watch].
type Options struct {
	Client    kubernetes.Interface
	Workspace string          // hash in the label of our own pods
	Namespace string          // whose events are kept, beside those of nodes; empty keeps those of all namespaces
	Outside   map[string]bool // services of devloop.yaml that are somebody else's
	Now       func() time.Time
	Ahead     func(node string) time.Duration // how far a node's clock is ahead of Now; nil is not at all
}

// Watcher follows a cluster. Its methods may be called from any goroutine.
type Watcher struct {
	o        Options
	factory  informers.SharedInformerFactory
	pods     cache.SharedIndexInformer
	services cache.SharedIndexInformer
	slices   cache.SharedIndexInformer
	nodes    cache.SharedIndexInformer
	redactor *redact.Redactor

	mu        sync.Mutex
	spans     spans
	selectors map[string][]selector // of Services, by namespace, sorted by name
	places    map[string]place      // of nodes, by name
	builds    map[string]string     // of containers, by pod UID and name
	events    []traffic.ClusterEvent
	refused   map[string]error // watches that do not work, by what they watch
	observers []func(*corev1.Pod)
}

// selector says which pods a Service stands for.
type selector struct {
	name  string
	match labels.Selector
}

// place is where a node is.
type place struct{ zone, ip string }

// Indexes of the informers.
const (
	byUID = "uid" // pods, by what their cgroups are called
	byIP  = "ip"  // pods and endpoint slices
)

// syncBound is how long the cluster has to tell what is there.
const syncBound = 30 * time.Second

// Watch begins to follow a cluster and returns when everything that is there is known. Nodes, Services and endpoints that may
// not be read leave their names unknown; pods must be readable.
func Watch(ctx context.Context, o Options) (*Watcher, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Ahead == nil {
		o.Ahead = func(string) time.Duration { return 0 }
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("watch the cluster: %w", err)
	}
	w := &Watcher{
		o: o, factory: informers.NewSharedInformerFactory(o.Client, 0), redactor: redact.New(key, redact.Options{}), spans: spans{byIP: map[netip.Addr][]*span{}},
		selectors: map[string][]selector{}, places: map[string]place{}, builds: map[string]string{}, refused: map[string]error{},
	}
	w.pods = w.factory.Core().V1().Pods().Informer()
	w.services = w.factory.Core().V1().Services().Informer()
	w.slices = w.factory.Discovery().V1().EndpointSlices().Informer()
	w.nodes = w.factory.Core().V1().Nodes().Informer()
	watches := []watch{
		{"nodes", w.nodes, cache.ResourceEventHandlerFuncs{AddFunc: w.node, UpdateFunc: func(_, o any) { w.node(o) }, DeleteFunc: w.nodeGone}, nil},
		{"services", w.services, cache.ResourceEventHandlerFuncs{AddFunc: w.service, UpdateFunc: func(_, o any) { w.service(o) }, DeleteFunc: w.serviceGone}, nil},
		{"endpointslices", w.slices, nil, cache.Indexers{byIP: sliceAddresses}},
		{"pods", w.pods, cache.ResourceEventHandlerFuncs{AddFunc: w.pod, UpdateFunc: w.podChanged, DeleteFunc: w.podGone},
			cache.Indexers{byUID: podUIDs, byIP: podAddresses}},
	}
	synced := make([]func() bool, len(watches))
	for i := range watches {
		var err error
		if synced[i], err = w.prepare(&watches[i]); err != nil {
			return nil, err
		}
	}
	w.factory.Start(ctx.Done())
	w.watchEvents(ctx)
	ctx, cancel := context.WithTimeoutCause(ctx, syncBound, fmt.Errorf("it did not tell all within %s", syncBound))
	defer cancel()
	for i := range watches {
		if err := w.await(ctx, watches[i].what, synced[i]); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// watch is one kind of object that is followed.
type watch struct {
	what     string
	informer cache.SharedIndexInformer
	handler  cache.ResourceEventHandler // nil: it is only looked up
	indexes  cache.Indexers
}

// prepare sets an informer up before it starts. The answer says whether everything that is there has been handled.
func (w *Watcher) prepare(x *watch) (func() bool, error) {
	err := cmp.Or(x.informer.SetTransform(w.trim), x.informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.refused[x.what] = err
	}))
	if err == nil && x.indexes != nil {
		err = x.informer.AddIndexers(x.indexes)
	}
	synced := x.informer.HasSynced
	if err == nil && x.handler != nil {
		var registered cache.ResourceEventHandlerRegistration
		if registered, err = x.informer.AddEventHandler(x.handler); err == nil {
			synced = registered.HasSynced
		}
	}
	if err != nil {
		return nil, fmt.Errorf("watch the cluster's %s: %w", x.what, err)
	}
	return synced, nil
}

// await waits until an informer has told all, or will not.
func (w *Watcher) await(ctx context.Context, what string, synced func() bool) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !synced() {
		w.mu.Lock()
		refused := w.refused[what]
		w.mu.Unlock()
		if apierrors.IsForbidden(refused) {
			if what != "pods" {
				return nil
			}
			return fmt.Errorf("watch the cluster's pods: %w", refused)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("watch the cluster's %s: %w", what, cmp.Or(refused, context.Cause(ctx)))
		}
	}
	return nil
}

// Refused says what may not be read, by kind of object: names that come from it are missing.
func (w *Watcher) Refused() map[string]error {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]error{}
	for what, err := range w.refused {
		if apierrors.IsForbidden(err) {
			all[what] = err
		}
	}
	return all
}

// trim forgets what nobody here asks for, which is most of an object, and puts its times right. Each object comes through
// it once.
func (w *Watcher) trim(o any) (any, error) {
	switch o := o.(type) {
	case *corev1.Pod:
		o.ManagedFields, o.Annotations = nil, w.short(o.Annotations)
		o.Spec.Volumes, o.Spec.Tolerations, o.Spec.Affinity, o.Spec.TopologySpreadConstraints = nil, nil, nil, nil
		for _, list := range [][]corev1.Container{o.Spec.Containers, o.Spec.InitContainers} {
			for i := range list {
				list[i] = corev1.Container{Name: list[i].Name, Image: list[i].Image, Ports: list[i].Ports}
			}
		}
		w.podInOurTime(o)
	case *corev1.Service:
		o.ManagedFields, o.Annotations = nil, w.short(o.Annotations)
	case *discoveryv1.EndpointSlice:
		o.ManagedFields, o.Annotations = nil, nil
	case *corev1.Node:
		o.ManagedFields, o.Annotations, o.Status.Images = nil, w.short(o.Annotations), nil
	case *corev1.Event:
		o.ManagedFields, o.Annotations, o.Message = nil, nil, w.text(o.Message)
		w.eventInOurTime(o)
	}
	return o, nil
}

// pod notes which addresses a pod has. One whose containers have ended has none any more.
func (w *Watcher) pod(o any) { w.podChanged(nil, o) }

func (w *Watcher) podChanged(before, now any) {
	pod := now.(*corev1.Pod)
	w.mu.Lock()
	at := w.o.Now().UnixNano()
	over := ended(pod)
	for _, ip := range addresses(pod) {
		if over {
			w.release(ip, pod, at)
		} else {
			w.take(ip, pod, at)
		}
	}
	if old, ok := before.(*corev1.Pod); ok {
		w.changes(old, pod, at)
	}
	observers := slices.Clone(w.observers)
	w.mu.Unlock()
	for _, tell := range observers {
		tell(pod)
	}
}

func (w *Watcher) podGone(o any) {
	pod, ok := last(o).(*corev1.Pod)
	if !ok {
		return
	}
	w.mu.Lock()
	for _, ip := range addresses(pod) {
		w.release(ip, pod, w.o.Now().UnixNano())
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		delete(w.builds, string(pod.UID)+"/"+c.Name)
	}
	observers := slices.Clone(w.observers)
	w.mu.Unlock()
	for _, tell := range observers {
		tell(pod)
	}
}

// last is an object that is gone, as it was known last.
func last(o any) any {
	if late, ok := o.(cache.DeletedFinalStateUnknown); ok {
		return late.Obj
	}
	return o
}

func (w *Watcher) service(o any) {
	s := o.(*corev1.Service)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget(s)
	if len(s.Spec.Selector) > 0 {
		list := append(w.selectors[s.Namespace], selector{s.Name, labels.SelectorFromSet(s.Spec.Selector)})
		slices.SortFunc(list, func(a, b selector) int { return cmp.Compare(a.name, b.name) })
		w.selectors[s.Namespace] = list
	}
	for _, ip := range serviceAddresses(s) {
		w.take(ip, s, w.o.Now().UnixNano())
	}
}

func (w *Watcher) serviceGone(o any) {
	s, ok := last(o).(*corev1.Service)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ip := range serviceAddresses(s) {
		w.release(ip, s, w.o.Now().UnixNano())
	}
	w.forget(s)
}

// forget takes a Service's selector away. The caller holds the lock.
func (w *Watcher) forget(s *corev1.Service) {
	list := slices.DeleteFunc(w.selectors[s.Namespace], func(x selector) bool { return x.name == s.Name })
	if w.selectors[s.Namespace] = list; len(list) == 0 {
		delete(w.selectors, s.Namespace)
	}
}

func (w *Watcher) node(o any) {
	n := o.(*corev1.Node)
	w.mu.Lock()
	defer w.mu.Unlock()
	p := place{zone: n.Labels[corev1.LabelTopologyZone]}
	for _, a := range n.Status.Addresses {
		ip, err := netip.ParseAddr(a.Address)
		if err != nil {
			continue
		}
		w.take(ip, n, w.o.Now().UnixNano())
		if a.Type == corev1.NodeInternalIP && p.ip == "" {
			p.ip = ip.String()
		}
	}
	w.places[n.Name] = p
}

func (w *Watcher) nodeGone(o any) {
	n, ok := last(o).(*corev1.Node)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range n.Status.Addresses {
		if ip, err := netip.ParseAddr(a.Address); err == nil {
			w.release(ip, n, w.o.Now().UnixNano())
		}
	}
	delete(w.places, n.Name)
}

// OnPod has f called with every pod that appears, changes or goes, from now on. f must not block.
func (w *Watcher) OnPod(f func(*corev1.Pod)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.observers = append(w.observers, f)
}

// Pods are the pods that are there now, without what nobody asks for. They must not be changed.
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

// podUIDs are the names that a pod has in its node's cgroups: its UID, and for one that the kubelet runs from a file the
// digest of that file.
func podUIDs(o any) ([]string, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return nil, nil
	}
	names := []string{string(pod.UID)}
	if mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror != "" {
		names = append(names, mirror)
	}
	return names, nil
}

func podAddresses(o any) ([]string, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return nil, nil
	}
	return texts(addresses(pod)), nil
}

func sliceAddresses(o any) ([]string, error) {
	s, ok := o.(*discoveryv1.EndpointSlice)
	if !ok {
		return nil, nil
	}
	var all []string
	for _, e := range s.Endpoints {
		for _, text := range e.Addresses {
			if ip, err := netip.ParseAddr(text); err == nil { // else a name, which the resolver translates
				all = append(all, ip.String())
			}
		}
	}
	return all, nil
}

func texts(list []netip.Addr) (all []string) {
	for _, ip := range list {
		all = append(all, ip.String())
	}
	return all
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

// serviceAddresses are a Service's own, inside of the cluster and outside.
func serviceAddresses(s *corev1.Service) []netip.Addr {
	var all []netip.Addr
	add := func(text string) {
		if ip, err := netip.ParseAddr(text); err == nil && !slices.Contains(all, ip) {
			all = append(all, ip)
		}
	}
	for _, text := range slices.Concat(s.Spec.ClusterIPs, s.Spec.ExternalIPs) {
		add(text)
	}
	for _, i := range s.Status.LoadBalancer.Ingress {
		add(i.IP)
	}
	return all
}
