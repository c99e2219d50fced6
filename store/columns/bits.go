package columns

import (
	"iter"
	"math/bits"
)

// Bits is a set of rows of one row group.
type Bits []uint64

// newBits returns an empty set with room for n rows.
func newBits(n int) Bits { return make(Bits, (n+63)/64) }

// full returns the set of all n rows.
func full(n int) Bits {
	b := newBits(n)
	for i := range b {
		b[i] = ^uint64(0)
	}
	if n%64 != 0 {
		b[len(b)-1] = 1<<(n%64) - 1
	}
	return b
}

// Has reports whether row i is in the set.
func (b Bits) Has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

// Set puts row i into the set.
func (b Bits) Set(i int) { b[i/64] |= 1 << (i % 64) }

// setRange puts the rows from low on and before high into the set.
func (b Bits) setRange(low, high int) {
	for i := low / 64; i*64 < high; i++ {
		w := ^uint64(0)
		if i*64 < low {
			w <<= low - i*64
		}
		if high < i*64+64 {
			w &= 1<<(high-i*64) - 1
		}
		b[i] |= w
	}
}

func (b Bits) clear(i int) { b[i/64] &^= 1 << (i % 64) }

// Count is the number of rows.
func (b Bits) Count() int {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// Empty reports whether there is no row.
func (b Bits) Empty() bool {
	for _, w := range b {
		if w != 0 {
			return false
		}
	}
	return true
}

// ends are the first and the last row, 0 and -1 where there is none.
func (b Bits) ends() (first, last int) {
	low, high := 0, len(b)-1
	for low <= high && b[low] == 0 {
		low++
	}
	if low > high {
		return 0, -1
	}
	for b[high] == 0 {
		high--
	}
	return low*64 + bits.TrailingZeros64(b[low]), high*64 + 63 - bits.LeadingZeros64(b[high])
}

// All are the rows in order.
func (b Bits) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, w := range b {
			for ; w != 0; w &= w - 1 {
				if !yield(i*64 + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}

// between are the rows from low on and before high, in order.
func (b Bits) between(low, high int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := low / 64; i*64 < high; i++ {
			w := b[i]
			if i*64 < low {
				w &= ^uint64(0) << (low - i*64)
			}
			if high < i*64+64 {
				w &= 1<<(high-i*64) - 1
			}
			for ; w != 0; w &= w - 1 {
				if !yield(i*64 + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}

// within reports whether another set has all rows of this one.
func (b Bits) within(o Bits) bool {
	for i, w := range b {
		if w&^o[i] != 0 {
			return false
		}
	}
	return true
}

// any reports whether there is a row from low on and before high.
func (b Bits) any(low, high int) bool {
	for i := low / 64; i < len(b) && i*64 < high; i++ {
		w := b[i]
		if i*64 < low {
			w &= ^uint64(0) << (low - i*64)
		}
		if high < i*64+64 {
			w &= 1<<(high-i*64) - 1
		}
		if w != 0 {
			return true
		}
	}
	return false
}

func (b Bits) clone() Bits { return append(Bits(nil), b...) }

func (b Bits) and(o Bits) Bits {
	for i := range b {
		b[i] &= o[i]
	}
	return b
}

// Or adds the rows of another set.
func (b Bits) Or(o Bits) Bits {
	for i := range b {
		b[i] |= o[i]
	}
	return b
}

func (b Bits) without(o Bits) Bits {
	for i := range b {
		b[i] &^= o[i]
	}
	return b
}
