package store

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/store/columns"
	"github.com/devloop-io/devloop/traffic"
)

// MatchCalls finds the rows of a file that [WriteCalls] wrote which a filter matches, reading no more of it than the filter needs: by
// columns where these can tell, and by [filter.Filter.Match] where they cannot. Conn returns the connection that carried a call, for
// filters that ask about it; nil says that there are none. It is called by several goroutines at once. Unlike Match it tells of no row
// for which the filter is in error: such a row is not selected.
func MatchCalls(ctx context.Context, path string, f *filter.Filter, conn func(id uint64) *traffic.Connection) (*columns.Result, error) {
	return columns.Select(ctx, path, searchCalls(f, f.Lower(), conn))
}

// searchCalls looks for the calls that a filter matches, of those that the predicate leaves.
func searchCalls(f *filter.Filter, p *filter.Predicate, conn func(id uint64) *traffic.Connection) columns.Search {
	m := &matching{f: f, conn: conn, set: settersFor(f)}
	return columns.Search{Predicate: p, Unless: "raw", Ask: m.ask}
}

// matching rebuilds the rows that columns cannot judge, with what the filter reads of them.
type matching struct {
	f    *filter.Filter
	conn func(id uint64) *traffic.Connection
	set  []setter

	during func(start int64) bool // further asked of rows, unless it is nil
}

func (m *matching) ask(g *columns.Group, open columns.Bits) (columns.Bits, error) {
	var all []*columns.Column
	for _, s := range m.set {
		c, err := g.ColumnOf(s.column, open)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	found := make(columns.Bits, len(open))
	for i := range open.All() {
		call, err := callOf(m.set, all, i)
		if err != nil {
			return nil, fmt.Errorf("row %d of a group: %w", i, err)
		}
		if m.during != nil && !m.during(call.Start) {
			continue
		}
		row := filter.Row{Call: call}
		if m.conn != nil {
			row.Conn = m.conn(call.ConnID)
		}
		if ok, err := m.f.Match(&row); ok && err == nil {
			found.Set(i)
		}
	}
	return found, nil
}

// callOf rebuilds row i from some of its columns.
func callOf(set []setter, all []*columns.Column, i int) (*traffic.Call, error) {
	return new(callRow).from(set, all, i)
}

// from is callOf in memory that is used again: nothing of it is kept.
func (r *callRow) from(set []setter, all []*columns.Column, i int) (*traffic.Call, error) {
	*r = callRow{}
	fill(reflect.ValueOf(r).Elem(), set, all, i)
	return r.call()
}

// fill sets the fields of a row from row i of their columns, of those that are there.
func fill(row reflect.Value, set []setter, all []*columns.Column, i int) {
	for k, s := range set {
		if all[k] != nil && !all[k].Zero() {
			setField(row.FieldByIndex(s.index), all[k], i)
		}
	}
}

// setField sets a field from row i of its column.
func setField(field reflect.Value, c *columns.Column, i int) {
	switch field.Kind() {
	case reflect.String:
		field.SetString(c.String(i))
	case reflect.Slice:
		field.SetBytes(slices.Clone(c.Text(i)))
	case reflect.Int32, reflect.Int64:
		field.SetInt(c.Number(i))
	case reflect.Float64:
		field.SetFloat(c.Fraction(i))
	case reflect.Bool:
		field.SetBool(c.Flag(i))
	}
}

// setter is a column and its place in a callRow.
type setter struct {
	column string
	index  []int
}

// callColumns are all columns of a callRow, in order.
var callColumns = sync.OnceValue(func() []setter { return columnsOf(reflect.TypeFor[callRow](), nil) })

// columnsOf looks into embedded structs, of which both ends have the same field names.
func columnsOf(t reflect.Type, at []int) []setter {
	var all []setter
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(slices.Clone(at), i)
		if f.Anonymous {
			all = append(all, columnsOf(f.Type, index)...)
		} else if name, _, _ := strings.Cut(f.Tag.Get("parquet"), ","); name != "" {
			all = append(all, setter{column: name, index: index})
		}
	}
	return all
}

// settersFor are the columns that a filter reads, or all where that is not known.
func settersFor(f *filter.Filter) []setter {
	wanted := map[string]bool{"raw": true, "conn_id": true}
	for _, flag := range partFlags {
		wanted[flag] = true
	}
	for _, field := range f.Fields() {
		reads := field.Reads()
		if reads == nil {
			return callColumns()
		}
		for _, name := range reads {
			wanted[name] = true
			for has, body := range presence {
				wanted[has] = wanted[has] || name == body
			}
		}
	}
	var some []setter
	for _, s := range callColumns() {
		if wanted[s.column] {
			some = append(some, s)
		}
	}
	return some
}

// partFlags say which parts a call has; without them its columns are not looked at.
var partFlags = []string{"state", "proto", "http", "grpc", "dns", "tls", "redis", "postgresql", "ws", "gql", "retried"}

// presence are the flags beside columns in which nothing and nothing there look the same.
var presence = map[string]string{"has_req_body": "req_body", "has_resp_body": "resp_body", "has_ws_payload": "ws_payload"}
