package deploy

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/devloop-io/devloop/internal/config"
)

var update = flag.Bool("update", false, "write golden files")

// TestPlan: each case is a workspace, and the objects that it becomes or the error that it ends with.
func TestPlan(t *testing.T) {
	files, err := filepath.Glob("testdata/plan/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			var manifests []config.Manifest
			last := len(a.Files) - 1
			for _, f := range a.Files[:last] {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, f.Name)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
					t.Fatal(err)
				}
				if strings.HasPrefix(f.Name, "deploy/") {
					manifests = []config.Manifest{{Path: "deploy"}}
				}
			}
			got := plan(t, dir, manifests)
			if *update {
				a.Files[last].Data = got
				if err := os.WriteFile(file, txtar.Format(a), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if a.Files[last].Name != "want" || !bytes.Equal(a.Files[last].Data, got) {
				t.Errorf("got:\n%s\nwant:\n%s", got, a.Files[last].Data)
			}
		})
	}
}

func plan(t *testing.T, dir string, manifests []config.Manifest) []byte {
	cfg, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if m := cfg.Environment.Kind.Manifests; m != nil {
		manifests = m
	}
	env := map[string]map[string]string{}
	for name, s := range cfg.Services {
		env[name] = s.Env
	}
	p, err := New(Options{
		Config: cfg, Namespace: "shop", Workspace: "0a1b2c3d", Supervisor: ImagePrefix + "supervise:1", Manifests: manifests, Env: env,
		Images: map[string]string{"web": ImagePrefix + "web:1"},
	})
	if err != nil {
		return []byte("error: " + strings.ReplaceAll(err.Error(), dir, "WORKSPACE") + "\n")
	}
	var b bytes.Buffer
	for _, n := range p.Notes {
		b.WriteString("# " + n + "\n")
	}
	for _, o := range p.Objects {
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("---\n")
		b.Write(text)
	}
	return b.Bytes()
}
