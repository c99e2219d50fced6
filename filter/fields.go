package filter

import (
	"slices"
	"strconv"

	"github.com/devloop-io/devloop/traffic"
)

// sections is the table. A field added here exists everywhere: in filters, checks, completion, hover and the reference.
func sections() []section {
	return slices.Concat(
		[]section{kindSection(), httpSection(), textsSection(), timeSection()},
		endSections(),
		[]section{metaSection(), derivedSection(), retrySection(), securitySection(), grpcSection(), dnsSection(), postgresqlSection(), tlsSection(), redisSection(), websocketSection(), graphqlSection(), eventsSection(), connectionSection(), tcpSection(),
			flowSection(), captureSection()},
		stubSections(),
	)
}

// kindSection says what a row is. Protocol flags are true on calls; conn, tcp_conn and the like on connections.
func kindSection() section {
	return section{name: "What the row is", rows: Both, fields: []Field{
		flag(Field{Name: "http", Doc: "an HTTP call; gRPC calls are such, too", Example: `http && status_code >= 500`}, onRow(carries(traffic.ProtoHTTP))),
		flag(Field{Name: "dns", Doc: "a DNS query", Example: `dns && dns_rcode == "NXDOMAIN"`}, onRow(carries(traffic.ProtoDNS))),
		flag(Field{Name: "tls", Doc: "a TLS handshake; a call that was read behind one has capture_source", Example: `tls && tls.version < "1.2"`},
			onRow(carries(traffic.ProtoTLS))),
		flag(Field{Name: "tlsx", Doc: "a TLS handshake, by Kubeshark's name", Example: `tlsx && tlsx_sni.contains("stripe")`},
			onRow(carries(traffic.ProtoTLS))),
		flag(Field{Name: "conn", Doc: "a connection", Example: `conn && conn_state == "open"`}, onRow(isConn)),
		flag(Field{Name: "tcp_conn", Doc: "a TCP connection", Example: `tcp_conn && syn_retransmits > 0`}, onRow(overTCP)),
		flag(Field{Name: "udp_conn", Doc: "a UDP conversation", Example: `udp_conn && dst.port == 53`}, onRow(overUDP)),
		flag(Field{Name: "tcp", Doc: "a TCP connection, as tcp_conn", Example: `tcp && reset`}, onRow(overTCP)),
		flag(Field{Name: "udp", Doc: "a UDP conversation, as udp_conn", Example: `udp && lost_packets > 0`}, onRow(overUDP)),
		flag(Field{Name: "flow", Doc: "a connection, standing for its flow", Example: `flow && flow_local_bytes > 1000000`}, onRow(isConn)),
		flag(Field{Name: "tcp_flow", Doc: "a TCP connection, standing for its flow", Example: `tcp_flow && flow_local_bps > 5000000`}, onRow(overTCP)),
		flag(Field{Name: "udp_flow", Doc: "a UDP conversation, standing for its flow", Example: `udp_flow`}, onRow(overUDP)),
		text(Field{Name: "protocol", JSON: "proto", Aliases: []string{"proto", "network.protocol.name"}, Column: "proto",
			Doc: "protocol of a call (http, dns, tls, redis, other, unknown), transport of a connection (tcp, udp)", Example: `protocol == "http"`},
			either(func(c *traffic.Call) string { return c.Protocol }, func(c *traffic.Connection) string { return c.Proto })),
	}}
}

