package query

import "github.com/devloop-io/devloop/traffic"

// Side is one of two sets of traffic to compare.
type Side struct {
	Scope
	Revision string `json:"revision,omitempty" jsonschema:"only calls of this revision, such as r7; of its newest iteration, without db and snapshot_id"`
}

// CompareRequest asks what differs between two sets of traffic (compare_traffic): two windows, snapshots or revisions.
type CompareRequest struct {
	A     Side   `json:"a" jsonschema:"what it was: the baseline"`
	B     Side   `json:"b" jsonschema:"what it is"`
	KFL   string `json:"kfl,omitempty" jsonschema:"only calls that this filter selects, on both sides"`
	Limit int    `json:"limit,omitempty" jsonschema:"endpoints and edges, what changed most first; 50 by default, 500 at most"`
}

// Comparison is what differs between two sets of traffic.
type Comparison struct {
	A          SideTotals       `json:"a"`
	B          SideTotals       `json:"b"`
	Findings   []string         `json:"findings" jsonschema:"what changed, gravest first, one sentence each"`
	Endpoints  []EndpointChange `json:"endpoints"`
	NewEdges   []Edge           `json:"new_edges" jsonschema:"only in b"`
	LostEdges  []Edge           `json:"lost_edges" jsonschema:"only in a"`
	PerRequest []CallsPer       `json:"calls_per_request" jsonschema:"calls that one request caused, where their number differs"`
	Fields     []FieldChange    `json:"fields" jsonschema:"headers and JSON fields that came, went or have another type"`
	Alpha      float64          `json:"alpha" jsonschema:"chance of a false alarm that is accepted in all endpoints together, as share of what is reported"`
	Basis      string           `json:"basis" jsonschema:"what the statistics rest on"`
	Truncated  bool             `json:"truncated"`
	Note       string           `json:"note,omitempty"`
}

// SideTotals is one side of a comparison as a whole.
type SideTotals struct {
	Calls     int     `json:"total_calls"`
	Errors    int     `json:"errors"`
	ErrorRate float64 `json:"error_rate"`
	Seconds   float64 `json:"seconds" jsonschema:"first to last call"`
	Reading
}

// EndpointChange is one endpoint on both sides.
type EndpointChange struct {
	Endpoint  string         `json:"endpoint" jsonschema:"server, method and route"`
	Change    string         `json:"change" jsonschema:"new, lost, failing, mended, slower, faster, same, or unsure: too few calls to tell"`
	Calls     [2]int         `json:"calls" jsonschema:"in a and in b, like all pairs here"`
	Rate      Ratio          `json:"rate_ratio" jsonschema:"calls a second, b to a"`
	Errors    [2]int         `json:"errors"`
	ErrorP    float64        `json:"error_p" jsonschema:"Fisher's exact test of the share of errors"`
	StatusesA map[string]int `json:"statuses_a,omitempty"`
	StatusesB map[string]int `json:"statuses_b,omitempty"`
	P50       [2]float64     `json:"p50_ms"`
	P99       [2]float64     `json:"p99_ms"`
	Answered  [2]int         `json:"answered" jsonschema:"calls whose latency is known"`
	Shift     *Shift         `json:"shift,omitempty" jsonschema:"how much longer b takes; absent where either side has no answered call"`
	Needs     int            `json:"needs,omitempty" jsonschema:"answered calls that each side needs at least before a difference can show"`
	Example   string         `json:"example,omitempty" jsonschema:"id of a call of b; of a, where b has none"`
}

// Ratio is a ratio with its interval.
type Ratio struct {
	Value float64 `json:"value" jsonschema:"0 where one side has none"`
	Low   float64 `json:"low"`
	High  float64 `json:"high" jsonschema:"0 where there is no upper bound"`
}

