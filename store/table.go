package store

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/store/columns"
	"github.com/devloop-io/devloop/traffic"
)

// CallTable is an open file of calls that [WriteCalls] wrote.
type CallTable struct{ file *columns.File }

// OpenCalls opens a file of calls.
func OpenCalls(path string) (*CallTable, error) {
	f, err := columns.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open stored calls: %w", err)
	}
	return &CallTable{f}, nil
}

// Close gives the file back.
func (t *CallTable) Close() error { return t.file.Close() }

// Rows is how many calls there are.
func (t *CallTable) Rows() int64 { return t.file.Rows() }

// CallSearch says which calls are looked for.
type CallSearch struct {
	Filter     *filter.Filter
	Start, End int64                                  // of when they begin, Unix nanoseconds, End not included; 0 is without bound
	Conn       func(id uint64) *traffic.Connection    // as in [MatchCalls]
	Before     int64                                  // only rows with smaller numbers, unless it is 0
	After      int64                                  // only rows with this number and larger ones
	Order      func(groups []int, f *CallTable) []int // which row groups to search, and in which order; all from the first by default
}

// during is the window, from the first nanosecond to the last where it has no bound.
func (s *CallSearch) during() (start, end int64, bounded bool) {
	start, end = s.Start, s.End
	if end == 0 {
		end = math.MaxInt64
	}
	return start, end, s.Start != 0 || s.End != 0
}

// search is the search by columns, and by rows where columns cannot tell.
func (s *CallSearch) search() columns.Search {
	p := s.Filter.Lower()
	start, end, bounded := s.during()
	if bounded {
		p = p.And(filter.During(start, end))
	}
	found := searchCalls(s.Filter, p, s.Conn)
	if bounded {
		found.Ask = (&matching{f: s.Filter, conn: s.Conn, set: withColumn(settersFor(s.Filter), "start_ns"), during: func(at int64) bool { return at >= start && at < end }}).ask
	}
	return found
}

func withColumn(set []setter, name string) []setter {
	if slices.ContainsFunc(set, func(s setter) bool { return s.column == name }) {
		return set
	}
	for _, s := range callColumns() {
		if s.column == name {
			set = append(slices.Clone(set), s)
		}
	}
	return set
}

// groups are the row groups that can have rows of the search. Those outside of the window are left out by their bounds.
func (s *CallSearch) groups(t *CallTable) []int {
	start, end, bounded := s.during()
	var all []int
	for i := range t.file.Groups() {
		first, next := t.file.First(i), t.Rows()
		if i+1 < t.file.Groups() {
			next = t.file.First(i + 1)
		}
		if low, high, ok := t.file.Bounds(i, "start_ns"); ok && bounded && (high < start || low >= end) {
			continue
		}
		if s.Before > 0 && first >= s.Before || next <= s.After {
			continue
		}
		all = append(all, i)
	}
	if s.Order != nil {
		all = s.Order(all, t)
	}
	return all
}

// Newest orders row groups from the last to the first.
func Newest(groups []int, _ *CallTable) []int {
	slices.Reverse(groups)
	return groups
}

// Ordered reports whether calls stand in the order in which they began, as far as row groups tell.
func (t *CallTable) Ordered() bool {
	last := int64(math.MinInt64)
	for i := range t.file.Groups() {
		low, high, ok := t.file.Bounds(i, "start_ns")
		if !ok || low < last {
			return false
		}
		last = high
	}
	return true
}

// Find finds calls, in the order of row groups that the search gives, until enough are found; 0 is all.
func (t *CallTable) Find(ctx context.Context, s CallSearch, enough int) (*columns.Result, error) {
	return t.file.Select(ctx, s.limited(s.search()), s.groups(t), enough)
}

// limited leaves out rows that are not between After and Before: they are not judged, so nothing of them is counted.
func (s *CallSearch) limited(c columns.Search) columns.Search {
	if s.Before > 0 || s.After > 0 {
		before := s.Before
		if before == 0 {
			before = math.MaxInt64
		}
		c.From, c.To = s.After, before
	}
	return c
}

