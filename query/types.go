package query

import (
	"github.com/devloop-io/devloop/traffic"
)

// Scope says which traffic a question is about.
type Scope struct {
	DB       string `json:"db,omitempty" jsonschema:"SNAPSHOT/DISSECTION from list_databases; live traffic by default"`
	Snapshot string `json:"snapshot_id,omitempty" jsonschema:"a snapshot, or an iteration such as r7: its newest dissection"`
	Start    int64  `json:"start,omitempty" jsonschema:"Unix milliseconds, included"`
	End      int64  `json:"end,omitempty" jsonschema:"Unix milliseconds, not included"`
}

// Selection is a scope and a filter.
type Selection struct {
	Scope
	KFL      string `json:"kfl,omitempty" jsonschema:"filter, such as: http && status_code >= 500; everything by default"`
	FilterID string `json:"filter_id,omitempty" jsonschema:"from apply_filter; kfl narrows it further"`
}

// Reading says how a question was read, and what stands between the answer and the truth. Every answer about traffic has it.
type Reading struct {
	DB         string   `json:"db" jsonschema:"what was asked: live, or SNAPSHOT/DISSECTION"`
	Start      int64    `json:"start_ts" jsonschema:"Unix milliseconds: from when on there is traffic in it"`
	End        int64    `json:"end_ts" jsonschema:"Unix milliseconds: until when"`
	Rewritten  string   `json:"rewritten,omitempty" jsonschema:"what an older spelling of the filter was read as"`
	Warnings   []string `json:"warnings,omitempty"`
	Incomplete string   `json:"incomplete,omitempty" jsonschema:"what the capture lost or could not read, so that there may be more than is told here"`
	Why        string   `json:"why,omitempty" jsonschema:"why nothing was found, as far as can be told"`
	Note       string   `json:"note,omitempty"`
}

// CallsRequest asks for calls (list_api_calls), newest first.
type CallsRequest struct {
	Selection
	Limit   int    `json:"limit,omitempty" jsonschema:"1 to 1000; 100 by default"`
	Cursor  string `json:"cursor,omitempty" jsonschema:"from the answer before"`
	Format  string `json:"format,omitempty" jsonschema:"compact (default); line: with how it ended; full: headers, bodies, ids; raw: everything, with tcp_metrics"`
	GroupBy string `json:"group_by,omitempty" jsonschema:"node, ns or worker: counts instead of calls"`
	Order   string `json:"order,omitempty" jsonschema:"newest (default), oldest, slowest"`
}

// CallsAnswer is a page of calls.
type CallsAnswer struct {
	Calls        []any        `json:"calls" jsonschema:"untrusted text from the network"`
	Groups       []GroupCount `json:"groups,omitempty"`
	Total        int          `json:"total" jsonschema:"that match"`
	TotalIsLeast bool         `json:"total_is_least,omitempty" jsonschema:"total counts what was looked at: bodies and headers are not searched further than the page needs"`
	Truncated    bool         `json:"truncated" jsonschema:"there are more: give the cursor"`
	Cursor       string       `json:"cursor,omitempty"`
	Reading
}

// GroupCount is how many rows a group has.
type GroupCount struct {
	Group string `json:"group"`
	Count int    `json:"count"`
}

// CallRequest asks for one call (get_api_call_details).
type CallRequest struct {
	Scope
	ID             string `json:"id" jsonschema:"from list_api_calls"`
	NodeID         string `json:"node_id,omitempty" jsonschema:"the node that saw it, the first part of the id"`
	IncludeHeaders *bool  `json:"include_headers,omitempty" jsonschema:"true by default"`
	IncludePayload *bool  `json:"include_payload,omitempty" jsonschema:"true by default"`
	IncludeL4      *bool  `json:"include_l4,omitempty" jsonschema:"true by default"`
	IncludePCAP    bool   `json:"include_pcap,omitempty" jsonschema:"the packets of its connection, secrets masked, base64"`
	MaxPayloadSize int    `json:"max_payload_size,omitempty" jsonschema:"bytes; 65536 by default"`
}

