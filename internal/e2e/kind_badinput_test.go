//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/kindenv"
	"github.com/devloop-io/devloop/kindenv/clustertest"
	"github.com/devloop-io/devloop/kindenv/identity"
	"github.com/devloop-io/devloop/traffic"
)

// TestKindNoEngine: without a container engine, or with one that refuses an ordinary user, the answer is a sentence with the
// next command, and nothing is left. A socket that belongs to root stands in for the engine's.
func TestKindNoEngine(t *testing.T) {
	testenv.NeedsKind(t) // for the docker command
	w, devloop := ordinary(t)
	closed := filepath.Join(w.dir, "closed.sock")
	l, err := net.Listen("unix", closed)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(closed, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		socket string
		words  []string
	}{
		{filepath.Join(w.dir, "none.sock"), []string{"no container engine answers", "none.sock", "start Docker; `docker info` says whether it answers"}},
		{closed, []string{"the container engine refuses us", "permission denied", "sudo usermod -aG docker $USER, then log in again"}},
	} {
		host := "DOCKER_HOST=unix://" + c.socket
		w.nobodySays(t, 3, c.words, "env", host, devloop, "run", "--env", "kind")
		w.nobodySays(t, 3, c.words, "env", host, devloop, "doctor", "--env", "kind")
		w.nobodySays(t, 0, []string{"nothing is left"}, devloop, "down") // the next daemon has the next engine
	}
	w.gone(t)
	if _, err := os.Stat(filepath.Join(w.dir, ".devloop", "cluster.json")); err == nil {
		t.Error("a cluster is written down that was not made")
	}
}

// kubeconfig writes one of the shared cluster, as another user or by another address.
func (w *echoed) kubeconfig(server string, user *clientcmdapi.AuthInfo) {
	w.test.Helper()
	raw, err := clientcmd.LoadFromFile(w.c.Kubeconfig)
	if err != nil {
		w.test.Fatal(err)
	}
	context := raw.Contexts[w.c.Context]
	if server != "" {
		entry := raw.Clusters[context.Cluster]
		entry.Server, entry.TLSServerName = server, "127.0.0.1"
	}
	if user != nil {
		raw.AuthInfos[context.AuthInfo] = user
	}
	file := filepath.Join(w.dir, "kubeconfig")
	if err := clientcmd.WriteToFile(*raw, file); err != nil {
		w.test.Fatal(err)
	}
	w.in(kindenv.Cluster)
}

// TestKindForbidden: a user who lacks a right is told which, and nothing is left of the run.
func TestKindForbidden(t *testing.T) {
	w := inKind(t)
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	ns := clustertest.Namespace(t, w.c)
	look := []string{"get", "list", "watch"}
	for _, c := range []struct {
		name  string
		rules []rbacv1.PolicyRule
		what  string // the account may not do
	}{
		{"nothing", nil, "list nodes"},
		{"nodes", []rbacv1.PolicyRule{rule("", "nodes", look...)}, "list pods"},
		{"all", []rbacv1.PolicyRule{rule("*", "*", look...)}, "patch namespaces"},
	} {
		w.kubeconfig("", w.account(ctx, ns, c.name, c.rules...))
		w.says(3, []string{"user system:serviceaccount:" + ns + ":" + c.name + " may not " + c.what, "hint: ask for this right"}, "run")
		w.says(0, nil, "down", "--keep-cluster") // the next daemon is the next user's
	}
	w.in(kindenv.Kind)
	w.leavesNothing()
}

func rule(group, resource string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
}

// account makes a user of the cluster who may do what the rules say, and goes with the test.
func (w *echoed) account(ctx context.Context, ns, name string, rules ...rbacv1.PolicyRule) *clientcmdapi.AuthInfo {
	t := w.test
	t.Helper()
	_, err := w.client.CoreV1().ServiceAccounts(ns).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := "devloop-test-" + name + "-" + w.hash
	if _, err := w.client.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: all}, Rules: rules}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = w.client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: all},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: all},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: name, Namespace: ns}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		late, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = w.client.RbacV1().ClusterRoleBindings().Delete(late, all, metav1.DeleteOptions{})
		_ = w.client.RbacV1().ClusterRoles().Delete(late, all, metav1.DeleteOptions{})
	})
	token, err := w.client.CoreV1().ServiceAccounts(ns).CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &clientcmdapi.AuthInfo{Token: token.Status.Token}
}

// TestKindServerGoneAndBack cuts the way to the API server, through which all goes: forwards, pushes, watches, and what drives
// the services. While it is away for short nothing is lost, and nobody is told of it who need not know. What is said when it
// stays away is tested in kindenv/deploy.
func TestKindServerGoneAndBack(t *testing.T) {
	w := inKind(t)
	way := clustertest.NewWay(t, w.c)
	w.kubeconfig(way.URL(), nil)
	w.passes("by another way")

	// Every connection is cut while an exercise runs: its next calls go on others, and the agents' packets wait for us.
	whole := func(what string, it *traffic.Iteration) {
		t.Helper()
		phases(t, what, it)
		if it.Verdict != traffic.Pass || it.Account.Dropped > 0 || len(it.Warnings) > 0 {
			t.Errorf("%s: %s, failure %+v, account %+v, warnings %q\n%s", what, it.Verdict, it.Failure, it.Account, it.Warnings, explain(not(it, traffic.Pass)))
		}
	}
	whole("connections were cut", w.during(func(context.Context) {
		if n := way.Cut(); n < 2 {
			t.Errorf("%d connections were cut: it does not go this way", n)
		}
	}))
	// Away while the exercise calls, and back before it ends.
	whole("away and back in an exercise", w.during(func(context.Context) {
		way.Gone()
		way.Back()
	}))

	// Away when a run begins: it says so, and goes on when the server answers.
	way.Gone()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := w.command(ctx, "run")
	var out watched
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "devloop says that nobody answers", func() bool { return strings.Contains(out.String(), "does not answer") })
	way.Back()
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "verdict: pass") || !strings.Contains(out.String(), "answers again") {
		t.Errorf("%v\n%s", err, out.String())
	}

	whole("back again", w.run())
	w.says(0, nil, "down", "--keep-cluster")
	w.in(kindenv.Kind)
	w.leavesNothing()
}