func metaSection() section {
	return section{name: "Identity of the row", rows: Both, fields: []Field{
		text(Field{Name: "id", JSON: "id", Column: "id", Doc: "a call's id, node/connection/index; a connection's number as text",
			Example: `id == "local/1f3a/0"`},
			either(func(c *traffic.Call) string { return c.ID }, func(c *traffic.Connection) string { return strconv.FormatUint(c.ID, 10) })),
		number(Field{Name: "conn_id", JSON: "conn_id", Aliases: []string{"tcp.stream"}, Column: "conn_id", Doc: "number of the connection",
			Example: `conn_id == 204`},
			either(func(c *traffic.Call) int64 { return int64(c.ConnID) }, func(c *traffic.Connection) int64 { return int64(c.ID) })),
		number(Field{Name: "flow_id", JSON: "flow_id", Column: "flow_id", Doc: "number of the flow: all connections of one client to one server port",
			Example: `flow_id == 17`},
			either(func(c *traffic.Call) int64 { return int64(c.FlowID) }, func(c *traffic.Connection) int64 { return int64(c.FlowID) })),
		number(Field{Name: "index", JSON: "index", Column: "index", Rows: Calls, Doc: "place of the call on its connection, from 0",
			Example: `http && index == 0`}, ofCall(func(c *traffic.Call) int64 { return int64(c.Index) })),
		text(Field{Name: "stream", Doc: "number of the connection, as text", Example: `stream == "204"`},
			either(func(c *traffic.Call) string { return strconv.FormatUint(c.ConnID, 10) },
				func(c *traffic.Connection) string { return strconv.FormatUint(c.ID, 10) })),
		text(Field{Name: "revision", JSON: "revision", Aliases: []string{"service.version"}, Column: "revision",
			Doc: "revision that both ends ran: r7; empty when they did not run one and the same", Example: `revision == "r7"`},
			either(func(c *traffic.Call) string { return c.Revision }, func(c *traffic.Connection) string { return c.Revision })),
		text(Field{Name: "iteration", head: requestHead, Request: true, JSON: "iteration", Column: "iteration", Rows: Calls,
			Doc: "iteration whose exercise caused the call, when its id reached it", Example: `iteration == "i12"`},
			ofCall(func(c *traffic.Call) string { return c.Iteration })),
		text(Field{Name: "trace_id", head: requestHead, Request: true, JSON: "trace_id", Column: "trace_id", Rows: Calls, Doc: "W3C trace id that the request carried",
			Example: `http && trace_id == ""`}, ofCall(func(c *traffic.Call) string { return c.TraceID })),
		text(Field{Name: "span_id", head: requestHead, Request: true, JSON: "span_id", Column: "span_id", Rows: Calls, Doc: "span id of the caller that the request carried",
			Example: `span_id != ""`}, ofCall(func(c *traffic.Call) string { return c.SpanID })),
		flag(Field{Name: "background", head: requestHead, Request: true, JSON: "background", Column: "background",
			Doc: "a probe or other traffic that no exercise caused; checks leave it out unless asked", Example: `http && !background`},
			either(func(c *traffic.Call) bool { return c.Background }, func(c *traffic.Connection) bool { return c.Background })),
		text(Field{Name: "state", JSON: "state", Column: "state",
			Doc:     "how far it got: complete, open, unanswered, truncated, half; a connection in_progress, established, closed, reset, refused",
			Example: `http && state == "unanswered"`},
			either(func(c *traffic.Call) string { return string(c.State) }, func(c *traffic.Connection) string { return string(c.State) })),
		text(Field{Name: "error_type", JSON: "error", Aliases: []string{"error.type"}, Column: "error", Response: true,
			Doc: "why there is no whole answer: connection_reset, connection_refused, connection_closed, cancelled, timeout, protocol_error, " +
				"truncated; empty when there is one", Example: `error_type == "connection_reset"`}, errorType),
		flag(Field{Name: "answered", Rows: Calls, Response: true, Doc: "a response was seen", Example: `http && !answered`}, answered),
		text(Field{Name: "capture.point", JSON: "point", Column: "point", Rows: Calls,
			Doc: "whose clock the times of the call are: client, server or wire", Example: `capture.point == "client"`},
			ofCall(func(c *traffic.Call) string { return c.Point })),
	}}
}

// errorType is known once the wait is over: an open call may still fail.
func errorType(r *Row) (string, bool) {
	switch {
	case r.Call != nil:
		return r.Call.Error, r.Call.State != traffic.StateOpen
	case r.Conn == nil:
		return "", false
	case r.Conn.State == traffic.StateReset:
		return traffic.ErrorReset, true
	case r.Conn.State == traffic.StateRefused:
		return traffic.ErrorRefused, true
	}
	return "", true
}

// answered is unknown while the call waits.
func answered(r *Row) (bool, bool) {
	if r.Call == nil || r.Call.State == traffic.StateOpen {
		return false, false
	}
	return r.Call.Answered(), true
}

