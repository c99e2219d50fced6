package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/s2"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/encoding"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/devloop-io/devloop/store/columns"
)

// encoder turns pages of values into a Parquet file, on a goroutine of its own: whoever fills the next pages need not wait. Its methods
// but send and close run there.
type encoder struct {
	out   *bufio.Writer
	at    int64 // in the file
	codec compress.Codec
	jobs  chan job
	done  chan struct{}
	free  [parquet.ByteArray + 2]sync.Pool // of *values, by what they are lists of
	err   error                            // the first one

	broken atomic.Bool // there is one

	chunks []chunk             // of the row group at hand
	meta   format.FileMetaData // without row groups
	groups []writtenGroup
	places []byte // of pages: the offset indexes, which some readers want together
	zeros  map[zeros]zeroPage
	page   []byte
	packed []byte
	header struct {
		buf     bytes.Buffer
		page    format.PageHeader
		encoder *thrift.Encoder
	}
}

// job is a page, or the end of a row group.
type job struct {
	column int
	first  int     // row
	n      int     // values
	page   *values // nil when all are zero
	coding encoding.Encoding

	rows  int           // of the group that ends; 0 for a page
	dicts []*dictionary // by column
}

// chunk is what the row group has of one column.
type chunk struct {
	kind      parquet.Kind
	path      []string
	pages     []byte
	places    []format.PageLocation
	encodings uint16 // those of its pages, a bit each
	raw       int64  // size before compression, headers included
	loose     loose
	quick     bool // see quickColumns
	low, high int64
	bounded   bool
}

// newEncoder writes a file of that schema. footer is what the file would say at its end if it had no rows.
func newEncoder(f io.Writer, columns []column, footer format.FileMetaData) *encoder {
	e := &encoder{out: bufio.NewWriterSize(f, 64<<10), codec: new(fastZstd), jobs: make(chan job, 32), done: make(chan struct{}), meta: footer, zeros: map[zeros]zeroPage{}}
	for i := range columns {
		e.chunks = append(e.chunks, chunk{kind: columns[i].kind, path: []string{columns[i].name}, quick: quickColumns[columns[i].name]})
	}
	e.header.encoder = thrift.NewEncoder(new(thrift.CompactProtocol).NewWriter(&e.header.buf))
	go func() {
		defer close(e.done)
		e.write([]byte("PAR1"))
		for j := range e.jobs {
			switch {
			case e.err != nil: // close tells
			case j.rows > 0:
				e.endGroup(&j)
			default:
				e.encode(&j)
			}
		}
	}()
	return e
}

// values is an empty page for a list of that kind.
func (e *encoder) values(list int) *values {
	v, ok := e.free[list].Get().(*values)
	if !ok {
		v = &values{list: list}
	}
	v.reset()
	return v
}

func (e *encoder) release(v *values) { e.free[v.list].Put(v) }

// close waits for all pages, and writes the end of the file.
func (e *encoder) close() error {
	close(e.jobs)
	<-e.done
	e.finish()
	if e.err != nil {
		return e.err
	}
	return e.out.Flush()
}

func (e *encoder) fail(err error) {
	if e.err == nil {
		e.err = err
		e.broken.Store(true)
	}
}

func (e *encoder) write(b []byte) {
	n, err := e.out.Write(b)
	e.at += int64(n)
	if err != nil {
		e.fail(err)
	}
}

// encode appends a page to its column.
func (e *encoder) encode(j *job) {
	c, at := &e.chunks[j.column], 0
	coding := j.coding.Encoding()
	if j.page == nil {
		at = e.encodeZeros(c, j)
	} else {
		at = e.encodeValues(c, j, j.page)
		e.release(j.page)
	}
	c.places = append(c.places, format.PageLocation{Offset: int64(at), CompressedPageSize: int32(len(c.pages) - at), FirstRowIndex: int64(j.first)})
	c.encodings |= 1 << coding
}

// zeros are pages of which all values are zero, by what makes them differ. Most columns of most files have nothing else.
type zeros struct {
	kind   parquet.Kind
	coding format.Encoding
	codec  format.CompressionCodec
	n      int
}

type zeroPage struct {
	page []byte
	raw  int64
}

// maxZeros bounds the pages that are remembered: they differ by the number of their values only.
const maxZeros = 64

func (e *encoder) encodeZeros(c *chunk, j *job) (at int) {
	key := zeros{c.kind, j.coding.Encoding(), c.codec(), j.n}
	known, ok := e.zeros[key]
	if !ok {
		v, raw := &values{offsets: []uint32{0}}, c.raw
		v.zeros(c.kind, key.coding == format.RLEDictionary, j.n)
		at = e.encodeValues(c, j, v)
		if len(e.zeros) == maxZeros {
			clear(e.zeros)
		}
		e.zeros[key] = zeroPage{slices.Clone(c.pages[at:]), c.raw - raw}
		return at
	}
	at = len(c.pages)
	c.pages = append(c.pages, known.page...)
	c.raw += known.raw
	c.bound(0, 0)
	return at
}

