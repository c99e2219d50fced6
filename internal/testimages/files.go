package testimages

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/devloop-io/devloop/kindenv/image"
)

// Label of an image says where its files come from.
const Label = "devloop.dev/built-from"

// assemble makes an image of programs of this machine, which only works for nodes of its own architecture.
func assemble(s image.Spec, version string, files map[string]image.File) (*image.Image, error) {
	if s.Arch != runtime.GOARCH {
		return nil, fmt.Errorf("make image %s: this machine's packages are for %s, the nodes are %s", s.Name, runtime.GOARCH, s.Arch)
	}
	s.Labels = map[string]string{Label: "this machine's packages: " + version}
	s.User = image.NonRoot
	s.Files = image.Base()
	for _, f := range files {
		s.Files = append(s.Files, f)
	}
	return image.Assemble(s)
}

// collection is files of this machine by their path, which is the same in the image.
type collection map[string]image.File

// program adds an executable, or a library, with the shared libraries that it needs.
func (c collection) program(ctx context.Context, path string) error {
	if err := c.file(path, path); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "ldd", path).Output()
	if err != nil {
		return fmt.Errorf("ask for the libraries of %s: %w", path, err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasSuffix(strings.TrimSpace(line), "not found") {
			return fmt.Errorf("put %s into an image: %s", path, strings.TrimSpace(line))
		}
		library, ok := libraryOf(line)
		if !ok {
			continue
		}
		if err := c.file(library, library); err != nil {
			return err
		}
	}
	return nil
}

// libraryOf reads a line of ldd: "libz.so.1 => /lib/…/libz.so.1 (0x7f…)", "/lib64/ld-linux-x86-64.so.2 (0x7f…)", or one of
// the kernel's own, which is no file.
func libraryOf(line string) (string, bool) {
	if _, after, ok := strings.Cut(line, "=>"); ok {
		line = after
	}
	path, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	return path, strings.HasPrefix(path, "/")
}

// file adds a file of this machine under a path; links are followed.
func (c collection) file(path, from string) error {
	real, err := filepath.EvalSymlinks(from)
	if err != nil {
		return fmt.Errorf("put %s into an image: %w", path, err)
	}
	info, err := os.Stat(real)
	if err != nil {
		return fmt.Errorf("put %s into an image: %w", path, err)
	}
	c[path] = image.File{Path: path, From: real, Mode: info.Mode().Perm() | 0o444}
	return nil
}

// folder adds all regular files below a folder.
func (c collection) folder(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return c.file(path, path)
	})
}
