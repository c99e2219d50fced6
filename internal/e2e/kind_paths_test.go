//go:build linux

package e2e

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/internal/agentbin"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/kindenv"
	"github.com/devloop-io/devloop/traffic"
)

// recording keeps packets, to dissect them when all were seen.
type recording struct {
	mu      sync.Mutex
	packets []traffic.Packet
}

func (r *recording) emit(p *traffic.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := *p
	c.Data = slices.Clone(p.Data)
	r.packets = append(r.packets, c)
}

func (r *recording) dissect(ifaces []traffic.Interface, ids []traffic.Identity) (calls []*traffic.Call, conns map[uint64]*traffic.Connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	conns = map[uint64]*traffic.Connection{}
	d := dissect.New(dissect.Options{
		Node: "kind", OnCall: func(c *traffic.Call) { calls = append(calls, c) }, OnConnection: func(c *traffic.Connection) { conns[c.ID] = c },
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
	dissect.Settle(calls, slices.Collect(maps.Values(conns))) // nodes deliver at different times
	return calls, conns
}

// made are the programs for nodes that were made in this process, by name and processor.
var made sync.Map

// forNodes makes a program for nodes once. devloop itself has them embedded.
func forNodes(ctx context.Context, name, arch string) ([]byte, error) {
	if b, ok := made.Load(name + arch); ok {
		return b.([]byte), nil
	}
	b, err := agentbin.Binary(ctx, name, arch)
	if err == nil {
		made.Store(name+arch, b)
	}
	return b, err
}

// inProcess attaches to a cluster for a workspace of testdata, without a daemon. What it has in the cluster goes with the
// test.
func inProcess(ctx context.Context, t testing.TB, name, cluster, hash string) (*kindenv.Env, *config.Config) {
	t.Helper()
	cfg, err := config.Load(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Environment.Kind.Name, cfg.Environment.Kind.Namespace = cluster, name
	e, err := kindenv.New(ctx, kindenv.Options{
		Workspace: cfg.Dir, StateDir: t.TempDir(), Config: cfg, Where: kindenv.Kind, Hash: hash, Say: func(s string) { t.Log(s) }, Tool: forNodes,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		late, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := e.Down(late, false); err != nil {
			t.Error(err)
		}
	})
	return e, cfg
}

// everyWay has one pod call others in all the ways that there are on several nodes: each call is there once, with both ends
// named. It is a workspace of its own, beside others of the cluster.
func everyWay(t *testing.T, cluster string) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	began := time.Now()
	phase := func(what string) {
		t.Logf("%6.1f s %s", time.Since(began).Seconds(), what)
		began = time.Now()
	}
	e, cfg := inProcess(ctx, t, "paths", cluster, "9a7550b1")
	tools := t.TempDir()
	phase("attach")
	source, why, err := e.Capture(ctx, func(err error) { t.Error(err) })
	if err != nil || why != "" {
		t.Fatalf("capture: %v, %s", err, why)
	}
	phase("agents")
	var rec recording
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := source.Run(running, rec.emit); err != nil {
			t.Error(err)
		}
	})
	defer func() { stop(); wg.Wait(); source.Close() }()
	if err := e.StartDependencies(ctx); err != nil {
		t.Fatal(err)
	}
	phase("namespace, proxy")
	program := filepath.Join(tools, "node")
	if err := compiled(ctx, "./internal/e2e/testdata/paths/cmd/node", e.Arch(), program); err != nil {
		t.Fatal(err)
	}
	phase("build")
	for _, service := range []string{"asker", "near", "far", "host"} { // near and far are placed by where asker is
		if err := e.Start(ctx, service, kindenv.Build{ID: "1", Program: program, Env: cfg.Services[service].Env}); err != nil {
			t.Fatal(err)
		}
	}
	phase("services")
	address := map[string]string{}
	for _, r := range e.Running() {
		address[r.Name] = r.IP
	}
	cases := []struct {
		name, from, to string // as they shall be named
		url            string
		via            string // address translation: what the client spoke to is not who answered
	}{
		{"same-node", "asker", "near", "http://" + address["near"] + ":8080", ""},
		{"cross-node", "asker", "far", "http://" + address["far"] + ":8080", ""},
		{"service-same-node", "asker", "near", "http://near:8080", "near"},
		{"service-cross-node", "asker", "far", "http://far:8080", "far"},
		{"hairpin", "asker", "asker", "http://asker:8080", "asker"},
		{"to-host-network", "asker", "host", "http://" + address["host"] + ":18080", ""},
		{"service-to-host-network", "asker", "host", "http://host:18080", "host"},
		// In the node's own network its translation comes before the tap: nobody sees which Service was asked for.
		{"from-host-network", "host", "near", "http://near:8080", ""},
		{"in-pod", "asker", "asker", "http://127.0.0.1:8080", ""},
	}
	proxy, err := e.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	for _, way := range cases {
		port := map[string]string{"asker": "8080", "host": "18080"}[way.from]
		res, err := client.Get("http://" + way.from + ":" + port + "/ask?url=" + url.QueryEscape(way.url+"/answer/"+way.name))
		if err != nil {
			t.Fatalf("%s: %v", way.name, err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s: %s", way.name, res.Status, text)
		}
	}
	phase("calls")
	if err := source.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	calls, conns := rec.dissect(source.Interfaces(), e.Identities())
	phase("dissect")
	for _, way := range cases {
		var found []string
		for _, call := range calls {
			if call.Protocol != traffic.ProtoHTTP || call.Path != "/answer/"+way.name {
				continue
			}
			text := fmt.Sprintf("%s > %s %d", call.Src.Service, call.Dst.Service, call.Status)
			found = append(found, text)
			if conn := conns[call.ConnID]; conn != nil {
				if len(conn.Views) != 2 {
					t.Errorf("%s: seen at %d points, want both ends: %+v", way.name, len(conn.Views), conn.Views)
				}
				t.Logf("%-24s %s, %s > %s, asked for %s", way.name, text, conn.Src.Addr(), conn.Dst.Addr(), conn.OriginalDst)
				if translated := conn.OriginalDst.IsValid() && conn.OriginalDst != conn.Dst.Addr(); translated != (way.via != "") {
					t.Errorf("%s: asked for %s, answered by %s", way.name, conn.OriginalDst, conn.Dst.Addr())
				}
			} else {
				t.Errorf("%s: its connection %d is not there", way.name, call.ConnID)
			}
		}
		if want := way.from + " > " + way.to + " 200"; len(found) != 1 || found[0] != want {
			t.Errorf("%s: found %q, want %q once", way.name, strings.Join(found, ", "), want)
		}
	}
}
