package store

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/devloop-io/devloop/traffic"
)

// endRow is one end of a call or connection. srcRow and dstRow are the same with the names of their columns.
type endRow struct {
	IP        string
	Port      int32
	Name      string // the shortest name, for queries; not read back
	NS        string
	Kind      string
	Svc       string
	Pod       string
	Container string
	Node      string
	Process   string
	PID       int64
	Build     string
	DNS       string
	Labels    string // JSON object, empty for none
	Outside   bool

	Owner       string
	OwnerKind   string
	Zone        string
	NodeIP      string
	Annotations string // JSON object, empty for none
	HostNetwork bool
}

// srcRow has the columns of the client.
type srcRow struct {
	IP        string `parquet:"src_ip,dict"`
	Port      int32  `parquet:"src_port"`
	Name      string `parquet:"src_name,dict"` // the shortest name, for queries; not read back
	NS        string `parquet:"src_ns,dict"`
	Kind      string `parquet:"src_kind,dict"`
	Svc       string `parquet:"src_svc,dict"`
	Pod       string `parquet:"src_pod,dict"`
	Container string `parquet:"src_container,dict"`
	Node      string `parquet:"src_node,dict"`
	Process   string `parquet:"src_process,dict"`
	PID       int64  `parquet:"src_pid"`
	Build     string `parquet:"src_build,dict"`
	DNS       string `parquet:"src_dns,dict"`
	Labels    string `parquet:"src_labels,dict"` // JSON object, empty for none
	Outside   bool   `parquet:"src_outside"`

	Owner       string `parquet:"src_owner,dict"`
	OwnerKind   string `parquet:"src_owner_kind,dict"`
	Zone        string `parquet:"src_zone,dict"`
	NodeIP      string `parquet:"src_node_ip,dict"`
	Annotations string `parquet:"src_annotations,dict"` // JSON object, empty for none
	HostNetwork bool   `parquet:"src_host_network"`
}

// dstRow has the columns of the server.
type dstRow struct {
	IP        string `parquet:"dst_ip,dict"`
	Port      int32  `parquet:"dst_port"`
	Name      string `parquet:"dst_name,dict"` // the shortest name, for queries; not read back
	NS        string `parquet:"dst_ns,dict"`
	Kind      string `parquet:"dst_kind,dict"`
	Svc       string `parquet:"dst_svc,dict"`
	Pod       string `parquet:"dst_pod,dict"`
	Container string `parquet:"dst_container,dict"`
	Node      string `parquet:"dst_node,dict"`
	Process   string `parquet:"dst_process,dict"`
	PID       int64  `parquet:"dst_pid"`
	Build     string `parquet:"dst_build,dict"`
	DNS       string `parquet:"dst_dns,dict"`
	Labels    string `parquet:"dst_labels,dict"` // JSON object, empty for none
	Outside   bool   `parquet:"dst_outside"`

	Owner       string `parquet:"dst_owner,dict"`
	OwnerKind   string `parquet:"dst_owner_kind,dict"`
	Zone        string `parquet:"dst_zone,dict"`
	NodeIP      string `parquet:"dst_node_ip,dict"`
	Annotations string `parquet:"dst_annotations,dict"` // JSON object, empty for none
	HostNetwork bool   `parquet:"dst_host_network"`
}

// endToRow fills in a row that is empty.
func endToRow(e *traffic.Endpoint, r *endRow, t *texts) {
	r.Port, r.Name, r.NS, r.Kind, r.Svc, r.Pod, r.Container, r.Node = int32(e.Port), e.Name(), e.Namespace, e.Kind, e.Service, e.Pod, e.Container, e.Node
	r.Process, r.PID, r.Build, r.DNS, r.Outside = e.Process, int64(e.PID), e.Build, e.DNS, e.Outside
	r.Owner, r.OwnerKind, r.Zone, r.NodeIP, r.HostNetwork = e.Owner, e.OwnerKind, e.Zone, e.NodeIP, e.HostNetwork
	if e.IP.IsValid() {
		r.IP = t.address(e.IP)
	}
	if e.Labels != nil {
		r.Labels = toJSON(e.Labels)
	}
	if e.Annotations != nil {
		r.Annotations = toJSON(e.Annotations)
	}
}

func (r endRow) end() (traffic.Endpoint, error) {
	e := traffic.Endpoint{Port: uint16(r.Port), Workload: traffic.Workload{
		Namespace: r.NS, Kind: r.Kind, Service: r.Svc, Pod: r.Pod, Container: r.Container, Node: r.Node, Process: r.Process, PID: uint32(r.PID),
		Build: r.Build, DNS: r.DNS, Outside: r.Outside,
		Owner: r.Owner, OwnerKind: r.OwnerKind, Zone: r.Zone, NodeIP: r.NodeIP, HostNetwork: r.HostNetwork,
	}}
	var err error
	if r.IP != "" {
		if e.IP, err = netip.ParseAddr(r.IP); err != nil {
			return e, err
		}
	}
	if err := fromJSON(r.Annotations, &e.Annotations); err != nil {
		return e, err
	}
	return e, fromJSON(r.Labels, &e.Labels)
}