// Calls reads calls by their numbers, which ascend. Of the columns it reads those given, all by default; the rest of a call is then
// empty.
func (t *CallTable) Calls(ctx context.Context, rows []int64, names []string) ([]*traffic.Call, error) {
	set := callColumns()
	if names != nil {
		set = slices.DeleteFunc(slices.Clone(set), func(s setter) bool { return s.column != "raw" && !slices.Contains(names, s.column) })
	}
	calls := make([]*traffic.Call, len(rows))
	type share struct{ from, to int }
	shares := map[int]share{}
	var groups []int
	for i, row := range rows {
		g := t.file.Locate(row)
		s, ok := shares[g]
		if !ok {
			s.from = i
			groups = append(groups, g)
		}
		s.to = i + 1
		shares[g] = s
	}
	err := t.file.Each(ctx, groups, func(_ int, g *columns.Group, number int) (bool, error) {
		s := shares[number]
		wanted := make(columns.Bits, (g.Rows+63)/64)
		for _, row := range rows[s.from:s.to] {
			wanted.Set(int(row - g.First))
		}
		g.Ahead(columnNames(set), wanted)
		var all []*columns.Column
		for _, c := range set {
			column, err := g.ColumnOf(c.column, wanted)
			if err != nil {
				return false, err
			}
			all = append(all, column)
		}
		for i := s.from; i < s.to; i++ {
			c, err := callOf(set, all, int(rows[i]-g.First))
			if err != nil {
				return false, fmt.Errorf("row %d: %w", rows[i], err)
			}
			calls[i] = c
		}
		return true, nil
	})
	return calls, err
}

func columnNames(set []setter) []string {
	names := make([]string, len(set))
	for i, s := range set {
		names[i] = s.column
	}
	return names
}

// CallGroup is a part of the file at work: the calls in it that a search selects. It belongs to one goroutine.
type CallGroup struct {
	*columns.Group
	Selected columns.Bits
}

// Scan finds calls and hands them to visit, part by part. Worker numbers the goroutine that calls it, from 0; [columns.Workers] says
// how many there are.
func (t *CallTable) Scan(ctx context.Context, s CallSearch, visit func(worker int, g *CallGroup) error) error {
	search := s.limited(s.search())
	return t.file.Each(ctx, s.groups(t), func(worker int, g *columns.Group, _ int) (bool, error) {
		rows, _, err := g.Judge(search)
		if err != nil || rows.Empty() {
			return true, err
		}
		g.Narrow(rows)
		return true, visit(worker, &CallGroup{Group: g, Selected: rows})
	})
}

// baseColumns tell what a call is: most else that is known of it depends on that. Classifiers begin with them; those that look only at
// the ends of calls begin with the first.
var (
	baseColumns = append([]string{"raw", "proto"}, partColumns...)
	endsColumns = baseColumns[:1]
	partColumns = []string{"http", "grpc", "postgresql", "redis", "dns", "tls", "ws"}
)

// Sorting sorts the calls of one part of a file after the other, each by several classifiers. One goroutine at a time may use it.
type Sorting struct {
	base        columns.Numbering
	classifiers []*Classifier
}

// Classifier numbers calls by something that follows from a few columns.
type Classifier struct {
	Of      []uint32 // a number for each selected row
	Class   []int    // of each number the class; -1 where no row has it
	columns []string
	more    []Further
	of      func(*traffic.Call) int
	base    []string
	set     []setter
	by      columns.Numbering
	known   []int // class of each number of by, and 1; 0 where it was not asked for
	sorted  *columns.Classes
	row     callRow
}

// Further are columns that only some calls are told apart by.
type Further struct {
	Columns []string
	When    []filter.Condition
}

// Classifier makes a classifier. Of gets calls in which only the fields of these columns are right, and returns their class; the name of
// an end (src_name, dst_name) stands where its service does. It is called about once for each combination. With ends, it looks at those
// alone, and not at what a call is.
func (s *Sorting) Classifier(ends bool, names []string, more []Further, of func(*traffic.Call) int) *Classifier {
	c := &Classifier{columns: names, more: more, of: of, base: baseColumns}
	if ends {
		c.base = endsColumns
	}
	reads := slices.Concat(c.base, names)
	for _, m := range more {
		reads = append(reads, m.Columns...)
	}
	for _, s := range callColumns() {
		if slices.Contains(reads, s.column) {
			c.set = append(c.set, s)
		}
	}
	s.classifiers = append(s.classifiers, c)
	return c
}

// Ahead has the columns of a part read ahead that its classifiers look at, and others.
func (s *Sorting) Ahead(g *CallGroup, others ...string) {
	names := slices.Concat(baseColumns, others)
	for _, c := range s.classifiers {
		names = append(names, c.columns...)
		for _, m := range c.more {
			names = append(names, m.Columns...)
		}
	}
	g.Group.Ahead(names, g.Selected)
}

