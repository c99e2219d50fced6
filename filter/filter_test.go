package filter_test

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

var update = flag.Bool("update", false, "rewrite golden files")

func lines(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is out of date; run with -update and read the difference (-want +got):\n%s", file, diff)
	}
}

// Every filter of Kubeshark's own pages compiles verbatim, and so do the other older spellings; the golden says into what.
func TestSpellings(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"kfl-spellings", "older"} {
		var got strings.Builder
		for _, src := range lines(t, "testdata/"+name+".txt") {
			f, err := filter.Compile(src)
			if err != nil {
				t.Errorf("%s: %v", src, err)
				continue
			}
			fmt.Fprintf(&got, "%s\n  → %s\n    %s\n", src, f.Rewritten(), f.Kind())
			for _, w := range f.Warnings() {
				fmt.Fprintf(&got, "    warning: %s\n", w)
			}
			again, err := filter.Compile(f.Rewritten())
			if err != nil {
				t.Errorf("%s: rewritten: %v", src, err)
			} else if again.Rewritten() != f.Rewritten() && !strings.Contains(src, `r"`) && !strings.Contains(src, `r'`) {
				t.Errorf("%s: rewritten twice becomes %s", src, again.Rewritten())
			}
		}
		golden(t, "testdata/"+name+".golden", got.String())
	}
}

// Mistakes are reported in the text that was typed, with what to write instead.
func TestErrors(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	for _, src := range lines(t, "testdata/errors.txt") {
		_, err := filter.Compile(src)
		var e *filter.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: want an *Error, got %v", src, err)
			continue
		}
		fmt.Fprintf(&got, "%v\n\n", e)
	}
	golden(t, "testdata/errors.golden", got.String())
}

func TestErrorInAFile(t *testing.T) {
	t.Parallel()
	_, err := filter.Compile("http\n&& stauts == 1", filter.At(filter.Base{File: "a.netcheck.yaml", Line: 7, Column: 9, Indent: 6}))
	var e *filter.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	if e.File != "a.netcheck.yaml" || e.Line != 8 || e.Column != 10 || e.Offset != 8 {
		t.Errorf("want a.netcheck.yaml:8:10 at byte 8, got %s:%d:%d at byte %d", e.File, e.Line, e.Column, e.Offset)
	}
	_, err = filter.Compile("stauts == 1", filter.At(filter.Base{Line: 7, Column: 9}))
	if !errors.As(err, &e) || e.Line != 7 || e.Column != 9 {
		t.Errorf("want 7:9, got %v", err)
	}
	_, err = filter.Compile(`"é" == path and stauts == 1`)
	if !errors.As(err, &e) || e.Column != 17 || e.Offset != 17 {
		t.Errorf("want column 17 at byte 17, got %v at %d", err, e.Offset)
	}
}

// Of a long line only what stands around the mistake is shown.
func TestErrorInALongLine(t *testing.T) {
	t.Parallel()
	_, err := filter.Compile(strings.Repeat("http && ", 200) + "stauts == 1" + strings.Repeat(" && http", 200))
	lines := strings.Split(fmt.Sprint(err), "\n")
	if len(lines) < 3 || len(lines[1]) > 200 {
		t.Fatalf("want a short excerpt, got %v", err)
	}
	at := len([]rune(lines[2])) - 1
	if !strings.HasPrefix(string([]rune(lines[1])[at:]), "stauts") {
		t.Errorf("the caret does not stand below the name:\n%v", err)
	}
}

// kfl2Types are how the reference writes types.
var kfl2Types = map[string]string{"s": "string", "i": "int", "b": "bool", "ts": "timestamp", "[]s": "list(string)", "list": "list(string)", "map": "map(string, string)", "bytes": "bytes"}

// kfl2Differences are variables that have another type here than the reference says.
var kfl2Differences = map[string]string{"id": "KFL2 says int; its calls have ids such as node1/204/0, and so have ours"}

