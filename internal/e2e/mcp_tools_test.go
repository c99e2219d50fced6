//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestEveryTool calls every tool there is on the shop, once it has run: each answers what its output schema says, or refuses
// with the sentence that is meant.
func TestEveryTool(t *testing.T) {
	w := shop(t)
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "scripted", Version: "1"}, nil).
		Connect(ctx, &mcp.CommandTransport{Command: w.command(ctx, "mcp", "--toolsets", "all", "--allow-destructive")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	// ask calls a tool; what it answers is decoded into answer, unless that is nil.
	called := map[string]bool{}
	ask := func(tool, arguments string, answer any) (refused string) {
		t.Helper()
		called[tool] = true
		began := time.Now()
		r, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: json.RawMessage(arguments)})
		if err != nil {
			t.Errorf("%s %s: %v", tool, arguments, err)
			return ""
		}
		text := r.Content[0].(*mcp.TextContent).Text
		t.Logf("%s: %d bytes in %v", tool, len(text), time.Since(began).Round(time.Millisecond))
		if r.IsError {
			return text
		}
		b, err := json.Marshal(r.StructuredContent)
		if err == nil && answer != nil {
			err = json.Unmarshal(b, answer)
		}
		if err != nil {
			t.Errorf("%s %s: %v", tool, arguments, err)
		}
		return ""
	}
	well := func(tool, arguments string, answer any) {
		t.Helper()
		if refused := ask(tool, arguments, answer); refused != "" {
			t.Errorf("%s %s: %s", tool, arguments, refused)
		}
	}
	refuses := func(tool, arguments, sentence string) {
		t.Helper()
		if refused := ask(tool, arguments, nil); !strings.Contains(refused, sentence) {
			t.Errorf("%s %s: %q, want %q", tool, arguments, refused, sentence)
		}
	}

	var run struct{ Iteration, Verdict string }
	well("loop_run", `{}`, &run)
	if run.Verdict != "pass" {
		t.Fatalf("the clean shop: %+v", run)
	}
	of := `{"snapshot_id": "` + run.Iteration + `"}`
	with := func(more string) string { return `{"snapshot_id": "` + run.Iteration + `", ` + more + `}` }
	for _, tool := range []string{"loop_status", "doctor", "verdict_get", "list_databases", "get_data_boundaries", "get_l7_data_boundaries", "get_dissection_status",
		"enable_dissection", "disable_dissection", "list_snapshots", "list_snapshot_dissections", "get_cloud_storage_status", "check_capture_status", "baseline_list"} {
		well(tool, `{}`, nil)
	}
	well("loop_wait", `{"seconds": 5}`, nil)
	for _, tool := range []string{"get_api_stats", "list_l4_flows", "get_l4_flow_summary", "get_service_map", "list_workloads", "list_ips", "find_errors", "list_events",
		"list_egress", "find_sensitive_data", "list_retries", "list_connections", "get_call_tree", "export_policy", "get_snapshot"} {
		arguments := of
		if tool == "get_snapshot" {
			arguments = `{"id": "` + run.Iteration + `"}`
		}
		well(tool, arguments, nil)
	}
	var calls struct {
		Calls []struct{ ID string }
		Total int
	}
	well("list_api_calls", with(`"kfl": "http && dst.service.name == \"catalogue\"", "limit": 5`), &calls)
	if calls.Total == 0 || len(calls.Calls) != 5 {
		t.Fatalf("list_api_calls: %+v", calls)
	}
	id := calls.Calls[0].ID
	for _, format := range []string{"full", "raw"} {
		well("list_api_calls", with(`"limit": 2, "format": "`+format+`"`), nil)
	}
	well("get_api_call_details", with(`"id": "`+id+`", "include_pcap": true`), nil)
	well("get_service_details", with(`"service": "catalogue"`), nil)
	well("get_dependents", with(`"service": "catalogue"`), nil)
	well("correlate", with(`"kfl": "http", "x": "response_body_size", "y": "latency"`), nil)
	well("compare_traffic", `{"a": `+of+`, "b": `+of+`}`, nil)
	var filter struct {
		ID string `json:"filter_id"`
	}
	well("apply_filter", `{"kfl": "http and response.status == 200"}`, &filter)
	well("list_api_calls", with(`"filter_id": "`+filter.ID+`", "limit": 1`), &calls)
	well("traffic_query", `{"kfl": "http", "limit": 1}`, nil)
	well("traffic_get", `{"id": "`+id+`"}`, nil)
	well("check_expression", `{"on": "http", "expect": "none(status_code == 418)"}`, nil)
	well("checks_suggest", `{"iterations": ["`+run.Iteration+`"], "limit": 3}`, nil)
	well("replay_run", `{"snapshot_id": "`+run.Iteration+`", "factor": 0, "headers": {"Authorization": "Bearer none"}}`, nil)
	refuses("evidence_get", `{"check": "there is none of this name"}`, "Fix:")

	var file struct{ Path string }
	well("export_calls", with(`"format": "csv", "limit": 10`), &file)
	well("get_file_url", `{"path": "`+file.Path+`"}`, nil)
	well("download_file", `{"path": "`+file.Path+`", "dest": "here.csv"}`, nil)
	refuses("download_file", `{"path": "`+file.Path+`", "dest": "here.csv"}`, "is there already")
	well("export_snapshot_pcap", `{"id": "`+run.Iteration+`", "bpf_filter": "tcp"}`, &file)
	well("export_pcap", `{"window": "`+run.Iteration+`"}`, nil)
	var job struct {
		ID     string `json:"dissection_id"`
		Active bool
	}
	well("start_snapshot_dissection", with(`"name": "again"`), &job)
	for job.Active && ctx.Err() == nil {
		well("get_snapshot_dissection_status", `{"dissection_id": "`+job.ID+`"}`, &job)
	}
	ask("stop_snapshot_dissection", `{"dissection_id": "`+job.ID+`"}`, nil) // it may have ended
	well("delete_snapshot_dissection", `{"dissection_id": "`+job.ID+`"}`, nil)
	well("capture_traffic", `{"duration": "1s", "name": "moment"}`, nil)
	var snapshot struct{ Name string }
	well("create_snapshot", `{"name": "all-of-it", "duration": "10m"}`, &snapshot)
	refuses("upload_snapshot_to_cloud", `{"id": "all-of-it"}`, "no object storage")
	refuses("download_snapshot_from_cloud", `{"id": "all-of-it"}`, "no object storage")
	refuses("get_cloud_job_status", `{"job_id": "1"}`, "no object storage")
	well("baseline_record", `{"iterations": ["`+run.Iteration+`"]}`, nil)
	well("baseline_compare", `{"iterations": ["`+run.Iteration+`"]}`, nil)
	well("wire_diff", `{"since": "`+run.Iteration+`"}`, nil)
	refuses("wire_diff", `{}`, "no other revision has passed")
	ask("baseline_accept", `{"iterations": ["`+run.Iteration+`"], "reason": "nothing differs"}`, nil)
	well("fault_set", `{"from": "cart", "to": "catalogue", "kind": "latency", "delay_ms": 50}`, nil)
	well("fault_clear", `{"all": true}`, nil)
	well("window_open", `{}`, nil)
	well("window_close", `{}`, nil)
	for _, tool := range []string{"configure_capture", "start_capture", "stop_capture"} {
		refuses(tool, `{}`, "") // there is no cluster
	}
	ask("delete_snapshot", `{"id": "all-of-it"}`, nil) // it may not be sealed yet
	list, err := session.ListTools(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range list.Tools {
		if !called[tool.Name] {
			t.Errorf("%s was not called", tool.Name)
		}
	}
}