// Sort has all classifiers number the selected rows of a part. The numbers of the part before are gone then.
func (s *Sorting) Sort(g *CallGroup) error {
	forgotten := s.base.Begin()
	for _, c := range s.classifiers {
		if forgotten {
			c.by = columns.Numbering{}
		}
		if c.by.Begin() || forgotten {
			c.known = c.known[:0]
		}
	}
	base := g.Sort(g.Selected, &s.base)
	defer base.Done()
	if err := base.By(g.Group, "raw"); err != nil {
		return err
	}
	if err := s.split(g, base, endsColumns); err != nil {
		return err
	}
	if err := base.By(g.Group, "proto"); err != nil {
		return err
	}
	if err := base.ByFlags(g.Group, partColumns); err != nil {
		return err
	}
	return s.split(g, base, baseColumns)
}

// split has the classifiers go on that begin with some columns.
func (s *Sorting) split(g *CallGroup, base *columns.Classes, begin []string) error {
	for _, c := range s.classifiers {
		if len(c.base) != len(begin) {
			continue
		}
		if err := c.sort(g, base.Split(&c.by)); err != nil {
			return err
		}
	}
	return nil
}

// Done gives back what Sort used.
func (s *Sorting) Done() {
	for _, c := range s.classifiers {
		if c.sorted != nil {
			c.sorted.Done()
			c.sorted = nil
		}
	}
}

func (c *Classifier) sort(g *CallGroup, sorted *columns.Classes) error {
	c.sorted = sorted
	for _, name := range c.columns {
		if err := sorted.By(g.Group, name); err != nil {
			return err
		}
	}
	where := make([]columns.Bits, len(c.more))
	for i, m := range c.more {
		var err error
		if where[i], err = g.Where(m.When, g.Selected); err != nil {
			return err
		}
		for _, name := range m.Columns {
			if err := sorted.ByAmong(g.Group, name, where[i]); err != nil {
				return err
			}
		}
	}
	if len(c.more) > 0 {
		sorted.Settle()
	}
	c.Of, c.Class = sorted.Of, c.Class[:0]
	for k, row := range sorted.First {
		class := -1
		if row >= 0 {
			var err error
			if class, err = c.class(g, where, sorted.Number[k], row); err != nil {
				return err
			}
		}
		c.Class = append(c.Class, class)
	}
	return nil
}

// class is that of a number, which row has.
func (c *Classifier) class(g *CallGroup, where []columns.Bits, number uint32, row int) (int, error) {
	for len(c.known) <= int(number) {
		c.known = append(c.known, 0)
	}
	if known := c.known[number]; known > 0 {
		return known - 1, nil
	}
	call, err := c.call(g, where, row)
	if err != nil {
		return 0, err
	}
	class := c.of(call)
	c.known[number] = class + 1
	return class, nil
}

// call rebuilds a call as far as the classifier looks at it. The columns were read for sorting.
func (c *Classifier) call(g *CallGroup, where []columns.Bits, row int) (*traffic.Call, error) {
	all := make([]*columns.Column, len(c.set))
	for k, s := range c.set {
		rows := c.read(g, where, s.column, row)
		if rows == nil {
			continue
		}
		var err error
		if all[k], err = g.ColumnOf(s.column, rows); err != nil {
			return nil, err
		}
	}
	call, err := c.row.from(c.set, all, row)
	if err != nil {
		return nil, err
	}
	for k, s := range c.set {
		switch {
		case all[k] == nil:
		case s.column == "raw" && len(all[k].Text(row)) > 0: // it is whole
			return call, nil
		case s.column == "src_name":
			call.Src.Service = string(all[k].Text(row))
		case s.column == "dst_name":
			call.Dst.Service = string(all[k].Text(row))
		}
	}
	return call, nil
}

// read are the rows of which a column was read, nil where it does not matter for this row.
func (c *Classifier) read(g *CallGroup, where []columns.Bits, name string, row int) columns.Bits {
	if slices.Contains(c.base, name) || slices.Contains(c.columns, name) {
		return g.Selected
	}
	for i, m := range c.more {
		if slices.Contains(m.Columns, name) && where[i].Has(row) {
			return where[i]
		}
	}
	return nil
}
