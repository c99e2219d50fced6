package kindenv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/devloop-io/devloop/kindenv/cluster"
	"github.com/devloop-io/devloop/kindenv/deploy"
)

// Fact is one thing that [Examine] looked at.
type Fact struct {
	Name   string
	OK     bool
	Detail string
	Fix    string // the next command, where it is not well
}

// examineBound is how long all of it may take.
const examineBound = 20 * time.Second

// Examine looks at what a Kubernetes environment needs: engine, node image and cluster, or context; the rights of its user;
// and the agents, where they are. It makes nothing, and ends at the first thing without which the others mean nothing.
func Examine(ctx context.Context, o Options) []Fact {
	ctx, cancel := context.WithTimeout(ctx, examineBound)
	defer cancel()
	x := &examination{o: o, namespace: namespaceOf(o.Config, o.Where, o.Workspace)}
	c := x.kind(ctx)
	if o.Where == Cluster {
		c = x.context(ctx)
	}
	if c == nil {
		return x.facts
	}
	client, err := c.Client()
	if err != nil {
		x.bad("API server", err, "")
		return x.facts
	}
	x.rights(ctx, c, client)
	x.agents(ctx, c, client)
	return x.facts
}

type examination struct {
	o         Options
	namespace string
	facts     []Fact
}

func (x *examination) good(name, format string, args ...any) {
	x.facts = append(x.facts, Fact{Name: name, OK: true, Detail: fmt.Sprintf(format, args...)})
}

// bad notes an error, with its own hint where it has one.
func (x *examination) bad(name string, err error, fix string) {
	var known *cluster.Error
	if errors.As(err, &known) {
		fix = cmp.Or(known.Hint, fix)
	}
	x.facts = append(x.facts, Fact{Name: name, Detail: err.Error(), Fix: fix})
}

// kind looks at the engine, the node image and the cluster; nil when there is none to ask further.
func (x *examination) kind(ctx context.Context) *cluster.Cluster {
	if x.o.Where != Kind {
		return nil
	}
	k := x.o.Config.Environment.Kind
	engine, err := cluster.FindEngine(ctx)
	if err != nil {
		x.bad("container engine", err, "docker info")
		return nil
	}
	x.good("container engine", "%s, %s/%s", engine.Version, engine.OS, engine.Arch)
	home, err := cluster.Home()
	if err != nil {
		x.bad("kind cluster", err, "")
		return nil
	}
	name := cmp.Or(k.Name, "devloop")
	c, err := home.Attach(ctx, name)
	switch {
	case err == nil:
		x.version(ctx, c, "kind cluster")
		return c
	case !cluster.Is(err, cluster.NotFound):
		x.bad("kind cluster", err, "devloop cluster status --name "+name)
		return nil
	}
	x.good("kind cluster", "%s is not there yet; a run makes it", name)
	if k.Config != "" {
		x.good("node image", "as %s says", k.Config)
		return nil
	}
	image, here, err := cluster.FindNodeImage(ctx, cmp.Or(x.o.NodeImage, k.NodeImage))
	switch {
	case err != nil:
		x.bad("node image", err, "docker images")
	case here:
		x.good("node image", "%s is here", image)
	default:
		x.good("node image", "%s is not here; a run pulls it", image)
	}
	return nil
}

// context looks at the kubeconfig.
func (x *examination) context(ctx context.Context) *cluster.Cluster {
	e := x.o.Config.Environment.Cluster
	path := e.Kubeconfig
	if path != "" && !filepath.IsAbs(path) {
		path = filepath.Join(x.o.Workspace, path)
	}
	c, err := cluster.Open(ctx, cluster.OpenOptions{Kubeconfig: path, Context: e.Context, AllowContexts: e.AllowContexts})
	if err != nil {
		x.bad("kubeconfig context", err, "kubectl config get-contexts")
		return nil
	}
	x.version(ctx, c, "kubeconfig context")
	return c
}

func (x *examination) version(ctx context.Context, c *cluster.Cluster, name string) {
	version, err := c.Ping(ctx)
	if err != nil {
		x.bad(name, err, "kubectl version --context "+c.Context)
		return
	}
	x.good(name, "%s answers, Kubernetes %s, kubeconfig %s", c.Context, version, c.Kubeconfig)
}

// right is something that devloop does with a cluster's API.
type right struct {
	verb, group, resource, sub string
	agents                     bool // in the agents' namespace; otherwise in the workspace's
	anywhere                   bool // of the whole cluster
	why                        string
}

