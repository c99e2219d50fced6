package traffic

import "strings"

// Protocols that calls and connections carry.
const (
	ProtoHTTP    = "http"
	ProtoDNS     = "dns"
	ProtoRedis   = "redis"   // RESP2 and RESP3
	ProtoTLS     = "tls"     // one call per handshake; the bytes behind it stay closed
	ProtoQUIC    = "quic"    // of connections: their handshakes are TLS calls, what follows stays closed
	ProtoOther   = "other"   // seen from its first byte, and it is none of the protocols above
	ProtoUnknown = "unknown" // joined in the middle or cut: it could be anything
)

// State is how far a call or connection got.
type State string

// The states of calls.
const (
	StateComplete   State = "complete"   // request and response were seen
	StateOpen       State = "open"       // still waiting when the window closed, or the answer was lost to the capture; never an error
	StateUnanswered State = "unanswered" // the connection ended, or time ran out, without a response
	StateTruncated  State = "truncated"  // the response began and its connection ended in the middle
	StateHalf       State = "half"       // only the response was seen: the capture joined late or lost the request
)

// Values of [Call.CaptureSource].
const (
	SourceTLSKeyLog = "tls_keylog" // read inside of TLS with the secrets of a key log
	SourceICMPQuote = "icmp_quote" // in a packet that an ICMP error is about; no connection of the capture knows of it
	SourceSFlow     = "sflow"      // in the head of a packet that sFlow sampled; likewise
)

// Reasons in [Call.Error], after OpenTelemetry's error.type.
const (
	ErrorReset     = "connection_reset"
	ErrorRefused   = "connection_refused"
	ErrorClosed    = "connection_closed" // the server closed without an answer
	ErrorCancelled = "cancelled"         // the client closed or reset while it waited
	ErrorTimeout   = "timeout"           // DNS: no answer within the dissector's limit; gRPC: none within the client's deadline
	ErrorProtocol  = "protocol_error"
	ErrorTruncated = "truncated"
	ErrorStream    = "rst_stream" // HTTP/2: one end reset the stream, other than by the client cancelling it
	ErrorGoAway    = "goaway"     // HTTP/2: the connection was given up, or this stream is past the last one that the server took
)

// Call is one L7 request with its response, or its lack.
type Call struct {
	ID       string   `json:"id"`      // node/connection/index; stable for the same bytes
	Protocol string   `json:"proto"`   //
	ConnID   uint64   `json:"conn_id"` // fits in 53 bits
	FlowID   uint64   `json:"flow_id"` // client address and server address and port
	Index    int      `json:"index"`   // place on its connection, from 0
	Src      Endpoint `json:"src"`
	Dst      Endpoint `json:"dst"`

	Start         int64  `json:"start_ns"`                 // first request byte, Unix nanoseconds
	RequestEnd    int64  `json:"request_end_ns"`           // last request byte
	ResponseStart int64  `json:"response_start_ns"`        // first response byte, 0 without one
	End           int64  `json:"end_ns"`                   // last response byte, or when the wait ended
	Point         string `json:"point,omitempty"`          // whose clock edge the times are: client, server, or wire
	CaptureSource string `json:"capture_source,omitempty"` // tls_keylog where it was read inside of TLS, with logged secrets; then TLS says inside of which; icmp_quote, sflow: in packets that others tell of

	State      State  `json:"state"`
	Error      string `json:"error,omitempty"`      // why there is no whole response
	Background bool   `json:"background,omitempty"` // probe or other traffic that no exercise caused

	Method string `json:"method"` // HTTP method, DNS question type, Redis command, "ClientHello"
	Path   string `json:"path"`   // HTTP path without query, DNS name, Redis key, SNI
	Status int    `json:"status"` // HTTP status, DNS rcode, TLS alert; 0 without a response

	RequestSize     int64       `json:"req_size"`  // body bytes on the wire
	ResponseSize    int64       `json:"resp_size"` //
	RequestPackets  PacketRange `json:"req_packets"`
	ResponsePackets PacketRange `json:"resp_packets"`

	HTTP  *HTTP  `json:"http,omitempty"`
	GRPC  *GRPC  `json:"grpc,omitempty"`
	DNS   *DNS   `json:"dns,omitempty"`
	TLS   *TLS   `json:"tls,omitempty"`
	Redis *Redis `json:"redis,omitempty"`
	Retry *Retry `json:"retry,omitempty"`

	PostgreSQL *PostgreSQL `json:"postgresql,omitempty"`
	WebSocket  *WebSocket  `json:"ws,omitempty"`
	GraphQL    *GraphQL    `json:"gql,omitempty"`

	Credentials []Credential `json:"credentials,omitempty"` // found by redaction; never the value
	TraceID     string       `json:"trace_id,omitempty"`
	SpanID      string       `json:"span_id,omitempty"`   // the caller's span: parent of the work
	Iteration   string       `json:"iteration,omitempty"` // from the exercise, when it reached this call
	Revision    string       `json:"revision,omitempty"`  // "r7" when both ends ran r7's builds

	// What follows follows from all calls of a window together: see dissect/derive.
	Parent           string `json:"parent,omitempty"`            // ID of the call that the client was serving when it made this one
	ParentBy         string `json:"parent_by,omitempty"`         // trace or nesting
	ParentCandidates int    `json:"parent_candidates,omitempty"` // calls that could be the parent; the parent is sure when it is 1
	Depth            int    `json:"depth,omitempty"`             // ancestors
	SelfNS           int64  `json:"self_ns,omitempty"`           // latency less the time that children took; of complete calls
	Route            string `json:"route,omitempty"`             // HTTP: the path with {id} for what varies
}

