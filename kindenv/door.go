package kindenv

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	socks "golang.org/x/net/proxy"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/devloop-io/devloop/internal/nodeagent/proxy"
	"github.com/devloop-io/devloop/kindenv/deploy"
	"github.com/devloop-io/devloop/traffic"
)

// ExerciseName is the name of what drives the services; no service may bear it.
const ExerciseName = "exercise"

// door leads commands of this machine into the cluster: a proxy on loopback, which passes on to the one in the exercise's
// pod. What they say leaves that pod, so it is captured as the exercise's. Every process of the machine can connect to
// loopback, so the proxy here asks for a password, which is another one for each session. The one in the pod is reached by
// who may forward to the pod, who could exec there as well.
type door struct {
	addr    net.Addr
	token   string
	forward *forward
	stop    context.CancelFunc
	served  chan error
}

const (
	doorPod  = "devloop-exercise"
	doorPort = 1080
)

// openDoor deploys the exercise's pod and opens the way to it. A second call does nothing while the pod is there.
func (e *Env) openDoor(ctx context.Context) error {
	e.mu.Lock()
	opened := e.door != nil
	e.mu.Unlock()
	if opened {
		return nil
	}
	img := e.o.Config.Environment.Cluster.AgentImage
	policy := "IfNotPresent"
	if e.o.Where == Kind || img == "" {
		var err error
		policy = "Never"
		if img, err = e.loadTool(ctx, "devloop-agent", []string{"/devloop-agent", "serve"}, "0:0"); err != nil {
			return err
		}
	}
	if _, err := e.deployer.Apply(ctx, e.plan.Marked([]*unstructured.Unstructured{e.doorObject(img, policy)})); err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, readyBound)
	defer cancel()
	pods, err := e.deployer.WaitReady(ready, e.plan, deploy.Service{
		Name: ExerciseName, Kind: "Deployment", Workload: doorPod, Container: ExerciseName,
		Selector: map[string]string{deploy.LabelWorkspace: e.o.Hash, deploy.LabelService: ExerciseName},
	})
	if err != nil {
		return startError(err)
	}
	if len(pods) == 0 {
		return errors.New("the exercise's pod is not there")
	}
	d, err := newDoor(newForward(e.cluster.REST(), e.client, e.Namespace(), e.newest(pods[0].Name, func(p *corev1.Pod) bool {
		return p.Namespace == e.Namespace() && p.Labels[deploy.LabelService] == ExerciseName && p.Labels[deploy.LabelWorkspace] == e.o.Hash
	}), doorPort))
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.door = d
	e.mu.Unlock()
	return nil
}

// newDoor listens.
func newDoor(f *forward) (*door, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for what drives the services: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &door{addr: l.Addr(), token: rand.Text(), forward: f, stop: stop, served: make(chan error, 1)}
	go func() { d.served <- proxy.Serve(ctx, l, proxy.Options{Token: d.token, Dial: d.dial}) }()
	return d, nil
}

// Proxy is the address through which commands of this machine reach the services by their names, for HTTP_PROXY and its
// like. It has the session's password in it.
func (e *Env) Proxy() (*url.URL, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.door == nil {
		return nil, errors.New("the way into the cluster is not open yet")
	}
	return &url.URL{Scheme: "socks5h", User: url.UserPassword(proxy.User, e.door.token), Host: e.door.addr.String()}, nil
}

// dialBound is how long one attempt to reach a service may take. An attempt that a node sends to a pod that is gone is
// never answered, however often it is sent again: the node remembers where it sent the first packet of it.
const dialBound = 3 * time.Second