var needed = []right{
	{verb: "create", resource: "namespaces", anywhere: true, why: "the workspace's and the agents' namespace"},
	{verb: "list", resource: "nodes", anywhere: true, why: "their architecture, and whose addresses are"},
	{verb: "watch", resource: "pods", anywhere: true, why: "whose addresses are"},
	{verb: "patch", group: "apps", resource: "deployments", why: "to deploy services"},
	{verb: "patch", resource: "services", why: "to deploy services"},
	{verb: "create", resource: "pods", sub: "exec", why: "to push a build into its pod"},
	{verb: "create", resource: "pods", sub: "portforward", why: "the way in for what drives the services"},
	{verb: "patch", group: "apps", resource: "daemonsets", agents: true, why: "the nodes' agents"},
	{verb: "patch", resource: "secrets", agents: true, why: "the agents' token"},
	{verb: "create", resource: "pods", sub: "portforward", agents: true, why: "the way to the agents"},
}

// rights asks the API server what the context's user may do.
func (x *examination) rights(ctx context.Context, c *cluster.Cluster, client kubernetes.Interface) {
	refused := 0
	for _, r := range needed {
		namespace := x.namespace
		switch {
		case r.anywhere:
			namespace = ""
		case r.agents:
			namespace = agentName + "-" + x.o.Hash
		}
		granted, err := r.granted(ctx, client, namespace)
		if err != nil {
			x.bad("rights", fmt.Errorf("ask what the context's user may do: %w", err), "kubectl auth can-i --list --context "+c.Context)
			return
		}
		if granted {
			continue
		}
		refused++
		x.bad("right to "+r.String(), fmt.Errorf("%s may not; it is needed for %s", whoIs(c), r.why), r.command(c.Context, namespace))
	}
	if refused == 0 {
		x.good("rights", "namespaces, deployments, daemonsets, secrets, pods/exec, pods/portforward")
	}
}

// granted asks the API server whether its user has a right.
func (r right) granted(ctx context.Context, client kubernetes.Interface, namespace string) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
		Namespace: namespace, Verb: r.verb, Group: r.group, Resource: r.resource, Subresource: r.sub,
	}}}
	answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return answer.Status.Allowed, nil
}

func whoIs(c *cluster.Cluster) string { return "the user of context " + c.Context }

// String is "create pods/exec".
func (r right) String() string {
	name := r.resource
	if r.sub != "" {
		name += "/" + r.sub
	}
	return r.verb + " " + name
}

// command asks the same by hand, once somebody has granted it.
func (r right) command(context, namespace string) string {
	text := fmt.Sprintf("kubectl auth can-i %s --context %s", r.String(), context)
	if namespace != "" {
		text += " --namespace " + namespace
	}
	return text + " (whoever runs the cluster can grant it)"
}

// agents looks at the pods of the nodes' agents. They are ready when they say that they are well.
func (x *examination) agents(ctx context.Context, c *cluster.Cluster, client kubernetes.Interface) {
	namespace := agentName + "-" + x.o.Hash
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: deploy.LabelName + "=" + agentName})
	if err != nil {
		x.bad("node agents", err, "kubectl get pods --context "+c.Context+" --namespace "+namespace)
		return
	}
	if len(pods.Items) == 0 {
		x.good("node agents", "not installed yet; a run installs them")
		return
	}
	well := 0
	for _, p := range pods.Items {
		if why := unwell(&p); why != "" {
			x.bad("agent of node "+cmp.Or(p.Spec.NodeName, "?"), errors.New(why), fmt.Sprintf("kubectl logs --context %s --namespace %s %s", c.Context, namespace, p.Name))
			continue
		}
		well++
	}
	if well == len(pods.Items) {
		x.good("node agents", "%d of %d are well", well, len(pods.Items))
	}
}

// unwell says why a pod is not ready; empty when it is.
func unwell(p *corev1.Pod) string {
	for _, s := range p.Status.ContainerStatuses {
		switch {
		case s.Ready:
			return ""
		case s.State.Waiting != nil:
			return fmt.Sprintf("%s: %s (%d restarts)", s.State.Waiting.Reason, s.State.Waiting.Message, s.RestartCount)
		case s.State.Terminated != nil:
			return fmt.Sprintf("it ended with exit code %d: %s", s.State.Terminated.ExitCode, s.State.Terminated.Reason)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status != corev1.ConditionTrue {
			return c.Reason + ": " + c.Message
		}
	}
	return "it runs, and does not say that it is well"
}