// Every variable that KFL2 documents exists with its type and default; the golden says which never have a value here, and why.
func TestKFL2Variables(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	for _, line := range lines(t, "testdata/kfl2-variables.txt") {
		kind, names, _ := strings.Cut(line, " ")
		for name := range strings.FieldsSeq(names) {
			f, ok := filter.Lookup(name)
			if !ok || f.Name != name {
				t.Errorf("%s is not in the table", name)
				continue
			}
			kind := kind
			if kfl2Differences[name] != "" {
				kind = "s"
			}
			want := map[string]string{"s": `== ""`, "i": "== 0", "b": "== false", "ts": `== timestamp("1970-01-01T00:00:00Z")`, "bytes": `== b""`}[kind]
			src := name + " " + want
			if want == "" {
				src = "size(" + name + ") == 0"
			}
			compiled, err := filter.Compile(src)
			if err != nil {
				t.Errorf("%s is not of type %s: %v", name, kfl2Types[kind], err)
				continue
			}
			for _, row := range []filter.Row{{Call: &traffic.Call{}}, {Conn: &traffic.Connection{}}} {
				if ok, err := compiled.Match(&row); (!ok || err != nil) && !slices.Contains([]string{"has_pcap", "id", "stream", "conn", "flow", "capture.point",
					"local_resolution_status", "remote_resolution_status", "conn_state", "flow_state"}, name) {
					t.Errorf("the default of %s is not what KFL2 says: %v", name, err)
				}
			}
			if why := kfl2Differences[name]; why != "" {
				fmt.Fprintf(&got, "%s %s: %s\n", kfl2Types[kind], name, why)
			} else if f.Stub {
				fmt.Fprintf(&got, "%s %s: always the default: %s\n", kfl2Types[kind], name, f.Doc)
			} else {
				fmt.Fprintf(&got, "%s %s\n", kfl2Types[kind], name)
			}
		}
	}
	golden(t, "testdata/kfl2-variables.golden", got.String())
}

// The table is sound: names are unique, every field says what it means, and its example compiles.
func TestTable(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	columns := map[string]string{}
	for _, f := range filter.Fields() {
		for _, name := range append([]string{f.Name}, f.Aliases...) {
			if seen[name] != "" {
				t.Errorf("%s names both %s and %s", name, seen[name], f.Name)
			}
			seen[name] = f.Name
		}
		if f.Column != "" && columns[f.Column] != "" {
			t.Errorf("column %s stands for both %s and %s", f.Column, columns[f.Column], f.Name)
		}
		columns[f.Column] = f.Name
		if f.Doc == "" || strings.Contains(f.Doc, "\n") || f.Get == nil || f.Type == nil || f.Rows == 0 {
			t.Errorf("%s lacks a line of doc, a getter, a type or its rows", f.Name)
		}
		if f.Example == "" && !f.Stub {
			t.Errorf("%s has no example", f.Name)
		}
		if f.Example != "" {
			if _, err := filter.Compile(f.Example); err != nil {
				t.Errorf("example of %s: %v", f.Name, err)
			}
		}
		for _, r := range []filter.Row{{Call: &traffic.Call{}}, {Conn: &traffic.Connection{}}, {Call: &traffic.Call{HTTP: &traffic.HTTP{},
			DNS: &traffic.DNS{}, TLS: &traffic.TLS{}, Retry: &traffic.Retry{}}, Conn: &traffic.Connection{TCP: &traffic.TCPMetrics{}}}} {
			v, _ := f.Get(&r)
			if v == nil || v.Type().TypeName() != f.Default().Type().TypeName() {
				t.Errorf("%s reads as %v, its default as %v", f.Name, v, f.Default())
			}
		}
	}
}

