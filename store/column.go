package store

import (
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"unsafe"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding"
	"github.com/parquet-go/parquet-go/format"
)

// pageBytes is how much a page holds before it is encoded. One of a column that says nothing holds the whole row group.
const pageBytes = 48 << 10

// column collects the values of one column, which are required and of a plain type, and cuts them into pages. A value that is zero costs
// nothing until another one comes: most columns of most calls are empty.
type column struct {
	name   string
	offset uintptr // of its field in a row
	kind   parquet.Kind
	coding encoding.Encoding
	dict   *dictionary // nil for columns without
	plain  bool        // it has been given up for the rest of the row group

	first int // row of the page's first value
	page  *values
}

// values are those of a page. By the kind of the column, one of the lists is used.
type values struct {
	list    int // which of the lists
	n       int
	bits    []byte
	small   []int32 // or codes of the dictionary
	large   []int64
	doubles []float64
	text    []byte
	offsets []uint32 // of texts, and of their end
}

func (v *values) reset() {
	v.n, v.bits, v.small, v.large, v.doubles, v.text = 0, v.bits[:0], v.small[:0], v.large[:0], v.doubles[:0], v.text[:0]
	v.offsets = append(v.offsets[:0], 0)
}

func (v *values) size() int {
	return len(v.bits) + 4*len(v.small) + 8*len(v.large) + 8*len(v.doubles) + len(v.text) + 4*len(v.offsets)
}

// dictionary numbers the different texts of a column in a row group. The empty one is 0.
type dictionary struct {
	codes map[string]int32
	texts []string // by their numbers
	size  int      // of the dictionary's page
	store strings.Builder
	last  string // the text that came last
	code  int32
	at    []place             // of long texts
	kept  func(s []byte) bool // reports bytes that never change; nil for none
}

// place is where a long text was found in memory, which says where it may be found again: bodies that come often are the same bytes.
type place struct {
	text uintptr // a number: nothing is kept for it
	code int32
}

const (
	longText = 128
	places   = 1 << 11
)

// placeOf tells addresses apart, of which most are multiples of a large power of two.
func placeOf(text uintptr) uint64 { return uint64(text) * 0x9e3779b97f4a7c15 >> (64 - 11) }

func newDictionary(kept func([]byte) bool) *dictionary {
	return &dictionary{codes: map[string]int32{"": 0}, texts: []string{""}, size: 4, kept: kept}
}

// page is the dictionary's, plainly encoded: each text behind its length.
func (d *dictionary) page(b []byte) []byte {
	for _, s := range d.texts {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	return b
}

// number is that of a text, which may lie in memory that is used again.
func (d *dictionary) number(s string) int32 {
	if s == d.last {
		return d.code
	}
	var at *place
	if len(s) >= longText {
		if d.at == nil {
			d.at = make([]place, places)
		}
		p := uintptr(unsafe.Pointer(unsafe.StringData(s)))
		at = &d.at[placeOf(p)]
		if at.text == p && d.texts[at.code] == s { // what lies there may have changed
			return at.code
		}
		at.text = p
	}
	kept := at != nil && d.kept != nil && d.kept(unsafe.Slice(unsafe.StringData(s), len(s)))
	code, ok := d.codes[s]
	switch {
	case !ok:
		code = int32(len(d.texts))
		if !kept {
			s = d.keep(s)
		}
		d.codes[s] = code
		d.texts = append(d.texts, s)
		d.size += 4 + len(s)
	case kept:
		d.texts[code] = s // to compare it with itself, which takes no time
	}
	if at != nil {
		at.code = code
	}
	d.last, d.code = d.texts[code], code
	return code
}

// keep copies a text into memory that many share.
func (d *dictionary) keep(s string) string {
	const piece = 16 << 10
	if len(s) > piece/4 {
		return strings.Clone(s)
	}
	if d.store.Cap()-d.store.Len() < len(s) {
		d.store = strings.Builder{}
		d.store.Grow(piece)
	}
	at := d.store.Len()
	d.store.WriteString(s)
	return d.store.String()[at:]
}

// columnsFor are the columns of a row type, in the order of its schema.
func columnsFor(schema *parquet.Schema, row reflect.Type) []column {
	offsets := map[string]uintptr{}
	fieldOffsets(row, 0, offsets)
	var all []column
	for _, path := range schema.Columns() {
		leaf, _ := schema.Lookup(path...)
		c := column{name: path[0], offset: offsets[path[0]], kind: leaf.Node.Type().Kind(), coding: leaf.Node.Encoding()}
		switch {
		case c.coding != nil && c.coding.Encoding() == format.RLEDictionary:
			c.dict = newDictionary(nil)
		case c.coding != nil:
		case c.kind == parquet.Int32, c.kind == parquet.Int64:
			c.coding = &parquet.DeltaBinaryPacked
		case c.kind == parquet.ByteArray:
			c.coding = &parquet.DeltaLengthByteArray
		default:
			c.coding = &parquet.Plain
		}
		all = append(all, c)
	}
	return all
}

// section is columns of which each says nothing where a flag is false. They are told apart by how many bytes of a row tell that a value is zero, which
// most are.
type section struct {
	flag             uintptr // of the row; the first section has none
	eight, four, one []cell
}

// cell is a column, and where those bytes are: of a text its length.
type cell struct{ at, column uint32 }

// sectionsOf are those of a row's columns.
func sectionsOf(all []column) []section {
	of := make([]int, len(all)) // sections of columns
	list := make([]section, 1, len(sectionNames)+1)
	for _, s := range sectionNames {
		from := slices.IndexFunc(all, func(c column) bool { return c.name == s.flag })
		to := slices.IndexFunc(all, func(c column) bool { return c.name == s.last })
		if from < 0 || to < from {
			continue
		}
		for i := from + 1; i <= to; i++ {
			of[i] = len(list)
		}
		list = append(list, section{flag: all[from].offset})
	}
	for i, c := range all {
		s, x := &list[of[i]], cell{uint32(c.offset), uint32(i)}
		switch c.kind {
		case parquet.ByteArray:
			x.at += uint32(unsafe.Sizeof(uintptr(0)))
			s.eight = append(s.eight, x)
		case parquet.Int32:
			s.four = append(s.four, x)
		case parquet.Boolean:
			s.one = append(s.one, x)
		default:
			s.eight = append(s.eight, x)
		}
	}
	return list
}

// sectionNames are the flag that comes first in a section, and its last column.
var sectionNames = []struct{ flag, last string }{
	{"http", "unknown_headers"}, {"grpc", "grpc_response_json"}, {"dns", "dns_truncated"}, {"tls", "tls_handshake_ns"}, {"redis", "redis_push"},
	{"postgresql", "postgresql_auth"}, {"ws", "ws_error"}, {"gql", "gql_message_id"}, {"retried", "retry_confidence"},
}

// fieldOffsets finds where the field of each column lies.
func fieldOffsets(t reflect.Type, base uintptr, into map[string]uintptr) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			fieldOffsets(f.Type, base+f.Offset, into)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("parquet"), ",")
		into[name] = base + f.Offset
	}
}