// toJSON writes what is plain data and so cannot fail.
func toJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}

func fromJSON(s string, v any) error {
	if s == "" {
		return nil
	}
	return json.Unmarshal([]byte(s), v)
}

// listJSON tells nil ("") from empty ("[]").
func listJSON[T any](list []T) string {
	if list == nil {
		return ""
	}
	return toJSON(list)
}

// callRow is a row of calls.parquet. Columns that filters know have the names of its field table. Structured parts are
// JSON text in columns of their own, so that any engine can read them and none needs to.
type callRow struct {
	ID            string  `parquet:"id"`
	Proto         string  `parquet:"proto,dict"`
	ConnID        int64   `parquet:"conn_id,plain"` // few and far apart: differences are longer
	FlowID        int64   `parquet:"flow_id,plain"`
	Index         int64   `parquet:"index"`
	StartNS       int64   `parquet:"start_ns,delta"`
	RequestEndNS  int64   `parquet:"request_end_ns,delta"`
	ResponseNS    int64   `parquet:"response_start_ns,delta"`
	EndNS         int64   `parquet:"end_ns,delta"`
	LatencyNS     int64   `parquet:"latency_ns"` // derived: 0 without a response
	TTFBNS        int64   `parquet:"ttfb_ns"`    // derived
	Point         string  `parquet:"point,dict"`
	CaptureSource string  `parquet:"capture_source,dict"`
	State         string  `parquet:"state,dict"`
	Error         string  `parquet:"error,dict"`
	Background    bool    `parquet:"background"`
	Method        string  `parquet:"method,dict"`
	Path          string  `parquet:"path,dict"`
	Status        int32   `parquet:"status"`
	ReqSize       int64   `parquet:"req_size"`
	RespSize      int64   `parquet:"resp_size"`
	ReqPktFirst   int64   `parquet:"req_packets_first"`
	ReqPktLast    int64   `parquet:"req_packets_last"`
	RespPktFirst  int64   `parquet:"resp_packets_first"`
	RespPktLast   int64   `parquet:"resp_packets_last"`
	TraceID       string  `parquet:"trace_id"`
	SpanID        string  `parquet:"span_id"`
	Iteration     string  `parquet:"iteration,dict"`
	Revision      string  `parquet:"revision,dict"`
	Parent        string  `parquet:"parent"`
	ParentBy      string  `parquet:"parent_by,dict"`
	ParentCand    int32   `parquet:"parent_candidates"`
	Depth         int32   `parquet:"depth"`
	SelfNS        int64   `parquet:"self_ns"`
	Route         string  `parquet:"route,dict"`
	Credentials   string  `parquet:"credentials,dict"` // JSON list
	HasRetry      bool    `parquet:"retried"`
	RetryGroup    string  `parquet:"retry_group,dict"`
	RetryAttempt  int32   `parquet:"retry_attempt"`
	RetryAttempts int32   `parquet:"retry_attempts"`
	RetryDelayNS  int64   `parquet:"retry_delay_ns"`
	RetryFactor   float64 `parquet:"retry_factor"`
	RetryJitter   float64 `parquet:"retry_jitter"`
	RetryConf     string  `parquet:"retry_confidence,dict"`

	srcRow
	dstRow

	HasHTTP     bool   `parquet:"http"`
	HTTPVersion string `parquet:"http_version,dict"`
	Host        string `parquet:"host,dict"`
	Query       string `parquet:"query"`
	Reason      string `parquet:"reason,dict"`
	ReqHeaders  string `parquet:"req_headers"`       // JSON list of {name, value}
	RespHeaders string `parquet:"resp_headers,dict"` //
	ReqHdrSize  int64  `parquet:"req_headers_size"`
	RespHdrSize int64  `parquet:"resp_headers_size"`
	HasReqBody  bool   `parquet:"has_req_body"`
	HasRespBody bool   `parquet:"has_resp_body"`
	ReqBody     []byte `parquet:"req_body,dict"`
	RespBody    []byte `parquet:"resp_body,dict"`
	ReqHdrsCut  bool   `parquet:"req_headers_cut"`
	RespHdrsCut bool   `parquet:"resp_headers_cut"`
	ReqBodyCut  bool   `parquet:"req_body_cut"`
	RespBodyCut bool   `parquet:"resp_body_cut"`
	BodyError   string `parquet:"body_error,dict"`
	Upgrade     string `parquet:"upgrade,dict"`
	Continued   bool   `parquet:"continued"`
	KeptAlive   bool   `parquet:"kept_alive"`
	Stream      int64  `parquet:"http_stream"`
	Pushed      bool   `parquet:"pushed"`
	Reset       string `parquet:"http_reset,dict"`
	UnknownHdrs int32  `parquet:"unknown_headers"`

	HasGRPC      bool   `parquet:"grpc"`
	GRPCService  string `parquet:"grpc_service,dict"`
	GRPCMethod   string `parquet:"grpc_method,dict"`
	GRPCStatus   int32  `parquet:"grpc_status"`
	GRPCMessage  string `parquet:"grpc_message,dict"`
	GRPCReqMsgs  int64  `parquet:"grpc_request_messages"`
	GRPCRespMsgs int64  `parquet:"grpc_response_messages"`
	GRPCTimeout  int64  `parquet:"grpc_timeout_ns"`
	GRPCEncoding string `parquet:"grpc_encoding,dict"`
	GRPCWeb      bool   `parquet:"grpc_web"`
	GRPCReqJSON  string `parquet:"grpc_request_json"` // messages, one a line
	GRPCRespJSON string `parquet:"grpc_response_json"`

	HasDNS       bool   `parquet:"dns"`
	DNSID        int32  `parquet:"dns_id"`
	DNSTransport string `parquet:"dns_transport,dict"`
	DNSQuestions string `parquet:"dns_questions,dict"` // JSON list of records
	DNSAnswers   string `parquet:"dns_answers,dict"`   //
	DNSRCode     string `parquet:"dns_rcode,dict"`
	DNSTruncated bool   `parquet:"dns_truncated"`

	HasTLS         bool   `parquet:"tls"`
	TLSSNI         string `parquet:"tls_sni,dict"`
	TLSVersion     int32  `parquet:"tls_version"`
	TLSOffered     int32  `parquet:"tls_offered_version"`
	TLSCipher      int32  `parquet:"tls_cipher"`
	TLSCiphers     string `parquet:"tls_ciphers,dict"`
	TLSALPN        string `parquet:"tls_alpn,dict"`
	TLSALPNs       string `parquet:"tls_alpns,dict"`
	TLSResumed     bool   `parquet:"tls_resumed"`
	TLSCerts       string `parquet:"tls_certificates,dict"`
	TLSAlert       string `parquet:"tls_alert,dict"`
	TLSHandshakeNS int64  `parquet:"tls_handshake_ns"`

	HasRedis       bool   `parquet:"redis"`
	RedisCommand   string `parquet:"redis_command,dict"`
	RedisKey       string `parquet:"redis_key,dict"`
	RedisArgs      string `parquet:"redis_args"` // JSON list
	RedisArgsCut   bool   `parquet:"redis_args_cut"`
	RedisType      string `parquet:"redis_reply_type,dict"`
	RedisError     string `parquet:"redis_error,dict"`
	RedisReply     string `parquet:"redis_reply"`
	RedisReplyCut  bool   `parquet:"redis_reply_cut"`
	RedisDatabase  int64  `parquet:"redis_database"`
	RedisPipelined bool   `parquet:"redis_pipelined"`
	RedisQueued    bool   `parquet:"redis_queued"`
	RedisPush      bool   `parquet:"redis_push"`

	postgresqlRow
	websocketRow
	graphqlRow
	eventsRow

	// Raw is the whole call in Go's gob encoding where its text is not UTF-8, which Parquet's text and JSON must be:
	// the other columns then hold it with replacement characters. Empty for nearly all rows.
	Raw []byte `parquet:"raw"`
}

