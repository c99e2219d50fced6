//go:build linux

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/devloop-io/devloop/kindenv"
	"github.com/devloop-io/devloop/kindenv/cluster"
	"github.com/devloop-io/devloop/kindenv/clustertest"
	"github.com/devloop-io/devloop/localenv"
	"github.com/devloop-io/devloop/traffic"
)

const echoInKind = `version: 1
services:
  echo:
    go: ./cmd/echo
    ports: {http: 8080}
    env: {LISTEN: ":8080"}
    hosts: [HOST]
    outside: true
    ready: {http: {path: /healthz}}
exercises:
  greet:
    default: true
    steps:
      - http: {url: "http://echo:8080/", repeat: 3, expect_status: 200}
  held:
    steps:
      - http: {url: "http://echo:8080/", repeat: 3, expect_status: 200}
      - run: sh -c 'touch half; for i in $(seq 600); do test -e go && exit; sleep 0.1; done; exit 1'
      - http: {url: "http://echo:8080/", repeat: 3, expect_status: 200}
environment:
  default: ENVIRONMENT
  kind: {name: CLUSTER, namespace: NAMESPACE}
  cluster: {kubeconfig: kubeconfig, context: kind-CLUSTER, namespace: NAMESPACE}
checks: ["*.netcheck.yaml"]
`

// echoed is a workspace with one small service in the shared cluster.
type echoed struct {
	*workspace
	test      *testing.T
	c         *cluster.Cluster
	client    kubernetes.Interface
	namespace string
	hash      string
}

func inKind(t *testing.T) *echoed {
	t.Helper()
	c := clustertest.Shared(t)
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &echoed{test: t, workspace: &workspace{t: t, dir: dir}, c: c, client: client, namespace: "echo-" + localenv.Hash(dir), hash: localenv.Hash(dir)}
	w.in(kindenv.Kind)
	w.write("echo.netcheck.yaml", tinyChecks)
	w.write("go.mod", "module echo\n\ngo 1.26\n")
	if err := os.MkdirAll(filepath.Join(dir, "cmd", "echo"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.write("cmd/echo/main.go", echoSource)
	t.Cleanup(func() {
		if t.Failed() {
			w.dumpLog()
		}
		if code, _, stderr := w.devloop("down", "--keep-cluster"); code != 0 {
			t.Errorf("devloop down: exit %d\n%s", code, stderr)
		}
	})
	return w
}

// in writes the workspace's configuration: environment kind, or cluster by the file kubeconfig.
func (w *echoed) in(environment string) {
	w.write("devloop.yaml", strings.NewReplacer("CLUSTER", w.c.Name, "NAMESPACE", w.namespace, "ENVIRONMENT", environment,
		"HOST", "echo-"+w.hash+".outside.example").Replace(echoInKind))
}

// agent is the agent's pod, when there is one that runs.
func (w *echoed) agent(ctx context.Context) *corev1.Pod {
	list, err := w.client.CoreV1().Pods("devloop-agent-"+w.hash).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
			return &p
		}
	}
	return nil
}

// process is the process of this machine whose environment holds the words; a node is a container of its engine.
func process(words string) int {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && slices.Contains(strings.Split(string(b), "\x00"), words) {
			pid, _ := strconv.Atoi(strings.Split(f, "/")[2])
			return pid
		}
	}
	return 0
}

// recorded returns when the agents have recorded what passed until now: before, a process that is killed takes it along.
func (w *echoed) recorded(ctx context.Context) {
	w.test.Helper()
	now := time.Now().UnixMilli()
	c, err := w.workspace.client()
	if err != nil {
		w.test.Fatal(err)
	}
	eventually(w.test, "the agents have recorded the first half", func() bool {
		st, err := c.Capture(ctx)
		return err == nil && len(st.Nodes) > 0 && st.Nodes[0].Newest >= now // the service's probes go on
	})
}

// during runs an exercise, does something in its middle, and returns the judged iteration.
func (w *echoed) during(do func(context.Context)) *traffic.Iteration {
	w.test.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	for _, name := range []string{"half", "go"} {
		_ = os.Remove(filepath.Join(w.dir, name))
	}
	done := make(chan *traffic.Iteration, 1)
	go func() { done <- w.run("--exercise", "held") }()
	eventually(w.test, "the exercise is in its middle", func() bool {
		_, err := os.Stat(filepath.Join(w.dir, "half"))
		return err == nil
	})
	w.recorded(ctx)
	do(ctx)
	w.write("go", "")
	return <-done
}

// costs wants a verdict that says what it lacks, and one after it that lacks nothing.
func (w *echoed) costs(what string, it *traffic.Iteration) {
	w.test.Helper()
	phases(w.test, what, it)
	if it.Verdict != traffic.Inconclusive || it.Account == nil || it.Account.Dropped == 0 || it.Snapshot == "" {
		w.test.Errorf("%s: %s, failure %+v, account %+v\n%s", what, it.Verdict, it.Failure, it.Account, explain(it.Checks))
	}
	w.wholeAgain("after " + what)
}

