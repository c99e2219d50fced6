package columns

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync/atomic"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// contents is where the columns of a file lie, and what bounds them.
type contents struct {
	rows   int64
	size   int64          // of what chunks lie in
	names  map[string]int // number of each column
	lies   []lies         // by the number of the column
	groups []rowGroup
}

// rowGroup are rows that lie together.
type rowGroup struct {
	first int64 // number of its first row
	rows  int
}

// lies is where the parts of one column lie.
type lies struct {
	kind   parquet.Kind
	packed []byte                  // of an outline: they are read from it when they are first asked for
	chunks atomic.Pointer[[]chunk] // by the number of the row group
}

// chunk is where a column of a row group lies.
type chunk struct {
	at, size  int64 // its pages, the dictionary's first
	index     int64 // where its pages are listed; 0 where they are not
	indexSize int32
	codec     format.CompressionCodec
	bounded   bool
	same      bool  // all values are equal: low, or the empty text. Then nothing is read
	low, high int64 // of numbers and flags that are bounded
}

// within reports whether a chunk can lie in a file of so many bytes.
func (x *chunk) within(size int64) bool {
	return x.at >= 0 && x.size >= 0 && x.at <= size-x.size && x.index >= 0 && x.indexSize >= 0 && x.index <= size-int64(x.indexSize)
}

// chunk is where a column of a row group lies.
func (c *contents) chunk(column, group int) (*chunk, error) {
	l := &c.lies[column]
	all := l.chunks.Load()
	if all == nil {
		list, err := parseChunks(l.packed, len(c.groups), c.size)
		if err != nil {
			return nil, err
		}
		all = &list
		l.chunks.Store(all)
	}
	return &(*all)[group], nil
}

// maxRows bounds the rows of a row group: pages number them in 32 bits.
const maxRows = 1 << 20

// count numbers the first rows of the row groups.
func (c *contents) count() error {
	first := int64(0)
	for i := range c.groups {
		g := &c.groups[i]
		if g.rows < 0 || g.rows > maxRows {
			return errDamaged
		}
		g.first = first
		first += int64(g.rows)
	}
	if first != c.rows {
		return errDamaged
	}
	return nil
}

// readContents reads where the columns of a file lie: of a small file from its footer, of a large one from the outline before it.
func readContents(r *source, size int64) (*contents, error) {
	const least = 12
	if size < least {
		return nil, fmt.Errorf("%d bytes are no Parquet file", size)
	}
	tail := make([]byte, min(size, smallFooter))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil {
		return nil, err
	}
	end := tail[len(tail)-8:]
	n := int64(binary.LittleEndian.Uint32(end))
	if string(end[4:]) != "PAR1" || n > size-least {
		return nil, errDamaged
	}
	if begin := int64(len(tail)) - n - 8; begin >= 0 {
		return parseFooter(tail[begin:len(tail)-8], size)
	}
	c, err := readOutline(r, size-n-8)
	if c != nil || err != nil {
		return c, err
	}
	whole := make([]byte, n)
	if _, err := r.ReadAt(whole, size-n-8); err != nil {
		return nil, err
	}
	return parseFooter(whole, size)
}

