package traffic

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// CompactCall is a call in Kubeshark's format=compact: one short line for lists.
type CompactCall struct {
	ID      string     `json:"id"`
	TS      int64      `json:"ts"` // Unix milliseconds
	Src     CompactEnd `json:"src"`
	Dst     CompactEnd `json:"dst"`
	Proto   string     `json:"proto"`
	Method  string     `json:"method"`
	Path    string     `json:"path"`
	Status  int        `json:"status"`
	Latency float64    `json:"latency_ms"`
	State   State      `json:"state,omitempty"` // unless complete
	Error   string     `json:"error,omitempty"`
	Retry   *Retry     `json:"retry,omitempty"`
}

// CompactEnd is an endpoint with the fields that Kubeshark gives it.
type CompactEnd struct {
	IP   string `json:"ip"`
	Port uint16 `json:"port"`
	Pod  string `json:"pod,omitempty"`
	NS   string `json:"ns,omitempty"`
	Svc  string `json:"svc,omitempty"`
	Node string `json:"node,omitempty"`
}

// FullCall is a call in Kubeshark's format=full: what CompactCall has, with headers, bodies and ids, and what devloop
// knows beyond it.
type FullCall struct {
	CompactCall
	ConnID      uint64            `json:"conn_id"`
	NodeID      string            `json:"node_id"`
	FlowID      uint64            `json:"flow_id"`
	Worker      string            `json:"worker"`
	Query       string            `json:"query,omitempty"`
	Host        string            `json:"host,omitempty"`
	ReqHeaders  map[string]string `json:"req_headers"` // several of one name are joined by ", "
	RespHeaders map[string]string `json:"resp_headers"`
	ReqBody     string            `json:"req_body"` // base64 after "base64:" when it is no text
	RespBody    string            `json:"resp_body"`
	ReqSize     int64             `json:"req_size"`
	RespSize    int64             `json:"resp_size"`
	TTFB        float64           `json:"ttfb_ms,omitempty"`
	Truncated   bool              `json:"truncated,omitempty"` // a body was cut at the dissector's limit
	SrcBuild    string            `json:"src_build,omitempty"`
	DstBuild    string            `json:"dst_build,omitempty"`
	SrcProcess  string            `json:"src_process,omitempty"`
	DstProcess  string            `json:"dst_process,omitempty"`
	Revision    string            `json:"revision,omitempty"`
	Iteration   string            `json:"iteration,omitempty"`
	TraceID     string            `json:"trace_id,omitempty"`
	Parent      string            `json:"parent,omitempty"`    // ID of the call that caused it
	ParentBy    string            `json:"parent_by,omitempty"` // trace or nesting
	Candidates  int               `json:"parent_candidates,omitempty"`
	Depth       int               `json:"depth,omitempty"`
	Self        float64           `json:"self_ms,omitempty"` // latency less the time that children took
	Route       string            `json:"route,omitempty"`
	Background  bool              `json:"background,omitempty"`
	Point       string            `json:"capture_point,omitempty"`
	Source      string            `json:"capture_source,omitempty"` // tls_keylog where it was read inside of TLS
	ReqPackets  PacketRange       `json:"req_packets"`
	RespPackets PacketRange       `json:"resp_packets"`
	Credentials []Credential      `json:"credentials,omitempty"`
	GRPC        *GRPC             `json:"grpc,omitempty"`
	DNS         *DNS              `json:"dns,omitempty"`
	TLS         *TLS              `json:"tls,omitempty"`
	PostgreSQL  *PostgreSQL       `json:"postgresql,omitempty"`
	Redis       *Redis            `json:"redis,omitempty"`
	WebSocket   *WebSocket        `json:"ws,omitempty"` // its payload is the request's or response's body
	GraphQL     *GraphQL          `json:"gql,omitempty"`
}

