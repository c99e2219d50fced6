package derive

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/traffic"
)

const ms = int64(1e6)

// call is a call of id from one service to another, times in milliseconds.
func call(id, from, to string, start, end int64, more ...func(*traffic.Call)) *traffic.Call {
	c := &traffic.Call{
		ID: id, Protocol: traffic.ProtoHTTP, State: traffic.StateComplete, Method: "GET", Path: "/" + id, HTTP: &traffic.HTTP{}, Status: 200,
		Src:   traffic.Endpoint{IP: netip.MustParseAddr("10.0.0.1"), Workload: traffic.Workload{Service: from}},
		Dst:   traffic.Endpoint{IP: netip.MustParseAddr("10.0.0.2"), Port: 80, Workload: traffic.Workload{Service: to}},
		Start: start * ms, ResponseStart: start*ms + 1, End: end * ms,
	}
	for _, f := range more {
		f(c)
	}
	return c
}

func trace(id, span string) func(*traffic.Call) {
	return func(c *traffic.Call) { c.TraceID, c.SpanID = id, span }
}

func state(s traffic.State) func(*traffic.Call) { return func(c *traffic.Call) { c.State = s } }

func TestParents(t *testing.T) {
	t.Parallel()
	background := func(c *traffic.Call) { c.Background = true }
	address := func(src, dst string) func(*traffic.Call) {
		return func(c *traffic.Call) {
			c.Src.Service, c.Dst.Service = "", ""
			c.Src.IP, c.Dst.IP = netip.MustParseAddr(src), netip.MustParseAddr(dst)
		}
	}
	pods := func(src, dst string) func(*traffic.Call) {
		return func(c *traffic.Call) { c.Src.Pod, c.Dst.Pod = src, dst }
	}
	cases := []struct {
		name  string
		calls []*traffic.Call
		want  string // per call: id, then < parent by candidates depth
	}{
		{"nesting", []*traffic.Call{call("a", "x", "front", 0, 100), call("b", "front", "cart", 10, 90), call("c", "cart", "db", 20, 30), call("d", "cart", "db", 40, 50)},
			"a; b<a nesting 1 1; c<b nesting 1 2; d<b nesting 1 2"},
		{"after the answer there is no parent", []*traffic.Call{call("a", "x", "front", 0, 10), call("b", "front", "cart", 11, 20)}, "a; b"},
		{"another workload", []*traffic.Call{call("a", "x", "front", 0, 10), call("b", "cart", "db", 5, 6)}, "a; b"},
		{"trace tells concurrent parents apart", []*traffic.Call{call("a", "x", "front", 0, 100, trace("1", "p")), call("b", "x", "front", 5, 100, trace("2", "q")),
			call("c", "front", "cart", 10, 20, trace("1", "r")), call("d", "front", "cart", 10, 20, trace("2", "s")), call("e", "front", "db", 30, 40)},
			"a; b; c<a trace 1 1; d<b trace 1 1; e<b nesting 2 1"},
		{"a trace that speaks against it", []*traffic.Call{call("a", "x", "front", 0, 100, trace("1", "p")), call("b", "front", "cart", 10, 20, trace("2", "r"))}, "a; b"},
		{"a trace that the service began", []*traffic.Call{call("a", "x", "front", 0, 100), call("b", "front", "cart", 10, 20, trace("2", "r"))}, "a; b<a nesting 1 1"},
		{"a trace goes on after the answer", []*traffic.Call{call("a", "x", "front", 0, 10, trace("1", "p")), call("b", "front", "mail", 20, 30, trace("1", "q"))}, "a; b<a trace 1 1"},
		{"a span is of one parent", []*traffic.Call{
			call("a", "x", "front", 0, 100, trace("1", "p")), call("b", "front", "db", 5, 6, trace("1", "r")), call("c", "x", "front", 10, 100, trace("1", "q")),
			call("d", "front", "db", 20, 25, trace("1", "r")), call("e", "front", "db", 20, 25, trace("1", "s")), call("f", "front", "db", 200, 210, trace("1", "r"))},
			"a; b<a trace 1 1; c; d<a trace 1 1; e<c trace 2 1; f<a trace 1 1"},
		{"a span that is sent on", []*traffic.Call{call("a", "x", "proxy", 0, 100, trace("1", "p")), call("b", "x", "proxy", 10, 100, trace("1", "q")),
			call("c", "proxy", "app", 20, 30, trace("1", "p")), call("d", "proxy", "app", 20, 30, trace("1", "q"))}, "a; b; c<a trace 1 1; d<b trace 1 1"},
		{"retries are siblings", []*traffic.Call{call("a", "x", "front", 0, 100, trace("1", "p")),
			call("b", "front", "cart", 10, 20, trace("1", "r"), state(traffic.StateUnanswered)), call("c", "front", "cart", 30, 40, trace("1", "r"))},
			"a; b<a trace 1 1; c<a trace 1 1"},
		{"ties of the clock", []*traffic.Call{call("z", "x", "front", 0, 100), call("a", "front", "cart", 0, 50), call("b", "front", "cart", 100, 110)},
			"z; a<z nesting 1 1; b<z nesting 1 1"},
		{"who calls itself makes no circle", []*traffic.Call{call("a", "self", "self", 0, 10), call("b", "self", "self", 0, 10), call("c", "self", "self", 0, 10)},
			"a; b<a nesting 1 1; c<b nesting 2 2"},
		{"an open parent", []*traffic.Call{call("a", "x", "front", 0, 0, state(traffic.StateOpen)), call("b", "front", "cart", 900, 901)}, "a; b<a nesting 1 1"},
		{"half calls have no known start", []*traffic.Call{call("a", "x", "front", 0, 100, state(traffic.StateHalf)), call("b", "front", "cart", 10, 20),
			call("c", "x", "cart", 5, 100), call("d", "cart", "db", 10, 20, state(traffic.StateHalf))}, "a; b; c; d"},
		{"what a server pushes has no cause", []*traffic.Call{call("a", "x", "front", 0, 100),
			call("b", "front", "cache", 10, 20, func(c *traffic.Call) { c.HTTP, c.Redis = nil, &traffic.Redis{Push: true} })}, "a; b"},
		{"a handshake causes nothing", []*traffic.Call{call("a", "x", "front", 0, 100, func(c *traffic.Call) { c.Protocol = traffic.ProtoTLS }),
			call("b", "front", "cart", 10, 20)}, "a; b"},
		{"a probe is the last guess", []*traffic.Call{call("a", "x", "front", 0, 100), call("b", "node", "front", 5, 100, background), call("c", "front", "db", 10, 20),
			call("d", "node", "cart", 5, 100, background), call("e", "cart", "db", 10, 20)}, "a; b; c<a nesting 1 1; d; e<d nesting 1 1"},
		{"by address", []*traffic.Call{call("a", "", "", 0, 100, address("10.0.0.9", "10.0.0.8")), call("b", "", "", 10, 20, address("10.0.0.8", "10.0.0.7"))}, "a; b<a nesting 1 1"},
		{"by address on one side", []*traffic.Call{call("a", "x", "front", 0, 100, func(c *traffic.Call) { c.Dst.IP = netip.MustParseAddr("10.0.0.8") }),
			call("b", "", "", 10, 20, address("10.0.0.8", "10.0.0.7"))}, "a; b<a nesting 1 1"},
		{"the loopback is nobody", []*traffic.Call{call("a", "", "", 0, 100, address("127.0.0.1", "127.0.0.1")), call("b", "", "", 10, 20, address("127.0.0.1", "127.0.0.1"))}, "a; b"},
		{"replicas", []*traffic.Call{call("a", "x", "front", 0, 100, pods("", "front-1")), call("b", "x", "front", 5, 100, pods("", "front-2")),
			call("c", "front", "db", 10, 20, pods("front-1", ""))}, "a; b; c<a nesting 1 1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for range 3 { // in any order
				shuffled := slices.Clone(c.calls)
				rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
				Parents(shuffled)
				got := ""
				for _, x := range c.calls {
					got += "; " + x.ID
					if x.Parent != "" {
						got += fmt.Sprintf("<%s %s %d %d", x.Parent, x.ParentBy, x.ParentCandidates, x.Depth)
					}
				}
				if diff := cmp.Diff(c.want, got[2:]); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestSelfTimes(t *testing.T) {
	t.Parallel()
	calls := []*traffic.Call{
		call("a", "x", "front", 0, 100),
		call("b", "front", "cart", 10, 40), call("c", "front", "pay", 30, 50), call("d", "front", "pay", 35, 45), // together 10 to 50
		call("e", "front", "mail", 90, 150),                         // outlives its parent
		call("f", "front", "log", 60, 60, state(traffic.StateOpen)), // to the end
		call("g", "cart", "db", 10, 40), call("h", "y", "front", 0, 0, state(traffic.StateUnanswered)),
	}
	All(calls)
	got := map[string]int64{}
	for _, c := range calls {
		got[c.ID] = c.SelfNS / ms
	}
	if diff := cmp.Diff(map[string]int64{"a": 20, "b": 0, "c": 20, "d": 10, "e": 60, "f": 0, "g": 30, "h": 0}, got); diff != "" {
		t.Errorf("self times in ms (-want +got):\n%s", diff)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/": "/", "": "", "*": "*", "/api/v1/cart": "/api/v1/cart", "/orders/42": "/orders/{id}", "/orders/42/items/7/": "/orders/{id}/items/{id}/",
		"/u/3F2504E0-4F89-11D3-9A0C-0305E82C3301": "/u/{id}", "/blob/da39a3ee5e6b4b0d3255bfef95601890afd80709": "/blob/{id}", "/c/deadbeef": "/c/deadbeef",
		"/c/4a7d1ed414474e40": "/c/{id}", "/facade/decade": "/facade/decade", "/r/2026-11-21": "/r/{id}", "/img/881.png": "/img/{id}.png", "/app.js": "/app.js",
		"/t/01ARZ3NDEKTSV4RRFFQ69G5FAV": "/t/{id}", "/how-to-write-tests-in-2026-with-go": "/how-to-write-tests-in-2026-with-go",
		"/t/eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVm": "/t/{id}", "/mail/a@example.com": "/mail/{id}", "/mail/a%40example.com": "/mail/{id}",
		"/reset/[redacted token 24 1a2b3c4d]": "/reset/{id}", "//a//7": "//a//{id}", "/iso8601": "/iso8601", "/oauth2/token": "/oauth2/token", "/s3/bucket": "/s3/bucket",
	} {
		c := call("a", "x", "front", 0, 1, func(c *traffic.Call) { c.Path = path })
		Routes([]*traffic.Call{c})
		if c.Route != want {
			t.Errorf("the route of %s is %s, want %s", path, c.Route, want)
		}
	}
}

func TestLearnedRoutes(t *testing.T) {
	t.Parallel()
	at := func(method, path string, status int) *traffic.Call {
		return call("a", "x", "front", 0, 1, func(c *traffic.Call) { c.Method, c.Path, c.Status = method, path, status })
	}
	var calls []*traffic.Call
	for i := range Many {
		name := string(rune('a' + i))
		calls = append(calls, at("GET", "/items/cup-"+name, 200), at("GET", "/items/cup-"+name+"/price", 200), at("GET", "/guess-"+name, 404))
	}
	few := []*traffic.Call{at("PUT", "/items/cup-a", 200), at("GET", "/", 200), at("GET", "/items", 200)}
	rpc := at("POST", "/shop.Cart/Add7", 200)
	rpc.GRPC = &traffic.GRPC{}
	calls = append(append(calls, few...), rpc)
	rand.Shuffle(len(calls), func(i, j int) { calls[i], calls[j] = calls[j], calls[i] })
	Routes(calls)
	got := map[string]int{}
	for _, c := range calls {
		got[c.Method+" "+c.Route]++
	}
	want := map[string]int{"GET /items/{id}": Many, "GET /items/{id}/price": Many, "PUT /items/cup-a": 1, "GET /": 1, "GET /items": 1, "POST /shop.Cart/Add7": 1}
	for i := range Many {
		want["GET /guess-"+string(rune('a'+i))] = 1
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// busy is 10,000 calls: as many users at once, each of whose requests makes four more, every other one without a trace.
func busy(n, atOnce int) []*traffic.Call {
	var calls []*traffic.Call
	for i := 0; i < n; i += 5 {
		at := int64(i/atOnce) * 20
		id := fmt.Sprint("c", i)
		path := func(c *traffic.Call) { c.Path = fmt.Sprintf("/users/%d/orders/o%d", i, i) }
		calls = append(calls, call(id, "x", "front", at, at+20, trace(id, "p"), path))
		for j := range int64(4) {
			child := call(fmt.Sprint(id, "-", j), "front", "cart", at+j, at+j+5, path)
			if j%2 == 0 {
				child.TraceID, child.SpanID = id, "s"
			}
			calls = append(calls, child)
		}
	}
	return calls
}

// However many calls run at once, the pass is quick: candidates are bounded.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	var calls []*traffic.Call
	for i := range int64(20_000) {
		calls = append(calls, call(fmt.Sprint("p", i), "x", "front", i, 100_000), call(fmt.Sprint("c", i), "front", "db", i, 100_000))
	}
	start := time.Now()
	All(calls)
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("40,000 calls at once took %v", took)
	}
	if last := calls[len(calls)-1]; last.ParentCandidates < 2 || last.ParentCandidates > mostCandidates || last.Parent == "" {
		t.Errorf("the last call has parent %q of %d", last.Parent, last.ParentCandidates)
	}
}

func BenchmarkAll(b *testing.B) {
	for _, atOnce := range []int{1, 100, 10_000} {
		calls := busy(10_000, atOnce)
		b.Run(fmt.Sprint(atOnce), func(b *testing.B) {
			for b.Loop() {
				All(calls)
			}
		})
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	calls := []*traffic.Call{
		call("z", "x", "front", 200, 210),
		call("a", "x", "front", 0, 100), call("b", "front", "cart", 10, 40), call("c", "front", "pay", 15, 30), call("d", "front", "stock", 50, 90),
		call("e", "cart", "db", 11, 20), call("f", "pay", "db", 16, 20), call("g", "stock", "db", 51, 60), call("h", "stock", "db", 60, 80),
		call("i", "front", "mail", 95, 300), call("p", "probe", "front", 400, 900, func(c *traffic.Call) { c.Background = true }),
	}
	All(calls)
	if slowest := Slowest(calls); slowest.ID != "a" {
		t.Errorf("the slowest root is %s, want a", slowest.ID)
	}
	show := func(asked, limit int) string {
		root, omitted := Tree(calls, calls[asked], limit)
		var text func(n *traffic.TraceNode) string
		text = func(n *traffic.TraceNode) string {
			s := n.Call
			if n.Critical {
				s += "!"
			}
			if n.Asked {
				s += "?"
			}
			for i, x := range n.Children {
				s += string("( "[min(i, 1)]) + text(x)
			}
			if len(n.Children) > 0 {
				s += ")"
			}
			return s
		}
		return fmt.Sprint(text(root), " ", omitted)
	}
	for _, c := range []struct {
		asked, limit int
		want         string
	}{
		{1, 100, "a!?(b!(e!) c(f) d!(g! h!) i) 0"},
		{7, 100, "a!(b!(e!) c(f) d!(g!? h!) i) 0"},
		{1, 4, "a!?(b!(e!) c) 5"},
		{0, 100, "z!? 0"},
	} {
		if diff := cmp.Diff(c.want, show(c.asked, c.limit)); diff != "" {
			t.Errorf("tree of %d within %d (-want +got):\n%s", c.asked, c.limit, diff)
		}
	}
	gaveUp := []*traffic.Call{call("a", "x", "front", 0, 50, state(traffic.StateUnanswered)), call("b", "front", "pay", 10, 500), call("c", "front", "log", 1, 5)}
	All(gaveUp)
	root, _ := Tree(gaveUp, gaveUp[0], 10)
	if !root.Children[1].Critical || !root.Children[0].Critical || root.Latency != 50 {
		t.Errorf("of a client that gave up, what still ran is not critical: %+v", root)
	}
}
