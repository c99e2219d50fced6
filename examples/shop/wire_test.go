package shop_test

import (
	"hash/fnv"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/devloop-io/devloop/dissect/derive"
	"github.com/devloop-io/devloop/dissect/retries"
	"github.com/devloop-io/devloop/examples/shop/internal/stock"
	"github.com/devloop-io/devloop/traffic"
	"github.com/devloop-io/devloop/traffic/redact"
)

// dissection is what the checks would be given if the wire had shown exactly what the servers saw. End-to-end tests
// capture real packets; this one needs no rights and no time.
func (s *running) dissection() *traffic.Dissection {
	d := &traffic.Dissection{Account: traffic.Account{Source: "tap"}}
	connections := map[string]*traffic.Connection{}
	slices.SortStableFunc(s.seen, func(a, b exchange) int { return a.start.Compare(b.start) })
	for _, e := range s.seen {
		c := connections[e.service+e.remote] // a client's port may lead to several servers
		if c == nil {
			c = s.connection(e)
			connections[e.service+e.remote] = c
			d.Connections = append(d.Connections, c)
			if e.tls != nil {
				d.Calls = append(d.Calls, handshake(e, c))
			}
		}
		c.End = max(c.End, e.end.UnixNano())
		if e.tls != nil {
			c.Encrypted += 100
			continue
		}
		d.Calls = append(d.Calls, call(e, c))
		c.Calls, c.WindowCalls = c.Calls+1, c.WindowCalls+1
		if e.status == 0 {
			c.State, c.MidRequestReset, c.ResetBy = traffic.StateReset, true, "server"
		}
	}
	for i := range max(1, int(s.databases.Load())-4) { // up to four are catalogue's
		c := s.connection(exchange{service: "catalogue-db", remote: "127.0.0.1:" + strconv.Itoa(i+1), header: http.Header{"User-Agent": {"shop-orders"}}})
		c.L7 = traffic.ProtoOther
		d.Connections = append(d.Connections, c)
	}
	for i := range s.nxdomain.Load() {
		name := "cache.shop.svc.cluster.local." + strconv.FormatInt(i, 10)
		d.Calls = append(d.Calls, &traffic.Call{
			ID: "local/dns/" + strconv.FormatInt(i, 10), Protocol: traffic.ProtoDNS, Src: end("catalogue", 1000), Dst: end("dns", 53),
			State: traffic.StateComplete, Start: i + 1, End: i + 2, ResponseStart: i + 2, Method: "A", Path: name, Status: 3,
			DNS: &traffic.DNS{RCode: "NXDOMAIN", Questions: []traffic.DNSRecord{{Name: name, Type: "A"}}},
		})
	}
	d.Calls = append(d.Calls, s.stored()...)
	hide := redact.New([]byte("a key for tests"), redact.Options{})
	for _, c := range d.Calls {
		hide.Call(c)
	}
	retries.Group(d.Calls, d.Connections)
	derive.Parents(d.Calls)
	return d
}

// stored are the queries of orders and the commands of cart and catalogue.
func (s *running) stored() []*traffic.Call {
	var calls []*traffic.Call
	add := func(from, to, protocol string, began, ended time.Time) *traffic.Call {
		c := &traffic.Call{
			ID: "local/" + to + "/" + strconv.Itoa(len(calls)), Protocol: protocol, Src: end(from, 5000), Dst: end(to, 5000), State: traffic.StateComplete,
			Start: began.UnixNano(), RequestEnd: began.UnixNano(), ResponseStart: ended.UnixNano(), End: ended.UnixNano(),
		}
		calls = append(calls, c)
		return c
	}
	for _, q := range s.queries {
		if !strings.Contains(q.SQL, "items") {
			add("orders", "catalogue-db", traffic.ProtoPostgreSQL, q.Start, q.End).PostgreSQL = &traffic.PostgreSQL{
				Query: q.SQL, Fingerprint: q.SQL, Success: q.SQLState == "", SQLState: q.SQLState,
			}
		}
	}
	for _, t := range s.told {
		if len(t.words) < 2 {
			continue
		}
		from, kind, problem := "cart", "string", ""
		if strings.HasPrefix(t.words[1], "catalogue") {
			from = "catalogue"
		}
		switch {
		case strings.HasPrefix(t.reply, "-"):
			kind, problem = "error", strings.TrimSpace(t.reply[1:])
		case strings.HasPrefix(t.reply, "$-1"):
			kind = "null"
		}
		add(from, "cache", traffic.ProtoRedis, t.at, t.at.Add(time.Microsecond)).Redis = &traffic.Redis{
			Command: strings.ToUpper(t.words[0]), Key: t.words[1], Args: t.words[1:], Type: kind, Error: problem,
		}
	}
	return calls
}

