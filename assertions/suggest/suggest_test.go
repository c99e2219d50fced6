package suggest

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/traffic"
)

var update = flag.Bool("update", false, "rewrite testdata")

// system makes the rows of one run: a front that asks stock for each request, which asks its cache, and bank outside over TLS.
type system struct {
	d   traffic.Dissection
	now int64
}

func endpoint(ip string, port uint16, w traffic.Workload) traffic.Endpoint {
	return traffic.Endpoint{IP: netip.MustParseAddr(ip), Port: port, Workload: w}
}

var (
	tester = endpoint("10.0.0.9", 40000, traffic.Workload{Kind: traffic.KindExercise, Service: "exercise"})
	front  = endpoint("10.0.0.1", 8080, traffic.Workload{Kind: traffic.KindService, Service: "front"})
	stock  = endpoint("10.0.0.2", 8080, traffic.Workload{Kind: traffic.KindService, Service: "stock"})
	cache  = endpoint("10.0.0.3", 6379, traffic.Workload{Kind: traffic.KindDependency, Service: "cache"})
	bank   = endpoint("203.0.113.5", 443, traffic.Workload{Kind: traffic.KindExternal, DNS: "api.bank.example", Outside: true})
)

func (s *system) connection(id uint64, src, dst traffic.Endpoint, l7 string) {
	s.d.Connections = append(s.d.Connections, &traffic.Connection{ID: id, Proto: "tcp", L7: l7, Src: src, Dst: dst, Start: 1, End: 2, State: traffic.StateEstablished})
}

func (s *system) call(conn uint64, src, dst traffic.Endpoint, parent *traffic.Call, ms int64) *traffic.Call {
	s.now += 1e6
	c := &traffic.Call{ID: fmt.Sprintf("t/%d/%d", conn, len(s.d.Calls)), ConnID: conn, Index: len(s.d.Calls) + 1, Src: src, Dst: dst, Start: s.now, RequestEnd: s.now,
		ResponseStart: s.now + ms*1e6, End: s.now + ms*1e6, State: traffic.StateComplete}
	if parent != nil {
		c.Parent, c.ParentBy, c.ParentCandidates, c.Depth = parent.ID, traffic.ByTrace, 1, parent.Depth+1
	}
	s.d.Calls = append(s.d.Calls, c)
	return c
}

func (s *system) http(c *traffic.Call, method, route, body string, request ...traffic.Header) {
	c.Protocol, c.Method, c.Path, c.Route, c.Status = traffic.ProtoHTTP, method, route, route, 200
	c.HTTP = &traffic.HTTP{Version: "1.1", RequestHeaders: request, ResponseHeaders: []traffic.Header{{Name: "Content-Type", Value: "application/json"}}, ResponseBody: []byte(body)}
}

// run is one run of some requests.
func run(requests int) assertions.Input {
	s := &system{now: 1e9}
	s.connection(1, tester, front, traffic.ProtoHTTP)
	s.connection(2, front, stock, traffic.ProtoHTTP)
	s.connection(3, stock, cache, traffic.ProtoRedis)
	s.connection(4, front, bank, traffic.ProtoTLS)
	s.d.Connections[3].Encrypted = 5000
	id := traffic.Header{Name: "X-Request-Id", Value: "1"}
	for i := range requests {
		entry := s.call(1, tester, front, nil, int64(8+i%5))
		s.http(entry, "POST", "/buy", `{"order": 1, "lines": [{"price": 2}]}`)
		inner := s.call(2, front, stock, entry, int64(3+i%4))
		s.http(inner, "GET", "/stock/{id}", `{"pieces": 3}`, id)
		get := s.call(3, stock, cache, inner, 1)
		get.Protocol, get.Method = traffic.ProtoRedis, "GET"
		get.Redis = &traffic.Redis{Command: "GET", Key: "k", Type: "string", Reply: "3"}
	}
	hello := s.call(4, front, bank, nil, 2)
	hello.Protocol, hello.Method, hello.Path = traffic.ProtoTLS, "ClientHello", "api.bank.example"
	hello.TLS = &traffic.TLS{SNI: "api.bank.example", Version: 0x0304}
	return assertions.Input{Dissection: &s.d}
}