// wholeAgain wants a verdict that lacks nothing. What was lost before becomes known with the next packet of its connection, which is late
// now and then: then the verdict after that one.
func (w *echoed) wholeAgain(what string) {
	w.test.Helper()
	it := w.run()
	if it.Verdict == traffic.Inconclusive && it.Account.Dropped == 0 {
		lacks := slices.DeleteFunc(w.captured(it).conns, func(c *traffic.Connection) bool { return c.WindowMissing == 0 })
		if len(lacks) > 0 && !slices.ContainsFunc(lacks, func(c *traffic.Connection) bool { return c.Start >= it.Started || c.WindowCalls > 0 }) {
			w.test.Logf("%s: %d bytes of before were found to be missing", what, it.Account.Missing)
			it = w.run()
		}
	}
	w.lacksNothing(what, it)
}

func (w *echoed) passes(what string) *traffic.Iteration {
	w.test.Helper()
	it := w.run()
	w.lacksNothing(what, it)
	return it
}

func (w *echoed) lacksNothing(what string, it *traffic.Iteration) {
	w.test.Helper()
	phases(w.test, what, it)
	if it.Verdict != traffic.Pass || it.Account.Dropped > 0 {
		w.test.Errorf("%s: %s, failure %+v, warnings %v\n%s", what, it.Verdict, it.Failure, it.Warnings, explain(not(it, traffic.Pass)))
	}
}

// TestKindKilled kills what watches during an exercise: the snapshot is sealed all the same, the verdict is inconclusive
// and says why, and the next one is whole again.
func TestKindKilled(t *testing.T) {
	w := inKind(t)
	first := w.passes("first")
	w.costs("the agent was killed", w.during(func(ctx context.Context) {
		pod := w.agent(ctx)
		pid := process("DEVLOOP_AGENT_POD_UID=" + string(pod.UID))
		if err := syscall.Kill(pid, syscall.SIGKILL); pid == 0 || err != nil {
			t.Errorf("kill the agent, process %d: %v", pid, err)
		}
	}))
	w.costs("the agent's pod was deleted", w.during(func(ctx context.Context) {
		pod, now := w.agent(ctx), int64(0)
		running := "DEVLOOP_AGENT_POD_UID=" + string(pod.UID)
		if process(running) == 0 {
			t.Error("the agent's process is not found")
		}
		if err := w.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			t.Error(err)
		}
		// The pod is gone from the API before its process is: what that one still captures is not lost.
		eventually(t, "the agent's process is gone", func() bool { return process(running) == 0 })
		eventually(t, "another agent runs", func() bool {
			p := w.agent(ctx)
			return p != nil && p.UID != pod.UID
		})
	}))
	it := w.during(func(ctx context.Context) {
		pods, err := w.client.CoreV1().Pods(w.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=echo"})
		if err != nil || len(pods.Items) != 1 {
			t.Fatalf("%d pods, %v", len(pods.Items), err)
		}
		now := int64(0)
		if err := w.client.CoreV1().Pods(w.namespace).Delete(ctx, pods.Items[0].Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			t.Error(err)
		}
	})
	phases(t, "a pod was replaced", it)
	if it.ExitCode == 0 || it.Verdict == traffic.Pass {
		t.Errorf("a pod was replaced: %s, exit %d, failure %+v, warnings %v", it.Verdict, it.ExitCode, it.Failure, it.Warnings)
	}
	w.passes("after a pod was replaced")
	// The daemon: what it made stays, the next one finds it and sends nothing.
	daemon := w.daemon()
	if err := syscall.Kill(daemon, syscall.SIGKILL); err != nil || daemon == 0 {
		t.Fatalf("kill the daemon, process %d: %v", daemon, err)
	}
	again := w.passes("after the daemon was killed")
	if again.Revision != first.Revision {
		t.Errorf("revision %s became %s, and nothing was changed", first.Revision, again.Revision)
	}
	w.says(0, nil, "snapshot", "verify", first.Snapshot)
	w.says(0, nil, "down", "--keep-cluster")
	w.leavesNothing()
}

// daemon is the process that serves the workspace.
func (w *echoed) daemon() int {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "\x00daemon\x00") && strings.Contains(string(b), w.dir) {
			pid, _ := strconv.Atoi(strings.Split(f, "/")[2])
			return pid
		}
	}
	return 0
}

// leavesNothing looks for what a workspace has in a cluster and on this machine.
func (w *echoed) leavesNothing() {
	w.test.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, name := range []string{w.namespace, "devloop-agent-" + w.hash} {
		if _, err := w.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{}); err == nil {
			w.test.Errorf("namespace %s is left", name)
		}
	}
	dns, err := w.client.CoreV1().ConfigMaps("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
	if err != nil || strings.Contains(dns.Data["Corefile"], w.hash) {
		w.test.Errorf("lines of the name server are left (%v):\n%s", err, dns.Data["Corefile"])
	}
	eventually(w.test, "the daemon ends", func() bool { return w.daemon() == 0 })
	if _, err := os.Stat(filepath.Join(w.dir, ".devloop", "cluster.json")); err == nil {
		w.test.Error("cluster.json is left")
	}
}
