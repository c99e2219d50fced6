package kindenv

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/devloop-io/devloop/kindenv/deploy"
)

// names makes the hosts: of services resolve to them: by CoreDNS in a cluster that devloop made, so that look-ups are on
// the wire as everywhere; by the pods' own hosts file elsewhere, where the cluster's name server is not ours to change,
// and where another workspace of the cluster has the same host. It comes before the pods are applied, which may be changed by
// it. The cluster's name server may have to be started again for it; until then its old pods answer.
func (e *Env) names(ctx context.Context) (restart bool, err error) {
	hosts := map[string]string{} // to the service
	for name, s := range e.o.Config.Services {
		for _, h := range s.Hosts {
			hosts[h] = name
		}
	}
	if len(hosts) == 0 {
		return false, nil
	}
	if e.cluster.Ours {
		taken, err := answered(ctx, e.client, e.o.Hash)
		if err != nil {
			return false, err
		}
		var lines []string
		for _, h := range slices.Sorted(maps.Keys(hosts)) {
			if !taken[h] { // the name server knows one answer for the whole cluster
				lines = append(lines, fmt.Sprintf("    rewrite name exact %s %s.%s.svc.cluster.local", h, hosts[h], e.Namespace()))
				delete(hosts, h)
			}
		}
		if restart, err = coreDNS(ctx, e.client, e.o.Hash, lines); err != nil || len(hosts) == 0 {
			return restart, err
		}
		e.warn("another workspace in cluster %s has %s as well: here the pods' hosts files name them, and no look-up is on the wire",
			e.cluster.Name, strings.Join(slices.Sorted(maps.Keys(hosts)), ", "))
	}
	aliases := map[string][]string{}
	for _, h := range slices.Sorted(maps.Keys(hosts)) {
		s, err := e.client.CoreV1().Services(e.Namespace()).Get(ctx, hosts[h], metav1.GetOptions{})
		if err != nil {
			return restart, fmt.Errorf("look for the address of %s: %w", h, err)
		}
		aliases[s.Spec.ClusterIP] = append(aliases[s.Spec.ClusterIP], h)
	}
	e.plan.Alias(aliases)
	return restart, nil
}

// answered are the hosts that the cluster's name server answers for other workspaces, and not for ours: what was decided once
// stays, because it is in the pods.
func answered(ctx context.Context, client kubernetes.Interface, hash string) (map[string]bool, error) {
	cm, err := client.CoreV1().ConfigMaps("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the name server's configuration: %w", err)
	}
	text := cm.Data["Corefile"]
	others := without(text, hash)
	taken := rewritten(others)
	for h := range rewritten(text) {
		if strings.Count(text, " "+h+" ") > strings.Count(others, " "+h+" ") {
			delete(taken, h)
		}
	}
	return taken, nil
}

// rewritten are the hosts that a Corefile has another name for.
func rewritten(text string) map[string]bool {
	hosts := map[string]bool{}
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) == 5 && words[0] == "rewrite" && words[1] == "name" && words[2] == "exact" {
			hosts[words[3]] = true
		}
	}
	return hosts
}

// coreDNS has the cluster's name server answer for a workspace's hosts. Lines of other workspaces stay; no lines remove
// ours. When it says that something changed the name server has to be started again.
func coreDNS(ctx context.Context, client kubernetes.Interface, hash string, lines []string) (changed bool, err error) {
	const namespace, name, server = "kube-system", "coredns", ".:53 {\n"
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		cm, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
		if len(lines) == 0 && (apierrors.IsNotFound(err) || apierrors.IsForbidden(err)) {
			return nil // who may not even read it has written nothing that could be taken back
		}
		if err != nil {
			return err
		}
		before := cm.Data["Corefile"]
		text := without(before, hash)
		if len(lines) > 0 {
			at := strings.Index(text, server)
			if at < 0 {
				return fmt.Errorf("the Corefile of %s/%s has no server for .:53", namespace, name)
			}
			at += len(server)
			text = text[:at] + marker(hash, "begin") + strings.Join(lines, "\n") + "\n" + marker(hash, "end") + text[at:]
		}
		if changed = text != before; !changed {
			return nil
		}
		cm.Data["Corefile"] = text
		_, err = client.CoreV1().ConfigMaps(namespace).Update(ctx, cm, metav1.UpdateOptions{FieldManager: deploy.Manager})
		return err
	})
	if err != nil {
		return false, fmt.Errorf("have the cluster's name server answer for outside hosts: %w", err)
	}
	return changed, nil
}

func marker(hash, which string) string { return "    # devloop " + hash + " " + which + "\n" }

// without is a Corefile without a workspace's lines.
func without(text, hash string) string {
	from := strings.Index(text, marker(hash, "begin"))
	end := marker(hash, "end")
	to := strings.Index(text, end)
	if from < 0 || to < from {
		return text
	}
	return text[:from] + text[to+len(end):]
}

// restartCoreDNS rolls it out again: by itself it would look at its configuration after half a minute.
func restartCoreDNS(ctx context.Context, client kubernetes.Interface) error {
	apps := client.AppsV1().Deployments("kube-system")
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		d, err := apps.Get(ctx, "coredns", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if d.Spec.Template.Annotations == nil {
			d.Spec.Template.Annotations = map[string]string{}
		}
		d.Spec.Template.Annotations["devloop.dev/restarted"] = time.Now().UTC().Format(time.RFC3339Nano)
		_, err = apps.Update(ctx, d, metav1.UpdateOptions{FieldManager: deploy.Manager})
		return err
	})
	if err != nil {
		return fmt.Errorf("restart the cluster's name server: %w", err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		d, err := apps.Get(ctx, "coredns", metav1.GetOptions{})
		if err == nil && d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == *d.Spec.Replicas &&
			d.Status.AvailableReplicas >= *d.Spec.Replicas && d.Status.Replicas == *d.Spec.Replicas {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the cluster's name server does not come up again: %w", context.Cause(ctx))
		}
	}
}
