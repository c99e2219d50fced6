package retries

import (
	"fmt"
	"math"
	"net/netip"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

const ms = int64(1e6)

// get is a call of 1 ms that starts at a time in milliseconds.
func get(client string, at int64, status int) *traffic.Call {
	return &traffic.Call{
		ID: fmt.Sprintf("%s@%d", client, at), Protocol: traffic.ProtoHTTP, State: traffic.StateComplete, Method: "GET", Path: "/items",
		Src: traffic.Endpoint{Workload: traffic.Workload{Service: client, PID: 7}}, Dst: traffic.Endpoint{Port: 80, Workload: traffic.Workload{Service: "catalogue"}},
		Start: at * ms, ResponseStart: (at + 1) * ms, End: (at + 1) * ms, Status: status, HTTP: &traffic.HTTP{},
	}
}

func with(c *traffic.Call, f func(*traffic.Call)) *traffic.Call { f(c); return c }

func header1(name, value string) func(*traffic.Call) {
	return func(c *traffic.Call) {
		c.HTTP.RequestHeaders = append(c.HTTP.RequestHeaders, traffic.Header{Name: name, Value: value})
	}
}

// asks is a call that went well and carries a request id.
func asks(client, server, id string) *traffic.Call {
	return with(with(get(client, 0, 200), header1("X-Request-Id", id)), func(c *traffic.Call) { c.Path, c.Dst.Service = "/asked", server })
}

// half is an answer of which nobody knows what it answers.
func half(at int64) *traffic.Call {
	return with(get("cart", at, 503), func(c *traffic.Call) { c.State, c.Method, c.Path = traffic.StateHalf, "", "" })
}

// gaveUp is a call whose client closed its connection after 1 ms.
func gaveUp(at int64) *traffic.Call {
	return with(get("cart", at, 0), func(c *traffic.Call) { c.State, c.Error = traffic.StateUnanswered, traffic.ErrorCancelled })
}

func TestGroup(t *testing.T) {
	t.Parallel()
	type want struct { // of one call; attempts 0 is no retry
		attempt, attempts int
		delay             int64 // ms
	}
	cases := []struct {
		name       string
		calls      []*traffic.Call
		refused    []*traffic.Connection
		want       []want
		factor     float64
		jitter     bool
		confidence string
	}{
		{name: "successful GETs are no retries", calls: []*traffic.Call{get("cart", 0, 200), get("cart", 10, 200), get("cart", 20, 404)}, want: make([]want, 3)},
		{name: "exponential", calls: []*traffic.Call{get("cart", 0, 503), get("cart", 101, 503), get("cart", 302, 503), get("cart", 703, 200)},
			want: []want{{1, 4, 0}, {2, 4, 100}, {3, 4, 200}, {4, 4, 400}}, factor: 2},
		{name: "constant, out of order", calls: []*traffic.Call{get("cart", 202, 200), get("cart", 0, 503), get("cart", 101, 429)},
			want: []want{{3, 3, 100}, {1, 3, 0}, {2, 3, 100}}, factor: 1},
		{name: "jitter", calls: []*traffic.Call{get("cart", 0, 503), get("cart", 101, 503), get("cart", 152, 503), get("cart", 353, 503), get("cart", 379, 503)},
			want: []want{{1, 5, 0}, {2, 5, 100}, {3, 5, 50}, {4, 5, 200}, {5, 5, 25}}, factor: math.Pow(.25, 1./3), jitter: true},
		{name: "storm of three within 100 ms", calls: []*traffic.Call{get("cart", 0, 500), get("cart", 21, 500), get("cart", 42, 500), get("cart", 11000, 500)},
			want: []want{{1, 3, 0}, {2, 3, 20}, {3, 3, 20}, {}}, factor: 1},
		{name: "two clients interleaved", calls: []*traffic.Call{get("cart", 0, 503), get("checkout", 1, 503), get("cart", 11, 503), get("checkout", 22, 200), get("cart", 22, 200)},
			want: []want{{1, 3, 0}, {1, 2, 0}, {2, 3, 10}, {2, 2, 20}, {3, 3, 10}}, factor: 1},
		{name: "parallel requests are no retries", calls: []*traffic.Call{get("cart", 0, 503), get("cart", 0, 503), get("cart", 0, 503)}, want: make([]want, 3)},
		{name: "a success ends it", calls: []*traffic.Call{get("cart", 0, 503), get("cart", 10, 200), get("cart", 20, 503)}, want: []want{{1, 2, 0}, {2, 2, 9}, {}}},
		{name: "another query", calls: []*traffic.Call{get("cart", 0, 503), with(get("cart", 10, 503), func(c *traffic.Call) { c.HTTP.Query = "page=2" })}, want: make([]want, 2)},
		{name: "another body", calls: []*traffic.Call{get("cart", 0, 503), with(get("cart", 10, 503), func(c *traffic.Call) { c.HTTP.RequestBody = []byte("x") })}, want: make([]want, 2)},
		{name: "another process", calls: []*traffic.Call{get("cart", 0, 503), with(get("cart", 10, 503), func(c *traffic.Call) { c.Src.PID = 8 })}, want: make([]want, 2)},
		{name: "still open", calls: []*traffic.Call{with(get("cart", 0, 0), func(c *traffic.Call) { c.State = traffic.StateOpen }), get("cart", 10, 200)}, want: make([]want, 2)},
		{name: "timeout seen late", calls: []*traffic.Call{
			with(get("cart", 0, 0), func(c *traffic.Call) {
				c.State, c.Error, c.End = traffic.StateUnanswered, traffic.ErrorCancelled, 103*ms
			}), get("cart", 100, 200)}, want: []want{{1, 2, 0}, {2, 2, 0}}},
		{name: "reset", calls: []*traffic.Call{
			with(get("cart", 0, 0), func(c *traffic.Call) { c.State, c.Error = traffic.StateUnanswered, traffic.ErrorReset }), get("cart", 6, 200)},
			want: []want{{1, 2, 0}, {2, 2, 5}}},
		{name: "idempotency key", confidence: Exact, calls: []*traffic.Call{
			with(get("cart", 0, 503), header1("Idempotency-Key", "a")), with(get("cart", 6, 503), header1("Idempotency-Key", "b")),
			with(get("cart", 11, 200), header1("idempotency-key", "a"))}, want: []want{{1, 2, 0}, {}, {2, 2, 10}}},
		{name: "request id", confidence: Exact, calls: []*traffic.Call{
			with(get("cart", 0, 503), header1("X-Request-Id", "a")), with(get("cart", 11, 200), header1("X-Request-Id", "a"))}, want: []want{{1, 2, 0}, {2, 2, 10}}},
		{name: "one user's request asks for two things", calls: []*traffic.Call{
			with(get("cart", 0, 503), header1("X-Request-Id", "a")),
			with(with(get("cart", 11, 200), header1("X-Request-Id", "a")), func(c *traffic.Call) { c.HTTP.Query = "id=2" })}, want: make([]want, 2)},
		{name: "requests of two ids, of which one was handed on", calls: []*traffic.Call{
			with(get("cart", 0, 503), header1("X-Request-Id", "a")), with(get("cart", 11, 200), header1("x-request-id", "b")),
			asks("front", "cart", "b")}, want: make([]want, 3)},
		{name: "requests of two ids, of which one was used again", calls: []*traffic.Call{
			with(get("cart", 0, 503), header1("X-Request-Id", "a")), with(get("cart", 11, 200), header1("x-request-id", "b")),
			asks("cart", "prices", "b")}, want: make([]want, 3)},
		{name: "an id made anew for each attempt", calls: []*traffic.Call{
			with(get("cart", 0, 503), header1("X-Request-Id", "a")), with(get("cart", 11, 200), header1("X-Request-Id", "b"))}, want: []want{{1, 2, 0}, {2, 2, 10}}},
		{name: "an id made anew for each attempt, which its server hands on", calls: []*traffic.Call{
			with(get("cart", 0, 503), header1("X-Request-Id", "a")), with(get("cart", 11, 200), header1("X-Request-Id", "b")),
			asks("catalogue", "prices", "a")}, want: []want{{1, 2, 0}, {2, 2, 10}, {}}},
		{name: "requests of two ids, one made twice", confidence: Exact, calls: []*traffic.Call{
			with(get("cart", 0, 503), header1("X-Correlation-Id", "a")), with(get("cart", 4, 503), header1("X-Correlation-Id", "b")),
			with(get("cart", 11, 200), header1("X-Correlation-Id", "a"))}, want: []want{{1, 2, 0}, {}, {2, 2, 10}}},
		{name: "an id made anew for each attempt, in one trace", calls: []*traffic.Call{
			with(with(get("cart", 0, 503), header1("X-Request-Id", "a")), trace("t1", "s1")),
			with(with(get("cart", 11, 200), header1("X-Request-Id", "b")), trace("t1", "s2"))}, want: []want{{1, 2, 0}, {2, 2, 10}}},
		{name: "one id in traces made anew", confidence: Exact, calls: []*traffic.Call{
			with(with(get("cart", 0, 503), header1("X-Request-Id", "a")), trace("t1", "s1")),
			with(with(get("cart", 11, 200), header1("X-Request-Id", "a")), trace("t2", "s2"))}, want: []want{{1, 2, 0}, {2, 2, 10}}},
		{name: "an idempotency key goes before an id", confidence: Exact, calls: []*traffic.Call{
			with(with(get("cart", 0, 503), header1("X-Request-Id", "a")), header1("Idempotency-Key", "k")),
			with(with(get("cart", 11, 200), header1("X-Request-Id", "b")), header1("Idempotency-Key", "k"))}, want: []want{{1, 2, 0}, {2, 2, 10}}},
		{name: "a refused connection has the id of the request that its client sent next", calls: []*traffic.Call{
			with(get("cart", 10, 503), header1("X-Request-Id", "a")), with(get("cart", 30, 200), header1("X-Request-Id", "b")), asks("front", "cart", "a")},
			refused: []*traffic.Connection{refused("cart", 0)}, confidence: Exact, want: []want{{2, 2, 10}, {}, {}}},
		{name: "requests of two traces", calls: []*traffic.Call{
			with(get("cart", 0, 503), trace("t1", "s1")), with(get("cart", 6, 503), trace("t1", "s2")),
			with(get("cart", 12, 503), trace("t2", "s3")), with(get("cart", 18, 503), trace("t2", "s4"))},
			want: []want{{1, 2, 0}, {2, 2, 5}, {1, 2, 0}, {2, 2, 5}}},
		{name: "one parent span", confidence: Exact, calls: []*traffic.Call{with(get("cart", 0, 503), trace("t1", "s1")), with(get("cart", 6, 503), trace("t1", "s1"))},
			want: []want{{1, 2, 0}, {2, 2, 5}}},
		{name: "the exercise's failures", calls: []*traffic.Call{
			with(with(get("x", 0, 503), trace("t1", "s1")), exercise), with(with(get("x", 6, 503), trace("t2", "s2")), exercise)}, want: make([]want, 2)},
		{name: "answers of which the requests were not seen", calls: []*traffic.Call{
			with(half(0), func(c *traffic.Call) { c.State = traffic.StateComplete }), half(10)}, want: make([]want, 2)},
		{name: "side by side, and given up", calls: []*traffic.Call{gaveUp(0), gaveUp(0)}, want: make([]want, 2)},
		{name: "refused long before", calls: []*traffic.Call{get("cart", 0, 503), get("cart", 11100, 200)}, refused: []*traffic.Connection{refused("cart", 5)}, want: make([]want, 2)},
		{name: "refused connections count", calls: []*traffic.Call{get("cart", 30, 503), get("cart", 71, 200)},
			refused: []*traffic.Connection{refused("cart", 0), refused("cart", 10), refused("other", 12)}, want: []want{{3, 4, 20}, {4, 4, 40}}, factor: 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			Group(c.calls, c.refused)
			for i, w := range c.want {
				r := c.calls[i].Retry
				if w.attempts == 0 {
					if r != nil {
						t.Errorf("call %d: %+v, want no retry", i, *r)
					}
					continue
				}
				if r == nil {
					t.Errorf("call %d: no retry, want %+v", i, w)
					continue
				}
				if got := (want{r.Attempt, r.Attempts, r.DelayNS / ms}); got != w {
					t.Errorf("call %d: %+v, want %+v", i, got, w)
				}
				if c.factor != 0 && r.Attempts > 2 && math.Abs(r.Factor-c.factor) > .01 {
					t.Errorf("call %d: factor %v, want %v", i, r.Factor, c.factor)
				}
				if (r.Jitter > .1) != c.jitter {
					t.Errorf("call %d: jitter %v, want jitter: %v", i, r.Jitter, c.jitter)
				}
				if want := cmpOr(c.confidence, Inferred); r.Confidence != want {
					t.Errorf("call %d: %s, want %s", i, r.Confidence, want)
				}
			}
		})
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func trace(id, span string) func(*traffic.Call) {
	return func(c *traffic.Call) { c.TraceID, c.SpanID = id, span }
}

func exercise(c *traffic.Call) { c.Src.Kind = traffic.KindExercise }

func refused(client string, at int64) *traffic.Connection {
	return &traffic.Connection{
		Src: traffic.Endpoint{IP: netip.MustParseAddr("10.0.0.1"), Workload: traffic.Workload{Service: client, PID: 7}},
		Dst: traffic.Endpoint{Port: 80, Workload: traffic.Workload{Service: "catalogue"}}, Start: at * ms, End: at * ms, State: traffic.StateRefused,
	}
}
