package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Names are where the file lies, relative to the workspace, in the order that they are looked for.
var Names = []string{"devloop.yaml", ".config/devloop.yaml"}

// maxFile bounds the file's size.
const maxFile = 4 << 20

// ErrNotFound is what [Find] and [Load] return where there is no devloop.yaml.
var ErrNotFound = errors.New("no devloop.yaml here or in a folder above")

// Load reads and validates a devloop.yaml. where is the file, or a folder: then the file is looked for in it and in the
// folders above. Mistakes come as [Errors].
func Load(where string) (*Config, error) {
	path, err := Find(where)
	if err != nil {
		return nil, err
	}
	data, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	c, err := parse(shown(path), data)
	if err != nil {
		return nil, err
	}
	c.Path, c.Dir = path, Workspace(path)
	return c, nil
}

// Parse reads and validates the text of a devloop.yaml; file is the name that mistakes are told with. Path and Dir of
// the result are empty.
func Parse(file string, data []byte) (*Config, error) { return parse(file, data) }

func parse(file string, data []byte) (*Config, error) {
	var c Config
	d := parseDocument(file, data, &c)
	if len(d.errs) == 0 {
		d.validate(&c)
	}
	if len(d.errs) > 0 {
		return nil, d.errs.sorted()
	}
	return &c, nil
}

// Find returns the absolute path of the devloop.yaml of a folder or of the nearest folder above it that has one; where
// may also be the file itself.
func Find(where string) (string, error) {
	start, err := filepath.Abs(where)
	if err != nil {
		return "", fmt.Errorf("find devloop.yaml: %w", err)
	}
	info, err := os.Stat(start)
	if err != nil {
		return "", fmt.Errorf("find devloop.yaml: %w", err)
	}
	if !info.IsDir() {
		return start, nil
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		for _, name := range Names {
			path := filepath.Join(dir, filepath.FromSlash(name))
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				return path, nil
			}
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find devloop.yaml from %s: %w", start, ErrNotFound)
		}
	}
}

// Workspace returns the folder that the paths in a devloop.yaml are relative to.
func Workspace(path string) string {
	dir := filepath.Dir(path)
	if filepath.Base(dir) == ".config" {
		return filepath.Dir(dir)
	}
	return dir
}

// shown is a path as people like to read it: relative where it lies under the working directory.
func shown(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && filepath.IsLocal(rel) {
			return rel
		}
	}
	return path
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	if info.Size() > maxFile {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("larger than %d MiB", maxFile>>20)}
	}
	return os.ReadFile(path)
}

// IsError says whether an error is about what a file says (exit code 2): mistakes in it, or that it is missing.
func IsError(err error) bool {
	var one *Error
	return errors.As(err, &one) || errors.Is(err, ErrNotFound)
}
