package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// claudeCode is the program of Claude Code, in the PATH of the tests' clients.
func claudeCode(path string) string {
	return filepath.Join(filepath.Dir(filepath.SplitList(path)[1]), "@anthropic-ai", "claude-code-linux-x64", "claude")
}

// TestClaudeCodePlugin: the real Claude Code takes our plugin from this repository, starts its language server, and hands to the model what the
// server says of a file that the model wrote: its mistake, and that a check in it failed. The model alone is a stand-in: nobody is logged in.
func TestClaudeCodePlugin(t *testing.T) {
	w := pair(t)
	path := testenv.NeedsClients(t)
	claude, home := claudeCode(path), t.TempDir()
	w.edit("cmd/stock/main.go", stockWell, stockBroken)
	broken := w.run()
	if broken.Verdict != traffic.Fail {
		t.Fatalf("the broken stock: %s %+v", broken.Verdict, broken.Failure)
	}
	wrong := "  - name: typed wrong\n    on: http && status_cod == 200\n    expect: none(status_code >= 500)\n"
	model := &standIn{file: filepath.Join(w.dir, "stock.netcheck.yaml"), text: pairChecks + wrong,
		wanted: []string{"status_cod is not a field", "fail in " + broken.ID}}
	api := httptest.NewServer(model)
	defer api.Close()
	run := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, claude, args...)
		cmd.Dir = w.dir
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(program(t))+":"+path, "HOME="+home, "XDG_CONFIG_HOME="+home, "ANTHROPIC_BASE_URL="+api.URL, "ANTHROPIC_API_KEY=stand-in",
			"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("claude %v: %v\n%s", args, err, out[max(0, len(out)-4000):])
		}
		return string(out)
	}
	run("plugin", "validate", filepath.Join(root(), "plugin"))
	run("plugin", "validate", root())
	run("plugin", "marketplace", "add", root())
	run("plugin", "install", "devloop@devloop")
	if details := run("plugin", "details", "devloop"); !strings.Contains(details, "LSP servers (1)  devloop") || !strings.Contains(details, "MCP servers (1)  devloop") {
		t.Errorf("what the plugin brings: %s", details)
	}
	log := filepath.Join(t.TempDir(), "debug.log")
	run("-p", "write the checks", "--permission-mode", "acceptEdits", "--debug-file", log)
	if model.missing() != "" {
		text, _ := os.ReadFile(log) // what it says is for whoever reads the failure
		t.Errorf("the model was not told %q in %d requests\n%s", model.missing(), model.asked, grep(string(text), "LSP"))
	}
	if text, err := os.ReadFile(log); err != nil || strings.Contains(string(text), "stop failed") {
		t.Errorf("the language server did not end well: %v\n%s", err, grep(string(text), "LSP"))
	}
}

// grep are the lines of a text with a word.
func grep(text, word string) string {
	var list []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			list = append(list, line)
		}
	}
	return strings.Join(list, "")
}

// standIn answers in the place of a model: it writes a file, and then reads it until it was told what is wanted.
type standIn struct {
	file, text string
	wanted     []string

	mu    sync.Mutex
	told  string
	asked int
}

// The stand-in reads the file so often, and so far apart, until it gives up.
const (
	patience = 100
	pause    = 300 * time.Millisecond
)

func (m *standIn) missing() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.wanted {
		if !strings.Contains(m.told, w) {
			return w
		}
	}
	return ""
}

func (m *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Model    string
		Stream   bool
		Tools    []struct{ Name string }
		Messages json.RawMessage
	}
	if r.URL.Path != "/v1/messages" || json.NewDecoder(r.Body).Decode(&request) != nil {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"input_tokens":1}`)
		return
	}
	m.mu.Lock()
	m.asked++
	n := m.asked
	if i := strings.Index(string(request.Messages), "new-diagnostics"); i >= 0 {
		m.told = string(request.Messages[i:])
	}
	m.mu.Unlock()
	tool, input, said := "Read", map[string]string{"file_path": m.file}, string(request.Messages)
	if strings.Contains(said, `"tool_result"`) && !strings.Contains(said, `"name":"Write"`) { // what is written over was read before
		tool, input["content"] = "Write", m.text
	}
	switch {
	case len(request.Tools) == 0 || m.missing() == "" || n > patience:
		tool = ""
	case n > 2:
		<-time.After(pause)
	}
	answer(w, request.Model, fmt.Sprint(n), tool, input)
}

// answer is one message of the API as it streams: a word, or the use of a tool.
func answer(w http.ResponseWriter, model, id, tool string, input map[string]string) {
	w.Header().Set("Content-Type", "text/event-stream")
	event := func(kind string, fields map[string]any) {
		fields["type"] = kind
		text, _ := json.Marshal(fields) // of strings and numbers
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", kind, text)
	}
	type object = map[string]any
	block, delta, reason := object{"type": "text", "text": ""}, object{"type": "text_delta", "text": "done"}, "end_turn"
	if tool != "" {
		text, _ := json.Marshal(input)
		block, delta, reason = object{"type": "tool_use", "id": "toolu_" + id, "name": tool, "input": object{}}, object{"type": "input_json_delta", "partial_json": string(text)}, "tool_use"
	}
	event("message_start", object{"message": object{"id": "msg_" + id, "type": "message", "role": "assistant", "model": model, "content": []any{}, "usage": object{"input_tokens": 1, "output_tokens": 1}}})
	event("content_block_start", object{"index": 0, "content_block": block})
	event("content_block_delta", object{"index": 0, "delta": delta})
	event("content_block_stop", object{"index": 0})
	event("message_delta", object{"delta": object{"stop_reason": reason}, "usage": object{"output_tokens": 1}})
	event("message_stop", object{})
}
