package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/internal/buildinfo"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/internal/daemon"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// served is a daemon on TCP whose workspace has one snapshot, "shop", of captures of HTTP, gRPC, PostgreSQL and Redis.
type served struct {
	t          *testing.T
	workspace  string
	url, token string
}

func serve(t *testing.T) *served {
	t.Helper()
	runtime, err := os.MkdirTemp("", "run") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(runtime) })
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	workspace, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(workspace, "devloop.yaml"), []byte("version: 1\nservices:\n  cart:\n    command: ./cart\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sealCaptures(t, workspace, "shop", "http2", "grpc", "real_client", "postgresql", "redis")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Options{Workspace: workspace, Version: buildinfo.ID(), Listen: "127.0.0.1:0"})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the daemon ended with %v", err)
		}
	})
	socket, err := control.SocketPath(workspace)
	if err != nil {
		t.Fatal(err)
	}
	c := control.NewClient(socket)
	st, err := c.Status(ctx)
	for end := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(end); st, err = c.Status(ctx) {
		select {
		case err := <-ended:
			ended <- err
			t.Fatal(err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	file, err := control.TokenPath(workspace)
	if err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return &served{t, workspace, st.URL, strings.TrimSpace(string(token))}
}

// sealCaptures makes a snapshot of captures of dissect/testdata, and dissects it.
func sealCaptures(t *testing.T, workspace, id string, names ...string) {
	t.Helper()
	s, err := store.Open(filepath.Join(workspace, store.Folder), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	recorder, err := capture.NewRecorder(s.RingDir(), capture.RecorderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer recorder.Close()
	var start, end int64
	for i, name := range names {
		r, err := pcapfile.Open(filepath.Join("..", "..", "dissect", "testdata", name, "input.pcapng"))
		if err != nil {
			t.Fatal(err)
		}
		ifc := &traffic.Interface{Index: i, Name: name, Link: traffic.LinkEthernet}
		for {
			var p traffic.Packet
			err := r.Next(&p)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if start == 0 || p.Time < start {
				start = p.Time
			}
			end = max(end, p.Time+1)
			ifc.Link = p.Link
			p.Interface, p.Direction = i, traffic.DirectionUnknown
			if err := recorder.Write(&p, ifc); err != nil {
				t.Fatal(err)
			}
		}
		r.Close()
	}
	segment, err := recorder.Rotate(capture.Stats{})
	if err != nil {
		t.Fatal(err)
	}
	sn, err := s.Seal(t.Context(), store.SealRequest{ID: id, Segments: []capture.Segment{segment}, WindowStart: start, WindowEnd: end, Source: "file"})
	if err != nil {
		t.Fatal(err)
	}
	defer sn.Close()
	d, err := sn.Dissect(t.Context(), dissect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := sn.WriteDissectionAs(t.Context(), store.DefaultDissection, d); err != nil {
		t.Fatal(err)
	}
	if len(d.Calls) < 20 {
		t.Fatalf("%d calls are too few to compare", len(d.Calls))
	}
}

// rest asks a route.
func (d *served) rest(verb, route string, values url.Values, body any) (int, any) {
	d.t.Helper()
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			d.t.Fatal(err)
		}
	}
	r, err := http.NewRequest(verb, d.url+route+"?"+values.Encode(), &b)
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+d.token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		d.t.Fatalf("%s %s: %s: %v", verb, route, resp.Status, err)
	}
	return resp.StatusCode, answer
}

// bearer sends a token with every request.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// session is an MCP client over streamable HTTP.
func (d *served) session() *mcp.ClientSession {
	d.t.Helper()
	transport := &mcp.StreamableClientTransport{Endpoint: d.url + "/mcp?toolsets=all", HTTPClient: &http.Client{Transport: bearer(d.token)}}
	s, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(d.t.Context(), transport, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { s.Close() })
	return s
}

// typed is `devloop … -o json` at the daemon's URL.
func (d *served) typed(args ...string) any {
	d.t.Helper()
	var out bytes.Buffer
	r := &root{out: &out, err: io.Discard}
	err := r.command(d.t.Context(), append(args, "--url", d.url, "--token", d.token, "-o", "json"))
	var answer any
	if err == nil {
		err = json.Unmarshal(out.Bytes(), &answer)
	}
	if err != nil {
		d.t.Fatalf("devloop %s: %v\n%s", strings.Join(args, " "), err, out.String())
	}
	return answer
}

// TestFacesSayTheSame asks each question as an MCP tool, as a tool over plain HTTP, by its REST route and, where it has one, by
// its command: all answer the same JSON.
func TestFacesSayTheSame(t *testing.T) {
	d := serve(t)
	session := d.session()
	doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join("..", "..", "docs", "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		tool      string
		arguments map[string]any
		verb      string // GET without
		route     string
		inPath    string // the argument that the route's path has
		command   []string
	}{
		{tool: "list_api_calls", arguments: map[string]any{"snapshot_id": "shop", "limit": 5}, route: "/mcp/calls", command: []string{"calls", "--iteration", "shop", "--limit", "5"}},
		{tool: "list_api_calls", arguments: map[string]any{"db": "shop/dissection", "kfl": `http && status_code >= 200`, "format": "full", "limit": 7, "order": "oldest"}, route: "/mcp/calls",
			command: []string{"calls", "--db", "shop/dissection", "--full", "--limit", "7", "--order", "oldest", `http && status_code >= 200`}},
		{tool: "list_api_calls", arguments: map[string]any{"snapshot_id": "shop", "kfl": `redis and redis_type == "GET"`, "format": "raw", "limit": 3}, route: "/api/mcp/calls"},
		{tool: "list_api_calls", arguments: map[string]any{"snapshot_id": "shop", "kfl": `method == "NOSUCH"`}, route: "/mcp/calls"},
		{tool: "get_api_stats", arguments: map[string]any{"snapshot_id": "shop", "group_by": "endpoint", "bucket_ms": 60000}, route: "/mcp/stats",
			command: []string{"stats", "--iteration", "shop", "--by", "endpoint", "--bucket-ms", "60000"}},
		{tool: "get_call_tree", arguments: map[string]any{"snapshot_id": "shop"}, route: "/mcp/tree"},
		{tool: "list_l4_flows", arguments: map[string]any{"snapshot_id": "shop", "format": "full"}, route: "/mcp/flows"},
		{tool: "list_l4_flows", arguments: map[string]any{"snapshot_id": "shop", "aggregate": "service"}, route: "/mcp/flows", command: []string{"flows", "--iteration", "shop", "--by", "service"}},
		{tool: "get_l4_flow_summary", arguments: map[string]any{"snapshot_id": "shop"}, route: "/mcp/flows/summary"},
		{tool: "get_service_map", arguments: map[string]any{"snapshot_id": "shop"}, route: "/mcp/map", command: []string{"map", "--iteration", "shop"}},
		{tool: "list_workloads", arguments: map[string]any{"snapshot_id": "shop", "namespaces": []any{"a", "b"}, "labels": map[string]any{"app": "cart", "tier": "x"}}, route: "/mcp/workloads"},
		{tool: "list_workloads", arguments: map[string]any{"snapshot_id": "shop"}, route: "/mcp/resolve/workloads"},
		{tool: "list_ips", arguments: map[string]any{"snapshot_id": "shop"}, route: "/mcp/resolve/ips"},
		{tool: "apply_filter", arguments: map[string]any{"kfl": "http and response.status == 500"}, verb: "POST", route: "/mcp/filters"},
		{tool: "find_errors", arguments: map[string]any{"snapshot_id": "shop"}, route: "/mcp/errors", command: []string{"errors", "--iteration", "shop"}},
		{tool: "list_retries", arguments: map[string]any{"snapshot_id": "shop"}, route: "/mcp/retries", command: []string{"retries", "--iteration", "shop"}},
		{tool: "list_connections", arguments: map[string]any{"snapshot_id": "shop", "bucket_ms": 60000, "kfl": "redis || http"}, route: "/mcp/connections",
			command: []string{"connections", "--iteration", "shop", "--bucket-ms", "60000", "redis || http"}},
		{tool: "list_egress", arguments: map[string]any{"snapshot_id": "shop", "allow": []any{"10.0.0.0/8", "x:443"}}, route: "/mcp/egress",
			command: []string{"egress", "--iteration", "shop", "--allow", "10.0.0.0/8,x:443"}},
		{tool: "list_events", arguments: map[string]any{"snapshot_id": "shop"}, route: "/mcp/events", command: []string{"events", "--iteration", "shop"}},
		{tool: "correlate", arguments: map[string]any{"snapshot_id": "shop", "x": "latency", "y": "response_body_size"}, route: "/mcp/correlate",
			command: []string{"correlate", "--iteration", "shop", "latency", "response_body_size"}},
		{tool: "find_sensitive_data", arguments: map[string]any{"snapshot_id": "shop", "calls": true}, route: "/mcp/sensitive", command: []string{"sensitive", "--iteration", "shop", "--calls"}},
		{tool: "compare_traffic", arguments: map[string]any{"a": map[string]any{"snapshot_id": "shop"}, "b": map[string]any{"db": "shop/dissection"}}, verb: "POST", route: "/mcp/compare"},
		{tool: "compare_traffic", arguments: map[string]any{"a": map[string]any{"snapshot_id": "shop"}, "b": map[string]any{"snapshot_id": "shop"}}, route: "/mcp/compare",
			command: []string{"compare", "shop", "shop"}},
		{tool: "checks_suggest", arguments: map[string]any{"db": "shop", "limit": 5}, route: "/mcp/checks/suggest", command: []string{"suggest", "--db", "shop", "--limit", "5"}},
		{tool: "list_snapshots", route: "/mcp/snapshots"},
		{tool: "get_snapshot", arguments: map[string]any{"name": "shop", "verify": true}, route: "/mcp/snapshots/", inPath: "name"},
		{tool: "list_databases", route: "/mcp/databases"},
		{tool: "get_data_boundaries", route: "/mcp/data-boundaries"},
		{tool: "get_l7_data_boundaries", route: "/mcp/l7-data-boundaries"},
		{tool: "list_snapshot_dissections", arguments: map[string]any{"snapshot_id": "shop"}, route: "/mcp/dissections"},
	} {
		t.Run(tt.tool, func(t *testing.T) {
			d.t = t
			result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: tt.tool, Arguments: tt.arguments})
			if err != nil || result.IsError {
				t.Fatalf("%s, %v", said(result), err)
			}
			want := normal(t, result.StructuredContent)
			if status, got := d.rest("POST", "/mcp/tools/call", nil, map[string]any{"name": tt.tool, "arguments": tt.arguments}); status != 200 || cmp.Diff(want, normal(t, got)) != "" {
				t.Errorf("over plain HTTP: %d (-mcp +http)\n%s", status, cmp.Diff(want, normal(t, got)))
			}
			route, values, body := tt.route, url.Values{}, any(nil)
			if tt.verb == "POST" {
				body = tt.arguments
			} else {
				inURL(values, "", tt.arguments)
				if tt.inPath != "" {
					route += url.PathEscape(values.Get(tt.inPath))
					values.Del(tt.inPath)
				}
			}
			status, got := d.rest(firstOf(tt.verb, "GET"), route, values, body)
			if diff := cmp.Diff(want, normal(t, got)); status != 200 || diff != "" {
				t.Errorf("%s: %d (-mcp +rest)\n%s", route, status, diff)
			}
			template := strings.TrimPrefix(tt.route, "/api")
			if tt.inPath != "" {
				template += "{" + tt.inPath + "}"
			}
			described := doc.Paths.Value(template).GetOperation(firstOf(tt.verb, "GET")).Responses.Status(200).Value.Content["application/json"].Schema
			if err := described.Value.VisitJSON(got, openapi3.EnableJSONSchema2020()); err != nil {
				t.Errorf("the answer of %s is not as docs/openapi.json has it: %v", template, err)
			}
			if len(tt.command) > 0 {
				if diff := cmp.Diff(want, normal(t, d.typed(tt.command...))); diff != "" {
					t.Errorf("devloop %s (-mcp +cli)\n%s", strings.Join(tt.command, " "), diff)
				}
			}
		})
	}
	d.t = t
	d.details(t, session)
}

