//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/testenv"
)

// TestRealClients has the official inspector and Claude Code speak to devloop, over stdio, over HTTP, and over stdio to a
// daemon elsewhere. Nothing is logged in anywhere, and their home is empty.
func TestRealClients(t *testing.T) {
	testenv.NeedsFull(t)
	path := testenv.NeedsClients(t)
	bin, dir, home := program(t), t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "devloop.yaml"), []byte(tinyConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", `exec "$@"`, "sh", name}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+path, "HOME="+home, "XDG_CONFIG_HOME="+home, "MCP_TIMEOUT=60000")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out[max(0, len(out)-4000):])
		}
		return string(out)
	}
	defer run(bin, "down")
	has := func(what, out string, wanted ...string) {
		t.Helper()
		for _, want := range wanted {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not in\n%s", what, want, out)
			}
		}
	}
	claude := claudeCode(path)

	// stdio
	list := run("inspector", "--cli", bin, "mcp", "--toolsets", "all", "--method", "tools/list", "--strict")
	has("tools/list", list, `"loop_run"`, `"list_api_calls"`, `"outputSchema"`, "0 errors")
	has("prompts/list", run("inspector", "--cli", bin, "mcp", "--method", "prompts/list"), `"investigate_regression"`)
	has("resources/list", run("inspector", "--cli", bin, "mcp", "--method", "resources/list"), `"devloop://services/map"`)
	has("prompts/get", run("inspector", "--cli", bin, "mcp", "--method", "prompts/get", "--prompt-name", "find_errors", "--prompt-args", "service=echo"), "failed at service echo", "How things stand: workspace")
	has("tools/call", run("inspector", "--cli", bin, "mcp", "--method", "tools/call", "--tool-name", "loop_status"), `"structuredContent"`, `"exercises"`)
	run(claude, "mcp", "add", "devloop", "--", bin, "mcp")
	has("claude mcp list", run(claude, "mcp", "list"), "devloop", "Connected")
	has("claude mcp get", run(claude, "mcp", "get", "devloop"), "Connected", "Type: stdio")

	// HTTP
	url, token := strings.TrimSpace(run(bin, "daemon", "listen", "-q")), strings.TrimSpace(run(bin, "daemon", "token"))
	header := "Authorization: Bearer " + token
	has("tools/list over HTTP", run("inspector", "--cli", url+"/mcp?toolsets=traffic", "--transport", "http", "--header", header, "--method", "tools/list"), `"get_service_map"`)
	has("tools/call over HTTP", run("inspector", "--cli", url+"/mcp", "--transport", "http", "--header", header, "--method", "tools/call", "--tool-name", "loop_status"), `"exercises"`)
	run(claude, "mcp", "add", "--transport", "http", "far", url+"/mcp", "--header", header)
	has("claude mcp list over HTTP", run(claude, "mcp", "list"), "far: "+url, "Connected")
	has("claude mcp get over HTTP", run(claude, "mcp", "get", "far"), "Connected", "Type: http")

	// stdio to a daemon elsewhere
	out := run("inspector", "--cli", "-e", "DEVLOOP_TOKEN="+token, bin, "mcp", "--url", url, "--toolsets", "all", "--allow-destructive", "--method", "tools/list")
	has("tools/list of a daemon elsewhere", out, `"loop_status"`)
	if strings.Contains(out, `"stop_capture"`) {
		t.Error("capture of a daemon elsewhere can be stopped")
	}
	var entry struct {
		Servers map[string]struct{ Args []string } `json:"mcpServers"`
	}
	if err := json.Unmarshal([]byte(run(bin, "mcp", "--mcp-config", "--url", url, "--token", token, "--toolsets", "traffic,snapshots")), &entry); err != nil {
		t.Fatal(err)
	}
	if args := strings.Join(entry.Servers["devloop"].Args, " "); args != "mcp --toolsets=traffic,snapshots --url="+url {
		t.Errorf("--mcp-config: %s", args)
	}
}
