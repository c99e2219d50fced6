package identity_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/kindenv/cluster"
	"github.com/devloop-io/devloop/kindenv/clustertest"
	"github.com/devloop-io/devloop/kindenv/identity"
	"github.com/devloop-io/devloop/kindenv/image"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

const appImage = "devloop.test/identity-app:1"

// bench is a namespace in a real cluster that is watched.
type bench struct {
	*testing.T
	ctx     context.Context
	cluster *cluster.Cluster
	set     kubernetes.Interface
	ns      string
	w       *identity.Watcher
}

// loaded makes the image once for all tests.
var loaded sync.Mutex

func newBench(t *testing.T) *bench {
	c := clustertest.Shared(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	set, err := c.Client()
	must(t, err)
	b := &bench{t, ctx, c, set, clustertest.Namespace(t, c), nil}
	b.loadApp()
	b.w, err = identity.Watch(ctx, identity.Options{Client: set, Workspace: "test", Namespace: b.ns})
	must(t, err)
	return b
}

func (b *bench) loadApp() {
	loaded.Lock()
	defer loaded.Unlock()
	arch, err := image.Arch(b.ctx, b.cluster)
	must(b, err)
	i, err := image.BuildGo(b.ctx, image.GoSpec{Name: appImage, Dir: ".", Package: "./testdata/app", Arch: arch, Out: filepath.Join(b.TempDir(), "app")})
	must(b, err)
	_, err = image.Load(b.ctx, b.cluster, i)
	must(b, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until polls.
func (b *bench) until(what string, ok func() bool) {
	b.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	bound := time.After(60 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-bound:
			b.Fatalf("not within a minute: %s", what)
		}
	}
}

// podSpec is a pod of the test's program.
func podSpec(args ...string) corev1.PodSpec {
	grace := int64(1)
	return corev1.PodSpec{TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{{
		Name: "app", Image: appImage, ImagePullPolicy: corev1.PullNever, Args: args,
	}}}
}

func (b *bench) pod(name string, labels map[string]string) *corev1.Pod {
	b.Helper()
	_, err := b.set.CoreV1().Pods(b.ns).Create(b.ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Spec: podSpec()}, metav1.CreateOptions{})
	must(b, err)
	var pod *corev1.Pod
	b.until("pod "+name+" runs", func() bool {
		pod, err = b.set.CoreV1().Pods(b.ns).Get(b.ctx, name, metav1.GetOptions{})
		must(b, err)
		return pod.Status.Phase == corev1.PodRunning && pod.Status.PodIP != ""
	})
	return pod
}

// said waits for a line of a pod's log and reads the time in it.
func (b *bench) said(pod, word string) (at int64) {
	b.Helper()
	b.until(pod+" says "+word, func() bool {
		log, err := b.set.CoreV1().Pods(b.ns).GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(b.ctx)
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(log)) {
			if n, _ := fmt.Sscanf(line, word+" %d", &at); n == 1 {
				return true
			}
		}
		return false
	})
	return at
}

// TestAddressOfAnother deletes a pod and has the cluster give its address to another one. Calls to the address are named by
// whose it was then, also when the sealed packets are dissected later.
func TestAddressOfAnother(t *testing.T) {
	b := newBench(t)
	old := b.pod("old", map[string]string{"app": "one"})
	ip := netip.MustParseAddr(old.Status.PodIP)
	ended := b.ends("old")
	heir := b.heir(ip)
	began := b.said(heir.Name, "began")
	t.Logf("%s: old ended at %d, the new one began %.3f s later", ip, ended, float64(began-ended)/1e9)
	b.until("both are known", func() bool {
		w, ok := b.w.Resolve(ip, time.Now().UnixNano())
		return ok && w.Pod == heir.Name
	})

	var spans []traffic.Identity
	for _, id := range b.w.Identities() {
		if id.IP == ip && (id.Workload.Pod == "old" || id.Workload.Pod == heir.Name) {
			spans = append(spans, id)
		}
	}
	if len(spans) != 2 || spans[0].To != spans[1].From || spans[1].To != 0 {
		t.Fatalf("the address has gaps or overlaps: %+v", spans)
	}
	if bound := spans[0].To; bound < ended || bound > began {
		t.Errorf("the address changed hands at %d; the old one ended at %d, the new one began at %d", bound, ended, began)
	}

	calls := b.dissected(ip, []int64{ended - int64(time.Second), ended - 1, began, began + int64(time.Second)})
	var names []string
	for _, c := range calls {
		names = append(names, c.Dst.Pod)
	}
	if want := []string{"old", "old", heir.Name, heir.Name}; !slices.Equal(names, want) {
		t.Errorf("calls are named %v, want %v", names, want)
	}
}

