package columns

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// What describes columns is read to its end and no further, whatever it says of its size.
func TestCompactKeepsWithin(t *testing.T) {
	t.Parallel()
	nested := func(n int) []byte { return bytes.Repeat([]byte{typeStruct | 1<<4}, n) }
	for name, x := range map[string]struct {
		b    []byte
		read func(c *compact)
		bad  bool
	}{
		"bytes to the end":        {[]byte{3, 'a', 'b', 'c'}, func(c *compact) { c.binary(typeBinary) }, false},
		"bytes beyond the end":    {[]byte{4, 'a', 'b', 'c'}, func(c *compact) { c.binary(typeBinary) }, true},
		"a list to the end":       {[]byte{0x26, 1, 2}, func(c *compact) { c.list(typeList, typeI64) }, false},
		"a list beyond the end":   {[]byte{0x36, 1, 2}, func(c *compact) { c.list(typeList, typeI64) }, true},
		"a list of other things":  {[]byte{0x26, 1, 2}, func(c *compact) { c.list(typeList, typeStruct) }, true},
		"bytes that are left out": {[]byte{4, 'a', 'b', 'c'}, func(c *compact) { c.skip(typeBinary) }, true},
		"a list that is left out": {[]byte{0xf6, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 2}, func(c *compact) { c.skip(typeList) }, false},
		"nested":                  {append(nested(maxNested), make([]byte, maxNested+1)...), func(c *compact) { c.skip(typeStruct) }, false},
		"nested too deeply":       {append(nested(maxNested+1), make([]byte, maxNested+2)...), func(c *compact) { c.skip(typeStruct) }, true},
		"a number without an end": {bytes.Repeat([]byte{0x80}, 11), func(c *compact) { c.varint() }, true},
	} {
		c := &compact{b: x.b}
		if x.read(c); c.bad != x.bad || c.at > len(x.b) {
			t.Errorf("%s: bad is %v, at byte %d of %d", name, c.bad, c.at, len(x.b))
		}
	}
}