// CallAnswer is one call with its connection and flow.
type CallAnswer struct {
	Entry      any                 `json:"entry" jsonschema:"the call; untrusted text from the network"`
	Result     string              `json:"result,omitempty" jsonschema:"how the call ended, as statistics count it"`
	Failed     bool                `json:"failed,omitempty" jsonschema:"no answer, or one that says failure"`
	ReqBody    string              `json:"req_body,omitempty"`
	RespBody   string              `json:"resp_body,omitempty"`
	Truncated  bool                `json:"truncated"`
	Flow       *L4Flow             `json:"l4_flow,omitempty"`
	Conn       *L4Conn             `json:"l4_conn,omitempty"`
	Connection *traffic.Connection `json:"connection,omitempty" jsonschema:"with its tcp metrics"`
	PCAP       []byte              `json:"pcap,omitempty"`
	Reading
}

// L4Flow is the flow of a call, in Kubeshark's form; "local" is the client.
type L4Flow struct {
	ID          uint64 `json:"flow_id"`
	State       string `json:"state"`
	LocalPkts   uint64 `json:"local_pkts"`
	LocalBytes  uint64 `json:"local_bytes"`
	RemotePkts  uint64 `json:"remote_pkts"`
	RemoteBytes uint64 `json:"remote_bytes"`
	LocalPPS    uint64 `json:"local_pps"`
	LocalBPS    uint64 `json:"local_bps" jsonschema:"bytes a second"`
	RemotePPS   uint64 `json:"remote_pps"`
	RemoteBPS   uint64 `json:"remote_bps"`
}

// L4Conn is the connection of a call, in Kubeshark's form.
type L4Conn struct {
	ID          uint64 `json:"conn_id"`
	State       string `json:"state"`
	LocalPkts   uint64 `json:"local_pkts"`
	LocalBytes  uint64 `json:"local_bytes"`
	RemotePkts  uint64 `json:"remote_pkts"`
	RemoteBytes uint64 `json:"remote_bytes"`
}

// StatsRequest asks for statistics of calls (get_api_stats).
type StatsRequest struct {
	Selection
	GroupBy  string `json:"group_by,omitempty" jsonschema:"endpoint (default), service, namespace, status, src, dst, proto, node, zone, cause"`
	BucketMS int64  `json:"bucket_ms,omitempty" jsonschema:"also counts, errors and p50/p99 of each stretch of so many milliseconds"`
	NS       string `json:"ns,omitempty" jsonschema:"only calls to this namespace"`
	Svc      string `json:"svc,omitempty" jsonschema:"only calls to this service"`
	Pod      string `json:"pod,omitempty" jsonschema:"only calls to this pod"`
	Limit    int    `json:"limit,omitempty" jsonschema:"groups, most calls first; 100 by default"`
	Order    string `json:"order,omitempty" jsonschema:"calls (default), errors, p99"`
}

// StatsAnswer is statistics of calls, in all and by group.
type StatsAnswer struct {
	Totals    Stats       `json:"totals"`
	Stats     []Stats     `json:"stats"`
	Buckets   []TimeStats `json:"buckets,omitempty"`
	Truncated bool        `json:"truncated"`
	Reading
}

// Stats describe a group of calls. Latencies are of answered calls.
type Stats struct {
	Group        string         `json:"group,omitempty"`
	Calls        int            `json:"total_calls"`
	Errors       int            `json:"errors" jsonschema:"no answer, or one that says failure: HTTP 4xx and 5xx, a gRPC status, an SQLSTATE, a Redis or DNS error"`
	ErrorRate    float64        `json:"error_rate" jsonschema:"0 to 1"`
	Statuses     map[string]int `json:"statuses,omitempty"`
	P50          float64        `json:"p50_ms"`
	P90          float64        `json:"p90_ms"`
	P99          float64        `json:"p99_ms"`
	Max          float64        `json:"max_ms"`
	Mean         float64        `json:"mean_ms"`
	Answered     int            `json:"answered"`
	PerSecond    float64        `json:"calls_per_second" jsonschema:"over the window"`
	RequestSize  int64          `json:"req_bytes"`
	ResponseSize int64          `json:"resp_bytes"`
	HandshakeP50 int64          `json:"tcp_handshake_p50_us,omitempty"`
	HandshakeP90 int64          `json:"tcp_handshake_p90_us,omitempty"`
	HandshakeP99 int64          `json:"tcp_handshake_p99_us,omitempty"`
	Approximate  string         `json:"approximate,omitempty" jsonschema:"how far the percentiles may be off; they are exact without it"`
	Example      string         `json:"example,omitempty" jsonschema:"id of a call of the group; of one that failed where one did"`
}

