package columns

import (
	"math/bits"
	"sync"
)

// scratch is memory that a goroutine uses for one row group after the other. Columns borrow lists, and give them back when their group is
// done with.
type scratch struct {
	window []byte // of the file
	page   []byte // decompressed

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
type lists[T any] struct{ free [][]T }

// The bounds of what is kept: how many lists, and how long they are.
const (
	maxFree = 64
	maxList = maxDense
)

// get returns an empty list with room for n, if there is one that had it.
func (l *lists[T]) get(n int) []T {
	for i := len(l.free) - 1; i >= 0; i-- {
		if list := l.free[i]; cap(list) >= n {
			l.free[i] = l.free[len(l.free)-1]
			l.free = l.free[:len(l.free)-1]
			return list[:0]
		}
	}
	step := 1 << max(0, bits.Len(uint(n))-3) // rounded up, so that it fits the next one as well
	return make([]T, 0, (n+step-1)/step*step)
}

func (l *lists[T]) put(list []T) {
	if n := cap(list); n > 0 && n <= maxList && len(l.free) < maxFree {
		l.free = append(l.free, list)
	}
}

// grow returns a list of that length; what was in it may be gone.
func grow[T any](list []T, n int) []T {
	if cap(list) < n {
		return make([]T, n, n+n/4)
	}
	return list[:n]
}
