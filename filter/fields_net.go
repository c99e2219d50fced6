package filter

import (
	"crypto/tls"
	"fmt"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/devloop-io/devloop/traffic"
)

func dnsSection() section {
	return section{name: "DNS", rows: Calls, applies: isDNS, fields: []Field{
		texts(Field{Name: "dns_questions", Request: true, echoed: true, JSON: "dns.questions", Aliases: []string{"dns.question.name", "dns.qry.name"}, Column: "dns_questions",
			Doc: "names that were asked for", Example: `dns && "google.com" in dns_questions`},
			ofDNS(func(_ *traffic.Call, d *traffic.DNS) []string {
				return records(d.Questions, func(q traffic.DNSRecord) string { return q.Name })
			})),
		texts(Field{Name: "dns_question_types", Request: true, echoed: true, Aliases: []string{"dns.question.type", "dns.qry.type"}, Doc: "record types that were asked for: A, AAAA",
			Example: `"AAAA" in dns_question_types`}, ofDNS(func(_ *traffic.Call, d *traffic.DNS) []string {
			return records(d.Questions, func(q traffic.DNSRecord) string { return q.Type })
		})),
		texts(Field{Name: "dns_answers", JSON: "dns.answers", Aliases: []string{"dns.answers"}, Column: "dns_answers", Response: true,
			Doc: "data of the answers: addresses, names", Example: `dns && dns_response && size(dns_answers) == 0`},
			ofDNSAnswer(func(_ *traffic.Call, d *traffic.DNS) []string {
				return records(d.Answers, func(q traffic.DNSRecord) string { return q.Data })
			})),
		text(Field{Name: "dns_rcode", JSON: "dns.rcode", Aliases: []string{"dns.rcode", "dns.flags.rcode", "dns.response_code"}, Column: "dns_rcode",
			Response: true, Doc: "NOERROR, NXDOMAIN, SERVFAIL", Example: `dns && dns_rcode == "NXDOMAIN"`},
			ofDNSAnswer(func(_ *traffic.Call, d *traffic.DNS) string { return d.RCode })),
		text(Field{Name: "dns_transport", JSON: "dns.transport", Column: "dns_transport", Doc: "udp or tcp", Example: `dns_transport == "tcp"`},
			ofDNS(func(_ *traffic.Call, d *traffic.DNS) string { return d.Transport })),
		flag(Field{Name: "dns_truncated", JSON: "dns.truncated", Aliases: []string{"dns.flags.truncated"}, Column: "dns_truncated", Response: true, Doc: "the answer did not fit",
			Example: `dns_truncated`}, ofDNSAnswer(func(_ *traffic.Call, d *traffic.DNS) bool { return d.Truncated })),
		flag(Field{Name: "dns_request", Doc: "a query was seen", Example: `dns_request`},
			ofDNS(func(c *traffic.Call, _ *traffic.DNS) bool { return c.State != traffic.StateHalf })),
		flag(Field{Name: "dns_response", Response: true, Doc: "an answer was seen", Example: `dns && !dns_response`, applies: isDNS},
			func(r *Row) (bool, bool) {
				if !isDNS(r) {
					return false, false
				}
				return answered(r)
			}),
		number(Field{Name: "dns_request_length", Request: true, Unit: "bytes", Doc: "length of the query", Example: `dns_request_length > 200`},
			ofDNS(func(c *traffic.Call, _ *traffic.DNS) int64 { return c.RequestSize })),
		number(Field{Name: "dns_response_length", Unit: "bytes", Response: true, Doc: "length of the answer", Example: `dns_response_length > 512`},
			ofDNSAnswer(func(c *traffic.Call, _ *traffic.DNS) int64 { return c.ResponseSize })),
		number(Field{Name: "dns_total_size", Request: true, Unit: "bytes", Response: true, Doc: "length of both", Example: `dns_total_size > 1024`},
			ofDNSAnswer(func(c *traffic.Call, _ *traffic.DNS) int64 { return c.RequestSize + c.ResponseSize })),
	}}
}

func records(all []traffic.DNSRecord, of func(traffic.DNSRecord) string) []string {
	list := make([]string, 0, len(all))
	for _, r := range all {
		list = append(list, of(r))
	}
	return list
}

