package image_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devloop-io/devloop/kindenv/cluster"
	"github.com/devloop-io/devloop/kindenv/clustertest"
	"github.com/devloop-io/devloop/kindenv/image"
)

// TestGoService goes the whole way: compiled here, assembled, streamed into the node, run there as nobody.
func TestGoService(t *testing.T) {
	c := clustertest.Shared(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	arch, err := image.Arch(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "hello")
	s := image.GoSpec{Name: "devloop-test/hello:go", Dir: ".", Package: "./testdata/hello", Arch: arch, Out: out, Env: []string{"GREETING=hi"}, Flags: []string{"-ldflags=-s -w"}}
	built, err := image.BuildGo(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	unload(t, c, built.Name)
	took := load(ctx, t, c, built, false)
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f MB loaded in %v", float64(info.Size())/1e6, took)

	s.Out += "-again"
	again, err := image.BuildGo(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	if again.Digest != built.Digest {
		t.Errorf("built twice: %s and %s", built.Digest, again.Digest)
	}
	t.Logf("seen to be there in %v", load(ctx, t, c, again, true))
	if have, want := ask(ctx, t, c, built.Name), "v1 uid=65532 hi"; have != want {
		t.Errorf("the pod answers %q, want %q", have, want)
	}
}

// TestDockerfile builds with the engine, on an empty base.
func TestDockerfile(t *testing.T) {
	c := clustertest.Shared(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	arch, err := image.Arch(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := image.CompileGo(ctx, image.GoSpec{Dir: ".", Package: "./testdata/hello", Arch: arch, Out: filepath.Join(dir, "hello")}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nCOPY hello /hello\nENV GREETING=docker\nENTRYPOINT [\"/hello\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := image.DockerSpec{Name: "devloop-test/hello:docker", Dir: dir, Arch: arch}
	built, err := image.BuildDockerfile(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := built.Close(); err != nil {
			t.Error(err)
		}
		_ = exec.Command("docker", "image", "rm", s.Name).Run()
	})
	unload(t, c, built.Name)
	load(ctx, t, c, built, false)
	load(ctx, t, c, built, true)
	if have, want := ask(ctx, t, c, built.Name), "v1 uid=0 docker"; have != want {
		t.Errorf("the pod answers %q, want %q", have, want)
	}

	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nCOPY missing /hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var failed *image.BuildError
	if _, err := image.BuildDockerfile(ctx, s); !errors.As(err, &failed) || !strings.Contains(err.Error(), "missing") {
		t.Errorf("a Dockerfile that copies what is not there: %v", err)
	}
	if _, err := image.FromEngine(ctx, "devloop-test/nowhere:1"); err == nil || !strings.Contains(err.Error(), "devloop-test/nowhere:1") {
		t.Errorf("an image that is not there: %v", err)
	}
}

// TestLoadRefused loads into a cluster whose nodes are not here.
func TestLoadRefused(t *testing.T) {
	t.Parallel()
	i, err := image.Assemble(spec())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := image.Load(t.Context(), &cluster.Cluster{Name: "office"}, i); !cluster.Is(err, cluster.NotKind) {
		t.Errorf("error %v, want one that says there are no kind nodes", err)
	}
}

// TestNodesDiskIsFull has a node without room for what is streamed into it: that is said, and with room it goes.
func TestNodesDiskIsFull(t *testing.T) {
	c := clustertest.Shared(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	noise := make([]byte, 4<<20)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	i, err := image.Assemble(image.Spec{Name: "devloop-test/large:1", Arch: "amd64", Files: []image.File{{Path: "/noise", Data: noise}}})
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := c.NodeContainers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const incoming = "/var/lib/containerd/io.containerd.content.v1.content/ingest" // where containerd writes what comes
	if _, err := c.NodeExec(ctx, nodes[0], nil, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", incoming); err != nil {
		t.Fatal(err)
	}
	room := sync.OnceFunc(func() {
		late, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := c.NodeExec(late, nodes[0], nil, "umount", "--lazy", incoming); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(room)
	unload(t, c, i.Name)
	_, err = image.Load(ctx, c, i)
	var known *cluster.Error
	if !errors.As(err, &known) || known.Reason != cluster.DiskFull || !strings.Contains(err.Error(), "no space left on device") || known.Hint == "" {
		t.Errorf("error %v, want one that says that the disk is full", err)
	}
	t.Log(err)
	room()
	load(ctx, t, c, i, false)
}

// TestFileGoesAway takes the binary away between assembling and loading.
func TestFileGoesAway(t *testing.T) {
	c := clustertest.Shared(t)
	path := filepath.Join(t.TempDir(), "app")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	i, err := image.Assemble(image.Spec{Name: "devloop-test/gone:1", Arch: "amd64", Files: []image.File{{Path: "/app", From: path}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := image.Load(t.Context(), c, i); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names %s", err, path)
	}
}

func load(ctx context.Context, t *testing.T, c *cluster.Cluster, i *image.Image, present bool) time.Duration {
	t.Helper()
	began := time.Now()
	loaded, err := image.Load(ctx, c, i)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range loaded {
		if l.Present != present {
			t.Errorf("%s on %s: was there: %v, want %v", l.Image, l.Node, l.Present, present)
		}
	}
	if len(loaded) == 0 {
		t.Error("loaded into no node")
	}
	return time.Since(began)
}

func unload(t *testing.T, c *cluster.Cluster, name string) {
	t.Helper()
	nodes, err := c.NodeContainers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if _, err := c.NodeExec(t.Context(), n, nil, "ctr", "--namespace=k8s.io", "images", "rm", "--sync", name); err != nil {
			t.Fatal(err)
		}
	}
}

// ask runs a pod of an image and asks it through the API server.
func ask(ctx context.Context, t *testing.T, c *cluster.Cluster, name string) string {
	t.Helper()
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	pods := client.CoreV1().Pods(clustertest.Namespace(t, c))
	no := false
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "hello"}, Spec: corev1.PodSpec{AutomountServiceAccountToken: &no, Containers: []corev1.Container{{
		Name: "hello", Image: name, ImagePullPolicy: corev1.PullNever, Ports: []corev1.ContainerPort{{ContainerPort: 8080}},
	}}}}
	for { // a namespace's service account comes a moment after it
		_, err = pods.Create(ctx, pod, metav1.CreateOptions{})
		if err == nil || !strings.Contains(err.Error(), "serviceaccount") || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for {
		answer, err := pods.ProxyGet("http", "hello", "8080", "/", nil).DoRaw(ctx)
		if err == nil {
			return string(answer)
		}
		if ctx.Err() != nil {
			p, _ := pods.Get(context.WithoutCancel(ctx), "hello", metav1.GetOptions{})
			t.Fatalf("the pod does not answer: %v\n%+v", err, p.Status)
		}
		time.Sleep(20 * time.Millisecond) // between two questions
	}
}
