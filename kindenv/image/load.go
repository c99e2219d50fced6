package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/devloop-io/devloop/kindenv/cluster"
)

// Loaded says what became of one image on one node.
type Loaded struct {
	Image   string        `json:"image"`
	Digest  string        `json:"digest"`
	Node    string        `json:"node"`
	Present bool          `json:"present"` // it had this digest already
	Took    time.Duration `json:"took_ns"` // of the node's whole stream
}

// Load streams images into every node at once. A node that has an image's digest under its name already is not sent it. Each
// node reads the layers for itself, so that a slow one holds up no other and nothing large lies in memory.
func Load(ctx context.Context, c *cluster.Cluster, images ...*Image) ([]Loaded, error) {
	nodes, err := c.NodeContainers(ctx)
	if err != nil {
		return nil, err
	}
	results, errs := make([][]Loaded, len(nodes)), make([]error, len(nodes))
	var wait sync.WaitGroup
	for i, node := range nodes {
		wait.Go(func() { results[i], errs[i] = loadNode(ctx, c, node, images) })
	}
	wait.Wait()
	var all []Loaded
	for _, r := range results {
		all = append(all, r...)
	}
	return all, errors.Join(errs...)
}

func loadNode(ctx context.Context, c *cluster.Cluster, node string, images []*Image) ([]Loaded, error) {
	began := time.Now()
	have, err := digests(ctx, c, node, images)
	if err != nil {
		return nil, err
	}
	var missing []*Image
	var all []Loaded
	for _, i := range images {
		present := have[i.Name] == i.Digest
		if !present {
			missing = append(missing, i)
		}
		all = append(all, Loaded{Image: i.Name, Digest: i.Digest, Node: node, Present: present})
	}
	if len(missing) > 0 {
		if err := stream(ctx, c, node, missing); err != nil {
			return nil, err
		}
	}
	for n := range all {
		all[n].Took = time.Since(began)
	}
	return all, nil
}

// stream imports images into a node's containerd. They are not unpacked there: kubelet's containerd does that when a pod needs
// it, with the snapshotter that it is set to.
func stream(ctx context.Context, c *cluster.Cluster, node string, images []*Image) error {
	r, w := io.Pipe()
	var wrote error
	var wait sync.WaitGroup
	wait.Go(func() {
		wrote = writeLayout(w, images)
		w.CloseWithError(wrote)
	})
	_, err := c.NodeExec(ctx, node, r, "ctr", "--namespace=k8s.io", "images", "import", "--all-platforms", "--no-unpack", "-")
	r.CloseWithError(io.ErrClosedPipe) // lets the writer go when the import ended early
	wait.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case wrote != nil && !errors.Is(wrote, io.ErrClosedPipe):
		return wrote // the import failed because of it
	case err != nil:
		return fmt.Errorf("load %s into node %s: %w", names(images), node, err)
	}
	return nil
}

// digests asks a node which digests it has under the images' names.
func digests(ctx context.Context, c *cluster.Cluster, node string, images []*Image) (map[string]string, error) {
	args := []string{"ctr", "--namespace=k8s.io", "images", "ls"}
	for _, i := range images {
		args = append(args, "name=="+i.Name)
	}
	out, err := c.NodeExec(ctx, node, nil, args...)
	if err != nil {
		return nil, fmt.Errorf("list the images of node %s: %w", node, err)
	}
	have := map[string]string{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) >= 3 && strings.HasPrefix(f[2], "sha256:") { // REF TYPE DIGEST …
			have[f[0]] = f[2]
		}
	}
	return have, nil
}

func names(images []*Image) string {
	var all []string
	for _, i := range images {
		all = append(all, i.Name)
	}
	return strings.Join(all, ", ")
}

// Arch is the architecture of a cluster's nodes, as Go names it. Clusters of several are refused: an image here has one.
func Arch(ctx context.Context, c *cluster.Cluster) (string, error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return "", err
	}
	arch := ""
	for _, n := range nodes {
		switch {
		case n.Arch == "":
		case arch == "":
			arch = n.Arch
		case arch != n.Arch:
			return "", fmt.Errorf("cluster %s has nodes of %s and of %s: images for several architectures are not supported yet", c.Name, arch, n.Arch)
		}
	}
	if arch == "" {
		return "", fmt.Errorf("cluster %s: no node has said its architecture yet", c.Name)
	}
	return arch, nil
}
