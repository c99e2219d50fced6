package cluster

import (
	"context"
	"fmt"
	"os"
)

// Delete takes a kind cluster away: its node containers, kubeconfig and mark, and kind's network where devloop made it and
// nothing is left in it. Clusters that devloop did not make are deleted only by force.
func (f Folder) Delete(ctx context.Context, name string, force bool) error {
	if err := checkName(name); err != nil {
		return err
	}
	unlock, err := f.lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	nodes, err := nodeContainers(ctx, name)
	if err != nil {
		return err
	}
	m, err := f.readMark(name)
	if err != nil && !force {
		return err
	}
	switch {
	case len(nodes) == 0 && m == nil && !exists(f.of(name)):
		return f.notFound(ctx, name)
	case len(nodes) > 0 && !m.made(nodes) && !force:
		return &Error{Reason: NotOurs, What: fmt.Sprintf("cluster %s was not made by devloop", name),
			Hint: fmt.Sprintf("kind delete cluster --name %s, or devloop cluster delete --name %s --force", name, name)}
	}
	return f.remove(ctx, name, m != nil && m.Network)
}

// remove deletes and verifies.
func (f Folder) remove(ctx context.Context, name string, network bool) error {
	if err := removeNodes(ctx, name); err != nil {
		return err
	}
	if left, err := nodeContainers(ctx, name); err != nil {
		return err
	} else if len(left) > 0 {
		return fmt.Errorf("delete cluster %s: the engine still has %s", name, left[0].Name)
	}
	if network {
		removeNetwork(ctx)
	}
	if err := os.RemoveAll(f.of(name)); err != nil {
		return fmt.Errorf("delete cluster %s: %w", name, err)
	}
	return nil
}

func removeNodes(ctx context.Context, name string) error {
	nodes, err := nodeContainers(ctx, name)
	if err != nil || len(nodes) == 0 {
		return err
	}
	args := []string{"rm", "--force", "--volumes"}
	for _, n := range nodes {
		args = append(args, n.ID)
	}
	if _, err := docker(ctx, args...); err != nil {
		return fmt.Errorf("delete the nodes of cluster %s: %w", name, err)
	}
	return nil
}

func (f Folder) notFound(ctx context.Context, name string) error {
	e := &Error{Reason: NotFound, What: fmt.Sprintf("there is no kind cluster named %s", name), Hint: "devloop cluster create --name " + name}
	if list, err := f.List(ctx); err == nil && len(list) > 0 {
		e.What += "; there are:"
		for _, c := range list {
			e.What += " " + c.Name
		}
	}
	return e
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
