//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devloop-io/devloop/kindenv"
	"github.com/devloop-io/devloop/kindenv/clustertest"
)

// looker is an agent's MCP client in a folder without devloop.yaml.
type looker struct {
	t       *testing.T
	ctx     context.Context
	session *mcp.ClientSession
}

// look starts devloop mcp in a folder without devloop.yaml. What it keeps goes with the test.
func look(ctx context.Context, t *testing.T, args ...string) *looker {
	t.Helper()
	w := &workspace{t: t, dir: t.TempDir()}
	cmd := w.command(ctx, append([]string{"mcp"}, args...)...)
	cache := t.TempDir()
	cmd.Env = append(cmd.Env, "XDG_CACHE_HOME="+cache, "KUBECONFIG=/nonexistent")
	session, err := mcp.NewClient(&mcp.Implementation{Name: "scripted", Version: "1"}, nil).Connect(ctx, &mcp.CommandTransport{Command: cmd}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		session.Close()
		endObservers(t, cache)
	})
	return &looker{t, ctx, session}
}

// endObservers ends the daemons that were started for a cache folder, by the processes that have it in their environment.
func endObservers(t *testing.T, cache string) {
	t.Helper()
	eventually(t, "the daemon that looked has ended", func() bool {
		pid := process("XDG_CACHE_HOME=" + cache)
		if pid == 0 {
			return true
		}
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Signal(os.Interrupt)
		}
		return false
	})
}

// ask calls a tool; what it refuses is a sentence.
func (l *looker) ask(tool string, arguments map[string]any, answer any) (refused string) {
	l.t.Helper()
	r, err := l.session.CallTool(l.ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		return err.Error()
	}
	if r.IsError {
		return r.Content[0].(*mcp.TextContent).Text
	}
	b, err := json.Marshal(r.StructuredContent)
	if err == nil && answer != nil {
		err = json.Unmarshal(b, answer)
	}
	if err != nil {
		l.t.Fatalf("%s: %v", tool, err)
	}
	return ""
}

// calls counts those to a path.
func (l *looker) calls(db, path string) int {
	l.t.Helper()
	var a struct{ Total int }
	arguments := map[string]any{"kfl": `http && path == "` + path + `"`}
	if db != "" {
		arguments["db"] = db
	}
	if refused := l.ask("list_api_calls", arguments, &a); refused != "" {
		l.t.Fatalf("list_api_calls: %s", refused)
	}
	return a.Total
}

// snapshot makes one of a window and dissects it.
func (l *looker) snapshot(name string, start, end time.Time) (db, note string) {
	l.t.Helper()
	if refused := l.ask("create_snapshot", map[string]any{"name": name, "start": start.UnixMilli(), "end": end.UnixMilli()}, nil); refused != "" {
		l.t.Fatalf("create_snapshot: %s", refused)
	}
	var s struct{ Status, Error, Note string }
	eventually(l.t, "the snapshot is there", func() bool {
		if refused := l.ask("get_snapshot", map[string]any{"id": name}, &s); refused != "" || s.Status == "failed" {
			l.t.Fatalf("get_snapshot: %s%s", refused, s.Error)
		}
		return s.Status == "completed"
	})
	if refused := l.ask("start_snapshot_dissection", map[string]any{"snapshot_id": name, "name": "rows"}, nil); refused != "" {
		l.t.Fatalf("start_snapshot_dissection: %s", refused)
	}
	eventually(l.t, "it is dissected", func() bool {
		var d struct{ Status string }
		return l.ask("get_snapshot_dissection_status", map[string]any{"snapshot_id": name, "name": "rows"}, &d) == "" && d.Status == "completed"
	})
	return name + "/rows", s.Note
}

