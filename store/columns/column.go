package columns

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/parquet-go/parquet-go"
)

// Column is one column of a row group, as it lies in the file: where it has a dictionary, values are numbers into it.
type Column struct {
	Kind  parquet.Kind
	rows  Bits // that were asked for: pages without any are left out; nil for all
	parts []part
}

// part is one page.
type part struct {
	page    parquet.Page
	start   int // row in the group
	n       int
	dict    []string // of a text page with a dictionary
	codes   []int32
	data    []byte // of a text page without: the values one behind the other, and where each begins
	offsets []uint32
	small   []int32
	large   []int64
	double  []float64
	flags   []byte // bit by bit
}

// readColumn reads a column of a row group: whole, or the pages that hold some of the rows. Its memory is given back with release.
func readColumn(chunk parquet.ColumnChunk, n int, rows Bits) (*Column, error) {
	c := &Column{Kind: chunk.Type().Kind(), rows: rows}
	if rows != nil {
		file, ok := chunk.(*parquet.FileColumnChunk)
		if !ok {
			return nil, errors.New("the column is not of a file")
		}
		index, err := file.OffsetIndex()
		if err != nil && !errors.Is(err, parquet.ErrMissingOffsetIndex) {
			return nil, err
		}
		if err == nil {
			return c, c.readSome(chunk, n, index)
		}
		c.rows = nil
	}
	return c, c.readAll(chunk, n)
}

func (c *Column) readAll(chunk parquet.ColumnChunk, n int) error {
	pages := chunk.Pages()
	defer pages.Close()
	var dict []string
	for at := 0; ; {
		err := c.readPage(pages, &at, &dict)
		if errors.Is(err, io.EOF) {
			if at != n {
				err = fmt.Errorf("a column has %d values for %d rows", at, n)
			} else {
				err = nil
			}
		} else if err == nil {
			continue
		}
		if err != nil {
			c.release()
		}
		return err
	}
}

// readSome reads the pages that hold rows which are asked for.
func (c *Column) readSome(chunk parquet.ColumnChunk, n int, index parquet.OffsetIndex) error {
	pages := chunk.Pages()
	defer pages.Close()
	var dict []string
	for i := range index.NumPages() {
		first, next := int(index.FirstRowIndex(i)), n
		if i+1 < index.NumPages() {
			next = int(index.FirstRowIndex(i + 1))
		}
		if !c.rows.any(first, next) {
			continue
		}
		err := pages.SeekToRow(int64(first))
		if err == nil {
			at := first
			err = c.readPage(pages, &at, &dict)
			if err == nil && at != next {
				err = fmt.Errorf("a page ends at row %d, and its index says %d", at, next)
			}
		}
		if err != nil {
			c.release()
			return err
		}
	}
	return nil
}

// readPage reads the page that begins at row at, and moves at behind it.
func (c *Column) readPage(pages parquet.Pages, at *int, dict *[]string) error {
	page, err := pages.ReadPage()
	if err != nil {
		return err
	}
	c.parts = append(c.parts, part{page: page, start: *at, n: int(page.NumValues())})
	p := &c.parts[len(c.parts)-1]
	*at += p.n
	return p.decode(c.Kind, dict)
}

// decode looks at the values of a page without copying them.
func (p *part) decode(kind parquet.Kind, dict *[]string) error {
	data := p.page.Data()
	length := 0
	switch d := p.page.Dictionary(); {
	case d != nil:
		if kind != parquet.ByteArray {
			return fmt.Errorf("a dictionary of %v is not expected here", kind)
		}
		if *dict == nil {
			values, offsets := values(d)
			*dict = make([]string, d.Len())
			text := string(values) // one piece of memory for all
			for i := range *dict {
				(*dict)[i] = text[offsets[i]:offsets[i+1]]
			}
		}
		p.dict, p.codes = *dict, data.Int32()
		length = len(p.codes)
		for _, code := range p.codes {
			if int(code) >= len(p.dict) || code < 0 {
				return fmt.Errorf("value %d of a dictionary of %d", code, len(p.dict))
			}
		}
	case kind == parquet.ByteArray:
		p.data, p.offsets = data.ByteArray()
		length = len(p.offsets) - 1
	case kind == parquet.Int32:
		p.small = data.Int32()
		length = len(p.small)
	case kind == parquet.Int64:
		p.large = data.Int64()
		length = len(p.large)
	case kind == parquet.Double:
		p.double = data.Double()
		length = len(p.double)
	case kind == parquet.Boolean:
		p.flags = data.Boolean()
		length = min(p.n, 8*len(p.flags))
	default:
		return fmt.Errorf("columns of %v are not read", kind)
	}
	if length != p.n {
		return fmt.Errorf("a page holds %d values, and says %d", length, p.n)
	}
	return nil
}

func values(d parquet.Dictionary) ([]byte, []uint32) {
	data := d.Page().Data()
	return data.ByteArray()
}

func (c *Column) release() {
	for i := range c.parts {
		parquet.Release(c.parts[i].page)
	}
	c.parts = nil
}

// at is the page that holds row i.
func (c *Column) at(i int) (*part, int) {
	k := sort.Search(len(c.parts), func(k int) bool { return c.parts[k].start > i }) - 1
	return &c.parts[k], i - c.parts[k].start
}

// Text is row i of a text column. It is valid until the group is done with.
func (c *Column) Text(i int) []byte {
	p, i := c.at(i)
	if p.dict != nil {
		return []byte(p.dict[p.codes[i]])
	}
	return p.text(i)
}

func (p *part) text(i int) []byte { return p.data[p.offsets[i]:p.offsets[i+1]] }

// Number is row i of a number column.
func (c *Column) Number(i int) int64 {
	p, i := c.at(i)
	return p.number(i)
}

func (p *part) number(i int) int64 {
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

func (p *part) flag(i int) bool { return p.flags[i/8]&(1<<(i%8)) != 0 }

// whereText are the rows of sel whose text passes: each distinct value of a dictionary is asked once. No text passes without the
// needle: pages that do not hold it are left out whole.
func (c *Column) whereText(sel, out Bits, needle []byte, test func([]byte) bool, testText func(string) bool) {
	var seen []bool
	for k := range c.parts {
		p := &c.parts[k]
		switch {
		case p.dict != nil:
			if seen == nil {
				seen = make([]bool, len(p.dict))
				for i, v := range p.dict {
					seen[i] = testText(v)
				}
			}
			for i, code := range p.codes {
				if seen[code] {
					out.Set(p.start + i)
				}
			}
		case len(needle) > 0 && !bytes.Contains(p.data, needle):
		default:
			for i := range p.n {
				if sel.Has(p.start+i) && test(p.text(i)) {
					out.Set(p.start + i)
				}
			}
		}
	}
	out.and(sel)
}

// whereFilled are the rows of sel whose text is not empty.
func (c *Column) whereFilled(sel, out Bits) {
	for k := range c.parts {
		if p := &c.parts[k]; p.dict == nil && len(p.data) == 0 {
			continue
		}
		c.whereText(sel, out, nil, func(b []byte) bool { return len(b) > 0 }, func(v string) bool { return v != "" })
		return
	}
}

func (c *Column) whereNumber(sel, out Bits, test func(int64) bool) {
	for k := range c.parts {
		p := &c.parts[k]
		for i, v := range p.small {
			if test(int64(v)) {
				out.Set(p.start + i)
			}
		}
		for i, v := range p.large {
			if test(v) {
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
		for i, v := range p.small {
			if uint64(int64(v))-uint64(low) <= span {
				out.Set(p.start + i)
			}
		}
		for i, v := range p.large {
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
