package filter

import (
	"strings"
	"sync"

	"github.com/devloop-io/devloop/traffic"
)

// Source says how the columns of stored calls hold a field: its value wherever all conditions hold, its default elsewhere. It
// repeats what [Field.Get] says, and the store's tests compare the two, field by field.
type Source struct {
	Columns []string
	When    []Condition
	Is      string              // a flag: whether the column is this text
	Text    func(string) string // of a text column, when the field is not the column itself
	Number  func([]int64) int64 // of the number columns, when the field is not the first itself
	Divide  float64             // a fraction: the column divided by this
	Large   bool                // the columns are much to read
	Inside  bool                // the field lies somewhere inside the columns' text, which is JSON: they can only tell where it is not
	Valued  bool                // a row may have a value and yet not have the field
	Encoded string              // with Inside: a column whose text may be written with % signs, so that it can hide anything there
}

// Condition is what a column must hold for a [Source] to have a value.
type Condition struct {
	Column string
	Texts  []string // a text column: one of these
	Not    bool     // turns it round; of a flag: it must be false
}

// SourceOf is how columns hold a field; false where only whole rows tell.
func SourceOf(name string) (*Source, bool) {
	s, ok := sources()[name]
	return s, ok
}

// Reads are columns from which a row can be rebuilt that has the field right, nil where that takes all columns.
func (f *Field) Reads() []string {
	if few := alsoRead[f.Name]; few != nil {
		return few
	}
	var all []string
	if s := sources()[f.Name]; s != nil {
		all = append(all, s.Columns...)
		for _, c := range s.When {
			all = append(all, c.Column)
		}
		return append(all, "state") // also for what an empty list stands for: a stub needs no column
	}
	if f.Rows == Connections {
		return []string{"conn_id"}
	}
	return nil
}

var (
	whenAnswered = Condition{Column: "state", Texts: []string{string(traffic.StateComplete), string(traffic.StateTruncated), string(traffic.StateHalf)}}
	whenWhole    = Condition{Column: "state", Texts: []string{string(traffic.StateComplete)}}
)

func when(flag string) Condition { return Condition{Column: flag} }

