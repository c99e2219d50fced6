//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// TestAgentMendsABug is the loop as an agent sees it: a scripted MCP client plants a bug in a file, runs the loop, reads
// the verdict and its evidence, mends the file, and gets a pass.
func TestAgentMendsABug(t *testing.T) {
	w := shop(t)
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	progressed := 0
	client := mcp.NewClient(&mcp.Implementation{Name: "scripted", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) { progressed++ },
	})
	session, err := client.Connect(ctx, &mcp.CommandTransport{Command: w.command(ctx, "mcp")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()

	w.edit(catalogueFile, healthy, buggy)
	var run struct {
		Verdict   string
		Done      bool
		Attention []struct{ Name, Verdict string }
	}
	call(t, ctx, session, "loop_run", map[string]any{}, &run)
	if run.Verdict != "fail" || run.Done || len(run.Attention) == 0 || run.Attention[0].Name != "goods have a price" {
		t.Fatalf("with the bug: %+v", run)
	}
	if progressed == 0 {
		t.Error("loop_run reported no progress")
	}
	var evidence struct {
		Calls []map[string]any
		Note  string
		PCAP  string
	}
	call(t, ctx, session, "evidence_get", map[string]any{"check": run.Attention[0].Name}, &evidence)
	if len(evidence.Calls) == 0 || evidence.PCAP == "" || evidence.Note == "" {
		t.Errorf("evidence: %+v", evidence)
	}
	var rows struct {
		Total int
		Rows  []map[string]any
	}
	call(t, ctx, session, "traffic_query", map[string]any{"kfl": `http && dst.service.name == "catalogue"`, "limit": 2}, &rows)
	if rows.Total == 0 || len(rows.Rows) != 2 {
		t.Errorf("traffic_query: %d rows of %d", len(rows.Rows), rows.Total)
	}
	var one struct{ Call map[string]any }
	call(t, ctx, session, "traffic_get", map[string]any{"id": rows.Rows[0]["id"]}, &one)
	if one.Call["resp_headers"] == nil {
		t.Errorf("traffic_get: %v", one.Call)
	}
	var tried struct{ Verdict string }
	call(t, ctx, session, "check_expression", map[string]any{"on": `http && dst.service.name == "catalogue"`, "expect": "none(status_code == 418)"}, &tried)
	if tried.Verdict != "pass" {
		t.Errorf("check_expression: %+v", tried)
	}

	w.edit(catalogueFile, buggy, healthy)
	call(t, ctx, session, "loop_run", map[string]any{}, &run)
	if run.Verdict != "pass" || !run.Done {
		t.Fatalf("mended: %+v", run)
	}
	var status struct {
		Running  bool
		Services []control.ServiceStatus
	}
	call(t, ctx, session, "loop_status", map[string]any{}, &status)
	if !status.Running {
		t.Error("loop_status says that nothing runs")
	}

	// A window that the agent drives itself.
	var opened struct{ Window, Revision string }
	call(t, ctx, session, "window_open", map[string]any{}, &opened)
	get(t, status.Services, "frontend", "/healthz?window")
	var window struct {
		Iteration string
		Calls     int
	}
	call(t, ctx, session, "window_close", map[string]any{}, &window)
	if opened.Window == "" || window.Iteration != opened.Window || window.Calls == 0 {
		t.Errorf("window %+v closed as %+v", opened, window)
	}
	call(t, ctx, session, "traffic_query", map[string]any{"kfl": `http && path == "/healthz" && query_string["window"] == ""`}, &rows)
	if rows.Total != 1 {
		t.Errorf("the window holds %d of the one request that was sent in it", rows.Total)
	}
	var last struct{ Iteration string }
	call(t, ctx, session, "verdict_get", map[string]any{}, &last)
	call(t, ctx, session, "loop_wait", map[string]any{"seconds": 5}, &run)
	if last.Iteration != opened.Window {
		t.Errorf("verdict_get is of %s, want the window %s", last.Iteration, opened.Window)
	}
	var found struct{ Source string }
	call(t, ctx, session, "doctor", map[string]any{}, &found)
	if found.Source != "tap" {
		t.Errorf("doctor: %+v", found)
	}
}

// get asks a service from outside, by its address.
func get(t *testing.T, services []control.ServiceStatus, name, path string) {
	t.Helper()
	i := slices.IndexFunc(services, func(s control.ServiceStatus) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no service %s in %+v", name, services)
	}
	resp, err := http.Get("http://" + services[i].IP + path)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// call calls a tool and decodes its structured answer.
func call(t *testing.T, ctx context.Context, session *mcp.ClientSession, tool string, arguments map[string]any, answer any) {
	t.Helper()
	params := &mcp.CallToolParams{Name: tool, Arguments: arguments}
	params.SetProgressToken(tool)
	result, err := session.CallTool(ctx, params)
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	b, err := json.Marshal(result.StructuredContent)
	if err != nil {
		t.Fatal(err)
	}
	if result.IsError {
		text, _ := json.Marshal(result.Content)
		t.Fatalf("%s: %s", tool, text)
	}
	if err := json.Unmarshal(b, answer); err != nil {
		t.Fatalf("%s answered %s: %v", tool, b, err)
	}
}