// Shift is by how much one sample is larger than another.
type Shift struct {
	MS      float64 `json:"ms" jsonschema:"Hodges and Lehmann's estimate: median of all differences b - a"`
	Low     float64 `json:"low_ms"`
	High    float64 `json:"high_ms"`
	P       float64 `json:"p" jsonschema:"Mann and Whitney's test, not adjusted"`
	PAdj    float64 `json:"p_adjusted" jsonschema:"for the number of endpoints, after Benjamini and Hochberg"`
	CLES    float64 `json:"cles" jsonschema:"share of pairs in which b is larger; 0.5 is no difference"`
	Sampled bool    `json:"sampled,omitempty" jsonschema:"of many latencies some thousand were taken by chance"`
}

// Edge is one end asking another over one protocol.
type Edge struct {
	Src      string `json:"src"`
	Dst      string `json:"dst"`
	Protocol string `json:"proto"`
	Calls    int    `json:"calls"`
	Outside  bool   `json:"outside,omitempty" jsonschema:"it leaves the system under test"`
	Example  string `json:"example,omitempty"`
}

// CallsPer is how many calls to an endpoint one request to another causes.
type CallsPer struct {
	Request  string     `json:"request" jsonschema:"endpoint whose requests cause them"`
	Callee   string     `json:"callee" jsonschema:"endpoint that is called"`
	Requests [2]int     `json:"requests"`
	Calls    [2]int     `json:"calls"`
	Mean     [2]float64 `json:"mean" jsonschema:"calls a request"`
	Ratio    Ratio      `json:"ratio" jsonschema:"b to a"`
}

// FieldChange is a header or a field of JSON bodies that one side has and the other has not, or has with another type.
type FieldChange struct {
	Endpoint string    `json:"endpoint"`
	Place    string    `json:"place" jsonschema:"request.header, response.header, request.body or response.body"`
	Name     string    `json:"name" jsonschema:"of the header, or path of the field: items[].price"`
	Change   string    `json:"change" jsonschema:"new, lost, rarer, commoner, or another type"`
	Present  [2]int    `json:"present" jsonschema:"messages that have it"`
	Of       [2]int    `json:"of" jsonschema:"messages that were looked at"`
	Types    [2]string `json:"types,omitzero" jsonschema:"JSON types"`
}

// EventsRequest asks what happened beside the calls (list_events).
type EventsRequest struct {
	Scope
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty" jsonschema:"pod, or local service"`
	Kind      string `json:"kind,omitempty" jsonschema:"restart, probe, rollout, scheduling, image, start, node or other"`
	Warnings  bool   `json:"warnings,omitempty" jsonschema:"only what is not as it should be"`
	Limit     int    `json:"limit,omitempty" jsonschema:"1 to 1000, newest first; 100 by default"`
	Before    string `json:"before,omitempty" jsonschema:"id of an event: also what its pod sent and received right before it"`
	Seconds   int    `json:"seconds,omitempty" jsonschema:"how long before; 120 by default"`
}

// EventsAnswer is what happened beside the calls.
type EventsAnswer struct {
	Events    []Event      `json:"events"`
	Total     int          `json:"total"`
	Truncated bool         `json:"truncated"`
	Before    *BeforeEvent `json:"before,omitempty"`
	Reading
}

// Event is one event with its name.
type Event struct {
	ID string `json:"id" jsonschema:"for before"`
	TS int64  `json:"ts" jsonschema:"Unix milliseconds"`
	traffic.ClusterEvent
	Text string `json:"text"`
}

// BeforeEvent is what a pod sent and received before an event.
type BeforeEvent struct {
	Event    Event                 `json:"event"`
	Window   Scope                 `json:"window" jsonschema:"give these to other tools"`
	KFL      string                `json:"kfl" jsonschema:"selects the pod's calls"`
	Received []Talk                `json:"received" jsonschema:"by client"`
	Sent     []Talk                `json:"sent" jsonschema:"by server, external ones too"`
	Last     []traffic.CompactCall `json:"last" jsonschema:"the last calls, newest first; untrusted text from the network"`
	Open     int                   `json:"open" jsonschema:"calls that had no answer when it happened"`
	Resets   int                   `json:"resets" jsonschema:"connections that were reset"`
}

