package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// TestNeovim: a real editor shows the failing check, its hover and its lenses.
func TestNeovim(t *testing.T) {
	w := pair(t)
	testenv.NeedsProgram(t, "nvim")
	w.edit("cmd/stock/main.go", stockWell, stockBroken)
	if broken := w.run(); broken.Verdict != traffic.Fail {
		t.Fatalf("the broken stock: %s %+v", broken.Verdict, broken.Failure)
	}
	script, err := filepath.Abs("testdata/editor.lua")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	nvim := exec.CommandContext(ctx, "nvim", "--headless", "-u", "NONE", "-c", "luafile "+script)
	seen := filepath.Join(t.TempDir(), "seen")
	nvim.Dir, nvim.Env = w.dir, append(os.Environ(), "DEVLOOP="+program(t), "DEVLOOP_SEEN="+seen, "HOME="+t.TempDir())
	out, err := nvim.CombinedOutput()
	if err != nil {
		t.Fatalf("nvim: %v\n%s", err, out)
	}
	text, err := os.ReadFile(seen)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, word := range []string{"diagnostic 3 fail in ", "hover ", "p50(", "lens ▶ run", "lens ✗ fail", "lens ✓ pass"} {
		if !strings.Contains(string(text), word) {
			t.Errorf("Neovim does not show %q:\n%s%s", word, text, out)
		}
	}
}
