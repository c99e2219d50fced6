package columns

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/parquet-go/parquet-go"
)

type testRow struct {
	Name  string  `parquet:"name,dict"`
	Same  string  `parquet:"same,dict"`
	Plain string  `parquet:"plain"`
	Text  string  `parquet:"text"`
	Empty string  `parquet:"empty"`
	Small int32   `parquet:"small"`
	Large int64   `parquet:"large,delta"`
	Fixed int64   `parquet:"fixed"`
	Share float64 `parquet:"share"`
	Flag  bool    `parquet:"flag"`
	Never bool    `parquet:"never"`
}

func testRowAt(i int) testRow {
	return testRow{Name: fmt.Sprint("n", i%7), Same: "x", Plain: fmt.Sprint("p", i*i), Text: fmt.Sprint("text ", i/3), Small: int32(i%5) - 2, Large: int64(i) * 1e12, Fixed: 42, Share: float64(i) / 8, Flag: i%3 == 0}
}

// testFile is a file as the library writes it, with pages of one version.
func testFile(t testing.TB, rows, version int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[testRow](&b, parquet.Compression(&parquet.Zstd), parquet.DataPageVersion(version), parquet.PageBufferSize(2000), parquet.MaxRowsPerRowGroup(1000))
	for i := range rows {
		if _, err := w.Write([]testRow{testRowAt(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readTest reads all columns of some rows, and hands them to see.
func readTest(path string, rows func(i int) bool, see func(i int, r testRow)) error {
	f, err := Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Each(context.Background(), f.InOrder(), func(_ int, g *Group, _ int) (bool, error) {
		sel := newBits(g.Rows)
		for i := range g.Rows {
			if rows(int(g.First) + i) {
				sel.Set(i)
			}
		}
		column := map[string]*Column{}
		for name := range g.number {
			c, err := g.ColumnOf(name, sel)
			if err != nil {
				return false, err
			}
			column[name] = c
		}
		text := func(name string, i int) string { return string(column[name].Text(i)) }
		for i := range sel.All() {
			r := testRow{text("name", i), text("same", i), text("plain", i), text("text", i), text("empty", i), int32(column["small"].Number(i)), column["large"].Number(i),
				column["fixed"].Number(i), column["share"].Fraction(i), column["flag"].Flag(i), column["never"].Flag(i)}
			see(int(g.First)+i, r)
		}
		return true, nil
	})
}

// What a library wrote is read as it was written: whole columns and single pages, of both versions.
func TestReadsWhatWasWritten(t *testing.T) {
	t.Parallel()
	for version := 1; version <= 2; version++ {
		for _, every := range []int{1, 400} {
			const n = 2345
			path := filepath.Join(t.TempDir(), "rows")
			if err := os.WriteFile(path, testFile(t, n, version), 0o600); err != nil {
				t.Fatal(err)
			}
			seen := make([]bool, n)
			err := readTest(path, func(i int) bool { return i%every == 0 }, func(i int, r testRow) {
				if seen[i] = true; r != testRowAt(i) {
					t.Errorf("version %d: row %d is %+v, want %+v", version, i, r, testRowAt(i))
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < n; i += every {
				if !seen[i] {
					t.Fatalf("version %d: row %d was not read", version, i)
				}
			}
		}
	}
}

// FuzzRead: damaged files are errors, or rows.
func FuzzRead(f *testing.F) {
	whole := testFile(f, 50, 1)
	f.Add(whole)
	f.Add(testFile(f, 20, 2))
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("PAR1\x00\x00\x00\x00PAR1"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := os.CreateTemp(dir, "")
		if err == nil {
			defer os.Remove(file.Name())
			_, err = file.Write(b)
		}
		if err == nil {
			err = file.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = readFuzzed(file.Name())
	})
}

// readFuzzed reads all columns that a file says it has.
func readFuzzed(path string) error {
	f, err := Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Each(context.Background(), f.InOrder(), func(_ int, g *Group, _ int) (bool, error) {
		for name := range g.number {
			c, err := g.Column(name)
			if err != nil {
				return false, err
			}
			for i := range g.Rows {
				switch c.Kind {
				case parquet.ByteArray:
					c.Text(i)
				case parquet.Boolean:
					c.Flag(i)
				case parquet.Double:
					c.Fraction(i)
				case parquet.Int32, parquet.Int64:
					c.Number(i)
				}
			}
		}
		return true, nil
	})
}

// FuzzPages: what describes pages is read within its bounds.
func FuzzPages(f *testing.F) {
	f.Add([]byte{0x15, 0, 0x15, 20, 0x15, 20, 0x2c, 0x15, 8, 0x15, 0, 0}, 4, 3)
	f.Fuzz(func(t *testing.T, b []byte, width, n int) {
		if h, size, err := readHeader(b); err == nil && (size > len(b) || h.packed < 0) {
			t.Errorf("%+v of %d bytes", h, size)
		}
		x := &chunk{at: 4, size: 1 << 20}
		if all, err := parseIndex(b, x, 100); err == nil {
			for _, p := range all {
				if p.at < x.at || p.at+int64(p.size) > x.at+x.size || p.row < 0 || p.row >= 100 {
					t.Errorf("%+v", p)
				}
			}
		}
		_, _ = parseFooter(b, 1<<20)
		isDeltaOf(b, n)
		runsOf(b, width&31, n&0xffff)
	})
}