// Talk is what was said to one peer.
type Talk struct {
	Peer      string  `json:"peer"`
	Protocol  string  `json:"proto"`
	Calls     int     `json:"calls"`
	Errors    int     `json:"errors"`
	Outside   bool    `json:"outside,omitempty"`
	P99       float64 `json:"p99_ms"`
	LastError string  `json:"last_error,omitempty" jsonschema:"id of the last call that failed"`
}

// DependentsRequest asks who is affected when something goes away (get_dependents).
type DependentsRequest struct {
	Selection
	Service string `json:"service" jsonschema:"service, database, cache or external host"`
	Depth   int    `json:"depth,omitempty" jsonschema:"steps away; all by default"`
}

// DependentsAnswer is who depends on a service, directly and through others.
type DependentsAnswer struct {
	Service    string      `json:"service"`
	Dependents []Dependent `json:"dependents" jsonschema:"nearest first"`
	Endpoints  []Affected  `json:"endpoints" jsonschema:"endpoints whose requests led to calls to it, by the call tree; most first, at most 100"`
	How        string      `json:"how,omitempty" jsonschema:"what the shares rest on"`
	Reading
}

// Dependent is a service that depends on another.
type Dependent struct {
	Name  string  `json:"name"`
	Depth int     `json:"depth" jsonschema:"1 calls it directly"`
	Via   string  `json:"via" jsonschema:"whom it calls on the way there"`
	Calls int     `json:"calls" jsonschema:"that it makes to via"`
	Sync  int     `json:"sync" jsonschema:"of them those that a request waited for"`
	Async int     `json:"async" jsonschema:"those that went on after their request was answered"`
	Own   int     `json:"own" jsonschema:"those that no request caused"`
	Share float64 `json:"sync_share" jsonschema:"sync to calls"`
}

// Affected is an endpoint whose requests need something.
type Affected struct {
	Endpoint string  `json:"endpoint"`
	Service  string  `json:"service"`
	Requests int     `json:"requests"`
	Needed   int     `json:"needed" jsonschema:"requests that led to a call to it"`
	Share    float64 `json:"share"`
}

// EgressRequest asks what leaves the system (list_egress).
type EgressRequest struct {
	Selection
	Allow []string `json:"allow,omitempty" jsonschema:"allowed destinations: names, *.example.com, addresses, CIDRs, each with :port or without; the answer says who keeps to them"`
	Limit int      `json:"limit,omitempty" jsonschema:"1 to 1000, most bytes first; 100 by default"`
}

// EgressAnswer is what leaves the system, by destination.
type EgressAnswer struct {
	Destinations []Egress `json:"destinations"`
	Total        int      `json:"total"`
	Forbidden    int      `json:"forbidden" jsonschema:"destinations that the given list does not allow"`
	Truncated    bool     `json:"truncated"`
	Reading
}

// Egress is one destination outside.
type Egress struct {
	Name         string         `json:"name" jsonschema:"domain, or address where there is none"`
	KnownBy      string         `json:"known_by" jsonschema:"host (HTTP), sni (TLS), dns (look-up), name (configuration) or ip"`
	IPs          []string       `json:"ips" jsonschema:"at most 20"`
	Ports        []int          `json:"ports"`
	Services     []string       `json:"services" jsonschema:"who speaks to it"`
	Protocols    []string       `json:"protocols"`
	Connections  int            `json:"connections"`
	Opened       int            `json:"opened" jsonschema:"connections that began in the window"`
	Calls        int            `json:"calls"`
	Errors       int            `json:"errors"`
	P50          float64        `json:"p50_ms"`
	P99          float64        `json:"p99_ms"`
	Sent         uint64         `json:"sent_bytes"`
	Received     uint64         `json:"received_bytes"`
	TLS          int            `json:"tls_connections"`
	Plaintext    int            `json:"plaintext_connections" jsonschema:"whose payload is readable on the wire"`
	Versions     map[string]int `json:"tls_versions,omitempty" jsonschema:"handshakes by version"`
	HandshakeP50 int64          `json:"tcp_handshake_p50_us,omitempty"`
	HandshakeP90 int64          `json:"tcp_handshake_p90_us,omitempty"`
	HandshakeP99 int64          `json:"tcp_handshake_p99_us,omitempty"`
	Handshakes   int            `json:"handshakes"`
	Credentials  []string       `json:"credentials,omitempty" jsonschema:"kinds of secrets in requests to it"`
	Allowed      *bool          `json:"allowed,omitempty" jsonschema:"where a list was given"`
	First        int64          `json:"first_ts" jsonschema:"Unix milliseconds"`
	Last         int64          `json:"last_ts"`
	Example      string         `json:"example,omitempty" jsonschema:"id of a call"`
}

