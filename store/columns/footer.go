package columns

import (
	"encoding/binary"
	"fmt"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// footer is what the end of a file says of it, as far as it is needed: a library that keeps all of it takes ten times as long.
type footer struct {
	rows   int64
	names  map[string]int // number of each column
	kinds  []parquet.Kind
	groups []rowGroup
}

// rowGroup is where the columns of some rows lie.
type rowGroup struct {
	first  int64 // number of its first row
	rows   int
	chunks []chunk // by the number of the column
}

// chunk is where a column of a row group lies.
type chunk struct {
	at, size  int64 // its pages, the dictionary's first
	index     int64 // where its pages are listed; 0 where they are not
	indexSize int32
	codec     format.CompressionCodec
	bounded   bool
	same      bool  // all values are equal: low, or the empty text
	low, high int64 // of numbers and flags that are bounded
}

// maxRows bounds the rows of a row group: pages number them in 32 bits.
const maxRows = 1 << 20

// readFooter reads the end of a file.
func readFooter(r *source, size int64) (*footer, error) {
	const least, guess = 12, 64 << 10
	if size < least {
		return nil, fmt.Errorf("%d bytes are no Parquet file", size)
	}
	tail := make([]byte, min(size, guess))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil {
		return nil, err
	}
	end := tail[len(tail)-8:]
	n := int64(binary.LittleEndian.Uint32(end))
	if string(end[4:]) != "PAR1" || n > size-least {
		return nil, errDamaged
	}
	if more := n + 8 - int64(len(tail)); more > 0 {
		r.willNeed(span{size - n - 8, more})
		whole := make([]byte, n+8)
		copy(whole[more:], tail)
		if _, err := r.ReadAt(whole[:more], size-n-8); err != nil {
			return nil, err
		}
		tail = whole
	}
	return parseFooter(tail[int64(len(tail))-n-8:len(tail)-8], size)
}

// parseFooter reads the FileMetaData of parquet.thrift. Chunks lie within size bytes.
func parseFooter(b []byte, size int64) (*footer, error) {
	c := &compact{b: b}
	f := &footer{names: map[string]int{}}
	var err error
	for id := 0; err == nil; {
		kind := c.field(&id)
		if kind == typeStop {
			break
		}
		switch id {
		case 2:
			err = f.schema(c, kind)
		case 3:
			f.rows = c.integer(kind)
		case 4:
			for range c.list(kind, typeStruct) {
				if err = f.group(c, size); err != nil {
					break
				}
			}
		default:
			c.skip(kind)
		}
	}
	if err != nil {
		return nil, err
	}
	first := int64(0)
	for i := range f.groups {
		f.groups[i].first = first
		first += int64(f.groups[i].rows)
	}
	if c.bad || first != f.rows {
		return nil, errDamaged
	}
	return f, nil
}

// schema reads the columns: all lie at the top, and each row has a value.
func (f *footer) schema(c *compact, kind byte) error {
	for i := range c.list(kind, typeStruct) {
		leaf, required, name := int64(-1), false, ""
		for id := 0; ; {
			kind := c.field(&id)
			if kind == typeStop {
				break
			}
			switch id {
			case 1:
				leaf = c.integer(kind)
			case 3:
				required = c.integer(kind) == int64(format.Required)
			case 4:
				name = string(c.binary(kind))
			default:
				c.skip(kind)
			}
		}
		if i == 0 { // the root
			continue
		}
		if leaf < 0 || !required {
			return fmt.Errorf("column %s is nested or lacks values: the file is of another program", name)
		}
		f.names[name] = len(f.kinds)
		f.kinds = append(f.kinds, parquet.Kind(leaf))
	}
	return nil
}

func (f *footer) group(c *compact, size int64) error {
	g := rowGroup{}
	for id := 0; ; {
		kind := c.field(&id)
		if kind == typeStop {
			break
		}
		switch id {
		case 1:
			n := c.list(kind, typeStruct)
			if n != len(f.kinds) {
				return errDamaged
			}
			g.chunks = make([]chunk, n)
			for i := range g.chunks {
				f.chunk(c, &g.chunks[i], f.kinds[i])
			}
		case 3:
			rows := c.integer(kind)
			if rows < 0 || rows > maxRows {
				return errDamaged
			}
			g.rows = int(rows)
		default:
			c.skip(kind)
		}
	}
	for i := range g.chunks {
		if x := &g.chunks[i]; x.at < 0 || x.size < 0 || x.at > size-x.size || x.index < 0 || x.indexSize < 0 || x.index > size-int64(x.indexSize) {
			return errDamaged
		}
	}
	if c.bad || g.chunks == nil {
		return errDamaged
	}
	f.groups = append(f.groups, g)
	return nil
}

func (f *footer) chunk(c *compact, x *chunk, of parquet.Kind) {
	for id := 0; ; {
		kind := c.field(&id)
		if kind == typeStop {
			return
		}
		switch {
		case id == 3 && kind == typeStruct:
			x.metadata(c, of)
		case id == 4:
			x.index = c.integer(kind)
		case id == 5:
			x.indexSize = int32(c.integer(kind))
		default:
			c.skip(kind)
		}
	}
}

func (x *chunk) metadata(c *compact, of parquet.Kind) {
	data, dictionary := int64(0), int64(0)
	for id := 0; ; {
		kind := c.field(&id)
		if kind == typeStop {
			break
		}
		switch {
		case id == 4:
			x.codec = format.CompressionCodec(c.integer(kind))
		case id == 7:
			x.size = c.integer(kind)
		case id == 9:
			data = c.integer(kind)
		case id == 11:
			dictionary = c.integer(kind)
		case id == 12 && kind == typeStruct:
			x.statistics(c, of)
		default:
			c.skip(kind)
		}
	}
	x.at = data
	if dictionary > 0 {
		x.at = dictionary
	}
}

// statistics reads the bounds of numbers and flags, and whether texts are all empty.
func (x *chunk) statistics(c *compact, of parquet.Kind) {
	var low, high []byte
	for id := 0; ; {
		kind := c.field(&id)
		if kind == typeStop {
			break
		}
		switch id {
		case 5:
			high = c.binary(kind)
		case 6:
			low = c.binary(kind)
		default:
			c.skip(kind)
		}
	}
	switch {
	case low == nil || high == nil || len(low) != len(high):
	case of == parquet.ByteArray && len(low) == 0:
		x.same = true
	case of == parquet.Boolean && len(low) == 1:
		x.bounded, x.low, x.high = true, int64(low[0]&1), int64(high[0]&1)
	case of == parquet.Int32 && len(low) == 4:
		x.bounded, x.low, x.high = true, int64(int32(binary.LittleEndian.Uint32(low))), int64(int32(binary.LittleEndian.Uint32(high)))
	case of == parquet.Int64 && len(low) == 8:
		x.bounded, x.low, x.high = true, int64(binary.LittleEndian.Uint64(low)), int64(binary.LittleEndian.Uint64(high))
	}
	x.same = x.same || x.bounded && x.low == x.high
}
