package columns

import (
	"encoding/binary"
	"errors"
)

// errDamaged says that bytes are not what a Parquet file has there.
var errDamaged = errors.New("it is damaged: what describes its columns cannot be read")

// compact reads Thrift's compact protocol, in which Parquet files describe themselves. After a mistake it reads nothing more; bad says
// so.
type compact struct {
	b   []byte
	at  int // of the next byte: moving b itself would tell the collector of each step
	bad bool
}

// Types of fields.
const (
	typeStop   = 0
	typeTrue   = 1
	typeFalse  = 2
	typeByte   = 3
	typeI16    = 4
	typeI64    = 6
	typeDouble = 7
	typeBinary = 8
	typeList   = 9
	typeSet    = 10
	typeMap    = 11
	typeStruct = 12
)

// maxNested bounds structures inside of each other that are skipped.
const maxNested = 16

func (c *compact) fail() { c.b, c.at, c.bad = nil, 0, true }

func (c *compact) byte() byte {
	if c.at >= len(c.b) {
		c.fail()
		return 0
	}
	v := c.b[c.at]
	c.at++
	return v
}

func (c *compact) uvarint() uint64 {
	if c.at < len(c.b) && c.b[c.at] < 0x80 {
		v := c.b[c.at]
		c.at++
		return uint64(v)
	}
	v, n := binary.Uvarint(c.b[c.at:])
	if n <= 0 {
		c.fail()
		return 0
	}
	c.at += n
	return v
}

func (c *compact) varint() int64 {
	v := c.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// left is how many bytes were not read.
func (c *compact) left() uint64 { return uint64(len(c.b) - c.at) }

// field begins the next field of a structure: its type, and id moves on from the one before. The type is typeStop at the end.
func (c *compact) field(id *int) byte {
	head := c.byte()
	if head&0x0f == typeStop {
		return typeStop
	}
	if step := int(head >> 4); step != 0 {
		*id += step
	} else {
		*id = int(int16(c.varint()))
	}
	return head & 0x0f
}

// integer is the value of a field that is one.
func (c *compact) integer(kind byte) int64 {
	if kind < typeI16 || kind > typeI64 {
		c.fail()
		return 0
	}
	return c.varint()
}

// binary is the value of a field of bytes, which lies in the bytes that are read.
func (c *compact) binary(kind byte) []byte {
	n := c.uvarint()
	if kind != typeBinary || n > c.left() {
		c.fail()
		return nil
	}
	end := c.at + int(n)
	v := c.b[c.at:end:end]
	c.at = end
	return v
}

// list is how many elements of a type follow.
func (c *compact) list(kind, of byte) int {
	if kind != typeList {
		c.fail()
		return 0
	}
	head := c.byte()
	n := uint64(head >> 4)
	if n == 15 {
		n = c.uvarint()
	}
	if n > c.left() || n > 0 && head&0x0f != of { // an element takes a byte at least
		c.fail()
		return 0
	}
	return int(n)
}

func (c *compact) skip(kind byte) { c.skipNested(kind, 0) }

func (c *compact) skipNested(kind byte, depth int) {
	if depth > maxNested {
		c.fail()
		return
	}
	switch {
	case kind == typeTrue, kind == typeFalse:
	case kind == typeByte:
		c.byte()
	case kind >= typeI16 && kind <= typeI64:
		c.uvarint()
	case kind == typeDouble:
		c.drop(8)
	case kind == typeBinary:
		c.drop(c.uvarint())
	case kind == typeList, kind == typeSet:
		head := c.byte()
		n := uint64(head >> 4)
		if n == 15 {
			n = c.uvarint()
		}
		for range min(n, c.left()) {
			c.skipElement(head&0x0f, depth)
		}
	case kind == typeMap:
		n := c.uvarint()
		if n == 0 {
			return
		}
		types := c.byte()
		for range min(n, c.left()) {
			c.skipElement(types>>4, depth)
			c.skipElement(types&0x0f, depth)
		}
	case kind == typeStruct:
		for id := 0; ; {
			kind := c.field(&id)
			if kind == typeStop {
				return
			}
			c.skipNested(kind, depth+1)
		}
	default:
		c.fail()
	}
}

// skipElement skips one of a list: flags stand in a byte there.
func (c *compact) skipElement(kind byte, depth int) {
	if kind == typeTrue || kind == typeFalse {
		kind = typeByte
	}
	c.skipNested(kind, depth+1)
}

func (c *compact) drop(n uint64) {
	if n > c.left() {
		c.fail()
		return
	}
	c.at += int(n)
}
