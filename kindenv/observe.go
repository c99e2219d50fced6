package kindenv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/kindenv/cluster"
	"github.com/devloop-io/devloop/kindenv/deploy"
	"github.com/devloop-io/devloop/kindenv/identity"
	"github.com/devloop-io/devloop/traffic"
)

// ObserveOptions say which cluster is looked at.
type ObserveOptions struct {
	Kubeconfig string // a file; KUBECONFIG and ~/.kube/config otherwise
	Context    string // in it; the current one otherwise
	Namespace  string // only what its pods say; what the agents capture otherwise
	Since      time.Time
	Log        *slog.Logger
}

// Observer looks at a cluster in which the agents of a workspace capture. It deploys nothing, changes nothing and does not
// tell the agents what to capture: it lists and watches objects, reads the agents' token, and forwards to the agents.
type Observer struct {
	e     *Env
	pods  []corev1.Pod
	token string
	only  string
}

// observed are the rights that looking takes.
var observed = []right{
	{verb: "list", resource: "pods", anywhere: true, why: "to find the agents, and whose addresses are"},
	{verb: "watch", resource: "pods", anywhere: true, why: "whose addresses are"},
	{verb: "get", resource: "secrets", agents: true, why: "the agents' token"},
	{verb: "create", resource: "pods", sub: "portforward", agents: true, why: "the way to the agents"},
}

// installHint is how a cluster comes to its agents.
const installHint = "devloop up --env cluster (or --env kind), in the workspace of the services that are to be looked at: it puts an agent on every node"

// Observe finds the agents of a cluster. Its errors are [cluster.Error]s.
func Observe(ctx context.Context, o ObserveOptions) (_ *Observer, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	quiet(o.Log)
	c, err := cluster.Open(ctx, cluster.OpenOptions{Kubeconfig: o.Kubeconfig, Context: o.Context, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	x := &Observer{only: o.Namespace, e: &Env{o: Options{Where: Cluster, Config: &config.Config{}, Log: o.Log}, cluster: c, crashed: make(chan Crash), since: o.Since}}
	x.e.ctx, x.e.stop = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			err = errors.Join(asCluster(c, err), x.Close(ctx))
		}
	}()
	if x.e.client, err = c.Client(); err != nil {
		return nil, err
	}
	if err = x.may(ctx, "", func(r right) bool { return r.anywhere }); err != nil {
		return nil, err
	}
	home, err := x.choose(ctx)
	if err != nil {
		return nil, err
	}
	if err = x.may(ctx, home.namespace, func(r right) bool { return r.agents }); err != nil {
		return nil, err
	}
	secret, err := x.e.client.CoreV1().Secrets(home.namespace).Get(ctx, agentName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the agents' token: %w", err)
	}
	x.pods, x.token = home.pods, string(secret.Data["token"])
	x.e.o.Hash = home.hash
	x.e.o.Config.Environment.Cluster.Namespace = cmp.Or(o.Namespace, home.captured[0])
	x.e.ids, err = identity.Watch(x.e.ctx, identity.Options{Client: x.e.client, Workspace: home.hash, Namespace: o.Namespace, Ahead: x.e.ahead})
	if err != nil {
		return nil, err
	}
	for what, err := range x.e.ids.Refused() {
		x.e.warn("%s of the cluster may not be read, so names that come from them are missing: %v", what, err)
	}
	return x, nil
}

// asCluster gives an error its reason and its next step.
func asCluster(c *cluster.Cluster, err error) error {
	var known *cluster.Error
	if errors.As(err, &known) {
		return err
	}
	reason := cluster.Unreachable
	if apierrors.IsForbidden(err) {
		reason = cluster.Forbidden
	}
	what, hint, _ := strings.Cut(deploy.Explain(err).Error(), "\nhint: ")
	return &cluster.Error{Reason: reason, What: what, Hint: cmp.Or(hint, "kubectl get pods --all-namespaces --context "+c.Context), Err: err}
}