// CorrelateRequest asks whether two numbers of calls go together (correlate).
type CorrelateRequest struct {
	Selection
	X string `json:"x" jsonschema:"numeric field of KFL, such as request_body_size"`
	Y string `json:"y" jsonschema:"likewise, such as latency"`
}

// Correlation is how two numbers of calls go together.
type Correlation struct {
	X        string   `json:"x"`
	Y        string   `json:"y"`
	UnitX    string   `json:"unit_x,omitempty"`
	UnitY    string   `json:"unit_y,omitempty"`
	N        int      `json:"n" jsonschema:"calls that have both"`
	Without  int      `json:"without" jsonschema:"calls that lack one"`
	Spearman Estimate `json:"spearman"`
	Kendall  Estimate `json:"kendall" jsonschema:"tau-b"`
	P        float64  `json:"p" jsonschema:"of no relation, from Spearman's rho"`
	Says     string   `json:"says" jsonschema:"the result in words"`
	Bins     []Bin    `json:"bins" jsonschema:"y by fourths of x"`
	Sampled  bool     `json:"sampled,omitempty" jsonschema:"of many calls some thousand were taken by chance"`
	Reading
}

// Estimate is a number with its interval of 95 percent.
type Estimate struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// Bin is a stretch of x.
type Bin struct {
	N       int     `json:"n"`
	From    float64 `json:"from"`
	To      float64 `json:"to"`
	MedianY float64 `json:"median_y"`
}

// SensitiveRequest asks for sensitive data in calls (find_sensitive_data).
type SensitiveRequest struct {
	Selection
	Kinds    []string `json:"kinds,omitempty" jsonschema:"only these: card, iban, ssn, id_number, account, email, jwt, bearer, password, api_key, …; also personal, or credentials"`
	Personal bool     `json:"personal,omitempty" jsonschema:"only what identifies a person or an account: cards, account and id numbers, e-mail addresses"`
	Calls    bool     `json:"calls,omitempty" jsonschema:"also each call that has some: source, destination, time"`
	Limit    int      `json:"limit,omitempty" jsonschema:"findings, and calls; 100 by default, 1000 at most"`
}

// SensitiveAnswer is where sensitive data was seen, never what it was.
type SensitiveAnswer struct {
	Findings  []Sensitive     `json:"findings" jsonschema:"by kind, place and endpoint, most calls first"`
	Spread    []Spread        `json:"spread" jsonschema:"values that went over several edges; those that left the system first"`
	Calls     []SensitiveCall `json:"calls,omitempty" jsonschema:"oldest first"`
	CallCount int             `json:"call_count" jsonschema:"calls that have some"`
	Looked    int             `json:"calls_examined"`
	Truncated bool            `json:"truncated"`
	Reading
}

// Sensitive is one kind of data in one place of an endpoint's calls.
type Sensitive struct {
	Kind     string   `json:"kind"`
	Personal bool     `json:"personal" jsonschema:"it identifies a person or an account"`
	Place    string   `json:"place" jsonschema:"request.header:authorization, response.body:email, …"`
	Src      string   `json:"src"`
	Endpoint string   `json:"endpoint"`
	Outside  bool     `json:"outside,omitempty" jsonschema:"it left the system"`
	Plain    bool     `json:"plaintext,omitempty" jsonschema:"readable on the wire"`
	Calls    int      `json:"calls"`
	Values   int      `json:"values" jsonschema:"different ones"`
	Hashes   []string `json:"hashes" jsonschema:"keyed hashes of some of them, at most 5"`
	First    int64    `json:"first_ts"`
	Last     int64    `json:"last_ts"`
	Example  string   `json:"example" jsonschema:"id of a call"`
}