// Values of [Call.ParentBy].
const (
	ByTrace   = "trace"   // the parent carried the same trace to the caller
	ByNesting = "nesting" // the caller was serving the parent meanwhile
)

// Latency is first request byte to last response byte in nanoseconds, 0 without a response.
func (c *Call) Latency() int64 {
	if c.ResponseStart == 0 || c.End < c.Start {
		return 0
	}
	return c.End - c.Start
}

// ClockStepped reports whether the call ends before it begins, because the clock was set back meanwhile: how long it took is not known.
func (c *Call) ClockStepped() bool { return c.Answered() && c.End < c.Start }

// Answered reports whether a response was seen at all.
func (c *Call) Answered() bool {
	return c.State == StateComplete || c.State == StateTruncated || c.State == StateHalf
}

// Asked reports whether the request was seen at all. An open call without a method is a response under way that the
// capture joined late.
func (c *Call) Asked() bool {
	return c.State != StateHalf && (c.State != StateOpen || c.Method != "")
}

// PacketRange names the first and last packet that carry a message; 0 when there is none. Other packets may lie between.
type PacketRange struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Header is one header line as it was sent.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// HTTP is what an HTTP call carries beyond the common fields.
type HTTP struct {
	Version             string   `json:"version"` // "1.0", "1.1", "2"
	Host                string   `json:"host"`
	Query               string   `json:"query,omitempty"` // raw, without "?"
	Reason              string   `json:"reason,omitempty"`
	RequestHeaders      []Header `json:"req_headers"`
	ResponseHeaders     []Header `json:"resp_headers"`
	RequestHeadersSize  int      `json:"req_headers_size"`           // bytes, request line included
	ResponseHeadersSize int      `json:"resp_headers_size"`          //
	RequestHeadersCut   bool     `json:"req_headers_cut,omitempty"`  // the capture lacks the later ones, and where the message ends
	ResponseHeadersCut  bool     `json:"resp_headers_cut,omitempty"` //
	RequestBody         []byte   `json:"req_body,omitempty"`         // decoded (chunked, gzip, br, zstd), cut at the dissector's limit
	ResponseBody        []byte   `json:"resp_body,omitempty"`        //
	RequestBodyCut      bool     `json:"req_body_cut,omitempty"`
	ResponseBodyCut     bool     `json:"resp_body_cut,omitempty"`
	BodyError           string   `json:"body_error,omitempty"`      // why a body could not be decoded
	Upgrade             string   `json:"upgrade,omitempty"`         // protocol that a 101 or CONNECT switched to
	Continued           bool     `json:"continued,omitempty"`       // a 100 Continue came first
	KeptAlive           bool     `json:"kept_alive"`                // not the first call on its connection
	Stream              uint32   `json:"stream,omitempty"`          // HTTP/2: number of the stream
	Pushed              bool     `json:"pushed,omitempty"`          // HTTP/2: the server promised the request itself
	EventStream         bool     `json:"event_stream,omitempty"`    // the response is of Server-Sent Events
	Events              int      `json:"events,omitempty"`          // seen of them, unless they were sent packed
	FirstEvent          int64    `json:"first_event_ns,omitempty"`  // when the first was whole, Unix nanoseconds
	IdleGap             int64    `json:"idle_gap_ns,omitempty"`     // longest silence between two events, or after the last
	Reset               string   `json:"reset,omitempty"`           // HTTP/2: code of the RST_STREAM or GOAWAY that ended it: CANCEL, …
	UnknownHeaders      int      `json:"unknown_headers,omitempty"` // HTTP/2: fields that refer to what came before the capture, or in a hole
}

// GRPC is what a gRPC call carries beyond its HTTP/2 exchange.
type GRPC struct {
	Service          string `json:"service"` // with its package: shop.v1.Cart
	Method           string `json:"method"`  // AddItem
	Status           int    `json:"status"`  // grpc-status; -1 where none was seen
	Message          string `json:"message,omitempty"`
	RequestMessages  int    `json:"req_messages"` // length-prefixed messages seen whole
	ResponseMessages int    `json:"resp_messages"`
	TimeoutNS        int64  `json:"timeout_ns,omitempty"` // grpc-timeout: what the client was ready to wait
	Encoding         string `json:"encoding,omitempty"`   // grpc-encoding of the response, of the request without one
	Web              bool   `json:"web,omitempty"`        // gRPC-Web: over HTTP/1.1 or 2, with the trailers in the body
	RequestJSON      string `json:"req_json,omitempty"`   // the messages as JSON, one a line, as far as the body was kept
	ResponseJSON     string `json:"resp_json,omitempty"`  //
}