// Compact is the call's short form.
func (c *Call) Compact() CompactCall {
	f := CompactCall{
		ID: c.ID, TS: c.Start / 1e6, Src: compactEnd(&c.Src), Dst: compactEnd(&c.Dst), Proto: c.Protocol,
		Method: c.Method, Path: c.Path, Status: c.Status, Latency: milliseconds(c.Latency()), Error: c.Error, Retry: c.Retry,
	}
	if c.State != StateComplete {
		f.State = c.State
	}
	return f
}

// Full is the call's long form.
func (c *Call) Full() FullCall {
	node, _, _ := strings.Cut(c.ID, "/")
	f := FullCall{
		CompactCall: c.Compact(), ConnID: c.ConnID, NodeID: node, FlowID: c.FlowID, Worker: node,
		ReqHeaders: map[string]string{}, RespHeaders: map[string]string{}, ReqSize: c.RequestSize, RespSize: c.ResponseSize,
		SrcBuild: c.Src.Build, DstBuild: c.Dst.Build, SrcProcess: c.Src.Process, DstProcess: c.Dst.Process,
		Revision: c.Revision, Iteration: c.Iteration, TraceID: c.TraceID, Background: c.Background, Point: c.Point, Source: c.CaptureSource,
		ReqPackets: c.RequestPackets, RespPackets: c.ResponsePackets, Credentials: c.Credentials, GRPC: c.GRPC, DNS: c.DNS, TLS: c.TLS, PostgreSQL: c.PostgreSQL, Redis: c.Redis,
	}
	f.Parent, f.ParentBy, f.Candidates, f.Depth, f.Self, f.Route = c.Parent, c.ParentBy, c.ParentCandidates, c.Depth, milliseconds(c.SelfNS), c.Route
	if c.ResponseStart > 0 && c.RequestEnd > 0 {
		f.TTFB = milliseconds(c.ResponseStart - c.RequestEnd)
	}
	if h := c.HTTP; h != nil {
		f.Host, f.Query = h.Host, h.Query
		f.ReqHeaders, f.RespHeaders = headerMap(h.RequestHeaders), headerMap(h.ResponseHeaders)
		f.ReqBody, f.RespBody = bodyText(h.RequestBody), bodyText(h.ResponseBody)
		f.Truncated = h.RequestBodyCut || h.ResponseBodyCut
	}
	if c.GRPC != nil {
		f.messages(c.GRPC)
	}
	if c.WebSocket != nil {
		f.message(c.WebSocket)
	}
	f.GraphQL = c.GraphQL
	return f
}

// messages puts what gRPC messages say in the place of their bytes.
func (f *FullCall) messages(g *GRPC) {
	bare := *g
	if g.RequestJSON != "" {
		f.ReqBody, bare.RequestJSON = g.RequestJSON, ""
	}
	if g.ResponseJSON != "" {
		f.RespBody, bare.ResponseJSON = g.ResponseJSON, ""
	}
	f.GRPC = &bare
}

// message puts a WebSocket message where bodies are.
func (f *FullCall) message(w *WebSocket) {
	body := &f.ReqBody
	if w.FromServer {
		body = &f.RespBody
	}
	*body, f.Truncated = bodyText(w.Payload), w.PayloadCut
	bare := *w
	bare.Payload = nil
	f.WebSocket = &bare
}

func compactEnd(e *Endpoint) CompactEnd {
	return CompactEnd{IP: e.IP.String(), Port: e.Port, Pod: e.Pod, NS: e.Namespace, Svc: e.Service, Node: e.Node}
}

// milliseconds rounds to three digits, as the field's name promises.
func milliseconds(ns int64) float64 { return float64(ns/1e3) / 1e3 }

func headerMap(headers []Header) map[string]string {
	m := make(map[string]string, len(headers))
	for _, h := range headers {
		if old, ok := m[h.Name]; ok {
			m[h.Name] = old + ", " + h.Value
			continue
		}
		m[h.Name] = h.Value
	}
	return m
}

func bodyText(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return "base64:" + base64.StdEncoding.EncodeToString(b)
}