func tlsSection() section {
	some := func(get func(*traffic.TLS) string) func(*traffic.TLS) (string, bool) {
		return func(t *traffic.TLS) (string, bool) { return get(t), true }
	}
	return section{name: "TLS", rows: Calls, optional: true, applies: isTLS, fields: []Field{
		text(Field{Name: "tlsx_sni", Request: true, JSON: "tls.sni", Aliases: []string{"tls.server_name", "tls.client.server_name",
			"tls.handshake.extensions_server_name", "tls_sni"}, Column: "tls_sni", Doc: "server name that the client asked for",
			Example: `tlsx && tlsx_sni.contains("stripe")`}, ofTLS(func(t *traffic.TLS) string { return t.SNI })),
		text(Field{Name: "tls.version", Aliases: []string{"tls.protocol.version"}, Response: true,
			Doc: "negotiated version as text, which compares in order: 1.0 to 1.3", Example: `tls && tls.version < "1.2"`},
			ofTLSAnswer(some(func(t *traffic.TLS) string { return tlsVersion(t.Version) }))),
		number(Field{Name: "tlsx_version", JSON: "tls.version", Aliases: []string{"tls.handshake.version"}, Column: "tls_version", Response: true,
			Doc: "negotiated version as on the wire: 771 is TLS 1.2, 772 TLS 1.3", Example: `tlsx_version == 772`},
			ofTLSAnswer(func(t *traffic.TLS) (int64, bool) { return int64(t.Version), true })),
		text(Field{Name: "tls.cipher", Aliases: []string{"tls.handshake.ciphersuite"}, Response: true,
			Doc: "negotiated cipher suite by its IANA name", Example: `tls.cipher.contains("_CBC_")`},
			ofTLSAnswer(some(func(t *traffic.TLS) string { return tls.CipherSuiteName(t.Cipher) }))),
		number(Field{Name: "tlsx_cipher_suite", JSON: "tls.cipher", Column: "tls_cipher", Response: true, Doc: "number of the negotiated cipher suite",
			Example: `tlsx_cipher_suite == 4865`}, ofTLSAnswer(func(t *traffic.TLS) (int64, bool) { return int64(t.Cipher), true })),
		texts(Field{Name: "tlsx_cipher_suites", Request: true, JSON: "tls.ciphers", Column: "tls_ciphers", Doc: "cipher suites that the client offered",
			Example: `tlsx_cipher_suites.exists(c, c.contains("RC4"))`}, ofTLS(func(t *traffic.TLS) []string { return t.Ciphers })),
		text(Field{Name: "tlsx_alpn", Request: true, JSON: "tls.alpn", Aliases: []string{"tls.alpn", "tls.next_protocol", "tls_alpn"}, Column: "tls_alpn",
			Doc: "chosen application protocol, or the first offered where the choice is encrypted", Example: `tlsx_alpn == "h2"`},
			ofTLS(func(t *traffic.TLS) string { return t.ALPN })),
		flag(Field{Name: "tls.resumed", Request: true, JSON: "tls.resumed", Column: "tls_resumed", Response: true, Doc: "an earlier session was resumed", Example: `tls && !tls.resumed`},
			ofTLSAnswer(func(t *traffic.TLS) (bool, bool) { return t.Resumed, true })),
		text(Field{Name: "tls.alert", JSON: "tls.alert", Column: "tls_alert", Response: true, Doc: "alert that ended the handshake", Example: `tls.alert != ""`},
			ofTLSAnswer(some(func(t *traffic.TLS) string { return t.Alert }))),
		span(Field{Name: "tls.handshake.duration", Request: true, JSON: "tls.handshake_ns", Column: "tls_handshake_ns", Response: true,
			Doc: "ClientHello to the client's first record after the server's flight", Example: `tls.handshake.duration > duration("50ms")`},
			ofTLSAnswer(func(t *traffic.TLS) (int64, bool) { return t.HandshakeNS, t.HandshakeNS > 0 })),
		instant(Field{Name: "tls.server.not_after", Doc: "when the server's certificate ends; TLS 1.3 hides it",
			Example: `tls.server.not_after < now() + duration("336h")`},
			ofCertificate(func(c *traffic.Certificate) int64 { return c.NotAfter * int64(time.Second) })),
		text(Field{Name: "tls.server.issuer", Doc: "who issued the server's certificate; TLS 1.3 hides it", Example: `tls.server.issuer.contains("Let's Encrypt")`},
			ofCertificate(func(c *traffic.Certificate) string { return c.Issuer })),
		text(Field{Name: "tls.server.subject", Doc: "whom the server's certificate names; TLS 1.3 hides it", Example: `tls.server.subject.contains("shop")`},
			ofCertificate(func(c *traffic.Certificate) string { return c.Subject })),
		texts(Field{Name: "tls.server.san", Doc: "names in the server's certificate; TLS 1.3 hides them", Example: `"api.shop.example" in tls.server.san`},
			ofCertificate(func(c *traffic.Certificate) []string { return c.Names })),
		text(Field{Name: "tls.server.hash", Aliases: []string{"tls.server.hash.sha256"}, Doc: "SHA-256 of the server's certificate; TLS 1.3 hides it",
			Example: `tls.server.hash != ""`}, ofCertificate(func(c *traffic.Certificate) string { return c.SHA256 })),
		text(Field{Name: "tls_summary", Request: true, Doc: "the handshake in words", Example: `tls_summary.contains("TLS 1.3")`}, ofTLS(tlsSummary)),
		text(Field{Name: "tls_info", Request: true, Doc: "the handshake in words", Example: `tls_info != ""`}, ofTLS(tlsSummary)),
		text(Field{Name: "tlsx_summary", Request: true, Doc: "the handshake in words", Example: `tlsx_summary != ""`}, ofTLS(tlsSummary)),
		text(Field{Name: "tlsx_info", Request: true, Doc: "the handshake in words", Example: `tlsx_info != ""`}, ofTLS(tlsSummary)),
		number(Field{Name: "tls_request_size", Request: true, Unit: "bytes", Doc: "client's part of the handshake", Example: `tls_request_size > 2000`},
			tlsSize(func(c *traffic.Call) int64 { return c.RequestSize })),
		number(Field{Name: "tls_response_size", Unit: "bytes", Response: true, Doc: "server's part of the handshake", Example: `tls_response_size > 4000`},
			tlsSize(func(c *traffic.Call) int64 { return c.ResponseSize })),
		number(Field{Name: "tls_total_size", Request: true, Unit: "bytes", Response: true, Doc: "both parts of the handshake", Example: `tls_total_size > 6000`},
			tlsSize(func(c *traffic.Call) int64 { return c.RequestSize + c.ResponseSize })),
	}}
}

