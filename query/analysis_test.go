package query

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// t0 is when the traffic of these tests begins.
const t0 = int64(1_800_000_000_000_000_000)

// scene makes calls and connections by hand.
type scene struct {
	calls []*traffic.Call
	conns []*traffic.Connection
	n     int
}

func end(name string) traffic.Endpoint {
	e := traffic.Endpoint{IP: netip.AddrFrom4([4]byte{10, 0, byte(len(name)), name[0]}), Port: 8080}
	e.Service, e.Pod, e.Namespace, e.Kind = name, name, "shop", traffic.KindService
	return e
}

// call adds a call of some milliseconds, at some milliseconds.
func (s *scene) call(parent *traffic.Call, src, dst, method, path string, status int, at, took float64) *traffic.Call {
	s.n++
	c := &traffic.Call{
		ID: fmt.Sprintf("n/%d/0", s.n), Protocol: traffic.ProtoHTTP, ConnID: uint64(s.n), Src: end(src), Dst: end(dst), Method: method, Path: path, Route: path, Status: status,
		State: traffic.StateComplete, Start: t0 + int64(at*1e6), RequestEnd: t0 + int64(at*1e6) + 1000, HTTP: &traffic.HTTP{Host: dst, Version: "1.1"},
	}
	c.End, c.ResponseStart = c.Start+int64(took*1e6), c.Start+int64(took*1e6)-1000
	if parent != nil {
		c.Parent, c.ParentBy, c.ParentCandidates = parent.ID, traffic.ByTrace, 1
	}
	s.calls = append(s.calls, c)
	s.conns = append(s.conns, &traffic.Connection{ID: c.ConnID, Proto: "tcp", L7: "http", Src: c.Src, Dst: c.Dst, Start: c.Start, End: c.End, State: traffic.StateClosed, Opened: true,
		Closed: true, WindowCalls: 1, ServerPackets: 3, ClientBytes: 100, ServerBytes: 200, HandshakeClientNS: int64(s.n) * 1000})
	return c
}

// gaveUp makes a call one whose client did not wait for the answer.
func gaveUp(c *traffic.Call) *traffic.Call {
	c.State, c.Error, c.Status, c.ResponseStart = traffic.StateUnanswered, traffic.ErrorCancelled, 0, 0
	return c
}

func (s *scene) database() *Database {
	db := &Database{Name: "s/d", Start: t0, End: t0 + 60e9, ReadCalls: rowsOf(s.calls), ReadConnections: rowsOf(s.conns)}
	db.Account.Packets = 1
	return db
}

