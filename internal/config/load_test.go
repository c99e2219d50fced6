package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the expected parts of testdata/*.txtar")

// Every testdata/*.txtar holds a sentence, a devloop.yaml, and the errors that loading it must print (nothing: it is
// valid).
func TestParse(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if _, err := Parse(a.Files[0].Name, a.Files[0].Data); err != nil {
				got = err.Error() + "\n"
			}
			if *update {
				a.Files = append(a.Files[:1], txtar.File{Name: "errors", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(a.Files[1].Data), got); diff != "" {
				t.Errorf("errors of %s (-want +got):\n%s", file, diff)
			}
		})
	}
}

func TestLoadFindsTheFile(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	deep := filepath.Join(root, "a", "b")
	for _, dir := range []string{deep, filepath.Join(root, ".config")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(deep); !errors.Is(err, ErrNotFound) {
		t.Fatalf("Load without a file: %v, want ErrNotFound", err)
	}
	for _, name := range []string{".config/devloop.yaml", "devloop.yaml"} {
		path := filepath.Join(root, name)
		if err := os.WriteFile(path, []byte("version: 1\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, where := range []string{deep, root, path} {
			c, err := Load(where)
			if err != nil {
				t.Fatal(err)
			}
			if c.Dir != root || c.Path != path {
				t.Errorf("Load(%s): Dir %s and Path %s, want %s and %s", where, c.Dir, c.Path, root, path)
			}
		}
	}
}

func TestErrorIsFound(t *testing.T) {
	t.Parallel()
	_, err := Parse("devloop.yaml", []byte("version: 1\nservces: {}\n"))
	var one *Error
	if !errors.As(err, &one) || one.Line != 2 || one.Column != 1 || one.Hint != `did you mean "services"?` {
		t.Fatalf("got %+v, want an error at 2:1 with a suggestion", one)
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		if a, err := txtar.ParseFile(file); err == nil {
			f.Add(a.Files[0].Data)
		}
	}
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("x-a: &a {b: 1}\nservices: {<<: [*a, *a], payment: *a}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("devloop.yaml", data)
		if (c == nil) == (err == nil) {
			t.Fatalf("Parse returned %v and %v", c, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "devloop.yaml") {
			t.Errorf("an error without its file: %v", err)
		}
	})
}
