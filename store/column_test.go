package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/devloop-io/devloop/traffic"
	"github.com/devloop-io/devloop/traffic/redact"
)

// TestManyRows: columns that are rarely filled, dictionaries that are given up because they grow or because nothing repeats, and several
// pages and row groups come back as they were.
func TestManyRows(t *testing.T) {
	t.Parallel()
	const n = 2*groupRows + 5000
	call := func(i int) *traffic.Call {
		c := &traffic.Call{ID: strconv.Itoa(i), Index: i, Start: int64(i) * 1e6, Path: "/items/" + strconv.Itoa(i)}
		if i%1000 == 7 {
			c.Error, c.Background, c.Depth = traffic.ErrorReset, true, i
			c.Retry = &traffic.Retry{Group: "a", Attempt: i, DelayNS: int64(-i), Factor: float64(i) / 3}
		}
		if i > n-3000 {
			c.Revision, c.Parent, c.SelfNS = "r"+strconv.Itoa(i%3), "p", -5
			c.HTTP = &traffic.HTTP{Host: "h", ResponseBody: make([]byte, i%3000), RequestHeaders: []traffic.Header{{Name: "A", Value: c.ID}}}
		}
		return c
	}
	path := filepath.Join(t.TempDir(), "calls")
	err := WriteCalls(create(t, path), func(yield func(*traffic.Call) bool) {
		for i := 0; i < n && yield(call(i)); i++ {
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for c, err := range ReadCalls(path) {
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(call(i), c, sameAddrs); diff != "" {
			t.Fatalf("call %d (-want +got):\n%s", i, diff)
		}
		i++
	}
	if i != n {
		t.Errorf("%d rows of %d", i, n)
	}
	if b, err := os.ReadFile(path); err != nil || bytes.Count(b, []byte("DLo1")) != 1 {
		t.Errorf("a file of three row groups has no outline (%v)", err)
	}
}

// TestPagesAfterTheDictionary: once a dictionary has been given up because it is too large, pages are as full as those of other columns.
func TestPagesAfterTheDictionary(t *testing.T) {
	t.Parallel()
	const rows, size = 5000, 1000
	path := filepath.Join(t.TempDir(), "calls")
	err := WriteCalls(create(t, path), func(yield func(*traffic.Call) bool) {
		for i := range rows {
			body := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, size/2)
			if !yield(&traffic.Call{ID: strconv.Itoa(i), HTTP: &traffic.HTTP{ResponseBody: body}}) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	file, err := parquet.OpenFile(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	leaf, ok := file.Schema().Lookup("resp_body")
	if !ok {
		t.Fatal("there is no column resp_body")
	}
	offsets, err := file.RowGroups()[0].ColumnChunks()[leaf.ColumnIndex].OffsetIndex()
	if err != nil {
		t.Fatal(err)
	}
	if most := 2 * rows * size / pageBytes; offsets.NumPages() > most {
		t.Errorf("%d bodies of %d bytes are in %d pages, want at most %d", rows, size, offsets.NumPages(), most)
	}
}

// TestShares: bodies come back as they were, be it that they are shared with the redactor, forgotten by it meanwhile, or lie in memory that is used again.
func TestShares(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "calls")
	r := redact.New([]byte("key"), redact.Options{})
	w := NewCallWriter(create(t, path))
	w.Shares(r)
	var want []string
	shared, lent := 0, make([]byte, 400)
	for i := range 20_000 {
		which := i % 100
		if i%3 == 0 {
			which = i / 3 % 3000 // more than it remembers
		}
		text := fmt.Sprintf(`{"n":%d,"text":"%s"}`, which, bytes.Repeat([]byte{'a' + byte(which%26)}, 150+which%200))
		want = append(want, text)
		c := &traffic.Call{Protocol: traffic.ProtoHTTP, HTTP: &traffic.HTTP{RequestBody: append(lent[:0], text...)}}
		r.Call(c)
		if err := w.Write(c); err != nil {
			t.Fatal(err)
		}
		if r.Keeps(c.HTTP.RequestBody) {
			shared++
		}
		clear(lent)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if shared < len(want)/2 {
		t.Errorf("%d of %d bodies are the redactor's, want most", shared, len(want))
	}
	i := 0
	for c, err := range ReadCalls(path) {
		if err != nil || string(c.HTTP.RequestBody) != want[i] {
			t.Fatalf("row %d: %v, %s, want %s", i, err, c.HTTP.RequestBody, want[i])
		}
		i++
	}
	if i != len(want) {
		t.Errorf("read %d rows of %d", i, len(want))
	}
}

// limited takes so many bytes, as a disk does that fills up.
type limited struct{ left int }

func (f *limited) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, syscall.ENOSPC
	}
	return len(b), nil
}

func (*limited) Close() error { return nil }

// TestWritingStops: when nothing can be written any more, the rows that come are refused, and the end says why.
func TestWritingStops(t *testing.T) {
	t.Parallel()
	w := NewCallWriter(&limited{left: 1 << 10})
	rows := 0
	for w.Write(&traffic.Call{ID: strconv.Itoa(rows)}) == nil {
		rows++
		if rows > 100*groupRows {
			t.Fatal("rows are taken and never written")
		}
	}
	if err := w.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the end says %v", err)
	}
}
