package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ExportTo is [Snapshot.Export] into a file of mode 0600. It is written beside its place and renamed, so that no half
// file stays behind.
func (sn *Snapshot) ExportTo(ctx context.Context, path string, o ExportOptions) error {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("export snapshot %s: %w", sn.ID(), err)
	}
	_, err = sn.Export(ctx, f, o)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("export snapshot %s: %w", sn.ID(), full(err)), os.Remove(path+".tmp"))
	}
	return os.Rename(path+".tmp", path)
}

// ExportsName is the folder of exports in the state folder.
const ExportsName = "exports"

// Export is a file in the folder for exports.
type Export struct {
	Path   string // relative to the state folder, with slashes
	File   string // absolute
	Size   int64
	SHA256 string
}

// WriteExport writes a file of mode 0600 into the folder for exports. Its name has no folders in it. It appears when it is
// whole. A file of that name stays, and the error is fs.ErrExist, unless overwrite is set.
func (s *Store) WriteExport(name string, overwrite bool, write func(io.Writer) error) (*Export, error) {
	e, err := s.writeExport(name, overwrite, write)
	if err != nil {
		return nil, fmt.Errorf("export to %s: %w", name, full(err))
	}
	return e, nil
}

// FreeExport is a name that no export has.
func (s *Store) FreeExport(base, extension string) string {
	name := base + extension
	for n := 2; n < 1000; n++ {
		if _, err := os.Lstat(filepath.Join(s.dir, ExportsName, name)); err != nil {
			return name
		}
		name = fmt.Sprintf("%s-%d%s", base, n, extension)
	}
	return base + "-" + rand.Text() + extension
}

func (s *Store) writeExport(name string, overwrite bool, write func(io.Writer) error) (*Export, error) {
	if len(name) > 128 || !validID.MatchString(name) {
		return nil, errors.New("the name of a file has letters, digits, dashes and dots, and no folder: it lies in the folder for exports")
	}
	dir := filepath.Join(s.dir, ExportsName)
	if err := privateDir(dir); err != nil {
		return nil, err
	}
	e := &Export{Path: ExportsName + "/" + name, File: filepath.Join(dir, name)}
	if _, err := os.Lstat(e.File); err == nil && !overwrite {
		return nil, fs.ErrExist
	}
	tmp := filepath.Join(dir, tempPrefix+rand.Text())
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp)
	h := sha256.New()
	counted := &counter{w: io.MultiWriter(f, h)}
	if err := errors.Join(write(counted), f.Close()); err != nil {
		return nil, err
	}
	e.Size, e.SHA256 = counted.n, hex.EncodeToString(h.Sum(nil))
	if overwrite {
		return e, os.Rename(tmp, e.File)
	}
	if err := os.Link(tmp, e.File); err == nil || errors.Is(err, fs.ErrExist) {
		return e, err
	}
	return e, os.Rename(tmp, e.File) // no hard links here
}

// counter counts what was written.
type counter struct {
	w io.Writer
	n int64
}

// Write passes on.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
