package query

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// someCalls are calls of all protocols, some of which fail, in the order in which they began.
func someCalls(r *rand.Rand, n int) []*traffic.Call {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	end := func(last byte) traffic.Endpoint {
		svc := pick("cart", "payment", "frontend", "")
		e := traffic.Endpoint{IP: netip.AddrFrom4([4]byte{10, 0, last, byte(r.IntN(4))}), Port: uint16(8080 + r.IntN(2)),
			Workload: traffic.Workload{Namespace: pick("shop", "data", ""), Kind: pick("pod", "external", ""), Service: svc, Node: pick("n1", "n2", ""), Zone: pick("z1", "z2", "")}}
		if svc != "" {
			e.Pod = svc + "-" + pick("a", "b")
		} else if r.IntN(2) == 0 {
			e.DNS = "api.example.com"
		}
		return e
	}
	calls := make([]*traffic.Call, n)
	for i := range calls {
		c := &traffic.Call{ID: fmt.Sprintf("n1/%x/%d", i/4, i%4), ConnID: uint64(i/4) + 1, FlowID: uint64(i/40) + 1, Src: end(0), Dst: end(1), Start: 1_700_000_000e9 + int64(i/2)*1e6,
			State: traffic.StateComplete, RequestSize: int64(r.IntN(100)), ResponseSize: int64(r.IntN(1000))}
		c.RequestEnd = c.Start + 1000
		c.ResponseStart = c.RequestEnd + int64(r.IntN(50))*1e5
		c.End = c.ResponseStart + int64(r.IntN(20))*1e5
		switch r.IntN(8) {
		case 0:
			c.State, c.Error, c.ResponseStart = traffic.StateUnanswered, pick(traffic.ErrorReset, traffic.ErrorTimeout), 0
		case 1:
			c.State = []traffic.State{traffic.StateOpen, traffic.StateHalf, traffic.StateTruncated}[r.IntN(3)]
		}
		switch r.IntN(8) {
		case 0:
			c.Protocol, c.Method, c.Path = traffic.ProtoRedis, "GET", fmt.Sprintf("k:%d", r.IntN(1000))
			c.Redis = &traffic.Redis{Command: c.Method, Key: c.Path, Error: pick("", "", "WRONGTYPE Operation")}
		case 1:
			c.Protocol, c.Method, c.Path = traffic.ProtoPostgreSQL, "SELECT", "SELECT 1"
			c.PostgreSQL = &traffic.PostgreSQL{Command: "SELECT", Query: "SELECT 1", Fingerprint: pick("", "SELECT ?"), SQLState: pick("", "", "40001")}
		case 2:
			c.Protocol, c.Method, c.Path, c.Status = traffic.ProtoDNS, "A", pick("cart", "nowhere"), r.IntN(2)*3
			c.DNS = &traffic.DNS{RCode: map[int]string{0: "NOERROR", 3: "NXDOMAIN"}[c.Status]}
		case 3:
			c.Protocol, c.Method, c.Path = traffic.ProtoTLS, "ClientHello", "sni.example.com"
			c.TLS = &traffic.TLS{SNI: c.Path, Alert: pick("", "bad_certificate")}
		default:
			c.Protocol, c.Method, c.Path, c.Status = traffic.ProtoHTTP, pick("GET", "POST"), fmt.Sprintf("/items/%d", r.IntN(50)), []int{200, 200, 404, 503}[r.IntN(4)]
			c.Route = pick("", "/items/{id}")
			c.HTTP = &traffic.HTTP{Version: "1.1", Host: "cart", RequestHeaders: []traffic.Header{{Name: "X-Tenant", Value: fmt.Sprintf("t-%d", r.IntN(9))}}, RequestBody: []byte(`{"a":1}`)}
			switch r.IntN(6) {
			case 0:
				c.GRPC = &traffic.GRPC{Service: "shop.Cart", Method: pick("Add", "List"), Status: r.IntN(3) - 1}
			case 1:
				c.TLS = &traffic.TLS{SNI: "cart"}
			case 2:
				if r.IntN(9) == 0 {
					c.Path += "\xff" // no text: kept whole in one column
				}
			}
		}
		calls[i] = c
	}
	return calls
}