// DNS is what a DNS call carries.
type DNS struct {
	ID        uint16      `json:"id"`
	Transport string      `json:"transport"` // udp or tcp
	Questions []DNSRecord `json:"questions"`
	Answers   []DNSRecord `json:"answers"`
	RCode     string      `json:"rcode"` // NOERROR, NXDOMAIN, …
	Truncated bool        `json:"truncated,omitempty"`
}

// DNSRecord is a question or an answer.
type DNSRecord struct {
	Name string `json:"name"` // without the final dot
	Type string `json:"type"` // A, AAAA, …
	Data string `json:"data,omitempty"`
	TTL  uint32 `json:"ttl,omitempty"`
}

// TLS is what a TLS handshake tells without keys.
type TLS struct {
	SNI            string        `json:"sni"`
	Version        uint16        `json:"version"` // negotiated; 0x0303 is TLS 1.2, 0x0304 TLS 1.3
	OfferedVersion uint16        `json:"offered_version"`
	Cipher         uint16        `json:"cipher"`
	Ciphers        []string      `json:"ciphers,omitempty"` // offered, IANA names
	ALPN           string        `json:"alpn,omitempty"`    // chosen, or the first offered when the choice is encrypted
	ALPNs          []string      `json:"alpns,omitempty"`
	Resumed        bool          `json:"resumed,omitempty"`
	Certificates   []Certificate `json:"certificates,omitempty"` // TLS 1.2 and older: 1.3 encrypts them
	Alert          string        `json:"alert,omitempty"`
	HandshakeNS    int64         `json:"handshake_ns,omitempty"` // ClientHello to the client's first record after the server's flight
}

// Certificate is one certificate of a TLS chain.
type Certificate struct {
	Subject   string   `json:"subject"`
	Issuer    string   `json:"issuer"`
	Names     []string `json:"names,omitempty"`
	NotBefore int64    `json:"not_before"` // Unix seconds
	NotAfter  int64    `json:"not_after"`  //
	SHA256    string   `json:"sha256"`
}

// Redis is what a Redis call carries: one command with its reply, or what a server pushes by itself. Answers of a server
// that are errors do not change the call's State, Error or Status; they stand in Error here.
type Redis struct {
	Command   string   `json:"command"`        // upper case; of a push its kind: MESSAGE, PMESSAGE, INVALIDATE, MONITOR
	Key       string   `json:"key,omitempty"`  // first key, or channel
	Args      []string `json:"args,omitempty"` // all behind the command
	ArgsCut   bool     `json:"args_cut,omitempty"`
	Type      string   `json:"reply_type,omitempty"` // simple, error, integer, string, array, null, map, set, push, …; "none" where the client asked for no reply
	Error     string   `json:"error,omitempty"`      // "WRONGTYPE Operation against …"
	Reply     string   `json:"reply,omitempty"`      // a text as it is, lists and maps in the manner of JSON, an error within them as "-ERR …"
	ReplyCut  bool     `json:"reply_cut,omitempty"`
	Database  int      `json:"database"`            // by the SELECTs that were seen on the connection
	Pipelined bool     `json:"pipelined,omitempty"` // sent while an earlier command still waited
	Queued    bool     `json:"queued,omitempty"`    // within MULTI: the result stands in EXEC's reply
	Push      bool     `json:"push,omitempty"`      // no command asked for it: pub/sub messages, invalidations, MONITOR's lines. Complete, without a request
}

// Credential is a secret that a call carried: its kind, where it stood, and a hash keyed per workspace, so that the
// same secret on two calls can be recognised and never read.
type Credential struct {
	Kind  string `json:"kind"`  // bearer, basic, cookie, api_key, jwt, …
	Place string `json:"place"` // request.header:authorization, request.query:token, …
	Hash  string `json:"hash"`
}

// InURL reports whether it stands in the URL of a request: in the path or the query.
func (c Credential) InURL() bool {
	return strings.HasPrefix(c.Place, "request.query:") || strings.HasPrefix(c.Place, "request.path")
}

// Retry says which logical request a call was an attempt of.
type Retry struct {
	Group      string  `json:"group"`      // ID of the first attempt
	Attempt    int     `json:"attempt"`    // from 1
	Attempts   int     `json:"attempts"`   // of the whole group
	DelayNS    int64   `json:"delay_ns"`   // since the previous attempt ended (its start, when it never did)
	Factor     float64 `json:"factor"`     // mean growth of the delays of the group; 0 with fewer than two delays
	Jitter     float64 `json:"jitter"`     // coefficient of variation of the delays' residuals
	Confidence string  `json:"confidence"` // exact (same id or trace parent) or inferred
}
