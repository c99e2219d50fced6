package columns

import (
	"encoding/binary"
	"fmt"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// footer reads the FileMetaData of parquet.thrift, as far as it is needed: a library that keeps all of it takes ten times as long.
type footer struct {
	*contents
	chunks [][]chunk // by row group
}

// parseFooter reads a footer. Chunks lie within size bytes.
func parseFooter(b []byte, size int64) (*contents, error) {
	c := &compact{b: b}
	f := &footer{contents: &contents{size: size, names: map[string]int{}}}
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
				if err = f.group(c); err != nil {
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
	if c.bad {
		return nil, errDamaged
	}
	for i := range f.lies {
		list := make([]chunk, len(f.chunks))
		for k := range list {
			list[k] = f.chunks[k][i]
		}
		f.lies[i].chunks.Store(&list)
	}
	return f.contents, f.count()
}

// schema reads the columns: all lie at the top, and each row has a value.
func (f *footer) schema(c *compact, kind byte) error {
	if f.chunks != nil {
		return errDamaged
	}
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
		f.names[name] = len(f.lies)
		f.lies = append(f.lies, lies{kind: parquet.Kind(leaf)})
	}
	return nil
}

func (f *footer) group(c *compact) error {
	g := rowGroup{}
	var chunks []chunk
	for id := 0; ; {
		kind := c.field(&id)
		if kind == typeStop {
			break
		}
		switch id {
		case 1:
			n := c.list(kind, typeStruct)
			if n != len(f.lies) {
				return errDamaged
			}
			chunks = make([]chunk, n)
			for i := range chunks {
				f.chunk(c, &chunks[i], f.lies[i].kind)
			}
		case 3:
			g.rows = int(c.integer(kind))
		default:
			c.skip(kind)
		}
	}
	for i := range chunks {
		if !chunks[i].within(f.size) {
			return errDamaged
		}
	}
	if c.bad || chunks == nil {
		return errDamaged
	}
	f.groups, f.chunks = append(f.groups, g), append(f.chunks, chunks)
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
