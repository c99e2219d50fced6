package localenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/testenv"
)

// trivialServer is what a small service is: net/http and nothing else.
const trivialServer = `package main

import "net/http"

func main() { panic(http.ListenAndServe(":8080", nil)) }
`

// buildTrivial builds the server and returns its path.
func buildTrivial(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module trivial\ngo 1.26\n", "main.go": trivialServer} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "trivial")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// TestStartToReady measures a restart of a small server. The bound is loose, for loaded machines; the log has the
// figures.
func TestStartToReady(t *testing.T) {
	testenv.NeedsRoot(t)
	path := buildTrivial(t)
	cfg := &config.Config{Services: map[string]config.Service{"payment": {Ports: map[string]int{"http": 8080}}}}
	e := newEnv(t, cfg, false)
	var totals []time.Duration
	phases := map[string][]time.Duration{}
	for range 20 {
		began := time.Now()
		inst, err := e.Start(t.Context(), "payment", Build{ID: "b", Path: path})
		if err != nil {
			t.Fatal(err)
		}
		totals = append(totals, time.Since(began))
		for _, p := range inst.Ledger {
			phases[p.Phase] = append(phases[p.Phase], time.Duration(p.NS))
		}
	}
	slices.Sort(totals)
	median := totals[len(totals)/2]
	t.Logf("start to ready, old one stopped: median %s, longest %s", median, totals[len(totals)-1])
	for name, d := range phases {
		slices.Sort(d)
		t.Logf("%s: median %s, longest %s", name, d[len(d)/2], d[len(d)-1])
	}
	if median > 400*time.Millisecond {
		t.Errorf("median %s; 40ms is the aim", median)
	}
}