// reachable returns when every port of a service answers under its name: pods may be ready before the nodes know, and pods
// of the revision before may answer until the nodes know that they leave.
func (e *Env) reachable(ctx context.Context, s deploy.Service) error {
	e.mu.Lock()
	d := e.door
	e.mu.Unlock()
	ports := e.o.Config.Services[s.Name].Ports
	if d == nil || len(ports) == 0 {
		return nil
	}
	if err := e.deployer.WaitLeft(ctx, e.plan, s); err != nil {
		return err
	}
	for name, port := range ports {
		for {
			once, cancel := context.WithTimeout(ctx, dialBound)
			conn, err := d.dial(once, "tcp", net.JoinHostPort(s.Name, strconv.Itoa(port)))
			cancel()
			if err == nil {
				conn.Close()
				break
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return &StartError{Service: s.Name, What: fmt.Sprintf("its pods are ready, and port %s (%d) does not answer under its name: %v", name, port, err),
					Hint: "does the manifests' Service have that port?"}
			}
		}
	}
	return nil
}

// dial opens a connection that leaves the exercise's pod. Names are resolved there.
func (d *door) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	w := &within{ctx: ctx, forward: d.forward}
	dialer, err := socks.SOCKS5("tcp", ExerciseName, nil, w)
	if err != nil {
		return nil, err
	}
	conn, err := dialer.Dial(network, addr)
	if w.stop != nil && !w.stop() && err == nil {
		return nil, errors.Join(context.Cause(ctx), conn.Close())
	}
	return conn, err
}

// within dials the forward for a dialer that knows no contexts. When the context ends, before stop, so does the connection:
// deadlines are not kept by it.
type within struct {
	ctx     context.Context // of one dial
	forward *forward
	stop    func() bool
}

// Dial opens a connection to the exercise's proxy.
func (w *within) Dial(network, addr string) (net.Conn, error) {
	conn, err := w.forward.DialContext(w.ctx, network, addr)
	if err == nil {
		w.stop = context.AfterFunc(w.ctx, func() { conn.Close() })
	}
	return conn, err
}

// throughDoor says of a packet that it came through the forward into the exercise's pod: the node's runtime connects to
// the proxy within the pod's own loopback, and what is said there the proxy says again to the services.
func throughDoor(p *traffic.Packet, ifc *traffic.Interface) bool {
	if ifc.Workload == nil || ifc.Workload.Kind != traffic.KindExercise {
		return false
	}
	var ports []byte
	switch b := p.Data; {
	case len(b) >= 20 && b[0]>>4 == 4 && b[9] == 6 && b[12] == 127:
		if head := int(b[0]&15) * 4; len(b) >= head+4 {
			ports = b[head:]
		}
	case len(b) >= 44 && b[0]>>4 == 6 && b[6] == 6 && netip.AddrFrom16([16]byte(b[8:24])).IsLoopback():
		ports = b[40:]
	}
	return ports != nil && (binary.BigEndian.Uint16(ports) == doorPort || binary.BigEndian.Uint16(ports[2:]) == doorPort)
}

// Close ends the way in.
func (d *door) Close() error {
	d.stop()
	return errors.Join(<-d.served, d.forward.Close())
}

// doorObject is the exercise's pod.
func (e *Env) doorObject(img, policy string) *unstructured.Unstructured {
	selector := map[string]any{deploy.LabelWorkspace: e.o.Hash, deploy.LabelService: ExerciseName}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": doorPod, "namespace": e.Namespace()},
		"spec": map[string]any{
			"replicas": int64(1), "selector": map[string]any{"matchLabels": selector},
			"template": map[string]any{
				"metadata": map[string]any{"labels": map[string]any{
					deploy.LabelWorkspace: e.o.Hash, deploy.LabelService: ExerciseName, deploy.LabelRole: traffic.KindExercise, deploy.LabelManagedBy: deploy.Manager,
				}},
				"spec": map[string]any{
					"automountServiceAccountToken": false, "enableServiceLinks": false, "terminationGracePeriodSeconds": int64(1),
					"securityContext": map[string]any{
						"runAsNonRoot": true, "runAsUser": int64(65532), "runAsGroup": int64(65532), "seccompProfile": map[string]any{"type": "RuntimeDefault"},
					},
					"containers": []any{map[string]any{
						"name": ExerciseName, "image": img, "imagePullPolicy": policy, "command": []any{"/devloop-agent", "proxy"},
						"securityContext": map[string]any{
							"readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []any{"ALL"}},
						},
					}},
				},
			},
		},
	}}
}
