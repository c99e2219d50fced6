package columns

import (
	"math/bits"
	"sync"
	"unsafe"
)

// scratch is memory that a goroutine uses for one row group after the other. Columns borrow lists, and give them back when their group is
// done with.
type scratch struct {
	window []byte   // of the file
	page   []byte   // decompressed
	table  []uint32 // of classes that are split
	codes  []uint32 // of the column that splits them
	seen   hash     // in place of a table that would be too large

	bytes   lists[byte]
	offsets lists[uint32]
	numbers lists[int64]
	small   lists[int32]
	doubles lists[float64]
	texts   lists[string]
}

// scratches are used again while questions follow each other.
var scratches = sync.Pool{New: func() any { return new(scratch) }}

// put keeps it for the next question, but not what only few need.
func (s *scratch) put() {
	if cap(s.window) > 4*window {
		s.window = nil
	}
	if cap(s.page) > 4*window {
		s.page = nil
	}
	scratches.Put(s)
}

// lists are some that are not in use.
type lists[T any] struct {
	free [][]T
	held int // bytes
}

// The bounds of what is kept: how many lists, and how much room they have together, in bytes.
const (
	maxFree = 64
	maxRoom = 3 << 20
)

// get returns an empty list with room for n: the smallest that has it, unless it is far too large.
func (l *lists[T]) get(n int) []T {
	best := -1
	for i, list := range l.free {
		if c := cap(list); c >= n && c <= 4*n && (best < 0 || c < cap(l.free[best])) {
			best = i
		}
	}
	if best < 0 {
		step := 1 << max(0, bits.Len(uint(n))-3) // rounded up, so that it fits the next one as well
		return make([]T, 0, (n+step-1)/step*step)
	}
	list := l.free[best]
	l.held -= size(list)
	l.free[best] = l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	return list[:0]
}

func (l *lists[T]) put(list []T) {
	if cap(list) > 0 && len(l.free) < maxFree && l.held+size(list) <= maxRoom {
		l.held += size(list)
		l.free = append(l.free, list)
	}
}

// size is the room that a list has, in bytes.
func size[T any](list []T) int {
	var one T
	return cap(list) * int(unsafe.Sizeof(one))
}

// grow returns a list of that length; what was in it may be gone.
func grow[T any](list []T, n int) []T {
	if cap(list) < n {
		return make([]T, n, n+n/4)
	}
	return list[:n]
}
