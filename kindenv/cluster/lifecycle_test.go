package cluster_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/kindenv/cluster"
	"github.com/devloop-io/devloop/kindenv/clustertest"
)

// user is a user's own kubeconfig, which nothing may touch.
const user = "apiVersion: v1\nkind: Config\ncurrent-context: mine\ncontexts:\n- {name: mine, context: {cluster: mine, user: mine}}\n"

// TestLifecycle makes a cluster of two nodes and looks at all that is said of it until it is deleted.
func TestLifecycle(t *testing.T) {
	k := testenv.NeedsKind(t)
	const name = "devloop-lifecycle"
	home := cluster.Folder(t.TempDir())
	own, other := private(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	t.Cleanup(func() {
		_ = exec.Command("sh", "-c", "docker rm -fv $(docker ps -aq --filter label=io.x-k8s.kind.cluster="+name+")").Run()
	})

	var steps []string
	c, err := home.Create(ctx, cluster.CreateOptions{Name: name, Nodes: 2, NodeImage: k.Image, Config: k.Bare, Wait: 3 * time.Minute, System: true, Progress: func(s cluster.Step) {
		if s.Done {
			steps = append(steps, s.Name)
			t.Logf("%-36s %5.1f s", s.Name, s.Took.Seconds())
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"get node image", "start node containers", "start control plane", "join workers", "wait for nodes"} {
		if !strings.Contains(strings.Join(steps, "\n"), want) {
			t.Errorf("no step %q in %q", want, steps)
		}
	}
	if info, err := os.Stat(c.Kubeconfig); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("kubeconfig %s: %v %v, want mode 0600", c.Kubeconfig, info, err)
	}
	actsAtOnce(ctx, t, c)
	describes(ctx, t, home, name, 2)

	if _, err := home.Create(ctx, cluster.CreateOptions{Name: name}); !cluster.Is(err, cluster.Taken) {
		t.Errorf("a second one of that name: %v", err)
	}
	describes(ctx, t, home, name, 2) // the refused creation took nothing away

	began := time.Now()
	if c, err = home.Attach(ctx, name); err != nil || !c.Ours || !c.Kind {
		t.Errorf("attach: %+v, %v", c, err)
	}
	t.Logf("attached in %v", time.Since(began))
	if err := os.WriteFile(home.Kubeconfig(name), []byte("stale"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = home.Attach(ctx, name); err != nil {
		t.Errorf("attach over a broken kubeconfig: %v", err)
	}
	if c, err = cluster.Open(ctx, cluster.OpenOptions{Kubeconfig: home.Kubeconfig(name)}); err != nil || !c.Kind || c.Name != name {
		t.Errorf("open by its kubeconfig: %+v, %v", c, err)
	}

	stranger := cluster.Folder(t.TempDir()) // has no mark of it
	if err := stranger.Delete(ctx, name, false); !cluster.Is(err, cluster.NotOurs) {
		t.Errorf("a stranger's cluster: %v", err)
	}
	stops(ctx, t, home, name)
	if err := home.Delete(ctx, name, false); err != nil {
		t.Fatal(err)
	}
	gone(t, home, name)
	if err := home.Delete(ctx, name, false); !cluster.Is(err, cluster.NotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	if _, err := home.Attach(ctx, name); !cluster.Is(err, cluster.NotFound) {
		t.Errorf("attach to what is gone: %v", err)
	}
	for _, path := range []string{own, other} {
		if data, err := os.ReadFile(path); err != nil || string(data) != user {
			t.Errorf("%s was touched: %s %v", path, data, err)
		}
	}
}

// private gives the test a home and a KUBECONFIG of a user's, to see whether they are touched.
func private(t *testing.T) (own, other string) {
	dir := t.TempDir()
	own, other = filepath.Join(dir, ".kube", "config"), filepath.Join(dir, "kubeconfig")
	if err := os.MkdirAll(filepath.Dir(own), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{own, other} {
		if err := os.WriteFile(path, []byte(user), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", dir)
	t.Setenv("KUBECONFIG", other)
	return own, other
}

// actsAtOnce looks whether kube-proxy got our setting.
func actsAtOnce(ctx context.Context, t *testing.T, c *cluster.Cluster) {
	t.Helper()
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := client.CoreV1().ConfigMaps("kube-system").Get(ctx, "kube-proxy", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(proxy.Data["config.conf"], "minSyncPeriod: 10ms") {
		t.Errorf("kube-proxy's configuration lacks minSyncPeriod: 10ms:\n%s", proxy.Data["config.conf"])
	}
}

func describes(ctx context.Context, t *testing.T, home cluster.Folder, name string, nodes int) {
	t.Helper()
	info, err := home.Status(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	if info.State != "running" || !info.Ours || len(info.Nodes) != nodes || info.Version == "" {
		t.Errorf("status: %+v", info)
	}
	for _, n := range info.Nodes {
		if !n.Ready || n.Arch == "" || n.State != "running" {
			t.Errorf("node: %+v", n)
		}
	}
	list, err := home.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c.Name == name && c.Ours && c.State == "running" {
			return
		}
	}
	t.Errorf("list without %s: %+v", name, list)
}

// stops a node under the cluster's feet.
func stops(ctx context.Context, t *testing.T, home cluster.Folder, name string) {
	t.Helper()
	if out, err := exec.CommandContext(ctx, "docker", "kill", name+"-worker").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if info, err := home.Status(ctx, name); err != nil || info.State != "partial" {
		t.Errorf("status with a stopped node: %+v, %v", info, err)
	}
	if _, err := home.Attach(ctx, name); !cluster.Is(err, cluster.Unreachable) || !strings.Contains(err.Error(), name+"-worker") {
		t.Errorf("attach with a stopped node: %v", err)
	}
}

func gone(t *testing.T, home cluster.Folder, name string) {
	t.Helper()
	out, err := exec.Command("docker", "ps", "-aq", "--filter", "label=io.x-k8s.kind.cluster="+name).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("containers are left: %s %v", out, err)
	}
	if _, err := os.Stat(filepath.Dir(home.Kubeconfig(name))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
}

// TestFailedCreate makes creations fail in several ways and looks for what they leave: containers, networks, files.
func TestFailedCreate(t *testing.T) {
	k := testenv.NeedsKind(t)
	const network = "devloop-failed"
	t.Setenv("KIND_EXPERIMENTAL_DOCKER_NETWORK", network)
	t.Cleanup(func() { _ = exec.Command("docker", "network", "rm", network).Run() })
	own, other := private(t)
	broken := filepath.Join(t.TempDir(), "kind.yaml")
	bare, err := os.ReadFile(k.Bare)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(broken, append(bare, "kubeadmConfigPatches: [\"kind: ClusterConfiguration\\nkubernetesVersion: nonsense\\n\"]\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	subnet := filepath.Join(t.TempDir(), "kind.yaml")
	if err := os.WriteFile(subnet, append(bare, "networking: {podSubnet: nonsense}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		o      cluster.CreateOptions
		end    string // the step at whose beginning the context ends
		reason cluster.Reason
		says   string
	}{
		{name: "no image", o: cluster.CreateOptions{NodeImage: "registry.invalid/node:v1"}, reason: cluster.NoImage, says: "registry.invalid/node:v1"},
		{name: "bad subnet", o: cluster.CreateOptions{NodeImage: k.Image, Config: subnet}, reason: cluster.BadConfig, says: "subnet"},
		{name: "kubeadm refuses", o: cluster.CreateOptions{NodeImage: k.Image, Config: broken}, reason: cluster.Failed, says: "start control plane"},
		{name: "never ready", o: cluster.CreateOptions{NodeImage: k.Image, Config: k.Bare, Wait: time.Millisecond}, reason: cluster.Timeout, says: "was not ready in time"},
		{name: "given up while nodes start", o: cluster.CreateOptions{NodeImage: k.Image, Config: k.Bare}, end: "start node containers"},
		{name: "given up in the middle", o: cluster.CreateOptions{NodeImage: k.Image, Config: k.Bare}, end: "start control plane"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			home := cluster.Folder(t.TempDir())
			c.o.Name = "devloop-failed"
			c.o.Progress = func(s cluster.Step) {
				if s.Name == c.end {
					cancel()
				}
			}
			_, err := home.Create(ctx, c.o)
			switch {
			case c.end != "" && !errors.Is(err, context.Canceled):
				t.Errorf("%v, want that it was given up", err)
			case c.end == "" && (!cluster.Is(err, c.reason) || !strings.Contains(err.Error(), c.says)):
				t.Errorf("%v, want %s with %q", err, c.reason, c.says)
			}
			t.Log(err)
			gone(t, home, c.o.Name)
			if exec.Command("docker", "network", "inspect", network).Run() == nil {
				t.Error("the network is left")
			}
			for _, path := range []string{own, other} {
				if data, err := os.ReadFile(path); err != nil || string(data) != user {
					t.Errorf("%s was touched: %s %v", path, data, err)
				}
			}
		})
	}
}

// TestNamespaces are apart, and their tests find the same cluster.
func TestNamespaces(t *testing.T) {
	c := clustertest.Shared(t)
	if a, b := clustertest.Namespace(t, c), clustertest.Namespace(t, c); a == b {
		t.Errorf("two namespaces of one name: %s", a)
	}
}
