package kindenv_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/kindenv"
	"github.com/devloop-io/devloop/kindenv/cluster"
	"github.com/devloop-io/devloop/kindenv/clustertest"
	"github.com/devloop-io/devloop/traffic"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// compile builds a package of this module for the cluster's nodes.
func compile(ctx context.Context, pkg, arch, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

func tool(ctx context.Context, name, arch string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "tool-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, name)
	if err := compile(ctx, "../cmd/"+name, arch, out); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

// recording keeps packets and dissects them.
type recording struct {
	mu      sync.Mutex
	packets []traffic.Packet
}

func (r *recording) emit(p *traffic.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := *p
	c.Data = append([]byte(nil), p.Data...)
	r.packets = append(r.packets, c)
}

func (r *recording) calls(ifaces []traffic.Interface, ids []traffic.Identity) []*traffic.Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	var calls []*traffic.Call
	d := dissect.New(dissect.Options{
		Node: "kind", OnCall: func(c *traffic.Call) { calls = append(calls, c) },
		Resolve: func(ip netip.Addr, at int64) (traffic.Workload, bool) {
			for _, id := range ids {
				if id.IP == ip && id.From <= at && (id.To == 0 || at < id.To) {
					return id.Workload, true
				}
			}
			return traffic.Workload{}, false
		},
	})
	for i := range r.packets {
		r.packets[i].Number = uint64(i + 1)
		d.Packet(&r.packets[i], &ifaces[r.packets[i].Interface])
	}
	d.EndWindow()
	return calls
}

func TestEnv(t *testing.T) {
	c := clustertest.Shared(t)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS("testdata/pair")))
	cfg, err := config.Load(dir)
	must(t, err)
	cfg.Environment.Kind.Name, cfg.Environment.Kind.Namespace = c.Name, "pair"
	began := time.Now()
	e, err := kindenv.New(ctx, kindenv.Options{
		Workspace: dir, Config: cfg, Where: kindenv.Kind, Hash: "0badc0de", Tool: tool, Say: func(s string) { t.Log(s) },
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	must(t, err)
	t.Cleanup(func() {
		late, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := e.Down(late, false); err != nil {
			t.Error(err)
		}
		home, err := cluster.Home()
		must(t, err)
		if _, err := home.Attach(late, c.Name); err != nil {
			t.Errorf("the shared cluster is gone: %v", err)
		}
	})
	t.Logf("attached in %s", time.Since(began))
	began = time.Now()
	source, why, err := e.Capture(ctx, func(err error) { t.Error(err) })
	must(t, err)
	if why != "" {
		t.Errorf("capture is degraded: %s", why)
	}
	t.Logf("agents in %s", time.Since(began))
	rec := &recording{}
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := source.Run(running, rec.emit); err != nil {
			t.Error(err)
		}
	})
	defer func() { stop(); wg.Wait(); source.Close() }()
	began = time.Now()
	must(t, e.StartDependencies(ctx))
	t.Logf("dependencies in %s", time.Since(began))
	start := func(name, build string) {
		t.Helper()
		began := time.Now()
		out := filepath.Join(dir, name)
		must(t, compile(ctx, "./testdata/pair/"+strings.TrimPrefix(cfg.Services[name].Go, "./"), e.Arch(), out))
		env := map[string]string{"BUILD": build}
		for k, v := range cfg.Services[name].Env {
			env[k] = v
		}
		compiled := time.Now()
		must(t, e.Start(ctx, name, kindenv.Build{ID: build, Program: out, Env: env}))
		t.Logf("%s compiled in %s, serves in %s", name, compiled.Sub(began), time.Since(compiled))
	}
	start("vendor", "v1")
	start("back", "b1")
	start("front", "f1")
	proxy, err := e.Proxy()
	must(t, err)
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}, Timeout: 10 * time.Second}
	ask := func(want string) {
		t.Helper()
		res, err := client.Get("http://front/ask")
		must(t, err)
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil || string(text) != want {
			t.Errorf("got %q, %v, want %q", text, err, want)
		}
	}
	ask("build b1\nbuild v1\n")
	start("back", "b2")
	ask("build b2\nbuild v1\n")
	must(t, source.Flush(ctx))
	found := map[string]int{}
	for _, call := range rec.calls(source.Interfaces(), e.Identities()) {
		if call.Protocol == traffic.ProtoHTTP && !call.Background {
			found[fmt.Sprintf("%s %s@%s > %s %s@%s %s %d", call.Src.Kind, call.Src.Service, call.Src.Build, call.Dst.Kind, call.Dst.Service, call.Dst.Build, call.Path, call.Status)]++
		}
	}
	for _, want := range []string{
		"exercise exercise@ > service front@f1 /ask 200", "service front@f1 > service back@b1 /answer 200",
		"service front@f1 > service back@b2 /answer 200", "service front@f1 > service vendor@v1 /answer 200",
	} {
		if found[want] == 0 {
			t.Errorf("no call %q", want)
		}
		delete(found, want)
	}
	if len(found) > 0 {
		t.Errorf("also found %v", found)
	}
	if wrong, err := e.Verify(ctx); err != nil || len(wrong) > 0 {
		t.Errorf("verify: %v, %v", wrong, err)
	}
	_, _ = client.Get("http://vendor/die")
	select {
	case crash := <-e.Crashes():
		if crash.Service != "vendor" || !strings.Contains(crash.What, "exited with code 4") {
			t.Errorf("crash %+v", crash)
		}
	case <-ctx.Done():
		t.Error("nobody tells of the crash")
	}
}
