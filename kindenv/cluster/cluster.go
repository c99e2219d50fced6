package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	kind "sigs.k8s.io/kind/pkg/cluster"
)

// Cluster is one that can be spoken to.
type Cluster struct {
	Name       string // kind's name of it, or the context's
	Context    string // in Kubeconfig
	Kubeconfig string // file; empty where several were merged, as KUBECONFIG=a:b does
	Kind       bool   // its nodes are containers of this machine's engine
	Ours       bool   // devloop made it

	config *rest.Config
}

// REST is a copy of the settings to speak to the API server. The rate limit is far above client-go's default, which is
// meant to protect clusters that many share.
func (c *Cluster) REST() *rest.Config {
	config := rest.CopyConfig(c.config)
	config.QPS, config.Burst = 200, 400
	config.UserAgent = "devloop"
	return config
}

// Client is a client of the API server.
func (c *Cluster) Client() (kubernetes.Interface, error) {
	client, err := kubernetes.NewForConfig(c.REST())
	if err != nil {
		return nil, fmt.Errorf("make a client of cluster %s: %w", c.Name, err)
	}
	return client, nil
}

// pingTimeout bounds the first word with an API server.
const pingTimeout = 5 * time.Second

// Ping asks the API server for its version.
func (c *Cluster) Ping(ctx context.Context) (version string, err error) {
	config := c.REST()
	config.Timeout = pingTimeout
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", fmt.Errorf("make a client of cluster %s: %w", c.Name, err)
	}
	v, err := client.ServerVersion() // takes no context; the timeout bounds it
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return "", &Error{Reason: Unreachable, What: fmt.Sprintf("the API server of %s at %s does not answer: %v", c.Name, config.Host, err), Hint: "is the cluster running? devloop cluster status", Err: err}
	}
	return v.GitVersion, nil
}

// openFile reads one of our own kubeconfig files.
func openFile(path string) (*Cluster, error) {
	raw, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig %s: %w", path, err)
	}
	config, err := clientcmd.NewDefaultClientConfig(*raw, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig %s: %w", path, err)
	}
	return &Cluster{Context: raw.CurrentContext, Kubeconfig: path, config: config}, nil
}

// Attach finds a kind cluster by its name, whoever made it, and sees to it that its kubeconfig file is there and right.
func (f Folder) Attach(ctx context.Context, name string) (*Cluster, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	nodes, err := nodeContainers(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(nodes) == 0 {
		return nil, f.notFound(ctx, name)
	}
	var stopped string
	for _, n := range nodes {
		if n.State != "running" {
			stopped += " " + n.Name
		}
	}
	if stopped != "" {
		return nil, &Error{Reason: Unreachable, What: fmt.Sprintf("cluster %s has stopped nodes:%s", name, stopped), Hint: "docker start" + stopped}
	}
	m, err := f.readMark(name)
	if err != nil {
		return nil, err
	}
	attach := func() (*Cluster, error) {
		c, err := openFile(f.Kubeconfig(name))
		if err != nil {
			return nil, err
		}
		c.Name, c.Kind, c.Ours = name, true, m.made(nodes)
		_, err = c.Ping(ctx)
		return c, err
	}
	if c, err := attach(); err == nil {
		return c, nil
	} else if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	// Missing, or of a cluster of the same name that is gone: ask the node.
	text, err := kind.NewProvider(kind.ProviderWithDocker()).KubeConfig(name, false)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of cluster %s: %w", name, err)
	}
	if err := writePrivate(f.Kubeconfig(name), []byte(text)); err != nil {
		return nil, fmt.Errorf("write the kubeconfig of cluster %s: %w", name, err)
	}
	return attach()
}

// List returns the kind clusters of the engine, and those that left only a folder.
func (f Folder) List(ctx context.Context) ([]Info, error) {
	nodes, err := nodeContainers(ctx, "")
	if err != nil {
		return nil, err
	}
	var list []Info
	index := map[string]int{}
	byName := map[string][]container{}
	for _, n := range nodes {
		byName[n.Cluster] = append(byName[n.Cluster], n)
		if _, ok := index[n.Cluster]; !ok {
			index[n.Cluster] = len(list)
			list = append(list, Info{Name: n.Cluster})
		}
	}
	for i := range list {
		f.describe(&list[i], byName[list[i].Name])
	}
	entries, err := os.ReadDir(string(f))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list clusters: %w", err)
	}
	for _, e := range entries {
		if _, ok := index[e.Name()]; !ok && e.IsDir() && exists(f.markFile(e.Name())) {
			list = append(list, Info{Name: e.Name(), Ours: true, State: "gone"})
		}
	}
	return list, nil
}