func timeSection() section {
	return section{name: "Time", rows: Calls, fields: []Field{
		instant(Field{Name: "timestamp", Request: true, JSON: "start_ns", Aliases: []string{"frame.time"}, Column: "start_ns", Rows: Both,
			Doc: "first packet of the request, or of the connection", Example: `timestamp > now() - duration("5m")`},
			either(func(c *traffic.Call) int64 { return c.Start }, func(c *traffic.Connection) int64 { return c.Start })),
		span(Field{Name: "latency", timed: true, head: responseHead, Aliases: []string{"http.client.request.duration", "http.server.request.duration"}, Column: "latency_ns",
			Response: true, Doc: "first request byte to last response byte", Example: `http && latency > duration("100ms")`},
			ofWhole((*traffic.Call).Latency)),
		fraction(Field{Name: "latency_ms", timed: true, head: responseHead, JSON: "latency_ms", Aliases: []string{"response.latency"}, Unit: "ms", Response: true,
			Doc: "latency in milliseconds", Example: `http && latency_ms > 100`},
			ofWhole(func(c *traffic.Call) float64 { return float64(c.Latency()) / 1e6 })),
		number(Field{Name: "elapsed_time", timed: true, head: responseHead, Aliases: []string{"elapsedTime"}, Unit: "µs", Response: true,
			Doc: "latency in whole microseconds, as KFL2 has it", Example: `http && elapsed_time > 5000000`},
			ofWhole(func(c *traffic.Call) int64 { return c.Latency() / 1000 })),
		span(Field{Name: "ttfb", timed: true, head: requestHead, Request: true, Aliases: []string{"http.time_to_first_byte"}, Column: "ttfb_ns", Response: true,
			Doc: "last request byte to first response byte: how long the server thought", Example: `http && ttfb > duration("50ms")`},
			ofAnswer(func(c *traffic.Call) int64 { return max(0, c.ResponseStart-c.RequestEnd) })),
		span(Field{Name: "transfer_time", head: responseHead, Aliases: []string{"http.response.transfer.duration"}, Response: true,
			Doc: "first response byte to last response byte", Example: `http && transfer_time > duration("1s")`},
			ofWhole(func(c *traffic.Call) int64 { return max(0, c.End-c.ResponseStart) })),
		span(Field{Name: "request_time", head: requestHead, Request: true, Doc: "first request byte to last request byte", Example: `http && request_time > duration("1s")`},
			ofCall(func(c *traffic.Call) int64 { return max(0, c.RequestEnd-c.Start) })),
	}}
}

func retrySection() section {
	return section{name: "Retries", rows: Calls, optional: true, applies: isRetried, fields: []Field{
		number(Field{Name: "retry.attempts", JSON: "retry.attempts", Column: "retry_attempts",
			Doc: "attempts of the logical request that this call was one of", Example: `retry.attempts > 3`},
			ofRetry(func(r *traffic.Retry) (int64, bool) { return int64(r.Attempts), true })),
		number(Field{Name: "retry.attempt", JSON: "retry.attempt", Column: "retry_attempt", Doc: "which attempt this call was, from 1",
			Example: `retry.attempt == 1`}, ofRetry(func(r *traffic.Retry) (int64, bool) { return int64(r.Attempt), true })),
		number(Field{Name: "retry.resend_count", Aliases: []string{"http.request.resend_count"}, Doc: "attempts before this one, OpenTelemetry's resend count",
			Example: `retry.resend_count >= 1`}, ofRetry(func(r *traffic.Retry) (int64, bool) { return int64(r.Attempt - 1), true })),
		span(Field{Name: "retry.delay", JSON: "retry.delay_ns", Column: "retry_delay_ns",
			Doc: "wait since the previous attempt ended; only later attempts have it", Example: `retry.delay < duration("100ms")`},
			ofRetry(func(r *traffic.Retry) (int64, bool) { return r.DelayNS, r.Attempt > 1 })),
		fraction(Field{Name: "retry.backoff_factor", JSON: "retry.factor", Aliases: []string{"retry.backoff.factor"}, Column: "retry_factor",
			Doc: "mean growth of the delays between attempts; only groups of three attempts and more have it", Example: `retry.backoff_factor < 1.5`},
			ofRetry(func(r *traffic.Retry) (float64, bool) { return r.Factor, r.Factor > 0 })),
		fraction(Field{Name: "retry.jitter", JSON: "retry.jitter", Aliases: []string{"retry.backoff.jitter"}, Column: "retry_jitter",
			Doc: "coefficient of variation of the delays around their fit; only groups of three attempts and more have it", Example: `retry.jitter < 0.1`},
			ofRetry(func(r *traffic.Retry) (float64, bool) { return r.Jitter, r.Factor > 0 })),
		text(Field{Name: "retry.group", JSON: "retry.group", Column: "retry_group", Doc: "id of the first attempt", Example: `retry.group != ""`},
			ofRetry(func(r *traffic.Retry) (string, bool) { return r.Group, true })),
		text(Field{Name: "retry.confidence", JSON: "retry.confidence", Column: "retry_confidence", Doc: "exact (same id or trace parent) or inferred",
			Example: `retry.confidence == "exact"`}, ofRetry(func(r *traffic.Retry) (string, bool) { return r.Confidence, true })),
	}}
}