func callToRow(c *traffic.Call, r *callRow, t *texts) error {
	*r = callRow{} // a literal of all fields would be made elsewhere first, and copied
	r.ID, r.Proto, r.ConnID, r.FlowID, r.Index = c.ID, c.Protocol, int64(c.ConnID), int64(c.FlowID), int64(c.Index)
	r.StartNS, r.RequestEndNS, r.ResponseNS, r.EndNS, r.LatencyNS = c.Start, c.RequestEnd, c.ResponseStart, c.End, c.Latency()
	r.Point, r.CaptureSource, r.State, r.Error, r.Background = c.Point, c.CaptureSource, string(c.State), c.Error, c.Background
	r.Method, r.Path, r.Status, r.ReqSize, r.RespSize = c.Method, c.Path, int32(c.Status), c.RequestSize, c.ResponseSize
	r.ReqPktFirst, r.ReqPktLast = int64(c.RequestPackets.First), int64(c.RequestPackets.Last)
	r.RespPktFirst, r.RespPktLast = int64(c.ResponsePackets.First), int64(c.ResponsePackets.Last)
	r.TraceID, r.SpanID, r.Iteration, r.Revision, r.Credentials = c.TraceID, c.SpanID, c.Iteration, c.Revision, listJSON(c.Credentials)
	endToRow(&c.Src, (*endRow)(&r.srcRow), t)
	endToRow(&c.Dst, (*endRow)(&r.dstRow), t)
	if c.ResponseStart > c.Start {
		r.TTFBNS = c.ResponseStart - c.Start
	}
	r.Parent, r.ParentBy, r.ParentCand, r.Depth, r.SelfNS, r.Route = c.Parent, c.ParentBy, int32(c.ParentCandidates), int32(c.Depth), c.SelfNS, c.Route
	if t := c.Retry; t != nil {
		r.HasRetry, r.RetryGroup, r.RetryAttempt, r.RetryAttempts = true, t.Group, int32(t.Attempt), int32(t.Attempts)
		r.RetryDelayNS, r.RetryFactor, r.RetryJitter, r.RetryConf = t.DelayNS, t.Factor, t.Jitter, t.Confidence
	}
	if h := c.HTTP; h != nil {
		r.HasHTTP, r.HTTPVersion, r.Host, r.Query, r.Reason = true, h.Version, h.Host, h.Query, h.Reason
		r.ReqHeaders, r.RespHeaders = t.headers(h.RequestHeaders), t.repeated(h.ResponseHeaders)
		r.ReqHdrSize, r.RespHdrSize = int64(h.RequestHeadersSize), int64(h.ResponseHeadersSize)
		r.HasReqBody, r.HasRespBody, r.ReqBody, r.RespBody = h.RequestBody != nil, h.ResponseBody != nil, h.RequestBody, h.ResponseBody
		r.ReqHdrsCut, r.RespHdrsCut = h.RequestHeadersCut, h.ResponseHeadersCut
		r.ReqBodyCut, r.RespBodyCut, r.BodyError, r.Upgrade = h.RequestBodyCut, h.ResponseBodyCut, h.BodyError, h.Upgrade
		r.Continued, r.KeptAlive = h.Continued, h.KeptAlive
		r.Stream, r.Pushed, r.Reset, r.UnknownHdrs = int64(h.Stream), h.Pushed, h.Reset, int32(h.UnknownHeaders)
	}
	if g := c.GRPC; g != nil {
		r.HasGRPC, r.GRPCService, r.GRPCMethod, r.GRPCStatus, r.GRPCMessage = true, g.Service, g.Method, int32(g.Status), g.Message
		r.GRPCReqMsgs, r.GRPCRespMsgs = int64(g.RequestMessages), int64(g.ResponseMessages)
		r.GRPCTimeout, r.GRPCEncoding = g.TimeoutNS, g.Encoding
		r.GRPCWeb, r.GRPCReqJSON, r.GRPCRespJSON = g.Web, g.RequestJSON, g.ResponseJSON
	}
	if d := c.DNS; d != nil {
		r.HasDNS, r.DNSID, r.DNSTransport, r.DNSRCode, r.DNSTruncated = true, int32(d.ID), d.Transport, d.RCode, d.Truncated
		r.DNSQuestions, r.DNSAnswers = listJSON(d.Questions), listJSON(d.Answers)
	}
	if t := c.TLS; t != nil {
		r.HasTLS, r.TLSSNI, r.TLSVersion, r.TLSOffered, r.TLSCipher = true, t.SNI, int32(t.Version), int32(t.OfferedVersion), int32(t.Cipher)
		r.TLSCiphers, r.TLSALPN, r.TLSALPNs, r.TLSResumed = listJSON(t.Ciphers), t.ALPN, listJSON(t.ALPNs), t.Resumed
		r.TLSCerts, r.TLSAlert, r.TLSHandshakeNS = listJSON(t.Certificates), t.Alert, t.HandshakeNS
	}
	if d := c.Redis; d != nil {
		r.HasRedis, r.RedisCommand, r.RedisKey, r.RedisArgs, r.RedisArgsCut = true, d.Command, d.Key, listJSON(d.Args), d.ArgsCut
		r.RedisType, r.RedisError, r.RedisReply, r.RedisReplyCut = d.Type, d.Error, d.Reply, d.ReplyCut
		r.RedisDatabase, r.RedisPipelined, r.RedisQueued, r.RedisPush = int64(d.Database), d.Pipelined, d.Queued, d.Push
	}
	if c.PostgreSQL != nil {
		r.postgresqlRow = postgresqlToRow(c.PostgreSQL)
	}
	if c.WebSocket != nil {
		r.websocketRow = websocketToRow(c.WebSocket)
	}
	if c.GraphQL != nil {
		r.graphqlRow = graphqlToRow(c.GraphQL)
	}
	r.eventsRow = eventsToRow(c.HTTP)
	if !callIsText(c, t.plain) {
		var b bytes.Buffer
		if err := gob.NewEncoder(&b).Encode(c); err != nil {
			return fmt.Errorf("encode call %s: %w", c.ID, err)
		}
		r.Raw = b.Bytes()
		for _, s := range []*string{&r.Method, &r.Path, &r.Route, &r.Host, &r.Query, &r.Reason, &r.HTTPVersion, &r.TLSSNI, &r.TLSALPN, &r.BodyError, &r.Upgrade,
			&r.GRPCService, &r.GRPCMethod, &r.GRPCMessage, &r.GRPCEncoding, &r.Error, &r.TraceID, &r.SpanID, &r.Iteration, &r.DNSRCode, &r.TLSAlert, &r.RedisCommand, &r.RedisKey, &r.RedisError, &r.RedisReply} {
			*s = strings.ToValidUTF8(*s, "\uFFFD")
		}
		for _, s := range append(r.postgresqlRow.texts(), r.graphqlRow.texts()...) {
			*s = strings.ToValidUTF8(*s, "\uFFFD")
		}
	}
	return nil
}

