package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	kind "sigs.k8s.io/kind/pkg/cluster"
)

// CreateOptions say what cluster to make.
type CreateOptions struct {
	Name string
	// Nodes counts where the configuration lists no nodes: one control plane, the others workers. 0 means 1.
	Nodes int
	// NodeImage overrides the image of every node; kind's own default otherwise.
	NodeImage string
	// Config is a kind configuration file, passed through.
	Config string
	// Wait is how long to wait for every node to be ready; 0 waits for none.
	Wait time.Duration
	// System waits for CoreDNS and kube-proxy as well, within Wait.
	System bool
	// Progress is told of every step, as it begins and as it ends.
	Progress func(Step)
}

// Create makes a kind cluster. A creation that fails, or whose context ends, leaves nothing behind: no containers, no
// network, no kubeconfig.
func (f Folder) Create(ctx context.Context, o CreateOptions) (*Cluster, error) {
	if err := checkName(o.Name); err != nil {
		return nil, err
	}
	file, err := ReadConfig(o.Config)
	if err != nil {
		return nil, err
	}
	merged, err := Merge(file, o.Name, o.Nodes)
	if err != nil {
		return nil, err
	}
	images := nodeImages(merged, o.NodeImage)
	s := newSteps(o.Progress)
	s.start("find container engine")
	if _, err := FindEngine(ctx); err != nil {
		s.end(err)
		return nil, err
	}
	unlock, err := f.lock(ctx, o.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := f.free(ctx, o.Name); err != nil {
		s.end(err)
		return nil, err
	}
	m := mark{Name: o.Name, Created: time.Now().UTC().Truncate(time.Second), Network: !networkExists(ctx)}
	c, err := f.make(ctx, m, merged, images, o, s)
	s.end(err)
	if err != nil {
		return nil, f.undo(ctx, m, err)
	}
	return c, nil
}

// free says whether the name may be used.
func (f Folder) free(ctx context.Context, name string) error {
	nodes, err := nodeContainers(ctx, name)
	if err != nil || len(nodes) == 0 {
		return err
	}
	if m, err := f.readMark(name); err == nil && m != nil && !m.finished() {
		return &Error{Reason: Taken, What: fmt.Sprintf("an unfinished cluster named %s is there: its creation was killed", name), Hint: "devloop cluster delete --name " + name}
	}
	return taken(name)
}

// make is the recipe. Whoever calls it undoes what it began when it fails.
func (f Folder) make(ctx context.Context, m mark, merged *v1alpha4.Cluster, images []string, o CreateOptions, s *steps) (*Cluster, error) {
	s.start("get node image")
	if err := ensureImages(ctx, images); err != nil {
		return nil, createError(ctx, o.Name, s.at(), err)
	}
	if err := os.RemoveAll(f.of(o.Name)); err != nil { // of a cluster that is gone
		return nil, fmt.Errorf("create cluster %s: %w", o.Name, err)
	}
	if err := f.writeMark(m); err != nil {
		return nil, err
	}
	if err := f.kindCreate(ctx, merged, o, s); err != nil {
		return nil, err
	}
	s.start("write kubeconfig")
	nodes, err := nodeContainers(ctx, o.Name)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		m.Nodes = append(m.Nodes, n.ID)
	}
	if err := f.writeMark(m); err != nil {
		return nil, err
	}
	c, err := openFile(f.Kubeconfig(o.Name))
	if err != nil {
		return nil, err
	}
	c.Name, c.Kind, c.Ours = o.Name, true, true
	if o.Wait <= 0 {
		return c, nil
	}
	waiting, cancel := context.WithTimeout(ctx, o.Wait)
	defer cancel()
	s.start("wait for nodes")
	if err := c.WaitNodes(waiting); err != nil {
		return nil, err
	}
	if o.System {
		s.start("wait for CoreDNS and kube-proxy")
		return c, c.WaitSystem(waiting)
	}
	return c, nil
}

// kindCreate runs kind, which knows no context: when ours ends, the nodes are taken away under its hands until it gives up.
func (f Folder) kindCreate(ctx context.Context, merged *v1alpha4.Cluster, o CreateOptions, s *steps) error {
	before := s.at()
	s.start("prepare")
	logger := &kindLogger{steps: s}
	provider := kind.NewProvider(kind.ProviderWithDocker(), kind.ProviderWithLogger(logger))
	done := make(chan error, 1)
	go func() {
		done <- provider.Create(o.Name, kind.CreateWithV1Alpha4Config(merged), kind.CreateWithNodeImage(o.NodeImage),
			kind.CreateWithKubeconfigPath(f.Kubeconfig(o.Name)), kind.CreateWithRetain(false))
	}()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		clean := context.WithoutCancel(ctx)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for finished := false; !finished; {
			_ = removeNodes(clean, o.Name)
			select {
			case err = <-done:
				finished = true
			case <-tick.C:
			}
		}
		if err == nil {
			err = ctx.Err()
		}
	}
	if err == nil {
		return nil
	}
	at := s.at()
	if at == "prepare" || at == before {
		at = ""
	}
	return createError(ctx, o.Name, at, err)
}

// undo takes away what a creation began, checks that it is gone, and returns why the creation failed.
func (f Folder) undo(ctx context.Context, m mark, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := f.remove(ctx, m.Name, m.Network); err != nil {
		return errors.Join(why, fmt.Errorf("and what was begun is still there (devloop cluster delete --name %s): %w", m.Name, err))
	}
	return why
}

// nodeImages are the images that the nodes of a configuration take.
func nodeImages(c *v1alpha4.Cluster, override string) []string {
	if override != "" {
		return []string{override}
	}
	var images []string
	for _, n := range c.Nodes {
		image := n.Image
		if image == "" {
			image = defaults.Image
		}
		if !slices.Contains(images, image) {
			images = append(images, image)
		}
	}
	return images
}
