package columns

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/parquet-go/parquet-go"

	"github.com/devloop-io/devloop/filter"
)

// Result are the rows of a file that a filter matches, and what it took to find them.
type Result struct {
	Columns []string // that were read, in alphabetical order
	Total   int64    // rows of the file
	Asked   int64    // rows that were asked one by one
	groups  []result
}

type result struct {
	first   int64
	rows    Bits
	asked   int
	columns []string
}

// Count is how many rows match.
func (r *Result) Count() int {
	n := 0
	for i := range r.groups {
		n += r.groups[i].rows.Count()
	}
	return n
}

// Rows are the numbers of the rows that match, from 0, in the order of the file.
func (r *Result) Rows() iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for i := range r.groups {
			for row := range r.groups[i].rows.All() {
				if !yield(r.groups[i].first + int64(row)) {
					return
				}
			}
		}
	}
}

// Ask tells which of the rows match, of those that the predicate leaves open.
type Ask func(g *Group, open Bits) (Bits, error)

// Select finds the rows of a file that a predicate selects. Rows whose column unless is not empty are not judged by their columns:
// they are all asked. Ask is called by several goroutines at once, each with a group of its own.
func Select(ctx context.Context, path string, p *filter.Predicate, unless string, ask Ask) (*Result, error) {
	r, err := selectRows(ctx, path, p, unless, ask)
	if err != nil {
		return nil, fmt.Errorf("search the columns of %s: %w", filepath.Base(path), err)
	}
	return r, nil
}

// readBuffer is how much of a column is read at a time.
const readBuffer = 64 << 10

func selectRows(ctx context.Context, path string, p *filter.Predicate, unless string, ask Ask) (*Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(f, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(readBuffer))
	if err != nil {
		return nil, err
	}
	number := map[string]int{}
	for i, path := range file.Schema().Columns() {
		number[path[0]] = i
	}
	r := &Result{Total: file.NumRows()}
	groups := file.RowGroups()
	r.groups = make([]result, len(groups))
	first := int64(0)
	for i, g := range groups {
		r.groups[i].first = first
		first += g.NumRows()
	}
	err = inParallel(ctx, len(groups), func(i int) error {
		g := &Group{Rows: int(groups[i].NumRows()), chunks: groups[i].ColumnChunks(), number: number, cache: map[string]*Column{}}
		defer g.release()
		return g.run(p, unless, ask, &r.groups[i])
	})
	for i := range r.groups {
		r.Asked += int64(r.groups[i].asked)
		r.Columns = append(r.Columns, r.groups[i].columns...)
	}
	slices.Sort(r.Columns)
	r.Columns = slices.Compact(r.Columns)
	return r, err
}

// run judges one row group.
func (g *Group) run(p *filter.Predicate, unless string, ask Ask, r *result) error {
	sel, open := full(g.Rows), newBits(g.Rows)
	c, err := g.Column(unless)
	if err != nil {
		return err
	}
	c.whereText(sel, open, nil, func(b []byte) bool { return len(b) > 0 }, func(v string) bool { return v != "" })
	sure, possible, err := g.evaluate(p, sel.without(open))
	if err != nil {
		return err
	}
	r.rows = sure
	if open.Or(possible.without(sure)); !open.Empty() {
		r.asked = open.Count()
		found, err := ask(g, open)
		if err != nil {
			return err
		}
		r.rows.Or(found)
	}
	for name := range g.cache {
		r.columns = append(r.columns, name)
	}
	return nil
}

// inParallel calls do with 0 to n-1, on all processors, until one fails.
func inParallel(ctx context.Context, n int, do func(int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	workers.Wait()
	return context.Cause(ctx)
}