// details asks for one call, whose id has slashes in it.
func (d *served) details(t *testing.T, session *mcp.ClientSession) {
	_, answer := d.rest("GET", "/mcp/calls", url.Values{"snapshot_id": {"shop"}, "kfl": {"http"}, "limit": {"1"}}, nil)
	id, _ := answer.(map[string]any)["calls"].([]any)[0].(map[string]any)["id"].(string)
	if !strings.Contains(id, "/") {
		t.Fatalf("the id %q is none with slashes", id)
	}
	result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "get_api_call_details", Arguments: map[string]any{"id": id, "snapshot_id": "shop", "include_pcap": true}})
	if err != nil || result.IsError {
		t.Fatalf("%+v, %v", result, err)
	}
	want := normal(t, result.StructuredContent)
	more := url.Values{"snapshot_id": {"shop"}, "include_pcap": {""}}
	for _, route := range []string{"/mcp/calls/" + id, "/mcp/calls/" + url.PathEscape(id)} {
		if status, got := d.rest("GET", route, more, nil); status != 200 || cmp.Diff(want, normal(t, got)) != "" {
			t.Errorf("%s: %d\n%s", route, status, cmp.Diff(want, normal(t, got)))
		}
	}
	_, got := d.rest("POST", "/mcp/tools/get_api_call_details", nil, map[string]any{"id": id, "snapshot_id": "shop", "include_pcap": true})
	if diff := cmp.Diff(want, normal(t, got)); diff != "" {
		t.Errorf("posted: %s", diff)
	}
}

