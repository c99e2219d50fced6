package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// olderTools are names that a tool had elsewhere: they are understood and not listed.
var olderTools = map[string]string{
	"check_kubeshark_status": "check_capture_status",
	"start_kubeshark":        "start_capture",
	"stop_kubeshark":         "stop_capture",
	"get_api_call":           "get_api_call_details",
	"resolve_workload":       "list_workloads",
}

// newName is a tool's name here.
func newName(name string) string {
	if now, ok := olderTools[name]; ok {
		return now
	}
	return name
}

// olderArguments are spellings that a tool's arguments had elsewhere: each changes what it knows in the arguments.
var olderArguments = map[string]func(map[string]any){
	"list_api_calls":                 typedFilters,
	"list_workloads":                 workloadArguments,
	"get_api_call_details":           renamed("include_payloads", "include_payload"),
	"export_snapshot_pcap":           each(renamed("name", "id"), renamed("snapshot_id", "id")),
	"start_snapshot_dissection":      each(renamed("id", "snapshot_id"), renamed("snapshot_name", "snapshot_id"), renamed("dissection_name", "name")),
	"get_call_tree":                  renamed("iteration", "snapshot_id"),
	"get_snapshot_dissection_status": each(renamed("snapshot_name", "snapshot_id"), renamed("dissection_name", "name")),
	"start_capture":                  joined("namespaces"),
	"list_snapshot_dissections":      renamed("id", "snapshot_id"),
}

// renamed moves an argument to the name that it has here, where that is free.
func renamed(from, to string) func(map[string]any) {
	return func(a map[string]any) {
		v, ok := a[from]
		if _, taken := a[to]; ok && !taken {
			a[to] = v
			delete(a, from)
		}
	}
}

// each makes several changes, in order.
func each(changes ...func(map[string]any)) func(map[string]any) {
	return func(a map[string]any) {
		for _, change := range changes {
			change(a)
		}
	}
}

// joined takes a list where text with commas is wanted.
func joined(name string) func(map[string]any) {
	return func(a map[string]any) {
		list, ok := a[name].([]any)
		if !ok {
			return
		}
		var parts []string
		for _, v := range list {
			parts = append(parts, fmt.Sprint(v))
		}
		a[name] = strings.Join(parts, ",")
	}
}

// workloadArguments are those of list_workloads' first version: ns, and labels as text.
func workloadArguments(a map[string]any) {
	renamed("ns", "namespace")(a)
	text, ok := a["labels"].(string)
	if !ok {
		return
	}
	labels := map[string]any{}
	for _, pair := range split(text) {
		k, v, _ := strings.Cut(pair, "=")
		labels[k] = v
	}
	a["labels"] = labels
}

// typedFilters are the arguments that list_api_calls had before it had KFL.
func typedFilters(a map[string]any) {
	var conditions []any
	for _, f := range []struct{ argument, field string }{
		{"src_ns", "src.namespace"}, {"src_pod", "src.pod.name"}, {"dst_ns", "dst.namespace"}, {"dst_pod", "dst.pod.name"},
		{"dst_svc", "dst.service.name"}, {"method", "method"}, {"path", "path"},
	} {
		if v, ok := a[f.argument].(string); ok {
			if v != "" {
				conditions = append(conditions, f.field+" == "+quote(v))
			}
			delete(a, f.argument)
		}
	}
	if v, ok := a["proto"].(string); ok {
		conditions = append(conditions, "protocol == "+quote(v))
		delete(a, "proto")
	}
	switch v := a["status"].(type) {
	case string:
		conditions = append(conditions, statusCondition(v))
		delete(a, "status")
	case float64:
		conditions = append(conditions, statusCondition(strconv.Itoa(int(v))))
		delete(a, "status")
	}
	if len(conditions) == 0 {
		return // the filter stays as it was written
	}
	if kfl, _ := a["kfl"].(string); kfl != "" {
		conditions = append([]any{"(" + kfl + ")"}, conditions...)
	}
	a["kfl"] = and(conditions...)
}

// statusCondition reads ok, error or a code.
func statusCondition(status string) string {
	switch status {
	case "":
		return ""
	case "ok":
		return "status_code < 400"
	case "error":
		return "status_code >= 400"
	}
	return "status_code == " + status
}

// olderNames calls tools and prompts by the names that they have here, and their arguments likewise.
func olderNames(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, r mcp.Request) (mcp.Result, error) {
		switch r := r.(type) {
		case *mcp.CallToolRequest:
			if r.Params != nil {
				r.Params.Name = newName(r.Params.Name)
				r.Params.Arguments = newArguments(r.Params.Name, r.Params.Arguments)
			}
		case *mcp.GetPromptRequest:
			if r.Params != nil {
				if now, ok := olderPrompts[r.Params.Name]; ok {
					r.Params.Name = now
				}
			}
		}
		return next(ctx, method, r)
	}
}

// newArguments leaves what it does not understand as it is: the schema says what is wrong with it.
func newArguments(tool string, arguments json.RawMessage) json.RawMessage {
	change, ok := olderArguments[tool]
	if !ok || len(arguments) == 0 {
		return arguments
	}
	var a map[string]any
	if json.Unmarshal(arguments, &a) != nil || a == nil {
		return arguments
	}
	change(a)
	b, err := json.Marshal(a)
	if err != nil {
		return arguments
	}
	return b
}