func rowsOf[T any](list []T) func() iter.Seq2[T, error] {
	return func() iter.Seq2[T, error] {
		return func(yield func(T, error) bool) {
			for _, x := range list {
				if !yield(x, nil) {
					return
				}
			}
		}
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestCompareFindsWhatWasPlanted(t *testing.T) {
	t.Parallel()
	before, after := &scene{}, &scene{}
	for i := range 60 {
		at, wobble := float64(i)*100, float64(i%10)*0.2
		for _, s := range []*scene{before, after} {
			now := s == after
			slower, status, children := 0.0, 200, 1
			if now {
				slower, children = 5, 5
				if i%3 == 0 {
					status = 503
				}
			}
			root := s.call(nil, "user", "web", "GET", "/list", 200, at, 10+wobble+slower)
			root.HTTP.RequestHeaders = []traffic.Header{{Name: "X-Request-Id", Value: "1"}}
			root.HTTP.ResponseBody = []byte(`{"items":[{"price":3}]}`)
			if now {
				root.HTTP.RequestHeaders = nil
				root.HTTP.ResponseBody = []byte(`{"items":[{"price":"3"}]}`)
			}
			for k := range children {
				s.call(root, "web", "db", "GET", "/row", 200, at+1+float64(k)/10, 2+wobble)
			}
			s.call(nil, "user", "pay", "POST", "/charge", status, at+50, 20+wobble)
			if now {
				s.call(nil, "web", "vendor", "POST", "/telemetry", 200, at+60, 1)
			} else {
				s.call(nil, "web", "old", "GET", "/gone", 200, at+60, 1)
			}
		}
	}
	a := must[*Comparison](t)(CompareTraffic(t.Context(), before.database(), after.database(), CompareRequest{}))
	changes := map[string]string{}
	for _, e := range a.Endpoints {
		changes[e.Endpoint] = e.Change
		if e.Endpoint == "web GET /list" && (math.Abs(e.Shift.MS-5) > 0.2 || e.Shift.Low > 5 || e.Shift.High < 5) {
			t.Errorf("a shift of 5 ms: %+v", e.Shift)
		}
	}
	for endpoint, want := range map[string]string{"web GET /list": "slower", "db GET /row": "same", "pay POST /charge": "failing", "vendor POST /telemetry": "new", "old GET /gone": "lost"} {
		if changes[endpoint] != want {
			t.Errorf("%s: %s, want %s", endpoint, changes[endpoint], want)
		}
	}
	if len(a.NewEdges) != 1 || a.NewEdges[0].Dst != "vendor" || a.NewEdges[0].Calls != 60 || len(a.LostEdges) != 1 || a.LostEdges[0].Dst != "old" {
		t.Errorf("edges: new %+v, lost %+v", a.NewEdges, a.LostEdges)
	}
	if len(a.PerRequest) != 1 || a.PerRequest[0].Mean != [2]float64{1, 5} || a.PerRequest[0].Callee != "db GET /row" {
		t.Errorf("calls a request: %+v", a.PerRequest)
	}
	var fields []string
	for _, f := range a.Fields {
		fields = append(fields, f.Change+" "+f.Place+" "+f.Name)
	}
	if want := []string{"another type response.body items[].price", "lost request.header x-request-id"}; !slices.Equal(fields, want) {
		t.Errorf("fields %q, want %q", fields, want)
	}
	same := must[*Comparison](t)(CompareTraffic(t.Context(), before.database(), before.database(), CompareRequest{}))
	if len(same.Findings) > 0 {
		t.Errorf("the same traffic twice: %q", same.Findings)
	}
	short := Side{Scope: Scope{End: t0/1e6 + 250}}
	few := must[*Comparison](t)(CompareTraffic(t.Context(), before.database(), after.database(), CompareRequest{KFL: `path == "/list"`, A: short, B: short}))
	if e := few.Endpoints[0]; e.Change != "unsure" || e.Needs != 4 || e.Calls != [2]int{3, 3} {
		t.Errorf("3 calls against 3: %+v", e)
	}
}

// checkout is what find_errors has to explain: the gateway slows down, payment gives up, checkout and web answer 503.
func checkout() *scene {
	s := &scene{}
	for i := range 20 {
		at := float64(i) * 1000
		web := s.call(nil, "user", "web", "POST", "/checkout", 200, at, 12)
		buy := s.call(web, "web", "checkout", "POST", "/buy", 200, at+1, 10)
		pay := s.call(buy, "checkout", "payment", "POST", "/charge", 200, at+2, 8)
		gate := s.call(pay, "payment", "gateway", "POST", "/v1/charges", 200, at+3, 5)
		if i%5 == 4 {
			for _, c := range []*traffic.Call{web, buy, pay} {
				c.Status, c.End, c.ResponseStart = 503, c.End+500e6, c.ResponseStart+500e6
			}
			pay.HTTP.ResponseBody = []byte("the gateway took too long")
			gaveUp(gate).End = gate.Start + 500e6
			s.conns[len(s.conns)-1].State, s.conns[len(s.conns)-1].ResetBy = traffic.StateReset, "client"
			s.conns[len(s.conns)-1].End = gate.End
		}
	}
	s.call(nil, "user", "web", "GET", "/nowhere", 404, 30_000, 1)
	return s
}

func TestErrorsHaveTheirCause(t *testing.T) {
	t.Parallel()
	db := checkout().database()
	a := must[*ErrorsAnswer](t)(FindErrors(t.Context(), db, ErrorsRequest{}))
	if len(a.Groups) != 2 || a.Errors != 4*4+1 || a.Calls != 81 {
		t.Fatalf("%d errors of %d in %d groups: %+v", a.Errors, a.Calls, len(a.Groups), a.Groups)
	}
	g := a.Groups[0]
	if g.Count != 4 || g.Of != 20 || g.Endpoint != "web POST /checkout" || g.Result != "503" || g.GaveUp != "payment" || g.AfterMS != 500 || g.Sure != 4 {
		t.Errorf("group %+v", g)
	}
	if !strings.Contains(g.Cause, "payment gave up on gateway POST /v1/charges after 500 ms") {
		t.Errorf("cause: %s", g.Cause)
	}
	var order []string
	for _, m := range g.Timeline {
		order = append(order, strings.SplitN(m.What, ":", 2)[0])
	}
	if len(order) != 6 || order[0] != "first slow call" || order[1] != "first failure" || !slices.Contains(order, "first reset") {
		t.Errorf("timeline %+v", g.Timeline)
	}
	if len(g.Chain) != 4 || g.Chain[3].Endpoint != "gateway POST /v1/charges" || g.Chain[3].Result != traffic.ErrorCancelled {
		t.Errorf("chain %+v", g.Chain)
	}
	// Asked of one service alone, the cause is found outside of it all the same.
	only := must[*ErrorsAnswer](t)(FindErrors(t.Context(), db, ErrorsRequest{Service: "checkout"}))
	if len(only.Groups) != 1 || only.Errors != 4 || only.Groups[0].GaveUp != "payment" {
		t.Errorf("of checkout: %+v", only)
	}
	none := must[*ErrorsAnswer](t)(FindErrors(t.Context(), db, ErrorsRequest{Service: "nobody"}))
	if none.Why == "" {
		t.Error("no group, and not said why")
	}
}

// A server that notices that its client has gone may still answer, and nobody hears it: the client gave up, not the server.
func TestAnswersThatCameTooLate(t *testing.T) {
	t.Parallel()
	s := &scene{}
	for i := range 4 {
		at := float64(i) * 2000
		pay := s.call(nil, "checkout", "payment", "POST", "/charge", 503, at, 1001)
		s.call(pay, "payment", "gateway", "POST", "/v1/charges", 500, at+1, 1000.5)
	}
	g := must[*ErrorsAnswer](t)(FindErrors(t.Context(), s.database(), ErrorsRequest{})).Groups[0]
	if g.GaveUp != "payment" || math.Abs(g.AfterMS-1000) > 0.1 || g.Count != 4 {
		t.Errorf("%+v", g)
	}
	tree := must[*TreeAnswer](t)(GetCallTree(t.Context(), s.database(), TreeRequest{}))
	if !strings.HasPrefix(tree.GaveUp, "payment, after 1000 ms") || len(tree.Spent) == 0 || tree.Spent[0].Service != "gateway" || math.Abs(tree.Spent[0].MS-1000) > 0.1 {
		t.Errorf("gave up: %q, spent %+v", tree.GaveUp, tree.Spent)
	}
	for _, c := range s.calls { // in time, it is the server's own word
		if c.Dst.Service == "gateway" {
			c.ResponseStart -= 10e6
		}
	}
	if g := must[*ErrorsAnswer](t)(FindErrors(t.Context(), s.database(), ErrorsRequest{})).Groups[0]; g.GaveUp != "" {
		t.Errorf("%+v", g)
	}
}

func TestDependentsAreTransitive(t *testing.T) {
	t.Parallel()
	a := must[*DependentsAnswer](t)(GetDependents(t.Context(), checkout().database(), DependentsRequest{Service: "gateway"}))
	var names []string
	for _, d := range a.Dependents {
		names = append(names, fmt.Sprint(d.Depth, d.Name))
	}
	if want := []string{"1payment", "2checkout", "3web", "4user"}; !slices.Equal(names, want) {
		t.Errorf("dependents %v, want %v", names, want)
	}
	if d := a.Dependents[0]; d.Calls != 20 || d.Sync != 20 || d.Share != 1 {
		t.Errorf("payment → gateway: %+v", d)
	}
	for _, e := range a.Endpoints {
		if e.Needed != 20 || e.Requests != 20 {
			t.Errorf("%+v, want 20 of 20: /nowhere is not of it", e)
		}
	}
	near := must[*DependentsAnswer](t)(GetDependents(t.Context(), checkout().database(), DependentsRequest{Service: "gateway", Depth: 1}))
	if len(near.Dependents) != 1 {
		t.Errorf("one step away: %+v", near.Dependents)
	}
	none := must[*DependentsAnswer](t)(GetDependents(t.Context(), checkout().database(), DependentsRequest{Service: "gatewya"}))
	if !strings.Contains(none.Why, "gateway") {
		t.Errorf("why nobody: %q", none.Why)
	}
}

func TestEventsAndTheWindowBefore(t *testing.T) {
	t.Parallel()
	db := checkout().database()
	db.Events = []traffic.ClusterEvent{
		{Time: t0 + 10_500e6, Kind: traffic.EventRestart, Reason: "Error", Pod: "payment", Namespace: "shop", Warning: true, Message: "payment ended"},
		{Time: t0 + 1e9, Kind: traffic.EventRollout, Object: "Deployment/web"},
	}
	a := must[*EventsAnswer](t)(ListEvents(t.Context(), db, EventsRequest{Warnings: true}))
	if a.Total != 1 || a.Events[0].Pod != "payment" {
		t.Fatalf("warnings: %+v", a.Events)
	}
	b := must[*EventsAnswer](t)(ListEvents(t.Context(), db, EventsRequest{Before: a.Events[0].ID, Seconds: 5})).Before
	// Of 5.5 to 10.5 s: the charges of seconds 6 to 10.
	if len(b.Received) != 1 || b.Received[0].Calls != 5 || b.Received[0].Errors != 1 || len(b.Sent) != 1 || b.Sent[0].Peer != "gateway" || b.Sent[0].Errors != 1 || b.Resets != 1 {
		t.Errorf("before: %+v", b)
	}
	if b.Window.End-b.Window.Start != 5001 || len(b.Last) != 10 {
		t.Errorf("window %+v, %d last calls", b.Window, len(b.Last))
	}
	for _, r := range []EventsRequest{{Before: "e0"}, {Kind: "quake"}, {Limit: 5000}} {
		var m *Error
		if _, err := ListEvents(t.Context(), db, r); !errors.As(err, &m) || m.Hint == "" {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestEgressByDomain(t *testing.T) {
	t.Parallel()
	s := &scene{}
	for i, host := range []string{"api.vendor.example", "API.vendor.example:80", "collect.other.example"} {
		for range 3 + i {
			c := s.call(nil, "web", "out", "GET", "/", 200, float64(i), 2)
			c.HTTP.Host, c.Dst.Outside = host, true
			s.conns[len(s.conns)-1].Dst.Outside = true
		}
	}
	tls := &traffic.Connection{ID: 99, Proto: "tcp", L7: traffic.ProtoTLS, Src: end("pay"), Dst: end("out"), SNI: "sni.example", Opened: true, State: traffic.StateClosed, Start: t0, End: t0 + 1, ClientBytes: 1}
	tls.Dst.Outside = true
	s.conns = append(s.conns, tls)
	s.call(nil, "web", "db", "GET", "/", 200, 0, 1)
	a := must[*EgressAnswer](t)(ListEgress(t.Context(), s.database(), EgressRequest{Allow: []string{"*.vendor.example:8080", "sni.example"}}))
	got := map[string]Egress{}
	for _, e := range a.Destinations {
		got[e.Name] = e
	}
	if v := got["api.vendor.example"]; v.Calls != 7 || v.KnownBy != "host" || v.Sent != 700 || v.Received != 1400 || v.Plaintext != 7 || v.TLS != 0 || !*v.Allowed || !slices.Equal(v.Services, []string{"web"}) {
		t.Errorf("vendor: %+v", v)
	}
	if v := got["sni.example"]; v.KnownBy != "sni" || v.TLS != 1 || v.Plaintext != 0 || !*v.Allowed {
		t.Errorf("sni: %+v", v)
	}
	if v := got["collect.other.example"]; v.Calls != 5 || *v.Allowed {
		t.Errorf("other: %+v", v)
	}
	if len(got) != 3 || a.Forbidden != 1 {
		t.Errorf("%d destinations, %d forbidden", len(got), a.Forbidden)
	}
	for _, bad := range []string{"", "a*b", "x:99999"} {
		if _, err := ListEgress(t.Context(), s.database(), EgressRequest{Allow: []string{bad}}); err == nil {
			t.Errorf("allow %q is accepted", bad)
		}
	}
}

func TestCorrelation(t *testing.T) {
	t.Parallel()
	s := &scene{}
	for i := range 100 {
		s.call(nil, "a", "b", "POST", "/x", 200, float64(i), 1+float64(i*i%997)/100).RequestSize = int64(i * i % 997)
	}
	a := must[*Correlation](t)(Correlate(t.Context(), s.database(), CorrelateRequest{X: "request_body_size", Y: "latency"}))
	if a.N != 100 || a.Spearman.Value < 0.999 || !strings.Contains(a.Says, "strong") || len(a.Bins) != 4 {
		t.Errorf("size and latency: %+v", a)
	}
	none := must[*Correlation](t)(Correlate(t.Context(), s.database(), CorrelateRequest{X: "status_code", Y: "latency"}))
	if !strings.Contains(none.Says, "the same in all calls") {
		t.Errorf("a constant: %s", none.Says)
	}
	few := must[*Correlation](t)(Correlate(t.Context(), s.database(), CorrelateRequest{X: "request_body_size", Y: "latency", Selection: Selection{KFL: `request_body_size < 5`}}))
	if !strings.Contains(few.Says, "too few") {
		t.Errorf("few: %s", few.Says)
	}
	for _, bad := range []string{"path", "nonsense", "handshake_rtt"} {
		if _, err := Correlate(t.Context(), s.database(), CorrelateRequest{X: bad, Y: "latency"}); err == nil {
			t.Errorf("x %s is accepted", bad)
		}
	}
}

func TestSensitiveDataIsNeverShown(t *testing.T) {
	t.Parallel()
	s := &scene{}
	const address = "ada.lovelace@example.org"
	first := s.call(nil, "web", "login", "POST", "/login", 200, 0, 1)
	first.HTTP.RequestBody = []byte(`{"user": {"email": "` + address + `"}, "at": "x@y", "url": "https://user@host.example/"}`)
	first.Credentials = []traffic.Credential{{Kind: "password", Place: "request.body:password", Hash: "aaaa"}}
	second := s.call(nil, "web", "vendor", "POST", "/t", 200, 1, 1)
	second.HTTP.RequestHeaders = []traffic.Header{{Name: "From", Value: strings.ToUpper(address)}}
	second.Credentials = []traffic.Credential{{Kind: "card", Place: "request.body", Hash: "bbbb"}, {Kind: "card", Place: "request.body", Hash: "cccc"}}
	second.Dst.Outside = true
	s.call(nil, "web", "db", "GET", "/", 200, 2, 1)
	hash := func(b []byte) string { return fmt.Sprintf("h%d", len(b)) }
	a := must[*SensitiveAnswer](t)(FindSensitiveData(t.Context(), s.database(), SensitiveRequest{Calls: true}, hash))
	b, _ := json.Marshal(a)
	if bytes.Contains(bytes.ToLower(b), []byte("lovelace")) {
		t.Errorf("the answer shows a value: %s", b)
	}
	var found []string
	for _, f := range a.Findings {
		found = append(found, fmt.Sprintf("%s %s %s %d/%d %t", f.Kind, f.Place, f.Endpoint, f.Calls, f.Values, f.Outside))
	}
	want := []string{"card request.body vendor POST /t 1/2 true", "email request.header:from vendor POST /t 1/1 true",
		"email request.body:email login POST /login 1/1 false", "password request.body:password login POST /login 1/1 false"}
	if !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
	if len(a.Calls) != 2 || a.CallCount != 2 || a.Looked != 3 {
		t.Errorf("%d of %d calls, %d examined", len(a.Calls), a.CallCount, a.Looked)
	}
	if i := slices.IndexFunc(a.Spread, func(s Spread) bool { return s.Kind == "email" }); i < 0 || len(a.Spread[i].Edges) != 2 || !a.Spread[i].Outside {
		t.Errorf("the address went to login and vendor: %+v", a.Spread)
	}
	personal := must[*SensitiveAnswer](t)(FindSensitiveData(t.Context(), s.database(), SensitiveRequest{Personal: true}, hash))
	if len(personal.Findings) != 3 {
		t.Errorf("personal: %+v", personal.Findings)
	}
}

func FuzzEmail(f *testing.F) {
	f.Add([]byte("a@b.cc"), 1)
	f.Add([]byte(`{"x":"a.b@c.d.ee."}`), 9)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		if at < 0 || at >= len(b) || b[at] != '@' {
			return
		}
		from, to := email(b, at)
		if to != 0 && (from >= at || to <= at+2 || to > len(b)) {
			t.Errorf("%q at %d: %d to %d", b, at, from, to)
		}
		jsonKey(b[:from])
	})
}

func TestRetriesAndStorms(t *testing.T) {
	t.Parallel()
	s := &scene{}
	for i, gap := range []float64{10, 10, 500} {
		var group []*traffic.Call
		for k := range 3 {
			status := 503
			if k == 2 {
				status = 200
			}
			c := s.call(nil, "cart", "catalogue", "GET", "/prices", status, float64(i)*5000+float64(k)*(gap+1), 1)
			group = append(group, c)
			c.Retry = &traffic.Retry{Group: group[0].ID, Attempt: k + 1, Attempts: 3, Factor: 1, Confidence: "exact"}
			if k > 0 {
				c.Retry.DelayNS = int64(gap * 1e6)
			}
		}
	}
	for i := range 6 {
		s.call(nil, "cart", "catalogue", "GET", "/prices", 200, 20_000+float64(i), 1)
	}
	a := must[*RetriesAnswer](t)(ListRetries(t.Context(), s.database(), RetriesRequest{}))
	if a.Requests != 3 || a.Retries != 6 || a.Storms != 2 || len(a.Edges) != 1 {
		t.Fatalf("%+v", a)
	}
	e := a.Edges[0]
	if e.Calls != 15 || e.Amplification != 15.0/9 || e.MaxAttempts != 3 || e.Attempts["3"] != 3 || e.Succeeded != 3 || e.Exact != 3 || e.DelaysMS[0] != 10 || !e.Examples[0].Storm || e.Examples[2].Storm {
		t.Errorf("edge %+v", e)
	}
	if e.Examples[0].SpanMS != 22 || len(e.Examples[0].Attempts) != 3 || e.Examples[0].Attempts[0].Result != "503" {
		t.Errorf("example %+v", e.Examples[0])
	}
}

func TestConnectionChurn(t *testing.T) {
	t.Parallel()
	s := &scene{}
	for i := range 30 {
		s.call(nil, "orders", "db", "GET", "/", 200, float64(i)*1000, 500)
	}
	old := *s.conns[0]
	old.ID, old.Opened, old.Closed, old.Start, old.WindowCalls, old.State = 1000, false, false, t0-1e9, 10, traffic.StateEstablished
	s.conns = append(s.conns, &old)
	s.conns[3].State, s.conns[3].ResetBy, s.conns[3].MidRequestReset = traffic.StateReset, "server", true
	a := must[*ConnectionsAnswer](t)(ListConnections(t.Context(), s.database(), ConnectionsRequest{BucketMS: 10_000}))
	e := a.Edges[0]
	if len(a.Edges) != 1 || e.Connections != 31 || e.Opened != 30 || e.PerMinute != 30 || e.Most != 2 || e.Calls != 40 || e.Resets != 1 || e.MidRequest != 1 || e.LifeP50 != 500 {
		t.Errorf("%+v", e)
	}
	if math.Abs(e.Reused-9.0/40) > 1e-9 || e.Buckets[0].Opened != 10 || e.Buckets[2].Opened != 10 || e.Buckets[3].Opened != 0 {
		t.Errorf("reuse %v, buckets %+v", e.Reused, e.Buckets)
	}
	if _, err := ListConnections(t.Context(), s.database(), ConnectionsRequest{BucketMS: 1}); err == nil {
		t.Error("60000 stretches are accepted")
	}
}

func TestCallTreeSaysWhereTheTimeWent(t *testing.T) {
	t.Parallel()
	s := checkout()
	for _, c := range s.calls {
		c.SelfNS = c.Latency()
		for _, x := range s.calls {
			if x.Parent == c.ID {
				c.SelfNS -= max(x.Latency(), x.End-x.Start)
			}
		}
	}
	a := must[*TreeAnswer](t)(GetCallTree(t.Context(), s.database(), TreeRequest{Selection: Selection{KFL: `path == "/v1/charges"`}}))
	if a.Root == nil || a.Root.Service != "web" || a.Root.Latency != 512 || len(a.Spent) != 4 {
		t.Fatalf("root %+v, spent %+v", a.Root, a.Spent)
	}
	if a.Spent[0].Service != "gateway" || a.Spent[0].MS != 500 || !strings.HasPrefix(a.GaveUp, "payment, after 500 ms") || a.Joined[traffic.ByTrace] != 3 {
		t.Errorf("spent %+v, gave up %q, joined %v", a.Spent, a.GaveUp, a.Joined)
	}
	if _, err := GetCallTree(t.Context(), s.database(), TreeRequest{ID: "n/none/0"}); err == nil {
		t.Error("the tree of no call")
	}
}

func exports(t *testing.T) *store.Store {
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestExportCalls(t *testing.T) {
	t.Parallel()
	s := checkout()
	s.calls[0].Path, s.calls[0].Route = "/a|b`c", "=cmd()"
	s.calls[0].Method = ""
	st := exports(t)
	for format, lines := range map[string]int{"csv": 82, "markdown": 81 + 8, "har": 81} {
		a := must[*ExportAnswer](t)(ExportCalls(t.Context(), s.database(), ExportRequest{Format: format}, st))
		b, err := os.ReadFile(a.Path)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != a.SHA256 || int64(len(b)) != a.Bytes || a.Calls != 81 {
			t.Errorf("%s: %+v of %d bytes", format, a, len(b))
		}
		if n := bytes.Count(b, []byte("\n")); n != lines {
			t.Errorf("%s has %d lines, want %d", format, n, lines)
		}
		switch format {
		case "csv":
			rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
			if err != nil || len(rows) != 82 || rows[1][12] != "'=cmd()" {
				t.Errorf("%d rows, %v: %q", len(rows), err, rows[1])
			}
		case "har":
			validHAR(t, b, 81)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"../x.csv", "/etc/x", "a/b", ".hidden", dir + "/x"} {
		if _, err := ExportCalls(t.Context(), s.database(), ExportRequest{Format: "csv", File: name}, st); err == nil {
			t.Errorf("file %q is accepted", name)
		}
	}
	r := ExportRequest{Format: "csv", File: "mine.csv", Limit: 5}
	one := must[*ExportAnswer](t)(ExportCalls(t.Context(), s.database(), r, st))
	if one.Calls != 5 || one.Omitted != 76 {
		t.Errorf("5 of 81: %+v", one)
	}
	var m *Error
	if _, err := ExportCalls(t.Context(), s.database(), r, st); !errors.As(err, &m) {
		t.Errorf("written over: %v", err)
	}
	r.Overwrite = true
	again := must[*ExportAnswer](t)(ExportCalls(t.Context(), s.database(), r, st))
	if again.SHA256 != one.SHA256 {
		t.Error("the same calls, another digest")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(one.Path), "*")); len(left) != 4 {
		t.Errorf("files in the folder: %v", left)
	}
}

// validHAR validates an archive with the schema of HAR 1.2 that other programs use (testdata/har-1.2, from npm's har-schema), and
// wants that the parts of each time sum to it, which no schema can say.
func validHAR(t *testing.T, b []byte, entries int) {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("testdata/har-1.2/har.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(document); err != nil {
		t.Errorf("HAR: %v", err)
	}
	var file struct {
		Log struct {
			Version string
			Entries []struct {
				Time    float64
				Timings struct{ Send, Wait, Receive float64 }
			}
		}
	}
	if err := json.Unmarshal(b, &file); err != nil || file.Log.Version != "1.2" || len(file.Log.Entries) != entries {
		t.Fatalf("HAR: %v, version %q, %d entries", err, file.Log.Version, len(file.Log.Entries))
	}
	for _, e := range file.Log.Entries {
		if sum := e.Timings.Send + e.Timings.Wait + e.Timings.Receive; math.Abs(sum-e.Time) > 0.01 {
			t.Errorf("timings sum to %v of %v", sum, e.Time)
		}
	}
}

func TestExportPolicy(t *testing.T) {
	t.Parallel()
	s := checkout()
	for _, c := range s.conns {
		switch c.Src.Service {
		case "user":
			c.Src.Kind = traffic.KindExercise
		case "payment":
			c.Dst.Outside = true
		}
		if c.Dst.Service == "checkout" {
			c.Dst.Labels = map[string]string{"app": "checkout", "pod-template-hash": "123"}
		}
	}
	dns := *s.conns[0]
	dns.Src, dns.Dst, dns.Proto, dns.L7 = end("web"), end("dns"), "udp", traffic.ProtoDNS
	dns.Dst.Port = 53
	refused := *s.conns[0]
	refused.Src, refused.Dst, refused.State = end("web"), end("secret"), traffic.StateRefused
	s.conns = append(s.conns, &dns, &refused)
	a := must[*PolicyAnswer](t)(ExportPolicy(t.Context(), s.database(), PolicyRequest{File: "policy.yaml"}, exports(t)))
	var got []networkingv1.NetworkPolicy
	for doc := range strings.SplitSeq(a.YAML, "---\n") {
		if strings.HasPrefix(doc, "#") {
			continue
		}
		var p networkingv1.NetworkPolicy
		if err := yaml.UnmarshalStrict([]byte(doc), &p); err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		got = append(got, p)
	}
	// Seen: anybody → web → checkout → payment → an address outside; web → DNS.
	var lines []string
	for _, p := range got {
		for _, r := range p.Spec.Ingress {
			lines = append(lines, fmt.Sprintf("%s in %d %d", p.Name, r.Ports[0].Port.IntVal, len(r.From)))
		}
		for _, r := range p.Spec.Egress {
			line := fmt.Sprintf("%s out %d", p.Name, r.Ports[0].Port.IntVal)
			for _, to := range r.To {
				if to.IPBlock != nil {
					line += " " + to.IPBlock.CIDR
				} else {
					line += fmt.Sprint(" ", to.PodSelector.MatchLabels)
				}
			}
			lines = append(lines, line)
		}
	}
	gateway := end("gateway")
	want := []string{"observed-checkout in 8080 1", "observed-checkout out 8080 map[app.kubernetes.io/name:payment]", "observed-payment in 8080 1",
		"observed-payment out 8080 " + gateway.IP.String() + "/32", "observed-web in 8080 0", "observed-web out 8080 map[app:checkout]", "observed-web out 53 map[k8s-app:kube-dns]"}
	if !slices.Equal(lines, want) || a.Policies != 3 {
		t.Errorf("policies %q, want %q", lines, want)
	}
	if strings.Contains(a.YAML, "secret") || a.Path == "" || len(a.Caveats) < 3 {
		t.Errorf("path %q, caveats %q", a.Path, a.Caveats)
	}
}

// A call inside of TLS carries the TLS that it is inside of, and is no handshake.
func TestCallsInsideOfTLS(t *testing.T) {
	t.Parallel()
	s := &scene{}
	c := s.call(nil, "pay", "gate", "POST", "/v1/charges", 500, 0, 1)
	c.TLS, c.CaptureSource, c.Dst.Outside, c.HTTP.Host = &traffic.TLS{SNI: "api.example", Version: 0x0304}, traffic.SourceTLSKeyLog, true, "api.example"
	c.HTTP.RequestBody = []byte(`{"to":"a@b.example"}`)
	if !failure(c) || result(c) != "500" || asked(c) != "POST /v1/charges" {
		t.Errorf("%v %s %s", failure(c), result(c), asked(c))
	}
	a := must[*EgressAnswer](t)(ListEgress(t.Context(), s.database(), EgressRequest{}))
	if e := a.Destinations[0]; e.Calls != 1 || e.Errors != 1 || len(e.Versions) != 0 || e.Name != "api.example" {
		t.Errorf("%+v", e)
	}
	if got := emails(c, func([]byte) string { return "" }); len(got) != 1 {
		t.Errorf("addresses: %+v", got)
	}
}