// callIsText reports whether everything in c that came off the wire, bodies apart, is UTF-8. plain says so of HTTP headers.
func callIsText(c *traffic.Call, plain bool) bool {
	ok := true
	check := func(list ...string) {
		for _, s := range list {
			ok = ok && (ascii(s) || utf8.ValidString(s))
		}
	}
	check(c.Method, c.Path, c.Route, c.TraceID, c.SpanID, c.Iteration, c.Error)
	for _, k := range c.Credentials {
		check(k.Place)
	}
	if h := c.HTTP; h != nil {
		check(h.Version, h.Host, h.Query, h.Reason, h.BodyError, h.Upgrade)
		for _, headers := range [][]traffic.Header{h.RequestHeaders, h.ResponseHeaders} {
			for i := 0; !plain && i < len(headers); i++ {
				check(headers[i].Name, headers[i].Value)
			}
		}
	}
	if g := c.GRPC; g != nil {
		check(g.Service, g.Method, g.Message, g.Encoding, g.RequestJSON, g.ResponseJSON)
	}
	if d := c.DNS; d != nil {
		check(d.RCode)
		for _, records := range [][]traffic.DNSRecord{d.Questions, d.Answers} {
			for i := range records {
				check(records[i].Name, records[i].Type, records[i].Data)
			}
		}
	}
	if d := c.Redis; d != nil {
		check(d.Command, d.Key, d.Error, d.Reply)
		check(d.Args...)
	}
	if t := c.TLS; t != nil {
		check(t.SNI, t.ALPN, t.Alert)
		check(t.ALPNs...)
		check(t.Ciphers...)
		for i := range t.Certificates {
			check(t.Certificates[i].Subject, t.Certificates[i].Issuer)
			check(t.Certificates[i].Names...)
		}
	}
	if c.PostgreSQL != nil {
		check(textsOf(c.PostgreSQL)...)
	}
	return ok && graphqlIsText(c.GraphQL)
}

