package columns

import (
	"encoding/binary"
	"math"
	"sync"

	"github.com/parquet-go/parquet-go"

	"github.com/devloop-io/devloop/filter"
)

// Classes sorts rows of a group by what some columns hold: rows of one class hold the same.
type Classes struct {
	Of    []uint32 // the class of each row that is sorted; of others nothing
	First []int    // of each class the first row
	sel   Bits
	whole bool // sel is all rows
	codes []uint32
	table []uint32
}

// Sort begins with all rows of sel in one class.
func (g *Group) Sort(sel Bits) *Classes {
	c := &Classes{Of: make([]uint32, g.Rows), sel: sel, whole: sel.Count() == g.Rows}
	for i := range sel.All() {
		c.First = append(c.First, i)
		break
	}
	return c
}

// maxDense is the largest table with a place for each class and each value; beyond it they are looked up.
const maxDense = 1 << 18

// Clone is a copy that can be split further by itself.
func (c *Classes) Clone() *Classes {
	return &Classes{Of: append([]uint32(nil), c.Of...), First: append([]int(nil), c.First...), sel: c.sel, whole: c.whole}
}

// By splits the classes by a column.
func (c *Classes) By(g *Group, name string) error {
	if len(c.First) == 0 {
		return nil
	}
	column, err := g.ColumnOf(name, c.sel)
	if err != nil {
		return err
	}
	if len(c.codes) < g.Rows {
		c.codes = make([]uint32, g.Rows)
	}
	n := column.codes(c.codes, c.sel)
	if n <= 1 {
		return nil
	}
	if old := len(c.First); old*n <= maxDense {
		c.dense(column, n, old)
	} else {
		c.hashed(column, n)
	}
	return nil
}

// ByAmong splits the rows of only off their classes, by a column. Which rows are the first ones then, Settle finds out.
func (c *Classes) ByAmong(g *Group, name string, only Bits) error {
	among := only.Count()
	if among == 0 {
		return nil
	}
	column, err := g.ColumnOf(name, only)
	if err != nil {
		return err
	}
	if len(c.codes) < g.Rows {
		c.codes = make([]uint32, g.Rows)
	}
	n := column.codes(c.codes, only)
	table := newHash(among)
	defer hashes.Put(table)
	for i := range only.All() {
		place, found := table.at(uint64(c.Of[i])*uint64(n) + uint64(c.codes[i]))
		if !found {
			*place = uint32(len(c.First))
			c.First = append(c.First, i)
		}
		c.Of[i] = *place
	}
	return nil
}

// Settle finds the first row of each class again, after [Classes.ByAmong]: -1 where none is left.
func (c *Classes) Settle() {
	for k := range c.First {
		c.First[k] = -1
	}
	for i := len(c.Of) - 1; i >= 0; i-- {
		if c.whole || c.sel.Has(i) {
			c.First[c.Of[i]] = i
		}
	}
}

// hash is a hash table with open addressing, at least twice as large as what it holds.
type hash struct {
	slots []slot
	mask  int
	round uint32 // slots of earlier rounds are free
}

type slot struct {
	key          uint64
	value, round uint32
}

// hashes are used again: they are large.
var hashes = sync.Pool{New: func() any { return new(hash) }}

// newHash has room for n keys. Give it back with hashes.Put.
func newHash(n int) *hash {
	size := 16
	for size < 2*n {
		size *= 2
	}
	h, _ := hashes.Get().(*hash)
	if h.round++; len(h.slots) < size || h.round == 0 {
		h.slots, h.round = make([]slot, size), 1
	}
	h.mask = size - 1
	return h
}

// at is the place of a key, and whether it was there before.
func (h *hash) at(key uint64) (*uint32, bool) {
	i := int((key+1)*0x9e3779b97f4a7c15>>32) & h.mask
	for h.slots[i].round == h.round && h.slots[i].key != key {
		i = (i + 1) & h.mask
	}
	s := &h.slots[i]
	found := s.round == h.round
	s.round, s.key = h.round, key
	return &s.value, found
}

func (c *Classes) dense(column *Column, n, old int) {
	if cap(c.table) < old*n {
		c.table = make([]uint32, old*n)
	}
	table := c.table[:old*n]
	clear(table)
	c.First = c.First[:0]
	for k := range column.parts {
		p := &column.parts[k]
		for i := p.start; i < p.start+p.n; i++ {
			if !c.whole && !c.sel.Has(i) {
				continue
			}
			slot := &table[int(c.Of[i])*n+int(c.codes[i])]
			if *slot == 0 {
				c.First = append(c.First, i)
				*slot = uint32(len(c.First))
			}
			c.Of[i] = *slot - 1
		}
	}
}

// hashed is dense with a hash table.
func (c *Classes) hashed(column *Column, n int) {
	table := newHash(len(c.Of))
	defer hashes.Put(table)
	c.First = c.First[:0]
	for k := range column.parts {
		p := &column.parts[k]
		for i := p.start; i < p.start+p.n; i++ {
			if !c.whole && !c.sel.Has(i) {
				continue
			}
			place, found := table.at(uint64(c.Of[i])*uint64(n) + uint64(c.codes[i]))
			if !found {
				*place = uint32(len(c.First))
				c.First = append(c.First, i)
			}
			c.Of[i] = *place
		}
	}
}

// codes gives each value of the rows of sel a number, and returns how many numbers there are.
func (c *Column) codes(out []uint32, sel Bits) int {
	switch c.Kind {
	case parquet.Boolean:
		if c.constant() {
			return 1
		}
		for k := range c.parts {
			p := &c.parts[k]
			for i := range p.n {
				out[p.start+i] = 0
				if p.flag(i) {
					out[p.start+i] = 1
				}
			}
		}
		return 2
	case parquet.Int32, parquet.Int64:
		return c.numberCodes(out, sel)
	}
	return c.textCodes(out, sel)
}