func tlsSize(get func(*traffic.Call) int64) func(*Row) (int64, bool) {
	return func(r *Row) (int64, bool) {
		if !isTLS(r) || r.Call.Protocol != traffic.ProtoTLS {
			return 0, false
		}
		return get(r.Call), true
	}
}

func tlsVersion(v uint16) string {
	switch {
	case v == 0:
		return ""
	case v >= 0x0301 && v <= 0x0304:
		return fmt.Sprintf("1.%d", v-0x0301)
	case v == 0x0300:
		return "0.SSL3" // orders before 1.0
	}
	return fmt.Sprintf("0x%04x", v)
}

func tlsSummary(t *traffic.TLS) string {
	s := "TLS " + tlsVersion(t.Version) + " " + t.SNI
	if t.ALPN != "" {
		s += " " + t.ALPN
	}
	if t.Alert != "" {
		s += " alert " + t.Alert
	}
	return s
}

func connectionSection() section {
	return section{name: "Connections", rows: Connections, optional: true, fields: []Field{
		text(Field{Name: "conn_state", Doc: "open, in_progress or closed", Example: `conn && conn_state == "open"`}, ofConn(connState)),
		number(Field{Name: "conn_local_pkts", JSON: "client_packets", Column: "client_packets", Unit: "packets", Doc: "packets that the client sent",
			Example: `conn && conn_local_pkts > 1000`}, ofConn(func(c *traffic.Connection) int64 { return int64(c.ClientPackets) })),
		number(Field{Name: "conn_local_bytes", JSON: "client_bytes", Column: "client_bytes", Unit: "bytes", Doc: "payload that the client sent",
			Example: `conn && conn_local_bytes > 1000000`}, ofConn(func(c *traffic.Connection) int64 { return int64(c.ClientBytes) })),
		number(Field{Name: "conn_remote_pkts", JSON: "server_packets", Column: "server_packets", Unit: "packets", Doc: "packets that the server sent",
			Example: `conn && conn_remote_pkts > 1000`}, ofConn(func(c *traffic.Connection) int64 { return int64(c.ServerPackets) })),
		number(Field{Name: "conn_remote_bytes", JSON: "server_bytes", Column: "server_bytes", Unit: "bytes", Doc: "payload that the server sent",
			Example: `conn && conn_remote_bytes > 1000000`}, ofConn(func(c *traffic.Connection) int64 { return int64(c.ServerBytes) })),
		texts(Field{Name: "conn_l7_detected", JSON: "l7", Column: "l7", Doc: "protocols found in the connection", Example: `"http" in conn_l7_detected`}, ofConn(l7)),
		number(Field{Name: "conn_group_id", Doc: "number of the flow", Example: `conn_group_id == 17`},
			ofConn(func(c *traffic.Connection) int64 { return int64(c.FlowID) })),
		flag(Field{Name: "opened", JSON: "opened", Aliases: []string{"tcp.connections.opened"}, Column: "opened", Doc: "its handshake lies in this window",
			Example: `tcp_conn && opened`}, ofConn(func(c *traffic.Connection) bool { return c.Opened })),
		flag(Field{Name: "closed", JSON: "closed", Column: "closed", Doc: "it ended in this window", Example: `tcp_conn && !closed`},
			ofConn(func(c *traffic.Connection) bool { return c.Closed })),
		flag(Field{Name: "reused", Doc: "it carried more than one call over its life", Example: `tcp_conn && !reused`},
			ofConn(func(c *traffic.Connection) bool { return c.Calls > 1 })),
		number(Field{Name: "conn_calls", JSON: "calls", Aliases: []string{"requests_per_connection"}, Column: "calls", Unit: "calls",
			Doc: "calls that it carried over its life", Example: `conn_calls == 1`}, ofConn(func(c *traffic.Connection) int64 { return int64(c.Calls) })),
		number(Field{Name: "window_calls", JSON: "window_calls", Column: "window_calls", Unit: "calls", Doc: "calls that it carried in this window",
			Example: `window_calls == 0`}, ofConn(func(c *traffic.Connection) int64 { return int64(c.WindowCalls) })),
		span(Field{Name: "lifetime", Aliases: []string{"connection.lifetime", "tcp.connection.duration"}, Doc: "first packet to last packet",
			Example: `tcp_conn && lifetime < duration("10ms")`}, ofConn(func(c *traffic.Connection) int64 { return max(0, c.End-c.Start) })),
		flag(Field{Name: "guessed", JSON: "guessed", Column: "guessed", Doc: "client and server were told apart by port or content only", Example: `conn && guessed`},
			ofConn(func(c *traffic.Connection) bool { return c.Guessed })),
		number(Field{Name: "missing_bytes", JSON: "missing_bytes", Column: "missing_bytes", Unit: "bytes", Doc: "payload that the capture lacks, over its life",
			Example: `missing_bytes > 0`}, ofConn(func(c *traffic.Connection) int64 { return int64(c.Missing) })),
		number(Field{Name: "undecoded_bytes", JSON: "undecoded_bytes", Column: "undecoded_bytes", Unit: "bytes",
			Doc: "payload that no dissector read, though one might have, over its life", Example: `undecoded_bytes > 0`},
			ofConn(func(c *traffic.Connection) int64 { return int64(c.Undecoded) })),
		number(Field{Name: "window_missing_bytes", JSON: "window_missing_bytes", Column: "window_missing_bytes", Unit: "bytes",
			Doc: "payload that the capture lacks, of this window", Example: `window_missing_bytes > 0`},
			ofConn(func(c *traffic.Connection) int64 { return int64(c.WindowMissing) })),
		number(Field{Name: "window_undecoded_bytes", JSON: "window_undecoded_bytes", Column: "window_undecoded_bytes", Unit: "bytes",
			Doc: "payload that no dissector read, though one might have, of this window", Example: `window_undecoded_bytes > 0`},
			ofConn(func(c *traffic.Connection) int64 { return int64(c.WindowUndecoded) })),
		number(Field{Name: "encrypted_bytes", JSON: "encrypted_bytes", Column: "encrypted_bytes", Unit: "bytes", Doc: "payload behind TLS",
			Example: `encrypted_bytes > 0`}, ofConn(func(c *traffic.Connection) int64 { return int64(c.Encrypted) })),
		number(Field{Name: "lost_packets", JSON: "lost_packets", Column: "lost_packets", Unit: "packets", Doc: "packets that the capture source says it lost in this window",
			Example: `lost_packets > 0`}, ofConn(func(c *traffic.Connection) int64 { return int64(c.Lost) })),
	}}
}