// encodeValues appends a page to its column, where it begins at that place.
func (e *encoder) encodeValues(c *chunk, j *job, v *values) (at int) {
	at = len(c.pages)
	var err error
	switch b := e.page[:0]; {
	case j.coding.Encoding() == format.RLEDictionary:
		e.page, err = j.coding.EncodeInt32(b, v.small)
	case c.kind == parquet.ByteArray:
		e.page, err = j.coding.EncodeByteArray(b, v.text, v.offsets)
	case c.kind == parquet.Boolean:
		e.page, err = j.coding.EncodeBoolean(b, v.bits)
	case c.kind == parquet.Int32:
		e.page, err = j.coding.EncodeInt32(b, v.small)
		c.bound(int64(slices.Min(v.small)), int64(slices.Max(v.small)))
	case c.kind == parquet.Int64:
		e.page, err = j.coding.EncodeInt64(b, v.large)
		c.bound(slices.Min(v.large), slices.Max(v.large))
	case c.kind == parquet.Double:
		e.page, err = j.coding.EncodeDouble(b, v.doubles)
	default:
		err = fmt.Errorf("it is of %v", c.kind)
	}
	if err != nil {
		e.fail(fmt.Errorf("encode a page of %s: %w", c.path[0], err))
		return at
	}
	h := &e.header.page
	*h = format.PageHeader{Type: format.DataPage}
	h.DataPageHeader.Set(format.DataPageHeader{NumValues: int32(j.n), Encoding: j.coding.Encoding(), DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE})
	c.pages = e.appendPage(c, c.pages, j.coding.Encoding())
	return at
}

// appendPage compresses e.page and appends it behind its header.
func (e *encoder) appendPage(c *chunk, b []byte, coding format.Encoding) []byte {
	if err := e.pack(c, coding); err != nil {
		e.fail(fmt.Errorf("compress a page of %s: %w", c.path[0], err))
		return b
	}
	h := &e.header.page
	h.UncompressedPageSize, h.CompressedPageSize, h.CRC = int32(len(e.page)), int32(len(e.packed)), int32(crc32.ChecksumIEEE(e.packed))
	e.header.buf.Reset()
	if err := e.header.encoder.Encode(h); err != nil {
		e.fail(err)
	}
	c.raw += int64(e.header.buf.Len() + len(e.page))
	return append(append(b, e.header.buf.Bytes()...), e.packed...)
}

// quickColumns are compressed by Snappy: in a fourth of the time, to about twice the size. They differ from call to call, and are most of what there is to
// compress. Readers want one codec for all chunks of a column.
var quickColumns = map[string]bool{"id": true, "conn_id": true, "flow_id": true, "path": true, "query": true, "req_headers": true}

func (c *chunk) codec() format.CompressionCodec {
	if c.quick {
		return format.Snappy
	}
	return format.Zstd
}

// loose is how many more pages of a column are not compressed, after one that hardly shrank: random ids, and numbers whose differences are
// packed already.
type loose struct {
	pages int
	of    format.Encoding // pages of others are tried
}

const (
	loosePages     = 15
	dictionaryPage = format.Encoding(-1) // no encoding of others
)

// pack compresses e.page into e.packed.
func (e *encoder) pack(c *chunk, coding format.Encoding) (err error) {
	if c.loose.pages > 0 && c.loose.of == coding {
		c.loose.pages--
		e.packed = rawFrame(e.packed, e.page)
		return nil
	}
	if c.quick {
		e.packed = s2.EncodeSnappy(e.packed[:cap(e.packed)], e.page)
		return nil
	}
	e.packed, err = e.codec.Encode(e.packed[:0], e.page)
	if n := len(e.page); n >= 1<<10 && len(e.packed) > n-n/16 {
		c.loose = loose{loosePages, coding}
	}
	return err
}

func (c *chunk) bound(low, high int64) {
	if !c.bounded {
		c.low, c.high, c.bounded = low, high, true
	}
	c.low, c.high = min(c.low, low), max(c.high, high)
}

// endGroup writes a row group and where its pages lie.
func (e *encoder) endGroup(j *job) {
	group := writtenGroup{rows: j.rows, at: e.at, chunks: make([]writtenChunk, len(e.chunks))}
	for i := range e.chunks {
		c, w := &e.chunks[i], &group.chunks[i]
		w.at = e.at
		if c.encodings>>format.RLEDictionary&1 != 0 { // there are pages of codes
			e.writeDictionary(c, j.dicts[i])
		}
		w.pages = e.at
		for k := range c.places {
			c.places[k].Offset += e.at
		}
		e.write(c.pages)
		w.raw, w.size, w.low, w.high, w.encodings = c.raw, e.at-w.at, c.low, c.high, c.encodings
	}
	for i := range e.chunks {
		c, w := &e.chunks[i], &group.chunks[i]
		index, err := e.thrift(&format.OffsetIndex{PageLocations: c.places})
		if err != nil {
			e.fail(err)
		}
		w.index, w.indexSize = int64(len(e.places)), int32(len(index))
		e.places = append(e.places, index...)
		*c = chunk{kind: c.kind, path: c.path, loose: c.loose, quick: c.quick, pages: c.pages[:0], places: c.places[:0]}
	}
	e.groups = append(e.groups, group)
	e.meta.NumRows += int64(j.rows)
}

func (e *encoder) writeDictionary(c *chunk, d *dictionary) {
	e.page = d.page(e.page[:0])
	e.header.page = format.PageHeader{Type: format.DictionaryPage}
	e.header.page.DictionaryPageHeader.Set(format.DictionaryPageHeader{NumValues: int32(len(d.texts)), Encoding: format.Plain})
	c.encodings |= 1 << format.Plain
	e.write(e.appendPage(c, nil, dictionaryPage))
}

// finish writes the table of contents.
func (e *encoder) finish() {
	places := e.at
	e.write(e.places)
	footer, err := e.footer(places)
	if err != nil {
		e.fail(err)
		return
	}
	outline, err := columns.Outline(footer, e.at)
	if err != nil {
		e.fail(err)
	}
	n := uint32(len(footer))
	e.write(outline)
	e.write(footer)
	e.write(append(binary.LittleEndian.AppendUint32(nil, n), "PAR1"...))
}
