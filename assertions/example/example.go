package example

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/dissect/derive"
	"github.com/devloop-io/devloop/traffic"
)

// Call is a call in short: times are milliseconds after second 1000.
type Call struct {
	From            string            `json:"from" yaml:"from"`
	To              string            `json:"to" yaml:"to"`
	Method          string            `json:"method" yaml:"method"`
	Path            string            `json:"path" yaml:"path"`       // a query may follow it
	Proto           string            `json:"proto" yaml:"proto"`     // http unless said otherwise
	Version         uint16            `json:"version" yaml:"version"` // of TLS; Path is the server name
	Status          int               `json:"status" yaml:"status"`   // 200 unless there is no answer
	At              float64           `json:"at" yaml:"at"`           // when it begins
	MS              float64           `json:"ms" yaml:"ms"`           // how long it takes
	State           string            `json:"state" yaml:"state"`     // complete unless said otherwise
	Error           string            `json:"error" yaml:"error"`     // of a call without an answer
	Conn            uint64            `json:"conn" yaml:"conn"`       // connection; a new one unless said otherwise
	Index           *int              `json:"index" yaml:"index"`     // on its connection; counted unless said otherwise
	Retry           []float64         `json:"retry" yaml:"retry"`     // attempt, attempts, delay in ms, factor, jitter
	Group           string            `json:"group" yaml:"group"`     // of the retry
	Headers         map[string]string `json:"headers" yaml:"headers"` // of the request
	Body            string            `json:"body" yaml:"body"`
	ResponseBody    string            `json:"response_body" yaml:"response_body"`
	ResponseHeaders map[string]string `json:"response_headers" yaml:"response_headers"`
	Trace           string            `json:"trace" yaml:"trace"`
	Span            string            `json:"span" yaml:"span"`
	Background      bool              `json:"background" yaml:"background"` // a probe or the like
	Outside         bool              `json:"outside" yaml:"outside"`       // Outside: the server is not part of the system
	Credential      string            `json:"credential" yaml:"credential"`
	CredentialKind  string            `json:"credential_kind" yaml:"credential_kind"`
	CredentialPlace string            `json:"credential_place" yaml:"credential_place"`
	Kind            string            `json:"kind" yaml:"kind"` // of the client
	PID             uint32            `json:"pid" yaml:"pid"`   // of the client
	Port            uint16            `json:"port" yaml:"port"`
	Size            int64             `json:"size" yaml:"size"`
	Fingerprint     string            `json:"fingerprint" yaml:"fingerprint"` // of a query: the call is PostgreSQL's
	Deadline        float64           `json:"deadline" yaml:"deadline"`       // in ms: the call is gRPC's
	Cut             bool              `json:"cut" yaml:"cut"`                 // the request's later headers are missing
	Repeat          int               `json:"repeat" yaml:"repeat"`           // so many alike,
	Every           float64           `json:"every" yaml:"every"`             // so many ms apart,
	Step            float64           `json:"step" yaml:"step"`               // each so much longer
}

// Connection is a connection in short, or what differs from the one that the calls imply.
type Connection struct {
	ID         uint64  `json:"id" yaml:"id"`
	From       string  `json:"from" yaml:"from"`
	To         string  `json:"to" yaml:"to"`
	Proto      string  `json:"proto" yaml:"proto"`
	L7         string  `json:"l7" yaml:"l7"`
	State      string  `json:"state" yaml:"state"`
	Port       uint16  `json:"port" yaml:"port"`
	Missing    uint64  `json:"missing" yaml:"missing"`
	Undecoded  uint64  `json:"undecoded" yaml:"undecoded"`
	Encrypted  uint64  `json:"encrypted" yaml:"encrypted"`
	Lost       uint64  `json:"lost" yaml:"lost"`
	Before     uint64  `json:"before" yaml:"before"` // bytes missing, and as many not decoded, in earlier windows
	Handshake  float64 `json:"handshake" yaml:"handshake"`
	Mid        bool    `json:"mid" yaml:"mid"`
	ResetBy    string  `json:"reset_by" yaml:"reset_by"`
	Background bool    `json:"background" yaml:"background"`
	Outside    bool    `json:"outside" yaml:"outside"`
}