func connState(c *traffic.Connection) string {
	switch c.State {
	case traffic.StateEstablished:
		return "open"
	case traffic.StateInProgress:
		return "in_progress"
	case "":
		return ""
	}
	return "closed"
}

func l7(c *traffic.Connection) []string {
	if c.L7 == "" || c.L7 == traffic.ProtoUnknown || c.L7 == traffic.ProtoOther {
		return nil
	}
	return []string{c.L7}
}

func tcpSection() section {
	count := func(name, json, doc string, aliases []string, get func(*traffic.TCPMetrics) int64) Field {
		return number(Field{Name: name, JSON: "tcp_metrics." + json, Aliases: aliases, Column: json, Doc: doc,
			Example: "tcp_conn && " + name + " > 0"}, ofTCP(get))
	}
	micros := func(name, json, doc string, aliases []string, get func(*traffic.TCPMetrics) int64) Field {
		return span(Field{Name: name, JSON: "tcp_metrics." + json, Aliases: aliases, Column: json, Doc: doc,
			Example: "tcp_conn && " + name + ` > duration("10ms")`}, func(r *Row) (int64, bool) {
			us, ok := ofTCP(get)(r)
			return us * 1000, ok && us > 0
		})
	}
	type m = traffic.TCPMetrics
	return section{name: "TCP", rows: Connections, optional: true, fields: []Field{
		span(Field{Name: "handshake_rtt", JSON: "handshake_client_ns", Aliases: []string{"tcp.handshake.rtt.client", "tcp.handshake.rtt",
			"tcp.analysis.initial_rtt"}, Column: "handshake_client_ns",
			Doc:     "SYN to SYN-ACK as the client saw it; connections with SYN retransmits have none",
			Example: `handshake_rtt > duration("10ms")`},
			ofConnSome(func(c *traffic.Connection) (int64, bool) { return c.HandshakeClientNS, c.HandshakeClientNS > 0 })),
		span(Field{Name: "tcp.handshake.rtt.server", JSON: "handshake_server_ns", Column: "handshake_server_ns",
			Doc: "SYN-ACK to ACK as the server saw it", Example: `tcp.handshake.rtt.server > duration("10ms")`},
			ofConnSome(func(c *traffic.Connection) (int64, bool) { return c.HandshakeServerNS, c.HandshakeServerNS > 0 })),
		span(Field{Name: "connect_time", JSON: "connect_ns", Column: "connect_ns", Doc: "first SYN to SYN-ACK, retransmits included",
			Example: `connect_time > duration("1s")`},
			ofConnSome(func(c *traffic.Connection) (int64, bool) { return c.ConnectNS, c.ConnectNS > 0 })),
		number(Field{Name: "syn_retransmits", JSON: "syn_retransmits", Aliases: []string{"tcp.syn_retransmits"}, Column: "syn_retransmits",
			Doc: "SYNs that were sent again; each costs about a second", Example: `tcp_conn && syn_retransmits > 0`},
			ofConn(func(c *traffic.Connection) int64 { return int64(c.SYNRetransmits) })),
		flag(Field{Name: "reset", Aliases: []string{"tcp.reset", "tcp.flags.reset"}, Doc: "it ended by a reset", Example: `tcp_conn && reset`},
			ofConn(func(c *traffic.Connection) bool { return c.State == traffic.StateReset })),
		flag(Field{Name: "refused", Aliases: []string{"tcp.refused"}, Doc: "the server refused it", Example: `tcp_conn && refused`},
			ofConn(func(c *traffic.Connection) bool { return c.State == traffic.StateRefused })),
		flag(Field{Name: "mid_request_reset", JSON: "mid_request_reset", Aliases: []string{"tcp.reset.mid_request"}, Column: "mid_request_reset",
			Doc: "reset while a request waited for its response", Example: `mid_request_reset`},
			ofConn(func(c *traffic.Connection) bool { return c.MidRequestReset })),
		text(Field{Name: "reset_by", JSON: "reset_by", Column: "reset_by", Doc: "who reset it: client or server", Example: `reset_by == "server"`},
			ofConn(func(c *traffic.Connection) string { return c.ResetBy })),
		count("tcp.retransmits", "retransmissions", "segments that were sent again", []string{"tcp.retransmissions", "tcp.analysis.retransmission"},
			func(t *m) int64 { return int64(t.Retransmissions) }),
		count("tcp.fast_retransmits", "fast_retransmissions", "segments sent again after duplicate acks",
			[]string{"tcp.fast_retransmissions", "tcp.analysis.fast_retransmission"}, func(t *m) int64 { return int64(t.FastRetransmissions) }),
		fraction(Field{Name: "tcp.retransmit_ratio", JSON: "tcp_metrics.retransmission_rate", Aliases: []string{"tcp.retransmission_rate"},
			Column: "retransmission_rate", Doc: "retransmissions per data segment, 0 to 1", Example: `tcp.retransmit_ratio > 0.01`},
			ofTCP(func(t *m) float64 { return t.RetransmissionRate })),
		count("tcp.zero_window", "zero_window_events", "times a receiver's window closed", []string{"tcp.zero_window_events", "tcp.analysis.zero_window"},
			func(t *m) int64 { return int64(t.ZeroWindowEvents) }),
		count("tcp.window_full", "window_full_events", "times a sender filled its peer's window", []string{"tcp.window_full_events", "tcp.analysis.window_full"},
			func(t *m) int64 { return int64(t.WindowFullEvents) }),
		count("tcp.window_scale", "window_scale", "window scale of the handshake", []string{"tcp.options.wscale.shift"}, func(t *m) int64 { return int64(t.WindowScale) }),
		count("tcp.receive_window", "avg_receive_window", "mean receive window in bytes", []string{"tcp.avg_receive_window"}, func(t *m) int64 { return t.AvgReceiveWindow }),
		count("tcp.out_of_order", "out_of_order", "segments that arrived out of order", []string{"tcp.analysis.out_of_order"}, func(t *m) int64 { return int64(t.OutOfOrder) }),
		count("tcp.duplicate_acks", "dup_acks", "acks that repeated the one before", []string{"tcp.dup_acks", "tcp.analysis.duplicate_ack"}, func(t *m) int64 { return int64(t.DupACKs) }),
		count("tcp.missing_segments", "missing_segments", "segments acknowledged and never captured", []string{"tcp.analysis.lost_segment"}, func(t *m) int64 { return int64(t.MissingSegments) }),
		count("tcp.rst_count", "rst_count", "resets", nil, func(t *m) int64 { return int64(t.RSTCount) }),
		count("tcp.fin_count", "fin_count", "FINs", nil, func(t *m) int64 { return int64(t.FINCount) }),
		count("tcp.keepalive", "keepalive_count", "keep-alive probes", []string{"tcp.keepalive_count", "tcp.analysis.keep_alive"}, func(t *m) int64 { return int64(t.KeepaliveCount) }),
		count("tcp.completeness", "connection_completeness", "sum of 1 SYN, 2 SYN-ACK, 4 ACK, 8 data, 16 FIN, 32 RST",
			[]string{"tcp.connection_completeness"}, func(t *m) int64 { return int64(t.Completeness) }),
		micros("tcp.handshake.duration", "handshake_time_us", "SYN to the last ACK of the handshake", []string{"tcp.handshake_time"}, func(t *m) int64 { return t.HandshakeTime }),
		micros("tcp.initial_rtt", "initial_rtt_us", "SYN to the ACK of the handshake", nil, func(t *m) int64 { return t.InitialRTT }),
		micros("tcp.ttfb", "time_to_first_byte_us", "first request byte to first response byte", []string{"tcp.time_to_first_byte"}, func(t *m) int64 { return t.TimeToFirstByte }),
		micros("tcp.rtt", "rtt_avg_us", "mean round trip of data and its ack, without retransmitted segments",
			[]string{"tcp.rtt_avg", "tcp.analysis.ack_rtt"}, func(t *m) int64 { return t.RTTAvg }),
		micros("tcp.rtt_min", "rtt_min_us", "shortest round trip", nil, func(t *m) int64 { return t.RTTMin }),
		micros("tcp.rtt_max", "rtt_max_us", "longest round trip", nil, func(t *m) int64 { return t.RTTMax }),
		count("tcp.rtt_samples", "rtt_samples", "round trips that were measured", nil, func(t *m) int64 { return int64(t.RTTSamples) }),
		micros("tcp.jitter", "jitter_us", "variation of the round trip", nil, func(t *m) int64 { return t.Jitter }),
		count("tcp.goodput", "goodput_bytes", "payload bytes without retransmissions", []string{"tcp.goodput_bytes"}, func(t *m) int64 { return t.GoodputBytes }),
		text(Field{Name: "tcp_method", Doc: "always empty: raw TCP is not a call here", Stub: true, Example: `tcp_method == ""`}, func(*Row) (string, bool) { return "", false }),
		stub("tcp_payload", cel.BytesType, "payload of raw TCP; read packets instead"),
		text(Field{Name: "tcp_error_type", Doc: "connection_reset or connection_refused", Example: `tcp_error_type == "connection_refused"`},
			ofConn(func(c *traffic.Connection) string { s, _ := errorType(&Row{Conn: c}); return s })),
		text(Field{Name: "tcp_error_message", Doc: "how a TCP connection failed, in words", Example: `tcp_error_message != ""`}, ofConn(tcpError)),
		number(Field{Name: "udp_length", Unit: "bytes", Doc: "payload of a UDP conversation, both ways", Example: `udp_conn && udp_length > 10000`,
			applies: overUDP}, func(r *Row) (int64, bool) {
			if !overUDP(r) {
				return 0, false
			}
			return int64(r.Conn.ClientBytes + r.Conn.ServerBytes), true
		}),
		stub("udp_checksum", intType, "checksum of one datagram; read packets instead"),
		stub("udp_payload", cel.BytesType, "payload of raw UDP; read packets instead"),
	}}
}