// TimeStats are statistics of a stretch of time.
type TimeStats struct {
	TS int64 `json:"ts" jsonschema:"its begin, Unix milliseconds"`
	Stats
}

// FlowsRequest asks for L4 flows (list_l4_flows).
type FlowsRequest struct {
	Selection
	Format    string `json:"format,omitempty" jsonschema:"compact (default), full or raw"`
	Aggregate string `json:"aggregate,omitempty" jsonschema:"pod, namespace, node or service: one row for each pair of these"`
	L4Proto   string `json:"l4proto,omitempty" jsonschema:"tcp or udp"`
	IP        string `json:"ip,omitempty" jsonschema:"of either end"`
	NS        string `json:"ns,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Svc       string `json:"svc,omitempty"`
	Limit     int    `json:"limit,omitempty" jsonschema:"1 to 1000; 100 by default"`
	Cursor    string `json:"cursor,omitempty"`
	Order     string `json:"order,omitempty" jsonschema:"bytes (default), handshake, retransmissions, connections"`
}

// FlowsAnswer is a page of flows.
type FlowsAnswer struct {
	Flows     []any  `json:"flows"`
	Total     int    `json:"total"`
	Truncated bool   `json:"truncated"`
	Cursor    string `json:"cursor,omitempty"`
	Reading
}

// FlowSummaryRequest asks for all flows in short (get_l4_flow_summary).
type FlowSummaryRequest struct {
	Selection
}

// FlowSummary is all flows in short.
type FlowSummary struct {
	Flows          int              `json:"total_flows"`
	TCP            int              `json:"tcp_flows"`
	UDP            int              `json:"udp_flows"`
	Bytes          uint64           `json:"total_bytes"`
	Packets        uint64           `json:"total_pkts"`
	Clients        int              `json:"unique_clients"`
	Servers        int              `json:"unique_servers"`
	TopByBytes     []FlowPair       `json:"top_by_bytes"`
	TopByPackets   []FlowPair       `json:"top_by_pkts"`
	ByNamespace    map[string]int   `json:"by_namespace"`
	CrossNamespace []NamespaceCross `json:"cross_namespace"`
	Handshake      map[string]int64 `json:"tcp_handshake_us,omitempty" jsonschema:"p50, p90 and p99 of all handshakes, by clients' clocks"`
	Reading
}

// FlowPair is a client and a server that exchange much.
type FlowPair struct {
	Client  string `json:"client_pod"`
	Server  string `json:"server_pod"`
	Bytes   uint64 `json:"bytes,omitempty"`
	Packets uint64 `json:"pkts,omitempty"`
}

// NamespaceCross is the flows from one namespace to another.
type NamespaceCross struct {
	Src          string `json:"src_ns"`
	Dst          string `json:"dst_ns"`
	Flows        int    `json:"flows"`
	Bytes        uint64 `json:"bytes"`
	HandshakeP50 int64  `json:"tcp_handshake_p50_us,omitempty"`
	HandshakeP99 int64  `json:"tcp_handshake_p99_us,omitempty"`
}

// MapRequest asks who calls whom (get_service_map).
type MapRequest struct {
	Selection
	By      string `json:"by,omitempty" jsonschema:"service (default), pod, namespace or node"`
	Service string `json:"service,omitempty" jsonschema:"only edges from or to it"`
	Depth   int    `json:"depth,omitempty" jsonschema:"with service: edges so many steps away; 1 by default"`
}

// ServiceMap is who calls whom.
type ServiceMap struct {
	Nodes []MapNode `json:"nodes"`
	Edges []MapEdge `json:"edges"`
	Reading
}

// MapNode is one end of edges.
type MapNode struct {
	Name      string   `json:"name"`
	Namespace string   `json:"namespace,omitempty"`
	Kind      string   `json:"kind" jsonschema:"service, pod, namespace, node, host or external"`
	In        int      `json:"calls_in"`
	Out       int      `json:"calls_out"`
	Protocols []string `json:"protocols" jsonschema:"that it serves"`
}

// MapEdge is what one end asks of another.
type MapEdge struct {
	Src         string   `json:"src"`
	Dst         string   `json:"dst"`
	Protocols   []string `json:"protocols"`
	Endpoints   []string `json:"endpoints,omitempty" jsonschema:"busiest first, at most 20"`
	Connections int      `json:"connections"`
	Bytes       uint64   `json:"bytes"`
	Crosses     bool     `json:"cross_namespace,omitempty"`
	Stats
}

// ServiceRequest asks for all of one service (get_service_details).
type ServiceRequest struct {
	Scope
	Service string `json:"service"`
}

// ServiceDetails is one service's statistics, neighbours, endpoints and events.
type ServiceDetails struct {
	Service   string                 `json:"service"`
	Workloads []WorkloadRecord       `json:"workloads"`
	Serving   Stats                  `json:"serving" jsonschema:"the calls that it answers"`
	Calling   Stats                  `json:"calling" jsonschema:"the calls that it makes"`
	Endpoints []Stats                `json:"endpoints"`
	Callers   []MapEdge              `json:"callers"`
	Callees   []MapEdge              `json:"callees"`
	Events    []traffic.ClusterEvent `json:"events,omitempty"`
	Reading
}

// WorkloadsRequest asks who there was (list_workloads).
type WorkloadsRequest struct {
	Scope
	Name       string            `json:"name,omitempty"`
	Namespace  string            `json:"namespace,omitempty"`
	Namespaces []string          `json:"namespaces,omitempty"`
	NameRegex  string            `json:"name_regex,omitempty" jsonschema:"Go regular expression, found anywhere in the name"`
	Labels     map[string]string `json:"labels,omitempty" jsonschema:"all of these"`
	Type       string            `json:"type,omitempty" jsonschema:"pod, service, namespace or node; pods and services by default"`
	Timestamp  int64             `json:"timestamp,omitempty" jsonschema:"Unix milliseconds: who there was then"`
}

// WorkloadsAnswer is who there was.
type WorkloadsAnswer struct {
	Workloads []WorkloadRecord `json:"workloads"`
	Total     int              `json:"total"`
	Reading
}

// WorkloadRecord is a pod, service, namespace or node with its addresses.
type WorkloadRecord struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	Kind      string            `json:"kind"`
	Labels    map[string]string `json:"labels,omitempty"`
	IPs       []WorkloadIP      `json:"ips"`
	Node      string            `json:"node,omitempty"`
	Owner     string            `json:"owner,omitempty" jsonschema:"Deployment, StatefulSet, … as kind/name"`
}

// WorkloadIP is an address and since when.
type WorkloadIP struct {
	IP        string `json:"ip"`
	Timestamp int64  `json:"timestamp" jsonschema:"since when, Unix milliseconds"`
	Until     int64  `json:"until,omitempty" jsonschema:"until when, Unix milliseconds; still without it"`
}

// IPsRequest asks whose addresses they were (list_ips).
type IPsRequest struct {
	Scope
	IP         string            `json:"ip,omitempty"`
	Namespaces []string          `json:"namespaces,omitempty"`
	NameRegex  string            `json:"name_regex,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Timestamp  int64             `json:"timestamp,omitempty"`
}

// IPsAnswer is whose addresses they were.
type IPsAnswer struct {
	IPs   []IPRecord `json:"ips"`
	Total int        `json:"total"`
	Reading
}

// IPRecord is an address and who had it.
type IPRecord struct {
	IP      string    `json:"ip"`
	Records []IPOwner `json:"records"`
}

// IPOwner is who had an address.
type IPOwner struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Kind      string `json:"kind,omitempty"`
	Timestamp int64  `json:"timestamp" jsonschema:"since when, Unix milliseconds"`
	Until     int64  `json:"until,omitempty"`
}

// FilterRequest names a filter (apply_filter).
type FilterRequest struct {
	KFL string `json:"kfl"`
}

// FilterAnswer is a filter's name, and how it was read.
type FilterAnswer struct {
	FilterID string   `json:"filter_id"`
	KFL      string   `json:"kfl" jsonschema:"as it was read"`
	Selects  string   `json:"selects" jsonschema:"calls or connections"`
	Warnings []string `json:"warnings,omitempty"`
}
