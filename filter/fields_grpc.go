package filter

import "github.com/devloop-io/devloop/traffic"

// grpcSection is what gRPC adds to an HTTP call.
func grpcSection() section {
	return section{name: "gRPC", rows: Calls, applies: isGRPC, fields: []Field{
		flag(Field{Name: "grpc", Column: "grpc", Doc: "a gRPC call; the fields of HTTP hold for it, too", Example: `grpc && grpc_status != 0`}, onRow(isGRPC)),
		text(Field{Name: "grpc_method", Request: true, JSON: "grpc.method", Aliases: []string{"rpc.method"}, Column: "grpc_method",
			Doc: "method that was called, without its service", Example: `grpc && grpc_method == "AddItem"`},
			ofGRPC(func(g *traffic.GRPC) string { return g.Method })),
		text(Field{Name: "grpc_service", Request: true, JSON: "grpc.service", Aliases: []string{"rpc.service"}, Column: "grpc_service",
			Doc: "service that was called, with its package", Example: `grpc_service == "shop.v1.Cart"`},
			ofGRPC(func(g *traffic.GRPC) string { return g.Service })),
		number(Field{Name: "grpc_status", JSON: "grpc.status", Aliases: []string{"rpc.grpc.status_code", "grpc.status_code"}, Column: "grpc_status", Response: true,
			Doc: "status of the call: 0 is OK, 14 UNAVAILABLE; -1 for calls that did not get one", Example: `grpc && grpc_status == 14`}, grpcStatus),
		text(Field{Name: "grpc_message", JSON: "grpc.message", Column: "grpc_message", Response: true, Doc: "message that came with the status",
			Example: `grpc_message.contains("deadline")`}, ofGRPCAnswer(func(g *traffic.GRPC) string { return g.Message })),
		number(Field{Name: "grpc_request_messages", Request: true, JSON: "grpc.req_messages", Column: "grpc_request_messages",
			Doc: "messages that the client sent: more than one when it streams", Example: `grpc_request_messages > 1`},
			ofGRPC(func(g *traffic.GRPC) int64 { return int64(g.RequestMessages) })),
		number(Field{Name: "grpc_response_messages", JSON: "grpc.resp_messages", Column: "grpc_response_messages", Response: true,
			Doc: "messages that the server sent", Example: `grpc_response_messages > 1`},
			ofGRPCAnswer(func(g *traffic.GRPC) int64 { return int64(g.ResponseMessages) })),
		span(Field{Name: "grpc_timeout", Request: true, JSON: "grpc.timeout_ns", Column: "grpc_timeout_ns",
			Doc: "how long the client was ready to wait; 0 is for ever", Example: `grpc && grpc_timeout == duration("0s")`},
			ofGRPC(func(g *traffic.GRPC) int64 { return g.TimeoutNS })),
		text(Field{Name: "grpc_encoding", JSON: "grpc.encoding", Column: "grpc_encoding", Doc: "compression of the messages", Example: `grpc_encoding == "gzip"`},
			ofGRPC(func(g *traffic.GRPC) string { return g.Encoding })),
		flag(Field{Name: "grpc_web", JSON: "grpc.web", Column: "grpc_web", Doc: "gRPC-Web, over HTTP/1.1 or 2: the form that browsers speak",
			Example: `grpc_web && grpc_status != 0`}, ofGRPC(func(g *traffic.GRPC) bool { return g.Web })),
	}}
}

// grpcStatus is -1 in filters, and unknown in expectations, where no trailers were seen.
func grpcStatus(r *Row) (int64, bool) {
	if !isGRPC(r) {
		return 0, false
	}
	return int64(r.Call.GRPC.Status), r.Call.GRPC.Status >= 0
}

func isGRPC(r *Row) bool { return r.Call != nil && r.Call.GRPC != nil }

func ofGRPC[T any](get func(*traffic.GRPC) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if !isGRPC(r) {
			return v, false
		}
		return get(r.Call.GRPC), true
	}
}

func ofGRPCAnswer[T any](get func(*traffic.GRPC) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if !isGRPC(r) || !r.Call.Answered() {
			return v, false
		}
		return get(r.Call.GRPC), true
	}
}
