package columns

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// File is a Parquet file of calls or connections that is open for reading. What its end says is kept after Close, for the
// next one who opens it: reading that again would take longer than most questions.
type File struct {
	meta *metadata
}

// metadata is what the end of a file says.
type metadata struct {
	path     string
	size     int64
	time     time.Time
	contents *contents
	source   source
	used     int64
}

// source reads a file that is open while somebody uses it.
type source struct {
	mu    sync.Mutex
	f     *os.File
	users int
}

// ReadAt implements [io.ReaderAt].
func (s *source) ReadAt(p []byte, off int64) (int, error) { return s.f.ReadAt(p, off) }

func (s *source) open(f *os.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users++
	if s.users > 1 {
		return f.Close()
	}
	s.f = f
	return nil
}

func (s *source) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users--
	if s.users > 0 {
		return nil
	}
	f := s.f
	s.f = nil
	return f.Close()
}

// maxKept is of how many files the contents are kept.
const maxKept = 4

// kept are the contents of the files that were opened last. Files are never changed in place: one of the same size and time is
// the same.
var kept struct {
	mu    sync.Mutex
	files []*metadata
	clock int64
}

// Open opens a file.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", filepath.Base(path), closing(f, err))
	}
	kept.mu.Lock()
	defer kept.mu.Unlock()
	kept.clock++
	for _, m := range kept.files {
		if m.path == path && m.size == info.Size() && m.time.Equal(info.ModTime()) {
			m.used = kept.clock
			return &File{m}, m.source.open(f)
		}
	}
	m := &metadata{path: path, size: info.Size(), time: info.ModTime(), used: kept.clock}
	if err := m.source.open(f); err != nil {
		return nil, err
	}
	if m.contents, err = readContents(&m.source, m.size); err != nil {
		return nil, fmt.Errorf("open %s: %w", filepath.Base(path), closing(&File{m}, err))
	}
	kept.files = slices.DeleteFunc(kept.files, func(o *metadata) bool { return o.path == path })
	if len(kept.files) == maxKept {
		oldest := 0
		for i, o := range kept.files {
			if o.used < kept.files[oldest].used {
				oldest = i
			}
		}
		kept.files = slices.Delete(kept.files, oldest, oldest+1)
	}
	kept.files = append(kept.files, m)
	return &File{m}, nil
}

func closing(c interface{ Close() error }, err error) error {
	if shut := c.Close(); shut != nil {
		return fmt.Errorf("%w; %w", err, shut)
	}
	return err
}

// Close gives the file back.
func (f *File) Close() error { return f.meta.source.close() }

// Rows is how many rows the file has.
func (f *File) Rows() int64 { return f.meta.contents.rows }

// Groups is how many row groups the file has.
func (f *File) Groups() int { return len(f.meta.contents.groups) }

// First is the number of a group's first row.
func (f *File) First(group int) int64 { return f.meta.contents.groups[group].first }

// Bounds are the smallest and the largest number of a column in a group, as far as the file says.
func (f *File) Bounds(group int, column string) (low, high int64, ok bool) {
	return f.group(group, nil).bounds(column)
}

// group begins work on a row group.
func (f *File) group(i int, memory *scratch) *Group {
	m := f.meta
	g := &m.contents.groups[i]
	return &Group{First: g.first, Rows: g.rows, from: &m.source, memory: memory, contents: m.contents, number: i, cache: map[string]*Column{}}
}

// Locate is the group that holds a row.
func (f *File) Locate(row int64) int {
	i, found := slices.BinarySearchFunc(f.meta.contents.groups, row, func(g rowGroup, row int64) int { return cmp.Compare(g.first, row) })
	if !found {
		i--
	}
	return i
}
