package devloop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/internal/control"
)

// TestOnlyExportedFiles: no name leads out of the folder for exports, and links in it lead nowhere.
func TestOnlyExportedFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "devloop.yaml"), []byte("version: 1\nservices: {a: {command: ./a}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Workspace: dir})
	if err != nil {
		t.Fatal(err)
	}
	exports := filepath.Join(s.stateDir(), exportsFolder)
	if err := os.MkdirAll(exports, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(exports, "a.csv")
	for _, err := range []error{os.WriteFile(file, []byte("x"), 0o600), os.Symlink("/etc/passwd", filepath.Join(exports, "link")), os.Mkdir(filepath.Join(exports, "folder"), 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a.csv", "exports/a.csv", control.FilesPath + "a.csv", file} {
		if a, err := s.File(control.FileRequest{Path: name}); err != nil || a.File != file || a.Size != 1 || !strings.HasPrefix(a.URL, "file://") {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	for _, name := range []string{"", ".", "..", "../redact.key", "exports/../redact.key", "/etc/passwd", "link", "folder", "none.csv", ".hidden", "a.csv/b"} {
		if a, err := s.File(control.FileRequest{Path: name}); err == nil {
			t.Errorf("%q is %+v", name, a)
		}
	}
}
