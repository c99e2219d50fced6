package columns

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/devloop-io/devloop/filter"
)

// Result are the rows of a file that a filter matches, and what it took to find them.
type Result struct {
	Columns []string // that were read, in alphabetical order
	Total   int64    // rows of the file
	Asked   int64    // rows that were asked one by one
	Partial bool     // not all row groups were searched: enough rows were found before
	groups  []result
}

type result struct {
	first   int64
	rows    Bits
	asked   int
	columns []string
	done    bool
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

// First are the numbers of the first rows, at most n.
func (r *Result) First(n int) []int64 {
	var rows []int64
	for row := range r.Rows() {
		if len(rows) == n {
			break
		}
		rows = append(rows, row)
	}
	return rows
}

// Last are the numbers of the last rows, at most n, in the order of the file.
func (r *Result) Last(n int) []int64 {
	var rows []int64
	for i := len(r.groups) - 1; i >= 0 && len(rows) < n; i-- {
		in := slices.Collect(r.groups[i].rows.All())
		for k := len(in) - 1; k >= 0 && len(rows) < n; k-- {
			rows = append(rows, r.groups[i].first+int64(in[k]))
		}
	}
	slices.Reverse(rows)
	return rows
}

// Ask tells which of the rows match, of those that the predicate leaves open.
type Ask func(g *Group, open Bits) (Bits, error)

// Search says which rows are looked for.
type Search struct {
	Predicate *filter.Predicate
	Unless    string // rows whose column of this name is not empty are not judged by their columns: they are all asked
	Ask       Ask    // called by several goroutines at once, each with a group of its own
	From, To  int64  // only rows from this number on, and before that one unless it is 0
}

// Select finds the rows of a file.
func Select(ctx context.Context, path string, s Search) (*Result, error) {
	f, err := Open(path)
	if err != nil {
		return nil, fmt.Errorf("search the columns of %s: %w", filepath.Base(path), err)
	}
	r, err := f.Select(ctx, s, f.InOrder(), 0)
	if shut := f.Close(); err == nil {
		err = shut
	}
	return r, err
}

// InOrder are the numbers of all row groups.
func (f *File) InOrder() []int {
	all := make([]int, f.Groups())
	for i := range all {
		all[i] = i
	}
	return all
}

// Select finds the rows of some row groups, which it searches in the order given, until enough are found; 0 is all.
func (f *File) Select(ctx context.Context, s Search, groups []int, enough int) (*Result, error) {
	r := &Result{Total: f.Rows(), groups: make([]result, f.Groups())}
	for i := range r.groups {
		r.groups[i].first = f.First(i)
	}
	var mu sync.Mutex
	found, next := 0, 0 // in the groups before the next that is not done
	err := f.Each(ctx, groups, func(_ int, g *Group, i int) (bool, error) {
		rows, asked, err := g.Judge(s)
		if err != nil {
			return false, err
		}
		mu.Lock()
		defer mu.Unlock()
		r.groups[i] = result{first: g.First, rows: rows, asked: asked, columns: g.Read(), done: true}
		for next < len(groups) && r.groups[groups[next]].done {
			found += r.groups[groups[next]].rows.Count()
			next++
		}
		return enough == 0 || found < enough, nil
	})
	for i := range r.groups {
		r.Asked += int64(r.groups[i].asked)
		r.Columns = append(r.Columns, r.groups[i].columns...)
	}
	for _, i := range groups {
		r.Partial = r.Partial || !r.groups[i].done
	}
	slices.Sort(r.Columns)
	r.Columns = slices.Compact(r.Columns)
	return r, err
}

// Judge finds the rows of a group, and tells of how many it had to ask.
func (g *Group) Judge(s Search) (rows Bits, asked int, err error) {
	sel, open := full(g.Rows), newBits(g.Rows)
	if s.From > g.First || s.To > 0 && s.To < g.First+int64(g.Rows) {
		for i := range g.Rows {
			if at := g.First + int64(i); at < s.From || s.To > 0 && at >= s.To {
				sel.clear(i)
			}
		}
	}
	c, err := g.Column(s.Unless)
	if err != nil {
		return nil, 0, err
	}
	c.whereFilled(sel, open)
	sure, possible, err := g.evaluate(s.Predicate, sel.without(open))
	if err != nil {
		return nil, 0, err
	}
	if open.Or(possible.without(sure)); !open.Empty() {
		asked = open.Count()
		found, err := s.Ask(g, open)
		if err != nil {
			return nil, 0, err
		}
		sure.Or(found)
	}
	return sure, asked, nil
}

// Read are the columns of the group that were read so far.
func (g *Group) Read() []string {
	var all []string
	for name := range g.cache {
		all = append(all, name)
	}
	return all
}

// Workers is how many goroutines work at once, each on a group of its own.
func Workers() int { return runtime.GOMAXPROCS(0) }

// Each calls do with row groups, in the order given, on all processors, until one fails or says that there is no more to do. Worker
// numbers the goroutine, from 0.
func (f *File) Each(ctx context.Context, groups []int, do func(worker int, g *Group, number int) (more bool, err error)) error {
	memory := make([]*scratch, Workers())
	defer func() {
		for _, m := range memory {
			if m != nil {
				m.put()
			}
		}
	}()
	ahead := readAhead{f: f, groups: groups}
	err := inParallel(ctx, len(groups), func(worker, i int) (bool, error) {
		if memory[worker] == nil {
			memory[worker] = scratches.Get().(*scratch)
		}
		ahead.begin(i)
		g := f.group(groups[i], memory[worker])
		defer g.release()
		more, err := do(worker, g, groups[i])
		ahead.done(g)
		return more, err
	})
	if err != nil {
		return fmt.Errorf("search the columns of %s: %w", filepath.Base(f.meta.path), err)
	}
	return nil
}

// InTurn calls do with row groups, one after the other in the order given, until it fails or wants no more.
func (f *File) InTurn(ctx context.Context, groups []int, do func(g *Group) (more bool, err error)) error {
	memory := scratches.Get().(*scratch)
	defer memory.put()
	for _, i := range groups {
		more, err := true, context.Cause(ctx)
		if err == nil {
			g := f.group(i, memory)
			more, err = do(g)
			g.release()
		}
		if err != nil {
			return fmt.Errorf("read the columns of %s: %w", filepath.Base(f.meta.path), err)
		}
		if !more {
			break
		}
	}
	return nil
}

// Share calls do on all processors at once, with the number of each, from 0, and how many they are.
func Share(ctx context.Context, do func(part, parts int)) error {
	parts := Workers()
	return inParallel(ctx, parts, func(_, part int) (bool, error) {
		do(part, parts)
		return true, nil
	})
}

// inParallel calls do with 0 to n-1, on all processors, until one fails or wants no more. What panics there panics here: whoever asked is
// told, and not the whole program ended.
func inParallel(ctx context.Context, n int, do func(worker, i int) (bool, error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	enough := make(chan struct{})
	var once sync.Once
	var workers sync.WaitGroup
	var bug atomic.Pointer[string]
	for worker := range min(n, Workers()) {
		workers.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					text := fmt.Sprintf("%v\n%s", p, debug.Stack())
					bug.Store(&text)
					cancel(nil)
				}
			}()
			for i := range next {
				more, err := do(worker, i)
				if err != nil {
					cancel(err)
				}
				if !more {
					once.Do(func() { close(enough) })
				}
			}
		})
	}
loop:
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		select {
		case <-enough:
			break loop
		default:
		}
		select {
		case next <- i:
		case <-enough:
			break loop
		case <-ctx.Done():
			break loop
		}
	}
	close(next)
	workers.Wait()
	if b := bug.Load(); b != nil {
		panic(*b)
	}
	return context.Cause(ctx)
}
