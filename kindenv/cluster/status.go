package cluster

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Info is what can be said of a cluster.
type Info struct {
	Name       string    `json:"name"`
	Ours       bool      `json:"ours"`                 // devloop made it
	State      string    `json:"state"`                // running, stopped, partial, unfinished, gone, unreachable
	Version    string    `json:"version,omitempty"`    // of Kubernetes
	Kubeconfig string    `json:"kubeconfig,omitempty"` // file
	Context    string    `json:"context,omitempty"`
	Server     string    `json:"server,omitempty"`
	Created    time.Time `json:"created,omitzero"`
	Nodes      []Node    `json:"nodes"`
	Problem    string    `json:"problem,omitempty"` // why it is not running
}

// Node is one node, as the engine and as the cluster see it.
type Node struct {
	Name      string `json:"name"`
	Role      string `json:"role,omitempty"`
	Image     string `json:"image,omitempty"`
	State     string `json:"state,omitempty"` // of its container
	Ready     bool   `json:"ready"`
	Version   string `json:"version,omitempty"` // of its kubelet
	Arch      string `json:"arch,omitempty"`
	Reason    string `json:"reason,omitempty"` // why it is not ready
	Container string `json:"container,omitempty"`
}

// describe fills in what the engine and the mark say.
func (f Folder) describe(info *Info, nodes []container) {
	m, _ := f.readMark(info.Name) // an unreadable mark marks nothing
	info.Ours = m.made(nodes)
	if m != nil && info.Ours {
		info.Created = m.Created
	}
	if path := f.Kubeconfig(info.Name); exists(path) {
		info.Kubeconfig = path
	}
	running := 0
	for _, n := range nodes {
		if n.State == "running" {
			running++
		}
		info.Nodes = append(info.Nodes, Node{Name: n.Name, Role: n.Role, Image: n.Image, State: n.State, Container: n.ID})
	}
	switch {
	case info.Ours && !m.finished():
		info.State, info.Problem = "unfinished", "its creation was killed or still runs"
	case running == len(nodes):
		info.State = "running"
	case running == 0:
		info.State = "stopped"
	default:
		info.State = "partial"
	}
}

// Status says what a kind cluster is like, down to its nodes. A cluster that does not answer is an answer, and no error.
func (f Folder) Status(ctx context.Context, name string) (*Info, error) {
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
	info := &Info{Name: name}
	f.describe(info, nodes)
	if info.State != "running" {
		return info, nil
	}
	c, err := f.Attach(ctx, name)
	if err == nil {
		err = c.fill(ctx, info)
	}
	if err != nil {
		info.State, info.Problem = "unreachable", err.Error()
	}
	return info, ctx.Err()
}

// fill adds what the cluster itself says.
func (c *Cluster) fill(ctx context.Context, info *Info) error {
	info.Kubeconfig, info.Context, info.Server = c.Kubeconfig, c.Context, c.config.Host
	version, err := c.Ping(ctx)
	if err != nil {
		return err
	}
	info.Version = version
	seen, err := c.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, s := range seen {
		known := false
		for i := range info.Nodes {
			if n := &info.Nodes[i]; n.Name == s.Name {
				known = true
				n.Ready, n.Version, n.Arch, n.Reason = s.Ready, s.Version, s.Arch, s.Reason
			}
		}
		if !known {
			info.Nodes = append(info.Nodes, s)
		}
	}
	return nil
}

// Nodes asks the cluster for its nodes.
func (c *Cluster) Nodes(ctx context.Context) ([]Node, error) {
	client, err := c.Client()
	if err != nil {
		return nil, err
	}
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, c.apiError("list nodes", err)
	}
	nodes := make([]Node, 0, len(list.Items))
	for _, n := range list.Items {
		node := Node{Name: n.Name, Version: n.Status.NodeInfo.KubeletVersion, Arch: n.Status.NodeInfo.Architecture, Reason: "it has not reported yet"}
		for _, condition := range n.Status.Conditions {
			if condition.Type == corev1.NodeReady {
				node.Ready, node.Reason = condition.Status == corev1.ConditionTrue, condition.Message
			}
		}
		if node.Ready {
			node.Reason = ""
		}
		nodes = append(nodes, node)
	}
	return nodes, nil
}