// Every column that the table names is one that the store writes.
func TestColumns(t *testing.T) {
	t.Parallel()
	files, _ := filepath.Glob("../store/rows*.go")
	if len(files) == 0 {
		t.Skip("the store's rows are not here")
	}
	var rows []byte
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, b...)
	}
	for _, f := range filter.Fields() {
		if tag := "`parquet:\"" + f.Column; f.Column != "" && !strings.Contains(string(rows), tag+`"`) && !strings.Contains(string(rows), tag+",") {
			t.Errorf("%s names the column %s, and the store's rows have none", f.Name, f.Column)
		}
	}
}

// The hostile and the merely long compile, or fail to, in no time.
func TestBounds(t *testing.T) {
	t.Parallel()
	repeat := strings.Repeat
	for _, src := range []string{
		repeat("(", 60) + "http" + repeat(")", 60), repeat("(", 2000), repeat("!", 2000) + "http", repeat("http and ", 1500) + "http",
		repeat("not ", 3000) + "http", repeat("a.", 7000) + "b", repeat("path + ", 2000) + "path == path", repeat("http ", 20000),
		`path matches "` + repeat("(a{1,99})", 40) + `"`, repeat("a.exists(b,", 55) + "http" + repeat(")", 55), repeat("path contains ", 1000) + "path",
		repeat("{a:", 50) + repeat("}", 50), repeat("[", 60) + repeat("]", 60) + " == []", repeat("http ? ", 1000) + "http" + repeat(" : http", 1000),
	} {
		start := time.Now()
		_, err := filter.Compile(src)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%.40s… took %v (%v)", src, took, err)
		}
	}
}

func TestReference(t *testing.T) {
	t.Parallel()
	golden(t, "../docs/fields.md", filter.Doc())
}

