package contract

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// maxFile bounds one file of a contract.
const maxFile = 8 << 20

// Files reads a file of a workspace whole, named by its path with slashes below it. It may be asked by several goroutines.
type Files func(name string) ([]byte, error)

// Below reads what lies below a folder, the working directory where it is empty, and nothing that a link leads out of it.
func Below(folder string) Files {
	if folder == "" {
		folder = "."
	}
	return func(name string) ([]byte, error) {
		if !fs.ValidPath(name) {
			return nil, outside(name)
		}
		f, err := os.OpenInRoot(folder, filepath.FromSlash(name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, missing(name)
		case err != nil:
			return nil, err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is not a regular file", name)
		}
		b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
		if err == nil && len(b) > maxFile {
			err = fmt.Errorf("%s is larger than %d MiB", name, maxFile>>20)
		}
		return b, err
	}
}

// Kept reads from memory.
func Kept(files map[string][]byte) Files {
	return func(name string) ([]byte, error) {
		b, ok := files[name]
		if !ok {
			return nil, missing(name)
		}
		return b, nil
	}
}

// Recorder reads and keeps what was read.
type Recorder struct {
	from Files
	mu   sync.Mutex
	read map[string][]byte
}

// NewRecorder makes a recorder of what it reads from others.
func NewRecorder(from Files) *Recorder { return &Recorder{from: from, read: map[string][]byte{}} }

// Read reads a file: it is the recorder's [Files].
func (r *Recorder) Read(name string) ([]byte, error) {
	b, err := r.from(name)
	if err == nil {
		r.mu.Lock()
		r.read[name] = b
		r.mu.Unlock()
	}
	return b, err
}

// Files are those that were read, by their names. The recorder must not be asked any more.
func (r *Recorder) Files() map[string][]byte { return r.read }

// missing says the same on every system, and wherever the files are.
func missing(name string) error {
	return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func outside(name string) error {
	return fmt.Errorf("%s lies outside of the workspace, and is not read", name)
}
