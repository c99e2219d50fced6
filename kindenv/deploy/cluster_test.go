package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/kindenv/cluster"
	"github.com/devloop-io/devloop/kindenv/clustertest"
	"github.com/devloop-io/devloop/kindenv/deploy"
	"github.com/devloop-io/devloop/kindenv/image"
)

const app = deploy.ImagePrefix + "deploy-test:1"

// bench is a namespace of a real cluster.
type bench struct {
	t         *testing.T
	ctx       context.Context
	cluster   *cluster.Cluster
	client    kubernetes.Interface
	deployer  *deploy.Deployer
	namespace string
	workspace string

	mu   sync.Mutex
	said []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	c := clustertest.Shared(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	loadApp(t, ctx, c)
	b := &bench{t: t, ctx: ctx, cluster: c, namespace: clustertest.Namespace(t, c), workspace: fmt.Sprintf("%08x", uint32(time.Now().UnixNano()))}
	var err error
	b.client, err = c.Client()
	must(t, err)
	b.deployer, err = deploy.NewDeployer(c.REST())
	must(t, err)
	b.deployer.Say = b.say
	return b
}

func (b *bench) say(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = append(b.said, text)
}

func (b *bench) heard(part string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(strings.Join(b.said, "\n"), part)
}

var loaded sync.Once

// loadApp puts the tests' program into the cluster, on an empty image.
func loadApp(t *testing.T, ctx context.Context, c *cluster.Cluster) {
	loaded.Do(func() {
		arch, err := image.Arch(ctx, c)
		must(t, err)
		out := filepath.Join(t.TempDir(), "app")
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "./testdata/app")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build the tests' program: %v\n%s", err, text)
		}
		img, err := image.Assemble(image.Spec{Name: app, Arch: arch, Entrypoint: []string{"/app"}, Files: []image.File{{Path: "/app", From: out, Mode: 0o755}}})
		must(t, err)
		_, err = image.Load(ctx, c, img)
		must(t, err)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// plan plans a workspace of manifests; a service without a program is the image that the manifests say.
func (b *bench) plan(yaml, manifests string) *deploy.Plan {
	b.t.Helper()
	dir := b.t.TempDir()
	must(b.t, os.WriteFile(filepath.Join(dir, "devloop.yaml"), []byte("version: 1\n"+yaml), 0o600))
	must(b.t, os.WriteFile(filepath.Join(dir, "all.yaml"), []byte(manifests), 0o600))
	cfg, err := config.Load(dir)
	must(b.t, err)
	p, err := deploy.New(deploy.Options{Config: cfg, Namespace: b.namespace, Workspace: b.workspace, Manifests: []config.Manifest{{Path: "all.yaml"}}})
	must(b.t, err)
	return p
}

func (b *bench) apply(p *deploy.Plan) []string {
	b.t.Helper()
	done, err := b.deployer.Apply(b.ctx, p.Objects)
	must(b.t, err)
	return done
}

// deployment is one named x, of a pod with the tests' program.
func deployment(args, container, pod string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: x}
spec:
  selector: {matchLabels: {app: x}}
  template:
    metadata: {labels: {app: x}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: x, image: %q, imagePullPolicy: Never, args: [%s], %s}
%s
---
`, app, args, container, pod)
}

func TestWhyItHangs(t *testing.T) {
	cases := []struct {
		name, manifests string
		reason, what    string // of the error, or what is said while it is waited for
		log             string
	}{
		{name: "image-never", manifests: strings.Replace(deployment("serve", "", ""), app, "devloop.local/none:1", 1), reason: "ErrImageNeverPull", what: "image devloop.local/none:1 cannot be had"},
		{name: "image-pull", manifests: strings.NewReplacer(app, "registry.invalid/none:1", "Never", "IfNotPresent").Replace(deployment("serve", "", "")), what: "image registry.invalid/none:1 cannot be had"},
		{name: "crash-loop", manifests: deployment("exit", "", ""), reason: "CrashLoopBackOff", what: "ends again and again: exit code 3", log: "the database is not there"},
		{name: "readiness", manifests: deployment("serve", "readinessProbe: {periodSeconds: 1, httpGet: {path: /healthz, port: 8080}}", ""), what: "Readiness probe failed: HTTP probe failed with statuscode: 503"},
		{name: "liveness", manifests: deployment("serve", "livenessProbe: {periodSeconds: 1, failureThreshold: 1, httpGet: {path: /healthz, port: 8080}}, readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}", ""), what: "iveness probe failed: HTTP probe failed with statuscode: 503"},
		{name: "cpu", manifests: deployment("serve", "resources: {requests: {cpu: 1000}}", ""), reason: "Unschedulable", what: "Insufficient cpu"},
		{name: "node", manifests: deployment("serve", "", "      nodeSelector: {disk: gold}"), reason: "Unschedulable", what: "node affinity/selector"},
		{name: "quota", manifests: deployment("serve", "", "") + "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: few}\nspec: {hard: {pods: 0}}\n", reason: "FailedCreate", what: "the namespace's quota is used up"},
		{name: "configmap", manifests: deployment("serve", "envFrom: [{configMapRef: {name: settings}}]", ""), reason: "CreateContainerConfigError", what: `configmap "settings" not found`},
		{name: "secret", manifests: deployment("serve", "volumeMounts: [{name: s, mountPath: /s}]", "      volumes: [{name: s, secret: {secretName: token}}]"), reason: "FailedMount", what: `secret "token" not found`},
		{name: "init", manifests: deployment("serve", "", "      initContainers: [{name: migrate, image: \""+app+"\", imagePullPolicy: Never, args: [exit]}]"), reason: "CrashLoopBackOff", what: "init container migrate ends again and again: exit code 3", log: "the database is not there"},
		{name: "memory", manifests: deployment("eat", "resources: {limits: {memory: 64Mi}}", ""), reason: "CrashLoopBackOff", what: "it took more memory than its limit"},
		{name: "volume", manifests: deployment("serve", "volumeMounts: [{name: d, mountPath: /d}]", "      volumes: [{name: d, persistentVolumeClaim: {claimName: data}}]") +
			"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: 1Mi}}}\n",
			reason: "VolumePending", what: "volume claim data is pending, storage class none"},
		{name: "job", manifests: "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x}\nspec: {backoffLimit: 0, template: {spec: {restartPolicy: Never, containers: [{name: x, image: \"" + app + "\", imagePullPolicy: Never, args: [exit]}]}}}\n",
			reason: "BackoffLimitExceeded", what: "it has failed", log: "the database is not there"},
		{name: "statefulset", manifests: strings.NewReplacer("kind: Deployment", "kind: StatefulSet").Replace(deployment("exit", "", "")), reason: "CrashLoopBackOff", what: "exit code 3"},
		{name: "podsecurity", manifests: deployment("serve", "securityContext: {privileged: true}", ""), reason: "PodSecurity", what: "pod security does not allow"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			if c.name == "podsecurity" {
				ns, err := b.client.CoreV1().Namespaces().Get(b.ctx, b.namespace, metav1.GetOptions{})
				must(t, err)
				ns.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
				_, err = b.client.CoreV1().Namespaces().Update(b.ctx, ns, metav1.UpdateOptions{})
				must(t, err)
			}
			p := b.plan("", c.manifests)
			b.apply(p)
			ctx, cancel := context.WithCancel(b.ctx)
			defer cancel()
			began := time.Now()
			var toldAfter time.Duration
			b.deployer.Say = func(text string) {
				if b.say(text); toldAfter == 0 && strings.Contains(text, c.what) {
					if toldAfter = time.Since(began); c.reason == "" {
						cancel()
					}
				}
			}
			err := b.deployer.WaitRest(ctx, p)
			var h *deploy.HangError
			errors.As(err, &h)
			t.Logf("%.1f s (said after %.1f s): %v", time.Since(began).Seconds(), toldAfter.Seconds(), err)
			switch {
			case c.reason == "" && toldAfter == 0 && (h == nil || !strings.Contains(h.What, c.what)):
				t.Errorf("nobody says %q: %v, %v", c.what, b.said, err)
			case c.reason != "" && (h == nil || h.Reason != c.reason || !strings.Contains(h.What, c.what) || !strings.Contains(h.Log, c.log)):
				t.Errorf("got %+v, want %s: %s", h, c.reason, c.what)
			}
			if took := time.Since(began); took > 45*time.Second {
				t.Errorf("told after %s", took)
			}
		})
	}
}

func TestJobIsWaitedFor(t *testing.T) {
	b := newBench(t)
	p := b.plan("", "apiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: x, image: \""+app+"\", imagePullPolicy: Never, args: [done]}]}}}\n---\n"+deployment("serve", "", ""))
	b.apply(p)
	must(t, b.deployer.WaitRest(b.ctx, p))
	job, err := b.client.BatchV1().Jobs(b.namespace).Get(b.ctx, "migrate", metav1.GetOptions{})
	must(t, err)
	if job.Status.Succeeded != 1 {
		t.Errorf("the job has not ended: %+v", job.Status)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestApply: unchanged objects are left alone, changed ones applied, those that are no longer planned deleted, and all is gone
// at the end but what others own.
func TestApply(t *testing.T) {
	b := newBench(t)
	_, err := b.client.CoreV1().ConfigMaps(b.namespace).Create(b.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}, Data: map[string]string{"a": "1"}}, metav1.CreateOptions{})
	must(t, err)
	var many strings.Builder
	for i := range 22 {
		fmt.Fprintf(&many, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d}\ndata: {a: \"1\"}\n---\n", i)
	}
	shop := many.String() + deployment("serve", "", "") + "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {selector: {app: x}, ports: [{port: 8080}]}\n"
	p := b.plan("", shop)
	var asked atomic.Int64
	config := b.cluster.REST()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			asked.Add(1)
			return next.RoundTrip(r)
		})
	})
	b.deployer, err = deploy.NewDeployer(config)
	must(t, err)
	b.deployer.Say = b.say
	began := time.Now()
	first := b.apply(p)
	took := time.Since(began)
	began = time.Now()
	asked.Store(0)
	again := b.apply(b.plan("", shop))
	t.Logf("%d objects: applied in %s; unchanged %s and %d requests", len(p.Objects), took, time.Since(began), asked.Load())
	if len(first) != len(p.Objects) || len(again) != 0 {
		t.Errorf("applied %v, then %v", first, again)
	}
	if n := asked.Load(); n > 5 { // many of a kind are listed
		t.Errorf("an unchanged plan takes %d requests", n)
	}
	must(t, b.deployer.WaitRest(b.ctx, p))

	p = b.plan("", strings.Replace(shop, "metadata: {name: c7}\ndata: {a: \"1\"}", "metadata: {name: c70}", 1))
	if got := b.apply(p); strings.Join(got, " ") != "configmap/c70" {
		t.Errorf("applied %v", got)
	}
	began = time.Now()
	pruned, err := b.deployer.Prune(b.ctx, p)
	must(t, err)
	t.Logf("pruned in %s", time.Since(began))
	if strings.Join(pruned, " ") != "configmap/c7" {
		t.Errorf("pruned %v", pruned)
	}

	removed, err := b.deployer.Remove(b.ctx, b.workspace)
	must(t, err)
	if len(removed) < len(p.Objects) {
		t.Errorf("removed %v", removed)
	}
	pods, err := b.client.CoreV1().Pods(b.namespace).List(b.ctx, metav1.ListOptions{})
	must(t, err)
	if len(pods.Items) > 0 {
		t.Errorf("%d pods are left", len(pods.Items))
	}
	if _, err := b.client.CoreV1().ConfigMaps(b.namespace).Get(b.ctx, "theirs", metav1.GetOptions{}); err != nil {
		t.Errorf("what others own is gone, or its namespace: %v", err)
	}
}

func TestLeftoversAreNamed(t *testing.T) {
	b := newBench(t)
	b.apply(b.plan("", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [example.com/held]}\n"))
	ctx, giveUp := context.WithCancel(b.ctx)
	defer giveUp()
	failed := make(chan error, 1)
	go func() {
		_, err := b.deployer.Remove(ctx, b.workspace)
		failed <- err
	}()
	for { // until the object is asked to go; b.ctx bounds it
		held, err := b.client.CoreV1().ConfigMaps(b.namespace).Get(b.ctx, "held", metav1.GetOptions{})
		must(t, err)
		if held.DeletionTimestamp != nil {
			break
		}
	}
	giveUp()
	err := <-failed
	if err == nil || !strings.Contains(err.Error(), "configmap/held (finalizers: example.com/held) did not go") {
		t.Errorf("Remove: %v", err)
	}
	_, err = b.client.CoreV1().ConfigMaps(b.namespace).Patch(b.ctx, "held", "application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	must(t, err)
}

// TestRefused: what the cluster does not take is told by object, place and field.
func TestRefused(t *testing.T) {
	b := newBench(t)
	_, err := b.client.CoreV1().ConfigMaps(b.namespace).Create(b.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}, Data: map[string]string{"a": "1"}}, metav1.CreateOptions{FieldManager: "office"})
	must(t, err)
	for _, c := range []struct{ name, manifest, want string }{
		{"field", "\n# x\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 99999}]}\n", "all.yaml:3: apply service/s: the cluster does not take it: spec.ports[0].port: Invalid value: 99999"},
		{"unknown", "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {portz: []}\n", "all.yaml:1: apply service/s: the cluster does not take it: .spec.portz: field not declared in schema"},
		{"type", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\ndata: {a: [1]}\n", "apply configmap/s: the cluster does not take it"},
		{"kind", "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: s}\n", "apply thing/s: the cluster knows no Thing of example.com/v1: the CustomResourceDefinition is missing"},
		{"namespace", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s, namespace: nowhere-at-all}\n", "there is no namespace nowhere-at-all"},
		{"conflict", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs}\ndata: {a: \"2\"}\n", `apply configmap/theirs: others set these fields: .data.a ("office"`},
	} {
		_, err := b.deployer.Apply(b.ctx, b.plan("", c.manifest).Objects)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

func TestForbidden(t *testing.T) {
	b := newBench(t)
	config := b.cluster.REST()
	config.Impersonate.UserName, config.Impersonate.Groups = "ada", []string{"system:authenticated"}
	d, err := deploy.NewDeployer(config)
	must(t, err)
	_, err = d.Apply(b.ctx, b.plan("", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n").Objects)
	want := "user ada may not get configmaps in namespace " + b.namespace
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestAnotherSelector: what Kubernetes does not let change is deleted and made again, where it is ours.
func TestAnotherSelector(t *testing.T) {
	b := newBench(t)
	one := deployment("serve", "", "")
	b.apply(b.plan("", one))
	p := b.plan("", strings.ReplaceAll(one, "app: x", "app: other"))
	b.apply(p)
	must(t, b.deployer.WaitRest(b.ctx, p))
	if !b.heard("deployment/x: its spec.selector changed, which Kubernetes does not allow: it is deleted and made again") {
		t.Errorf("said %v", b.said)
	}
}

// TestWaitLeft: pods on their way out are waited for until they have ended, or the nodes know that they are.
func TestWaitLeft(t *testing.T) {
	for _, c := range []struct {
		name, lingers string // for so many seconds
		left          bool   // the pod of the revision before
	}{
		{"ends", "4", false},
		{"lingers", "20", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			one := strings.Replace(deployment("linger", "", ""), "terminationGracePeriodSeconds: 0", "terminationGracePeriodSeconds: "+c.lingers, 1)
			b.apply(b.plan("", one))
			must(t, b.deployer.WaitRest(b.ctx, b.plan("", one)))
			p := b.plan("", strings.Replace(one, "args: [linger]", "args: [serve]", 1))
			b.apply(p)
			must(t, b.deployer.WaitRest(b.ctx, p))
			leaving := func() (n int) {
				pods, err := b.client.CoreV1().Pods(b.namespace).List(b.ctx, metav1.ListOptions{LabelSelector: "app=x"})
				must(t, err)
				for _, pod := range pods.Items {
					if pod.DeletionTimestamp != nil && pod.Status.ContainerStatuses[0].State.Running != nil {
						n++
					}
				}
				return n
			}
			began := time.Now()
			must(t, b.deployer.WaitLeft(b.ctx, p, deploy.Service{Name: "x", Selector: map[string]string{"app": "x"}}))
			if got := leaving() > 0; got != c.left {
				t.Errorf("after %s a pod of the revision before is left: %t, want %t", time.Since(began), got, c.left)
			}
		})
	}
}

// TestStatefulSetIsUnblocked: a revision that fails does not block the one that mends it.
func TestStatefulSetIsUnblocked(t *testing.T) {
	b := newBench(t)
	set := strings.Replace(deployment("exit", "", ""), "kind: Deployment", "kind: StatefulSet", 1)
	p := b.plan("", set)
	b.apply(p)
	if err := b.deployer.WaitRest(b.ctx, p); err == nil {
		t.Error("it came up")
	}
	p = b.plan("", strings.Replace(set, "args: [exit]", "args: [serve]", 1))
	b.apply(p)
	must(t, b.deployer.WaitRest(b.ctx, p))
}

func TestNamespaceGoesUnderUs(t *testing.T) {
	b := newBench(t)
	b.namespace += "-own"
	p := b.plan("", deployment("serve", "readinessProbe: {periodSeconds: 1, httpGet: {path: /healthz, port: 8080}}", ""))
	must(t, b.deployer.Namespace(b.ctx, p))
	b.apply(p)
	go func() {
		_ = b.client.CoreV1().Namespaces().Delete(b.ctx, b.namespace, metav1.DeleteOptions{})
	}()
	err := b.deployer.WaitRest(b.ctx, p)
	if err == nil || !strings.Contains(err.Error(), "namespace "+b.namespace+" is being deleted by somebody else") {
		t.Errorf("wait: %v", err)
	}
	// A namespace on its way out is waited for, and made again.
	must(t, b.deployer.Namespace(b.ctx, p))
	ns, err := b.client.CoreV1().Namespaces().Get(b.ctx, b.namespace, metav1.GetOptions{})
	must(t, err)
	if ns.DeletionTimestamp != nil || ns.Labels[deploy.LabelWorkspace] != b.workspace {
		t.Errorf("namespace %+v", ns.ObjectMeta)
	}
	_, err = b.deployer.Remove(b.ctx, b.workspace)
	must(t, err)
	if _, err := b.client.CoreV1().Namespaces().Get(b.ctx, b.namespace, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the namespace is still there: %v", err)
	}
}
