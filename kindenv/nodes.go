package kindenv

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/agent"
	"github.com/devloop-io/devloop/kindenv/deploy"
	"github.com/devloop-io/devloop/kindenv/image"
	"github.com/devloop-io/devloop/traffic"
)

// nodes captures on all nodes.
type nodes struct {
	e       *Env
	source  *labelled
	sources []*agent.Source
	forward []*forward
	skip    func(*traffic.Packet, *traffic.Interface) bool // packets that are nobody's traffic

	mu      sync.Mutex
	targets Targets
	rules   agent.Rules // as the agents were told last, all of them together: pods are NODE/UID
	stopped bool        // nothing is to be recorded
	narrow  string      // which of the workspace's pods are left out, in a sentence
	wake    chan struct{}
	anew    atomic.Bool // an agent was started again
}

// agentName is what the agent's objects are called.
const agentName = "devloop-agent"

// agentNamespace is one of its own: the agent needs the Pod Security level privileged, and the workspace's pods do not.
func (e *Env) agentNamespace() string { return agentName + "-" + e.o.Hash }

// Capture installs the agent where it is not, and opens a source over all nodes. failed is told of what can not be
// captured later.
func (e *Env) Capture(ctx context.Context, failed func(error)) (_ capture.Source, why string, err error) {
	e.follow.Go(func() { _, _ = e.loadSupervisor(e.ctx) }) // who needs it hears what is wrong
	token, err := e.installAgent(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("install the node agent: %w", err)
	}
	pods, err := e.agents(ctx)
	if err != nil {
		return nil, "", err
	}
	n := &nodes{e: e, skip: throughDoor, wake: make(chan struct{}, 1), targets: Targets{Namespaces: []string{e.Namespace()}}}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if why, err = n.dialAll(ctx, pods, token); err != nil {
		return nil, "", err
	}
	if _, err := n.retarget(ctx); err != nil {
		return nil, "", err
	}
	e.mu.Lock()
	e.nodes = n
	e.mu.Unlock()
	e.ids.OnPod(func(*corev1.Pod) { n.again() })
	e.follow.Go(func() { n.followPods(failed) })
	return n.source, why, nil
}

// dialAll makes one source of the nodes' agents. why says where one has no better source.
func (n *nodes) dialAll(ctx context.Context, pods []corev1.Pod, token string) (why string, err error) {
	var all []capture.Source
	for _, p := range pods {
		s, err := n.dial(ctx, p, token)
		if err != nil {
			return "", err
		}
		all = append(all, s)
		h, err := s.Client().Health(ctx)
		if err != nil {
			return "", fmt.Errorf("ask the agent of node %s: %w", p.Spec.NodeName, err)
		}
		if h.Degraded != "" {
			why = fmt.Sprintf("node %s captures with %s: %s", p.Spec.NodeName, h.Source, h.Degraded)
		}
	}
	n.source = newLabelled(agent.Merge(all...), n.skip)
	return why, nil
}

// installAgent applies the agent's objects and returns its token.
func (e *Env) installAgent(ctx context.Context) (token string, err error) {
	img := e.o.Config.Environment.Cluster.AgentImage
	policy := "IfNotPresent"
	if e.o.Where == Kind || img == "" {
		policy = "Never"
		if img, err = e.loadTool(ctx, "devloop-agent", []string{"/devloop-agent", "serve"}, "0:0"); err != nil {
			return "", err
		}
	}
	ns := e.agentNamespace()
	there, err := e.client.CoreV1().Secrets(ns).Get(ctx, agentName, metav1.GetOptions{})
	if err == nil && len(there.Data["token"]) > 0 {
		token = string(there.Data["token"])
	} else {
		var b [16]byte
		if _, err := rand.Read(b[:]); err != nil {
			return "", err
		}
		token = hex.EncodeToString(b[:])
	}
	plan := &deploy.Plan{Namespace: ns, Workspace: e.o.Hash}
	_, err = e.deployer.Apply(ctx, plan.Marked(e.agentObjects(ns, img, policy, token)))
	return token, err
}

