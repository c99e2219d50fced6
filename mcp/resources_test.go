package mcp

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

func TestResourcesAreRead(t *testing.T) {
	asked := new(strings.Builder)
	daemon := daemonOf(t, map[string]string{
		"list_api_calls":  fixedAnswers["list_api_calls"],
		"list_workloads":  fixedAnswers["list_workloads"],
		"get_service_map": `{"result": {"nodes": [], "edges": [], "db": "live", "start_ts": 0, "end_ts": 0}}`,
		"get_api_stats":   `{"result": {"totals": {"total_calls": 3}, "stats": [], "truncated": false, "db": "live", "start_ts": 0, "end_ts": 0}}`,
	}, asked)
	client := connect(t, Options{Connect: func(context.Context) (*control.Client, error) { return daemon, nil }})
	for uri, want := range map[string]string{
		"devloop://traffic/stream": `list_api_calls {"limit":100}`,
		"devloop://traffic/stream?kfl=http%20%26%26%20status_code%20%3E%3D%20500": `"kfl":"http \u0026\u0026 status_code \u003e= 500","limit":100`,
		"devloop://traffic/history?kfl=dns&start=2025-11-21T10:00:00Z":            `"start":1763719200000,"kfl":"dns","limit":1000`,
		"devloop://traffic/history?end=5":                                         `"end":5`,
		"devloop://services/map":                                                  `get_service_map {}`,
		"devloop://services/list":                                                 `"type":"service"`,
		"devloop://namespaces":                                                    `"type":"namespace"`,
		"devloop://protocols":                                                     `"group_by":"proto"`,
	} {
		asked.Reset()
		result, err := client.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: uri})
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		c := result.Contents[0]
		if c.URI != uri || c.MIMEType != "application/json" || !strings.Contains(c.Text, "untrusted data") {
			t.Errorf("%s: %+v", uri, c)
		}
		if !strings.Contains(asked.String(), want) {
			t.Errorf("%s asked %s, want %s", uri, asked, want)
		}
	}
	for _, uri := range []string{"devloop://nothing", "devloop://services/map?kfl=http", "devloop://traffic/history?start=yesterday", "file:///etc/passwd"} {
		if _, err := client.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: uri}); err == nil {
			t.Errorf("%s is read", uri)
		}
	}
	list, err := client.ListResources(t.Context(), nil)
	if err != nil || len(list.Resources) != len(resources) {
		t.Errorf("%d resources, %v", len(list.Resources), err)
	}
	templates, err := client.ListResourceTemplates(t.Context(), nil)
	if err != nil || len(templates.ResourceTemplates) != 2 {
		t.Errorf("%+v, %v", templates, err)
	}
}

// TestSubscribersHearOfCalls: a new call of the daemon's arrives as a notification, in the old way and in the new one.
func TestSubscribersHearOfCalls(t *testing.T) {
	for _, revision := range []string{"2025-06-18", "2026-07-28"} {
		t.Run(revision, func(t *testing.T) { subscribersHear(t, revision) })
	}
}

func subscribersHear(t *testing.T, revision string) {
	var total, asked atomic.Int64
	total.Store(1)
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	daemon := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		asked.Add(1)
		fmt.Fprintf(w, `{"result": {"calls": [{"id": "n/%[1]d/0"}], "total": %[1]d, "truncated": false, "db": "live", "start_ts": 0, "end_ts": %[2]d}}`, total.Load(), asked.Load())
	})}
	go daemon.Serve(l)
	t.Cleanup(func() { daemon.Close() })
	f, err := newFace(Options{Connect: func(context.Context) (*control.Client, error) { return control.NewClient(socket), nil }})
	if err != nil {
		t.Fatal(err)
	}
	f.watcher.every = 5 * time.Millisecond
	defer f.close()
	updated := make(chan string, 10)
	mine, theirs := mcp.NewInMemoryTransports()
	server, err := f.server.Connect(t.Context(), mine, nil)
	if err != nil {
		t.Fatal(err)
	}
	client, err := mcp.NewClient(&mcp.Implementation{Name: "test"}, &mcp.ClientOptions{
		ResourceUpdatedHandler: func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) { updated <- r.Params.URI },
	}).Connect(t.Context(), theirs, &mcp.ClientSessionOptions{ProtocolVersion: revision})
	if err != nil {
		t.Fatal(err)
	}
	const uri = "devloop://traffic/stream?kfl=http"
	if err := client.Subscribe(t.Context(), &mcp.SubscribeParams{URI: uri}); err != nil {
		t.Fatal(err)
	}
	for at := asked.Load(); asked.Load() < at+3; { // nothing new, whatever the time
		time.Sleep(time.Millisecond)
	}
	select {
	case got := <-updated:
		t.Fatalf("%s is said to be new", got)
	default:
	}
	total.Store(2)
	select {
	case got := <-updated:
		if got != uri {
			t.Errorf("%s is new, want %s", got, uri)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nobody told of the new call")
	}
	client.Close()
	server.Wait()
	f.watcher.wg.Wait() // without subscribers nobody looks
}
