package filter

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/devloop-io/devloop/traffic"
)

// Could reports whether any row between these ends could match: false only when certainly none could, whatever the fields
// hold that are not known here. A nil end, an address or port of zero and a workload without a name count as not known.
// Proto is what is known of the conversation: a call's protocol or a connection's L7 (http, dns, tls, other), its transport
// (tcp, udp), or nothing ("", unknown). It may be asked about losses: rows that were never seen.
func (f *Filter) Could(src, dst *traffic.Endpoint, proto string) bool {
	return f.possible(&ends{src: src, dst: dst, proto: proto, kind: Calls}) ||
		proto == traffic.ProtoHTTP && f.possible(&ends{src: src, dst: dst, proto: traffic.ProtoWS, kind: Calls}) ||
		f.possible(&ends{src: src, dst: dst, proto: proto, kind: Connections})
}

// MayBe reports whether a row of that L7 protocol could match, or a connection that carries it.
func (f *Filter) MayBe(l7 string) bool { return f.Could(nil, nil, l7) }

// Protocols returns the L7 protocols, of those that are dissected, whose calls the filter could select.
func (f *Filter) Protocols() []string {
	var all []string
	for _, l7 := range dissected {
		if f.possible(&ends{proto: l7, kind: Calls}) {
			all = append(all, l7)
		}
	}
	return all
}

// possible evaluates with what is known. An error counts as possible: another row may not have it.
func (f *Filter) possible(known *ends) bool {
	if f.program == nil {
		return true
	}
	act := f.pool.Get().(*Activation)
	act.Reset(nil, ModeFilter)
	act.ends = known
	out, _, err := f.program.Eval(act)
	act.ends = nil
	f.pool.Put(act)
	return err != nil || out != types.False
}

// selects is the rule of [Filter.Kind].
func (f *Filter) selects() Kind {
	var k Kind
	for _, kind := range []Kind{Calls, Connections} {
		if f.possible(&ends{kind: kind}) {
			k |= kind
		}
	}
	var read Kind
	for _, field := range f.Fields() {
		if field.Rows != Both {
			read |= field.Rows
		}
	}
	if k == Both && read != 0 {
		return read
	}
	return k
}

// Fields are the fields that the filter reads, in the order of the table.
func (f *Filter) Fields() []Field {
	if f.checked == nil {
		return nil
	}
	used := map[string]bool{}
	ast.PostOrderVisit(f.checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.IdentKind {
			used[strings.TrimPrefix(e.AsIdent(), hasPrefix)] = true
		}
	}))
	var all []Field
	for _, field := range table().fields {
		if used[field.Name] {
			all = append(all, field)
		}
	}
	return all
}

// ends is what is known of a conversation of which no row was seen.
type ends struct {
	src, dst *traffic.Endpoint
	proto    string
	kind     Kind
}

// value is a field as far as it is known.
func (e *ends) value(f *Field) ref.Val {
	switch {
	case f.end != 0:
		return e.endpoint(f)
	case f.Stub:
		if e.kind == Connections || e.proto == traffic.ProtoHTTP || e.proto == traffic.ProtoDNS || e.proto == traffic.ProtoRedis || e.proto == traffic.ProtoWS {
			return f.zero
		}
		return f.unknown
	case e.kind == Connections && f.Rows == Calls:
		return f.zero
	}
	switch f.Name {
	case "conn", "flow":
		return types.Bool(e.kind == Connections)
	case "tcp_conn", "tcp", "tcp_flow":
		return e.transport(f, "tcp")
	case "udp_conn", "udp", "udp_flow":
		return e.transport(f, "udp")
	case "postgresql":
		return e.postgresql(f)
	case "ws":
		return e.ws(f)
	case "gql", "gqlv1", "gqlv2":
		if e.proto == traffic.ProtoWS {
			return f.unknown
		}
		return e.grpc(f)
	case "grpc":
		return e.grpc(f)
	case "http", "dns", "tls", "redis":
		return e.l7(f, f.Name)
	case "tlsx":
		return e.l7(f, traffic.ProtoTLS)
	case "protocol":
		return e.protocol(f)
	}
	return f.unknown
}

// transport says whether the row is a connection over that transport.
func (e *ends) transport(f *Field, name string) ref.Val {
	if e.kind == Calls {
		return types.False
	}
	switch e.proto {
	case "tcp", "udp":
		return types.Bool(e.proto == name)
	case traffic.ProtoHTTP, traffic.ProtoTLS, traffic.ProtoRedis, traffic.ProtoPostgreSQL:
		return types.Bool(name == "tcp")
	}
	return f.unknown
}

// l7 says whether the row is a call of that protocol. Behind TLS could be anything.
func (e *ends) l7(f *Field, name string) ref.Val {
	switch {
	case e.kind == Connections:
		return types.False
	case e.proto == traffic.ProtoHTTP || e.proto == traffic.ProtoDNS || e.proto == traffic.ProtoRedis:
		return types.Bool(e.proto == name)
	case e.proto == traffic.ProtoOther:
		return types.False
	case e.proto == "udp" && name != traffic.ProtoDNS:
		return types.False
	case e.proto != "" && e.proto != traffic.ProtoUnknown && e.proto != "tcp" && e.proto != "udp" && e.proto != traffic.ProtoTLS:
		return types.False // a protocol that is not dissected yet
	}
	return f.unknown
}

// grpc says whether the row is a gRPC call: some HTTP calls are.
func (e *ends) grpc(f *Field) ref.Val {
	if v := e.l7(f, traffic.ProtoHTTP); v != types.True {
		return v
	}
	return f.unknown
}

func (e *ends) protocol(f *Field) ref.Val {
	switch e.proto {
	case traffic.ProtoHTTP, traffic.ProtoDNS, traffic.ProtoRedis, traffic.ProtoWS:
		if e.kind == Calls {
			return types.String(e.proto)
		}
	case "tcp", "udp":
		if e.kind == Connections {
			return types.String(e.proto)
		}
	}
	return f.unknown
}

// endpoint is a field of one end or of both. Only what all rows between the ends must share is known: not builds or processes.
func (e *ends) endpoint(f *Field) ref.Val {
	var row traffic.Connection
	if e.src != nil {
		row.Src = *e.src
	}
	if e.dst != nil {
		row.Dst = *e.dst
	}
	v, _ := f.Get(&Row{Conn: &row})
	src, dst := identified(&row.Src), identified(&row.Dst)
	known := false
	switch _, name, _ := strings.Cut(f.Name, "."); {
	case f.Name == "egress":
		known = dst
	case f.end == bothEnd:
		known = src && dst && f.Name != "dns_resolutions"
	case name == "ip" || name == "port":
		known = v.Equal(f.zero) != types.True
	case slices.Contains([]string{"name", "namespace", "pod.name", "pod.namespace", "service.name", "service.namespace", "kind", "outside"}, name):
		known = f.end == srcEnd && src || f.end == dstEnd && dst
	}
	if !known {
		return f.unknown
	}
	return v
}

// identified reports whether a workload is known, not just an address.
func identified(w *traffic.Endpoint) bool { return w.Service != "" || w.Pod != "" || w.DNS != "" }