// checkout is an answered HTTP call with most of what a call can have.
func checkout() *traffic.Call {
	return &traffic.Call{
		ID: "local/1f/0", Protocol: traffic.ProtoHTTP, ConnID: 7, FlowID: 3, State: traffic.StateComplete,
		Src: traffic.Endpoint{IP: netip.MustParseAddr("10.1.0.2"), Port: 40000, Workload: traffic.Workload{
			Namespace: "local", Kind: traffic.KindService, Service: "frontend", Pod: "frontend", Node: "local", Labels: map[string]string{"app": "checkout", "tier": "web"}}},
		Dst: traffic.Endpoint{IP: netip.MustParseAddr("10.1.0.3"), Port: 8080, Workload: traffic.Workload{
			Namespace: "local", Kind: traffic.KindService, Service: "payment", Pod: "payment", Node: "local", Build: "abcd"}},
		Start: 1_000_000_000, RequestEnd: 1_001_000_000, ResponseStart: 1_051_000_000, End: 1_120_000_000,
		Method: "POST", Path: "/api/v1/pay", Status: 503, RequestSize: 12, ResponseSize: 34,
		HTTP: &traffic.HTTP{Version: "1.1", Host: "payment", Query: "a=1&b=x%20y&a=2",
			RequestHeaders:  []traffic.Header{{Name: "X-Request-ID", Value: "42"}, {Name: "accept", Value: "a"}, {Name: "Accept", Value: "b"}, {Name: "Cookie", Value: "sid=1; theme=dark"}},
			ResponseHeaders: []traffic.Header{{Name: "Content-Type", Value: "application/json"}, {Name: "Set-Cookie", Value: "sid=2; HttpOnly"}},
			RequestBody:     []byte(`{"cart":1}`), ResponseBody: []byte(`{"error":"busy"}`)},
		Credentials: []traffic.Credential{{Kind: "cookie", Place: "request.header:cookie", Hash: "11223344"}},
		Revision:    "r7", Iteration: "i1", TraceID: "t1",
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	call := filter.Row{Call: checkout()}
	conn := filter.Row{Conn: &traffic.Connection{ID: 7, Proto: "tcp", L7: "http", State: traffic.StateReset, ResetBy: "server", Calls: 2, Opened: true,
		Dst:         traffic.Endpoint{IP: netip.MustParseAddr("93.184.216.34"), Port: 443},
		ClientBytes: 5_000_000, Start: 1, End: 1_000_000_001, HandshakeClientNS: 2_000_000, TCP: &traffic.TCPMetrics{Retransmissions: 2, HandshakeTime: 2500}}}
	unanswered := filter.Row{Call: checkout()}
	unanswered.Call.State, unanswered.Call.Status, unanswered.Call.ResponseStart, unanswered.Call.Error = traffic.StateUnanswered, 0, 0, traffic.ErrorReset
	retried := filter.Row{Call: checkout()}
	retried.Call.Retry = &traffic.Retry{Attempt: 2, Attempts: 3, DelayNS: 50_000_000, Factor: 2}
	cases := []struct {
		name string
		row  filter.Row
		yes  []string
		no   []string
	}{
		{"call", call, []string{
			``, ` // nothing`, `http`, `http and response.status == 503`, `src.pod contains "front"`, `dst.svc=="payment"`, `request.path matches "^/api/v[0-9]+"`,
			`status_class == "5xx"`, `latency == duration("120ms")`, `latency_ms == 120.0 && latency_ms > 119`, `elapsed_time == 120000`, `ttfb == duration("50ms")`,
			`request.headers["x-request-id"] == "42"`, `request.headers["X-REQUEST-ID"] == "42"`, `request.headers.accept == "a, b"`, `"Cookie" in request.headers`,
			`request.headers["Authorization"] == ""`, `!("authorization" in request.headers)`, `has(request.headers.accept)`, `!has(request.headers.authorization)`,
			`size(request.headers) == 3`, `request.headers.exists(k, k == "x-request-id")`, `request.headers.all(k, request.headers[k] != "")`,
			`map_get(request.headers, "nope", "d") == "d"`, `map_get(local_labels, "app", "") == "checkout"`, `"tier" in local_labels`,
			`query_string["a"] == "1" && query_string.b == "x y" && query_string["c"] == ""`, `request.cookies["theme"] == "dark"`, `response.cookies.sid == "2"`,
			`request.body.contains("cart")`, `response.body.contains("busy")`, `"payment" in services && size(namespaces) == 1`, `!egress`, `revision == "r7"`,
			`"cookie" in credentials`, `auth.present && !auth.missing`, `timestamp == timestamp("1970-01-01T00:00:01Z")`, `timestamp < now()`,
			`url == "http://payment/api/v1/pay?a=1&b=x%20y&a=2"`, `has(src.pod.name) && !has(src.dns) && !has(retry.attempts)`, `retry.attempts == 0`,
			`status_code >= 500.0`, `status_code in [502, 503]`, `plaintext`, `request_body_size == 12 && response_body_size == 34`,
			`[{"node": 1}].exists(node, node["node"] == 1)`, `dst.build == "abcd" && !background`,
		}, []string{`dns`, `conn`, `tcp`, `redis`, `grpc && grpc_status != 0`, `status_code < 500`, `timestamp > now() - duration("5m")`, `has(redis_key)`, `mongodb && !mongodb_success`}},
		{"connection", conn, []string{
			`conn`, `tcp_conn && conn_state == "closed"`, `tcp && reset && reset_by == "server"`, `egress`, `reused && opened`, `handshake_rtt == duration("2ms")`,
			`tcp.retransmits == 2`, `tcp.analysis.retransmission == 2`, `tcp.handshake.duration == duration("2500us")`, `flow_local_bps == 5000000`,
			`"http" in conn_l7_detected`, `protocol == "tcp"`, `status_code == 0`, `lifetime == duration("1s")`, `tcp_error_type == "connection_reset"`,
		}, []string{`http`, `udp_conn`, `refused`, `connect_time > duration("0s")`}},
		{"unanswered", unanswered, []string{`!answered`, `error_type == "connection_reset"`, `status_code == 0`, `latency == duration("0s")`, `response.headers["x"] == ""`},
			[]string{`status_code >= 500`, `answered`}},
		{"retried", retried, []string{`retry.attempts == 3 && retry.attempt == 2`, `retry.delay == duration("50ms")`, `retry.backoff_factor >= 1.5`, `has(retry.attempts)`,
			`http.request.resend_count == 1`}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			check := func(src string, want bool) {
				f, err := filter.Compile(src)
				if err != nil {
					t.Errorf("%s: %v", src, err)
					return
				}
				if got, err := f.Match(&c.row); err != nil || got != want {
					t.Errorf("%s: want %v, got %v, %v", src, want, got, err)
				}
			}
			for _, src := range c.yes {
				check(src, true)
			}
			for _, src := range c.no {
				check(src, false)
			}
		})
	}
}