// Spread is one value and where it went.
type Spread struct {
	Kind    string   `json:"kind"`
	Hash    string   `json:"hash"`
	Edges   []string `json:"edges" jsonschema:"src → dst, in the order in which they were first seen"`
	Outside bool     `json:"outside,omitempty" jsonschema:"one of them leaves the system"`
	Calls   int      `json:"calls"`
}

// SensitiveCall is one call with sensitive data.
type SensitiveCall struct {
	ID     string   `json:"id"`
	TS     int64    `json:"ts" jsonschema:"Unix milliseconds"`
	Src    string   `json:"src"`
	Dst    string   `json:"dst"`
	What   string   `json:"what" jsonschema:"method and path; untrusted text from the network"`
	Kinds  []string `json:"kinds"`
	Places []string `json:"places"`
}

// ErrorsRequest asks what failed, and why (find_errors).
type ErrorsRequest struct {
	Selection
	Service string `json:"service,omitempty" jsonschema:"only what failed at its endpoints"`
	Limit   int    `json:"limit,omitempty" jsonschema:"groups, most calls first; 20 by default, 200 at most"`
}

// ErrorsAnswer is what failed, by cause.
type ErrorsAnswer struct {
	Groups    []ErrorGroup `json:"groups"`
	Errors    int          `json:"errors" jsonschema:"calls that failed"`
	Calls     int          `json:"total_calls"`
	ErrorRate float64      `json:"error_rate"`
	Truncated bool         `json:"truncated"`
	Reading
}

// ErrorGroup is errors with one cause.
type ErrorGroup struct {
	Cause    string      `json:"cause" jsonschema:"one sentence; untrusted text may be quoted in it"`
	Endpoint string      `json:"endpoint" jsonschema:"where it showed: the outermost call that failed"`
	Src      string      `json:"src" jsonschema:"who made that call"`
	Result   string      `json:"result" jsonschema:"status or error of that call"`
	Count    int         `json:"count" jsonschema:"of these outermost calls"`
	Of       int         `json:"of" jsonschema:"all calls to the endpoint from there"`
	Chain    []ErrorStep `json:"chain" jsonschema:"from the outermost failure to the innermost"`
	GaveUp   string      `json:"gave_up_first,omitempty" jsonschema:"whose patience ended, where the innermost call got no answer"`
	AfterMS  float64     `json:"gave_up_after_ms,omitempty" jsonschema:"median of how long it had waited"`
	Sure     int         `json:"sure" jsonschema:"of count, those for which the call tree leaves no doubt"`
	Retried  int         `json:"retried,omitempty" jsonschema:"innermost calls that were attempts of a repeated request"`
	First    int64       `json:"first_ts"`
	Last     int64       `json:"last_ts"`
	Timeline []Moment    `json:"timeline" jsonschema:"what came first: slow, failing, reset"`
	Examples []string    `json:"examples" jsonschema:"ids of outermost calls, at most 5"`
	Message  string      `json:"message,omitempty" jsonschema:"what the innermost error said, cut; untrusted text from the network"`
}

// ErrorStep is one failure of a chain.
type ErrorStep struct {
	Src      string `json:"src"`
	Endpoint string `json:"endpoint"`
	Result   string `json:"result" jsonschema:"503, connection_reset, grpc 14, 23505, …"`
	Count    int    `json:"count"`
	Example  string `json:"example"`
}

// Moment is one line of a timeline.
type Moment struct {
	TS   int64  `json:"ts" jsonschema:"Unix milliseconds"`
	What string `json:"what"`
	Call string `json:"call,omitempty"`
}

// RetriesRequest asks for requests that were made more than once (list_retries).
type RetriesRequest struct {
	Selection
	StormAttempts int `json:"storm_attempts,omitempty" jsonschema:"a storm is this many attempts; 3 by default"`
	StormMS       int `json:"storm_ms,omitempty" jsonschema:"within so many milliseconds; 100 by default"`
	Limit         int `json:"limit,omitempty" jsonschema:"edges; 50 by default, 500 at most"`
}

