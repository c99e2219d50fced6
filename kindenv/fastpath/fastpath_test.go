package fastpath_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/supervise"
	"github.com/devloop-io/devloop/kindenv/cluster"
	"github.com/devloop-io/devloop/kindenv/clustertest"
	"github.com/devloop-io/devloop/kindenv/deploy"
	"github.com/devloop-io/devloop/kindenv/fastpath"
	"github.com/devloop-io/devloop/kindenv/image"
)

const supervisor = deploy.ImagePrefix + "supervise-test:1"

// bench is a service of two replicas in a real cluster: two containers on an empty image, one user without rights, a
// root file system that cannot be written.
type bench struct {
	t        *testing.T
	ctx      context.Context
	client   *fastpath.Client
	set      kubernetes.Interface
	deployer *deploy.Deployer
	plan     *deploy.Plan
	app      string
}

const manifests = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: payment}
spec:
  replicas: 2
  selector: {matchLabels: {app: payment}}
  template:
    metadata: {labels: {app: payment}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsNonRoot: true, runAsUser: 12345, runAsGroup: 12345}
      containers:
      - name: other
        image: ` + supervisor + `
        imagePullPolicy: Never
        command: [/devloop-supervise, run, /tmp]
        volumeMounts: [{name: scratch, mountPath: /tmp}]
      - name: payment
        image: nowhere/payment
        args: [-flag]
        readinessProbe: {httpGet: {path: /build, port: 8080}, periodSeconds: 1}
        securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      volumes: [{name: scratch, emptyDir: {}}]