// TestKindChurn replaces pods twenty times a second for ten seconds in the workspace's namespace while it is exercised: the
// calls are named rightly, nothing is lost, and the agents go on. The pods are on a node that does not exist: a kubelet of
// this machine would start three a second.
func TestKindChurn(t *testing.T) {
	w := inKind(t)
	w.passes("before")
	const each, all = time.Second / 20, 200
	ids, err := identity.Watch(t.Context(), identity.Options{Client: w.client, Workspace: w.hash, Namespace: w.namespace})
	if err != nil {
		t.Fatal(err)
	}
	type had struct { // who had an address when
		ip  string
		pod string
		at  int64
	}
	var list []had
	it := w.during(func(ctx context.Context) {
		pods := w.client.CoreV1().Pods(w.namespace)
		tick := time.NewTicker(each)
		defer tick.Stop()
		now := int64(0)
		for n := range all {
			name := fmt.Sprintf("churn-%d", n)
			p, err := pods.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{
				NodeName: "nowhere", Containers: []corev1.Container{{Name: "app", Image: "none"}},
			}}, metav1.CreateOptions{})
			if err == nil {
				ip := fmt.Sprintf("10.244.200.%d", 1+n%20)
				p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, ContainerStatuses: []corev1.ContainerStatus{{
					Name: "app", ContainerID: "containerd://" + strings.Repeat(fmt.Sprintf("%04x", n), 16), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
				}}}
				_, err = pods.UpdateStatus(ctx, p, metav1.UpdateOptions{})
				list = append(list, had{ip, name, time.Now().UnixNano()})
			}
			if old := n - 10; err == nil && old >= 0 {
				err = pods.Delete(ctx, fmt.Sprintf("churn-%d", old), metav1.DeleteOptions{GracePeriodSeconds: &now})
			}
			if err != nil {
				t.Errorf("pod %d: %v", n, err)
				return
			}
			<-tick.C
		}
		if err := pods.DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{FieldSelector: "spec.nodeName=nowhere"}); err != nil {
			t.Error(err)
		}
	})
	phases(t, "twenty pods a second", it)
	if it.Verdict != traffic.Pass || it.Account.Dropped > 0 || len(it.Warnings) > 0 {
		t.Errorf("%s, failure %+v, account %+v, warnings %q\n%s", it.Verdict, it.Failure, it.Account, it.Warnings, explain(not(it, traffic.Pass)))
	}
	for _, c := range it.Checks {
		if c.Name == "echo answers" && c.N != 6 {
			t.Errorf("%d calls are named as the service's, want 6", c.N)
		}
	}
	for _, h := range list { // each address was that of ten pods
		if who, ok := ids.Resolve(netip.MustParseAddr(h.ip), h.at); !ok || who.Pod != h.pod {
			t.Errorf("%s was %s's, and is taken for %q's", h.ip, h.pod, who.Pod)
		}
	}
	w.passes("after")
}

// TestKindTwoWorkspaces has two workspaces in one cluster at the same time: neither is in the other's verdicts, and what one
// takes down is its own.
func TestKindTwoWorkspaces(t *testing.T) {
	one, other := inKind(t), inKind(t)
	var firsts [2]*traffic.Iteration
	done := make(chan struct{})
	go func() {
		defer close(done)
		firsts[1] = other.run()
	}()
	firsts[0] = one.run()
	<-done
	for i, it := range firsts {
		if it.Verdict != traffic.Pass || it.Account.Dropped > 0 || len(it.Warnings) > 0 {
			t.Errorf("workspace %d: %s, failure %+v, warnings %q\n%s", i, it.Verdict, it.Failure, it.Warnings, explain(not(it, traffic.Pass)))
		}
	}
	it := one.during(func(context.Context) { // and meanwhile the other runs, breaks, and goes
		other.passes("beside an exercise")
		if it := other.run("--exercise", "nobody"); it.ExitCode == 0 {
			t.Error("an exercise that is not there ran")
		}
		other.says(0, nil, "down", "--keep-cluster")
		other.leavesNothing()
	})
	phases(t, "beside another workspace that goes", it)
	if it.Verdict != traffic.Pass || it.Account.Dropped > 0 || len(it.Warnings) > 0 {
		t.Errorf("%s, failure %+v, account %+v, warnings %q\n%s", it.Verdict, it.Failure, it.Account, it.Warnings, explain(not(it, traffic.Pass)))
	}
	for _, ifc := range it.Account.Interfaces {
		if ifc.Workload != nil && ifc.Workload.Namespace != one.namespace {
			t.Errorf("captured in %s, which is another's", ifc.Name)
		}
	}
	one.says(0, nil, "down", "--keep-cluster")
	one.leavesNothing()
}
