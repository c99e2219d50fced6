package filter

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/devloop-io/devloop/traffic"
)

func websocketSection() section {
	return section{name: "WebSocket", rows: Calls, applies: isWS, optional: true, fields: []Field{
		flag(Field{Name: "ws", Rows: Both, Doc: "a WebSocket message; its method is the opcode, its path that of the request which opened the connection",
			Example: `ws && ws_opcode == "text"`}, onRow(carries(traffic.ProtoWS))),
		text(Field{Name: "ws_opcode", JSON: "ws.opcode", Column: "ws_opcode", Doc: "text, binary, close, ping or pong",
			Example: `ws_opcode == "close"`}, ofWS(func(w *traffic.WebSocket) string { return w.Opcode })),
		flag(Field{Name: "ws_request", Doc: "the client sent the message", Example: `ws && ws_request`},
			ofWS(func(w *traffic.WebSocket) bool { return !w.FromServer })),
		flag(Field{Name: "ws_response", JSON: "ws.from_server", Column: "ws_response", Doc: "the server sent the message", Example: `ws && ws_response`},
			ofWS(func(w *traffic.WebSocket) bool { return w.FromServer })),
		text(Field{Name: "ws_request_payload_data",
			Doc:     "payload of a client's message, unmasked and decompressed, as far as it was kept; of a close its reason",
			Example: `ws && ws_request_payload_data.contains("subscribe")`}, fromWS(false, wsPayload)),
		text(Field{Name: "ws_response_payload_data", Doc: "payload of a server's message",
			Example: `ws && ws_response_payload_data.contains("error")`}, fromWS(true, wsPayload)),
		number(Field{Name: "ws_request_payload_length", Unit: "bytes",
			Doc: "length of a client's message, decompressed", Example: `ws && ws_request_payload_length > 65536`}, fromWS(false, wsLength)),
		number(Field{Name: "ws_response_payload_length", Unit: "bytes",
			Doc: "length of a server's message, decompressed", Example: `ws && ws_response_payload_length > 65536`}, fromWS(true, wsLength)),
		number(Field{Name: "ws_close_code", JSON: "ws.close_code", Column: "ws_close_code", Doc: "status code of a close: 1000 is normal, 0 where it carries none",
			Example: `ws_opcode == "close" && ws_close_code != 1000`}, ofWS(func(w *traffic.WebSocket) int64 { return int64(w.CloseCode) })),
		flag(Field{Name: "ws_payload_cut", JSON: "ws.payload_cut", Column: "ws_payload_cut", Doc: "the message was longer than what was kept", Example: `ws && ws_payload_cut`},
			ofWS(func(w *traffic.WebSocket) bool { return w.PayloadCut })),
		flag(Field{Name: "ws_compressed", JSON: "ws.compressed", Column: "ws_compressed", Doc: "the message was sent compressed (permessage-deflate)",
			Example: `ws && !ws_compressed`}, ofWS(func(w *traffic.WebSocket) bool { return w.Compressed })),
		number(Field{Name: "ws_fragments", JSON: "ws.fragments", Column: "ws_fragments", Doc: "frames that the message came in", Example: `ws && ws_fragments > 1`},
			ofWS(func(w *traffic.WebSocket) int64 { return int64(w.Fragments) })),
		text(Field{Name: "ws_error", JSON: "ws.error", Column: "ws_error", Doc: "why the payload is not there or not whole", Example: `ws && ws_error != ""`},
			ofWS(func(w *traffic.WebSocket) string { return w.Error })),
	}}
}

func isWS(r *Row) bool { return r.Call != nil && r.Call.WebSocket != nil }

func ofWS[T any](get func(*traffic.WebSocket) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if !isWS(r) {
			return v, false
		}
		return get(r.Call.WebSocket), true
	}
}

// fromWS is for what only the messages of one side have.
func fromWS[T any](server bool, get func(*traffic.WebSocket) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if !isWS(r) || r.Call.WebSocket.FromServer != server {
			return v, false
		}
		return get(r.Call.WebSocket), true
	}
}

func wsPayload(w *traffic.WebSocket) string { return string(w.Payload) }
func wsLength(w *traffic.WebSocket) int64   { return w.Length }

// ws says whether the row is a WebSocket message. Connections that such messages are on began as HTTP; [Filter.Could] asks for
// both.
func (e *ends) ws(f *Field) ref.Val {
	if e.proto == traffic.ProtoWS && e.kind == Calls {
		return types.True
	}
	return e.l7(f, traffic.ProtoWS)
}
