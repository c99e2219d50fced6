package columns

import (
	"fmt"
	"math"
	"math/bits"
	"unsafe"

	"github.com/parquet-go/parquet-go"

	"github.com/devloop-io/devloop/filter"
)

// Classes sorts rows of a group by what some columns hold: rows of one class hold the same.
type Classes struct {
	Of     []uint32 // the class of each row that is sorted; of others nothing
	First  []int    // of each class the first row
	Number []uint32 // of each class, where there is a numbering
	sel    Bits
	whole  bool // sel is all rows
	by     *Numbering
	steps  int // columns so far
	memory *scratch
	spare  []uint32
	table  []uint32
	pieces []piece
}

// piece is a page of a column, of which every value has a number.
type piece struct {
	start, n int
	codes    []uint32
	same     bool // all have the number code
	code     uint32
}

// Sort begins with all rows of sel in one class. With a numbering, which may be nil, classes have numbers.
func (g *Group) Sort(sel Bits, by *Numbering) *Classes {
	c := &Classes{Of: g.memory.offsets.get(g.Rows)[:g.Rows], sel: sel, whole: sel.Count() == g.Rows, by: by, memory: g.memory}
	clear(c.Of)
	for i := range sel.All() {
		c.First, c.Number = append(c.First, i), append(c.Number, 0)
		break
	}
	if by != nil {
		by.last = max(by.last, 1)
	}
	return c
}

// maxDense is the largest table with a place for each class and each value; beyond it they are looked up.
const maxDense = 1 << 18

// Split is a copy that can be split further by itself, with numbers of its own.
func (c *Classes) Split(by *Numbering) *Classes {
	o := &Classes{Of: append(c.memory.offsets.get(len(c.Of)), c.Of...), First: append([]int(nil), c.First...), Number: append([]uint32(nil), c.Number...), sel: c.sel, whole: c.whole, by: by, steps: 1, memory: c.memory}
	first := by.step(0)
	for k, old := range o.Number {
		o.Number[k] = by.class(first, old, 0)
	}
	return o
}

// Done gives memory back: the classes are not used any more.
func (c *Classes) Done() {
	c.memory.offsets.put(c.Of)
	*c = Classes{}
}

// By splits the classes by a column.
func (c *Classes) By(g *Group, name string) error {
	number := c.steps
	c.steps++
	if len(c.First) == 0 {
		return nil
	}
	column, n, err := c.values(g, name, c.sel)
	if err != nil {
		return err
	}
	if n <= 1 {
		c.renumber(column, number)
		return nil
	}
	old := len(c.First)
	dense, numbers := c.lookUp(old, n, g.Rows), c.Number
	c.First, c.Number, c.spare = c.First[:0], c.spare[:0], numbers
	for k := range c.pieces {
		p := &c.pieces[k]
		code := p.code
		for i := p.start; i < p.start+p.n; i++ {
			if !c.whole && !c.sel.Has(i) {
				continue
			}
			if !p.same {
				code = p.codes[i-p.start]
			}
			place := c.cell(dense, int(c.Of[i])*n+int(code))
			if *place == 0 {
				c.begin(column, number, i, numbers)
				*place = uint32(len(c.First))
			}
			c.Of[i] = *place - 1
		}
	}
	return nil
}

// ByAmong splits the rows of only off their classes, by a column. Which rows are the first ones then, Settle finds out.
func (c *Classes) ByAmong(g *Group, name string, only Bits) error {
	number := c.steps
	c.steps++
	if only.Empty() {
		return nil
	}
	column, n, err := c.values(g, name, only)
	if err != nil {
		return err
	}
	old := len(c.First)
	dense, numbers := c.lookUp(old, n, g.Rows), c.Number
	for k := range c.pieces {
		p := &c.pieces[k]
		code := p.code
		for i := range only.between(p.start, p.start+p.n) {
			if !p.same {
				code = p.codes[i-p.start]
			}
			place := c.cell(dense, int(c.Of[i])*n+int(code))
			if *place == 0 {
				c.begin(column, number, i, numbers)
				*place = uint32(len(c.First))
			}
			c.Of[i] = *place - 1
		}
	}
	return nil
}

// ByFlags splits the classes by some columns of flags, at most eight, in one step.
func (c *Classes) ByFlags(g *Group, names []string) error {
	number := c.steps
	c.steps++
	if len(c.First) == 0 {
		return nil
	}
	if len(names) > 8 {
		return fmt.Errorf("%d columns of flags are too many for one step", len(names))
	}
	c.memory.codes = grow(c.memory.codes, g.Rows)
	codes := c.memory.codes
	clear(codes)
	for k, name := range names {
		column, err := g.ColumnOf(name, c.sel)
		if err != nil {
			return err
		}
		column.addFlags(codes, uint32(1)<<k)
	}
	n := 1 << len(names)
	dense, numbers := c.lookUp(len(c.First), n, g.Rows), c.Number
	c.First, c.Number, c.spare = c.First[:0], c.spare[:0], numbers
	for i, code := range codes {
		if !c.whole && !c.sel.Has(i) {
			continue
		}
		place := c.cell(dense, int(c.Of[i])*n+int(code))
		if *place == 0 {
			c.First = append(c.First, i)
			if c.by != nil {
				c.Number = append(c.Number, c.by.class(c.by.step(number), numbers[c.Of[i]], code))
			}
			*place = uint32(len(c.First))
		}
		c.Of[i] = *place - 1
	}
	return nil
}