func someConnections(r *rand.Rand, calls []*traffic.Call) []*traffic.Connection {
	var all []*traffic.Connection
	for _, c := range calls {
		if n := len(all); n > 0 && all[n-1].ID == c.ConnID {
			all[n-1].Calls++
			continue
		}
		all = append(all, &traffic.Connection{ID: c.ConnID, FlowID: c.FlowID, Proto: []string{"tcp", "tcp", "udp"}[r.IntN(3)], L7: c.Protocol, Src: c.Src, Dst: c.Dst, Start: c.Start, End: c.End + 1e6,
			State: []traffic.State{traffic.StateEstablished, traffic.StateClosed, traffic.StateReset}[r.IntN(3)], Opened: true, Calls: 1, WindowCalls: 1, ClientPackets: uint64(r.IntN(99)),
			ServerPackets: uint64(r.IntN(99)), ClientBytes: uint64(r.IntN(9999)), ServerBytes: uint64(r.IntN(9999)), HandshakeClientNS: int64(r.IntN(9)) * 1e5, HandshakeServerNS: int64(r.IntN(9)) * 1e5,
			TCP: &traffic.TCPMetrics{Retransmissions: r.IntN(3)}})
	}
	return all
}

func each[T any](list []*T) func() iter.Seq2[*T, error] {
	return func() iter.Seq2[*T, error] {
		return func(yield func(*T, error) bool) {
			for _, x := range list {
				if !yield(x, nil) {
					return
				}
			}
		}
	}
}

// inMemory is a database of rows.
func inMemory(calls []*traffic.Call, conns []*traffic.Connection) *Database {
	return &Database{Name: "both", Start: calls[0].Start, End: calls[len(calls)-1].Start + 1e9, Calls: calls, Connections: conns, ReadCalls: each(calls), ReadConnections: each(conns),
		Account: traffic.Account{Packets: 1}}
}

// onDisk is the same of files.
func onDisk(t testing.TB, rows *Database) *Database {
	t.Helper()
	dir := t.TempDir()
	db := *rows
	db.Calls, db.Connections = nil, nil
	db.CallsPath, db.ConnectionsPath = filepath.Join(dir, "calls.parquet"), filepath.Join(dir, "connections.parquet")
	calls, err := os.Create(db.CallsPath)
	if err == nil {
		err = store.WriteCalls(calls, slices.Values(rows.Calls))
	}
	if err != nil {
		t.Fatal(err)
	}
	conns, err := os.Create(db.ConnectionsPath)
	if err == nil {
		err = store.WriteConnections(conns, slices.Values(rows.Connections))
	}
	if err != nil {
		t.Fatal(err)
	}
	db.ReadCalls = func() iter.Seq2[*traffic.Call, error] { return store.ReadCalls(db.CallsPath) }
	db.ReadConnections = func() iter.Seq2[*traffic.Connection, error] { return store.ReadConnections(db.ConnectionsPath) }
	return &db
}

var someFilters = []string{"", "http", "http && status_code >= 500", `dst.service.name == "payment"`, `request.headers["x-tenant"] == "t-3"`, "grpc", "redis || postgresql",
	`mentions("k:7")`, `path.startsWith("/items/1")`, "latency_ms > 3", "!answered", `conn_state == "open"`, "kafka", `src.namespace != dst.namespace`, `tcp_conn && reset`,
	`timestamp > timestamp("2023-11-14T22:13:20.5Z")`}

// question asks one thing of both, and compares the answers.
func question[A any](t *testing.T, rows, file *Database, name string, ask func(db *Database) (*A, error), opts ...cmp.Option) *A {
	t.Helper()
	want, err := ask(rows)
	if err != nil {
		t.Fatalf("%s of rows: %v", name, err)
	}
	got, err := ask(file)
	if err != nil {
		t.Fatalf("%s of columns: %v", name, err)
	}
	opts = append(opts, cmpopts.EquateEmpty(), cmpopts.EquateApprox(1e-9, 0), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }))
	if diff := cmp.Diff(want, got, opts...); diff != "" {
		t.Errorf("%s: columns differ from rows (-rows +columns):\n%s", name, diff)
	}
	return want
}

// What columns tell is what rows tell: lists, statistics and maps, on random calls.
func TestColumnsTellWhatRowsTell(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	calls := someCalls(r, 700)
	rows := inMemory(calls, someConnections(r, calls))
	file := onDisk(t, rows)
	start := rows.Start/1e6 + int64(r.IntN(300))
	r.Shuffle(len(someFilters)-1, func(i, j int) { someFilters[i+1], someFilters[j+1] = someFilters[j+1], someFilters[i+1] })
	for _, kfl := range someFilters[:6] { // others in other runs
		for _, scope := range []Scope{{}, {Start: start, End: start + 200}} {
			s := Selection{Scope: scope, KFL: kfl}
			for _, order := range []string{"newest", "oldest", "slowest"} {
				lists(t, rows, file, CallsRequest{Selection: s, Order: order, Limit: 40})
			}
			for _, by := range groupNames {
				question(t, rows, file, "stats by "+by+" of "+kfl, func(db *Database) (*StatsAnswer, error) {
					return GetAPIStats(ctx, db, StatsRequest{Selection: s, GroupBy: by, BucketMS: 100, Limit: 1000})
				}, cmpopts.IgnoreFields(Reading{}, "Why"))
			}
			for _, by := range []string{"service", "pod", "namespace", "node"} {
				question(t, rows, file, "map by "+by+" of "+kfl, func(db *Database) (*ServiceMap, error) {
					return GetServiceMap(ctx, db, MapRequest{Selection: s, By: by})
				}, cmpopts.IgnoreFields(Reading{}, "Why"), cmpopts.IgnoreFields(MapNode{}, "Kind"))
			}
			for _, by := range []string{"node", "ns", "worker"} {
				question(t, rows, file, "groups by "+by+" of "+kfl, func(db *Database) (*CallsAnswer, error) {
					return ListAPICalls(ctx, db, CallsRequest{Selection: s, GroupBy: by})
				}, cmpopts.IgnoreFields(Reading{}, "Why"))
			}
		}
	}
	for range 20 {
		c := calls[r.IntN(len(calls))]
		question(t, rows, file, "call "+c.ID, func(db *Database) (*CallAnswer, error) { return GetAPICall(ctx, db, CallRequest{ID: c.ID}, nil) })
	}
}

