package scaffold

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pmezard/go-difflib/difflib"
)

// Change is what a file should become.
type Change struct {
	Path          string // relative to the workspace with slashes, or absolute where the file lies outside
	Before, After []byte // Before is nil where the file does not exist
}

// Diff is the unified diff, and empty where nothing changes.
func (c Change) Diff() string {
	if bytes.Equal(c.Before, c.After) {
		return ""
	}
	from := "a/" + c.Path
	if c.Before == nil {
		from = "/dev/null"
	}
	text, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: lines(c.Before), B: lines(c.After), FromFile: from, ToFile: "b/" + c.Path, Context: 3,
	})
	if err != nil {
		return fmt.Sprintf("%s changes (its diff cannot be shown: %v)\n", c.Path, err)
	}
	return text
}

// lines ends the last line, so that a missing end does not show as part of the next one.
func lines(text []byte) []string {
	if len(text) == 0 {
		return nil
	}
	return difflib.SplitLines(string(bytes.TrimSuffix(text, []byte("\n"))))
}

// Apply writes changes. A file that changed since they were planned is an error, and nothing is written then.
func Apply(dir string, changes []Change) error {
	for _, c := range changes {
		now, err := read(resolve(dir, c.Path))
		if err != nil {
			return err
		}
		if !bytes.Equal(now, c.Before) {
			return fmt.Errorf("write %s: it changed in the meantime: run this again", c.Path)
		}
	}
	for _, c := range changes {
		if bytes.Equal(c.Before, c.After) {
			continue
		}
		if err := write(resolve(dir, c.Path), c.After); err != nil {
			return fmt.Errorf("write %s: %w", c.Path, err)
		}
	}
	return nil
}

func resolve(dir, path string) string {
	path = filepath.FromSlash(path)
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// read returns nil for a file that does not exist, and never nil for one that does.
func read(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look at the present file: %w", err)
	}
	return append([]byte{}, b...), nil
}

// write replaces a file in one step and keeps its mode; a link stays a link, what it points to is replaced.
func write(path string, text []byte) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".devloop-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = f.Write(text)
	if err := errors.Join(err, f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
