package store

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// writtenGroup is a row group in the file. What the footer says of it is kept until the end, so it is kept in a tenth of the
// footer's own types: ten million calls are three hundred row groups of two hundred columns.
type writtenGroup struct {
	rows   int
	at     int64
	chunks []writtenChunk
}

// writtenChunk is what a row group has of one column, in the file.
type writtenChunk struct {
	at, pages int64 // of its dictionary, if it has one, and of its first page
	raw, size int64 // before compression, and in the file
	low, high int64
	index     int64 // of its offset index, from the first one
	indexSize int32
	encodings uint16
}

// footer is FileMetaData of parquet.thrift, where the offset indexes begin at that place. It is encoded row group by row group, between
// what comes before their list and what comes behind it.
func (e *encoder) footer(places int64) ([]byte, error) {
	head, err := e.thrift(&struct {
		Version int32                  `thrift:"1,required"`
		Schema  []format.SchemaElement `thrift:"2,required"`
		NumRows int64                  `thrift:"3,required"`
	}{e.meta.Version, e.meta.Schema, e.meta.NumRows})
	if err != nil {
		return nil, err
	}
	head = bytes.Clone(head[:len(head)-1]) // the last byte ends a struct
	whole, err := e.thrift(&e.meta)
	if err != nil {
		return nil, err
	}
	// In the compact protocol 0x19 is the next field, a list, and 0x0C none of structs; from 15 on their number follows.
	rest, ok := bytes.CutPrefix(whole, append(head, 0x19, 0x0C))
	if !ok {
		return nil, fmt.Errorf("the footer begins with %x", whole[:min(len(whole), 64)])
	}
	rest = bytes.Clone(rest)
	footer := append(head, 0x19)
	if n := len(e.groups); n < 15 {
		footer = append(footer, byte(n)<<4|0x0C)
	} else {
		footer = binary.AppendUvarint(append(footer, 0xFC), uint64(n))
	}
	for i := range e.groups {
		group, err := e.thrift(e.rowGroup(i, places))
		if err != nil {
			return nil, err
		}
		footer = append(footer, group...)
	}
	return append(footer, rest...), nil
}

// thrift is v in the compact protocol, until the next call.
func (e *encoder) thrift(v any) ([]byte, error) {
	e.header.buf.Reset()
	err := e.header.encoder.Encode(v)
	return e.header.buf.Bytes(), err
}

// rowGroup is what the footer says of a row group.
func (e *encoder) rowGroup(number int, places int64) *format.RowGroup {
	written := &e.groups[number]
	group := &format.RowGroup{NumRows: int64(written.rows), FileOffset: written.at, Ordinal: int16(number), Columns: make([]format.ColumnChunk, len(e.chunks))}
	for i := range e.chunks {
		c, w, column := &e.chunks[i], &written.chunks[i], &group.Columns[i]
		column.OffsetIndexOffset, column.OffsetIndexLength = places+w.index, w.indexSize
		m := &column.MetaData
		m.Type, m.PathInSchema, m.Codec, m.NumValues = format.Type(c.kind), c.path, c.codec(), int64(written.rows)
		for coding := format.Encoding(0); w.encodings>>coding != 0; coding++ {
			if w.encodings>>coding&1 != 0 {
				m.Encoding = append(m.Encoding, coding)
			}
		}
		if w.pages > w.at {
			m.DictionaryPageOffset = w.at
		}
		m.DataPageOffset, m.TotalUncompressedSize, m.TotalCompressedSize = w.pages, w.raw, w.size
		if c.kind == parquet.Int32 || c.kind == parquet.Int64 {
			m.Statistics.MinValue, m.Statistics.MaxValue = plainNumber(c.kind, w.low), plainNumber(c.kind, w.high)
		}
		group.TotalByteSize += w.raw
		group.TotalCompressedSize += w.size
	}
	return group
}

// plainNumber is a number as bounds have it.
func plainNumber(kind parquet.Kind, v int64) []byte {
	if kind == parquet.Int32 {
		return binary.LittleEndian.AppendUint32(nil, uint32(v))
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(v))
}
