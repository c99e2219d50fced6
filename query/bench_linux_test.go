package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

var benchChild = flag.String("bench-question", "", "answer one question of the benchmark, and print how long it took")

// benchCalls is how many calls the benchmark makes.
func benchCalls(t testing.TB) int {
	n := 1_000_000
	if s := os.Getenv("DEVLOOP_BENCH_CALLS"); s != "" {
		if _, err := fmt.Sscan(s, &n); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// benchMade are n calls of an hour: 65 % HTTP, 12 % gRPC, 10 % Redis, 6 % PostgreSQL, 4 % DNS and 3 % of another protocol, between 40
// services whose use is distributed by Zipf's law, with headers of some 650 bytes and bodies of 60 to 960. Each connection carries ten.
func benchMade(n int) iter.Seq[*traffic.Call] {
	return func(yield func(*traffic.Call) bool) {
		r := rand.New(rand.NewPCG(1, 2))
		zipf := rand.NewZipf(r, 1.1, 4, 39)
		services := make([]string, 40)
		for i := range services {
			services[i] = fmt.Sprintf("service-%02d", i)
		}
		services[3] = "payment"
		end := func(net byte, name string) traffic.Endpoint {
			return traffic.Endpoint{IP: netip.AddrFrom4([4]byte{10, net, byte(len(name)), byte(r.IntN(250))}), Port: 8080,
				Workload: traffic.Workload{Namespace: "shop", Kind: "pod", Service: name, Pod: fmt.Sprintf("%s-7f9c-%d", name, r.IntN(3)), Node: fmt.Sprintf("node-%d", r.IntN(3)), Owner: name, OwnerKind: "Deployment"}}
		}
		var src, dst traffic.Endpoint
		for i := range n {
			if i%10 == 0 {
				src, dst = end(0, services[zipf.Uint64()]), end(1, services[zipf.Uint64()])
			}
			c := &traffic.Call{ID: benchID(i), ConnID: 0x9e3779b97f4a7 * uint64(i/10+1) & (1<<53 - 1), FlowID: uint64(i / 100), Index: i % 10,
				State: traffic.StateComplete, Point: "client", Src: src, Dst: dst, Start: 1_700_000_000e9 + int64(i)*(3600e9/int64(n)),
				TraceID: fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64()), SpanID: fmt.Sprintf("%016x", r.Uint64())}
			c.RequestEnd = c.Start + 100_000
			c.ResponseStart = c.RequestEnd + int64(math.Exp(r.NormFloat64()*0.7+15.5))
			c.End = c.ResponseStart + int64(r.IntN(1000))*1000
			endpoint := int(zipf.Uint64()) * 27 / 39
			switch kind := r.IntN(100); {
			case kind < 77:
				c.Protocol, c.Method, c.Status = traffic.ProtoHTTP, []string{"GET", "GET", "POST"}[endpoint%3], 200
				c.Path, c.Route = fmt.Sprintf("/api/v1/thing%d/%d", endpoint, r.IntN(5000)), fmt.Sprintf("/api/v1/thing%d/{id}", endpoint)
				if r.IntN(40) == 0 {
					c.Status = []int{404, 500}[r.IntN(2)]
				}
				if dst.Service == "payment" && i%73 == 0 {
					c.Status = 503
				}
				id := fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64())
				c.HTTP = &traffic.HTTP{Version: "1.1", Host: dst.Service, RequestHeadersSize: 600, ResponseHeadersSize: 150, RequestHeaders: []traffic.Header{
					{Name: "User-Agent", Value: "Go-http-client/1.1"}, {Name: "Accept", Value: "application/json, text/plain, */*"}, {Name: "Accept-Encoding", Value: "gzip, deflate, br"},
					{Name: "X-Request-Id", Value: id}, {Name: "X-Tenant", Value: fmt.Sprintf("tenant-%03d", r.IntN(500))}, {Name: "Traceparent", Value: "00-" + c.TraceID + "-" + c.SpanID + "-01"},
					{Name: "Authorization", Value: "[redacted bearer 812 5f1c22aa]"}, {Name: "X-Forwarded-For", Value: src.IP.String()}, {Name: "Content-Type", Value: "application/json; charset=utf-8"},
					{Name: "Cookie", Value: "[redacted cookie 64 77aa01bc]; theme=dark; locale=en-GB"}},
					ResponseHeaders: []traffic.Header{{Name: "Content-Type", Value: "application/json"}, {Name: "Date", Value: time.Unix(0, c.Start).UTC().Format(time.RFC1123)}, {Name: "Server", Value: "shop"}},
					RequestBody:     benchBody(r), ResponseBody: benchBody(r)}
				c.RequestSize, c.ResponseSize = int64(len(c.HTTP.RequestBody)), int64(len(c.HTTP.ResponseBody))
				if kind < 12 {
					c.Method, c.HTTP.Version, c.Path, c.Route, c.Status = "POST", "2", fmt.Sprintf("/shop.v1.Thing%d/Get", endpoint), "", 200
					c.GRPC = &traffic.GRPC{Service: fmt.Sprintf("shop.v1.Thing%d", endpoint), Method: "Get", Status: []int{0, 0, 0, 14}[r.IntN(4)], RequestMessages: 1, ResponseMessages: 1}
				}
			case kind < 87:
				c.Protocol, c.Method, c.Path = traffic.ProtoRedis, "GET", fmt.Sprintf("cart:%d", r.IntN(10000))
				c.Redis = &traffic.Redis{Command: "GET", Key: c.Path, Args: []string{c.Path}, Type: "string", Reply: string(benchBody(r))}
			case kind < 93:
				c.Protocol, c.Method, c.Path = traffic.ProtoPostgreSQL, "SELECT", "SELECT * FROM orders WHERE id = $1"
				c.PostgreSQL = &traffic.PostgreSQL{Command: "SELECT", Query: c.Path, Fingerprint: c.Path, Database: "shop", Success: true, Rows: int64(r.IntN(9)), Arguments: []string{fmt.Sprint(r.IntN(1e6))}}
			case kind < 97:
				c.Protocol, c.Method, c.Path = traffic.ProtoDNS, "A", dst.Service+".shop.svc"
				c.DNS = &traffic.DNS{Transport: "udp", RCode: "NOERROR", Questions: []traffic.DNSRecord{{Name: c.Path, Type: "A"}}}
			default:
				c.Protocol = "kafka"
			}
			if !yield(c) {
				return
			}
		}
	}
}