// sources is built once from the lists below.
var sources = sync.OnceValue(func() map[string]*Source {
	all := map[string]*Source{}
	// add gives fields the column that the table names, under conditions.
	add := func(names string, conditions ...Condition) {
		for _, name := range strings.Fields(names) {
			if f := table().byName[name]; f != nil && f.Column != "" {
				all[name] = &Source{Columns: []string{f.Column}, When: conditions}
			}
		}
	}
	set := func(name string, s Source) { all[name] = &s }
	add("id conn_id flow_id index protocol revision iteration trace_id span_id background state capture.point capture_source method path request_body_size " +
		"parent parent_by parent_candidates depth timestamp grpc gql")
	add("error_type", Condition{Column: "state", Texts: []string{string(traffic.StateOpen)}, Not: true})
	add("status_code", whenAnswered)
	add("latency response_body_size self", whenWhole)
	set("latency_ms", Source{Columns: []string{"latency_ns"}, When: []Condition{whenWhole}, Divide: 1e6})
	set("elapsed_time", Source{Columns: []string{"latency_ns"}, When: []Condition{whenWhole}, Number: func(v []int64) int64 { return v[0] / 1000 }})
	since := func(v []int64) int64 { return max(0, v[0]-v[1]) }
	set("ttfb", Source{Columns: []string{"response_start_ns", "request_end_ns"}, When: []Condition{whenAnswered}, Number: since})
	set("transfer_time", Source{Columns: []string{"end_ns", "response_start_ns"}, When: []Condition{whenWhole}, Number: since})
	set("request_time", Source{Columns: []string{"request_end_ns", "start_ns"}, Number: since})
	endSources(all)
	for name, proto := range map[string]string{"http": traffic.ProtoHTTP, "dns": traffic.ProtoDNS, "tls": traffic.ProtoTLS, "tlsx": traffic.ProtoTLS,
		"redis": traffic.ProtoRedis, "postgresql": traffic.ProtoPostgreSQL, "ws": traffic.ProtoWS} {
		set(name, Source{Columns: []string{"proto"}, Is: proto})
	}
	for _, name := range strings.Fields("conn tcp_conn udp_conn tcp udp flow tcp_flow udp_flow") { // no call is one
		set(name, Source{})
	}
	http := when("http")
	add("host http_version kept_alive request_headers_cut request_body_cut request_headers_size http_reset http_stream pushed unknown_headers body_error route event_stream", http)
	add("reason response_headers_size response_headers_cut response_body_cut http_upgrade", http, whenAnswered)
	set("request.body", Source{Columns: []string{"grpc_request_json", "req_body"}, When: []Condition{http}, Large: true})
	set("response.body", Source{Columns: []string{"grpc_response_json", "resp_body"}, When: []Condition{http, whenAnswered}, Large: true})
	set("request.headers", Source{Columns: []string{"req_headers"}, When: []Condition{http}, Inside: true})
	set("request.cookies", Source{Columns: []string{"req_headers"}, When: []Condition{http}, Inside: true})
	set("response.headers", Source{Columns: []string{"resp_headers"}, When: []Condition{http, whenAnswered}, Inside: true})
	set("response.cookies", Source{Columns: []string{"resp_headers"}, When: []Condition{http, whenAnswered}, Inside: true})
	set("credentials", Source{Columns: []string{"credentials"}, Inside: true})
	set("credential_hashes", Source{Columns: []string{"credentials"}, Inside: true})
	set("credential_places", Source{Columns: []string{"credentials"}, Inside: true})
	add("grpc_method grpc_service grpc_request_messages grpc_timeout grpc_encoding grpc_web grpc_status", when("grpc"))
	if s := all["grpc_status"]; s != nil {
		s.Valued = true
	}
	add("grpc_message grpc_response_messages", when("grpc"), whenAnswered)
	add("dns_transport", when("dns"))
	add("dns_rcode dns_truncated", when("dns"), whenAnswered)
	set("dns_questions", Source{Columns: []string{"dns_questions"}, When: []Condition{when("dns")}, Inside: true})
	set("dns_answers", Source{Columns: []string{"dns_answers"}, When: []Condition{when("dns"), whenAnswered}, Inside: true})
	add("tlsx_sni tlsx_alpn", when("tls"))
	add("tlsx_version tlsx_cipher_suite tls.resumed tls.alert", when("tls"), whenAnswered)
	add("postgresql_command postgresql_query postgresql_fingerprint postgresql_database postgresql_user postgresql_statement postgresql_parameters", when("postgresql"))
	add("postgresql_rows postgresql_success postgresql_error_code postgresql_error_message postgresql_severity postgresql_transaction", when("postgresql"), whenAnswered)
	set("postgresql_arguments", Source{Columns: []string{"postgresql_arguments"}, When: []Condition{when("postgresql")}, Inside: true})
	add("redis_command redis_database redis_pipelined redis_push", when("redis"))
	set("redis_type", Source{Columns: []string{"redis_command"}, When: []Condition{when("redis")}})
	set("redis_key", Source{Columns: []string{"redis_key"}, When: []Condition{when("redis")},
		Text: func(s string) string { return redisKey(&traffic.Redis{Key: s}) }})
	set("redis_args", Source{Columns: []string{"redis_args"}, When: []Condition{when("redis")}, Inside: true})
	add("redis_reply_type redis_reply redis_error", when("redis"), whenWhole)
	add("ws_opcode ws_response ws_close_code ws_payload_cut ws_compressed ws_fragments ws_error", when("ws"))
	fromClient, fromServer := Condition{Column: "ws_response", Not: true}, when("ws_response")
	set("ws_request_payload_data", Source{Columns: []string{"ws_payload"}, When: []Condition{when("ws"), fromClient}, Large: true})
	set("ws_response_payload_data", Source{Columns: []string{"ws_payload"}, When: []Condition{when("ws"), fromServer}, Large: true})
	set("ws_request_payload_length", Source{Columns: []string{"ws_payload_length"}, When: []Condition{when("ws"), fromClient}})
	set("ws_response_payload_length", Source{Columns: []string{"ws_payload_length"}, When: []Condition{when("ws"), fromServer}})
	add("gql_operation gql_operation_name gql_query gql_variables gql_hash gql_message gql_message_id", when("gql"))
	add("stream.events", when("event_stream"))
	add("retry.attempts retry.attempt retry.group retry.confidence", when("retried"))
	for protocol, condition := range map[string]Condition{"redis": whenWhole, "postgresql": whenAnswered} {
		set(protocol+"_request_size", Source{Columns: []string{"req_size"}, When: []Condition{when(protocol)}})
		set(protocol+"_response_size", Source{Columns: []string{"resp_size"}, When: []Condition{when(protocol), condition}})
	}
	set(textsName, Source{Inside: true, Valued: true, Large: true, Columns: textColumns, Encoded: "query"})
	for _, f := range table().fields {
		if f.Stub {
			set(f.Name, Source{})
		}
	}
	return all
})