// ends deletes a pod and says when its program ended.
func (b *bench) ends(pod string) (at int64) {
	b.Helper()
	stream, err := b.set.CoreV1().Pods(b.ns).GetLogs(pod, &corev1.PodLogOptions{Follow: true}).Stream(b.ctx)
	must(b, err)
	defer stream.Close()
	must(b, b.set.CoreV1().Pods(b.ns).Delete(b.ctx, pod, metav1.DeleteOptions{}))
	lines := bufio.NewScanner(stream)
	for lines.Scan() {
		if n, _ := fmt.Sscanf(lines.Text(), "ended %d", &at); n == 1 {
			return at
		}
	}
	b.Fatalf("pod %s did not say when it ended: %v", pod, lines.Err())
	return 0
}

// heir makes pods until one has the address. The node gives addresses in turn, and is told where to go on.
func (b *bench) heir(ip netip.Addr) *corev1.Pod {
	b.Helper()
	nodes, err := b.cluster.NodeContainers(b.ctx)
	must(b, err)
	const state = "/run/cni-ipam-state/kindnet/"
	b.until("the address is free", func() bool {
		_, err := b.cluster.NodeExec(b.ctx, nodes[0], nil, "test", "!", "-e", state+ip.String())
		return err == nil
	})
	for n := range 20 {
		_, err := b.cluster.NodeExec(b.ctx, nodes[0], strings.NewReader(ip.Prev().String()), "cp", "/dev/stdin", state+"last_reserved_ip.0")
		must(b, err)
		if pod := b.pod(fmt.Sprint("heir-", n), map[string]string{"app": "two"}); pod.Status.PodIP == ip.String() {
			return pod
		}
	}
	b.Fatalf("no pod was given %s", ip)
	return nil
}

// dissected seals calls to an address at some times, with what is known of it now, and reads them again.
func (b *bench) dissected(to netip.Addr, at []int64) []*traffic.Call {
	b.Helper()
	path := filepath.Join(b.TempDir(), "1.pcapng")
	f, err := os.Create(path)
	must(b, err)
	wire := pcapfile.NewWriter(f, pcapfile.Header{})
	ifc := wire.AddInterface(&traffic.Interface{Name: "wire", Link: traffic.LinkRaw})
	for i, at := range at {
		for _, answer := range []bool{false, true} {
			data := datagram(b, to, uint16(40000+i), answer)
			must(b, wire.Write(&traffic.Packet{Time: at, Data: data, Length: len(data), Link: traffic.LinkRaw}, ifc))
		}
	}
	must(b, wire.Flush())
	must(b, f.Close())
	st, err := store.Open(filepath.Join(b.TempDir(), ".devloop"), store.Options{})
	must(b, err)
	sn, err := st.Seal(b.ctx, store.SealRequest{ID: "i1", Segments: []capture.Segment{{Seq: 1, Path: path}}, Identities: b.w.Identities(), WindowStart: at[0], WindowEnd: at[len(at)-1]})
	must(b, err)
	must(b, sn.Close())
	sn, err = st.Snapshot("i1")
	must(b, err)
	defer sn.Close()
	d, err := sn.Dissect(b.ctx, dissect.Options{Node: "n"})
	must(b, err)
	return d.Calls
}

// datagram is a DNS question to an address, or its answer: the smallest call there is.
func datagram(t testing.TB, to netip.Addr, port uint16, answer bool) []byte {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: port, Response: answer},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("a.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	payload, err := m.Pack()
	must(t, err)
	from := netip.MustParseAddr("192.0.2.1")
	ports := [2]uint16{port, 53}
	if answer {
		from, to, ports = to, from, [2]uint16{53, port}
	}
	p := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0}
	p = append(append(p, from.AsSlice()...), to.AsSlice()...)
	for _, n := range []int{int(ports[0]), int(ports[1]), 8 + len(payload), 0} {
		p = binary.BigEndian.AppendUint16(p, uint16(n))
	}
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)+len(payload)))
	return append(p, payload...)
}

