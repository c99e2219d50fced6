package columns

import (
	"bytes"
	"fmt"
	"math"
	"sort"
	"strings"
	"unsafe"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding"
	"github.com/parquet-go/parquet-go/format"
)

// Column is one column of a row group, as it lies in the file: where it has a dictionary, values are numbers into it.
type Column struct {
	Kind   parquet.Kind
	rows   Bits // that were asked for: pages without any are left out; nil for all
	whole  bool // all pages were read, and those that were left out only for what they hold
	parts  []part
	memory *scratch

	dict       []string
	copies     []string // of texts of the dictionary, as far as they were asked for
	dictBytes  []byte
	smallRoom  []int32 // of all rows, of which parts are pieces: numbers of 32 bits, and those of texts
	numberRoom []int64
}

// part is one page.
type part struct {
	start int  // row in the group
	n     int  // rows
	same  bool // all hold the value at hand; of texts without a dictionary the empty one
	own   bool // codes and numbers are not pieces of the column's
	code  int32
	value int64 // also of a flag

	dict    []string // of a text page with a dictionary
	codes   []int32
	data    []byte // of a text page without: the values one behind the other, and where each begins
	offsets []uint32
	large   []int64 // of a page of numbers
	small   []int32 // of one of numbers of 32 bits
	double  []float64
	flags   []byte // bit by bit
}

// columnReader reads a column page by page.
type columnReader struct {
	*Column
	pages pages
	chunk *chunk
	n     int  // rows of the group
	next  int  // row of the next page
	few   bool // pages are few, and have room of their own

	needle []byte // pages of texts without it are left out; nil for none
}

// readColumn reads a column: whole, or the pages that hold some of the rows, which may be few, and the needle. What it borrows is given
// back with release.
func (g *Group) readColumn(i int, rows Bits, few bool, needle []byte) (*Column, error) {
	x, err := g.chunk(i, g.number)
	if err != nil {
		return nil, err
	}
	r := &columnReader{Column: &Column{Kind: g.lies[i].kind, rows: rows, memory: g.memory}, chunk: x, n: g.Rows, few: few, needle: needle,
		pages: pages{from: g.from, memory: g.memory, codec: x.codec, at: x.at, end: x.at + x.size}}
	if r.chunk.same {
		r.rows = nil
		r.parts = append(r.parts, part{n: r.n, same: true, value: r.chunk.low})
		return r.Column, nil
	}
	if err := r.read(); err != nil {
		r.release()
		return nil, err
	}
	return r.Column, nil
}

func (r *columnReader) read() error {
	if r.rows != nil && r.chunk.size > wholeChunk && r.chunk.index > 0 {
		return r.readPlaces()
	}
	for r.next < r.n {
		if r.pages.at >= r.pages.end {
			return fmt.Errorf("a column has %d values for %d rows", r.next, r.n)
		}
		if err := r.readPage(window); err != nil {
			return err
		}
	}
	if r.next > r.n {
		return fmt.Errorf("a column has %d values for %d rows", r.next, r.n)
	}
	return nil
}

// readPlaces reads the pages that hold rows which are asked for.
func (r *columnReader) readPlaces() error {
	places, err := readIndex(r.pages.from, r.chunk, r.n)
	if err != nil {
		return err
	}
	seen := false // whether the dictionary, which stands before the first page, was read
	for i, p := range places {
		end := r.n
		if i+1 < len(places) {
			end = places[i+1].row
		}
		if !r.rows.any(p.row, end) {
			continue
		}
		if !seen && places[0].at > r.chunk.at {
			r.pages.at = r.chunk.at
			if err := r.readPage(places[0].at - r.chunk.at); err != nil {
				return err
			}
		}
		seen = true
		r.pages.at, r.next = p.at, p.row
		if err := r.readPage(int64(p.size)); err != nil {
			return err
		}
		if r.next != end {
			return fmt.Errorf("a page ends at row %d, and its index says %d", r.next, end)
		}
	}
	return nil
}

// readPage reads the page at hand. Ahead is how much of the file is read with it.
func (r *columnReader) readPage(ahead int64) error {
	h, err := r.pages.header(ahead)
	if err != nil {
		return err
	}
	switch h.kind {
	case format.DictionaryPage:
		b, err := r.pages.values(&h, ahead)
		if err != nil {
			return err
		}
		return r.dictionary(&h, b)
	case format.DataPage, format.DataPageV2:
	default:
		r.pages.at += int64(h.packed)
		return nil
	}
	first := r.next
	if r.next += h.values; h.values == 0 || r.next > r.n || r.rows != nil && !r.rows.any(first, r.next) {
		r.pages.at += int64(h.packed)
		return nil
	}
	b, err := r.pages.values(&h, ahead)
	if err != nil {
		return err
	}
	if r.needle != nil && r.Kind == parquet.ByteArray && h.encoding != format.RLEDictionary && !holds(b, r.needle) {
		r.without(first, r.next)
		return nil
	}
	p := part{start: first, n: h.values}
	if err := r.decode(&p, &h, b); err != nil {
		return err
	}
	r.parts = append(r.parts, p)
	return nil
}