// Of many calls that are much alike whole pages hold one value, which need not be the first of its dictionary.
func TestColumnsOfManyCalls(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := rand.New(rand.NewPCG(1, 2))
	begin := int64(1_700_000_000e9)
	end := func(i int) traffic.Endpoint {
		return traffic.Endpoint{IP: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Port: 8080, Workload: traffic.Workload{Namespace: "shop", Kind: "service", Service: fmt.Sprintf("service-%02d", i)}}
	}
	calls := make([]*traffic.Call, 40_000) // more than a row group
	for i := range calls {
		c := &traffic.Call{ID: fmt.Sprintf("n/%d/%d", i/10, i%10), Protocol: traffic.ProtoHTTP, ConnID: uint64(i/10 + 1), Index: i % 10, State: traffic.StateComplete, Point: "client", Src: end(r.IntN(20)),
			Dst: end(20 + r.IntN(20)), Start: begin + int64(i)*1e6, Method: "GET", Path: fmt.Sprintf("/thing/%d", r.IntN(40)), Status: 200, HTTP: &traffic.HTTP{Version: "1.1", Host: "shop"}}
		if r.IntN(50) == 0 {
			c.Status = 503
		}
		if i%1000 == 999 {
			c.Path, c.Dst.Service = "/rare", "rare"
		}
		c.RequestEnd = c.Start + 1000
		c.ResponseStart = c.RequestEnd + int64(r.IntN(50_000_000))
		c.End = c.ResponseStart + 1000
		calls[i] = c
	}
	rows := inMemory(calls, []*traffic.Connection{})
	file := onDisk(t, rows)
	for _, kfl := range []string{"", `path == "/rare"`, "status_code == 503"} {
		for _, scope := range []Scope{{}, {Start: begin/1e6 + 35_000, End: begin/1e6 + 39_000}} {
			s := Selection{Scope: scope, KFL: kfl}
			for _, by := range groupNames {
				question(t, rows, file, "stats by "+by+" of "+kfl, func(db *Database) (*StatsAnswer, error) {
					return GetAPIStats(ctx, db, StatsRequest{Selection: s, GroupBy: by, BucketMS: 10_000, Limit: 50})
				}, cmpopts.IgnoreFields(Reading{}, "Why"))
			}
			question(t, rows, file, "map of "+kfl, func(db *Database) (*ServiceMap, error) {
				return GetServiceMap(ctx, db, MapRequest{Selection: s})
			}, cmpopts.IgnoreFields(Reading{}, "Why"), cmpopts.IgnoreFields(MapNode{}, "Kind"))
		}
	}
}

