package deploy

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/devloop-io/devloop/internal/config"
)

// FuzzParse: what is read has a kind and a name, and can be planned and written again, whatever the text.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/plan/*.txtar")
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range a.Files {
			if filepath.Ext(part.Name) == ".yaml" {
				f.Add(part.Data)
			}
		}
	}
	f.Add([]byte("apiVersion: v1\nkind: List\nitems: [&a {apiVersion: v1, kind: X, metadata: {name: a}}, *a]\n"))
	f.Add([]byte(`{"apiVersion":"v1","kind":"Deployment","metadata":{"name":"payment"},"spec":{"template":{"spec":{"containers":[1,{"env":[2]}]}}}} {}`))
	f.Add([]byte("--- {}\n---\n--- # x\nkind: X"))
	cfg, err := config.Parse("devloop.yaml", []byte("version: 1\nservices: {payment: {go: ./cmd/payment, ports: {http: 1}}}\ndependencies: {db: {image: db, env: {A: b}}}\n"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		objects, err := parse("a.yaml", text)
		if err != nil {
			return
		}
		for _, o := range objects {
			if o.GetKind() == "" || o.GetAPIVersion() == "" || o.GetName() == "" {
				t.Fatalf("an object without its name: %v", o.Object)
			}
			if _, err := yaml.Marshal(o.Object); err != nil {
				t.Fatal(err)
			}
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.yaml"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		c := *cfg
		c.Dir = dir
		p, err := New(Options{Config: &c, Namespace: "shop", Workspace: "0a1b2c3d", Supervisor: "s", Manifests: []config.Manifest{{Path: "a.yaml"}}})
		if err != nil {
			return
		}
		for _, o := range p.Objects {
			if _, err := hash(stripped(o)); err != nil {
				t.Fatal(err)
			}
			WithImage(o, p.Services["payment"], "x", map[string]string{"A": "b"}, "b1")
		}
	})
}