func (r *callRow) call() (*traffic.Call, error) {
	if len(r.Raw) > 0 {
		c := &traffic.Call{}
		return c, gob.NewDecoder(bytes.NewReader(r.Raw)).Decode(c)
	}
	c := &traffic.Call{
		ID: r.ID, Protocol: r.Proto, ConnID: uint64(r.ConnID), FlowID: uint64(r.FlowID), Index: int(r.Index), Start: r.StartNS, RequestEnd: r.RequestEndNS,
		ResponseStart: r.ResponseNS, End: r.EndNS, Point: r.Point, CaptureSource: r.CaptureSource, State: traffic.State(r.State), Error: r.Error, Background: r.Background,
		Method: r.Method, Path: r.Path, Status: int(r.Status), RequestSize: r.ReqSize, ResponseSize: r.RespSize,
		RequestPackets:  traffic.PacketRange{First: uint64(r.ReqPktFirst), Last: uint64(r.ReqPktLast)},
		ResponsePackets: traffic.PacketRange{First: uint64(r.RespPktFirst), Last: uint64(r.RespPktLast)},
		TraceID:         r.TraceID, SpanID: r.SpanID, Iteration: r.Iteration, Revision: r.Revision,
		Parent: r.Parent, ParentBy: r.ParentBy, ParentCandidates: int(r.ParentCand), Depth: int(r.Depth), SelfNS: r.SelfNS, Route: r.Route,
	}
	err := fromJSON(r.Credentials, &c.Credentials)
	text := func(s string, v any) {
		if err == nil {
			err = fromJSON(s, v)
		}
	}
	if err == nil {
		c.Src, err = endRow(r.srcRow).end()
	}
	if err == nil {
		c.Dst, err = endRow(r.dstRow).end()
	}
	if r.HasRetry {
		c.Retry = &traffic.Retry{Group: r.RetryGroup, Attempt: int(r.RetryAttempt), Attempts: int(r.RetryAttempts), DelayNS: r.RetryDelayNS,
			Factor: r.RetryFactor, Jitter: r.RetryJitter, Confidence: r.RetryConf}
	}
	if r.HasHTTP {
		h := &traffic.HTTP{
			Version: r.HTTPVersion, Host: r.Host, Query: r.Query, Reason: r.Reason, RequestHeadersSize: int(r.ReqHdrSize),
			ResponseHeadersSize: int(r.RespHdrSize), RequestHeadersCut: r.ReqHdrsCut, ResponseHeadersCut: r.RespHdrsCut,
			RequestBodyCut: r.ReqBodyCut, ResponseBodyCut: r.RespBodyCut, BodyError: r.BodyError,
			Upgrade: r.Upgrade, Continued: r.Continued, KeptAlive: r.KeptAlive, Stream: uint32(r.Stream), Pushed: r.Pushed, Reset: r.Reset,
			UnknownHeaders: int(r.UnknownHdrs),
		}
		text(r.ReqHeaders, &h.RequestHeaders)
		text(r.RespHeaders, &h.ResponseHeaders)
		if r.HasReqBody { // the column's memory is used again for the next rows
			h.RequestBody = append([]byte{}, r.ReqBody...)
		}
		if r.HasRespBody {
			h.ResponseBody = append([]byte{}, r.RespBody...)
		}
		c.HTTP = h
	}
	if r.HasGRPC {
		c.GRPC = &traffic.GRPC{Service: r.GRPCService, Method: r.GRPCMethod, Status: int(r.GRPCStatus), Message: r.GRPCMessage,
			RequestMessages: int(r.GRPCReqMsgs), ResponseMessages: int(r.GRPCRespMsgs), TimeoutNS: r.GRPCTimeout, Encoding: r.GRPCEncoding,
			Web: r.GRPCWeb, RequestJSON: r.GRPCReqJSON, ResponseJSON: r.GRPCRespJSON}
	}
	if r.HasDNS {
		d := &traffic.DNS{ID: uint16(r.DNSID), Transport: r.DNSTransport, RCode: r.DNSRCode, Truncated: r.DNSTruncated}
		text(r.DNSQuestions, &d.Questions)
		text(r.DNSAnswers, &d.Answers)
		c.DNS = d
	}
	if r.HasTLS {
		t := &traffic.TLS{SNI: r.TLSSNI, Version: uint16(r.TLSVersion), OfferedVersion: uint16(r.TLSOffered), Cipher: uint16(r.TLSCipher), ALPN: r.TLSALPN,
			Resumed: r.TLSResumed, Alert: r.TLSAlert, HandshakeNS: r.TLSHandshakeNS}
		text(r.TLSCiphers, &t.Ciphers)
		text(r.TLSALPNs, &t.ALPNs)
		text(r.TLSCerts, &t.Certificates)
		c.TLS = t
	}
	if r.HasRedis {
		d := &traffic.Redis{Command: r.RedisCommand, Key: r.RedisKey, ArgsCut: r.RedisArgsCut, Type: r.RedisType, Error: r.RedisError, Reply: r.RedisReply,
			ReplyCut: r.RedisReplyCut, Database: int(r.RedisDatabase), Pipelined: r.RedisPipelined, Queued: r.RedisQueued, Push: r.RedisPush}
		text(r.RedisArgs, &d.Args)
		c.Redis = d
	}
	if err == nil {
		c.PostgreSQL, err = r.postgresql()
	}
	if err == nil {
		c.GraphQL, err = r.graphql()
	}
	c.WebSocket = r.websocket()
	r.events(c.HTTP)
	if err != nil {
		return nil, fmt.Errorf("decode call %q: %w", r.ID, err)
	}
	return c, nil
}

