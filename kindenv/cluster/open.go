package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
)

// OpenOptions say which cluster to attach to.
type OpenOptions struct {
	// Kubeconfig is a file; KUBECONFIG and ~/.kube/config otherwise. It is read and never written.
	Kubeconfig string
	// Context in it; the current one otherwise.
	Context string
	// AllowContexts are names, or patterns as of path.Match, of contexts that may be used although they do not look local.
	AllowContexts []string
	// ReadOnly says that nothing is changed in it: whoever named it may look at any cluster.
	ReadOnly bool
}

// Open attaches to a cluster by kubeconfig and context. A context that does not look like a cluster of this machine is refused
// unless it is allowed by name.
func Open(ctx context.Context, o OpenOptions) (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	rules.WarnIfAllMissing = false
	raw, err := rules.Load()
	if err != nil {
		return nil, &Error{Reason: NotFound, What: "read the kubeconfig: " + err.Error(), Hint: "kubectl config view; " + setting(o, "kubeconfig") + " names another file", Err: err}
	}
	name := o.Context
	if name == "" {
		name = raw.CurrentContext
	}
	known := raw.Contexts[name]
	if known == nil {
		return nil, noContext(o, name, slices.Sorted(maps.Keys(raw.Contexts)))
	}
	entry := raw.Clusters[known.Cluster]
	if entry == nil {
		return nil, &Error{Reason: NotFound, What: fmt.Sprintf("context %s names a cluster %q that the kubeconfig does not have", name, known.Cluster), Hint: "kubectl config view"}
	}
	if local, why := LooksLocal(name, entry.Server, bridges()); !local && !o.ReadOnly && !allowed(o.AllowContexts, name) {
		return nil, &Error{Reason: NotLocal, What: fmt.Sprintf("context %s does not look like a cluster of this machine: %s", name, why),
			Hint: fmt.Sprintf("if devloop may deploy to it: environment: {cluster: {allowContexts: [%q]}} in devloop.yaml", name)}
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*raw, name, &clientcmd.ConfigOverrides{}, rules).ClientConfig()
	if err != nil {
		return nil, &Error{Reason: NotFound, What: fmt.Sprintf("read context %s: %v", name, err), Hint: "kubectl config view", Err: err}
	}
	c := &Cluster{Name: name, Context: name, Kubeconfig: known.LocationOfOrigin, config: config}
	if _, err := c.Ping(ctx); err != nil {
		return nil, err
	}
	if short, ok := strings.CutPrefix(name, "kind-"); ok {
		c.recognise(ctx, short)
	}
	return c, nil
}

// recognise sees whether a context is that of a kind cluster on this machine's engine, whose nodes images can be loaded into.
func (c *Cluster) recognise(ctx context.Context, name string) {
	nodes, err := nodeContainers(ctx, name)
	if err != nil || len(nodes) == 0 {
		return
	}
	c.Name, c.Kind = name, true
	if home, err := Home(); err == nil {
		m, _ := home.readMark(name)
		c.Ours = m.made(nodes)
	}
}

// setting is where the caller gets a value from.
func setting(o OpenOptions, name string) string {
	if o.ReadOnly {
		return "--" + name
	}
	return "environment.cluster." + name + " in devloop.yaml"
}

func noContext(o OpenOptions, name string, known []string) error {
	e := &Error{Reason: NotFound, What: fmt.Sprintf("the kubeconfig has no context %q", name), Hint: "kubectl config get-contexts"}
	if name == "" {
		e.What = "the kubeconfig has no current context"
		e.Hint = "name one: " + setting(o, "context")
	}
	if len(known) > 0 {
		e.What += "; it has: " + strings.Join(known, ", ")
	} else {
		e.What += ", nor any other"
	}
	return e
}

func allowed(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		matched, err := path.Match(p, name)
		return p == name || err == nil && matched
	})
}

// DefaultKubeconfig is the file that kubectl would read first.
func DefaultKubeconfig() string {
	if list := filepath.SplitList(os.Getenv("KUBECONFIG")); len(list) > 0 {
		return list[0]
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".kube", "config")
}

var errNoHost = errors.New("it names no host")