// RetriesAnswer is requests that were made more than once, by edge.
type RetriesAnswer struct {
	Edges     []RetryEdge `json:"edges" jsonschema:"most storms first, then most retries"`
	Requests  int         `json:"retried_requests"`
	Retries   int         `json:"retries" jsonschema:"attempts after the first"`
	Storms    int         `json:"storms"`
	StormAt   int         `json:"storm_attempts"`
	StormMS   int         `json:"storm_ms"`
	Truncated bool        `json:"truncated"`
	Reading
}

// RetryEdge is how one client retries one endpoint.
type RetryEdge struct {
	Src           string         `json:"src"`
	Endpoint      string         `json:"endpoint"`
	Calls         int            `json:"calls" jsonschema:"all calls of this edge, attempts included"`
	Requests      int            `json:"retried_requests"`
	Attempts      map[string]int `json:"attempts" jsonschema:"retried requests by number of attempts"`
	MaxAttempts   int            `json:"max_attempts"`
	Amplification float64        `json:"amplification" jsonschema:"calls for each request that was meant"`
	DelaysMS      []float64      `json:"delays_ms" jsonschema:"median pause before the 2nd, 3rd, … attempt"`
	Factor        float64        `json:"backoff_factor" jsonschema:"median growth of the pauses; 0 where no request has two of them"`
	Storms        int            `json:"storms"`
	Succeeded     int            `json:"succeeded" jsonschema:"retried requests whose last attempt did not fail"`
	Exact         int            `json:"exact" jsonschema:"retried requests whose attempts carry the same id; the others only look the same"`
	Examples      []RetryExample `json:"examples" jsonschema:"at most 3, storms first"`
}

// RetryExample is the attempts of one request.
type RetryExample struct {
	Group    string         `json:"group" jsonschema:"id of the first attempt"`
	Storm    bool           `json:"storm"`
	SpanMS   float64        `json:"span_ms" jsonschema:"begin of the first attempt to begin of the last"`
	Attempts []RetryAttempt `json:"attempts"`
}

// RetryAttempt is one attempt.
type RetryAttempt struct {
	ID      string  `json:"id"`
	TS      int64   `json:"ts"`
	Result  string  `json:"result"`
	DelayMS float64 `json:"delay_ms" jsonschema:"since the attempt before had ended"`
}

// ConnectionsRequest asks how connections are opened and used (list_connections).
type ConnectionsRequest struct {
	Selection
	BucketMS int64  `json:"bucket_ms,omitempty" jsonschema:"also the connections opened in each stretch of so many milliseconds"`
	Limit    int    `json:"limit,omitempty" jsonschema:"1 to 1000; 100 by default"`
	Order    string `json:"order,omitempty" jsonschema:"opened (default), resets, reuse: least calls a connection first"`
}

// ConnectionsAnswer is how connections are opened and used, by client and server.
type ConnectionsAnswer struct {
	Edges     []ConnectionEdge `json:"edges"`
	Opened    int              `json:"opened"`
	PerMinute float64          `json:"opened_per_minute"`
	Total     int              `json:"total" jsonschema:"edges"`
	Truncated bool             `json:"truncated"`
	Reading
}

// ConnectionEdge is the connections of one client to one port of a server.
type ConnectionEdge struct {
	Client       string         `json:"client"`
	Server       string         `json:"server"`
	Port         int            `json:"port"`
	Protocols    []string       `json:"protocols"`
	Connections  int            `json:"connections" jsonschema:"that lived in the window"`
	Opened       int            `json:"opened" jsonschema:"that began in it"`
	PerMinute    float64        `json:"opened_per_minute"`
	Most         int            `json:"most_at_once"`
	Calls        int            `json:"calls"`
	CallsPer     float64        `json:"calls_per_connection"`
	Reused       float64        `json:"reuse_ratio" jsonschema:"share of calls that did not need a connection of their own"`
	Closed       int            `json:"closed"`
	Resets       int            `json:"resets"`
	MidRequest   int            `json:"resets_mid_request"`
	ResetBy      map[string]int `json:"reset_by,omitempty"`
	Refused      int            `json:"refused"`
	LifeP50      float64        `json:"lifetime_p50_ms" jsonschema:"of those that ended"`
	HandshakeP50 int64          `json:"tcp_handshake_p50_us,omitempty"`
	HandshakeP99 int64          `json:"tcp_handshake_p99_us,omitempty"`
	SYNAgain     int            `json:"syn_retransmits,omitempty"`
	Buckets      []OpenedIn     `json:"buckets,omitempty"`
}

