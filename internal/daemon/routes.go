package daemon

// route leads from a verb and a path to a method. Wildcards of the path have names of the request's members.
type route struct {
	verb, path string
	method     string // of methods.go
	what       string // one sentence
	set        string // members that the route itself says, as JSON
	names      map[string]string
	connect    bool                           // errors and names as the Connect protocol has them
	file       func(answer any) (path string) // the answer is a file, and this its path
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

		{verb: "GET", path: "/mcp/capture", method: "capture", what: "What is captured, and by whom"},
		{verb: "GET", path: "/mcp/status", method: "status", what: "What runs, what captures, and where the loop stands"},
	}
}
