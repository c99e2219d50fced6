package testenv

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"
	"go.yaml.in/yaml/v3"
)

// KindFolder is the environment variable that names the folder with the scripts that make a kind node image where none can
// be pulled. "none" says that there is no such folder: tests skip, whatever was promised.
const KindFolder = "DEVLOOP_KIND"

// Kind is a container engine that answers, and what this machine needs to make clusters with it.
type Kind struct {
	Image  string // node image
	Config string // a kind configuration file that lists its nodes
	Bare   string // the same without nodes, for tests that ask for their number
}

// NeedsKind skips unless a kind cluster can be made here. Where DEVLOOP_KIND names the scripts' folder it starts the engine and
// builds the node image, which takes minutes the first time and seconds afterwards.
func NeedsKind(t testing.TB) Kind {
	t.Helper()
	dir := os.Getenv(KindFolder)
	if dir == "none" {
		t.Skip("needs a kind cluster: there are no scripts here that make a node image")
	}
	if dir == "" {
		missing(t, "needs a kind cluster: "+KindFolder+" must name the folder whose up.sh makes a node image")
	}
	NeedsRoot(t)
	k := Kind{Image: "kindlab/node:v1.34.4", Config: filepath.Join(dir, "kind.yaml")}
	work, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	work = filepath.Join(work, "devloop", "kind")
	k.Bare = filepath.Join(work, "bare.yaml")
	if err := kindUp(filepath.Join(dir, "up.sh"), work, k); err != nil {
		missing(t, "needs a kind cluster: "+err.Error())
	}
	return k
}

// kindUp is done by the first test of the machine; the others wait for it.
func kindUp(script, work string, k Kind) error {
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	unlock, err := lockedfile.MutexAt(filepath.Join(work, "up.lock")).Lock()
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	if exec.CommandContext(ctx, "docker", "image", "inspect", k.Image).Run() != nil {
		cmd := exec.CommandContext(ctx, script, work)
		if out, err := cmd.CombinedOutput(); err != nil {
			return &upError{script, string(out), err}
		}
	}
	return writeBare(k)
}

type upError struct {
	script, output string
	err            error
}

func (e *upError) Error() string { return e.script + ": " + e.err.Error() + "\n" + e.output }

func writeBare(k Kind) error {
	data, err := os.ReadFile(k.Config)
	if err != nil {
		return err
	}
	var all map[string]any
	if err := yaml.Unmarshal(data, &all); err != nil {
		return err
	}
	delete(all, "nodes")
	if data, err = yaml.Marshal(all); err != nil {
		return err
	}
	return os.WriteFile(k.Bare, data, 0o644)
}