// without tells that a page was left out: its rows are not among those that were read.
func (r *columnReader) without(from, to int) {
	left := newBits(r.n)
	left.setRange(0, from)
	left.setRange(to, r.n)
	if r.rows != nil {
		left.and(r.rows)
	}
	r.rows = left
}

// dictionary reads the texts that numbers stand for.
func (r *columnReader) dictionary(h *page, b []byte) (err error) {
	if r.Kind != parquet.ByteArray {
		return fmt.Errorf("a dictionary of %v is not expected here", r.Kind)
	}
	if r.dict != nil || h.values > len(b)/4 {
		return errDamaged
	}
	offsets := r.memory.offsets.get(h.values + 1)
	defer func() { r.memory.offsets.put(offsets) }()
	r.dictBytes, offsets, err = parquet.Plain.DecodeByteArray(r.memory.bytes.get(len(b)), b, offsets)
	if err == nil && len(offsets) != h.values+1 {
		err = errDamaged
	}
	if err != nil {
		return err
	}
	text := unsafe.String(unsafe.SliceData(r.dictBytes), len(r.dictBytes)) // never changed until release
	r.dict = r.memory.texts.get(h.values)
	for i := range h.values {
		r.dict = append(r.dict, text[offsets[i]:offsets[i+1]])
	}
	return nil
}

// decode reads the values of a page. The library panics on some bytes that are no page.
func (r *columnReader) decode(p *part, h *page, b []byte) (err error) {
	defer func() {
		if recover() != nil {
			err = errDamaged
		}
	}()
	length := 0
	switch coded := h.encoding == format.RLEDictionary; {
	case coded && r.Kind == parquet.ByteArray:
		return r.decodeCodes(p, b)
	case coded:
		return fmt.Errorf("a dictionary of %v is not expected here", r.Kind)
	case r.Kind == parquet.Boolean:
		p.flags = append(r.memory.bytes.get(len(b)), b...)
		length = min(p.n, 8*len(b))
		p.same, p.value = sameFlags(p.flags, p.n)
	case r.Kind == parquet.ByteArray:
		length, err = r.decodeTexts(p, h, b)
	case r.Kind == parquet.Int32 || r.Kind == parquet.Int64:
		length, err = r.decodeNumbers(p, h, b)
	case r.Kind == parquet.Double && h.encoding == format.Plain:
		p.double, err = parquet.Plain.DecodeDouble(r.memory.doubles.get(p.n), b)
		length = len(p.double)
	default:
		return fmt.Errorf("columns of %v in %v are not read", r.Kind, h.encoding)
	}
	if err == nil && length != p.n {
		err = fmt.Errorf("a page holds %d values, and says %d", length, p.n)
	}
	return err
}

// sameFlags reports whether all flags of a page are equal, and what they are.
func sameFlags(flags []byte, n int) (bool, int64) {
	if n < 8 || len(flags) < n/8 || flags[0] != 0 && flags[0] != 0xff {
		return false, 0
	}
	whole := flags[:n/8]
	if bytes.Count(whole, whole[:1]) != len(whole) {
		return false, 0
	}
	first := flags[0] & 1
	for i := n / 8 * 8; i < n; i++ {
		if i/8 >= len(flags) || flags[i/8]>>(i%8)&1 != first {
			return false, 0
		}
	}
	return true, int64(first)
}

func (r *columnReader) decodeCodes(p *part, b []byte) (err error) {
	if len(b) == 0 || b[0] > 32 {
		return errDamaged
	}
	ok, same, code := runsOf(b[1:], int(b[0]), p.n)
	if !ok {
		return errDamaged
	}
	p.dict = r.dict
	if p.same, p.code = same, code; same {
		if code < 0 || int(code) >= len(p.dict) {
			return fmt.Errorf("value %d of a dictionary of %d", code, len(p.dict))
		}
		return nil
	}
	if p.codes, err = parquet.RLEDictionary.DecodeInt32(r.smallOf(p), b); err != nil {
		return err
	}
	p.codes = p.codes[:p.n:p.n]
	most := uint32(0)
	for _, code := range p.codes {
		most = max(most, uint32(code))
	}
	if int(most) >= len(p.dict) {
		return fmt.Errorf("value %d of a dictionary of %d", most, len(p.dict))
	}
	return nil
}

