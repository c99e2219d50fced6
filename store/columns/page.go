package columns

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// pages reads the pages of a chunk, one behind the other or from given places.
type pages struct {
	from    io.ReaderAt
	memory  *scratch
	codec   format.CompressionCodec
	at, end int64
	window  []byte // of the file, as it was read last
	begin   int64  // of the window
}

// page is what the header of a page says.
type page struct {
	kind               format.PageType
	plain, packed      int // size of its values before and after compression
	crc                uint32
	values             int
	encoding           format.Encoding
	isV2, isCompressed bool
	levels             int // bytes before the values
}

const (
	window     = 256 << 10 // how much of a file is read at a time
	maxHeader  = 4 << 10
	maxPage    = 1 << 30
	wholeChunk = 64 << 10 // a chunk up to this size is read whole where some of its pages are asked for
)

// need brings n bytes from at on into the window, and returns them with what else is there of the chunk.
func (p *pages) need(at int64, n int, ahead int64) ([]byte, error) {
	if at < p.begin || at+int64(n) > p.begin+int64(len(p.window)) {
		size := max(int64(n), min(ahead, p.end-at))
		p.memory.window = grow(p.memory.window, int(size))
		p.window, p.begin = p.memory.window, at
		if _, err := p.from.ReadAt(p.window, at); err != nil {
			p.window = nil
			return nil, err
		}
	}
	return p.window[at-p.begin:], nil
}

// header reads that of the page at hand, and moves to its values. Ahead is how much of the chunk is worth reading with it.
func (p *pages) header(ahead int64) (page, error) {
	b, err := p.need(p.at, int(min(maxHeader, p.end-p.at, ahead)), ahead)
	if err != nil {
		return page{}, err
	}
	h, n, err := readHeader(b)
	p.at += int64(n)
	if err == nil && int64(h.packed) > p.end-p.at {
		err = errDamaged
	}
	return h, err
}

// readHeader reads a PageHeader of parquet.thrift, and says how long it is.
func readHeader(b []byte) (h page, n int, err error) {
	c := &compact{b: b}
	h.isCompressed = true
	for id := 0; ; {
		kind := c.field(&id)
		if kind == typeStop {
			break
		}
		switch {
		case id == 1:
			h.kind = format.PageType(c.integer(kind))
		case id == 2:
			h.plain = int(c.integer(kind))
		case id == 3:
			h.packed = int(c.integer(kind))
		case id == 4:
			h.crc = uint32(c.integer(kind))
		case (id == 5 || id == 7 || id == 8) && kind == typeStruct:
			h.isV2 = id == 8
			h.data(c)
		default:
			c.skip(kind)
		}
	}
	if c.bad || h.plain < 0 || h.plain > maxPage || h.packed < 0 || h.packed > maxPage || h.values < 0 || h.values > maxRows || h.levels < 0 || h.levels > h.packed || h.levels > h.plain {
		return h, 0, errDamaged
	}
	return h, c.at, nil
}

// data reads the header of a page of data, of either version, or of a dictionary.
func (h *page) data(c *compact) {
	for id := 0; ; {
		kind := c.field(&id)
		switch {
		case kind == typeStop:
			return
		case id == 1:
			h.values = int(c.integer(kind))
		case !h.isV2 && id == 2, h.isV2 && id == 4:
			h.encoding = format.Encoding(c.integer(kind))
		case h.isV2 && (id == 5 || id == 6):
			h.levels += int(c.integer(kind))
		case h.isV2 && id == 7:
			h.isCompressed = kind == typeTrue
		default:
			c.skip(kind)
		}
	}
}

// decompressor is one for all: it has as many decoders as there are processors.
var decompressor = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxPage))
})