// The text that people review, for a small system.
func TestText(t *testing.T) {
	a, err := From([]assertions.Input{run(80), run(90)}, Options{Exercise: "buy", Declared: []string{"stock -> warehouse"}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "small.netcheck.yaml")
	if *update {
		if err := os.WriteFile(file, []byte(a.YAML), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), a.YAML); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	again, err := From([]assertions.Input{run(80), run(90)}, Options{Exercise: "buy", Declared: []string{"stock -> warehouse"}})
	if err != nil || again.YAML != a.YAML {
		t.Errorf("the same runs give another answer: %v", err)
	}
}

// An edge that is declared on any port is not drafted once more with its own; one to a server whose name begins alike is.
func TestDeclaredEdges(t *testing.T) {
	for declared, want := range map[string]bool{"front -> stock": false, "front -> sto": true, "front -> stock:80": true} {
		a, err := From([]assertions.Input{run(80)}, Options{Limit: -1, Declared: []string{declared}})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(a.Checks, func(c Suggestion) bool { return strings.Contains(c.Expect, `"`+declared+`"`) })
		if i < 0 || strings.Contains(a.Checks[i].Expect, `"front -> stock:8080"`) != want {
			t.Errorf("with %s: %s", declared, a.YAML)
		}
	}
}

// What is offered holds on other runs of the same code, and each planted fault is caught by the text as it was written.
func TestOfferedHoldsAndCatches(t *testing.T) {
	a, err := From([]assertions.Input{run(80), run(90)}, Options{Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	suite, err := assertions.Parse("suggested.netcheck.yaml", []byte(a.YAML))
	if err != nil {
		t.Fatalf("the text is no check file: %v\n%s", err, a.YAML)
	}
	failed := func(in assertions.Input) []string {
		var names []string
		for _, r := range suite.Check(in, assertions.CheckOptions{NoBuiltin: true}) {
			if r.Verdict != traffic.Pass {
				names = append(names, string(r.Verdict)+" "+r.Name)
			}
		}
		return names
	}
	if names := failed(run(100)); len(names) > 0 {
		t.Errorf("a clean run: %q", names)
	}
	o, _ := gather([]assertions.Input{run(80)})
	web := place{proto: traffic.ProtoHTTP, src: end{"service.name", "front"}, dst: end{"service.name", "stock"}}
	redis := place{proto: traffic.ProtoRedis, src: end{"service.name", "stock"}, dst: end{"service.name", "cache"}}
	hello := place{proto: traffic.ProtoTLS, dst: end{"dns", "api.bank.example"}, src: end{"service.name", "front"}}
	for _, tt := range []struct {
		fault fault
		place place
		says  string
	}{
		{answers500, web, "success"}, {cutOff, web, "answered"}, {slower(400, 4), web, "take less"}, {churn, web, "reused"}, {oneByOne(5), web, "causes at most"},
		{storm, web, "tried more"}, {newEgress, web, "leaves the system"}, {newEdge, web, "nobody speaks"}, {lostRequestHeader("x-request-id"), web, "x-request-id"}, {secretInURL, web, "no URL"},
		{renamed("pieces"), web, "fields"}, {redisErrors, redis, "accepts every command"}, {redisWalks, redis, "accepts every command"}, {redisMisses, redis, "found in the cache"},
		{churn, redis, "reused"}, {oldTLS, hello, "handshakes"}, {noServerName, hello, "handshakes"}, {inTheClear, hello, "encrypted"}, {lookups, web, "names"},
	} {
		names := failed(mutate(run(80), o.names, tt.fault, tt.place))
		if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "fail ") && strings.Contains(n, tt.says) }) {
			t.Errorf("%s (%s): %q", tt.fault.what, tt.place, names)
		}
	}
}

// A draft that some run breaks is not offered, and neither is anything where there is nothing.
func TestNotOffered(t *testing.T) {
	broken := run(80)
	for i, c := range broken.Dissection.Calls {
		if c.HTTP != nil && i%3 == 0 {
			c.Status = 500
		}
	}
	a, err := From([]assertions.Input{run(80), broken}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range a.Checks {
		if strings.Contains(c.Name, "success") && strings.Contains(c.On, `dst.service.name == "front"`) {
			t.Errorf("%s is offered, although a run breaks it", c.Name)
		}
	}
	if a, err := From(nil, Options{}); err != nil || len(a.Checks) != 0 {
		t.Errorf("of nothing: %+v, %v", a, err)
	}
	if a, err := From([]assertions.Input{{Dissection: &traffic.Dissection{}}}, Options{}); err != nil || len(a.Checks) != 0 || !strings.Contains(a.YAML, "Nothing was found") {
		t.Errorf("of an empty run: %+v, %v", a, err)
	}
}

func TestLimit(t *testing.T) {
	a, err := From([]assertions.Input{run(80)}, Options{Limit: 4})
	if err != nil || len(a.Checks) != 4 || a.More == 0 {
		t.Errorf("%d checks, %d more, %v", len(a.Checks), a.More, err)
	}
}

func TestSelects(t *testing.T) {
	at := func(src, dst, method, route string) place {
		p := place{proto: traffic.ProtoHTTP, dst: end{"service.name", dst}, method: method, route: route}
		if src != "" {
			p.src = end{"service.name", src}
		}
		return p
	}
	ip := place{proto: traffic.ProtoHTTP, dst: end{"ip", "10.0.0.7"}, port: 81, route: "/"}
	all := []place{at("", "a", "GET", "/x"), at("", "a", "POST", "/x"), at("a", "b", "GET", "/y"), at("a", "c", "GET", "/z"), at("b", "c", "GET", "/z"), ip}
	for _, tt := range []struct {
		some    []place
		general bool
		want    string
	}{
		{all, false, "http"},
		{all[:1], false, `http && dst.service.name == "a" && method == "GET" && route == "/x"`},
		{all[:2], false, `http && dst.service.name == "a"`},
		{all[2:4], false, `http && src.service.name == "a" && dst.service.name in ["b", "c"]`},
		{all[3:5], false, `http && src.service.name in ["a", "b"] && dst.service.name == "c"`},
		{all[5:], false, `http && dst.ip == "10.0.0.7" && dst.port == 81`},
		{all[:5], true, `http && !(dst.ip == "10.0.0.7" && dst.port == 81)`},
	} {

		if got := selects("http", tt.some, all, tt.general); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// Names from the wire cannot break out of the text.
func TestHostileNames(t *testing.T) {
	in := run(80)
	for _, c := range in.Dissection.Calls {
		c.Dst.Service = strings.ReplaceAll(c.Dst.Service, "stock", "st\"ock\\ || true\t# x")
		c.Src.Service = strings.ReplaceAll(c.Src.Service, "stock", "st\"ock\\ || true\t# x")
		if c.HTTP != nil && c.Route == "/buy" {
			c.Route = `/b"uy'}]# x: y ` + "`"
		}
	}
	a, err := From([]assertions.Input{in}, Options{Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(a.YAML, "|| true") {
		t.Errorf("a name with a control character stands in the text:\n%s", a.YAML)
	}
	if _, err := assertions.Parse("x", []byte(a.YAML)); err != nil {
		t.Errorf("%v\n%s", err, a.YAML)
	}
}
