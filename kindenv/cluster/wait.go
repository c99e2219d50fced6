package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// poll is how often a waiting looks.
const poll = 100 * time.Millisecond

// WaitNodes waits until every node is ready. The error says which is not, and why.
func (c *Cluster) WaitNodes(ctx context.Context) error {
	return c.wait(ctx, func() (string, error) {
		nodes, err := c.Nodes(ctx)
		if err != nil {
			return "", err
		}
		if len(nodes) == 0 {
			return "no node has registered", nil
		}
		for _, n := range nodes {
			if !n.Ready {
				return fmt.Sprintf("node %s is not ready: %s", n.Name, n.Reason), nil
			}
		}
		return "", nil
	})
}

// WaitSystem waits until CoreDNS and kube-proxy serve, where the cluster has them.
func (c *Cluster) WaitSystem(ctx context.Context) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	return c.wait(ctx, func() (string, error) {
		proxy, err := client.AppsV1().DaemonSets("kube-system").Get(ctx, "kube-proxy", metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err): // another proxy stands in
		case err != nil:
			return "", err
		case proxy.Status.DesiredNumberScheduled == 0 || proxy.Status.NumberReady < proxy.Status.DesiredNumberScheduled:
			return fmt.Sprintf("kube-proxy is ready on %d of %d nodes", proxy.Status.NumberReady, proxy.Status.DesiredNumberScheduled), nil
		}
		dns, err := client.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return "", err
		case dns.Status.ReadyReplicas < 1:
			return "no replica of CoreDNS is ready", nil
		}
		return "", nil
	})
}

// wait polls until a look finds nothing missing. Errors of the API server count as not yet: it may be coming up.
func (c *Cluster) wait(ctx context.Context, look func() (missing string, err error)) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	missing := "the API server has not answered"
	for {
		switch now, err := look(); {
		case err == nil && now == "":
			return nil
		case err == nil:
			missing = now
		case ctx.Err() == nil:
			missing = firstLine(err.Error())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return &Error{Reason: Timeout, What: fmt.Sprintf("cluster %s was not ready in time: %s", c.Name, strings.TrimSuffix(missing, ".")), Hint: "give it longer: --wait 5m", Err: ctx.Err()}
			}
			return ctx.Err()
		}
	}
}

// apiError says what the API server refused.
func (c *Cluster) apiError(doing string, err error) error {
	switch {
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return &Error{Reason: Unreachable, What: fmt.Sprintf("%s of cluster %s: %v", doing, c.Name, err), Hint: "the context's user needs more rights: kubectl auth can-i --list", Err: err}
	default:
		return fmt.Errorf("%s of cluster %s: %w", doing, c.Name, err)
	}
}