const second1000 = int64(1000 * 1e9)

// At is so many milliseconds after second 1000, in Unix nanoseconds: when the times of examples are.
func At(ms float64) int64 { return second1000 + int64(ms*1e6) }

// Address gives every name an address of its own.
func Address(name string) netip.Addr {
	var h uint16
	for _, c := range name {
		h = h*31 + uint16(c)
	}
	return netip.AddrFrom4([4]byte{10, 0, byte(h >> 8), byte(h)})
}

// End is the end of a connection that a name stands for: a service, somebody outside, or an address of which nothing else is known.
func End(name string, port uint16, outside bool) traffic.Endpoint {
	e := traffic.Endpoint{IP: Address(name), Port: port, Workload: traffic.Workload{Namespace: "local", Kind: traffic.KindService, Service: name}}
	if ip, err := netip.ParseAddr(name); err == nil { // nothing but the address is known
		e.IP, e.Workload = ip, traffic.Workload{}
	} else if outside {
		e.Workload = traffic.Workload{Kind: traffic.KindExternal, DNS: name, Outside: true}
	}
	return e
}

// Dissection makes the rows that calls and connections in short stand for: whole, nothing lost.
func Dissection(calls []Call, connections []Connection) *traffic.Dissection {
	d := &traffic.Dissection{}
	conns := map[uint64]*traffic.Connection{}
	next, packet := uint64(1000), uint64(1)
	indices := map[uint64]int{}
	for _, x := range calls {
		for k := range max(1, x.Repeat) {
			c := One(x, k)
			if c.ConnID == 0 {
				next++
				c.ConnID = next
			}
			c.Index = indices[c.ConnID]
			indices[c.ConnID]++
			if x.Index != nil {
				c.Index = *x.Index
			}
			c.ID = fmt.Sprintf("local/%d/%d", c.ConnID, c.Index)
			c.RequestPackets = traffic.PacketRange{First: packet, Last: packet}
			packet++
			if c.Answered() {
				c.ResponsePackets = traffic.PacketRange{First: packet, Last: packet}
				packet++
			}
			if c.Retry != nil && c.Retry.Group == "" {
				c.Retry.Group = c.ID
			}
			d.Calls = append(d.Calls, c)
			conn := conns[c.ConnID]
			if conn == nil {
				conn = &traffic.Connection{ID: c.ConnID, Proto: "tcp", L7: c.Protocol, Src: c.Src, Dst: c.Dst, Start: c.Start, State: traffic.StateEstablished,
					Opened: c.Index == 0, HandshakeClientNS: 1e6, Background: c.Background, Packets: c.RequestPackets}
				conns[c.ConnID] = conn
				d.Connections = append(d.Connections, conn)
			}
			conn.End, conn.Calls, conn.WindowCalls = max(conn.End, c.End), conn.Calls+1, conn.WindowCalls+1
			conn.Packets.Last = packet - 1
		}
	}
	for _, x := range connections {
		conn := conns[x.ID]
		if conn == nil {
			port := x.Port
			if port == 0 {
				port = 8080
			}
			conn = &traffic.Connection{ID: x.ID, Proto: "tcp", L7: "http", Src: End(x.From, 40000, false), Dst: End(x.To, port, x.Outside), Start: At(0), End: At(1),
				State: traffic.StateEstablished, Packets: traffic.PacketRange{First: packet, Last: packet}}
			packet++
			conns[x.ID] = conn
			d.Connections = append(d.Connections, conn)
		}
		if x.Proto != "" {
			conn.Proto = x.Proto
		}
		if x.L7 != "" {
			conn.L7 = x.L7
		}
		if x.State != "" {
			conn.State = traffic.State(x.State)
		}
		conn.WindowMissing, conn.WindowUndecoded, conn.Encrypted, conn.Lost = x.Missing, x.Undecoded, x.Encrypted, x.Lost
		conn.Missing, conn.Undecoded = x.Missing+x.Before, x.Undecoded+x.Before
		conn.MidRequestReset, conn.ResetBy = x.Mid, x.ResetBy
		conn.Background = conn.Background || x.Background
		if x.Handshake > 0 {
			conn.HandshakeClientNS = int64(x.Handshake * 1e6)
		}
	}
	derive.All(d.Calls)
	return d
}