// TestKindObserved looks at a cluster from a folder without devloop.yaml: live and in snapshots there is what the agents
// captured, before as well as after; nothing can be changed; and what is in the way is told with the next command. What the
// nodes kept while no daemon listened is in the snapshots of the workspace's next daemon too.
func TestKindObserved(t *testing.T) {
	w := inKind(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*commandTimeout)
	defer cancel()
	drive := func(path string, n int) {
		t.Helper()
		for range n {
			if _, err := w.client.CoreV1().Services(w.namespace).ProxyGet("http", "echo", "8080", path, nil).DoRaw(ctx); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
		}
	}
	says := func(text string, wanted ...string) {
		t.Helper()
		for _, want := range wanted {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in %q", want, text)
			}
		}
	}
	config := "--kubeconfig=" + w.c.Kubeconfig

	says(look(ctx, t, config, "--namespace", w.namespace).ask("list_api_calls", nil, nil), "no devloop agent runs in the cluster", "devloop up --env cluster")
	says(look(ctx, t, config, "--context", "elsewhere").ask("list_api_calls", nil, nil), `no context "elsewhere"`, w.c.Context, "kubectl config get-contexts")
	says(look(ctx, t, "--kubeconfig", "/nonexistent").ask("list_api_calls", nil, nil), "read the kubeconfig", "--kubeconfig names another file")

	w.passes("the first run")
	if err := w.leave(); err != nil {
		t.Fatal(err)
	}
	objects := func() string {
		t.Helper()
		d, err := w.client.AppsV1().DaemonSets("devloop-agent-"+w.hash).List(ctx, metav1.ListOptions{})
		if err != nil || len(d.Items) != 1 {
			t.Fatalf("%v, %v", d, err)
		}
		s, err := w.client.CoreV1().Secrets("devloop-agent-"+w.hash).List(ctx, metav1.ListOptions{})
		if err != nil || len(s.Items) == 0 {
			t.Fatal(err)
		}
		e, err := w.client.AppsV1().Deployments(w.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		versions := d.Items[0].ResourceVersion + " " + s.Items[0].ResourceVersion
		for _, x := range e.Items {
			versions += " " + x.Name + " " + x.ResourceVersion
		}
		return versions
	}
	before := objects()
	began := time.Now()
	drive("/before", 5) // nobody listens

	says(look(ctx, t, config, "--namespace", "kube-public").ask("list_api_calls", nil, nil), "capture pods of "+w.namespace+", and none of namespace kube-public", "devloop capture configure --namespace kube-public")

	l := look(ctx, t, config, "--namespace", w.namespace)
	eventually(t, "what was captured before is there", func() bool { return l.calls("", "/before") == 5 })
	drive("/after", 4)
	eventually(t, "what is captured now is there", func() bool { return l.calls("", "/after") == 4 })
	ended := time.Now()
	db, note := l.snapshot("both", began, ended)
	if b, a := l.calls(db, "/before"), l.calls(db, "/after"); b != 5 || a != 4 || note != "" {
		t.Errorf("the snapshot has %d calls from before and %d from after, note %q", b, a, note)
	}
	var m struct {
		Nodes []struct{ Name string }
		Edges []any
	}
	if refused := l.ask("get_service_map", nil, &m); refused != "" || len(m.Edges) == 0 {
		t.Errorf("map: %s %+v", refused, m)
	}
	var flows struct{ Flows []any }
	if refused := l.ask("list_l4_flows", nil, &flows); refused != "" || len(flows.Flows) == 0 {
		t.Errorf("flows: %s %+v", refused, flows)
	}
	var st struct {
		State, Environment string
		Pods               []string `json:"targeted_pods"`
		Nodes              []struct{ OK bool }
	}
	if refused := l.ask("check_capture_status", nil, &st); refused != "" || st.State != "capturing" || len(st.Pods) == 0 || len(st.Nodes) != 1 || !st.Nodes[0].OK {
		t.Errorf("capture: %s %+v", refused, st)
	}
	tools, err := l.session.ListTools(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range tools.Tools {
		if name := tool.Name; strings.HasPrefix(name, "loop_") || strings.Contains(name, "capture") && strings.Contains("configure start stop", strings.SplitN(name, "_", 2)[0]) {
			t.Errorf("tool %s is offered", name)
		}
	}
	if after := objects(); after != before {
		t.Errorf("the cluster's objects were %s and are %s", before, after)
	}

	ns := clustertest.Namespace(t, w.c)
	for name, c := range map[string]struct {
		rules []rbacv1.PolicyRule
		words []string
	}{
		"nobody":  {nil, []string{"may not list pods in all namespaces", "kubectl auth can-i list pods"}},
		"podsome": {[]rbacv1.PolicyRule{rule("", "pods", "get", "list", "watch")}, []string{"may not get secrets in namespace devloop-agent-" + w.hash, "kubectl auth can-i get secrets"}},
		"almost":  {[]rbacv1.PolicyRule{rule("", "pods", "get", "list", "watch"), rule("", "secrets", "get")}, []string{"may not create pods/portforward in namespace devloop-agent-" + w.hash}},
	} {
		w.kubeconfig("", w.account(ctx, ns, name, c.rules...))
		says(look(ctx, t, "--kubeconfig", w.dir+"/kubeconfig", "--namespace", w.namespace).ask("list_api_calls", nil, nil), c.words...)
	}

	w.in(kindenv.Kind)
	// The workspace's own daemon, which comes later still.
	w.passes("the second run")
	own, err := mcp.NewClient(&mcp.Implementation{Name: "scripted", Version: "1"}, nil).Connect(ctx, &mcp.CommandTransport{Command: w.command(ctx, "mcp", "--toolsets", "all")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	o := &looker{t, ctx, own}
	db, note = o.snapshot("away", began, time.Now())
	if b, a := o.calls(db, "/before"), o.calls(db, "/after"); b != 5 || a != 4 || note != "" {
		t.Errorf("the snapshot of the time without a daemon has %d calls and %d, note %q", b, a, note)
	}
	if refused := o.ask("create_snapshot", map[string]any{"name": "elsewhere", "duration": "1m", "nodes": []string{"node-of-another-cluster"}}, nil); !strings.Contains(refused, "node-of-another-cluster") {
		t.Errorf("another cluster's node: %q", refused)
	}
}
