package store

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/parquet-go/parquet-go/format"

	"github.com/devloop-io/devloop/traffic"
)

// TestFooter: a footer that is put together from its row groups is what the library writes of the whole.
func TestFooter(t *testing.T) {
	t.Parallel()
	for _, groups := range []int{0, 1, 2, 14, 15, 16, 200} {
		t.Run(fmt.Sprint(groups), func(t *testing.T) {
			w := NewCallWriter(unclosed{new(bytes.Buffer)})
			for i := range groups {
				if err := w.Write(&traffic.Call{ID: fmt.Sprint(i), Protocol: traffic.ProtoHTTP, Start: int64(i), HTTP: &traffic.HTTP{ResponseBody: []byte("x")}}); err != nil {
					t.Fatal(err)
				}
				w.t.endGroup()
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			e := w.t.e
			got, err := e.footer(77)
			if err != nil {
				t.Fatal(err)
			}
			whole := e.meta
			for i := range groups {
				whole.RowGroups = append(whole.RowGroups, *e.rowGroup(i, 77))
			}
			want, err := e.thrift(&whole)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes, want %d of the library", len(got), len(want))
			}
			dicts := 0
			for _, g := range whole.RowGroups {
				for _, c := range g.Columns {
					if c.MetaData.DictionaryPageOffset > 0 {
						dicts++
						if c.MetaData.DataPageOffset <= c.MetaData.DictionaryPageOffset || c.MetaData.Encoding[0] != format.Plain {
							t.Fatalf("%s: %+v", c.MetaData.PathInSchema[0], c.MetaData)
						}
					}
				}
			}
			if groups > 0 && dicts == 0 {
				t.Error("no column has a dictionary")
			}
		})
	}
}

type unclosed struct{ *bytes.Buffer }

func (unclosed) Close() error { return nil }
