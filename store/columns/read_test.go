package columns

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	return testFileOf(t, rows, version, 1000)
}

func testFileOf(t testing.TB, rows, version int, group int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[testRow](&b, parquet.Compression(&parquet.Zstd), parquet.DataPageVersion(version), parquet.PageBufferSize(2000), parquet.MaxRowsPerRowGroup(group))
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
		g.Narrow(sel)
		g.Ahead([]string{"name", "text", "large"}, sel)
		column := map[string]*Column{}
		for name := range g.names {
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

// What a library wrote is read as it was written: whole columns, single pages, and those between two rows, of both versions.
func TestReadsWhatWasWritten(t *testing.T) {
	t.Parallel()
	for version := 1; version <= 2; version++ {
		for _, wanted := range []func(i int) bool{
			func(int) bool { return true },
			func(i int) bool { return i%400 == 0 },
			func(i int) bool { return i >= 750 && i < 1300 && i%2 == 0 },
			func(i int) bool { return i == 2344 || i < 2 },
		} {
			const n = 2345
			path := filepath.Join(t.TempDir(), "rows")
			if err := os.WriteFile(path, testFile(t, n, version), 0o600); err != nil {
				t.Fatal(err)
			}
			seen := make([]bool, n)
			err := readTest(path, wanted, func(i int, r testRow) {
				if seen[i] = true; r != testRowAt(i) {
					t.Errorf("version %d: row %d is %+v, want %+v", version, i, r, testRowAt(i))
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			for i := range n {
				if seen[i] != wanted(i) {
					t.Fatalf("version %d: row %d was read: %v", version, i, seen[i])
				}
			}
		}
	}
}

// Pages that hold no row that is asked for are not read.
func TestNarrowLeavesPagesOut(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rows")
	if err := os.WriteFile(path, testFile(t, 1000, 2), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = f.InTurn(t.Context(), []int{0}, func(g *Group) (bool, error) {
		sel := newBits(g.Rows)
		sel.setRange(400, 500)
		g.Narrow(sel)
		c, err := g.ColumnOf("plain", sel)
		if err != nil {
			return false, err
		}
		rows := 0
		for _, p := range c.parts {
			rows += p.n
		}
		if rows < 100 || rows > 900 {
			t.Errorf("%d rows were read for 100", rows)
		}
		others := newBits(g.Rows) // that nobody said would be asked for
		others.setRange(600, 700)
		if c, err = g.ColumnOf("text", others); err != nil || string(c.Text(650)) != testRowAt(650).Text {
			t.Errorf("row 650 is %q, %v", c.Text(650), err)
		}
		if c, err = g.Column("plain"); err == nil && string(c.Text(7)) != testRowAt(7).Plain {
			t.Errorf("row 7 is %q", c.Text(7))
		}
		return false, err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// inGroup visits the row group of a file of 1,000 rows.
func inGroup(t *testing.T, visit func(*Group) (bool, error)) {
	t.Helper()
	f, err := Open(write(t, testFile(t, 1000, 1)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.InTurn(t.Context(), []int{0}, visit); err != nil {
		t.Fatal(err)
	}
}

// Pages without a text are left out, and read when something else is asked of them.
func TestPagesWithoutAText(t *testing.T) {
	t.Parallel()
	inGroup(t, func(g *Group) (bool, error) {
		const row = 600
		text := []byte(testRowAt(row).Plain)
		c, err := g.columnWith("plain", nil, text)
		if err != nil {
			return false, err
		}
		rows := 0
		for _, p := range c.parts {
			rows += p.n
		}
		if rows == 0 || rows > 900 {
			t.Errorf("%d rows were read for one", rows)
		}
		found := newBits(g.Rows)
		c.whereText(full(g.Rows), found, text, func(b []byte) bool { return bytes.Equal(b, text) }, nil)
		if !found.Has(row) || found.Count() != 1 {
			t.Errorf("%q is in rows %v", text, found)
		}
		if again, err := g.ColumnOf("plain", found); again != c {
			t.Errorf("the row was read again (%v)", err)
		}
		if c, err = g.Column("plain"); err != nil {
			return false, err
		}
		for i := range g.Rows {
			if got := string(c.Text(i)); got != testRowAt(i).Plain {
				t.Fatalf("row %d is %q", i, got)
			}
		}
		return false, nil
	})
}

// What is read ahead of the next row groups are columns that were read to their end, also those that were given back, or of which pages
// lacked a text.
func TestWhole(t *testing.T) {
	t.Parallel()
	inGroup(t, func(g *Group) (bool, error) {
		one := newBits(g.Rows)
		one.Set(5)
		_, err := g.Column("large")
		if err == nil {
			_, err = g.Column("name")
		}
		if err == nil {
			_, err = g.ColumnOf("text", one)
		}
		if err == nil {
			_, err = g.columnWith("plain", nil, []byte("nowhere"))
		}
		g.Release("large")
		g.Release("text")
		names := g.whole()
		slices.Sort(names)
		if want := []string{"large", "name", "plain"}; !slices.Equal(names, want) {
			t.Errorf("%v, want %v", names, want)
		}
		return false, err
	})
}

// Numbers of 32 and of 64 bits are told row by row, and split classes by what they are.
func TestByNumbers(t *testing.T) {
	t.Parallel()
	inGroup(t, func(g *Group) (bool, error) {
		for name, want := range map[string]int{"small": 5, "large": 1000, "fixed": 1} {
			c := g.Sort(full(g.Rows), nil)
			if err := c.By(g, name); err != nil {
				return false, err
			}
			if len(c.First) != want {
				t.Errorf("%s has %d classes, want %d", name, len(c.First), want)
			}
			c.Done()
		}
		column, err := g.Column("small")
		if err != nil {
			return false, err
		}
		var room []int64
		for i, v := range column.Numbers(&room, g.Rows) {
			if v != int64(testRowAt(i).Small) {
				t.Fatalf("row %d is %d", i, v)
			}
		}
		return false, nil
	})
}

// Flags split classes at once as they do one by one, and numbered alike in all row groups.
func TestByFlags(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rows")
	if err := os.WriteFile(path, testFile(t, 2345, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var by Numbering
	numbers := map[string]uint32{} // of a name and a flag
	err = f.InTurn(t.Context(), f.InOrder(), func(g *Group) (bool, error) {
		sel := full(g.Rows)
		sel.clear(5)
		c := g.Sort(sel, &by)
		defer c.Done()
		if err := c.By(g, "name"); err != nil {
			return false, err
		}
		if err := c.ByFlags(g, []string{"never", "flag"}); err != nil {
			return false, err
		}
		if err := c.ByFlags(g, slices.Repeat([]string{"flag"}, 9)); err == nil {
			t.Error("more flags than have room were sorted by")
		}
		for i := range sel.All() {
			row := testRowAt(int(g.First) + i)
			key, number := fmt.Sprint(row.Name, row.Flag), c.Number[c.Of[i]]
			if old, ok := numbers[key]; ok && old != number {
				t.Fatalf("row %d, %s, has number %d and %d", i, key, old, number)
			}
			numbers[key] = number
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	distinct := map[uint32]bool{}
	for _, n := range numbers {
		distinct[n] = true
	}
	if len(numbers) != 14 || len(distinct) != 14 {
		t.Errorf("7 names by one flag have %d numbers, %d distinct", len(numbers), len(distinct))
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
		for name := range g.names {
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
