package store

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// A window has what begins in it, its first nanosecond included and its last not, whether columns tell or rows are asked.
func TestWindows(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "calls")
	var calls []*traffic.Call
	for i := range 6 {
		c := &traffic.Call{ID: fmt.Sprint(i), Protocol: traffic.ProtoHTTP, Start: int64(10 + 10*i), End: int64(15 + 10*i), State: traffic.StateComplete, Path: "/a", HTTP: &traffic.HTTP{}}
		if i%2 == 1 {
			c.Path = "/bad\xff" // no text: columns cannot tell
		}
		calls = append(calls, c)
	}
	if err := WriteCalls(create(t, path), seq(calls)); err != nil {
		t.Fatal(err)
	}
	table, err := OpenCalls(path)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	for src, matches := range map[string]func(i int) bool{
		`http`: func(int) bool { return true }, `path == "/a"`: func(i int) bool { return i%2 == 0 }, "path == \"/bad\uFFFD\"": func(int) bool { return false },
	} {
		f, err := filter.Compile(src)
		if err != nil {
			t.Fatal(err)
		}
		edges := []int64{0, 9, 10, 11, 15, 29, 30, 31, 59, 60, 61, 75}
		for _, start := range edges {
			for _, end := range edges {
				var want []int64
				for i, c := range calls {
					if matches(i) && c.Start >= start && (end == 0 || c.Start < end) {
						want = append(want, int64(i))
					}
				}
				got, err := table.Find(t.Context(), CallSearch{Filter: f, Start: start, End: end}, 0)
				if err != nil {
					t.Fatal(err)
				}
				if rows := slices.Collect(got.Rows()); !slices.Equal(rows, want) {
					t.Errorf("%s from %d to %d: rows %v, want %v", src, start, end, rows, want)
				}
			}
		}
	}
}

// A connection lived in a window that it reached into, be it for a nanosecond.
func TestReadLivingConnections(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "connections")
	w := NewConnectionWriter(create(t, path))
	for i := range 5 {
		if err := w.Write(&traffic.Connection{ID: uint64(i), Proto: "tcp", Start: int64(10 * i), End: int64(10*i + 5), State: traffic.StateEstablished}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		start, end int64
		want       []uint64
	}{{0, 0, []uint64{0, 1, 2, 3, 4}}, {15, 20, []uint64{1}}, {16, 20, nil}, {15, 21, []uint64{1, 2}}, {16, 0, []uint64{2, 3, 4}}, {0, 1, []uint64{0}}} {
		var got []uint64
		for c, err := range ReadLivingConnections(t.Context(), path, x.start, x.end) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, c.ID)
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("from %d to %d: %v, want %v", x.start, x.end, got, x.want)
		}
	}
}