const manifests = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart}
spec:
  replicas: 1
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}, annotations: {team: blue, api-key: sk_live_4eC39HqLyjWDarjtT1zdp7dc}}
    spec: {}
`

// TestNames knows pods by their Services and owners, nodes, Services with and without pods, and what runs on the node itself.
func TestNames(t *testing.T) {
	b := newBench(t)
	d := &appsv1.Deployment{}
	must(t, yaml.Unmarshal([]byte(manifests), d))
	d.Spec.Template.Spec = podSpec()
	_, err := b.set.AppsV1().Deployments(b.ns).Create(b.ctx, d, metav1.CreateOptions{})
	must(t, err)
	host := podSpec()
	host.HostNetwork = true
	_, err = b.set.CoreV1().Pods(b.ns).Create(b.ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "host"}, Spec: host}, metav1.CreateOptions{})
	must(t, err)
	for _, s := range []corev1.Service{
		{ObjectMeta: metav1.ObjectMeta{Name: "cart"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "cart"}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "cart-headless"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "cart"}, ClusterIP: "None"}},
		{ObjectMeta: metav1.ObjectMeta{Name: "database"}},
	} {
		s.Spec.Ports = []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}}
		_, err := b.set.CoreV1().Services(b.ns).Create(b.ctx, &s, metav1.CreateOptions{})
		must(t, err)
	}
	_, err = b.set.DiscoveryV1().EndpointSlices(b.ns).Create(b.ctx, &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "database-1", Labels: map[string]string{discoveryv1.LabelServiceName: "database"}},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.77"}}},
	}, metav1.CreateOptions{})
	must(t, err)

	find := func(is func(*traffic.Identity) bool) (found traffic.Identity) {
		b.until("the cluster tells of it", func() bool {
			all := b.w.Identities()
			i := slices.IndexFunc(all, func(id traffic.Identity) bool { return is(&id) })
			if i >= 0 {
				found = all[i]
			}
			return i >= 0
		})
		return found
	}
	node := find(func(id *traffic.Identity) bool { return id.Workload.Kind == identity.KindNode })
	zone := func(value string) {
		patch := fmt.Appendf(nil, `{"metadata":{"labels":{"topology.kubernetes.io/zone":%s}}}`, value)
		_, err := b.set.CoreV1().Nodes().Patch(context.WithoutCancel(b.ctx), node.Workload.Node, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
		must(t, err)
	}
	zone(`"z1"`)
	defer zone("null")

	cart := find(func(id *traffic.Identity) bool {
		return id.Workload.Namespace == b.ns && id.Workload.Owner == "cart" && id.Workload.Service != "" && id.Workload.Zone != "" && len(id.Workload.Annotations) > 0
	}).Workload
	if cart.OwnerKind != "Deployment" || cart.Service != "cart" || cart.Zone != "z1" || cart.NodeIP != node.IP.String() || cart.Node != node.Workload.Node || cart.Labels["app"] != "cart" {
		t.Errorf("pod: %+v", cart)
	}
	if cart.Annotations["team"] != "blue" || strings.Contains(fmt.Sprint(cart.Annotations), "4eC39") {
		t.Errorf("annotations: %v", cart.Annotations)
	}
	find(func(id *traffic.Identity) bool {
		w := id.Workload
		return w.Kind == identity.KindService && w.Namespace == b.ns && w.Service == "cart"
	})
	if w := find(func(id *traffic.Identity) bool {
		return id.IP == netip.MustParseAddr("192.0.2.77") && id.Workload.Namespace == b.ns
	}).Workload; w.Service != "database" || w.Kind != identity.KindEndpoint {
		t.Errorf("an endpoint outside: %+v", w)
	}
	if w, ok := b.w.Resolve(netip.MustParseAddr("192.0.2.77"), 1); !ok || w.Service != "database" {
		t.Errorf("it resolves to %+v, %t", w, ok)
	}
	find(func(id *traffic.Identity) bool { return id.Workload.Kind == identity.KindAPIServer })

	var pod *corev1.Pod
	b.until("the pod on the node's network runs", func() bool {
		pod, err = b.set.CoreV1().Pods(b.ns).Get(b.ctx, "host", metav1.GetOptions{})
		must(t, err)
		return pod.Status.PodIP != "" && len(pod.Status.ContainerStatuses) > 0 && pod.Status.ContainerStatuses[0].ContainerID != ""
	})
	if w, _ := b.w.Resolve(netip.MustParseAddr(pod.Status.PodIP), time.Now().UnixNano()); w.Kind != identity.KindNode {
		t.Errorf("the node's address is %+v", w)
	}
	b.until("its container is known", func() bool {
		_, id, _ := strings.Cut(pod.Status.ContainerStatuses[0].ContainerID, "://")
		w, ok := b.w.Container(string(pod.UID), id)
		return ok && w.Pod == "host" && w.HostNetwork && w.Zone == "z1"
	})
}

// TestEvents sees a container killed by its memory limit, a probe that begins to fail, and a rollout.
func TestEvents(t *testing.T) {
	b := newBench(t)
	began := time.Now().UnixNano()
	eats := podSpec("eat")
	eats.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("24Mi")}
	tires := podSpec("tire")
	tires.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1,
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromInt32(8080)}}}
	for name, spec := range map[string]corev1.PodSpec{"eats": eats, "tires": tires} {
		_, err := b.set.CoreV1().Pods(b.ns).Create(b.ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
		must(t, err)
	}
	d := &appsv1.Deployment{}
	must(t, yaml.Unmarshal([]byte(manifests), d))
	d.Spec.Template.Spec = podSpec()
	d, err := b.set.AppsV1().Deployments(b.ns).Create(b.ctx, d, metav1.CreateOptions{})
	must(t, err)
	patch := fmt.Appendf(nil, `{"spec":{"template":{"spec":{"containers":[{"name":"app","image":%q,"env":[{"name":"A","value":"1"}]}]}}}}`, appImage)
	_, err = b.set.AppsV1().Deployments(b.ns).Patch(b.ctx, d.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	must(t, err)
	no := podSpec()
	no.Containers[0].Image = "devloop.test/nowhere:1"
	_, err = b.set.CoreV1().Pods(b.ns).Create(b.ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "imageless"}, Spec: no}, metav1.CreateOptions{})
	must(t, err)

	seen := func(what string, is func(*traffic.ClusterEvent) bool) {
		t.Helper()
		b.until(what, func() bool {
			return slices.ContainsFunc(b.w.Events(began, time.Now().UnixNano()), func(e traffic.ClusterEvent) bool { return is(&e) })
		})
	}
	defer func() {
		for _, e := range b.w.Events(began, time.Now().UnixNano()) {
			t.Logf("%+5.2f s  %-10s %s", float64(e.Time-began)/1e9, e.Kind, &e)
		}
	}()
	seen("the memory limit killed it", func(e *traffic.ClusterEvent) bool {
		return e.Kind == traffic.EventRestart && e.Reason == "OOMKilled" && e.Pod == "eats" && e.ExitCode == 137 && e.Container == "app" && e.Warning
	})
	seen("it was restarted", func(e *traffic.ClusterEvent) bool {
		return e.String() == "eats was restarted: OOMKilled (exit code 137)" || e.String() == "eats was restarted after that"
	})
	seen("the probe failed", func(e *traffic.ClusterEvent) bool {
		return e.Kind == traffic.EventProbe && e.Reason == "Unhealthy" && e.Pod == "tires" && e.Container == "app"
	})
	seen("the pod is unready", func(e *traffic.ClusterEvent) bool {
		return e.Kind == traffic.EventProbe && e.Reason == "Unready" && e.Pod == "tires"
	})
	seen("the rollout", func(e *traffic.ClusterEvent) bool {
		return e.Kind == traffic.EventRollout && e.Reason == "ScalingReplicaSet" && e.Object == "Deployment/cart"
	})
	seen("the image is missing", func(e *traffic.ClusterEvent) bool {
		return e.Kind == traffic.EventImage && e.Pod == "imageless" && e.Warning
	})
	for _, e := range b.w.Events(began, time.Now().UnixNano()) {
		if e.Namespace != b.ns && e.Kind != traffic.EventNode {
			t.Errorf("an event of another namespace: %+v", e)
		}
	}
	if late := b.w.Events(0, began-int64(2*time.Second)); len(late) > 0 && late[0].Kind != traffic.EventNode {
		t.Errorf("before the test there was %+v", late[0])
	}
}
