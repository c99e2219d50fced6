//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/devloop-io/devloop/internal/testenv"
)

// TestInitThenRun: in a small repository that has never heard of devloop, init and run are all it takes.
func TestInitThenRun(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsFull(t)
	w := &workspace{t: t, dir: t.TempDir()}
	t.Cleanup(func() { w.devloop("down") })
	for name, text := range map[string]string{
		"go.mod": "module example.com/hello\n\ngo 1.26\n",
		"cmd/hello/main.go": `// Command hello greets.
package main

import (
	"fmt"
	"log"
	"net/http"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })
	log.Fatal(http.ListenAndServe(":8080", nil))
}
`,
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(w.dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		w.write(name, text)
	}
	if out, err := exec.Command("git", "-C", w.dir, "init", "-q").CombinedOutput(); err != nil {
		t.Fatalf("git init: %v\n%s", err, out)
	}
	w.says(0, []string{"wrote devloop.yaml"}, "init", "--yes")
	if b, err := os.ReadFile(filepath.Join(w.dir, "devloop.yaml")); err == nil {
		t.Logf("devloop.yaml:\n%s", b)
	}
	w.says(0, []string{"nothing to change"}, "init", "--yes")
	w.says(0, []string{"verdict: pass"}, "run")
	w.says(0, []string{"nothing is left"}, "down")
	w.gone(t)
}
