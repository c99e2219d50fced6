package columns

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/parquet-go/parquet-go"
)

// File is a Parquet file of calls or connections that is open for reading. What its footer says is kept after Close, for the
// next one who opens it: reading that again would take longer than most questions.
type File struct {
	meta *metadata
}

// metadata is what the footer of a file says.
type metadata struct {
	path   string
	size   int64
	time   time.Time
	file   *parquet.File
	groups []parquet.RowGroup
	first  []int64 // number of each group's first row
	number map[string]int
	source source
	used   int64
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

// maxKept is of how many files the footers are kept; that of a million calls takes some megabytes.
const maxKept = 4

// kept are the footers of the files that were opened last. Files are never changed in place: one of the same size and time is
// the same.
var kept struct {
	mu    sync.Mutex
	files []*metadata
	clock int64
}

// readBuffer is how much of a column is read at a time.
const readBuffer = 64 << 10

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
	m := &metadata{path: path, size: info.Size(), time: info.ModTime(), used: kept.clock, number: map[string]int{}}
	if err := m.source.open(f); err != nil {
		return nil, err
	}
	if err := m.read(); err != nil {
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

func (m *metadata) read() error {
	var err error
	m.file, err = parquet.OpenFile(&m.source, m.size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(readBuffer))
	if err != nil {
		return err
	}
	for i, path := range m.file.Schema().Columns() {
		m.number[path[0]] = i
	}
	m.groups = m.file.RowGroups()
	first := int64(0)
	for _, g := range m.groups {
		m.first = append(m.first, first)
		first += g.NumRows()
	}
	return nil
}

// Close gives the file back.
func (f *File) Close() error { return f.meta.source.close() }

// Rows is how many rows the file has.
func (f *File) Rows() int64 { return f.meta.file.NumRows() }

// Groups is how many row groups the file has.
func (f *File) Groups() int { return len(f.meta.groups) }

// First is the number of a group's first row.
func (f *File) First(group int) int64 { return f.meta.first[group] }

// Bounds are the smallest and the largest number of a column in a group, as far as the file says.
func (f *File) Bounds(group int, column string) (low, high int64, ok bool) {
	g := f.group(group)
	return g.bounds(column)
}

// group begins work on a row group.
func (f *File) group(i int) *Group {
	m := f.meta
	return &Group{First: m.first[i], Rows: int(m.groups[i].NumRows()), chunks: m.groups[i].ColumnChunks(), number: m.number, cache: map[string]*Column{}}
}

// Locate is the group that holds a row.
func (f *File) Locate(row int64) int {
	i, found := slices.BinarySearch(f.meta.first, row)
	if !found {
		i--
	}
	return i
}