// An outline of a large footer lies right before it: what is read of it here, column by column, so that a question looks at its own
// columns alone. The footer of a million calls takes a question of a few columns longer than its columns. Other readers of Parquet
// look where the footer says, and do not see it.
//
//	uvarint  row groups, and of each its rows
//	uvarint  columns, and of each: uvarint length of its name, name, uvarint Parquet type, uvarint length of its chunks, chunks
//	chunk    byte: 1 bounded, 2 same, above these the codec; if bounded: varint low, and unless same: uvarint high-low;
//	         unless same: uvarint at, size, index, indexSize
//
// Behind it stand its length and its CRC-32C, both little-endian in 4 bytes, and outlineMark.
const (
	outlineMark  = "DLo1"
	outlineTail  = 12
	outlineGuess = 112 << 10 // that of a million calls is shorter

	// smallFooter is up to which size a footer is read with the end of the file, and has no outline.
	smallFooter = 32 << 10

	isBounded = 1
	isSame    = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Outline is what stands before a footer, FileMetaData of parquet.thrift, in a file whose columns and indexes take size bytes: nothing
// before a small one.
func Outline(footer []byte, size int64) ([]byte, error) {
	if len(footer)+8 <= smallFooter {
		return nil, nil
	}
	c, err := parseFooter(footer, size)
	if err != nil {
		return nil, err
	}
	return c.outline()
}

func (c *contents) outline() ([]byte, error) {
	b := binary.AppendUvarint(nil, uint64(len(c.groups)))
	for i := range c.groups {
		b = binary.AppendUvarint(b, uint64(c.groups[i].rows))
	}
	names := make([]string, len(c.lies))
	for name, i := range c.names {
		names[i] = name
	}
	b = binary.AppendUvarint(b, uint64(len(names)))
	var packed []byte
	for i, name := range names {
		packed = packed[:0]
		for k := range c.groups {
			x, err := c.chunk(i, k)
			if err != nil {
				return nil, err
			}
			packed = x.append(packed)
		}
		b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
		b = binary.AppendUvarint(b, uint64(c.lies[i].kind))
		b = append(binary.AppendUvarint(b, uint64(len(packed))), packed...)
	}
	tail := binary.LittleEndian.AppendUint32(nil, uint32(len(b)))
	tail = binary.LittleEndian.AppendUint32(tail, crc32.Checksum(b, castagnoli))
	return append(append(b, tail...), outlineMark...), nil
}

func (x *chunk) append(b []byte) []byte {
	head := byte(x.codec) << 2
	if x.bounded {
		head |= isBounded
	}
	if x.same {
		head |= isSame
	}
	b = append(b, head)
	if x.bounded {
		b = binary.AppendVarint(b, x.low)
		if !x.same {
			b = binary.AppendUvarint(b, uint64(x.high)-uint64(x.low))
		}
	}
	if x.same {
		return b
	}
	for _, v := range []int64{x.at, x.size, x.index, int64(x.indexSize)} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	return b
}

// readOutline reads the outline that ends at a place, if there is one.
func readOutline(r *source, end int64) (*contents, error) {
	b := make([]byte, min(end, outlineGuess))
	if _, err := r.ReadAt(b, end-int64(len(b))); err != nil {
		return nil, err
	}
	if len(b) < outlineTail || string(b[len(b)-4:]) != outlineMark {
		return nil, nil
	}
	tail := b[len(b)-outlineTail:]
	n := int64(binary.LittleEndian.Uint32(tail))
	if n > end-outlineTail {
		return nil, errDamaged
	}
	if begin := int64(len(b)) - outlineTail - n; begin >= 0 {
		b = b[begin : len(b)-outlineTail]
	} else {
		b = make([]byte, n)
		if _, err := r.ReadAt(b, end-outlineTail-n); err != nil {
			return nil, err
		}
	}
	if crc32.Checksum(b, castagnoli) != binary.LittleEndian.Uint32(tail[4:]) {
		return nil, errDamaged
	}
	return parseOutline(b, end-outlineTail-n)
}

// parseOutline reads an outline. Chunks lie within size bytes.
func parseOutline(b []byte, size int64) (*contents, error) {
	r := &compact{b: b}
	c := &contents{size: size, names: map[string]int{}}
	c.groups = make([]rowGroup, r.count())
	for i := range c.groups {
		c.groups[i].rows = int(r.uvarint())
		c.rows += int64(c.groups[i].rows)
	}
	c.lies = make([]lies, r.count())
	for i := range c.lies {
		c.names[string(r.binary(typeBinary))] = i
		c.lies[i].kind = parquet.Kind(r.uvarint())
		c.lies[i].packed = r.binary(typeBinary)
	}
	if r.bad || r.left() > 0 || len(c.names) != len(c.lies) {
		return nil, errDamaged
	}
	return c, c.count()
}

// parseChunks reads what an outline says of one column.
func parseChunks(b []byte, n int, size int64) ([]chunk, error) {
	if n > len(b) {
		return nil, errDamaged
	}
	r := &compact{b: b}
	all := make([]chunk, n)
	for i := range all {
		x := &all[i]
		head := r.byte()
		x.codec, x.bounded, x.same = format.CompressionCodec(head>>2), head&isBounded != 0, head&isSame != 0
		if x.bounded {
			x.low = r.varint()
			x.high = x.low
		}
		if x.same {
			continue
		}
		if x.bounded {
			x.high += int64(r.uvarint())
		}
		x.at, x.size, x.index = int64(r.uvarint()), int64(r.uvarint()), int64(r.uvarint())
		indexSize := r.uvarint()
		x.indexSize = int32(indexSize)
		if uint64(x.indexSize) != indexSize || !x.within(size) {
			return nil, errDamaged
		}
	}
	if r.bad || r.left() > 0 {
		return nil, errDamaged
	}
	return all, nil
}

// count is how many things follow, of which each takes a byte at least.
func (c *compact) count() int {
	n := c.uvarint()
	if n > c.left() {
		c.fail()
		return 0
	}
	return int(n)
}