func TestMatchReportsRuntimeErrors(t *testing.T) {
	t.Parallel()
	f, err := filter.Compile(`dns_answers[3] == "x"`)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := f.Match(&filter.Row{Call: checkout()}); ok || err == nil {
		t.Errorf("want an error and no match, got %v, %v", ok, err)
	}
}

func TestNowIsFixed(t *testing.T) {
	t.Parallel()
	f, err := filter.Compile(`timestamp > now() - duration("5m")`, filter.Now(time.Unix(100, 0)))
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := f.Match(&filter.Row{Call: checkout()}); !ok || err != nil {
		t.Errorf("want a match within five minutes of the time given, got %v, %v", ok, err)
	}
}

func TestKind(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]filter.Kind{
		``: filter.Both, `http`: filter.Calls, `dns && dst.port == 53`: filter.Calls, `tls`: filter.Calls, `conn`: filter.Connections,
		`tcp_conn && dst.service.name == "payment"`: filter.Connections, `dst.service.name == "payment"`: filter.Both, `egress`: filter.Both,
		`status_code >= 500`: filter.Calls, `handshake_rtt > duration("1ms")`: filter.Connections, `http && handshake_rtt > duration("1ms")`: filter.Calls,
		`path == ""`: filter.Calls, `!http && src.name == "a"`: filter.Both, `http && conn`: 0, `postgresql`: filter.Calls, `tcp_flow && flow_local_bps > 1`: filter.Connections,
		`http || tcp_conn`: filter.Both, `dst.name == "a" && latency > duration("1s")`: filter.Calls,
	} {
		f, err := filter.Compile(src)
		if err != nil {
			t.Error(err)
			continue
		}
		if f.Kind() != want {
			t.Errorf("%s: want %v, got %v", src, want, f.Kind())
		}
	}
}