// smallOf is empty, with room for the numbers of a page, and 8 more: some are decoded eight at a time.
func (r *columnReader) smallOf(p *part) []int32 {
	if p.own = r.few; p.own {
		return r.memory.small.get(p.n + 8)
	}
	if r.smallRoom == nil {
		r.smallRoom = r.memory.small.get(r.n + 8)
	}
	return r.smallRoom[p.start:p.start]
}

func (r *columnReader) decodeTexts(p *part, h *page, b []byte) (n int, err error) {
	var coding encoding.Encoding = &parquet.Plain
	if h.encoding == format.DeltaLengthByteArray {
		coding = &parquet.DeltaLengthByteArray
		if !isDeltaOf(b, p.n) {
			return 0, errDamaged
		}
	} else if h.encoding != format.Plain {
		return 0, fmt.Errorf("texts in %v are not read", h.encoding)
	}
	if len(b) > math.MaxInt32 {
		return 0, errDamaged
	}
	p.data, p.offsets, err = coding.DecodeByteArray(r.memory.bytes.get(len(b)), b, r.memory.offsets.get(p.n+1))
	p.same = len(p.data) == 0
	return len(p.offsets) - 1, err
}

func (r *columnReader) decodeNumbers(p *part, h *page, b []byte) (n int, err error) {
	delta := h.encoding == format.DeltaBinaryPacked
	if delta && !isDeltaOf(b, p.n) || !delta && h.encoding != format.Plain {
		return 0, errDamaged
	}
	if r.Kind == parquet.Int32 {
		if delta {
			p.small, err = parquet.DeltaBinaryPacked.DecodeInt32(r.smallOf(p), b)
		} else {
			p.small, err = parquet.Plain.DecodeInt32(r.smallOf(p), b)
		}
		return len(p.small), err
	}
	out := []int64(nil)
	if p.own = r.few; p.own {
		out = r.memory.numbers.get(p.n)[:p.n]
	} else {
		if r.numberRoom == nil {
			r.numberRoom = r.memory.numbers.get(r.n)[:r.n]
		}
		out = r.numberRoom[p.start:]
	}
	if delta {
		p.large, err = parquet.DeltaBinaryPacked.DecodeInt64(out, b)
	} else {
		p.large, err = parquet.Plain.DecodeInt64(out, b)
	}
	return len(p.large), err
}

// drop gives back what a page borrowed.
func (c *Column) drop(p *part) {
	c.memory.bytes.put(p.flags)
	c.memory.bytes.put(p.data)
	c.memory.offsets.put(p.offsets)
	c.memory.doubles.put(p.double)
	if p.own {
		c.memory.numbers.put(p.large)
		c.memory.small.put(p.small)
		c.memory.small.put(p.codes)
	}
}

func (c *Column) release() {
	for i := range c.parts {
		c.drop(&c.parts[i])
	}
	c.memory.bytes.put(c.dictBytes)
	c.memory.texts.put(c.dict)
	c.memory.small.put(c.smallRoom)
	c.memory.numbers.put(c.numberRoom)
	*c = Column{Kind: c.Kind}
}

// at is the page that holds row i.
func (c *Column) at(i int) (*part, int) {
	if len(c.parts) == 1 {
		return &c.parts[0], i - c.parts[0].start
	}
	k := sort.Search(len(c.parts), func(k int) bool { return c.parts[k].start > i }) - 1
	return &c.parts[k], i - c.parts[k].start
}

// Text is row i of a text column. It is valid until the group is done with.
func (c *Column) Text(i int) []byte {
	p, i := c.at(i)
	return p.text(i)
}

// String is Text for good. Of a dictionary each text is copied once.
func (c *Column) String(i int) string {
	p, i := c.at(i)
	if p.dict == nil {
		return string(p.text(i))
	}
	if c.copies == nil {
		c.copies = make([]string, len(c.dict))
	}
	code := p.number32(i)
	if c.copies[code] == "" {
		c.copies[code] = strings.Clone(p.dict[code])
	}
	return c.copies[code]
}

// Zero reports whether the rows that were asked for hold nothing: no text, 0 or false.
func (c *Column) Zero() bool {
	for k := range c.parts {
		p := &c.parts[k]
		if !p.same || p.value != 0 || p.dict != nil && p.dict[p.code] != "" {
			return false
		}
	}
	return true
}

func (p *part) text(i int) []byte {
	switch {
	case p.same && p.dict == nil:
		return nil
	case p.dict != nil:
		v := p.dict[p.number32(i)]
		return unsafe.Slice(unsafe.StringData(v), len(v))
	}
	return p.data[p.offsets[i]:p.offsets[i+1]]
}

// number32 is the number of a text in the dictionary.
func (p *part) number32(i int) int32 {
	if p.same {
		return p.code
	}
	return p.codes[i]
}

// Number is row i of a number column.
func (c *Column) Number(i int) int64 {
	p, i := c.at(i)
	return p.number(i)
}