// constant reports whether no flag of the column is set; so a call that is of one protocol is not of the others.
func (c *Column) constant() bool {
	for k := range c.parts {
		if p := &c.parts[k]; !p.same || p.value != 0 {
			return false
		}
	}
	return true
}

// maxSpan is between the smallest and the largest number of a column that are numbered by their difference.
const maxSpan = 1 << 12

func (c *Column) numberCodes(out []uint32, sel Bits) int {
	low, high := int64(math.MaxInt64), int64(math.MinInt64)
	for k := range c.parts {
		p := &c.parts[k]
		if p.same {
			low, high = min(low, p.value), max(high, p.value)
		}
		for _, v := range p.large {
			low, high = min(low, v), max(high, v)
		}
	}
	if low > high {
		return 0
	}
	if uint64(high)-uint64(low) < maxSpan {
		for k := range c.parts {
			p := &c.parts[k]
			for i := range p.n {
				out[p.start+i] = uint32(p.number(i) - low)
			}
		}
		return int(high-low) + 1
	}
	known := map[int64]uint32{}
	for k := range c.parts {
		p := &c.parts[k]
		for i := range p.n {
			if !sel.Has(p.start + i) {
				continue
			}
			v := p.number(i)
			code, ok := known[v]
			if !ok {
				code = uint32(len(known))
				known[v] = code
			}
			out[p.start+i] = code
		}
	}
	return len(known)
}

func (c *Column) textCodes(out []uint32, sel Bits) int {
	var dict []string
	plain, empty := false, true
	for k := range c.parts {
		p := &c.parts[k]
		if p.dict != nil {
			dict = p.dict
		} else {
			plain = plain || p.n > 0
			empty = empty && p.same
		}
	}
	if plain && empty && dict == nil {
		clear(out)
		return 1
	}
	for k := range c.parts {
		p := &c.parts[k]
		if p.dict != nil && p.same {
			for i := range p.n {
				out[p.start+i] = uint32(p.code)
			}
		}
		for i, code := range p.codes {
			out[p.start+i] = uint32(code)
		}
	}
	if !plain {
		return len(dict)
	}
	known := make(map[string]uint32, len(dict))
	for i, v := range dict {
		known[v] = uint32(i)
	}
	for k := range c.parts {
		p := &c.parts[k]
		if p.dict != nil {
			continue
		}
		for i := range p.n {
			if !sel.Has(p.start + i) {
				continue
			}
			code, ok := known[string(p.text(i))]
			if !ok {
				code = uint32(len(known))
				known[string(p.text(i))] = code
			}
			out[p.start+i] = code
		}
	}
	return len(known)
}

// Where are the rows of sel for which all conditions hold.
func (g *Group) Where(conditions []filter.Condition, sel Bits) (Bits, error) {
	return g.when(&filter.Source{When: conditions}, sel)
}

// WhereText are the rows of sel whose text passes.
func (g *Group) WhereText(name string, sel Bits, test func(string) bool) (Bits, error) {
	c, err := g.ColumnOf(name, sel)
	if err != nil {
		return nil, err
	}
	out := newBits(g.Rows)
	c.whereText(sel, out, nil, func(b []byte) bool { return test(string(b)) }, test)
	return out, nil
}

// Append adds row i of the column to a key: equal rows add the same, and no two values can be taken for one.
func (c *Column) Append(key []byte, i int) []byte {
	switch c.Kind {
	case parquet.Boolean:
		if c.Flag(i) {
			return append(key, 1)
		}
		return append(key, 0)
	case parquet.Int32, parquet.Int64:
		return binary.AppendVarint(key, c.Number(i))
	case parquet.Double:
		return binary.LittleEndian.AppendUint64(key, math.Float64bits(c.Fraction(i)))
	}
	v := c.Text(i)
	return append(binary.AppendUvarint(key, uint64(len(v))), v...)
}

// Numbers copies a number column to out, row by row, and returns it.
func (c *Column) Numbers(out []int64, rows int) []int64 {
	if cap(out) < rows {
		out = make([]int64, rows)
	}
	out = out[:rows]
	for k := range c.parts {
		p := &c.parts[k]
		if p.same {
			for i := range p.n {
				out[p.start+i] = p.value
			}
		}
		copy(out[p.start:], p.large)
	}
	return out
}

// Pairs counts the rows of sel by two classes, of which there are n and m. See gets the pairs in the order of their first rows.
func Pairs(sel Bits, a, b []uint32, n, m int, see func(a, b uint32, count, first int)) {
	type pair struct{ count, first int32 }
	var pairs []pair
	var order []uint64
	if n*m <= maxDense {
		table := make([]int32, n*m)
		for i := range a {
			if !sel.Has(i) {
				continue
			}
			slot := &table[int(a[i])*m+int(b[i])]
			if *slot == 0 {
				pairs = append(pairs, pair{first: int32(i)})
				order = append(order, uint64(a[i])<<32|uint64(b[i]))
				*slot = int32(len(pairs))
			}
			pairs[*slot-1].count++
		}
	} else {
		table := newHash(len(a))
		defer hashes.Put(table)
		for i := range a {
			if !sel.Has(i) {
				continue
			}
			key := uint64(a[i])<<32 | uint64(b[i])
			place, found := table.at(key)
			if !found {
				*place = uint32(len(pairs))
				pairs = append(pairs, pair{first: int32(i)})
				order = append(order, key)
			}
			pairs[*place].count++
		}
	}
	for i, p := range pairs {
		see(uint32(order[i]>>32), uint32(order[i]), int(p.count), int(p.first))
	}
}
