package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// served is the URL of a handler over a daemon with fixed answers.
func served(t *testing.T, o Options, answers map[string]string) string {
	t.Helper()
	if o.Connect == nil {
		daemon := daemonOf(t, answers, new(strings.Builder))
		o.Connect = func(context.Context) (*control.Client, error) { return daemon, nil }
	}
	h, err := Handler(o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

var fixedAnswers = map[string]string{
	"status":         `{"result": {"workspace": "/w", "running": true, "source": "tap", "phase": "idle", "services": [{"name": "cart", "kind": "service", "state": "running"}], "exercises": ["rush"], "checks": []}}`,
	"list_api_calls": `{"result": {"calls": [{"id": "n/1/0", "ts": 1763719200000, "src": {"svc": "frontend"}, "dst": {"svc": "cart", "ns": "shop"}, "proto": "http", "method": "GET", "path": "/cart", "status": 200, "latency_ms": 1.5}], "total": 1, "truncated": false, "db": "live", "start_ts": 1763719100000, "end_ts": 1763719200000}}`,
	"list_workloads": `{"result": {"workloads": [{"name": "cart", "namespace": "", "kind": "service", "ips": []}], "total": 1, "db": "live", "start_ts": 0, "end_ts": 0}}`,
}

// rpc posts one message as a client of a revision does.
func rpc(t *testing.T, url, version, session, message string) (answer map[string]any, response *http.Response) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if version != "" {
		r.Header.Set("MCP-Protocol-Version", version)
	}
	if session != "" {
		r.Header.Set("Mcp-Session-Id", session)
	}
	var m struct {
		Method string
		Params struct{ Name, URI string }
	}
	if json.Unmarshal([]byte(message), &m) == nil && version >= tasksSince {
		r.Header.Set("Mcp-Method", m.Method)
		if name := m.Params.Name + m.Params.URI; name != "" {
			r.Header.Set("Mcp-Name", name)
		}
	}
	response, err = http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(body) {
		line = bytes.TrimPrefix(line, []byte("data: "))
		var a map[string]any
		if json.Unmarshal(line, &a) == nil && a["id"] != nil {
			answer = a
		}
	}
	if answer == nil {
		answer = map[string]any{"body": string(body)}
	}
	return answer, response
}

// TestEveryRevisionBehindOneURL: clients of all revisions from 2024-11-05 on get what they asked for at the same address.
func TestEveryRevisionBehindOneURL(t *testing.T) {
	url := served(t, Options{Toolsets: []string{"traffic"}}, fixedAnswers)
	for _, version := range []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"} {
		a, r := rpc(t, url, "", "", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":%q,"capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`, version))
		result, _ := a["result"].(map[string]any)
		session := r.Header.Get("Mcp-Session-Id")
		if result["protocolVersion"] != version || session == "" {
			t.Fatalf("initialize of %s: %v, session %q", version, a, session)
		}
		rpc(t, url, version, session, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
		a, _ = rpc(t, url, version, session, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"list_api_calls","arguments":{}}}`)
		if result, _ = a["result"].(map[string]any); result["structuredContent"] == nil {
			t.Errorf("a call of %s: %v", version, a)
		}
	}
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"}}`
	a, r := rpc(t, url, "2026-07-28", "", `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{`+meta+`}}`)
	result, _ := a["result"].(map[string]any)
	if versions := fmt.Sprint(result["supportedVersions"]); !strings.Contains(versions, "2026-07-28") || r.Header.Get("Mcp-Session-Id") != "" {
		t.Errorf("discover: %v", a)
	}
	if !strings.Contains(fmt.Sprint(result["capabilities"]), tasksExtension) {
		t.Errorf("the extension is not declared: %v", result["capabilities"])
	}
	a, _ = rpc(t, url, "2026-07-28", "", `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"list_api_calls","arguments":{},`+meta+`}}`)
	if result, _ = a["result"].(map[string]any); result["structuredContent"] == nil || result["resultType"] != "complete" {
		t.Errorf("a call without a session: %v", a)
	}
}

// TestStrangersAreRefused: other origins, and other names for this machine, reach no tool.
func TestStrangersAreRefused(t *testing.T) {
	url := served(t, Options{}, fixedAnswers)
	for name, set := range map[string]func(*http.Request){
		"cross-origin": func(r *http.Request) {
			r.Header.Set("Origin", "http://evil.example")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		},
		"DNS rebinding": func(r *http.Request) { r.Host = "evil.example" },
	} {
		for _, version := range []string{"", "2026-07-28"} {
			r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Accept", "application/json, text/event-stream")
			r.Header.Set("MCP-Protocol-Version", version)
			set(r)
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != http.StatusForbidden {
				t.Errorf("%s, revision %q: %s", name, version, answer.Status)
			}
		}
	}
	big, r := rpc(t, url, "", "", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"`+strings.Repeat("x", 10<<20)+`"}}`)
	if r.StatusCode != http.StatusRequestEntityTooLarge && r.StatusCode != http.StatusBadRequest {
		t.Errorf("10 MB: %s %v", r.Status, big)
	}
}

// TestClientOverHTTP is the library's own client, which begins with the newest revision.
func TestClientOverHTTP(t *testing.T) {
	url := served(t, Options{Toolsets: []string{"traffic"}}, fixedAnswers)
	session, err := mcp.NewClient(&mcp.Implementation{Name: "c"}, nil).Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: url}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "list_api_calls"})
	if err != nil || result.IsError {
		t.Fatal(result, err)
	}
	text := result.Content[0].(*mcp.TextContent).Text
	for _, want := range []string{"1 of 1 calls", "n/1/0|10:00:00.000|frontend|shop/cart|http|GET|/cart|200|1.5", "untrusted data", "<untrusted-"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the text:\n%s", want, text)
		}
	}
}
