package store

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"

	"github.com/devloop-io/devloop/store/columns"
	"github.com/devloop-io/devloop/traffic"
)

// payloadColumns are the texts of calls that are far longer than all else of them together.
var payloadColumns = []string{"req_headers", "resp_headers", "req_body", "resp_body", "ws_payload", "redis_args", "redis_reply", "postgresql_query", "postgresql_arguments", "gql_query", "gql_variables"}

// IsPayload reports whether a column of calls is empty where [CallTable.Read] leaves payload out.
func IsPayload(column string) bool { return slices.Contains(payloadColumns, column) }

// Read reads the calls that a search selects, in the order of the file, a row group at a time. Without payload, headers, bodies and what
// other protocols have in their place are empty. Calls for which the filter is in error are left out.
func (t *CallTable) Read(ctx context.Context, s CallSearch, payload bool) iter.Seq2[*traffic.Call, error] {
	set := callColumns()
	if !payload {
		set = slices.DeleteFunc(slices.Clone(set), func(s setter) bool { return IsPayload(s.column) })
	}
	search := s.limited(s.search())
	return readRows(func(do func(g *columns.Group) (bool, error)) error { return t.file.InTurn(ctx, s.groups(t), do) }, set,
		func(g *columns.Group) (columns.Bits, error) {
			rows, _, err := g.Judge(search)
			return rows, err
		}, (*callRow).call)
}

// ReadLivingConnections reads the connections of a file that lived in a window of Unix nanoseconds, in the order of the file, a row group
// at a time; an end of 0 is no bound.
func ReadLivingConnections(ctx context.Context, path string, start, end int64) iter.Seq2[*traffic.Connection, error] {
	return func(yield func(*traffic.Connection, error) bool) {
		f, err := columns.Open(path)
		if err != nil {
			yield(nil, fmt.Errorf("open stored connections: %w", err))
			return
		}
		defer f.Close()
		readRows(func(do func(g *columns.Group) (bool, error)) error { return f.InTurn(ctx, f.InOrder(), do) }, connColumns(),
			func(g *columns.Group) (columns.Bits, error) { return livingIn(g, start, end) }, (*connRow).connection)(yield)
	}
}

// livingIn are the connections of a group that lived in a window.
func livingIn(g *columns.Group, start, end int64) (columns.Bits, error) {
	first, err := g.Column("start_ns")
	if err != nil {
		return nil, err
	}
	last, err := g.Column("end_ns")
	if err != nil {
		return nil, err
	}
	var room [2][]int64
	from, to := first.Numbers(&room[0], g.Rows), last.Numbers(&room[1], g.Rows)
	lived := make(columns.Bits, (g.Rows+63)/64)
	for i := range g.Rows {
		if to[i] >= start && (end == 0 || from[i] < end) {
			lived.Set(i)
		}
	}
	return lived, nil
}

// readRows rebuilds the rows of groups that choose selects.
func readRows[R, T any](groups func(do func(g *columns.Group) (bool, error)) error, set []setter, choose func(g *columns.Group) (columns.Bits, error), convert func(*R) (*T, error)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		r := newRowReader[R](set)
		stopped := false
		err := groups(func(g *columns.Group) (bool, error) {
			rows, err := choose(g)
			if err != nil || rows.Empty() {
				return true, err
			}
			if err := r.open(g, rows); err != nil {
				return false, err
			}
			for i := range rows.All() {
				v, err := convert(r.read(i))
				if err != nil {
					return false, fmt.Errorf("row %d: %w", g.First+int64(i), err)
				}
				if !yield(v, nil) {
					stopped = true
					return false, nil
				}
			}
			return true, nil
		})
		if err != nil && !stopped {
			yield(nil, err)
		}
	}
}

// rowReader fills one row again and again, of the columns of a group that say anything.
type rowReader[R any] struct {
	row    *R
	set    []setter
	fields []reflect.Value // of the row, by the set
	all    []*columns.Column
	filled []int // places in the set of columns that are not all zero
}

func newRowReader[R any](set []setter) *rowReader[R] {
	r := &rowReader[R]{row: new(R), set: set, all: make([]*columns.Column, len(set))}
	v := reflect.ValueOf(r.row).Elem()
	for _, s := range set {
		r.fields = append(r.fields, v.FieldByIndex(s.index))
	}
	return r
}

// open reads the columns of a group as far as some rows need them.
func (r *rowReader[R]) open(g *columns.Group, rows columns.Bits) error {
	r.filled = r.filled[:0]
	for k, s := range r.set {
		c, err := g.ColumnOf(s.column, rows)
		if err != nil {
			return err
		}
		if r.all[k] = c; !c.Zero() {
			r.filled = append(r.filled, k)
		}
	}
	return nil
}

// read is row i of the group, until the next one is read.
func (r *rowReader[R]) read(i int) *R {
	var zero R
	*r.row = zero
	for _, k := range r.filled {
		setField(r.fields[k], r.all[k], i)
	}
	return r.row
}
