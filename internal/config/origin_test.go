package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOrigins(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "devloop.yaml")
	if err := os.WriteFile(path, []byte("version: 1\nservices:\n  a: {go: ./a, ports: {http: 80}}\nstorage: {ring: 1GiB}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := Origins(path)
	want := []Origin{
		{"version", "1", path + ":1"}, {"services.a.go", "./a", path + ":3"}, {"services.a.ports.http", "80", path + ":3"},
		{"storage.ring", "1GiB", path + ":4"}, {"window.quiet", "50ms", "default"}, {"window.drain", "2s", "default"},
		{"storage.snapshots", "1GiB", "default"}, {"storage.max_age", "168h0m0s", "default"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
}

// What the documentation shows must load.
func TestDocumentationLoads(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	example, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/configuration.md shows no example")
	}
	if _, err := Parse("docs/configuration.md", []byte(example)); err != nil {
		t.Error(err)
	}
}