// One is the k-th of the calls that a call in short stands for.
func One(x Call, k int) *traffic.Call {
	start := At(x.At + float64(k)*x.Every)
	length := int64((x.MS + float64(k)*x.Step) * 1e6)
	port := x.Port
	if port == 0 {
		port = 8080
	}
	c := &traffic.Call{Protocol: traffic.ProtoHTTP, ConnID: x.Conn, Src: End(x.From, 40000, false), Dst: End(x.To, port, x.Outside), Start: start,
		RequestEnd: start, ResponseStart: start + length, End: start + length, State: traffic.StateComplete, Method: x.Method, Path: x.Path,
		Status: x.Status, Background: x.Background, TraceID: x.Trace, SpanID: x.Span, ResponseSize: x.Size, HTTP: &traffic.HTTP{Version: "1.1"}}
	if x.Proto != "" {
		c.Protocol, c.HTTP = x.Proto, nil
	}
	if x.Fingerprint != "" {
		c.PostgreSQL = &traffic.PostgreSQL{Command: "SELECT", Query: x.Fingerprint, Fingerprint: x.Fingerprint, Success: true}
	}
	if c.Method == "" && x.State != string(traffic.StateHalf) {
		c.Method = "GET"
	}
	if x.Deadline > 0 {
		c.GRPC = &traffic.GRPC{Service: x.To, Method: x.Path, TimeoutNS: int64(x.Deadline * 1e6)}
	}
	if c.HTTP != nil {
		c.HTTP.RequestHeadersCut = x.Cut
		c.Path, c.HTTP.Query, _ = strings.Cut(x.Path, "?")
		if x.Body != "" {
			c.HTTP.RequestBody, c.RequestSize = []byte(x.Body), int64(len(x.Body))
		}
		if x.ResponseBody != "" {
			c.HTTP.ResponseBody, c.ResponseSize = []byte(x.ResponseBody), int64(len(x.ResponseBody))
		}
	}
	if x.Proto == traffic.ProtoTLS && x.Version != 0 {
		c.TLS = &traffic.TLS{SNI: x.Path, Version: x.Version}
	}
	if x.Kind != "" {
		c.Src.Kind = x.Kind
	}
	c.Src.PID = x.PID
	if x.State != "" {
		c.State, c.Error = traffic.State(x.State), x.Error
	}
	if c.Answered() && c.Status == 0 {
		c.Status = 200
	}
	if !c.Answered() {
		c.ResponseStart, c.Status = 0, 0
	}
	if c.State == traffic.StateOpen {
		c.End = 0
	}
	for _, name := range slices.Sorted(maps.Keys(x.Headers)) {
		c.HTTP.RequestHeaders = append(c.HTTP.RequestHeaders, traffic.Header{Name: name, Value: x.Headers[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(x.ResponseHeaders)) {
		c.HTTP.ResponseHeaders = append(c.HTTP.ResponseHeaders, traffic.Header{Name: name, Value: x.ResponseHeaders[name]})
	}
	if len(x.Retry) >= 2 {
		c.Retry = &traffic.Retry{Group: x.Group, Attempt: int(x.Retry[0]), Attempts: int(x.Retry[1]), Confidence: "exact"}
		for i, v := range x.Retry[2:] {
			switch i {
			case 0:
				c.Retry.DelayNS = int64(v * 1e6)
			case 1:
				c.Retry.Factor = v
			case 2:
				c.Retry.Jitter = v
			}
		}
	}
	if x.Credential != "" {
		kind, place := x.CredentialKind, x.CredentialPlace
		if kind == "" {
			kind = "bearer"
		}
		if place == "" {
			place = "request.header:authorization"
		}
		c.Credentials = []traffic.Credential{{Kind: kind, Place: place, Hash: x.Credential}}
	}
	return c
}
