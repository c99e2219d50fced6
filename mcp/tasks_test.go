package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// slowDaemon answers "run" once it is let go, and says whether its client went away.
func slowDaemon(t *testing.T, letGo, gone chan struct{}) *control.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		fmt.Fprintln(w, `{"iteration": {"id": "i7", "phase": "build", "state": "running"}}`)
		http.NewResponseController(w).Flush()
		select {
		case <-letGo:
			io.WriteString(w, `{"result": {"id": "i7", "state": "done", "verdict": "pass"}}`)
		case <-r.Context().Done():
			close(gone)
		}
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return control.NewClient(socket)
}

const withTasks = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}`

// tasksServer is a server whose long calls become tasks at once.
func tasksServer(t *testing.T, daemon *control.Client) string {
	t.Helper()
	f, err := newFace(Options{Connect: func(context.Context) (*control.Client, error) { return daemon, nil }})
	if err != nil {
		t.Fatal(err)
	}
	f.tasks.grace = time.Millisecond
	s := httptest.NewServer(f.handler())
	t.Cleanup(func() { s.Close(); f.close() })
	return s.URL
}

func taskOf(t *testing.T, url, method, id string) map[string]any {
	t.Helper()
	a, _ := rpc(t, url, "2026-07-28", "", fmt.Sprintf(`{"jsonrpc":"2.0","id":9,"method":%q,"params":{"taskId":%q,%s}}`, method, id, withTasks))
	result, ok := a["result"].(map[string]any)
	if !ok {
		t.Fatalf("%s: %v", method, a)
	}
	return result
}

// until polls a task as a client does.
func until(t *testing.T, url, id string, done func(map[string]any) bool) map[string]any {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		state := taskOf(t, url, "tasks/get", id)
		if done(state) {
			return state
		}
		if time.Now().After(deadline) {
			t.Fatalf("the task stays %v", state)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

const runCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"loop_run","arguments":{},` + withTasks + `}}`

// TestLongCallIsATask: a client that declares the extension gets a handle, progress as the task's message, and the result.
func TestLongCallIsATask(t *testing.T) {
	letGo := make(chan struct{})
	url := tasksServer(t, slowDaemon(t, letGo, make(chan struct{})))
	a, _ := rpc(t, url, "2026-07-28", "", runCall)
	task, _ := a["result"].(map[string]any)
	if task["resultType"] != "task" || task["status"] != "working" || task["taskId"] == "" || task["ttlMs"] == nil || task["createdAt"] == nil {
		t.Fatalf("no task: %v", a)
	}
	id := task["taskId"].(string)
	until(t, url, id, func(s map[string]any) bool { return s["statusMessage"] == "i7 build" && s["status"] == "working" })
	close(letGo)
	state := until(t, url, id, func(s map[string]any) bool { return s["status"] == "completed" })
	b, _ := json.Marshal(state["result"])
	var result mcp.CallToolResult
	if err := json.Unmarshal(b, &result); err != nil || result.StructuredContent.(map[string]any)["done"] != true || state["resultType"] != "complete" {
		t.Errorf("the task ended as %v, %v", state, err)
	}
}

// TestTaskIsCancelled: what the daemon does for it ends as well, and the task stays cancelled.
func TestTaskIsCancelled(t *testing.T) {
	gone := make(chan struct{})
	url := tasksServer(t, slowDaemon(t, make(chan struct{}), gone))
	a, _ := rpc(t, url, "2026-07-28", "", runCall)
	id, _ := a["result"].(map[string]any)["taskId"].(string)
	until(t, url, id, func(s map[string]any) bool { return s["statusMessage"] != nil })
	if ack := taskOf(t, url, "tasks/cancel", id); ack["resultType"] != "complete" {
		t.Errorf("cancel: %v", ack)
	}
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Fatal("the daemon goes on")
	}
	if state := taskOf(t, url, "tasks/get", id); state["status"] != "cancelled" {
		t.Errorf("the task is %v", state)
	}
	if ack := taskOf(t, url, "tasks/update", id); ack["resultType"] != "complete" {
		t.Errorf("update: %v", ack)
	}
	a, _ = rpc(t, url, "2026-07-28", "", `{"jsonrpc":"2.0","id":9,"method":"tasks/get","params":{"taskId":"none",`+withTasks+`}}`)
	if e, _ := a["error"].(map[string]any); e["code"] != -32602.0 {
		t.Errorf("a task that there is not: %v", a)
	}
}

// TestNoTaskUnasked: without the extension, and in older revisions, which do not know it, a call waits for its result.
func TestNoTaskUnasked(t *testing.T) {
	const older = "2025-11-25"
	for name, version := range map[string]string{"not declared": tasksSince, "older": older} {
		t.Run(name, func(t *testing.T) {
			letGo := make(chan struct{})
			url := tasksServer(t, slowDaemon(t, letGo, make(chan struct{})))
			session, meta := "", `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
			if version == older {
				_, r := rpc(t, url, "", "", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}},"clientInfo":{"name":"c","version":"1"}}}`)
				session, meta = r.Header.Get("Mcp-Session-Id"), `"_meta":{}`
				rpc(t, url, version, session, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
			}
			time.AfterFunc(100*time.Millisecond, func() { close(letGo) }) // a task would be answered long before
			a, _ := rpc(t, url, version, session, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"loop_run","arguments":{},`+meta+`}}`)
			result, _ := a["result"].(map[string]any)
			if content, _ := result["structuredContent"].(map[string]any); content["done"] != true || result["taskId"] != nil {
				t.Errorf("got %v", a)
			}
		})
	}
}

// TestTasksAreBounded: calls beyond as many as are kept under way wait for their results.
func TestTasksAreBounded(t *testing.T) {
	letGo := make(chan struct{})
	url := tasksServer(t, slowDaemon(t, letGo, make(chan struct{})))
	for range maxTasks {
		a, _ := rpc(t, url, "2026-07-28", "", runCall)
		if result, _ := a["result"].(map[string]any); result["taskId"] == nil {
			t.Fatalf("no task: %v", a)
		}
	}
	time.AfterFunc(100*time.Millisecond, func() { close(letGo) })
	a, _ := rpc(t, url, "2026-07-28", "", runCall)
	if result, _ := a["result"].(map[string]any); result["taskId"] != nil || result["structuredContent"] == nil {
		t.Errorf("got %v", a)
	}
}
