package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// TestFilesGoWhereTheyMay: a download lands below the current folder or the one for temporary files, whole, and replaces
// nothing unless it is told to.
func TestFilesGoWhereTheyMay(t *testing.T) {
	exports, here, temporary := t.TempDir(), t.TempDir(), t.TempDir()
	t.Chdir(here)
	t.Setenv("TMPDIR", temporary)
	file := filepath.Join(exports, "a.pcapng")
	if err := os.WriteFile(file, []byte("packets"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("packets"))
	answer := func(digest string) string {
		return fmt.Sprintf(`{"result": {"url": "file://%[1]s", "path": "exports/a.pcapng", "file": %[1]q, "size": 7, "sha256": %[2]q}}`, file, digest)
	}
	if err := os.Symlink(exports, filepath.Join(here, "out")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(here, "kept"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ arguments, digest, want string }{
		{`{"path": "exports/a.pcapng"}`, "", here + "/a.pcapng"},
		{`{"path": "exports/a.pcapng"}`, "", "is there already. Fix: give another dest, or overwrite: true"},
		{`{"path": "exports/a.pcapng", "overwrite": true}`, "", here + "/a.pcapng"},
		{`{"path": "exports/a.pcapng", "dest": "kept"}`, "", here + "/kept/a.pcapng"},
		{`{"path": "exports/a.pcapng", "dest": "kept/b.pcapng"}`, "", here + "/kept/b.pcapng"},
		{`{"path": "exports/a.pcapng", "dest": "` + temporary + `/c"}`, "", temporary + "/c"},
		{`{"path": "exports/a.pcapng", "dest": "../d"}`, "", "is outside of"},
		{`{"path": "exports/a.pcapng", "dest": "/etc/d"}`, "", "is outside of"},
		{`{"path": "exports/a.pcapng", "dest": "out/d"}`, "", "is outside of"},
		{`{"path": "exports/a.pcapng", "dest": "none/d"}`, "", "there is no folder"},
		{`{"path": "exports/a.pcapng", "dest": "e"}`, strings.Repeat("0", 64), "it changed on the way"},
	} {
		digest := c.digest
		if digest == "" {
			digest = hex.EncodeToString(sum[:])
		}
		daemon := daemonOf(t, map[string]string{"get_file": answer(digest)}, new(strings.Builder))
		client := connect(t, Options{Tools: []string{"download_file"}, Connect: func(context.Context) (*control.Client, error) { return daemon, nil }})
		r, err := client.CallTool(t.Context(), &mcp.CallToolParams{Name: "download_file", Arguments: rawArguments(c.arguments)})
		if err != nil {
			t.Fatal(err)
		}
		text := r.Content[0].(*mcp.TextContent).Text
		if !strings.Contains(text, c.want) || r.IsError == strings.HasPrefix(c.want, "/") {
			t.Errorf("%s: %s", c.arguments, text)
		}
		if strings.HasPrefix(c.want, "/") {
			if b, err := os.ReadFile(c.want); err != nil || string(b) != "packets" {
				t.Errorf("%s: %q, %v", c.arguments, b, err)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(here, ".devloop-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