// benchBody is JSON of 60 to 960 bytes, much of it random.
func benchBody(r *rand.Rand) []byte {
	b := fmt.Appendf(nil, `{"id":"%016x","amount":%d,"items":[`, r.Uint64(), r.IntN(1e6))
	for n := 60 + r.IntN(900); len(b) < n; {
		b = fmt.Appendf(b, `{"sku":"A%d","n":%d,"note":"%x"},`, r.IntN(1e4), r.IntN(9), r.Uint32())
	}
	return append(b[:len(b)-1], "]}"...)
}

// benchFiles are the calls and connections on disk, made once.
func benchFiles(t testing.TB, n int) (calls, conns string) {
	t.Helper()
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("devloop-query-bench-%d-%d", n, os.Getuid()))
	calls, conns = filepath.Join(dir, "calls.parquet"), filepath.Join(dir, "connections.parquet")
	if _, err := os.Stat(conns); err == nil {
		return calls, conns
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(calls)
	if err == nil {
		err = store.WriteCalls(f, benchMade(n))
	}
	if err != nil {
		t.Fatal(err)
	}
	if f, err = os.Create(conns + ".new"); err != nil {
		t.Fatal(err)
	}
	err = store.WriteConnections(f, func(yield func(*traffic.Connection) bool) {
		for c := range benchMade(n) {
			if c.Index == 0 && !yield(&traffic.Connection{ID: c.ConnID, FlowID: c.FlowID, Proto: "tcp", L7: c.Protocol, Src: c.Src, Dst: c.Dst, Start: c.Start, End: c.End, State: traffic.StateClosed, Calls: 10,
				WindowCalls: 10, ClientPackets: 30, ServerPackets: 30, ClientBytes: 9000, ServerBytes: 20000, HandshakeClientNS: 200_000, TCP: &traffic.TCPMetrics{}}) {
				return
			}
		}
	})
	if err = errors.Join(err, os.Rename(conns+".new", conns)); err != nil {
		t.Fatal(err)
	}
	return calls, conns
}