func tcpError(c *traffic.Connection) string {
	switch {
	case c.State == traffic.StateRefused:
		return "refused by the server"
	case c.State == traffic.StateReset && c.ResetBy != "":
		return "reset by the " + c.ResetBy
	case c.State == traffic.StateReset:
		return "reset"
	}
	return ""
}

// flowSection has the figures of one connection under the names of flows: rows are connections, and grouping them is up
// to whoever lists flows.
func flowSection() section {
	figure := func(name, unit, doc string, get func(*traffic.Connection) int64) Field {
		return number(Field{Name: name, Unit: unit, Doc: doc, Example: "flow && " + name + " > 1000"}, ofConn(get))
	}
	type c = traffic.Connection
	return section{name: "Flows", rows: Connections, optional: true, fields: []Field{
		text(Field{Name: "flow_state", Doc: "open, in_progress or closed", Example: `flow && flow_state == "open"`}, ofConn(connState)),
		figure("flow_local_pkts", "packets", "packets that the client sent", func(c *c) int64 { return int64(c.ClientPackets) }),
		figure("flow_local_bytes", "bytes", "payload that the client sent", func(c *c) int64 { return int64(c.ClientBytes) }),
		figure("flow_remote_pkts", "packets", "packets that the server sent", func(c *c) int64 { return int64(c.ServerPackets) }),
		figure("flow_remote_bytes", "bytes", "payload that the server sent", func(c *c) int64 { return int64(c.ServerBytes) }),
		figure("flow_local_pps", "packets/s", "packets a second that the client sent", func(c *c) int64 { return perSecond(c.ClientPackets, c) }),
		figure("flow_local_bps", "bytes/s", "payload bytes a second that the client sent", func(c *c) int64 { return perSecond(c.ClientBytes, c) }),
		figure("flow_remote_pps", "packets/s", "packets a second that the server sent", func(c *c) int64 { return perSecond(c.ServerPackets, c) }),
		figure("flow_remote_bps", "bytes/s", "payload bytes a second that the server sent", func(c *c) int64 { return perSecond(c.ServerBytes, c) }),
		texts(Field{Name: "flow_l7_detected", Doc: "protocols found in the flow", Example: `"http" in flow_l7_detected`}, ofConn(l7)),
		figure("flow_group_id", "", "number of the flow", func(c *c) int64 { return int64(c.FlowID) }),
	}}
}

// perSecond is the mean over the connection's life; a life shorter than a millisecond counts as one.
func perSecond(n uint64, c *traffic.Connection) int64 {
	life := max(c.End-c.Start, int64(time.Millisecond))
	return int64(float64(n) * float64(time.Second) / float64(life))
}