// take appends the value that the row at hand, the n-th of its group, has, and which is not zero; size is what its text weighs.
func (c *column) take(row unsafe.Pointer, n int) (size int) {
	field := unsafe.Add(row, c.offset)
	v := c.page
	if c.kind == parquet.Boolean {
		c.pad(n + 1)
		v.bits[(v.n-1)/8] |= 1 << ((v.n - 1) % 8)
		return 0
	}
	c.pad(n)
	switch c.kind {
	case parquet.ByteArray:
		return c.text(*(*string)(field)) // also of a []byte, which begins like a string
	case parquet.Int32:
		v.small = append(v.small, *(*int32)(field))
	case parquet.Int64:
		v.large = append(v.large, *(*int64)(field))
	case parquet.Double:
		v.doubles = append(v.doubles, *(*float64)(field))
	}
	v.n++
	return 0
}

// text appends a text or its number.
func (c *column) text(s string) (size int) {
	c.page.n++
	if c.coded() {
		known := c.dict.size
		c.page.small = append(c.page.small, c.dict.number(s))
		return c.dict.size - known
	}
	c.page.text = append(c.page.text, s...)
	c.page.offsets = append(c.page.offsets, uint32(len(c.page.text)))
	return len(s)
}

// coded reports whether values stand as numbers of the dictionary.
func (c *column) coded() bool { return c.dict != nil && !c.plain }

// list tells pages apart by the list that they use, so that each one's memory fits the next.
func (c *column) list() int {
	if c.coded() {
		return int(parquet.ByteArray) + 1
	}
	return int(c.kind)
}

// pad brings the page up to a row with values that are zero.
func (c *column) pad(row int) {
	if lack := row - c.first - c.page.n; lack > 0 {
		c.page.zeros(c.kind, c.coded(), lack)
	}
}

// zeros appends n values that are zero; coded are those that stand as numbers of a dictionary.
func (v *values) zeros(kind parquet.Kind, coded bool, n int) {
	v.n += n
	switch {
	case coded, kind == parquet.Int32:
		v.small = extend(v.small, n)
	case kind == parquet.Int64:
		v.large = extend(v.large, n)
	case kind == parquet.Double:
		v.doubles = extend(v.doubles, n)
	case kind == parquet.Boolean:
		v.bits = extend(v.bits, (v.n+7)/8-len(v.bits))
	case kind == parquet.ByteArray:
		for range n {
			v.offsets = append(v.offsets, uint32(len(v.text)))
		}
	}
}

// extend appends n zeros.
func extend[T any](list []T, n int) []T {
	k := len(list)
	if cap(list)-k < n {
		list = append(list, make([]T, n)...)
		return list
	}
	list = list[:k+n]
	clear(list[k:])
	return list
}

// full reports whether the page should be encoded, and spent whether the dictionary should be given up: it is too large, or hardly any of
// the texts in n rows repeats.
func (c *column) full() bool { return c.page.size() >= pageBytes }

func (c *column) spent(n int) bool {
	return c.coded() && (c.dict.size > dictionaryBytes || len(c.dict.texts) > 2048 && len(c.dict.texts) > n/4*3)
}