// agents waits until the agent runs on every node, and returns its pods.
func (e *Env) agents(ctx context.Context) ([]corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	plan := &deploy.Plan{Namespace: e.agentNamespace(), Workspace: e.o.Hash}
	pods, err := e.deployer.WaitReady(ctx, plan, deploy.Service{
		Name: agentName, Kind: "DaemonSet", Workload: agentName, Container: agentName, Selector: map[string]string{deploy.LabelName: agentName},
	})
	if err != nil {
		return nil, startError(err)
	}
	if len(pods) == 0 {
		return nil, errors.New("the node agent runs on no node: all of them refuse its pod")
	}
	return pods, nil
}

func (n *nodes) dial(ctx context.Context, pod corev1.Pod, token string) (*agent.Source, error) {
	find := n.e.newest(pod.Name, func(p *corev1.Pod) bool {
		return p.Namespace == pod.Namespace && p.Labels[deploy.LabelName] == agentName && p.Spec.NodeName == pod.Spec.NodeName
	})
	// One for control, one for the long stream, and one for what is read of the past: each would hold the others up.
	control := newForward(n.e.cluster.REST(), n.e.client, pod.Namespace, find, agent.DefaultPort)
	stream := newForward(n.e.cluster.REST(), n.e.client, pod.Namespace, find, agent.DefaultPort)
	past := newForward(n.e.cluster.REST(), n.e.client, pod.Namespace, find, agent.DefaultPort)
	n.forward = append(n.forward, control, stream, past)
	s, err := agent.Dial(ctx, agent.Options{
		DialContext: control.DialContext, DialStream: stream.DialContext, DialPast: past.DialContext, Since: n.e.since, Token: token, Node: pod.Spec.NodeName, Resolve: n.resolve, Log: n.e.o.Log,
		Restarted: n.restarted,
	})
	if err != nil {
		return nil, err
	}
	n.sources = append(n.sources, s)
	return s, nil
}

// restarted has the agents told again what to capture: one that was started anew captures every pod until then.
func (n *nodes) restarted() {
	n.mu.Lock()
	n.rules = agent.Rules{}
	n.mu.Unlock()
	n.anew.Store(true)
	n.again()
}

// again has the agents' choice looked at.
func (n *nodes) again() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// ahead is how far a node's clock is ahead of ours; that of any for a node without an agent, and for the control plane.
func (e *Env) ahead(node string) time.Duration {
	e.mu.Lock()
	n := e.nodes
	e.mu.Unlock()
	if n == nil || len(n.sources) == 0 {
		return 0
	}
	for _, s := range n.sources {
		if s.Node() == node {
			return s.Ahead()
		}
	}
	return n.sources[0].Ahead()
}

// skewed says whose clocks are not ours.
func (n *nodes) skewed() (list []string) {
	for _, s := range n.sources {
		ahead := s.Ahead()
		if ahead == 0 {
			continue
		}
		where := "ahead of"
		if ahead < 0 {
			where = "behind"
		}
		list = append(list, fmt.Sprintf("the clock of node %s is %s %s this machine's: its times are corrected, to within %s",
			s.Node(), ahead.Abs().Round(time.Millisecond), where, s.Clock().Error.Round(time.Millisecond)))
	}
	return list
}

// resolve names a container for the agents' interfaces.
func (n *nodes) resolve(podUID, containerID string) (traffic.Workload, bool) {
	return n.e.ids.Container(podUID, containerID)
}