// benchQuestion is one thing that is asked of both.
type benchQuestion struct {
	name string
	bar  float64
	ask  func(ctx context.Context, db *Database, n int) (int, error)
	sql  func(n int) string
}

const (
	benchStart = 1_700_000_000_000 // Unix milliseconds
	answered   = `state IN ('complete','truncated','half')`
	failedSQL  = `(state IN ('unanswered','truncated') OR error <> '' OR (grpc AND grpc_status > 0) OR postgresql_sqlstate <> '' OR redis_error <> '' OR (dns AND status <> 0) OR (http AND NOT grpc AND status >= 400))`
	figuresSQL = `count(*), count(*) FILTER (` + failedSQL + `), sum(req_size), sum(resp_size), quantile_disc(latency_ns, [0.5, 0.9, 0.99]) FILTER (state = 'complete'), max(latency_ns), avg(latency_ns)`
	askedSQL   = `CASE WHEN grpc THEN grpc_service || '/' || grpc_method WHEN postgresql THEN postgresql_fingerprint WHEN redis THEN redis_command WHEN dns THEN 'DNS ' || method ELSE method || ' ' || CASE WHEN route <> '' THEN route ELSE path END END`
)

// benchID is the id of call i.
func benchID(i int) string {
	return fmt.Sprintf("node-1/%s/%d", strconv.FormatUint(0x9e3779b97f4a7*uint64(i/10+1)&(1<<53-1), 36), i%10)
}

func newest(kfl string) func(context.Context, *Database, int) (int, error) {
	return func(ctx context.Context, db *Database, _ int) (int, error) {
		a, err := ListAPICalls(ctx, db, CallsRequest{Selection: Selection{KFL: kfl}})
		if err != nil {
			return 0, err
		}
		return len(a.Calls), nil
	}
}

func newestSQL(where string) func(int) string {
	return func(int) string {
		return "SELECT " + strings.Join(compactColumns, ", ") + " FROM 'CALLS' WHERE " + where + " ORDER BY start_ns DESC LIMIT 100"
	}
}