// said is the text of a tool's answer.
func said(r *mcp.CallToolResult) string {
	var b strings.Builder
	for _, c := range r.Content {
		if text, ok := c.(*mcp.TextContent); ok {
			b.WriteString(text.Text)
		}
	}
	return b.String()
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// inURL writes arguments as a URL has them.
func inURL(values url.Values, prefix string, arguments map[string]any) {
	for name, v := range arguments {
		switch v := v.(type) {
		case map[string]any:
			if name == "labels" {
				var pairs []string
				for k, label := range v {
					pairs = append(pairs, k+"="+label.(string))
				}
				values.Set(prefix+name, strings.Join(pairs, ","))
				continue
			}
			inURL(values, prefix+name+".", v)
		case []any:
			for _, item := range v {
				values.Add(prefix+name, item.(string))
			}
		case string:
			values.Set(prefix+name, v)
		default:
			b, _ := json.Marshal(v) // a number or a bool
			values.Set(prefix+name, string(b))
		}
	}
}

// normal is a value as JSON reads it back.
func normal(t *testing.T, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var n any
	if err := json.Unmarshal(b, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestBadQuestionsOverREST: each gets a status of its own, a sentence that says what is wrong, and what to ask instead.
func TestBadQuestionsOverREST(t *testing.T) {
	d := serve(t)
	_, answer := d.rest("GET", "/mcp/calls", url.Values{"snapshot_id": {"shop"}, "limit": {"2"}}, nil)
	cursor, _ := answer.(map[string]any)["cursor"].(string)
	if cursor == "" {
		t.Fatal("no cursor")
	}
	for _, tt := range []struct {
		verb, route string
		values      url.Values
		body        any
		says        string
	}{
		{"GET", "/mcp/calls", url.Values{"snapshot_id": {"nosuch"}}, nil, "nosuch"},
		{"GET", "/mcp/calls", url.Values{"db": {"shop/nosuch"}}, nil, "nosuch"},
		{"GET", "/mcp/calls", url.Values{"snapshot_id": {"shop"}, "start": {"5"}, "end": {"4"}}, nil, "end"},
		{"GET", "/mcp/calls", url.Values{"snapshot_id": {"shop"}, "limit": {"abc"}}, nil, `"abc" is no whole number`},
		{"GET", "/mcp/calls", url.Values{"snapshot_id": {"shop"}, "format": {"xml"}}, nil, "xml"},
		{"GET", "/mcp/calls", url.Values{"snapshot_id": {"shop"}, "kfl": {"htp"}}, nil, "htp"},
		{"GET", "/mcp/calls", url.Values{"snapshot_id": {"shop"}, "cursor": {cursor}, "kfl": {"dns"}}, nil, "cursor"},
		{"GET", "/mcp/calls", url.Values{"snapshot_id": {"shop"}, "cursor": {"nonsense"}}, nil, "cursor"},
		{"GET", "/mcp/calls/othernode/1/0", url.Values{"snapshot_id": {"shop"}}, nil, "othernode"},
		{"GET", "/mcp/calls/..%2F..%2Fkey", nil, nil, "is no id"},
		{"GET", "/mcp/snapshots/..%2F..%2Fetc", nil, nil, "is no name"},
		{"GET", "/mcp/snapshots/a%5Cb", nil, nil, "is no name"},
		{"GET", "/mcp/snapshots/a%00b", nil, nil, "is no name"},
		{"DELETE", "/mcp/snapshots/..%2Fshop", nil, nil, "is no name"},
		{"DELETE", "/mcp/snapshots/nosuch", nil, nil, "nosuch"},
		{"GET", "/mcp/files/..%2Fkey", nil, nil, "is no path"},
		{"GET", "/mcp/files/.key", nil, nil, "no file in the folder for exports"},
		{"GET", "/mcp/snapshots/shop/pcap", url.Values{"bpf_filter": {"prt 80"}}, nil, "prt"},
		{"GET", "/mcp/snapshots/shop/pcap", url.Values{"file": {"../x.pcapng"}}, nil, "x.pcapng"},
		{"POST", "/mcp/filters", nil, map[string]any{"kfl": 5}, "kfl is a number, want text"},
		{"POST", "/mcp/compare", nil, map[string]any{"a": "shop", "b": map[string]any{}}, "a is text, want an object"},
		{"POST", "/mcp/compare", nil, map[string]any{"a": map[string]any{"snapshot": "shop"}}, `no parameter "a.snapshot"`},
		{"POST", "/mcp/tools/call", nil, map[string]any{"name": "list_api_calls", "arguments": map[string]any{"limit": "many"}}, "limit"},
		{"POST", "/mcp/tools/call", nil, map[string]any{"arguments": map[string]any{}}, "the body is not"},
		{"POST", "/delayed_dissection.DelayedDissection/Start", nil, map[string]any{"snapshot_name": "nosuch"}, "nosuch"},
	} {
		status, answer := d.rest(tt.verb, tt.route, tt.values, tt.body)
		b, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		want := http.StatusBadRequest
		if tt.says == "nosuch" || tt.says == "othernode" {
			want = http.StatusNotFound
		}
		if status != want || !strings.Contains(string(b), strings.ReplaceAll(tt.says, `"`, `\"`)) {
			t.Errorf("%s %s?%s: %d %s, want %q", tt.verb, tt.route, tt.values.Encode(), status, b, tt.says)
		}
		if strings.HasPrefix(tt.route, "/delayed") != strings.Contains(string(b), `"message":`) {
			t.Errorf("%s: %s", tt.route, b)
		}
	}
}

// TestPacketsOverREST: a capture file comes whole, in the asked form, and leaves nothing behind.
func TestPacketsOverREST(t *testing.T) {
	d := serve(t)
	for format, magic := range map[string]string{"": "\x0a\x0d\x0d\x0a", "pcapng": "\x0a\x0d\x0d\x0a", "pcap": "\x4d\x3c\xb2\xa1"} {
		values := url.Values{"bpf_filter": {"tcp port 6379"}}
		if format != "" {
			values.Set("format", format)
		}
		r, err := http.NewRequest("GET", d.url+"/mcp/snapshots/shop/pcap?"+values.Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+d.token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !bytes.HasPrefix(b, []byte(magic)) {
			t.Errorf("%q: %s %.40q %v", format, resp.Status, b, err)
		}
		if !strings.Contains(resp.Header.Get("Content-Disposition"), "attachment") {
			t.Errorf("%q: %v", format, resp.Header)
		}
		packets := 0
		reader := pcapfile.NewReader(bytes.NewReader(b))
		for p := new(traffic.Packet); reader.Next(p) == nil; packets++ {
		}
		if packets == 0 {
			t.Errorf("%q: no packets in %d bytes", format, len(b))
		}
	}
	if left, _ := filepath.Glob(filepath.Join(d.workspace, store.Folder, store.ExportsName, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