// Analyses of files read only the columns that they need: the answers are those of whole rows.
func TestAnalysesOfColumns(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	calls := someCalls(r, 600)
	for i, c := range calls {
		if i > 0 && r.IntN(3) == 0 {
			c.Parent, c.ParentBy = calls[r.IntN(i)].ID, "nesting"
		}
		if i%50 > 40 {
			c.Retry = &traffic.Retry{Group: fmt.Sprint("g", i/50), Attempt: i%50 - 40, Attempts: 9, DelayNS: int64(i) * 1e6, Factor: 2}
			c.Credentials = []traffic.Credential{{Kind: "bearer", Place: "request.header.authorization"}}
		}
	}
	rows := inMemory(calls, someConnections(r, calls))
	rows.Events = []traffic.ClusterEvent{{Time: calls[500].Start, Kind: "restart", Pod: "cart-a", Namespace: "shop"}}
	file := onDisk(t, rows)
	why := cmpopts.IgnoreFields(Reading{}, "Why")
	event := eventID(&rows.Events[0])
	question(t, rows, file, "events", func(db *Database) (*EventsAnswer, error) { return ListEvents(ctx, db, EventsRequest{Before: event}) }, why)
	for _, kfl := range []string{"", `dst.service.name == "payment"`, "http && status_code >= 500", `request.headers["x-tenant"] == "t-3"`} {
		s := Selection{KFL: kfl}
		named := func(what string) string { return what + " of " + kfl }
		question(t, rows, file, named("dependents"), func(db *Database) (*DependentsAnswer, error) {
			return GetDependents(ctx, db, DependentsRequest{Selection: s, Service: "payment"})
		}, why)
		question(t, rows, file, named("egress"), func(db *Database) (*EgressAnswer, error) { return ListEgress(ctx, db, EgressRequest{Selection: s}) }, why)
		for _, x := range []string{"request_body_size", "status_code"} {
			question(t, rows, file, named("correlation"), func(db *Database) (*Correlation, error) {
				return Correlate(ctx, db, CorrelateRequest{Selection: s, X: x, Y: "latency"})
			}, why)
		}
		question(t, rows, file, named("sensitive data"), func(db *Database) (*SensitiveAnswer, error) {
			return FindSensitiveData(ctx, db, SensitiveRequest{Selection: s}, func(b []byte) string { return string(b) })
		}, why)
		question(t, rows, file, named("errors"), func(db *Database) (*ErrorsAnswer, error) { return FindErrors(ctx, db, ErrorsRequest{Selection: s}) }, why)
		question(t, rows, file, named("retries"), func(db *Database) (*RetriesAnswer, error) { return ListRetries(ctx, db, RetriesRequest{Selection: s}) }, why)
		question(t, rows, file, named("connections"), func(db *Database) (*ConnectionsAnswer, error) {
			return ListConnections(ctx, db, ConnectionsRequest{Selection: s, BucketMS: 100})
		}, why)
		question(t, rows, file, named("flows"), func(db *Database) (*FlowsAnswer, error) {
			return ListL4Flows(ctx, db, FlowsRequest{Selection: s, Format: "raw", Limit: 1000})
		}, why)
		question(t, rows, file, named("the summary of flows"), func(db *Database) (*FlowSummary, error) {
			return GetFlowSummary(ctx, db, FlowSummaryRequest{Selection: s})
		}, why)
		question(t, rows, file, named("the tree"), func(db *Database) (*TreeAnswer, error) { return GetCallTree(ctx, db, TreeRequest{Selection: s}) }, why)
	}
}

// lists compares all pages of a list. Rows with the same value may come in another order.
func lists(t *testing.T, rows, file *Database, r CallsRequest) {
	t.Helper()
	read := func(db *Database) (map[string]traffic.CompactCall, []int64, int) {
		all, values, total := map[string]traffic.CompactCall{}, []int64(nil), 0
		for at := r; ; {
			a, err := ListAPICalls(context.Background(), db, at)
			if err != nil {
				t.Fatalf("%+v: %v", r, err)
			}
			if !a.TotalIsLeast {
				total = a.Total
			}
			for _, x := range a.Calls {
				c, ok := x.(traffic.CompactCall)
				if !ok {
					return all, values, a.Total // connections
				}
				if _, twice := all[c.ID]; twice {
					t.Fatalf("%+v: %s comes twice", r, c.ID)
				}
				all[c.ID] = c
				value := c.TS
				if r.Order == "slowest" {
					value = int64(c.Latency * 1000)
				}
				values = append(values, value)
			}
			if a.Truncated != (a.Cursor != "") || a.Truncated && len(a.Calls) != r.Limit {
				t.Fatalf("%+v: truncated %v, cursor %q, %d calls", r, a.Truncated, a.Cursor, len(a.Calls))
			}
			if at.Cursor = a.Cursor; at.Cursor == "" {
				if total > 0 && total != len(all) {
					t.Errorf("%+v: %d calls on all pages, and total is %d", r, len(all), total)
				}
				return all, values, len(all)
			}
		}
	}
	wantCalls, wantValues, want := read(rows)
	gotCalls, gotValues, got := read(file)
	if want != got {
		t.Errorf("%+v: %d calls by columns, %d by rows", r, got, want)
	}
	if diff := cmp.Diff(wantCalls, gotCalls); diff != "" {
		t.Errorf("%+v (-rows +columns):\n%s", r, diff)
	}
	if diff := cmp.Diff(wantValues, gotValues); diff != "" {
		t.Errorf("%+v: order (-rows +columns):\n%s", r, diff)
	}
	up := slices.IsSorted(gotValues)
	slices.Reverse(gotValues)
	if r.Order == "oldest" && !up || r.Order != "oldest" && !slices.IsSorted(gotValues) {
		t.Errorf("%+v: not in order", r)
	}
}