// textColumns hold what [textsOf] says; those of DNS and of headers have more in them. A query may be encoded.
var textColumns = []string{"path", "query", "req_headers", "resp_headers", "req_body", "resp_body", "grpc_message", "grpc_request_json", "grpc_response_json",
	"dns_questions", "dns_answers", "postgresql_query", "postgresql_message", "postgresql_statement", "postgresql_arguments", "redis_key", "redis_args", "redis_reply",
	"redis_error", "ws_payload", "gql_operation_name", "gql_query", "gql_variables", "gql_hash", "gql_batch", "gql_errors"}

// endSources are those of both ends.
func endSources(all map[string]*Source) {
	for _, p := range []string{"src", "dst"} {
		host := map[string]string{"src": "local", "dst": "remote"}[p]
		for name, columns := range map[string]string{
			".ip": "_ip", ".port": "_port", ".name": "_name", ".namespace": "_ns", ".pod.namespace": "_ns", ".service.namespace": "_ns", ".service.name": "_svc",
			".pod.name": "_pod _svc", ".kind": "_kind", ".build": "_build", ".process": "_process", ".pid": "_pid", ".container": "_container", ".node": "_node",
			".dns": "_dns", ".outside": "_outside", ".zone": "_zone", ".node.ip": "_node_ip", ".host_network": "_host_network", ".owner.kind": "_owner_kind",
		} {
			s := &Source{}
			for _, column := range strings.Fields(columns) {
				s.Columns = append(s.Columns, p+column)
			}
			all[p+name] = s
		}
		all[host+"_process_name"] = &Source{Columns: []string{p + "_process"}}
		all[host+"_node_name"] = &Source{Columns: []string{p + "_node"}}
	}
}

// exchange is what the times of a call follow from; latency_ns is not read back.
var exchange = []string{"state", "start_ns", "response_start_ns", "end_ns"}

// alsoRead are the columns behind fields that only rows tell, where these are few, and where a row needs others than a source.
var alsoRead = map[string][]string{
	"src.name": {"src_svc", "src_pod", "src_dns", "src_process"}, "dst.name": {"dst_svc", "dst_pod", "dst_dns", "dst_process"}, // the column is not read back
	"latency": exchange, "latency_ms": exchange, "elapsed_time": exchange,
	"status_class": {"http", "status", "state"}, "url": {"http", "host", "path", "query"}, "query_string": {"http", "query"},
	"auth.present": {"http", "credentials", "req_headers"}, "auth.missing": {"http", "credentials", "req_headers"}, "auth.scheme": {"http", "req_headers"},
	"answered": {"state"}, "dns_question_types": {"dns", "dns_questions"}, "plaintext": {"proto", "capture_source"}, "stream": {"conn_id"},
	"gql_errors": {"gql", "gql_errors", "gql_errors_cut", "gql_message", "http", "state"}, "gql_fields": {"gql", "gql_fields", "gql_batch"},
	"namespaces": {"src_ns", "dst_ns"}, "services": {"src_svc", "dst_svc"}, "pods": {"src_pod", "src_svc", "dst_pod", "dst_svc"},
	"dns_resolutions": {"src_dns", "dst_dns"}, "local_labels": {"src_labels"}, "remote_labels": {"dst_labels"}, "has_pcap": {"state"},
	"egress": {"dst_ip", "dst_svc", "dst_pod", "dst_process", "dst_outside", "dst_kind"}, "child_time": {"state", "response_start_ns", "start_ns", "end_ns", "self_ns"},
}