var benchQuestions = []benchQuestion{
	{"Q1", 0.3, newest(`http && status_code == 503 && dst.service.name == "payment"`), newestSQL(`proto = 'http' AND status = 503 AND dst_svc = 'payment' AND ` + answered)},
	{"Q2", 1, func(ctx context.Context, db *Database, _ int) (int, error) {
		a, err := GetAPIStats(ctx, db, StatsRequest{Limit: 1000})
		if err != nil {
			return 0, err
		}
		return len(a.Stats), nil
	}, func(int) string {
		return `SELECT * FROM (SELECT dst_name, ` + askedSQL + ` AS asked, ` + figuresSQL + ` FROM 'CALLS' GROUP BY 1, 2) ORDER BY 3 DESC LIMIT 1000`
	}},
	{"Q3", 1, func(ctx context.Context, db *Database, _ int) (int, error) {
		a, err := GetServiceMap(ctx, db, MapRequest{})
		if err != nil {
			return 0, err
		}
		return len(a.Edges), nil
	}, func(int) string {
		return `SELECT * FROM (SELECT src_name, dst_name, src_ns, dst_ns, list(DISTINCT proto), list(DISTINCT ` + askedSQL + `), ` + figuresSQL + ` FROM 'CALLS' GROUP BY ALL) a FULL JOIN
			(SELECT src_name, dst_name, src_ns, dst_ns, count(*), sum(client_bytes + server_bytes) FROM 'CONNECTIONS' GROUP BY ALL) b USING (src_name, dst_name, src_ns, dst_ns)`
	}},
	{"Q4", 0.3, func(ctx context.Context, db *Database, n int) (int, error) {
		a, err := GetAPIStats(ctx, db, StatsRequest{Selection: Selection{Scope: Scope{Start: benchStart + 30*60_000, End: benchStart + 32*60_000}}, GroupBy: "proto"})
		if err != nil {
			return 0, err
		}
		rows := 0
		for _, s := range a.Stats {
			rows += len(s.Statuses)
		}
		return rows, nil
	}, func(int) string {
		return fmt.Sprintf(`SELECT CASE WHEN grpc THEN 'grpc' ELSE proto END, CASE WHEN grpc AND grpc_status > 0 THEN grpc_status ELSE status END, count(*) FROM 'CALLS' WHERE start_ns >= %d AND start_ns < %d GROUP BY 1, 2`,
			int64(benchStart+30*60_000)*1e6, int64(benchStart+32*60_000)*1e6)
	}},
	{"Q5", 1, newest(`request.headers["x-request-id"].contains("abc")`), newestSQL(`http AND req_headers LIKE '%abc%'`)},
	{"Q5rare", 1, newest(`request.headers["x-request-id"].contains("abcdef01")`), newestSQL(`http AND req_headers LIKE '%abcdef01%'`)},
	{"Q6", 1, newest(`http && path.startsWith("/api/v1/thing5/12")`), newestSQL(`proto = 'http' AND path LIKE '/api/v1/thing5/12%'`)},
	{"Q7", 0.3, func(ctx context.Context, db *Database, n int) (int, error) {
		no := false
		_, err := GetAPICall(ctx, db, CallRequest{ID: benchID(n * 2 / 3), IncludeL4: &no}, nil)
		return 1, err
	}, func(n int) string { return "SELECT * FROM 'CALLS' WHERE id = '" + benchID(n*2/3) + "'" }},
}

// benchResult is what both programs print.
type benchResult struct {
	FirstMS    float64 `json:"first_ms"`
	FirstCPUMS float64 `json:"first_cpu_ms"`
	WarmMS     float64 `json:"warm_ms"`
	CPUMS      float64 `json:"cpu_ms"`
	Rows       int     `json:"rows"`
	PeakMB     float64 `json:"peak_mb"`
}

// TestBenchQuestion is the process that answers one question of [BenchmarkQuestions].
func TestBenchQuestion(t *testing.T) {
	if *benchChild == "" {
		t.Skip("BenchmarkQuestions starts it")
	}
	n := benchCalls(t)
	calls, conns := benchFiles(t, n)
	db := &Database{Name: "bench", Start: benchStart * 1e6, End: (benchStart + 3_600_000) * 1e6, Account: traffic.Account{Packets: 1}, CallsPath: calls, ConnectionsPath: conns,
		ReadCalls:       func() iter.Seq2[*traffic.Call, error] { return store.ReadCalls(calls) },
		ReadConnections: func() iter.Seq2[*traffic.Connection, error] { return store.ReadConnections(conns) }}
	i := slices.IndexFunc(benchQuestions, func(q benchQuestion) bool { return q.name == *benchChild })
	if i < 0 {
		t.Fatalf("no question %q", *benchChild)
	}
	if _, err := filter.Compile("http"); err != nil { // what a process does once, as DuckDB has opened its database
		t.Fatal(err)
	}
	var r benchResult
	var warm []float64
	var busy time.Duration
	const runs = 5
	for k := range runs + 1 {
		before, start := benchProcessor(t), time.Now()
		rows, err := benchQuestions[i].ask(t.Context(), db, n)
		if err != nil {
			t.Fatal(err)
		}
		took, worked := float64(time.Since(start).Microseconds())/1e3, benchProcessor(t)-before
		r.Rows = rows
		if k == 0 {
			r.FirstMS, r.FirstCPUMS = took, float64(worked.Microseconds())/1e3
			continue
		}
		warm = append(warm, took)
		busy += worked
	}
	slices.Sort(warm)
	r.WarmMS, r.CPUMS = warm[len(warm)/2], float64(busy.Microseconds())/1e3/runs
	status, err := os.ReadFile("/proc/self/status") // not getrusage, which also tells of the process that started this one
	if err != nil {
		t.Fatal(err)
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	var kilobytes float64
	if _, err := fmt.Sscan(peak, &kilobytes); err != nil {
		t.Fatal(err)
	}
	r.PeakMB = kilobytes / 1024
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		t.Fatal(err)
	}
}