// cell is where the class stands that rows of one class and one number come to.
func (c *Classes) cell(dense bool, key int) *uint32 {
	if dense {
		return &c.table[key]
	}
	return c.hashed(uint64(key))
}

// begin adds the class of row i, which was of another one.
func (c *Classes) begin(column *Column, number, i int, numbers []uint32) {
	c.First = append(c.First, i)
	if c.by == nil {
		return
	}
	s := c.by.step(number)
	c.Number = append(c.Number, c.by.class(s, numbers[c.Of[i]], c.by.value(s, column, i)))
}

// renumber is begin for all classes, of which none is split.
func (c *Classes) renumber(column *Column, number int) {
	if c.by == nil {
		return
	}
	s := c.by.step(number)
	for k, i := range c.First {
		c.Number[k] = c.by.class(s, c.Number[k], c.by.value(s, column, i))
	}
}

// lookUp prepares to look up classes, of which there are old ones, by n numbers: in a table if it is small enough. What is found there is 0
// at first.
func (c *Classes) lookUp(old, n, rows int) (dense bool) {
	if old*n > maxDense {
		c.memory.seen.empty(rows)
		return false
	}
	c.memory.table = grow(c.memory.table, old*n)
	c.table = c.memory.table
	clear(c.table)
	return true
}

func (c *Classes) hashed(key uint64) *uint32 {
	place, found := c.memory.seen.at(key)
	if !found {
		*place = 0
	}
	return place
}

// values numbers what a column holds in the rows of sel, piece by piece, and says how many numbers there are.
func (c *Classes) values(g *Group, name string, sel Bits) (*Column, int, error) {
	column, err := g.ColumnOf(name, sel)
	if err != nil {
		return nil, 0, err
	}
	c.pieces = c.pieces[:0]
	if column.coded() {
		for k := range column.parts {
			p := &column.parts[k]
			codes := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(p.codes))), len(p.codes)) // none is negative
			c.pieces = append(c.pieces, piece{start: p.start, n: p.n, codes: codes, same: p.same, code: uint32(p.code)})
		}
		if n := len(column.dict); !c.alike() {
			return column, n, nil
		}
		for k := range c.pieces {
			c.pieces[k].code = 0
		}
		return column, 1, nil
	}
	c.memory.codes = grow(c.memory.codes, g.Rows)
	n := column.codes(c.memory.codes, sel)
	for k := range column.parts {
		p := &column.parts[k]
		c.pieces = append(c.pieces, piece{start: p.start, n: p.n, codes: c.memory.codes[p.start : p.start+p.n]})
	}
	return column, n, nil
}

// alike reports whether all pieces have one number.
func (c *Classes) alike() bool {
	for k := range c.pieces {
		if p := &c.pieces[k]; !p.same || p.code != c.pieces[0].code {
			return false
		}
	}
	return true
}

// coded reports whether all values are numbers into the dictionary.
func (c *Column) coded() bool {
	for k := range c.parts {
		if c.parts[k].dict == nil {
			return false
		}
	}
	return true
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

// addFlags adds a number for each row whose flag is set. Most flags are set in few rows, or in long stretches.
func (c *Column) addFlags(out []uint32, number uint32) {
	for k := range c.parts {
		p := &c.parts[k]
		if p.same {
			if p.value != 0 {
				for i := range p.n {
					out[p.start+i] |= number
				}
			}
			continue
		}
		for at, b := range p.flags {
			for ; b != 0; b &= b - 1 {
				if i := at*8 + bits.TrailingZeros8(b); i < p.n {
					out[p.start+i] |= number
				}
			}
		}
	}
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
		for _, v := range p.small {
			low, high = min(low, int64(v)), max(high, int64(v))
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
	known := map[string]uint32{} // a text may have a number in the dictionary as well: then two classes are alike
	for k := range c.parts {
		p := &c.parts[k]
		if p.dict != nil {
			continue
		}
		for i := range sel.between(p.start, p.start+p.n) {
			text := p.text(i - p.start)
			code, ok := known[string(text)]
			if !ok {
				code = uint32(len(dict) + len(known))
				known[string(text)] = code
			}
			out[i] = code
		}
	}
	return len(dict) + len(known)
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

// Numbers are those of a column, row by row: its own, or copied into room where pages have none of their own. They are valid until the
// group is done with.
func (c *Column) Numbers(room *[]int64, rows int) []int64 {
	whole := len(c.numberRoom) == rows
	for k := range c.parts {
		whole = whole && !c.parts[k].same && !c.parts[k].own
	}
	if whole {
		return c.numberRoom
	}
	*room = grow(*room, rows)
	out := *room
	for k := range c.parts {
		p := &c.parts[k]
		if p.same {
			for i := range p.n {
				out[p.start+i] = p.value
			}
		}
		copy(out[p.start:], p.large)
		for i, v := range p.small {
			out[p.start+i] = int64(v)
		}
	}
	return out
}