// Close ends the forwards; the source is closed by whoever opened it.
func (n *nodes) Close() error {
	var errs []error
	for _, f := range n.forward {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Targets say which pods are captured. Lists that are empty do not choose; what is excluded always is. No namespaces are
// the workspace's own.
type Targets struct {
	Namespaces []string          `json:"namespaces,omitempty"`
	Excluded   []string          `json:"excluded_namespaces,omitempty"`
	PodRegex   string            `json:"pod_regex,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Ports      []uint16          `json:"ports,omitempty"`
}

// Targeted is what is captured now.
type Targeted struct {
	Targets
	Pods  []string `json:"pods"` // namespace/name, sorted
	Nodes []string `json:"nodes"`
}

// Configure changes what is captured, from now on.
func (e *Env) Configure(ctx context.Context, t Targets) (*Targeted, error) {
	e.mu.Lock()
	n := e.nodes
	e.mu.Unlock()
	if n == nil {
		return nil, errors.New("nothing is captured yet")
	}
	t = t.withDefault(e.Namespace())
	if _, err := t.matcher(); err != nil {
		return nil, err
	}
	n.mu.Lock()
	before := n.targets
	n.targets = t
	n.mu.Unlock()
	answer, err := n.retarget(ctx)
	if err != nil {
		n.mu.Lock()
		n.targets = before
		n.mu.Unlock()
	}
	return answer, err
}

// Targeted says what is captured.
func (e *Env) Targeted(ctx context.Context) (*Targeted, error) {
	e.mu.Lock()
	n := e.nodes
	e.mu.Unlock()
	if n == nil {
		return nil, errors.New("nothing is captured yet")
	}
	return n.retarget(ctx)
}

// retarget tells the agents which pods there are to capture, when that is news.
func (n *nodes) retarget(ctx context.Context) (*Targeted, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	match, err := n.targets.matcher()
	if err != nil {
		return nil, err
	}
	rules := agent.Rules{Unknown: agent.Ignore, Ports: n.targets.Ports}
	here := map[string][]string{} // UIDs by node: an agent looks for the folders of the pods that it is told of
	answer := &Targeted{Targets: n.targets, Pods: []string{}}
	var missing []string
	for _, p := range n.e.ids.Pods() {
		switch {
		case p.Labels[deploy.LabelName] == agentName || n.stopped:
			continue
		case !match(p):
			if p.Namespace == n.e.Namespace() {
				missing = append(missing, p.Name)
			}
			continue
		}
		rules.Pods = append(rules.Pods, p.Spec.NodeName+"/"+string(p.UID))
		here[p.Spec.NodeName] = append(here[p.Spec.NodeName], string(p.UID))
		answer.Pods = append(answer.Pods, p.Namespace+"/"+p.Name)
	}
	n.narrow = narrowed(n.targets, missing)
	slices.Sort(rules.Pods)
	slices.Sort(answer.Pods)
	for _, s := range n.sources {
		answer.Nodes = append(answer.Nodes, s.Node())
	}
	if slices.Equal(rules.Pods, n.rules.Pods) && slices.Equal(rules.Ports, n.rules.Ports) && n.rules.Unknown != "" {
		return answer, nil
	}
	errs := make([]error, len(n.sources))
	var wg sync.WaitGroup
	for i, s := range n.sources {
		wg.Go(func() {
			errs[i] = tell(ctx, s, agent.Rules{Pods: here[s.Node()], Ports: rules.Ports, Unknown: rules.Unknown})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("choose what is captured: %w", err)
	}
	n.rules = rules
	return answer, nil
}

// tell tells one agent, which may be starting again.
func tell(ctx context.Context, s *agent.Source, rules agent.Rules) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		_, err := s.Client().SetTargets(ctx, rules)
		var refused *agent.Problem
		if err == nil || errors.As(err, &refused) {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// followPods keeps the agents' choice with the pods that come and go. One that does not listen for long fails the capture.
func (n *nodes) followPods(failed func(error)) {
	const patience = time.Minute
	var since time.Time // when it began not to work
	for {
		select {
		case <-n.wake:
		case <-n.e.ctx.Done():
			return
		}
		_, err := n.retarget(n.e.ctx)
		if err == nil {
			if err := n.e.faults.follow(n.e.ctx, n.e, n.anew.Swap(false)); err != nil {
				n.e.warn("faults do not reach pods that came: %v", err)
			}
		}
		if err == nil || n.e.ctx.Err() != nil {
			since = time.Time{}
			continue
		}
		n.e.o.Log.Warn("the agents were not told of new pods", "err", err)
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) > patience {
			failed(err)
			return
		}
		n.again()
	}
}

// tool is one of our own programs as an image in the nodes.
type tool struct {
	once sync.Once
	ref  string
	err  error
}

// loadTool makes an image of one of our own programs and puts it into the nodes, once. Its name tells its content.
func (e *Env) loadTool(ctx context.Context, name string, entrypoint []string, user string) (string, error) {
	e.mu.Lock()
	t := e.tools[name]
	if t == nil {
		t = &tool{}
		e.tools[name] = t
	}
	e.mu.Unlock()
	t.once.Do(func() { t.ref, t.err = e.makeTool(ctx, name, entrypoint, user) })
	if t.err != nil { // whoever asks next tries again
		e.mu.Lock()
		if e.tools[name] == t {
			delete(e.tools, name)
		}
		e.mu.Unlock()
	}
	return t.ref, t.err
}

func (e *Env) makeTool(ctx context.Context, name string, entrypoint []string, user string) (string, error) {
	program, err := e.o.Tool(ctx, name, e.arch)
	if err != nil {
		return "", err
	}
	files := append(image.Base(), image.File{Path: "/" + name, Data: program, Mode: 0o755})
	draft, err := image.Assemble(image.Spec{Name: deploy.ImagePrefix + name + ":draft", Arch: e.arch, Files: files, User: user, Entrypoint: entrypoint})
	if err != nil {
		return "", err
	}
	ref := deploy.ImagePrefix + name + ":" + digestTag(draft.Digest)
	img, err := draft.As(ref)
	if err != nil {
		return "", err
	}
	_, err = image.Load(ctx, e.cluster, img)
	return ref, err
}

// loadSupervisor is beside the agent's, so that both are loaded at the same time.
func (e *Env) loadSupervisor(ctx context.Context) (string, error) {
	return e.loadTool(ctx, "devloop-supervise", []string{"/devloop-supervise", "run"}, "65532:65532")
}

// digestTag is a tag that tells an image's content.
func digestTag(digest string) string {
	const prefix = len("sha256:")
	if len(digest) < prefix+12 {
		return "unknown"
	}
	return digest[prefix : prefix+12]
}

// agentObjects are the agent's namespace, token and DaemonSet. See internal/nodeagent for what its pod needs and why.
func (e *Env) agentObjects(ns, img, policy, token string) []*unstructured.Unstructured {
	labels := map[string]any{deploy.LabelName: agentName}
	objects := []map[string]any{
		{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": ns, "labels": map[string]any{
			"pod-security.kubernetes.io/enforce": "privileged",
		}}},
		{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": agentName, "namespace": ns}, "stringData": map[string]any{"token": token}},
		{"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": map[string]any{"name": agentName, "namespace": ns, "labels": maps.Clone(labels)},
			"spec": map[string]any{
				"selector": map[string]any{"matchLabels": maps.Clone(labels)},
				"template": map[string]any{
					"metadata": map[string]any{"labels": map[string]any{
						deploy.LabelName: agentName, deploy.LabelManagedBy: deploy.Manager, deploy.LabelWorkspace: e.o.Hash,
					}},
					"spec": map[string]any{
						"automountServiceAccountToken": false, "enableServiceLinks": false, "terminationGracePeriodSeconds": int64(1),
						"tolerations": []any{map[string]any{"operator": "Exists"}}, // every node, control planes too
						"containers": []any{map[string]any{
							"name": agentName, "image": img, "imagePullPolicy": policy,
							"args": []any{"--targets", `{"unknown":"ignore"}`}, // until it is told more
							"env": []any{
								field("DEVLOOP_AGENT_NODE", "spec.nodeName"), field("DEVLOOP_AGENT_POD_UID", "metadata.uid"),
								map[string]any{"name": "DEVLOOP_AGENT_TOKEN", "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": agentName, "key": "token"}}},
							},
							"securityContext": map[string]any{
								"runAsUser": int64(0), "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
								"seccompProfile": map[string]any{"type": "RuntimeDefault"},
								"capabilities":   map[string]any{"drop": []any{"ALL"}, "add": []any{"BPF", "PERFMON", "NET_ADMIN"}},
							},
							"readinessProbe": map[string]any{
								"exec": map[string]any{"command": []any{"/devloop-agent", "health"}}, "periodSeconds": int64(1), "failureThreshold": int64(3),
							},
							"resources": map[string]any{
								"requests": map[string]any{"memory": "32Mi", "cpu": "50m"}, "limits": map[string]any{"memory": "160Mi"},
							},
							"volumeMounts": []any{
								map[string]any{"name": "cgroup", "mountPath": "/host/cgroup", "readOnly": true},
								map[string]any{"name": "ring", "mountPath": "/ring"},
							},
						}},
						"volumes": []any{
							map[string]any{"name": "cgroup", "hostPath": map[string]any{"path": "/sys/fs/cgroup"}},
							map[string]any{"name": "ring", "emptyDir": map[string]any{"sizeLimit": "384Mi"}},
						},
					},
				},
			}},
	}
	var all []*unstructured.Unstructured
	for _, o := range objects {
		all = append(all, &unstructured.Unstructured{Object: o})
	}
	return all
}

func field(name, path string) map[string]any {
	return map[string]any{"name": name, "valueFrom": map[string]any{"fieldRef": map[string]any{"fieldPath": path}}}
}