`

func newBench(t *testing.T, c *cluster.Cluster) *bench {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	dir := t.TempDir()
	b := &bench{t: t, ctx: ctx, app: filepath.Join(dir, "app")}
	arch, err := image.Arch(ctx, c)
	must(t, err)
	for out, pkg := range map[string]string{b.app: "./testdata/app", filepath.Join(dir, "supervise"): "../../cmd/devloop-supervise"} {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, text)
		}
	}
	img, err := image.Assemble(image.Spec{
		Name: supervisor, Arch: arch, Entrypoint: []string{"/devloop-supervise", "run"},
		Files: []image.File{{Path: "/devloop-supervise", From: filepath.Join(dir, "supervise"), Mode: 0o755}},
	})
	must(t, err)
	_, err = image.Load(ctx, c, img)
	must(t, err)
	write(t, dir, "devloop.yaml", "version: 1\nservices: {payment: {go: ./cmd/payment, ports: {http: 8080}}}\n")
	write(t, dir, "deploy.yaml", manifests)
	cfg, err := config.Load(dir)
	must(t, err)
	b.plan, err = deploy.New(deploy.Options{
		Config: cfg, Namespace: clustertest.Namespace(t, c), Workspace: "0a1b2c3d", Supervisor: supervisor, Manifests: []config.Manifest{{Path: "deploy.yaml"}},
	})
	must(t, err)
	b.deployer, err = deploy.NewDeployer(c.REST())
	must(t, err)
	_, err = b.deployer.Apply(ctx, b.plan.Objects)
	must(t, err)
	b.client, err = fastpath.New(c.REST())
	must(t, err)
	b.set, err = c.Client()
	must(t, err)
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}

func (b *bench) running() []fastpath.Container {
	b.t.Helper()
	pods, err := b.deployer.WaitRunning(b.ctx, b.plan, b.plan.Services["payment"])
	must(b.t, err)
	return b.containers(pods)
}

func (b *bench) containers(pods []corev1.Pod) []fastpath.Container {
	var list []fastpath.Container
	for _, p := range pods {
		list = append(list, fastpath.Container{Namespace: p.Namespace, Pod: p.Name, UID: string(p.UID), Name: "payment", Command: "/devloop-supervise"})
	}
	return list
}

func (b *bench) program(build string) fastpath.Program {
	b.t.Helper()
	p := fastpath.Program{Path: b.app, Switch: supervise.Switch{
		Build: build, Args: b.plan.Services["payment"].Args, Env: map[string]string{"LISTEN": ":8080", "BUILD": build},
		Ready: supervise.Ready{Port: 8080, Path: "/build", Timeout: 20 * time.Second},
	}}
	must(b.t, p.Load())
	return p
}

// serves asks every pod through the API server's proxy which build it is.
func (b *bench) serves(build string) {
	b.t.Helper()
	pods, err := b.deployer.WaitReady(b.ctx, b.plan, b.plan.Services["payment"])
	must(b.t, err)
	if len(pods) != 2 {
		b.t.Errorf("%d pods", len(pods))
	}
	for _, p := range pods {
		got, err := b.set.CoreV1().RESTClient().Get().Namespace(p.Namespace).Resource("pods").Name(p.Name + ":8080").SubResource("proxy").Suffix("build").DoRaw(b.ctx)
		if err != nil || string(got) != build+"[-flag]" {
			b.t.Errorf("%s answers %q (%v), and should be %s", p.Name, got, err, build)
		}
	}
}

func (b *bench) pushAll(build string) time.Duration {
	b.t.Helper()
	began := time.Now()
	var wg sync.WaitGroup
	for _, c := range b.running() {
		wg.Go(func() {
			stopped := false
			e, err := b.client.Push(b.ctx, c, b.program(build), func(context.Context) error { stopped = true; return nil })
			if err != nil || e.Build != build || e.PID == 0 || !stopped {
				b.t.Errorf("push: %+v, %v, asked before the start: %v", e, err, stopped)
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

func TestPush(t *testing.T) {
	b := newBench(t, clustertest.Shared(t))
	t.Logf("first push to two pods: %s", b.pushAll("one"))
	b.serves("one")
	t.Logf("second push to two pods, the same program with another environment: %s", b.pushAll("two"))
	b.serves("two")

	// A pod that is replaced waits, and serves no old program.
	victim := b.running()[0]
	must(t, b.set.CoreV1().Pods(victim.Namespace).Delete(b.ctx, victim.Pod, metav1.DeleteOptions{}))
	for _, c := range b.running() {
		e, err := b.client.Now(b.ctx, c)
		must(t, err)
		if old := c.UID != b.running()[0].UID && c.UID != b.running()[1].UID; old {
			t.Errorf("%s is not there any more", c)
		}
		if e.Phase != supervise.PhaseWaiting && e.Build != "two" {
			t.Errorf("%s: %+v", c, e)
		}
		if e.Phase == supervise.PhaseWaiting {
			if _, err := b.client.Push(b.ctx, c, b.program("two"), nil); err != nil {
				t.Error(err)
			}
		}
	}
	b.serves("two")
}

func TestPushFails(t *testing.T) {
	b := newBench(t, clustertest.Shared(t))
	c := b.running()[0]
	p := b.program("x")
	p.Env["LISTEN"] = "no address"
	_, err := b.client.Push(b.ctx, c, p, nil)
	var exited *fastpath.Exited
	if !errors.As(err, &exited) || exited.Code != 3 {
		t.Errorf("a program that ends: %v", err)
	}
	p = b.program("y")
	p.Ready = supervise.Ready{TCP: []int{9}, Timeout: 300 * time.Millisecond}
	_, err = b.client.Push(b.ctx, c, p, nil)
	var late *fastpath.NotReady
	if !errors.As(err, &late) || !strings.Contains(late.What, "refused") {
		t.Errorf("a program that never listens: %v", err)
	}
	refuse := errors.New("the agents could not be told")
	if _, err = b.client.Push(b.ctx, c, b.program("z"), func(context.Context) error { return refuse }); !errors.Is(err, refuse) {
		t.Errorf("what stopped says is lost: %v", err)
	}
	c.Pod = "nobody"
	if _, err = b.client.Push(b.ctx, c, b.program("x"), nil); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("a pod that is not there: %v", err)
	}
}

func TestWatch(t *testing.T) {
	b := newBench(t, clustertest.Shared(t))
	c := b.running()[0]
	if _, err := b.client.Push(b.ctx, c, b.program("one"), nil); err != nil {
		t.Fatal(err)
	}
	var said []string
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	err := b.client.Watch(ctx, c, func(e supervise.Event) {
		said = append(said, fmt.Sprint(e.Phase, " ", e.Code))
		switch e.Phase {
		case supervise.PhaseReady:
			_, _ = b.set.CoreV1().RESTClient().Get().Namespace(c.Namespace).Resource("pods").Name(c.Pod + ":8080").SubResource("proxy").Suffix("exit").DoRaw(b.ctx)
		case supervise.PhaseExited:
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || strings.Join(said, ", ") != "ready 0, exited 7" {
		t.Errorf("watched %v, %v", said, err)
	}
	log, err := b.deployer.Log(b.ctx, c.Namespace, c.Pod, "payment", false)
	if err != nil || !strings.Contains(log, "build one begins") || !strings.Contains(log, "exited with code 7") {
		t.Errorf("log %q, %v", log, err)
	}
}
