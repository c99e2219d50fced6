package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// rowsAnswer is what a daemon answers to list_api_calls, with n calls.
func rowsAnswer(n int) string {
	var rows []string
	for i := range n {
		rows = append(rows, fmt.Sprintf(`{"id": "local/1p0tp24n3uh/%d", "ts": %d, "src": {"ip": "10.77.0.%d", "port": %d, "svc": "frontend", "ns": "shop", "pod": "frontend-7d9c-x", "node": "local"}, "dst": {"ip": "10.77.0.9", "port": 8080, "svc": "catalogue", "ns": "shop", "pod": "catalogue-5b-z", "node": "local"}, "proto": "http", "method": "GET", "path": "/products/%d", "status": 200, "latency_ms": %d.25}`,
			i, 1763719200000+i, i%200, 40000+i, i, i%90))
	}
	return fmt.Sprintf(`{"result": {"calls": [%s], "total": %d, "truncated": true, "db": "live", "start_ts": 1763719100000, "end_ts": 1763719200000}}`, strings.Join(rows, ","), n)
}

// TestTextIsShort: the table of an answer costs at most half of what the same rows cost as JSON.
func TestTextIsShort(t *testing.T) {
	daemon := daemonOf(t, map[string]string{"list_api_calls": rowsAnswer(100)}, new(strings.Builder))
	client := connect(t, Options{Toolsets: []string{"traffic"}, Connect: func(context.Context) (*control.Client, error) { return daemon, nil }})
	r, err := client.CallTool(t.Context(), &mcp.CallToolParams{Name: "list_api_calls"})
	if err != nil || r.IsError {
		t.Fatal(r, err)
	}
	b, err := json.Marshal(r.StructuredContent)
	if err != nil {
		t.Fatal(err)
	}
	text := r.Content[0].(*mcp.TextContent).Text
	t.Logf("100 calls: %d bytes as a table, %d as JSON", len(text), len(b))
	if len(text)*2 > len(b) {
		t.Errorf("the table has %d bytes, the JSON %d", len(text), len(b))
	}
}

// BenchmarkToolCall is what a tool call costs beyond the daemon's answer, over a pair of streams as stdio has it; p50-ms is the
// median, and bare-p50-ms that of a server that does nothing but answer as much, asked in turns: on a busy machine their difference tells
// more.
func BenchmarkToolCall(b *testing.B) {
	daemon := daemonOf(b, map[string]string{"list_api_calls": rowsAnswer(20)}, new(strings.Builder))
	ours := overStreams(b, func(in io.ReadCloser, out io.WriteCloser) error {
		return Serve(context.Background(), Options{Toolsets: []string{"traffic"}, Connect: func(context.Context) (*control.Client, error) { return daemon, nil }}, in, out)
	})
	var rows any
	if err := json.Unmarshal([]byte(rowsAnswer(20)), &rows); err != nil {
		b.Fatal(err)
	}
	bare := overStreams(b, func(in io.ReadCloser, out io.WriteCloser) error {
		s := mcp.NewServer(&mcp.Implementation{Name: "bare"}, nil)
		s.AddTool(&mcp.Tool{Name: "list_api_calls", InputSchema: map[string]any{"type": "object"}}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return &mcp.CallToolResult{StructuredContent: rows, Content: []mcp.Content{&mcp.TextContent{Text: strings.Repeat("a call ", 300)}}}, nil
		})
		return s.Run(context.Background(), &mcp.IOTransport{Reader: in, Writer: out})
	})
	took := map[*mcp.ClientSession][]time.Duration{}
	for b.Loop() {
		for _, client := range []*mcp.ClientSession{ours, bare} {
			began := time.Now()
			if r, err := client.CallTool(b.Context(), &mcp.CallToolParams{Name: "list_api_calls"}); err != nil || r.IsError {
				b.Fatal(r, err)
			}
			took[client] = append(took[client], time.Since(began))
		}
	}
	for client, name := range map[*mcp.ClientSession]string{ours: "p50-ms", bare: "bare-p50-ms"} {
		slices.Sort(took[client])
		b.ReportMetric(float64(took[client][len(took[client])/2].Microseconds())/1e3, name)
	}
}

// overStreams is a client of a server that serves a pair of streams until the test ends.
func overStreams(b *testing.B, serve func(in io.ReadCloser, out io.WriteCloser) error) *mcp.ClientSession {
	b.Helper()
	in, toServer := io.Pipe()
	fromServer, out := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- serve(in, out) }()
	client, err := mcp.NewClient(&mcp.Implementation{Name: "bench"}, nil).Connect(b.Context(), &mcp.IOTransport{Reader: fromServer, Writer: toServer}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		client.Close()
		out.Close()
		<-served
	})
	return client
}