func benchProcessor(t testing.TB) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkQuestions asks seven questions of 1,000,000 stored calls (DEVLOOP_BENCH_CALLS for another number), and the same of DuckDB
// over the same files, each in a process of its own: cold is the first run after the files left the page cache, warm the median of
// five more. DEVLOOP_BENCH_DUCKDB is the program of scripts/bench/duckdb; it is built where it is not given.
func BenchmarkQuestions(b *testing.B) {
	n := benchCalls(b)
	calls, conns := benchFiles(b, n)
	duckdb := os.Getenv("DEVLOOP_BENCH_DUCKDB")
	if duckdb == "" {
		duckdb = filepath.Join(b.TempDir(), "duckdb")
		build := exec.Command("go", "build", "-o", duckdb, ".")
		build.Dir = filepath.Join("..", "scripts", "bench", "duckdb")
		if out, err := build.CombinedOutput(); err != nil {
			b.Skipf("DuckDB cannot be built here (it needs cgo and its libraries): %v\n%s", err, out)
		}
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	for _, q := range benchQuestions {
		b.Run(q.name, func(b *testing.B) {
			query := strings.ReplaceAll(strings.ReplaceAll(q.sql(n), "CALLS", calls), "CONNECTIONS", conns)
			var ours, theirs [3]benchResult
			for b.Loop() {
				for i := range ours { // taking turns
					ours[i] = benchRun(b, calls, conns, self, "-test.run", "^TestBenchQuestion$", "-bench-question", q.name)
					theirs[i] = benchRun(b, calls, conns, duckdb, query)
				}
			}
			mine, other := middle(ours), middle(theirs)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(mine.FirstMS, "cold-ms")
			b.ReportMetric(mine.WarmMS, "warm-ms")
			b.ReportMetric(other.FirstMS, "duckdb-cold-ms")
			b.ReportMetric(other.WarmMS, "duckdb-warm-ms")
			b.ReportMetric(mine.FirstMS/other.FirstMS, "cold-ratio")
			b.ReportMetric(mine.WarmMS/other.WarmMS, "warm-ratio")
			b.ReportMetric(mine.FirstCPUMS/other.FirstCPUMS, "cold-cpu-ratio")
			b.ReportMetric(mine.CPUMS/other.CPUMS, "cpu-ratio")
			b.ReportMetric(mine.PeakMB, "peak-MB")
			b.ReportMetric(q.bar, "bar")
			b.ReportMetric(float64(mine.Rows), "rows")
			b.ReportMetric(float64(other.Rows), "duckdb-rows")
		})
	}
}

// middle is the median of each figure.
func middle(all [3]benchResult) benchResult {
	m := all[0]
	for _, get := range []func(*benchResult) *float64{func(r *benchResult) *float64 { return &r.FirstMS }, func(r *benchResult) *float64 { return &r.FirstCPUMS }, func(r *benchResult) *float64 { return &r.WarmMS },
		func(r *benchResult) *float64 { return &r.CPUMS }, func(r *benchResult) *float64 { return &r.PeakMB }} {
		var v []float64
		for i := range all {
			v = append(v, *get(&all[i]))
		}
		slices.Sort(v)
		*get(&m) = v[len(v)/2]
	}
	return m
}

// benchRun takes the files out of the page cache and runs a program that prints a result.
func benchRun(b *testing.B, calls, conns, name string, args ...string) benchResult {
	b.Helper()
	for _, path := range []string{calls, conns} {
		f, err := os.Open(path)
		if err == nil {
			err = errors.Join(unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		b.Fatalf("%s: %v\n%s", filepath.Base(name), err, out)
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	var r benchResult
	if err := json.Unmarshal(line, &r); err != nil {
		b.Fatalf("%s printed %q", filepath.Base(name), out)
	}
	return r
}