// connRow is a row of connections.parquet.
type connRow struct {
	ConnID            int64  `parquet:"conn_id"`
	FlowID            int64  `parquet:"flow_id"`
	Proto             string `parquet:"proto,dict"`
	L7                string `parquet:"l7,dict"`
	Guessed           bool   `parquet:"guessed"`
	StartNS           int64  `parquet:"start_ns,delta"`
	EndNS             int64  `parquet:"end_ns,delta"`
	State             string `parquet:"state,dict"`
	Opened            bool   `parquet:"opened"`
	Closed            bool   `parquet:"closed"`
	Calls             int64  `parquet:"calls"`
	WindowCalls       int64  `parquet:"window_calls"`
	MidRequestReset   bool   `parquet:"mid_request_reset"`
	ResetBy           string `parquet:"reset_by,dict"`
	ClientPackets     int64  `parquet:"client_packets"`
	ServerPackets     int64  `parquet:"server_packets"`
	ClientBytes       int64  `parquet:"client_bytes"`
	ServerBytes       int64  `parquet:"server_bytes"`
	Missing           int64  `parquet:"missing_bytes"`
	Undecoded         int64  `parquet:"undecoded_bytes"`
	WindowMissing     int64  `parquet:"window_missing_bytes"`
	WindowUndecoded   int64  `parquet:"window_undecoded_bytes"`
	Encrypted         int64  `parquet:"encrypted_bytes"`
	Lost              int64  `parquet:"lost_packets"`
	PktFirst          int64  `parquet:"packets_first"`
	PktLast           int64  `parquet:"packets_last"`
	HandshakeClientNS int64  `parquet:"handshake_client_ns"`
	HandshakeServerNS int64  `parquet:"handshake_server_ns"`
	ConnectNS         int64  `parquet:"connect_ns"`
	SYNRetransmits    int32  `parquet:"syn_retransmits"`
	SNI               string `parquet:"sni,dict"`
	Points            string `parquet:"points,dict"` // JSON list
	Views             string `parquet:"views"`       // JSON list
	OriginalDst       string `parquet:"original_dst,dict"`
	Revision          string `parquet:"revision,dict"`
	Background        bool   `parquet:"background"`
	CaptureSource     string `parquet:"capture_source,dict"`

	srcRow
	dstRow

	HasTCP              bool    `parquet:"tcp"`
	Retransmissions     int64   `parquet:"retransmissions"`
	FastRetransmissions int64   `parquet:"fast_retransmissions"`
	RetransmissionRate  float64 `parquet:"retransmission_rate"`
	ZeroWindowEvents    int64   `parquet:"zero_window_events"`
	WindowFullEvents    int64   `parquet:"window_full_events"`
	WindowScale         int64   `parquet:"window_scale"`
	AvgReceiveWindow    int64   `parquet:"avg_receive_window"`
	OutOfOrder          int64   `parquet:"out_of_order"`
	DupACKs             int64   `parquet:"dup_acks"`
	MissingSegments     int64   `parquet:"missing_segments"`
	RSTCount            int64   `parquet:"rst_count"`
	FINCount            int64   `parquet:"fin_count"`
	KeepaliveCount      int64   `parquet:"keepalive_count"`
	Completeness        int64   `parquet:"connection_completeness"`
	InitialRTT          int64   `parquet:"initial_rtt_us"`
	HandshakeTime       int64   `parquet:"handshake_time_us"`
	ConnectionTime      int64   `parquet:"connection_time_us"`
	TimeToFirstByte     int64   `parquet:"time_to_first_byte_us"`
	RTTMin              int64   `parquet:"rtt_min_us"`
	RTTMax              int64   `parquet:"rtt_max_us"`
	RTTAvg              int64   `parquet:"rtt_avg_us"`
	RTTSamples          int64   `parquet:"rtt_samples"`
	Jitter              int64   `parquet:"jitter_us"`
	GoodputBytes        int64   `parquet:"goodput_bytes"`

	Raw []byte `parquet:"raw"` // as in callRow
}