// end is one end of a connection: a service of the shop, or the exercise.
func end(service string, port uint16) traffic.Endpoint {
	e := traffic.Endpoint{IP: address(service), Port: port, Workload: traffic.Workload{Namespace: "local", Kind: traffic.KindService, Service: service}}
	switch service {
	case "exercise":
		e.Kind = traffic.KindExercise
	case "gateway", "thirdparty":
		e.Outside = true
	}
	return e
}

// address gives each service one of its own, as the private bridge does.
func address(service string) netip.Addr {
	h := fnv.New32a()
	h.Write([]byte(service))
	n := h.Sum32()
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

func (s *running) connection(e exchange) *traffic.Connection {
	agent, _, _ := strings.Cut(e.header.Get("User-Agent"), " ") // gRPC adds its own
	from, ok := strings.CutPrefix(agent, "shop-")
	if !ok {
		from = "exercise"
	}
	client, _ := netip.ParseAddrPort(e.remote)
	port := uint16(8080)
	if e.service == "thirdparty" {
		port = 80
	}
	if e.path == stock.CheckMethod {
		port = 9090
	}
	h := fnv.New32a()
	h.Write([]byte(e.service + e.remote))
	c := &traffic.Connection{
		ID: uint64(h.Sum32()), FlowID: 1, Proto: "tcp", L7: traffic.ProtoHTTP, Src: end(from, client.Port()), Dst: end(e.service, port),
		Start: e.start.UnixNano(), End: e.end.UnixNano(), State: traffic.StateEstablished, Opened: true,
		TCP: &traffic.TCPMetrics{},
	}
	if e.tls != nil {
		c.L7, c.SNI, c.Dst.Port = traffic.ProtoTLS, e.tls.ServerName, 443
	}
	return c
}

func handshake(e exchange, c *traffic.Connection) *traffic.Call {
	start := e.start.UnixNano()
	return &traffic.Call{
		ID: "local/" + strconv.FormatUint(c.ID, 36) + "/0", Protocol: traffic.ProtoTLS, ConnID: c.ID, Src: c.Src, Dst: c.Dst, State: traffic.StateComplete,
		Start: start, RequestEnd: start, ResponseStart: start + 1, End: start + 1, Method: "ClientHello", Path: e.tls.ServerName,
		TLS: &traffic.TLS{SNI: e.tls.ServerName, Version: e.tls.Version, OfferedVersion: e.tls.Version},
	}
}

func call(e exchange, c *traffic.Connection) *traffic.Call {
	x := &traffic.Call{
		ID: "local/" + strconv.FormatUint(c.ID, 36) + "/" + strconv.Itoa(c.Calls), Protocol: traffic.ProtoHTTP, ConnID: c.ID, Index: c.Calls,
		Src: c.Src, Dst: c.Dst, Start: e.start.UnixNano(), RequestEnd: e.start.UnixNano(), ResponseStart: e.end.UnixNano(), End: e.end.UnixNano(),
		State: traffic.StateComplete, Method: e.method, Path: e.path, Status: e.status,
		HTTP: &traffic.HTTP{
			Version: "1.1", Host: e.host, Query: e.query, RequestHeaders: lines(e.header), ResponseHeaders: lines(e.response),
			ResponseBody: []byte(e.body), KeptAlive: c.Calls > 0,
		},
	}
	if e.path == stock.CheckMethod {
		status, _ := strconv.Atoi(e.response.Get("Grpc-Status"))
		x.HTTP.Version = "2"
		x.GRPC = &traffic.GRPC{Service: "shop.v1.Stock", Method: "Check", Status: status}
		if e.header.Get("Grpc-Timeout") != "" {
			x.GRPC.TimeoutNS = int64(time.Second)
		}
	}
	if f := strings.Split(e.header.Get("traceparent"), "-"); len(f) == 4 {
		x.TraceID, x.SpanID = f[1], f[2]
	}
	if e.status == 0 {
		x.State, x.Error, x.ResponseStart = traffic.StateUnanswered, traffic.ErrorReset, 0
	}
	return x
}

func lines(h http.Header) []traffic.Header {
	var all []traffic.Header
	for name, values := range h {
		for _, v := range values {
			all = append(all, traffic.Header{Name: name, Value: v})
		}
	}
	return all
}
