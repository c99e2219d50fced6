package columns

import (
	"strings"

	"github.com/parquet-go/parquet-go"
)

// Numbering gives [Classes] the same numbers in all row groups that one goroutine sorts by the same columns: what follows from a class is
// then asked for once. The zero value is ready.
type Numbering struct {
	steps []*step
	last  uint32 // number given
	held  int    // memory, about
}

// step is what one column told classes apart by.
type step struct {
	next    hash // by an older class and the number of a value
	texts   map[string]uint32
	numbers map[int64]uint32
}

// maxHeld bounds a numbering, in bytes. Beyond it everything is forgotten, and numbered again.
const maxHeld = 4 << 20

// Begin makes room, and reports whether all numbers given before have lost their meaning. It is called between row groups.
func (n *Numbering) Begin() (forgotten bool) {
	if n.held <= maxHeld {
		return false
	}
	*n = Numbering{}
	return true
}

func (n *Numbering) step(i int) *step {
	for len(n.steps) <= i {
		n.steps = append(n.steps, &step{texts: map[string]uint32{}, numbers: map[int64]uint32{}})
	}
	return n.steps[i]
}

// class is the number of a class that was another one until a value told it apart.
func (n *Numbering) class(s *step, old, value uint32) uint32 {
	place, found := s.next.add(uint64(old)<<32 | uint64(value))
	if !found {
		*place = n.last
		n.last++
		n.held += 32
	}
	return *place
}

// value numbers what row i of a column holds.
func (n *Numbering) value(s *step, c *Column, i int) uint32 {
	switch c.Kind {
	case parquet.Boolean:
		if c.Flag(i) {
			return 1
		}
		return 0
	case parquet.Int32, parquet.Int64:
		v := c.Number(i)
		code, ok := s.numbers[v]
		if !ok {
			code = uint32(len(s.numbers))
			s.numbers[v] = code
			n.held += 32
		}
		return code
	}
	text := c.Text(i)
	code, ok := s.texts[string(text)]
	if !ok {
		code = uint32(len(s.texts))
		s.texts[strings.Clone(string(text))] = code
		n.held += 64 + len(text)
	}
	return code
}

// hash is a hash table with open addressing, at least twice as large as what it holds.
type hash struct {
	slots []slot
	n     int
	round uint32 // slots of earlier rounds are free
}

type slot struct {
	key          uint64
	value, round uint32
}

// empty forgets all, and makes room for n keys.
func (h *hash) empty(n int) {
	h.n = 0
	if h.round++; len(h.slots) < 2*n || h.round == 0 {
		size := 16
		for size < 2*n {
			size *= 2
		}
		h.slots, h.round = make([]slot, size), 1
	}
}

// at is the place of a key, and whether it was there before. There must be room.
func (h *hash) at(key uint64) (*uint32, bool) {
	mask := len(h.slots) - 1
	i := int((key+1)*0x9e3779b97f4a7c15>>32) & mask
	for h.slots[i].round == h.round && h.slots[i].key != key {
		i = (i + 1) & mask
	}
	s := &h.slots[i]
	found := s.round == h.round
	s.round, s.key = h.round, key
	return &s.value, found
}

// add is at, and makes room.
func (h *hash) add(key uint64) (*uint32, bool) {
	if 2*h.n >= len(h.slots) {
		old, round := h.slots, h.round
		h.slots = nil
		n := h.n
		h.empty(max(8, 2*n))
		for _, s := range old {
			if s.round == round {
				place, _ := h.at(s.key)
				*place = s.value
			}
		}
		h.n = n
	}
	place, found := h.at(key)
	if !found {
		h.n++
	}
	return place, found
}
