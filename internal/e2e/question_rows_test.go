//go:build linux

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/traffic"
)

// questions are the rows of the list, by their number in it. 40 stands in TestQuestions: it changes the shop.
var questions = []struct {
	name   string
	answer func(q *question, e *evidence)
}{
	{"01 a checkout failure at a given time", func(q *question, e *evidence) {
		bad := e.story.between("", "frontend", "http", "/api/v1/checkout")
		bad = slices.DeleteFunc(bad, func(c *traffic.Call) bool { return c.Status != 503 })
		if len(bad) == 0 {
			q.Fatal("no checkout failed")
		}
		at := bad[0].Start / 1e6
		s := e.story.where(`dst.service.name in ["payment", "gateway"] && protocol != "dns"`)
		s.Start, s.End = at-300_000, at+300_000
		a := ask(q, control.ListAPICalls, query.CallsRequest{Selection: s, Limit: 1000})
		want := len(e.story.between("", "payment", "", "")) + len(e.story.between("", "gateway", "", ""))
		q.want("calls to payment and beyond", a.Total, want)
		g := causeOf(q, ask(q, control.FindErrors, query.ErrorsRequest{Selection: e.story.where(""), Service: "frontend"}), "frontend POST /api/v1/checkout")
		q.want("failed checkouts", g.Count, len(bad))
		q.want("failed checkouts by the client's log", g.Count, e.story.Exercise.Steps[3].Status["503"]+e.story.Exercise.Steps[4].Status["503"])
		q.want("who gave up", g.GaveUp, "payment")
	}},
	{"02 where on the path is the timeout", func(q *question, e *evidence) {
		a := ask(q, control.GetCallTree, query.TreeRequest{Selection: e.story.where(`dst.service.name == "frontend" && status_code == 503`)})
		q.want("root", a.Root.Service, "frontend")
		q.want("the longest part", a.Spent[0].Service, "gateway")
		g := causeOf(q, ask(q, control.FindErrors, query.ErrorsRequest{Selection: e.story.where(""), Service: "frontend"}), "frontend POST /api/v1/checkout")
		if g.GaveUp != "payment" || g.AfterMS < 900 {
			q.Errorf("%s gave up after %v ms, want payment after its second", g.GaveUp, g.AfterMS)
		}
		waited := e.story.find(a.Spent[0].Call)
		q.near("time at the gateway", a.Spent[0].MS, toMS(waited.End-waited.Start), 50) // its answer comes when payment has given up
		if a.Spent[0].MS < 900 {
			q.Errorf("payment's patience is a second, and it waited %v ms", a.Spent[0].MS)
		}
	}},
	{"03 what a crashed service said in the minutes before", func(q *question, e *evidence) {
		events := ask(q, control.ListEvents, query.EventsRequest{Scope: e.own.scope(), Warnings: true})
		if len(events.Events) != 1 || events.Events[0].Pod != e.sent.crashed || events.Events[0].Reason != "Crashed" {
			q.Fatalf("events: %+v", events.Events)
		}
		b := ask(q, control.ListEvents, query.EventsRequest{Scope: e.own.scope(), Before: events.Events[0].ID, Seconds: 120}).Before
		if len(b.Received) != 1 || b.Received[0].Peer != "frontend" {
			q.Fatalf("received: %+v", b.Received)
		}
		q.want("logins that reached it, by the client's log", b.Received[0].Calls, e.sent.logins)
		q.want("calls that it made", len(b.Sent), len(e.own.between(e.sent.crashed, "", "", "")))
	}},
	{"04 the request that made a service fail", func(q *question, e *evidence) {
		a := ask(q, control.ListAPICalls, query.CallsRequest{Selection: e.story.where(`http && dst.service.name == "frontend" && status_code >= 500`), Order: "oldest", Limit: 1})
		id := rows(q, a.Calls)[0].ID
		one := ask(q, control.GetAPICall, query.CallRequest{Scope: e.story.scope(), ID: id})
		want := e.story.find(id)
		q.want("request", one.ReqBody, string(want.HTTP.RequestBody))
		q.want("answer", one.RespBody, string(want.HTTP.ResponseBody))
		if !strings.Contains(one.RespBody, "the gateway took longer") || one.Flow == nil || one.Conn == nil {
			q.Errorf("answer %s, flow %v, connection %v", one.RespBody, one.Flow, one.Conn)
		}
	}},
	{"05 what failed, and why", func(q *question, e *evidence) {
		a := ask(q, control.FindErrors, query.ErrorsRequest{Selection: e.story.where(""), Limit: 200})
		q.want("calls that failed", a.Errors, len(e.story.all(broke)))
		q.want("calls", a.Calls, len(e.story.calls))
		reset := 0
		for _, g := range a.Groups {
			if strings.Contains(g.Cause, "connection_reset") {
				reset += g.Count
			}
		}
		q.want("charges that payment hung up on", reset, len(e.story.all(func(c *traffic.Call) bool { return c.Dst.Service == "payment" && c.Error == traffic.ErrorReset })))
	}},
	{"06 pattern, root cause and timeline of the incident", func(q *question, e *evidence) {
		g := causeOf(q, ask(q, control.FindErrors, query.ErrorsRequest{Selection: e.story.where("")}), "frontend POST /api/v1/checkout")
		slow := slices.IndexFunc(g.Timeline, func(m query.Moment) bool { return strings.HasPrefix(m.What, "first slow call: payment") })
		failed := slices.IndexFunc(g.Timeline, func(m query.Moment) bool { return strings.HasPrefix(m.What, "first failure: frontend") })
		if slow < 0 || failed < slow {
			q.Fatalf("timeline: %+v", g.Timeline)
		}
		var first *traffic.Call
		for _, c := range e.story.between("payment", "gateway", "http", "/v1/charges") {
			if c.End-c.Start > 500e6 && (first == nil || c.Start < first.Start) {
				first = c
			}
		}
		q.want("first slow charge", g.Timeline[slow].Call, first.ID)
		stats := ask(q, control.GetAPIStats, query.StatsRequest{Selection: e.story.where(`http`), Svc: "frontend"})
		checkouts := e.story.between("", "frontend", "http", "")
		checkouts = slices.DeleteFunc(checkouts, func(c *traffic.Call) bool { return c.Path == "/healthz" })
		q.want("calls of users", stats.Totals.Calls-len(e.story.between("", "frontend", "http", "/healthz")), len(checkouts))
		storms := ask(q, control.ListRetries, query.RetriesRequest{Selection: e.story.where("")})
		if storms.Storms == 0 {
			q.Error("no storm")
		}
	}},
	{"07 who calls a service, and whom it calls", func(q *question, e *evidence) {
		a := ask(q, control.GetService, query.ServiceRequest{Scope: e.clean.scope(), Service: "checkout"})
		in, out := map[string]int{}, map[string]int{}
		for _, c := range e.clean.calls {
			if c.Dst.Service == "checkout" {
				in[c.Src.Service]++
			}
			if c.Src.Service == "checkout" && c.Dst.Service != "" {
				out[c.Dst.Service]++
			}
		}
		for what, x := range map[string]struct {
			want  map[string]int
			edges []query.MapEdge
			peer  func(query.MapEdge) string
		}{"callers": {in, a.Callers, func(m query.MapEdge) string { return m.Src }}, "callees": {out, a.Callees, func(m query.MapEdge) string { return m.Dst }}} {
			got := map[string]int{}
			for _, m := range x.edges {
				if _, known := x.want[x.peer(m)]; known {
					got[x.peer(m)] += m.Calls
				}
			}
			q.want(what, got, x.want)
		}
	}},
	{"08 every hop of one user action", func(q *question, e *evidence) {
		var top *traffic.Call
		for _, c := range e.clean.between("", "frontend", "http", "/api/v1/checkout") { // of the ones that were sent one by one
			if top == nil || c.Start > top.Start {
				top = c
			}
		}
		a := ask(q, control.GetCallTree, query.TreeRequest{Selection: e.clean.where(""), ID: top.ID, Limit: 1000})
		got := map[string]bool{}
		walk(a.Root, func(n *traffic.TraceNode) { got[n.Call] = true })
		// Counted upwards from each call instead of downwards from the root.
		byID := map[string]*traffic.Call{}
		for _, c := range e.clean.calls {
			byID[c.ID] = c
		}
		n := 0
		for _, c := range e.clean.calls {
			for up := c; up != nil; up = byID[up.Parent] {
				if up == top {
					n++
					if !got[c.ID] {
						q.Errorf("%s %s is missing", c.ID, c.Path)
					}
					break
				}
			}
		}
		q.want("hops", len(got), n)
		if a.Joined[traffic.ByTrace] < 4 {
			q.Errorf("joined by %v", a.Joined)
		}
		var traced []string
		for _, c := range e.clean.calls {
			if c.TraceID != "" && c.TraceID == top.TraceID && !got[c.ID] {
				traced = append(traced, c.ID)
			}
		}
		if len(traced) > 0 {
			q.Errorf("of its trace and not in the tree: %v", traced)
		}
	}},
	{"09 who is affected when the cache goes away", func(q *question, e *evidence) {
		a := ask(q, control.GetDependents, query.DependentsRequest{Selection: e.clean.where(`!background`), Service: "cache"})
		depth := map[string]int{}
		for _, d := range a.Dependents {
			if old, ok := depth[d.Name]; !ok || d.Depth < old {
				depth[d.Name] = d.Depth
			}
		}
		for name, want := range map[string]int{"catalogue": 1, "cart": 1, "frontend": 2, "checkout": 2} {
			q.want(name, depth[name], want)
		}
		if _, ok := depth["payment"]; ok {
			q.Error("payment never needs the cache")
		}
	}},
	{"10 external APIs by domain", func(q *question, e *evidence) {
		a := ask(q, control.ListEgress, query.EgressRequest{Selection: e.drift.where("")})
		want := map[string]int{}
		for _, c := range e.drift.calls {
			if c.Dst.Outside && c.HTTP != nil && c.Path != "/healthz" {
				want[c.HTTP.Host]++
			}
		}
		got := map[string]int{}
		for _, x := range a.Destinations {
			if want[x.Name] > 0 {
				got[x.Name] = x.Calls
			}
		}
		q.want("calls by domain", got, want)
		if len(want) != 3 {
			q.Errorf("domains: %v, want gateway, metrics and telemetry", want)
		}
	}},
	{"11 who talks to the database", func(q *question, e *evidence) {
		a := ask(q, control.GetServiceMap, query.MapRequest{Selection: e.clean.where(`postgresql`), Service: "catalogue-db"})
		want := map[string]int{}
		for _, c := range e.clean.between("", "catalogue-db", traffic.ProtoPostgreSQL, "") {
			want[c.Src.Service]++
		}
		got := map[string]int{}
		for _, m := range a.Edges {
			got[m.Src] += m.Calls
		}
		q.want("queries by client", got, want)
		if got["frontend"]+got["cart"]+got["checkout"] > 0 {
			q.Error("somebody goes past the data layer, or is said to")
		}
	}},
	{"12 overview: most used APIs, protocols with an example of each", func(q *question, e *evidence) {
		a := ask(q, control.GetAPIStats, query.StatsRequest{Selection: e.clean.where(""), GroupBy: "proto"})
		want := map[string]int{}
		for _, c := range e.clean.calls {
			want[spoken(c)]++
		}
		got := map[string]int{}
		for _, s := range a.Stats {
			got[s.Group] = s.Calls
			if c := e.clean.find(s.Example); c == nil || spoken(c) != s.Group {
				q.Errorf("example of %s: %s", s.Group, s.Example)
			}
		}
		q.want("calls by protocol", got, want)
		top := ask(q, control.GetAPIStats, query.StatsRequest{Selection: e.clean.where(`http && !grpc && !background`), GroupBy: "endpoint", Limit: 1})
		most := map[string]int{}
		for _, c := range e.clean.between("", "", "http", "") {
			if c.GRPC == nil && !c.Background {
				most[c.Dst.Service+c.Method+c.Route]++
			}
		}
		q.want("calls of the most used endpoint", top.Stats[0].Calls, slices.Max(slices.Collect(maps.Values(most))))
	}},
	{"13 slowest endpoints; calls over 500 ms", func(q *question, e *evidence) {
		a := ask(q, control.ListAPICalls, query.CallsRequest{Selection: e.story.where(`http && latency > duration("500ms")`), Order: "slowest"})
		slow := e.story.all(func(c *traffic.Call) bool {
			return c.HTTP != nil && c.State == traffic.StateComplete && c.Latency() > 500e6
		})
		q.want("calls over 500 ms", a.Total, len(slow))
		got := rows(q, a.Calls)
		q.near("slowest", got[0].Latency, toMS(nearest(latencies(slow), 100)), 0.01)
		stats := ask(q, control.GetAPIStats, query.StatsRequest{Selection: e.story.where(`http && !grpc`), GroupBy: "endpoint", Order: "p99", Limit: 1})
		if !strings.Contains(stats.Stats[0].Group, "checkout") && !strings.Contains(stats.Stats[0].Group, "charge") {
			q.Errorf("slowest endpoint: %s", stats.Stats[0].Group)
		}
	}},
	{"14 where a slow endpoint spends its time", func(q *question, e *evidence) {
		var slow *traffic.Call // of the ones that were sent one by one: there it is certain whose queries are whose
		checkouts := e.drift.between("", "frontend", "http", "/api/v1/checkout")
		slices.SortFunc(checkouts, func(a, b *traffic.Call) int { return int(b.Start - a.Start) })
		for _, c := range checkouts[:5] {
			if slow == nil || c.Latency() > slow.Latency() {
				slow = c
			}
		}
		a := ask(q, control.GetCallTree, query.TreeRequest{Selection: e.drift.where(""), ID: slow.ID})
		sum := 0.0
		for _, s := range a.Spent {
			sum += s.MS
		}
		q.near("the parts of the critical path", sum, a.Root.Latency, 0.15*a.Root.Latency)
		if a.Spent[0].Service != "catalogue-db" || a.Spent[0].MS < 140 {
			q.Errorf("every third order waits 150 ms for a query, and the longest part is %+v", a.Spent[0])
		}
	}},
	{"15 before and after: what changed", func(q *question, e *evidence) {
		a := ask(q, control.CompareTraffic, query.CompareRequest{A: query.Side{Scope: e.clean.scope()}, B: query.Side{Scope: e.story.scope()}})
		q.want("calls", [2]int{a.A.Calls, a.B.Calls}, [2]int{len(e.clean.calls), len(e.story.calls)})
		for name, change := range map[string]string{"payment POST /charge": "failing", "frontend POST /api/v1/checkout": ""} {
			i := slices.IndexFunc(a.Endpoints, func(x query.EndpointChange) bool { return x.Endpoint == name })
			if i < 0 || change != "" && a.Endpoints[i].Change != change { // 5 of 85 checkouts after 0 of 85 is not beyond chance
				q.Fatalf("%s: %+v", name, a.Endpoints)
			}
			service, asked, _ := strings.Cut(name, " ")
			bad := e.story.all(func(c *traffic.Call) bool {
				return c.Dst.Service == service && c.Method+" "+c.Path == asked && broke(c)
			})
			q.want("failures of "+name, a.Endpoints[i].Errors, [2]int{0, len(bad)})
		}
	}},
	{"16 does latency depend on size", func(q *question, e *evidence) {
		a := ask(q, control.Correlate, query.CorrelateRequest{Selection: e.clean.where(`http && !grpc && dst.service.name == "frontend"`), X: "response_body_size", Y: "latency"})
		var x, y []float64
		for _, c := range e.clean.all(func(c *traffic.Call) bool {
			return c.HTTP != nil && c.Dst.Service == "frontend" && c.State == traffic.StateComplete
		}) {
			x, y = append(x, float64(c.ResponseSize)), append(y, float64(c.Latency()))
		}
		q.want("n", a.N, len(x))
		q.near("rho", a.Spearman.Value, rankCorrelation(x, y), 1e-9)
		if a.Spearman.Low > a.Spearman.Value || a.Spearman.High < a.Spearman.Value || a.Says == "" {
			q.Errorf("%+v", a)
		}
	}},
	{"17 queries over 100 ms", func(q *question, e *evidence) {
		a := ask(q, control.ListAPICalls, query.CallsRequest{Selection: e.drift.where(`postgresql && latency > duration("100ms")`), Format: "full", Limit: 1000})
		slow := e.drift.all(func(c *traffic.Call) bool {
			return c.PostgreSQL != nil && c.State == traffic.StateComplete && c.Latency() > 100e6
		})
		q.want("slow queries", a.Total, len(slow))
		if len(slow) < 20 {
			q.Errorf("%d slow queries of 85 orders, a third of which wait", len(slow))
		}
		for _, c := range rows(q, a.Calls) {
			if c.PostgreSQL.Fingerprint == "" {
				q.Errorf("%s has no fingerprint", c.ID)
			}
		}
	}},
	{"18 latency, handshakes and error rate of a service", func(q *question, e *evidence) {
		a := ask(q, control.GetAPIStats, query.StatsRequest{Selection: e.story.where(`http && !background`), Svc: "frontend"})
		calls := e.story.all(func(c *traffic.Call) bool { return c.HTTP != nil && c.Dst.Service == "frontend" && !c.Background })
		failed := 0
		for _, c := range calls {
			if broke(c) {
				failed++
			}
		}
		q.near("p50", a.Totals.P50, toMS(nearest(latencies(calls), 50)), 0.01)
		q.near("p99", a.Totals.P99, toMS(nearest(latencies(calls), 99)), 0.01)
		q.near("error rate", a.Totals.ErrorRate, float64(failed)/float64(len(calls)), 1e-9)
		connections := ask(q, control.GetAPIStats, query.StatsRequest{Selection: e.story.where(`dst.service.name == "frontend" && !background`), GroupBy: "service"})
		var handshakes []int64
		for _, c := range e.story.conns {
			if c.Dst.Service == "frontend" && !c.Background && c.HandshakeClientNS > 0 {
				handshakes = append(handshakes, c.HandshakeClientNS/1000)
			}
		}
		q.want("p50 of handshakes", connections.Totals.HandshakeP50, nearest(handshakes, 50))
		q.want("p99 of handshakes", connections.Totals.HandshakeP99, nearest(handshakes, 99))
	}},
	{"19 retry storms", func(q *question, e *evidence) {
		a := ask(q, control.ListRetries, query.RetriesRequest{Selection: e.story.where(`http`), StormAttempts: 3, StormMS: 100})
		if len(a.Edges) == 0 || a.Edges[0].Src != "cart" || !strings.HasPrefix(a.Edges[0].Endpoint, "catalogue ") {
			q.Fatalf("edges: %+v", a.Edges)
		}
		groups := map[string][]int64{}
		for _, c := range e.story.between("cart", "catalogue", "http", "/prices") {
			if id := header(c, "X-Request-Id"); id != "" { // one for each cart, whatever devloop takes for a retry
				groups[id] = append(groups[id], c.Start)
			}
		}
		storms := 0
		for _, starts := range groups {
			if len(starts) >= 3 && slices.Max(starts)-slices.Min(starts) <= 100e6 {
				storms++
			}
		}
		q.want("storms", a.Edges[0].Storms, storms)
		if storms == 0 {
			q.Error("the fault made no storm")
		}
	}},
	{"20 connection churn to the database", func(q *question, e *evidence) {
		a := ask(q, control.ListConnections, query.ConnectionsRequest{Selection: e.story.where(`src.service.name == "orders" && dst.service.name == "catalogue-db"`)})
		opened := 0
		for _, c := range e.story.conns {
			if c.Src.Service == "orders" && c.Dst.Service == "catalogue-db" && c.Opened {
				opened++
			}
		}
		q.want("opened", a.Edges[0].Opened, opened)
		orders := len(e.story.between("checkout", "orders", "http", "/orders"))
		if opened < orders {
			q.Errorf("%d connections for %d orders: the fault opens one for each", opened, orders)
		}
		q.near("a minute", a.Edges[0].PerMinute, float64(opened)/(float64(a.End-a.Start)/60_000), 0.01)
	}},
	{"21 calls that block a request; calls without a correlation id", func(q *question, e *evidence) {
		a := ask(q, control.GetDependents, query.DependentsRequest{Selection: e.story.where(`!background`), Service: "payment", Depth: 1})
		i := slices.IndexFunc(a.Dependents, func(d query.Dependent) bool { return d.Name == "checkout" })
		if i < 0 || a.Dependents[i].Sync != a.Dependents[i].Calls {
			q.Errorf("checkout waits for payment: %+v", a.Dependents)
		}
		asked := `http && !grpc && !background && src.service.name in ["frontend", "cart", "checkout"]`
		without := ask(q, control.ListAPICalls, query.CallsRequest{Selection: e.story.where(asked + ` && !("x-request-id" in request.headers)`), Limit: 1})
		all := ask(q, control.ListAPICalls, query.CallsRequest{Selection: e.story.where(asked), Limit: 1})
		ours := e.story.all(func(c *traffic.Call) bool {
			return c.HTTP != nil && c.GRPC == nil && !c.Background && slices.Contains([]string{"frontend", "cart", "checkout"}, c.Src.Service)
		})
		bare := 0
		for _, c := range ours {
			if header(c, "X-Request-Id") == "" {
				bare++
			}
		}
		q.want("without", without.Total, bare)
		q.want("of", all.Total, len(ours))
		if bare == 0 || bare == len(ours) {
			q.Errorf("%d of %d", bare, len(ours))
		}
	}},
	{"22 flows by handshake, clients and nodes", func(q *question, e *evidence) {
		a := ask(q, control.ListL4Flows, query.FlowsRequest{Selection: e.story.where(""), L4Proto: "tcp", Order: "handshake", Limit: 1000, Aggregate: "service"})
		got := flowsOf(q, a.Flows)
		worst := map[string][]int64{}
		for _, c := range e.story.conns {
			if c.HandshakeClientNS > 0 {
				k := c.Src.Service + " " + c.Dst.Service
				worst[k] = append(worst[k], c.HandshakeClientNS/1000)
			}
		}
		for _, f := range got {
			if v := worst[f.Client.Svc+" "+f.Server.Svc]; f.Client.Svc != "" && f.Server.Svc != "" && len(v) > 0 && f.ClientStats.HandshakeP99 != nearest(v, 99) {
				q.Errorf("%s → %s: p99 %d µs, want %d of %d", f.Client.Svc, f.Server.Svc, f.ClientStats.HandshakeP99, nearest(v, 99), len(v))
			}
		}
		p99 := func(f query.FlowRow) int64 { return max(f.ClientStats.HandshakeP99, f.ServerStats.HandshakeP99) }
		if !slices.IsSortedFunc(got, func(x, y query.FlowRow) int { return int(p99(y) - p99(x)) }) || len(got) == 0 {
			q.Errorf("%d flows, not slowest first", len(got))
		}
	}},
	{"23 handshakes to one database from its clients", func(q *question, e *evidence) {
		a := ask(q, control.ListL4Flows, query.FlowsRequest{Selection: e.story.where(`dst.service.name == "catalogue-db"`), L4Proto: "tcp", Aggregate: "pod", Limit: 1000})
		want := map[string]int{}
		for _, c := range e.story.conns {
			if c.Dst.Service == "catalogue-db" && c.Proto == "tcp" {
				want[c.Src.Pod]++
			}
		}
		got := map[string]int{}
		for _, f := range flowsOf(q, a.Flows) {
			got[f.Client.Pod] += f.Connections
			if f.ClientStats.HandshakeP50 > f.ClientStats.HandshakeP99 {
				q.Errorf("%+v", f)
			}
		}
		q.want("connections by client", got, want)
	}},
	{"24 flows between namespaces with their handshakes", func(q *question, e *evidence) {
		a := ask(q, control.GetFlowSummary, query.FlowSummaryRequest{Selection: e.clean.where("")})
		tcp := map[uint64]bool{}
		var handshakes []int64
		crossing := 0
		for _, c := range e.clean.conns {
			if c.Proto == "tcp" {
				tcp[c.FlowID] = true
			}
			if c.HandshakeClientNS > 0 {
				handshakes = append(handshakes, c.HandshakeClientNS/1000)
			}
			if c.Src.Namespace != c.Dst.Namespace && c.Src.Namespace != "" && c.Dst.Namespace != "" {
				crossing++
			}
		}
		q.want("tcp flows", a.TCP, len(tcp))
		q.want("p99 of handshakes", a.Handshake["p99"], nearest(handshakes, 99))
		q.want("whether namespaces are crossed", len(a.CrossNamespace) > 0, crossing > 0)
	}},
	{"25 handshakes to external services", func(q *question, e *evidence) {
		a := ask(q, control.ListEgress, query.EgressRequest{Selection: e.clean.where("")})
		var handshakes []int64
		for _, c := range e.clean.conns {
			if c.Dst.Service == "gateway" && c.HandshakeClientNS > 0 && c.Dst.Port == 443 {
				handshakes = append(handshakes, c.HandshakeClientNS/1000)
			}
		}
		x := destination(q, a, "api.payments.example")
		q.want("n", x.Handshakes, len(handshakes))
		q.want("p99", x.HandshakeP99, nearest(handshakes, 99))
		q.want("p50", x.HandshakeP50, nearest(handshakes, 50))
	}},
	{"26 retransmissions, resets, half-open connections", func(q *question, e *evidence) {
		a := ask(q, control.ListConnections, query.ConnectionsRequest{Selection: e.story.where(""), Order: "resets"})
		resets, mid := 0, 0
		for _, c := range e.story.conns {
			if c.Src.Service == "checkout" && c.Dst.Service == "payment" {
				if c.State == traffic.StateReset {
					resets++
				}
				if c.MidRequestReset {
					mid++
				}
			}
		}
		i := slices.IndexFunc(a.Edges, func(x query.ConnectionEdge) bool { return x.Client == "checkout" && x.Server == "payment" })
		if i < 0 || resets == 0 || mid == 0 {
			q.Fatalf("payment hung up %d times, %d in the middle; edges %+v", resets, mid, a.Edges)
		}
		q.want("resets", a.Edges[i].Resets, resets)
		q.want("in the middle of a request", a.Edges[i].MidRequest, mid)
		lossy := ask(q, control.ListL4Flows, query.FlowsRequest{Selection: e.story.where(`tcp_conn && tcp.retransmit_ratio > 0.05`)})
		n := 0
		for _, c := range e.story.conns {
			if c.TCP != nil && c.TCP.RetransmissionRate > 0.05 {
				n++
			}
		}
		got := 0
		for _, f := range flowsOf(q, lossy.Flows) {
			got += f.Connections
		}
		q.want("connections with more than 5 % retransmitted", got, n)
	}},
	{"27 the network or the application", func(q *question, e *evidence) {
		a := ask(q, control.GetCallTree, query.TreeRequest{Selection: e.story.where(`dst.service.name == "frontend" && status_code == 503`)})
		x := a.Spent[0]
		if x.Network <= 0 || x.Network > x.MS/10 {
			q.Errorf("of %v ms at %s the network took %v", x.MS, x.Service, x.Network)
		}
		for _, c := range e.story.conns {
			if c.ID == e.story.find(x.Call).ConnID {
				q.near("round trip", x.Network, toMS(c.HandshakeClientNS), 0.01)
			}
		}
	}},
	{"28 connections to what is not allowed", func(q *question, e *evidence) {
		a := ask(q, control.ListEgress, query.EgressRequest{Selection: e.drift.where(""), Allow: []string{"api.payments.example", "collect.metrics.example:80"}})
		var names []string
		for _, x := range a.Destinations {
			if !*x.Allowed {
				names = append(names, x.Name)
			}
		}
		if a.Forbidden != len(names) || !slices.Contains(names, "telemetry.vendor.example") || slices.Contains(names, "api.payments.example") || slices.Contains(names, "collect.metrics.example") {
			q.Errorf("%d forbidden: %v", a.Forbidden, names)
		}
		q.want("calls to it", destination(q, a, "telemetry.vendor.example").Calls, len(e.drift.between("payment", "thirdparty", "http", "/telemetry")))
	}},
	{"29 calls without the Authorization that they should have", func(q *question, e *evidence) {
		// Learned from the clean run: all orders carry it.
		before := ask(q, control.ListAPICalls, query.CallsRequest{Selection: e.clean.where(`path == "/orders" && auth.missing`)})
		q.want("before", before.Total, 0)
		after := ask(q, control.ListAPICalls, query.CallsRequest{Selection: e.drift.where(`path == "/orders" && auth.missing`)})
		n := 0
		for _, c := range e.drift.between("", "orders", "http", "/orders") {
			if header(c, "Authorization") == "" {
				n++
			}
		}
		q.want("after", after.Total, n)
		if n == 0 {
			q.Error("the fault took no token away")
		}
	}},
	{"30 what the public-facing part reaches", func(q *question, e *evidence) {
		a := ask(q, control.GetServiceMap, query.MapRequest{Selection: e.clean.where(`src.service.name == "frontend" && protocol != "dns"`)})
		want := map[string]bool{}
		for _, c := range e.clean.between("frontend", "", "", "") {
			if c.DNS == nil {
				want[c.Dst.Service] = true
			}
		}
		got := map[string]bool{}
		for _, m := range a.Edges {
			if m.Calls == 0 { // a connection without a call that was selected
				continue
			}
			got[m.Dst] = true
			if e.clean.find(m.Example) == nil {
				q.Errorf("%s → %s has no example", m.Src, m.Dst)
			}
		}
		q.want("services", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}},
	{"31 unusual traffic of a service", func(q *question, e *evidence) {
		a := ask(q, control.CompareTraffic, query.CompareRequest{A: query.Side{Scope: e.clean.scope()}, B: query.Side{Scope: e.drift.scope()}, KFL: `src.service.name == "payment" && protocol != "dns"`})
		i := slices.IndexFunc(a.NewEdges, func(x query.Edge) bool { return x.Dst == "thirdparty" && x.Protocol == "http" })
		if i < 0 || !a.NewEdges[i].Outside {
			q.Fatalf("new edges: %+v", a.NewEdges)
		}
		q.want("calls", a.NewEdges[i].Calls, len(e.drift.between("payment", "thirdparty", "http", "")))
	}},
	{"32 sensitive data: kind and place, never the value", func(q *question, e *evidence) {
		a := ask(q, control.FindSensitiveData, query.SensitiveRequest{Selection: e.own.where(""), Limit: 1000})
		b, err := json.Marshal(a)
		if err != nil {
			q.Fatal(err)
		}
		for _, secret := range []string{e.sent.card, e.sent.email, "lovelace"} {
			if bytes.Contains(b, []byte(secret)) {
				q.Errorf("the answer shows %q", secret)
			}
		}
		kinds := map[string]int{}
		for _, f := range a.Findings {
			if f.Endpoint == "frontend POST /api/v1/cart" || f.Endpoint == "frontend POST /api/v1/login" {
				kinds[f.Kind+" "+f.Place] += f.Calls
			}
		}
		q.want("cards", kinds["card request.body:card"], 1)
		q.want("addresses", kinds["email request.body:email"], 1)
		q.want("passwords", kinds["password request.body:password"], e.sent.logins)
	}},
	{"33 credentials for third parties; plaintext where TLS was", func(q *question, e *evidence) {
		a := ask(q, control.FindSensitiveData, query.SensitiveRequest{Selection: e.drift.where(""), Kinds: []string{"credentials"}, Limit: 1000})
		leaked := 0
		for _, f := range a.Findings {
			if f.Outside && strings.HasPrefix(f.Endpoint, "thirdparty ") && f.Place == "request.header:authorization" {
				leaked += f.Calls
			}
		}
		n := 0
		for _, c := range e.drift.between("", "thirdparty", "http", "/collect") {
			if header(c, "Authorization") != "" {
				n++
			}
		}
		q.want("calls with a token", leaked, n)
		if n == 0 || !slices.ContainsFunc(a.Spread, func(s query.Spread) bool { return s.Outside && len(s.Edges) > 1 }) {
			q.Errorf("%d calls; the token was seen inside as well: %+v", n, a.Spread)
		}
		out := destination(q, ask(q, control.ListEgress, query.EgressRequest{Selection: e.drift.where(`src.service.name == "payment"`)}), "api.payments.example")
		was := destination(q, ask(q, control.ListEgress, query.EgressRequest{Selection: e.clean.where(`src.service.name == "payment"`)}), "api.payments.example")
		if out.Plaintext == 0 || out.TLS != 0 || was.Plaintext != 0 || was.TLS == 0 {
			q.Errorf("to the gateway: %+v, before %+v", out, was)
		}
	}},
	{"34 every way in", func(q *question, e *evidence) {
		a := ask(q, control.GetServiceMap, query.MapRequest{Selection: e.clean.where(`src.kind == "exercise" && protocol != "dns"`)})
		want := map[string]int{}
		for _, c := range e.clean.calls {
			if c.Src.Kind == traffic.KindExercise && c.DNS == nil {
				want[c.Dst.Service]++
			}
		}
		got := map[string]int{}
		for _, m := range a.Edges {
			if m.Calls > 0 {
				got[m.Dst] += m.Calls
			}
		}
		q.want("calls from outside by service", got, want)
	}},
	{"35 report of calls that touched personal data", func(q *question, e *evidence) {
		a := ask(q, control.FindSensitiveData, query.SensitiveRequest{Selection: e.own.where(""), Personal: true, Calls: true, Limit: 1000})
		want := e.own.all(func(c *traffic.Call) bool {
			return bytes.Contains(bodies(c), []byte(e.sent.email)) || slices.ContainsFunc(c.Credentials, func(k traffic.Credential) bool { return k.Kind == "card" })
		})
		q.want("calls", a.CallCount, len(want))
		for _, c := range a.Calls {
			x := e.own.find(c.ID)
			if x == nil || c.Src == "" || c.Dst == "" || c.TS != x.Start/1e6 {
				q.Errorf("%+v", c)
			}
		}
		file := ask(q, control.ExportCalls, query.ExportRequest{Selection: e.own.where(`"card" in credentials`), Format: "csv"})
		if b := exported(q, file.Path, file.SHA256); file.Calls == 0 || bytes.Contains(b, []byte(e.sent.card)) {
			q.Errorf("%d calls in the report:\n%s", file.Calls, b)
		}
	}},
	{"36 all traffic of a window as evidence", func(q *question, e *evidence) {
		a := ask(q, control.ExportSnapshotPCAP, query.ExportPCAPRequest{ID: e.own.Snapshot})
		exported(q, a.File, a.SHA256)
		q.want("packets", a.Packets, a.Of)
		if a.Packets == 0 || !a.Masked {
			q.Errorf("%+v", a)
		}
	}},
	{"37 who accessed the database, every call", func(q *question, e *evidence) {
		a := ask(q, control.ListAPICalls, query.CallsRequest{Selection: e.clean.where(`dst.service.name == "catalogue-db"`), Format: "full", Limit: 1000, Order: "oldest"})
		got := rows(q, a.Calls)
		for a.Truncated && q.asked < mostAsked {
			a = ask(q, control.ListAPICalls, query.CallsRequest{Selection: e.clean.where(`dst.service.name == "catalogue-db"`), Format: "full", Limit: 1000, Order: "oldest", Cursor: a.Cursor})
			got = append(got, rows(q, a.Calls)...)
		}
		want := e.clean.between("", "catalogue-db", "", "")
		q.want("calls", len(got), len(want))
		seen := map[string]bool{}
		for _, c := range got {
			seen[c.ID] = true
		}
		for _, c := range want {
			if !seen[c.ID] {
				q.Errorf("%s is missing", c.ID)
			}
		}
	}},
	{"38 audit trail of one order", func(q *question, e *evidence) {
		made := e.clean.between("checkout", "orders", "http", "/orders")[3]
		var order struct {
			ID string `json:"order"`
		}
		if err := json.Unmarshal(made.HTTP.RequestBody, &order); err != nil || order.ID == "" {
			q.Fatalf("the order's id: %v in %s", err, made.HTTP.RequestBody)
		}
		a := ask(q, control.ListAPICalls, query.CallsRequest{Selection: e.clean.where(fmt.Sprintf(`mentions(%q)`, order.ID)), Order: "oldest", Format: "full"})
		got := rows(q, a.Calls)
		var hops []string
		for i, c := range got {
			hops = append(hops, c.Proto+" "+c.Src.Svc+"→"+c.Dst.Svc)
			if i > 0 && c.TS < got[i-1].TS {
				q.Error("not in order")
			}
		}
		n := len(e.clean.all(func(c *traffic.Call) bool {
			b, _ := json.Marshal(c.Full())
			return bytes.Contains(b, []byte(order.ID))
		}))
		q.want("calls that mention it", len(got), n)
		for _, hop := range []string{"http frontend→checkout", "http checkout→payment", "http checkout→orders", "http payment→gateway"} {
			if !slices.Contains(hops, hop) {
				q.Errorf("no %s in %q", hop, hops)
			}
		}
	}},
	{"39 external calls for a vendor review", func(q *question, e *evidence) {
		a := ask(q, control.ListEgress, query.EgressRequest{Selection: e.clean.where("")})
		var sent uint64
		for _, c := range e.clean.conns {
			if c.Dst.Service == "thirdparty" {
				sent += c.ClientBytes
			}
		}
		x := destination(q, a, "collect.metrics.example")
		q.want("bytes sent", x.Sent, sent)
		q.want("who", x.Services, []string{"frontend"})
		file := ask(q, control.ExportCalls, query.ExportRequest{Selection: e.clean.where(`http && egress && !background`), Format: "markdown"})
		b := exported(q, file.Path, file.SHA256)
		want := len(e.clean.all(func(c *traffic.Call) bool { return c.HTTP != nil && c.Dst.Outside && !c.Background }))
		q.want("rows of the report", bytes.Count(b, []byte("\n| 20")), want)
	}},
	{"41 the tests' downstream calls and payloads", func(q *question, e *evidence) {
		it := ask(q, control.Method[control.IterationRequest, traffic.Iteration]{Name: "verdict"}, control.IterationRequest{Iteration: e.clean.ID})
		q.want("verdict", it.Verdict, traffic.Pass)
		sent := 0
		for _, s := range it.Exercise.Steps {
			sent += s.Sent
		}
		a := ask(q, control.GetServiceMap, query.MapRequest{Selection: e.clean.where(`!background && protocol != "dns"`)})
		got := 0
		for _, m := range a.Edges {
			if m.Dst == "frontend" {
				got += m.Calls
			}
		}
		q.want("requests by the client's log", got, sent)
	}},
	{"42 bad tokens are refused; what the hop adds", func(q *question, e *evidence) {
		a := ask(q, control.ListAPICalls, query.CallsRequest{Selection: e.own.where(`http && dst.service.name == "frontend" && status_code == 401`)})
		q.want("refused by the client's log", a.Total, e.sent.badTokens)
		behind := ask(q, control.ListAPICalls, query.CallsRequest{Selection: e.own.where(`http && src.service.name == "frontend" && dst.service.name == "catalogue" && !background`)})
		q.want("that went further", behind.Total, 0)
		hop := ask(q, control.ListAPICalls, query.CallsRequest{Selection: e.own.where(`http && src.service.name == "frontend" && path == "/login"`), Format: "full"})
		for _, c := range rows(q, hop.Calls) {
			names := strings.ToLower(strings.Join(slices.Collect(maps.Keys(c.ReqHeaders)), " "))
			if !strings.Contains(names, "x-request-id") || !strings.Contains(names, "traceparent") {
				q.Errorf("frontend sends %s", names)
			}
		}
		q.want("logins", hop.Total, e.sent.logins)
	}},
	{"43 retries: how often, with what pauses", func(q *question, e *evidence) {
		a := ask(q, control.ListRetries, query.RetriesRequest{Selection: e.clean.where(`http && src.service.name == "cart"`)})
		if len(a.Edges) != 1 || len(a.Edges[0].DelaysMS) != 2 {
			q.Fatalf("edges: %+v", a.Edges)
		}
		x := a.Edges[0]
		var first, second []int64
		byRequest := map[string][]*traffic.Call{}
		for _, c := range e.clean.between("cart", "catalogue", "http", "/prices") {
			byRequest[header(c, "X-Request-Id")] = append(byRequest[header(c, "X-Request-Id")], c)
		}
		for _, list := range byRequest {
			if len(list) == 3 {
				first, second = append(first, list[1].Start-list[0].End), append(second, list[2].Start-list[1].End)
			}
		}
		q.want("requests", x.Requests, len(first))
		q.want("attempts", x.MaxAttempts, 3)
		q.near("first pause", x.DelaysMS[0], toMS(nearest(first, 50)), 0.01)
		q.near("second pause", x.DelaysMS[1], toMS(nearest(second, 50)), 0.01)
		if x.Factor < 1.5 {
			q.Errorf("growth %v: cart backs off", x.Factor)
		}
	}},
	{"44 does the cache work", func(q *question, e *evidence) {
		hit := ask(q, control.ListAPICalls, query.CallsRequest{Selection: e.clean.where(`http && path == "/items" && response.headers["x-cache"] == "hit" && response.headers["cache-control"].contains("max-age")`), Limit: 1})
		missed := ask(q, control.ListAPICalls, query.CallsRequest{Selection: e.drift.where(`postgresql && src.service.name == "catalogue"`), Limit: 1})
		n := 0
		for _, c := range e.clean.between("", "catalogue", "http", "/items") {
			for _, h := range c.HTTP.ResponseHeaders {
				if strings.EqualFold(h.Name, "X-Cache") && h.Value == "hit" {
					n++
				}
			}
		}
		q.want("hits", hit.Total, n)
		queries := len(e.drift.between("catalogue", "catalogue-db", traffic.ProtoPostgreSQL, ""))
		q.want("queries without the cache", missed.Total, queries)
		warm := len(e.clean.between("catalogue", "catalogue-db", traffic.ProtoPostgreSQL, ""))
		if n < 70 || queries < 80 || warm > 10 {
			q.Errorf("%d hits, %d queries without a cache, %d with it", n, queries, warm)
		}
	}},
	{"45 extra calls, changed fields, missing headers", func(q *question, e *evidence) {
		a := ask(q, control.CompareTraffic, query.CompareRequest{A: query.Side{Scope: e.clean.scope()}, B: query.Side{Scope: e.drift.scope()}, KFL: "http", Limit: 500})
		has := func(change, place, name string) bool {
			return slices.ContainsFunc(a.Fields, func(f query.FieldChange) bool { return f.Change == change && f.Place == place && f.Name == name })
		}
		for _, x := range [][3]string{{"lost", "response.body", "items[].price"}, {"new", "response.body", "items[].amount"}, {"lost", "response.header", "cache-control"}, {"lost", "request.header", "authorization"}} {
			if !has(x[0], x[1], x[2]) {
				q.Errorf("%v is not found", x)
			}
		}
		i := slices.IndexFunc(a.PerRequest, func(p query.CallsPer) bool {
			return p.Request == "cart POST /carts" && strings.HasPrefix(p.Callee, "catalogue ")
		})
		if i < 0 {
			q.Fatalf("calls a request: %+v", a.PerRequest)
		}
		q.want("questions for prices", a.PerRequest[i].Calls, [2]int{len(e.clean.between("cart", "catalogue", "http", "/prices")), len(e.drift.between("cart", "catalogue", "http", "/prices"))})
	}},
	{"46 what was sent, what came back, and why 400", func(q *question, e *evidence) {
		a := ask(q, control.ListAPICalls, query.CallsRequest{Selection: e.own.where(`http && dst.service.name == "frontend" && status_code == 400`)})
		q.want("refused", a.Total, 1)
		one := ask(q, control.GetAPICall, query.CallRequest{Scope: e.own.scope(), ID: rows(q, a.Calls)[0].ID})
		q.want("sent", one.ReqBody, e.sent.wrong)
		q.want("came back", one.RespBody, e.sent.wrongAnswer)
	}},
}

func header(c *traffic.Call, name string) string {
	if c.HTTP != nil {
		for _, h := range c.HTTP.RequestHeaders {
			if strings.EqualFold(h.Name, name) {
				return h.Value
			}
		}
	}
	return ""
}

// spoken is what a call speaks: gRPC apart from the HTTP that it rides on.
func spoken(c *traffic.Call) string {
	if c.GRPC != nil {
		return "grpc"
	}
	return c.Protocol
}

func bodies(c *traffic.Call) []byte {
	var all []byte
	if c.HTTP != nil {
		all = append(append(all, c.HTTP.RequestBody...), c.HTTP.ResponseBody...)
	}
	if c.Redis != nil {
		all = append(all, strings.Join(c.Redis.Args, " ")+c.Redis.Reply...)
	}
	return all
}

func walk(n *traffic.TraceNode, visit func(*traffic.TraceNode)) {
	visit(n)
	for _, x := range n.Children {
		walk(x, visit)
	}
}

// causeOf is the group of an endpoint.
func causeOf(q *question, a *query.ErrorsAnswer, endpoint string) query.ErrorGroup {
	q.Helper()
	for _, g := range a.Groups {
		if g.Endpoint == endpoint {
			return g
		}
	}
	q.Fatalf("no group of %s: %+v", endpoint, a.Groups)
	return query.ErrorGroup{}
}

func destination(q *question, a *query.EgressAnswer, name string) query.Egress {
	q.Helper()
	for _, x := range a.Destinations {
		if x.Name == name {
			return x
		}
	}
	q.Fatalf("nothing goes to %s: %+v", name, a.Destinations)
	return query.Egress{}
}

func flowsOf(q *question, list []any) []query.FlowRow {
	q.Helper()
	b, err := json.Marshal(list)
	if err != nil {
		q.Fatal(err)
	}
	var flows []query.FlowRow
	if err := json.Unmarshal(b, &flows); err != nil {
		q.Fatal(err)
	}
	return flows
}

// exported reads a file that was written, and compares its digest.
func exported(q *question, path, digest string) []byte {
	q.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		q.Fatal(err)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != digest {
		q.Errorf("the digest of %s is not %s", path, digest)
	}
	return b
}

// rankCorrelation is Spearman's rho by Pearson's formula on ranks that are counted one by one.
func rankCorrelation(x, y []float64) float64 {
	rank := func(v []float64) []float64 {
		out := make([]float64, len(v))
		for i := range v {
			for j := range v {
				switch {
				case v[j] < v[i]:
					out[i]++
				case v[j] == v[i]:
					out[i] += 0.5
				}
			}
		}
		return out
	}
	a, b := rank(x), rank(y)
	n := float64(len(a))
	var sa, sb, saa, sbb, sab float64
	for i := range a {
		sa, sb, saa, sbb, sab = sa+a[i], sb+b[i], saa+a[i]*a[i], sbb+b[i]*b[i], sab+a[i]*b[i]
	}
	return (n*sab - sa*sb) / math.Sqrt((n*saa-sa*sa)*(n*sbb-sb*sb))
}