func TestCould(t *testing.T) {
	t.Parallel()
	cart := &traffic.Endpoint{IP: netip.MustParseAddr("10.0.0.1"), Workload: traffic.Workload{Service: "cart", Namespace: "local"}}
	payment := &traffic.Endpoint{IP: netip.MustParseAddr("10.0.0.2"), Port: 8080, Workload: traffic.Workload{Service: "payment", Namespace: "local"}}
	nobody := &traffic.Endpoint{IP: netip.MustParseAddr("10.0.0.3")}
	cases := []struct {
		src   string
		from  *traffic.Endpoint
		to    *traffic.Endpoint
		proto string
		want  bool
	}{
		{`http && dst.service.name == "payment"`, cart, payment, "http", true},
		{`http && dst.service.name == "payment"`, cart, payment, "unknown", true},
		{`http && dst.service.name == "payment"`, cart, payment, "tls", true},
		{`http && dst.service.name == "payment"`, cart, payment, "other", false},
		{`http && dst.service.name == "payment"`, cart, payment, "dns", false},
		{`http && dst.service.name == "payment"`, cart, payment, "udp", false},
		{`http && dst.service.name == "payment"`, payment, cart, "http", false},
		{`http && dst.service.name == "payment"`, cart, nobody, "http", true},
		{`http && dst.service.name == "payment"`, nil, nil, "", true},
		{`http && dst.service.name == "payment" && status_code >= 500`, cart, payment, "", true},
		{`dst.ip == "10.0.0.3"`, cart, nobody, "", true},
		{`dst.ip == "10.0.0.4"`, cart, nobody, "", false},
		{`dst.port == 8080`, cart, payment, "", true},
		{`src.port == 8080`, cart, payment, "", true},
		{`egress`, cart, payment, "", false},
		{`egress`, cart, nobody, "", true},
		{`tcp_conn && src.name == "cart"`, cart, payment, "http", true},
		{`tcp_conn && src.name == "cart"`, cart, payment, "udp", false},
		{`redis && src.name == "cart"`, cart, payment, "http", false},
		{`redis && src.name == "cart"`, cart, payment, "other", false},
		{`redis && src.name == "cart"`, cart, payment, "redis", true},
		{`redis && redis_key == "x"`, cart, payment, "dns", false},
		{`http && src.name == "cart"`, cart, payment, "redis", false},
		{`redis && src.name == "cart"`, cart, payment, "tls", true},
		{`redis && src.name == "cart"`, cart, payment, "unknown", true},
		{`postgresql && src.name == "cart"`, cart, payment, "http", false},
		{`postgresql && src.name == "cart"`, cart, payment, "redis", false},
		{`postgresql && src.name == "cart"`, cart, payment, "other", false},
		{`postgresql && src.name == "cart"`, cart, payment, "udp", false},
		{`postgresql && src.name == "cart"`, cart, payment, "postgresql", true},
		{`postgresql && src.name == "cart"`, cart, payment, "tls", true},
		{`postgresql && postgresql_rows > 5`, cart, payment, "tcp", true},
		{`http && src.name == "cart"`, cart, payment, "postgresql", false},
		{`tls && src.name == "cart"`, cart, payment, "postgresql", false},
		{`udp_conn && src.name == "cart"`, cart, payment, "postgresql", false},
		{`!postgresql && src.name == "cart" && !conn`, cart, payment, "postgresql", false},
		{`kafka && src.name == "cart"`, cart, payment, "other", true},
		{`"local" in namespaces`, cart, payment, "", true},
		{`"prod" in namespaces`, cart, payment, "", false},
		{`dns_answers[9] == "x" && src.name == "payment"`, cart, payment, "dns", false},
		{``, cart, payment, "http", true},
	}
	for _, c := range cases {
		f, err := filter.Compile(c.src)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := f.Could(c.from, c.to, c.proto); got != c.want {
			t.Errorf("%s: from %v to %v over %q: want %v, got %v", c.src, c.from, c.to, c.proto, c.want, got)
		}
	}
}

func TestMayBe(t *testing.T) {
	t.Parallel()
	for src, want := range map[string][]string{
		`http`: {"http"}, `dns`: {"dns"}, `tls`: {"tls"}, `http || dns`: {"http", "dns"}, ``: {"http", "dns", "tls"}, `dst.name == "a"`: {"http", "dns", "tls"},
	} {
		f, err := filter.Compile(src)
		if err != nil {
			t.Error(err)
			continue
		}
		var got []string
		for _, l7 := range []string{"http", "dns", "tls"} {
			if f.MayBe(l7) && !(l7 == "tls" && src != `tls` && !strings.Contains(fmt.Sprint(want), "tls")) { // behind TLS could be anything
				got = append(got, l7)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", src, diff)
		}
	}
}

// TestCompileTogether: filters that are right, that are wrong and that have scopes of their own are compiled at the same time, as the
// daemon's clients do. The race detector sees what is shared.
func TestCompileTogether(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 20 {
				name := fmt.Sprintf("status_cod%d", i)
				if _, err := filter.Compile(name + " >= 500"); err == nil || !strings.Contains(err.Error(), name) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
		wg.Go(func() {
			for range 20 {
				if _, err := filter.Compile(`request.headers.exists(k, k == "a")`); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