// A footer that says what cannot be is refused before anything is read by it.
func TestFootersThatCannotBe(t *testing.T) {
	t.Parallel()
	whole := testFile(t, 50, 1)
	size := len(whole) - 8 - int(binary.LittleEndian.Uint32(whole[len(whole)-8:]))
	for name, x := range map[string]struct {
		change func(m *format.FileMetaData)
		want   string // of the error
	}{
		"as it was written":           {func(*format.FileMetaData) {}, ""},
		"rows that no group has":      {func(m *format.FileMetaData) { m.NumRows++ }, "damaged"},
		"more rows than pages number": {func(m *format.FileMetaData) { m.NumRows, m.RowGroups[0].NumRows = maxRows+1, maxRows+1 }, "damaged"},
		"fewer rows than none":        {func(m *format.FileMetaData) { m.NumRows, m.RowGroups[0].NumRows = -1, -1 }, "damaged"},
		"a chunk beyond the file": {func(m *format.FileMetaData) {
			m.RowGroups[0].Columns[0].MetaData.TotalCompressedSize = int64(len(whole))
		}, "damaged"},
		"a chunk before the file": {func(m *format.FileMetaData) {
			m.RowGroups[0].Columns[3].MetaData.DictionaryPageOffset, m.RowGroups[0].Columns[3].MetaData.DataPageOffset = 0, -4
		}, "damaged"},
		"a list of pages beyond it":     {func(m *format.FileMetaData) { m.RowGroups[0].Columns[0].OffsetIndexOffset = int64(len(whole)) }, "damaged"},
		"a column less than the schema": {func(m *format.FileMetaData) { m.RowGroups[0].Columns = m.RowGroups[0].Columns[1:] }, "damaged"},
		"a column that lacks values":    {func(m *format.FileMetaData) { m.Schema[1].RepetitionType.V = format.Optional }, "of another program"},
		"bounds of another size": {func(m *format.FileMetaData) {
			for i := range m.RowGroups[0].Columns {
				s := &m.RowGroups[0].Columns[i].MetaData.Statistics
				s.MaxValue = s.MaxValue[:min(len(s.MaxValue), 1)]
			}
		}, ""},
	} {
		footer := whole[size : len(whole)-8]
		var m format.FileMetaData
		if err := thrift.Unmarshal(new(thrift.CompactProtocol), footer, &m); err != nil {
			t.Fatal(err)
		}
		x.change(&m)
		b, err := thrift.Marshal(new(thrift.CompactProtocol), m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = parseFooter(b, int64(len(whole))); err == nil != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
}

// A footer that is longer than its file is refused before there is room for it.
func TestFooterLongerThanItsFile(t *testing.T) {
	t.Parallel()
	b := append(make([]byte, 100), 0xf0, 0xff, 0xff, 0x7f, 'P', 'A', 'R', '1')
	if f, err := Open(write(t, b)); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("%v, %v", f, err)
	}
}

// A page that is not what its header says is damaged.
func TestPagesThatCannotBe(t *testing.T) {
	t.Parallel()
	text := bytes.Repeat([]byte("page "), 100)
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed := encoder.EncodeAll(text, nil)
	for name, x := range map[string]struct {
		change func(h *format.PageHeader)
		plain  bool // not compressed
		want   string
	}{
		"as it was written": {func(*format.PageHeader) {}, false, "values"},
		"not compressed":    {func(*format.PageHeader) {}, true, "values"},
		"another checksum":  {func(h *format.PageHeader) { h.CRC++ }, false, "header"},
		"longer than its column": {func(h *format.PageHeader) {
			h.CRC, h.CompressedPageSize, h.UncompressedPageSize = 0, h.CompressedPageSize+1, h.UncompressedPageSize+1
		}, true, ""},
		"more than it unpacks to": {func(h *format.PageHeader) { h.UncompressedPageSize++ }, false, "header"},
		"less than it unpacks to": {func(h *format.PageHeader) { h.UncompressedPageSize-- }, false, "header"},
		"of another size":         {func(h *format.PageHeader) { h.UncompressedPageSize-- }, true, "header"},
		"too many values":         {func(h *format.PageHeader) { h.DataPageHeader.V.NumValues = maxRows + 1 }, false, ""},
		"fewer than none":         {func(h *format.PageHeader) { h.DataPageHeader.V.NumValues = -1 }, false, ""},
		"too large":               {func(h *format.PageHeader) { h.UncompressedPageSize = maxPage + 1 }, false, ""},
	} {
		body, codec := packed, format.Zstd
		if x.plain {
			body, codec = text, format.Uncompressed
		}
		h := format.PageHeader{Type: format.DataPage, UncompressedPageSize: int32(len(text)), CompressedPageSize: int32(len(body)), CRC: int32(crc32.ChecksumIEEE(body))}
		h.DataPageHeader.V, h.DataPageHeader.Valid = format.DataPageHeader{NumValues: 7}, true
		x.change(&h)
		b, err := thrift.Marshal(new(thrift.CompactProtocol), h)
		if err != nil {
			t.Fatal(err)
		}
		end := int64(len(b) + len(body))
		b = append(append(b, body...), "what lies behind the column"...)
		p := pages{from: bytes.NewReader(b), memory: new(scratch), codec: codec, end: end}
		read := ""
		got, err := p.header(end)
		var values []byte
		if err == nil {
			read = "header"
			values, err = p.values(&got, end)
		}
		if err == nil {
			read = "values"
		}
		if read != x.want || err == nil && !bytes.Equal(values, text) {
			t.Errorf("%s: its %s was read, want its %s: %q, %v", name, read, x.want, values, err)
		}
	}
}

// Stretches that lie near each other are read as one, whichever came first.
func TestJoined(t *testing.T) {
	t.Parallel()
	const far = maxGap + 1
	for _, x := range []struct{ all, want []span }{
		{nil, nil},
		{[]span{{5, 0}}, nil},
		{[]span{{10, 5}, {0, 10}}, []span{{0, 15}}},
		{[]span{{0, 10}, {10 + maxGap, 5}}, []span{{0, 15 + maxGap}}},
		{[]span{{0, 10}, {10 + far, 5}, {3, 0}}, []span{{0, 10}, {10 + far, 5}}},
		{[]span{{0, 100}, {10, 5}, {100 + far, 1}}, []span{{0, 100}, {100 + far, 1}}},
	} {
		got := joined(append([]span(nil), x.all...))
		if !slices.Equal(got, x.want) {
			t.Errorf("%v became %v, want %v", x.all, got, x.want)
		}
	}
}
