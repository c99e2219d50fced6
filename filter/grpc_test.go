package filter_test

import (
	"testing"
	"time"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// gRPC calls have HTTP's fields and their own.
func TestGRPC(t *testing.T) {
	t.Parallel()
	call := func(edit func(*traffic.Call)) *filter.Row {
		c := &traffic.Call{Protocol: traffic.ProtoHTTP, State: traffic.StateComplete, Method: "POST", Path: "/shop.v1.Cart/Add", Status: 200,
			HTTP: &traffic.HTTP{Version: "2", Stream: 5}, GRPC: &traffic.GRPC{Service: "shop.v1.Cart", Method: "Add", Status: 14, Message: "busy",
				RequestMessages: 1, ResponseMessages: 0, TimeoutNS: 250e6, Encoding: "gzip"}}
		if edit != nil {
			edit(c)
		}
		return &filter.Row{Call: c}
	}
	plain := call(func(c *traffic.Call) { c.GRPC = nil })
	lost := call(func(c *traffic.Call) { c.GRPC.Status = -1 })
	joined := call(func(c *traffic.Call) { c.HTTP.UnknownHeaders = 2 })
	for _, c := range []struct {
		src  string
		row  *filter.Row
		want bool
	}{
		{`http && grpc && grpc_status != 0 && status_code == 200 && http_version == "2" && http_stream == 5`, call(nil), true},
		{`grpc_method == "Add" && grpc_service == "shop.v1.Cart" && grpc_message == "busy" && grpc_encoding == "gzip"`, call(nil), true},
		{`grpc_request_messages == 1 && grpc_response_messages == 0 && grpc_timeout == duration("250ms")`, call(nil), true},
		{`rpc.method == "Add"`, call(nil), true},
		{`grpc`, plain, false},
		{`http && !grpc && grpc_method == "" && grpc_status == 0`, plain, true},
		{`grpc && grpc_status > 0`, lost, false},
		{`grpc && grpc_status == 0`, lost, false},
		{`grpc && (0 == grpc_status || grpc_status + 0 == 0)`, lost, false},
		{`grpc && grpc_status == -1`, lost, true},
		{`has(grpc_status)`, lost, false},
		{`unknown_headers > 0 && !pushed && http_reset == ""`, joined, true},
	} {
		f, err := filter.Compile(c.src)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := f.Match(c.row); err != nil || got != c.want {
			t.Errorf("%s: want %v, got %v, %v", c.src, c.want, got, err)
		}
	}
}

// In expectations a status that was not captured is unanswered, and so is what follows from headers that are not known.
func TestGRPCUnseen(t *testing.T) {
	t.Parallel()
	act := filter.NewActivation(time.Unix(0, 0))
	row := &filter.Row{Call: &traffic.Call{Protocol: traffic.ProtoHTTP, State: traffic.StateComplete, Method: "POST", Status: 200,
		HTTP: &traffic.HTTP{Version: "2", UnknownHeaders: 1}, GRPC: &traffic.GRPC{Status: -1}}}
	for name, want := range map[string]int{"grpc_status": 1, "request.headers": 1, "response.headers": 1, "latency": 0, "status_code": 0} {
		act.Reset(row, filter.ModeExpect)
		act.ResolveName(name)
		if got := len(act.Unanswered()); got != want {
			t.Errorf("%s: unanswered %d times, want %d", name, got, want)
		}
	}
}

// Of a conversation that was not seen it is known whether it could have been gRPC.
func TestGRPCCould(t *testing.T) {
	t.Parallel()
	f, err := filter.Compile(`grpc && grpc_status != 0`)
	if err != nil {
		t.Fatal(err)
	}
	for proto, want := range map[string]bool{"http": true, "dns": false, "": true, "unknown": true, "tcp": true, "udp": false, "other": false, "tls": true} {
		if got := f.Could(nil, nil, proto); got != want {
			t.Errorf("over %q: want %v, got %v", proto, want, got)
		}
	}
	if f.Kind() != filter.Calls {
		t.Errorf("kind is %v, want calls", f.Kind())
	}
}