// may asks for the rights before they are used, because what refuses a forward does not say why.
func (x *Observer) may(ctx context.Context, namespace string, which func(right) bool) error {
	for _, r := range observed {
		if !which(r) {
			continue
		}
		granted, err := r.granted(ctx, x.e.client, namespace)
		if err != nil {
			return fmt.Errorf("ask what the context's user may do: %w", err)
		}
		if !granted {
			where := "in all namespaces"
			if namespace != "" {
				where = "in namespace " + namespace
			}
			return &cluster.Error{Reason: cluster.Forbidden, What: fmt.Sprintf("%s may not %s %s; it is needed for this: %s", whoIs(x.e.cluster), r, where, r.why),
				Hint: r.command(x.e.cluster.Context, namespace)}
		}
	}
	return nil
}

// home are the agents of one workspace.
type home struct {
	hash, namespace string
	pods            []corev1.Pod
	captured        []string // namespaces of that workspace's pods
}

// choose finds the agents, those of the wanted namespace where there are several workspaces'.
func (x *Observer) choose(ctx context.Context) (*home, error) {
	list, err := x.e.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: deploy.LabelManagedBy + "=" + deploy.Manager})
	if err != nil {
		return nil, fmt.Errorf("look for the agents: %w", err)
	}
	homes, namespaces := map[string]*home{}, map[string]map[string]bool{}
	for _, p := range list.Items {
		hash := p.Labels[deploy.LabelWorkspace]
		if p.Labels[deploy.LabelName] != agentName {
			if namespaces[hash] == nil {
				namespaces[hash] = map[string]bool{}
			}
			namespaces[hash][p.Namespace] = true
			continue
		}
		if p.DeletionTimestamp != nil || p.Status.Phase != corev1.PodRunning {
			continue
		}
		if homes[hash] == nil {
			homes[hash] = &home{hash: hash, namespace: p.Namespace}
		}
		homes[hash].pods = append(homes[hash].pods, p)
	}
	var all []string
	var found []*home
	for _, hash := range slices.Sorted(maps.Keys(homes)) {
		h := homes[hash]
		if h.captured = slices.Sorted(maps.Keys(namespaces[hash])); len(h.captured) == 0 {
			h.captured = []string{""}
		}
		all = append(all, h.captured...)
		if len(homes) == 1 || x.only == "" || slices.Contains(h.captured, x.only) {
			found = append(found, h)
		}
	}
	slices.Sort(all)
	switch {
	case len(homes) == 0:
		return nil, &cluster.Error{Reason: cluster.NoAgent, What: fmt.Sprintf("no devloop agent runs in the cluster of context %s, so nothing of its traffic is captured", x.e.cluster.Context), Hint: installHint}
	case len(found) == 0:
		return nil, &cluster.Error{Reason: cluster.NoAgent, What: fmt.Sprintf("the agents in the cluster of context %s are of the workspaces in namespaces %s, and none is in %s", x.e.cluster.Context, strings.Join(all, ", "), x.only),
			Hint: "--namespace with one of these; or " + installHint}
	case len(found) > 1:
		return nil, &cluster.Error{Reason: cluster.BadConfig, What: fmt.Sprintf("in the cluster of context %s are the agents of %d workspaces, in namespaces %s", x.e.cluster.Context, len(found), strings.Join(slices.Compact(all), ", ")),
			Hint: "--namespace with one of them"}
	}
	return found[0], nil
}

// Capture opens a source over the agents, as they were told to capture by whoever installed them.
func (x *Observer) Capture(ctx context.Context) (_ capture.Source, why string, err error) {
	n := &nodes{e: x.e, wake: make(chan struct{}, 1), skip: func(p *traffic.Packet, ifc *traffic.Interface) bool {
		return throughDoor(p, ifc) || x.only != "" && (ifc.Workload == nil || ifc.Workload.Namespace != x.only)
	}}
	if why, err = n.dialAll(ctx, x.pods, x.token); err != nil {
		return nil, "", errors.Join(asCluster(x.e.cluster, err), n.Close())
	}
	x.e.mu.Lock()
	x.e.nodes = n
	x.e.mu.Unlock()
	if err := x.captures(ctx); err != nil {
		return nil, "", errors.Join(asCluster(x.e.cluster, err), n.source.Close(), n.Close())
	}
	return n.source, why, nil
}

