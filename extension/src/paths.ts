/** What the page may ask of the daemon. Text that came from the network is shown in it: it must not be able to end services or write files. */
const paths = new Set([
	"status", "verdict", "judge", "run", "wait", "evidence", "query", "get", "trace", "expression", "capture", "doctor", "list_api_calls", "get_api_call_details", "get_api_stats",
	"list_l4_flows", "get_l4_flow_summary", "get_service_map", "get_service_details", "list_workloads", "list_ips", "get_call_tree", "compare_traffic", "list_events", "get_dependents",
	"list_egress", "correlate", "find_sensitive_data", "find_errors", "list_retries", "list_connections", "list_databases", "get_data_boundaries", "get_raw_capture",
	"get_l7_data_boundaries", "get_dissection_status", "enable_dissection", "list_snapshots", "get_snapshot", "list_snapshot_dissections", "get_snapshot_dissection_status",
	"start_snapshot_dissection", "create_snapshot", "baseline_list", "baseline_compare", "fault_list",
].map((name) => `/v1/${name}`));

export function allowed(path: string | undefined, stream: boolean): boolean {
	return path !== undefined && (stream ? path === "/v1/events" : paths.has(path));
}