// values are the bytes of the page at hand, whose header was read; they last until the next page is read.
func (p *pages) values(h *page, ahead int64) ([]byte, error) {
	b, err := p.need(p.at, h.packed, ahead)
	if err != nil {
		return nil, err
	}
	b = b[:h.packed:h.packed]
	p.at += int64(h.packed)
	if h.crc != 0 && crc32.ChecksumIEEE(b) != h.crc {
		return nil, errDamaged
	}
	b, plain := b[h.levels:], h.plain-h.levels
	switch {
	case p.codec == format.Uncompressed || !h.isCompressed:
		if len(b) != plain {
			return nil, errDamaged
		}
		return b, nil
	case p.codec == format.Snappy:
		p.memory.page = grow(p.memory.page, plain+padding)
		if n, err := s2.DecodedLen(b); err != nil || n != plain {
			return nil, errDamaged
		}
		return s2.Decode(p.memory.page[:plain], b)
	case p.codec != format.Zstd:
		return nil, fmt.Errorf("its columns are compressed by %v: the file is of another program", p.codec)
	case plain == 0:
		return nil, nil
	}
	d, err := decompressor()
	if err != nil {
		return nil, err
	}
	p.memory.page = grow(p.memory.page, plain+padding)
	out, err := d.DecodeAll(b, p.memory.page[:0:plain])
	if err == nil && len(out) != plain {
		err = errDamaged
	}
	return out, err
}

// padding is room behind the values of a page, of which decoders then need no copy.
const padding = 64

// place is where a page lies, and its first row.
type place struct {
	at   int64
	size int
	row  int
}

// readIndex reads the list of a chunk's pages.
func readIndex(from io.ReaderAt, x *chunk, rows int) ([]place, error) {
	b := make([]byte, x.indexSize)
	if _, err := from.ReadAt(b, x.index); err != nil {
		return nil, err
	}
	return parseIndex(b, x, rows)
}

// parseIndex reads an OffsetIndex of parquet.thrift. Its pages ascend, lie in the chunk, and begin with row 0.
func parseIndex(b []byte, x *chunk, rows int) ([]place, error) {
	c := &compact{b: b}
	var all []place
	for id := 0; ; {
		kind := c.field(&id)
		if kind == typeStop {
			break
		}
		if id != 1 {
			c.skip(kind)
			continue
		}
		for range c.list(kind, typeStruct) {
			all = append(all, readPlace(c))
		}
	}
	last := place{at: x.at, row: -1}
	for i, p := range all {
		if p.at < last.at+int64(last.size) || p.size < 0 || int64(p.size) > x.at+x.size-p.at || p.row <= last.row || p.row >= rows || i == 0 && p.row != 0 {
			return nil, errDamaged
		}
		last = p
	}
	if c.bad || len(all) == 0 {
		return nil, errDamaged
	}
	return all, nil
}

func readPlace(c *compact) (p place) {
	for id := 0; ; {
		kind := c.field(&id)
		switch {
		case kind == typeStop:
			return p
		case id == 1:
			p.at = c.integer(kind)
		case id == 2:
			p.size = int(c.integer(kind))
		case id == 3:
			p.row = int(min(c.integer(kind), maxRows))
		default:
			c.skip(kind)
		}
	}
}

// isDeltaOf reports whether values that are encoded as differences are as many as the page says: room for them is made by that.
func isDeltaOf(b []byte, n int) bool {
	for range 2 { // size of blocks, and how many parts they have
		_, size := binary.Uvarint(b)
		if size <= 0 {
			return false
		}
		b = b[size:]
	}
	total, size := binary.Uvarint(b)
	return size > 0 && total == uint64(n)
}

// runsOf reports whether the runs of numbers of that many bits are as many values as the page says, or up to seven more, because bits
// are packed by eight; and the one number that all are, if they are one run.
func runsOf(b []byte, width, n int) (ok, same bool, value int32) {
	total, runs := 0, 0
	for total < n {
		head, size := binary.Uvarint(b)
		if size <= 0 || head>>1 == 0 || head>>1 > maxRows {
			return false, false, 0
		}
		b = b[size:]
		count := int(head >> 1)
		size = (width + 7) / 8
		if head&1 != 0 {
			size = count * width
			count *= 8
			runs++ // may be different ones
		}
		if size > len(b) {
			return false, false, 0
		}
		if runs++; runs == 1 {
			var v [4]byte
			copy(v[:], b[:size])
			value = int32(binary.LittleEndian.Uint32(v[:]))
		}
		total += count
		b = b[size:]
	}
	return total < n+8 && len(b) == 0, runs == 1 || width == 0, value
}