// captures fails where the agents capture nothing of the wanted namespace, but of others: there would never be an answer.
func (x *Observer) captures(ctx context.Context) error {
	all := &Observer{e: x.e}
	t, err := all.Targeted(ctx)
	if err != nil || x.only == "" {
		return err
	}
	namespaces := map[string]bool{}
	for _, p := range t.Pods {
		namespace, _, _ := strings.Cut(p, "/")
		namespaces[namespace] = true
	}
	if len(namespaces) == 0 || namespaces[x.only] {
		return nil
	}
	return &cluster.Error{Reason: cluster.NoAgent, What: fmt.Sprintf("the agents in the cluster of context %s capture pods of %s, and none of namespace %s", x.e.cluster.Context, strings.Join(slices.Sorted(maps.Keys(namespaces)), ", "), x.only),
		Hint: "--namespace with one of these; or devloop capture configure --namespace " + x.only + ", in the workspace that put the agents there"}
}

// Targeted says what the agents capture.
func (x *Observer) Targeted(ctx context.Context) (*Targeted, error) {
	n := x.e.capturing()
	if n == nil {
		return nil, errors.New("nothing is captured yet")
	}
	captured := map[string]bool{}
	answer := &Targeted{Pods: []string{}}
	if x.only != "" {
		answer.Namespaces = []string{x.only}
	}
	for _, s := range n.sources {
		answer.Nodes = append(answer.Nodes, s.Node())
		t, err := s.Client().Targets(ctx)
		if err != nil {
			return nil, fmt.Errorf("ask node %s what is captured: %w", s.Node(), err)
		}
		answer.Ports = t.Rules.Ports
		for _, m := range t.Matched {
			captured[m.Pod] = captured[m.Pod] || m.Captured
		}
	}
	for _, p := range x.e.ids.Pods() {
		if captured[string(p.UID)] && (x.only == "" || p.Namespace == x.only) {
			answer.Pods = append(answer.Pods, p.Namespace+"/"+p.Name)
		}
	}
	slices.Sort(answer.Pods)
	return answer, nil
}

// Describe names what is looked at.
func (x *Observer) Describe() string {
	text := "context " + x.e.cluster.Context + ", read only"
	if x.only != "" {
		text += ", namespace " + x.only
	}
	return text
}

// Since is from when on packets come.
func (x *Observer) Since() time.Time { return x.e.since }

// Warnings are as [Env.Warnings].
func (x *Observer) Warnings() []string { return x.e.Warnings() }

// Identities are as [Env.Identities].
func (x *Observer) Identities() []traffic.Identity { return x.e.Identities() }

// Resolve is as [Env.Resolve].
func (x *Observer) Resolve(ip netip.Addr, at int64) (traffic.Workload, bool) {
	return x.e.Resolve(ip, at)
}

// Events are as [Env.Events], of all namespaces where none is chosen.
func (x *Observer) Events(from, to int64) []traffic.ClusterEvent { return x.e.Events(from, to) }

// Nodes are as [Env.Nodes].
func (x *Observer) Nodes() []string { return x.e.Nodes() }

// NodeStates are as [Env.NodeStates].
func (x *Observer) NodeStates(ctx context.Context) []NodeState { return x.e.NodeStates(ctx) }

// Past is as [Env.Past].
func (x *Observer) Past(ctx context.Context, from, to int64, only []string) (*Past, error) {
	return x.e.Past(ctx, from, to, only)
}

// Close lets go of the cluster.
func (x *Observer) Close(ctx context.Context) error { return x.e.Close(ctx) }