func (p *part) number(i int) int64 {
	if p.same {
		return p.value
	}
	if p.small != nil {
		return int64(p.small[i])
	}
	return p.large[i]
}

// Fraction is row i of a column of floating point numbers.
func (c *Column) Fraction(i int) float64 {
	p, i := c.at(i)
	return p.double[i]
}

// Flag is row i of a column of flags.
func (c *Column) Flag(i int) bool {
	p, i := c.at(i)
	return p.flag(i)
}

func (p *part) flag(i int) bool {
	if p.same {
		return p.value != 0
	}
	return p.flags[i/8]&(1<<(i%8)) != 0
}

// asker finds the rows whose text passes: each distinct value of a dictionary is asked once. No text passes without the needle: pages that
// do not hold it are left out whole.
type asker struct {
	sel, out Bits
	needle   []byte
	test     func([]byte) bool
	testText func(string) bool
	seen     []bool // of the dictionary
}

// page asks the rows of a page, and reports whether it was of any use.
func (a *asker) page(p *part) bool {
	switch {
	case p.dict != nil:
		if a.seen == nil {
			a.seen = make([]bool, len(p.dict))
			for i, v := range p.dict {
				a.seen[i] = a.testText(v)
			}
		}
		if p.same {
			if a.seen[p.code] {
				a.out.setRange(p.start, p.start+p.n)
			}
			break
		}
		for i, code := range p.codes {
			if a.seen[code] {
				a.out.Set(p.start + i)
			}
		}
	case p.same:
		if a.test(nil) {
			a.out.setRange(p.start, p.start+p.n)
		}
	case len(a.needle) > 0 && !bytes.Contains(p.data, a.needle):
		return false
	default:
		found := false
		for i := range p.n {
			if a.sel.Has(p.start+i) && a.test(p.text(i)) {
				a.out.Set(p.start + i)
				found = true
			}
		}
		return found
	}
	return true
}

func (c *Column) whereText(sel, out Bits, needle []byte, test func([]byte) bool, testText func(string) bool) {
	a := asker{sel: sel, out: out, needle: needle, test: test, testText: testText}
	for k := range c.parts {
		a.page(&c.parts[k])
	}
	out.and(sel)
}

// whereFilled are the rows of sel whose text is not empty.
func (c *Column) whereFilled(sel, out Bits) {
	c.whereText(sel, out, nil, func(b []byte) bool { return len(b) > 0 }, func(v string) bool { return v != "" })
}

func (c *Column) whereNumber(sel, out Bits, test func(int64) bool) {
	for k := range c.parts {
		p := &c.parts[k]
		if p.same {
			if test(p.value) {
				out.setRange(p.start, p.start+p.n)
			}
			continue
		}
		for i, v := range p.large {
			if test(v) {
				out.Set(p.start + i)
			}
		}
		for i, v := range p.small {
			if test(int64(v)) {
				out.Set(p.start + i)
			}
		}
	}
	out.and(sel)
}

// whereBetween are the rows of sel whose number lies between two bounds, both included.
func (c *Column) whereBetween(sel, out Bits, low, high int64) {
	if low > high {
		return
	}
	span := uint64(high) - uint64(low)
	for k := range c.parts {
		p := &c.parts[k]
		if p.same {
			if uint64(p.value)-uint64(low) <= span {
				out.setRange(p.start, p.start+p.n)
			}
			continue
		}
		for i, v := range p.large {
			if uint64(v)-uint64(low) <= span {
				out.Set(p.start + i)
			}
		}
		for i, v := range p.small {
			if uint64(v)-uint64(low) <= span {
				out.Set(p.start + i)
			}
		}
	}
	out.and(sel)
}

// whereFlag are the rows of sel whose flag passes. Flags lie in the file as sets do: bit by bit, the first in the lowest.
func (c *Column) whereFlag(sel, out Bits, test func(bool) bool) {
	yes, no := test(true), test(false)
	for k := range c.parts {
		p := &c.parts[k]
		if p.same {
			if p.value != 0 && yes || p.value == 0 && no {
				out.setRange(p.start, p.start+p.n)
			}
			continue
		}
		for i, b := range p.flags {
			switch {
			case yes && no:
				b = 0xff
			case no:
				b = ^b
			case !yes:
				b = 0
			}
			if left := p.n - 8*i; left < 8 {
				b &= 1<<max(0, left) - 1
			}
			at := p.start + 8*i
			if b == 0 {
				continue
			}
			out[at/64] |= uint64(b) << (at % 64)
			if over := at%64 + 8 - 64; over > 0 && at/64+1 < len(out) {
				out[at/64+1] |= uint64(b) >> (8 - over)
			}
		}
	}
	out.and(sel)
}