func connToRow(c *traffic.Connection, r *connRow, t *texts) error {
	*r = connRow{
		ConnID: int64(c.ID), FlowID: int64(c.FlowID), Proto: c.Proto, L7: c.L7, Guessed: c.Guessed, StartNS: c.Start, EndNS: c.End, State: string(c.State),
		Opened: c.Opened, Closed: c.Closed, Calls: int64(c.Calls), WindowCalls: int64(c.WindowCalls), MidRequestReset: c.MidRequestReset, ResetBy: c.ResetBy,
		ClientPackets: int64(c.ClientPackets), ServerPackets: int64(c.ServerPackets), ClientBytes: int64(c.ClientBytes), ServerBytes: int64(c.ServerBytes),
		WindowMissing: int64(c.WindowMissing), WindowUndecoded: int64(c.WindowUndecoded),
		Missing: int64(c.Missing), Undecoded: int64(c.Undecoded), Encrypted: int64(c.Encrypted), Lost: int64(c.Lost),
		PktFirst: int64(c.Packets.First), PktLast: int64(c.Packets.Last), HandshakeClientNS: c.HandshakeClientNS, HandshakeServerNS: c.HandshakeServerNS,
		ConnectNS: c.ConnectNS, SYNRetransmits: int32(c.SYNRetransmits), SNI: c.SNI, Points: listJSON(c.Points), Views: listJSON(c.Views), OriginalDst: addrPortText(c.OriginalDst), Revision: c.Revision,
		Background: c.Background, CaptureSource: c.CaptureSource,
	}
	endToRow(&c.Src, (*endRow)(&r.srcRow), t)
	endToRow(&c.Dst, (*endRow)(&r.dstRow), t)
	if m := c.TCP; m != nil {
		r.HasTCP = true
		r.Retransmissions, r.FastRetransmissions, r.RetransmissionRate = int64(m.Retransmissions), int64(m.FastRetransmissions), m.RetransmissionRate
		r.ZeroWindowEvents, r.WindowFullEvents, r.WindowScale = int64(m.ZeroWindowEvents), int64(m.WindowFullEvents), int64(m.WindowScale)
		r.AvgReceiveWindow, r.OutOfOrder, r.DupACKs, r.MissingSegments = m.AvgReceiveWindow, int64(m.OutOfOrder), int64(m.DupACKs), int64(m.MissingSegments)
		r.RSTCount, r.FINCount, r.KeepaliveCount, r.Completeness = int64(m.RSTCount), int64(m.FINCount), int64(m.KeepaliveCount), int64(m.Completeness)
		r.InitialRTT, r.HandshakeTime, r.ConnectionTime, r.TimeToFirstByte = m.InitialRTT, m.HandshakeTime, m.ConnectionTime, m.TimeToFirstByte
		r.RTTMin, r.RTTMax, r.RTTAvg, r.RTTSamples, r.Jitter, r.GoodputBytes = m.RTTMin, m.RTTMax, m.RTTAvg, int64(m.RTTSamples), m.Jitter, m.GoodputBytes
	}
	if !utf8.ValidString(c.SNI) {
		var b bytes.Buffer
		if err := gob.NewEncoder(&b).Encode(c); err != nil {
			return fmt.Errorf("encode connection %d: %w", c.ID, err)
		}
		r.Raw, r.SNI = b.Bytes(), strings.ToValidUTF8(c.SNI, "\uFFFD")
	}
	return nil
}

