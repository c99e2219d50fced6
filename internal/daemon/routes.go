package daemon

import (
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
)

// route leads from a verb and a path to a method. Wildcards of the path have names of the request's members.
type route struct {
	verb, path string
	method     string // of methods.go
	what       string // one sentence
	set        string // members that the route itself says, as JSON
	names      map[string]string
	connect    bool                           // errors and names as the Connect protocol has them
	file       func(answer any) (path string) // the answer is a file, and this its path
	keep       bool                           // it stays after it was sent
}

// routes is the API as REST: the paths that Kubeshark's hub has, and in the same manner what it has not. /api in front of a path
// is accepted, too. A route whose method there is not is not served.
func routes() []route {
	return []route{
		{verb: "GET", path: "/mcp/calls", method: "list_api_calls", what: "Calls that a filter selects, newest first"},
		{verb: "GET", path: "/mcp/calls/{id...}", method: "get_api_call_details", what: "One call with its connection and flow"},
		{verb: "POST", path: "/mcp/tools/get_api_call_details", method: "get_api_call_details", what: "One call with its connection and flow"},
		{verb: "GET", path: "/mcp/stats", method: "get_api_stats", what: "Counts, errors and latencies of calls by group"},
		{verb: "GET", path: "/mcp/flows", method: "list_l4_flows", what: "Who exchanged how much with whom"},
		{verb: "GET", path: "/mcp/flows/summary", method: "get_l4_flow_summary", what: "All flows in short"},
		{verb: "GET", path: "/mcp/map", method: "get_service_map", what: "Who calls whom"},
		{verb: "GET", path: "/mcp/services/{service}", method: "get_service_details", what: "One service: statistics, neighbours, endpoints, events"},
		{verb: "GET", path: "/mcp/workloads", method: "list_workloads", what: "Pods and services, now or at a time"},
		{verb: "GET", path: "/mcp/resolve/workloads", method: "list_workloads", what: "Pods and services, now or at a time"},
		{verb: "GET", path: "/mcp/resolve/ips", method: "list_ips", what: "Whose addresses they were"},
		{verb: "POST", path: "/mcp/filters", method: "apply_filter", what: "Name a filter that other questions then take"},

		{verb: "GET", path: "/mcp/tree", method: "get_call_tree", what: "The calls that a call caused"},
		{verb: "GET", path: "/mcp/compare", method: "compare_traffic", what: "What differs between two windows, snapshots or revisions"},
		{verb: "POST", path: "/mcp/compare", method: "compare_traffic", what: "What differs between two windows, snapshots or revisions"},
		{verb: "GET", path: "/mcp/events", method: "list_events", what: "Restarts, rollouts and failing probes, and the traffic before them"},
		{verb: "GET", path: "/mcp/dependents/{service}", method: "get_dependents", what: "Who depends on a service, directly and through others"},
		{verb: "GET", path: "/mcp/egress", method: "list_egress", what: "What leaves the system, by destination"},
		{verb: "GET", path: "/mcp/correlate", method: "correlate", what: "Whether two numbers of calls go together"},
		{verb: "GET", path: "/mcp/sensitive", method: "find_sensitive_data", what: "Where sensitive data was seen, never what it was"},
		{verb: "GET", path: "/mcp/errors", method: "find_errors", what: "What failed, by cause"},
		{verb: "GET", path: "/mcp/retries", method: "list_retries", what: "Requests that were made more than once"},
		{verb: "GET", path: "/mcp/connections", method: "list_connections", what: "How connections are opened and used"},
		{verb: "POST", path: "/mcp/exports/calls", method: "export_calls", what: "Write calls to a CSV, Markdown or HAR file"},
		{verb: "POST", path: "/mcp/exports/policy", method: "export_policy", what: "Network policies that allow what was seen"},

		{verb: "GET", path: "/mcp/databases", method: "list_databases", what: "What db can name: live traffic, and dissections of snapshots"},
		{verb: "GET", path: "/mcp/data-boundaries", method: "get_data_boundaries", what: "From when to when packets are recorded"},
		{verb: "GET", path: "/mcp/l7-data-boundaries", method: "get_l7_data_boundaries", what: "From when to when live calls are kept"},
		{verb: "GET", path: "/mcp/raw-capture", method: "get_raw_capture", what: "Whether packets are recorded"},
		{verb: "GET", path: "/mcp/dissection", method: "get_dissection_status", what: "Whether live calls are kept"},
		{verb: "POST", path: "/mcp/dissection/enable", method: "enable_dissection", what: "Keep live calls"},
		{verb: "POST", path: "/mcp/dissection/disable", method: "disable_dissection", what: "Keep no live calls"},
		{verb: "GET", path: "/mcp/snapshots", method: "list_snapshots", what: "The snapshots, newest first"},
		{verb: "POST", path: "/mcp/snapshots", method: "create_snapshot", what: "Make a snapshot of what was recorded"},
		{verb: "GET", path: "/mcp/snapshots/{name}", method: "get_snapshot", what: "One snapshot, also while it is being made"},
		{verb: "DELETE", path: "/mcp/snapshots/{name}", method: "delete_snapshot", what: "Delete a snapshot"},
		{verb: "GET", path: "/mcp/snapshots/{id}/pcap", method: "export_snapshot_pcap", what: "Packets of a snapshot as a capture file", file: captureFile},
		{verb: "GET", path: "/mcp/dissections", method: "list_snapshot_dissections", names: inSnapshot, what: "Dissections of snapshots, newest first"},
		{verb: "POST", path: "/mcp/dissections", method: "start_snapshot_dissection", names: inSnapshot, what: "Dissect a snapshot"},
		{verb: "GET", path: "/mcp/dissections/{snapshot_id}/{name}", method: "get_snapshot_dissection_status", what: "How far a dissection is"},
		{verb: "DELETE", path: "/mcp/dissections/{snapshot_id}/{name}", method: "delete_snapshot_dissection", what: "Delete a dissection"},
		{verb: "POST", path: "/mcp/dissections/{snapshot_id}/{name}/stop", method: "stop_snapshot_dissection", what: "Stop a dissection"},
		{verb: "POST", path: "/mcp/captures", method: "capture_traffic", what: "Open a window over running traffic"},
		{verb: "GET", path: "/mcp/captures/{handle}/pcap", method: "export_pcap", what: "Packets of a window as a capture file", file: captureFile},
		{verb: "GET", path: control.FilesPath + "{path}", method: "get_file", what: "A file that was exported", file: exportedFile, keep: true},
		{verb: "GET", path: "/mcp/baselines", method: "baseline_list", what: "The recorded baselines"},
		{verb: "POST", path: "/mcp/baselines/record", method: "baseline_record", what: "Record how the services speak now"},
		{verb: "POST", path: "/mcp/baselines/compare", method: "baseline_compare", what: "What differs from a baseline"},
		{verb: "GET", path: "/mcp/checks/flakes", method: "flakes", what: "How often verdicts flipped while the code stayed as it was"},
		{verb: "GET", path: "/mcp/wire-diff", method: "wire_diff", what: "What an iteration does otherwise on the wire than the last revision that passed"},
		{verb: "POST", path: "/mcp/baselines/accept", method: "baseline_accept", what: "Accept what differs, with a reason"},
		{verb: "GET", path: "/mcp/checks/suggest", method: "checks_suggest", what: "Checks drafted from observed traffic, each tried on planted faults"},
		{verb: "POST", path: "/mcp/replay", method: "replay_run", what: "Send recorded requests to the present code, and compare the answers"},
		{verb: "GET", path: "/mcp/faults", method: "fault_list", what: "Faults between services, there and ended"},
		{verb: "POST", path: "/mcp/faults", method: "fault_set", what: "Begin a fault between two services"},
		{verb: "DELETE", path: "/mcp/faults/{id}", method: "fault_clear", what: "End a fault"},
		{verb: "GET", path: "/mcp/capture", method: "capture", what: "What is captured, and by whom"},
		{verb: "POST", path: "/mcp/capture/targets", method: "configure_capture", what: "Choose the pods that are captured in a cluster"},
		{verb: "POST", path: "/mcp/capture/start", method: "switch_capture", set: `{"on": true}`, what: "Go on capturing in a cluster"},
		{verb: "POST", path: "/mcp/capture/stop", method: "switch_capture", set: `{"on": false}`, what: "Stop capturing in a cluster"},
		{verb: "GET", path: "/mcp/iterations", method: "iterations", what: "The iterations that are kept, newest first"},
		{verb: "GET", path: "/mcp/iterations/{iteration}", method: "verdict", what: "One iteration with its checks, its ledger and what changed on the wire"},
		{verb: "GET", path: "/mcp/status", method: "status", what: "What runs, what captures, and where the loop stands"},

		{verb: "POST", path: "/delayed_dissection.DelayedDissection/Start", method: "start_snapshot_dissection", connect: true, names: inConnect, what: "Dissect a snapshot (Connect protocol, JSON)"},
		{verb: "POST", path: "/delayed_dissection.DelayedDissection/GetStatus", method: "get_snapshot_dissection_status", connect: true, names: inConnect, what: "How far a dissection is (Connect protocol, JSON)"},
		{verb: "GET", path: "/delayed_dissection.DelayedDissection/GetStatus", method: "get_snapshot_dissection_status", connect: true, names: inConnect, what: "How far a dissection is (Connect protocol, JSON)"},
	}
}

// Names of parameters elsewhere, and here.
var (
	inSnapshot = map[string]string{"snapshot": "snapshot_id"}
	inConnect  = map[string]string{
		"snapshot_name": "snapshot_id", "snapshotName": "snapshot_id", "snapshotId": "snapshot_id",
		"dissection_name": "name", "dissectionName": "name",
	}
)

// captureFile is where an export lies.
func captureFile(answer any) string {
	if a, ok := answer.(*query.PCAPAnswer); ok {
		return a.File
	}
	return ""
}

func exportedFile(answer any) string {
	if a, ok := answer.(*control.FileAnswer); ok {
		return a.File
	}
	return ""
}
