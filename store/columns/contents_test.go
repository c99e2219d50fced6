package columns

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// footerOf is the footer of a file, and where it begins.
func footerOf(b []byte) ([]byte, int) {
	at := len(b) - 8 - int(binary.LittleEndian.Uint32(b[len(b)-8:]))
	return b[at : len(b)-8], at
}

// outlined is a file with an outline before its footer.
func outlined(t testing.TB, b []byte) []byte {
	t.Helper()
	footer, at := footerOf(b)
	o, err := Outline(footer, int64(at))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Join([][]byte{b[:at], o, b[at:]}, nil)
}

func write(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rows")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// manyGroups are so many that the footer is large.
const manyGroups = 60

// What an outline says is what the footer says, and rows are read by it.
func TestOutline(t *testing.T) {
	t.Parallel()
	const n = manyGroups*100 - 1
	plain := testFileOf(t, n, 1, 100)
	whole := outlined(t, plain)
	if len(whole) == len(plain) {
		t.Fatal("a large footer has no outline")
	}
	f, err := Open(write(t, whole))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := f.meta.contents
	footer, at := footerOf(plain)
	want, err := parseFooter(footer, int64(at))
	if err != nil {
		t.Fatal(err)
	}
	if got.lies[0].packed == nil {
		t.Error("the outline was not read")
	}
	if diff := cmp.Diff(want.names, got.names); diff != "" || got.rows != want.rows || got.rows != n {
		t.Errorf("%d rows of %d, columns (-footer +outline):\n%s", got.rows, n, diff)
	}
	for i := range want.lies {
		if got.lies[i].kind != want.lies[i].kind {
			t.Errorf("column %d: %v, in the footer %v", i, got.lies[i].kind, want.lies[i].kind)
		}
		for k := range want.groups {
			g, err := got.chunk(i, k)
			if err != nil {
				t.Fatal(err)
			}
			w, _ := want.chunk(i, k)
			if one := *w; one.same { // of these nothing is read
				one.at, one.size, one.index, one.indexSize = 0, 0, 0, 0
				w = &one
			}
			if *g != *w || got.groups[k] != want.groups[k] {
				t.Errorf("column %d of group %d: %+v of %+v, in the footer %+v of %+v", i, k, *g, got.groups[k], *w, want.groups[k])
			}
		}
	}
	err = readTest(write(t, whole), func(int) bool { return true }, func(i int, r testRow) {
		if r != testRowAt(i) {
			t.Errorf("row %d is %+v, want %+v", i, r, testRowAt(i))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A file whose outline is damaged is not read by half; one that says nothing of it is read by its footer.
func TestDamagedOutline(t *testing.T) {
	t.Parallel()
	plain := testFileOf(t, manyGroups*100, 2, 100)
	_, at := footerOf(plain)
	whole := outlined(t, plain)
	for _, c := range []struct {
		name    string
		at      int // from the end of the outline
		damaged bool
	}{{"its chunks", -outlineTail - 1, true}, {"its sum", -5, true}, {"its length", -outlineTail, true}, {"its length, beyond the file", -outlineTail + 3, true}, {"its mark", -1, false}} {
		b := bytes.Clone(whole)
		b[at+len(whole)-len(plain)+c.at]++
		f, err := Open(write(t, b))
		switch {
		case c.damaged && (err == nil || !strings.Contains(err.Error(), "damaged")):
			t.Errorf("%s: %v", c.name, err)
		case !c.damaged && err != nil:
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil {
			if f.meta.contents.lies[0].packed != nil {
				t.Errorf("%s: the outline was read", c.name)
			}
			f.Close()
		}
	}
}

// Chunks that do not lie in the file, or are fewer than the row groups, are refused before anything is read or kept for them.
func TestOutlineBounds(t *testing.T) {
	t.Parallel()
	footer, at := footerOf(testFile(t, 300, 1))
	c, err := parseFooter(footer, int64(at))
	if err != nil {
		t.Fatal(err)
	}
	o, err := c.outline()
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{int64(at), 10} {
		if c, err = parseOutline(o[:len(o)-outlineTail], size); err != nil {
			t.Fatal(err)
		}
		if _, err := c.chunk(c.names["plain"], 0); (err == nil) != (size == int64(at)) {
			t.Errorf("a chunk in %d bytes: %v", size, err)
		}
	}
	if _, err := parseChunks([]byte{isSame}, 1<<60, 10); err == nil {
		t.Error("one chunk for very many row groups is no mistake")
	}
}

// What lies in an outline is checked: chunks are within the file.
func FuzzOutline(f *testing.F) {
	footer, at := footerOf(testFileOf(f, 300, 1, 100))
	c, err := parseFooter(footer, int64(at))
	if err != nil {
		f.Fatal(err)
	}
	o, err := c.outline()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(o[:len(o)-outlineTail])
	f.Fuzz(func(t *testing.T, b []byte) {
		const size = 1 << 20
		c, err := parseOutline(b, size)
		if err != nil {
			return
		}
		for i := range c.lies {
			for k := range c.groups {
				x, err := c.chunk(i, k)
				if err != nil {
					break
				}
				if x.at < 0 || x.size < 0 || x.at+x.size > size || x.index < 0 || x.index+int64(x.indexSize) > size {
					t.Fatalf("%+v", *x)
				}
			}
		}
	})
}
