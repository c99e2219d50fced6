package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

const (
	manifestName    = "manifest.json"
	manifestVersion = 1
)

// Manifest lists what a folder holds. It is written last.
type Manifest struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	Created int64  `json:"created_ns"`
	Files   []File `json:"files"`
}

// File is one file of a manifest.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Size of all files together.
func (m *Manifest) Size() (sum int64) {
	for _, f := range m.Files {
		sum += f.Size
	}
	return sum
}

// digestAll digests the named files of dir, several at a time.
func digestAll(ctx context.Context, dir string, names []string) ([]File, error) {
	files := make([]File, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(2, runtime.NumCPU()))
	for i, name := range names {
		g.Go(func() error {
			f, err := digest(ctx, filepath.Join(dir, name))
			f.Name = name
			files[i] = f
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return files, nil
}

func digest(ctx context.Context, path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, fmt.Errorf("digest file: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	buf := make([]byte, 256<<10)
	var size int64
	for {
		n, err := f.Read(buf)
		h.Write(buf[:n])
		size += int64(n)
		if err == io.EOF {
			return File{Size: size, SHA256: hex.EncodeToString(h.Sum(nil))}, nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return File{}, fmt.Errorf("digest %s: %w", path, err)
		}
	}
}

func readManifest(dir, id string) (*Manifest, error) {
	raw, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return nil, err
	}
	m := &Manifest{}
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if m.Version != manifestVersion {
		return nil, fmt.Errorf("read manifest: version %d; this devloop reads version %d", m.Version, manifestVersion)
	}
	if m.ID != id {
		return nil, fmt.Errorf("read manifest: it is of snapshot %q", m.ID)
	}
	for _, f := range m.Files {
		if f.Name == "" || f.Name != filepath.Base(f.Name) || strings.ContainsAny(f.Name, `/\`) {
			return nil, fmt.Errorf("read manifest: %q is no file name", f.Name)
		}
	}
	return m, nil
}

// checkSizes is the cheap look at a folder: every file there, and as long as it was.
func (m *Manifest) checkSizes(dir string) error {
	for _, f := range m.Files {
		info, err := os.Lstat(filepath.Join(dir, f.Name))
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() || info.Size() != f.Size {
			return fmt.Errorf("%s has %d bytes instead of %d: it was changed after it was sealed", f.Name, info.Size(), f.Size)
		}
	}
	return nil
}

// verify digests every file again.
func (m *Manifest) verify(ctx context.Context, dir string) error {
	if err := m.checkSizes(dir); err != nil {
		return err
	}
	names := make([]string, len(m.Files))
	for i, f := range m.Files {
		names[i] = f.Name
	}
	have, err := digestAll(ctx, dir, names)
	if err != nil {
		return err
	}
	want := slices.Clone(m.Files)
	slices.SortFunc(want, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	for i := range want {
		if have[i] != want[i] {
			return fmt.Errorf("%s was changed after it was sealed: its SHA-256 is %s instead of %s", want[i].Name, have[i].SHA256, want[i].SHA256)
		}
	}
	return nil
}