// OpenedIn is a stretch of time.
type OpenedIn struct {
	TS     int64 `json:"ts"`
	Opened int   `json:"opened"`
}

// ExportRequest asks for a file with calls (export_calls).
type ExportRequest struct {
	Selection
	Format    string `json:"format" jsonschema:"csv, markdown, har or otlp (traces as lines of JSON)"`
	File      string `json:"file,omitempty" jsonschema:"name of the file in the folder for exports; made up by default"`
	Limit     int    `json:"limit,omitempty" jsonschema:"calls, oldest first; all by default"`
	Overwrite bool   `json:"overwrite,omitempty" jsonschema:"replace a file of that name"`
}

// ExportAnswer is a file with calls.
type ExportAnswer struct {
	Path    string `json:"path"`
	Format  string `json:"format"`
	Calls   int    `json:"calls" jsonschema:"in the file"`
	Omitted int    `json:"omitted" jsonschema:"selected and not in the file: beyond the limit, or of a protocol that the format has no place for"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"`
	Reading
}

// PolicyRequest asks for network policies that allow what was seen (export_policy).
type PolicyRequest struct {
	Selection
	Namespace string `json:"namespace,omitempty" jsonschema:"only policies of this namespace"`
	Service   string `json:"service,omitempty" jsonschema:"only the policy of this service"`
	File      string `json:"file,omitempty" jsonschema:"also write it to this file in the folder for exports"`
	Overwrite bool   `json:"overwrite,omitempty" jsonschema:"replace a file of that name"`
}

// PolicyAnswer is network policies that allow what was seen and nothing else.
type PolicyAnswer struct {
	YAML     string   `json:"yaml"`
	Policies int      `json:"policies"`
	Edges    int      `json:"edges" jsonschema:"observed edges that they allow"`
	Caveats  []string `json:"caveats" jsonschema:"what to look at before applying it"`
	Path     string   `json:"path,omitempty"`
	SHA256   string   `json:"sha256,omitempty"`
	Reading
}

// TreeRequest asks for the tree of calls that a call belongs to (get_call_tree).
type TreeRequest struct {
	Selection
	ID    string `json:"id,omitempty" jsonschema:"of any call of the tree; the slowest request that the filter selects by default"`
	Limit int    `json:"limit,omitempty" jsonschema:"calls, 1 to 1000; 200 by default"`
}

// TreeAnswer is a tree of calls, and where its time went.
type TreeAnswer struct {
	Root    *traffic.TraceNode `json:"root"`
	Omitted int                `json:"omitted,omitempty" jsonschema:"calls beyond the limit"`
	Spent   []Spent            `json:"spent" jsonschema:"where the root's time went: self times on the critical path, longest first"`
	GaveUp  string             `json:"gave_up_first,omitempty" jsonschema:"the innermost call without an answer, and whose patience ended"`
	Joined  map[string]int     `json:"joined_by" jsonschema:"calls by how their parent was found: trace, nesting"`
	Guessed int                `json:"guessed" jsonschema:"calls for which several parents are possible"`
	Reading
}

// Spent is time that one service took on the critical path.
type Spent struct {
	Service string  `json:"service"`
	What    string  `json:"what"`
	MS      float64 `json:"ms"`
	Share   float64 `json:"share" jsonschema:"of the root's latency"`
	Network float64 `json:"network_ms,omitempty" jsonschema:"of the wait for it, the TCP round trip, where it is known"`
	Call    string  `json:"call"`
}