// addrPortText is empty for none.
func addrPortText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func (r *connRow) connection() (*traffic.Connection, error) {
	if len(r.Raw) > 0 {
		c := &traffic.Connection{}
		return c, gob.NewDecoder(bytes.NewReader(r.Raw)).Decode(c)
	}
	c := &traffic.Connection{
		ID: uint64(r.ConnID), FlowID: uint64(r.FlowID), Proto: r.Proto, L7: r.L7, Guessed: r.Guessed, Start: r.StartNS, End: r.EndNS, State: traffic.State(r.State),
		Opened: r.Opened, Closed: r.Closed, Calls: int(r.Calls), WindowCalls: int(r.WindowCalls), MidRequestReset: r.MidRequestReset, ResetBy: r.ResetBy,
		ClientPackets: uint64(r.ClientPackets), ServerPackets: uint64(r.ServerPackets), ClientBytes: uint64(r.ClientBytes), ServerBytes: uint64(r.ServerBytes),
		WindowMissing: uint64(r.WindowMissing), WindowUndecoded: uint64(r.WindowUndecoded),
		Missing: uint64(r.Missing), Undecoded: uint64(r.Undecoded), Encrypted: uint64(r.Encrypted), Lost: uint64(r.Lost),
		Packets:           traffic.PacketRange{First: uint64(r.PktFirst), Last: uint64(r.PktLast)},
		HandshakeClientNS: r.HandshakeClientNS, HandshakeServerNS: r.HandshakeServerNS, ConnectNS: r.ConnectNS, SYNRetransmits: int(r.SYNRetransmits),
		SNI: r.SNI, Revision: r.Revision, Background: r.Background, CaptureSource: r.CaptureSource,
	}
	var err error
	if c.Src, err = endRow(r.srcRow).end(); err == nil {
		if c.Dst, err = endRow(r.dstRow).end(); err == nil {
			if err = fromJSON(r.Points, &c.Points); err == nil {
				err = fromJSON(r.Views, &c.Views)
			}
		}
	}
	if r.OriginalDst != "" && err == nil {
		c.OriginalDst, err = netip.ParseAddrPort(r.OriginalDst)
	}
	if r.HasTCP {
		c.TCP = &traffic.TCPMetrics{
			Retransmissions: int(r.Retransmissions), FastRetransmissions: int(r.FastRetransmissions), RetransmissionRate: r.RetransmissionRate,
			ZeroWindowEvents: int(r.ZeroWindowEvents), WindowFullEvents: int(r.WindowFullEvents), WindowScale: int(r.WindowScale),
			AvgReceiveWindow: r.AvgReceiveWindow, OutOfOrder: int(r.OutOfOrder), DupACKs: int(r.DupACKs), MissingSegments: int(r.MissingSegments),
			RSTCount: int(r.RSTCount), FINCount: int(r.FINCount), KeepaliveCount: int(r.KeepaliveCount), Completeness: int(r.Completeness),
			InitialRTT: r.InitialRTT, HandshakeTime: r.HandshakeTime, ConnectionTime: r.ConnectionTime, TimeToFirstByte: r.TimeToFirstByte,
			RTTMin: r.RTTMin, RTTMax: r.RTTMax, RTTAvg: r.RTTAvg, RTTSamples: int(r.RTTSamples), Jitter: r.Jitter, GoodputBytes: r.GoodputBytes,
		}
	}
	if err != nil {
		return nil, fmt.Errorf("decode connection %d: %w", r.ConnID, err)
	}
	return c, nil
}