func captureSection() section {
	return section{name: "Capture", rows: Both, fields: []Field{
		text(Field{Name: "node_id", Doc: "node that captured it: local in local environments", Example: `node_id == "local"`}, nodeName),
		text(Field{Name: "worker", Doc: "node that captured it, by Kubeshark's name", Example: `worker == "local"`}, nodeName),
		texts(Field{Name: "capture.points", JSON: "points", Rows: Connections, Optional: true,
			Doc: "who captured the connection: client, server, wire; both ends where both are captured", Example: `tcp_conn && !("server" in capture.points)`},
			ofConn(func(c *traffic.Connection) []string { return c.Points })),
		text(Field{Name: "original_dst", JSON: "original_dst", Column: "original_dst", Rows: Connections, Optional: true,
			Doc: "address and port that the client spoke to, where address translation led to another: a Service's; else empty", Example: `original_dst.startsWith("10.96.")`},
			ofConn(func(c *traffic.Connection) string {
				if !c.OriginalDst.IsValid() {
					return ""
				}
				return c.OriginalDst.String()
			})),
		flag(Field{Name: "has_pcap", Doc: "its packets are kept; always true", Example: `has_pcap`}, onRow(func(*Row) bool { return true })),
		text(Field{Name: "capture_source", JSON: "capture_source", Column: "capture_source",
			Doc: "tls_keylog where it was read inside of TLS with the secrets of a key log; icmp_quote, sflow in packets that others tell of (devloop dissect); else empty", Example: `http && capture_source == "tls_keylog"`},
			either(func(c *traffic.Call) string { return c.CaptureSource }, func(c *traffic.Connection) string { return c.CaptureSource })),
		stub("capture_backend", stringType, "capture backend; only Kubeshark's records have it"),
		stub("capture_source_code", intType, "code of capture_source; only Kubeshark's records have it"),
		stub("capture", stringMap, "details of the capture; only Kubeshark's records have them"),
		mapping(Field{Name: "node", Doc: "the server's node: name and ip", Example: `node["name"] == "local"`}, nodeMap),
		text(Field{Name: "node_name", Doc: "the server's node", Example: `node_name == "kind-worker"`}, nodeName),
		text(Field{Name: "node_ip", Doc: "address of the server's node; empty outside of clusters", Example: `node_ip == "172.18.0.2"`}, nodeIP),
		text(Field{Name: "local_node_name", Doc: "the client's node", Example: `local_node_name != remote_node_name`},
			func(r *Row) (string, bool) { src, _ := r.ends(); return src.Node, true }),
		text(Field{Name: "remote_node_name", Doc: "the server's node", Example: `local_node_name != remote_node_name`},
			func(r *Row) (string, bool) { _, dst := r.ends(); return dst.Node, true }),
	}}
}

func nodeName(r *Row) (string, bool) {
	src, dst := r.ends()
	if dst.Node != "" {
		return dst.Node, true
	}
	return src.Node, true
}

func nodeMap(r *Row) (*stringsMap, bool) {
	name, _ := nodeName(r)
	if name == "" {
		return nil, true
	}
	m := &stringsMap{pairs: []traffic.Header{{Name: "name", Value: name}}}
	if ip, _ := nodeIP(r); ip != "" {
		m.pairs = append([]traffic.Header{{Name: "ip", Value: ip}}, m.pairs...)
	}
	return m, true
}

func nodeIP(r *Row) (string, bool) {
	src, dst := r.ends()
	if dst.Node != "" {
		return dst.NodeIP, true
	}
	return src.NodeIP, true
}
