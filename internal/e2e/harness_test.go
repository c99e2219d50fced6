//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/devloop-io/devloop/devloop/exercise"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// root is the repository's.
var root = sync.OnceValue(func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
})

var (
	buildOnce sync.Once
	buildErr  error
	binary    string
)

// TestMain is also the program that a session in this process runs its exercises with.
func TestMain(m *testing.M) {
	if exercise.Main(os.Args[1:]) {
		return
	}
	code := m.Run()
	if binary != "" {
		os.RemoveAll(filepath.Dir(binary))
	}
	os.Exit(code)
}

// program builds devloop once.
func program(t testing.TB) string {
	t.Helper()
	buildOnce.Do(func() {
		var dir string
		if dir, buildErr = os.MkdirTemp("", "devloop-e2e-"); buildErr != nil {
			return
		}
		binary = filepath.Join(dir, "devloop")
		cmd := exec.Command("go", "build", "-o", binary, "./cmd/devloop")
		cmd.Dir, cmd.Env = root(), append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			buildErr = fmt.Errorf("build devloop: %w\n%s", err, out)
		}
	})
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	return binary
}

// workspace is a copy of the shop that a test may change, with whatever runs for it ended at the test's end.
type workspace struct {
	t   testing.TB
	dir string // of devloop.yaml
}

// shop is the shop in the local environment.
func shop(t testing.TB) *workspace {
	t.Helper()
	testenv.NeedsRoot(t)
	testenv.NeedsFull(t)
	testenv.NeedsProgram(t, "redis-server")
	return copied(t)
}

// copied is examples/shop in a module of its own.
func copied(t testing.TB) *workspace {
	t.Helper()
	top := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		copyFile(t, filepath.Join(root(), name), filepath.Join(top, name))
	}
	if err := os.CopyFS(filepath.Join(top, "keylog"), os.DirFS(filepath.Join(root(), "keylog"))); err != nil { // the shop imports it
		t.Fatal(err)
	}
	dir := filepath.Join(top, "examples", "shop")
	err := filepath.WalkDir(filepath.Join(root(), "examples", "shop"), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(filepath.Join(root(), "examples", "shop"), path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == ".devloop" {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(dir, rel), 0o755)
		}
		if !strings.HasSuffix(rel, "_test.go") {
			copyFile(t, path, filepath.Join(dir, rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// The services run as root or as postgres; the folders of a test are closed to others.
	for d := top; d != os.TempDir() && len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w := &workspace{t: t, dir: dir}
	t.Cleanup(func() {
		if code, _, stderr := w.devloop("down"); code != 0 {
			t.Errorf("devloop down: exit %d\n%s", code, stderr)
		}
		if t.Failed() {
			w.dumpLog()
		}
	})
	return w
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func (w *workspace) dumpLog() {
	if b, err := os.ReadFile(filepath.Join(w.dir, ".devloop", "daemon.log")); err == nil {
		tail := b[max(0, len(b)-4000):]
		w.t.Logf("the end of the daemon's log:\n%s", tail)
	}
}

// commandTimeout bounds one command of a test.
const commandTimeout = 4 * time.Minute

// command is devloop in the workspace, not started.
func (w *workspace) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program(w.t), args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
	return cmd
}

// devloop runs one command to its end.
func (w *workspace) devloop(args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := w.command(ctx, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatalf("devloop %s: %v", strings.Join(args, " "), err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errOut.String()
}

// run is `devloop run -o json`.
func (w *workspace) run(args ...string) *traffic.Iteration {
	w.t.Helper()
	code, stdout, stderr := w.devloop(append([]string{"run", "-o", "json"}, args...)...)
	var it traffic.Iteration
	if err := json.Unmarshal([]byte(stdout), &it); err != nil {
		w.t.Fatalf("devloop run: exit %d: %v\n%s%s", code, err, stdout, stderr)
	}
	if it.ExitCode != code {
		w.t.Errorf("devloop run exited with %d and says %d", code, it.ExitCode)
	}
	return &it
}

// write changes a file of the workspace.
func (w *workspace) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// edit replaces text in a file of the workspace; the text must be there.
func (w *workspace) edit(name, old, replacement string) {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		w.t.Fatalf("%s does not contain %q", name, old)
	}
	w.write(name, strings.Replace(string(b), old, replacement, 1))
}

// not lists the checks that have another verdict than the wanted one; built-in checks that had nothing to look at are
// left out.
func not(it *traffic.Iteration, want traffic.Verdict) []traffic.CheckResult {
	return slices.DeleteFunc(slices.Clone(it.Checks), func(c traffic.CheckResult) bool {
		return c.Verdict == want || c.Builtin && c.Verdict == traffic.Skipped
	})
}

// explain renders checks for a failing test's output.
func explain(checks []traffic.CheckResult) string {
	var b strings.Builder
	for _, c := range checks {
		fmt.Fprintf(&b, "  %s %s (n=%d): %s %s\n", c.Verdict, c.Name, c.N, c.Reason, c.Loss)
		for _, e := range c.Evidence {
			fmt.Fprintf(&b, "    %s %s\n", e.Call, e.Summary)
		}
	}
	return b.String()
}
