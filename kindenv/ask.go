package kindenv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/devloop-io/devloop/kindenv/cluster"
	"github.com/devloop-io/devloop/kindenv/deploy"
)

// quiet sends to our log what client-go would print to standard error, such as that a forward was cut.
func quiet(log *slog.Logger) {
	once.Do(func() { klog.SetSlogLogger(log) })
}

var once sync.Once

// architecture is the processor of all nodes.
func architecture(ctx context.Context, client kubernetes.Interface) (string, error) {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("list the cluster's nodes: %w", err)
	}
	found := map[string]bool{}
	for _, n := range nodes.Items {
		found[n.Status.NodeInfo.Architecture] = true
	}
	names := slices.Sorted(maps.Keys(found))
	switch len(names) {
	case 0:
		return "", errors.New("the cluster has no nodes")
	case 1:
		return names[0], nil
	}
	return "", fmt.Errorf("the cluster's nodes are of several architectures (%s): devloop builds for one", strings.Join(names, ", "))
}

// newest says which of the pods that match is there now, the one that is known from before while the cluster tells of none.
func (e *Env) newest(known string, match func(*corev1.Pod) bool) func() string {
	var mu sync.Mutex
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		var found *corev1.Pod
		for _, p := range e.ids.Pods() {
			if match(p) && p.DeletionTimestamp == nil && (found == nil || found.CreationTimestamp.Before(&p.CreationTimestamp)) {
				found = p
			}
		}
		if found != nil {
			known = found.Name
		}
		return known
	}
}

// workspaces are the hashes of other workspaces that have something in a cluster.
func workspaces(ctx context.Context, c *cluster.Cluster, ours string) ([]string, error) {
	client, err := c.Client()
	if err != nil {
		return nil, err
	}
	spaces, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: deploy.LabelManagedBy + "=" + deploy.Manager})
	if err != nil {
		return nil, fmt.Errorf("look who else uses cluster %s: %w", c.Name, err)
	}
	var others []string
	for _, n := range spaces.Items {
		if h := n.Labels[deploy.LabelWorkspace]; h != ours {
			others = append(others, h)
		}
	}
	return others, nil
}
