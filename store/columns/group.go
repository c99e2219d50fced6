package columns

import (
	"bytes"
	"fmt"
	"strings"

	"cel.dev/cel-go/common/types"

	"github.com/devloop-io/devloop/filter"
)

// Group is a row group at work. It belongs to one goroutine.
type Group struct {
	First  int64 // number of its first row in the file
	Rows   int
	from   *source
	memory *scratch
	hull   Bits // rows from the first to the last that are asked for, nil for all
	number int  // of the group in the file
	*contents
	cache map[string]*Column // nil for one that was given back
	past  []string           // columns that were given back, of which all rows had been read
	spent []*Column          // that were read once more, for other rows
}

// Column returns a column of the group, which stays readable until the group is done with.
func (g *Group) Column(name string) (*Column, error) { return g.ColumnOf(name, nil) }

// ColumnOf returns a column of which only some rows are asked for, nil for all: pages without any of them are not read.
func (g *Group) ColumnOf(name string, rows Bits) (*Column, error) {
	return g.columnWith(name, rows, nil)
}

// columnWith is ColumnOf where only texts with the needle matter, nil for all: pages that do not hold it may be left out.
func (g *Group) columnWith(name string, rows Bits, needle []byte) (*Column, error) {
	old := g.cache[name]
	if old != nil && (old.rows == nil || rows != nil && rows.within(old.rows)) {
		return old, nil
	}
	i, ok := g.names[name]
	if !ok {
		return nil, fmt.Errorf("the file has no column %s: it was written by another version; dissect the snapshot again", name)
	}
	few := rows != nil && g.few(rows)
	switch {
	case few:
	case rows != nil && g.hull != nil && rows.within(g.hull):
		rows = g.hull
	default:
		rows = nil
	}
	c, err := g.readColumn(i, rows, few, needle)
	if err != nil {
		return nil, fmt.Errorf("read column %s: %w", name, err)
	}
	c.whole = rows == nil
	if old != nil {
		g.spent = append(g.spent, old)
	}
	g.cache[name] = c
	return c, nil
}

// sparse rows are at most every so manieth: for these it is worth to leave pages out wherever they stand.
const sparse = 64

func (g *Group) few(rows Bits) bool { return rows.Count()*sparse <= g.Rows }

// Narrow tells that from now on only these rows are asked for: pages before the first and behind the last of them are left out.
func (g *Group) Narrow(rows Bits) {
	first, last := rows.ends()
	if n := last - first + 1; n <= 0 || n > g.Rows*3/4 {
		g.hull = nil
		return
	}
	g.hull = newBits(g.Rows)
	g.hull.setRange(first, last+1)
}

// Release gives a column back that is not asked for any more, for the next one to lie in its memory.
func (g *Group) Release(name string) {
	if c := g.cache[name]; c != nil {
		if c.whole {
			g.past = append(g.past, name)
		}
		c.release()
		g.cache[name] = nil
	}
}

func (g *Group) release() {
	for _, c := range g.cache {
		if c != nil {
			c.release()
		}
	}
	for _, c := range g.spent {
		c.release()
	}
}

// evaluate returns the rows of sel for which a predicate is certainly true, and those for which it may be. Both are subsets of sel.
func (g *Group) evaluate(p *filter.Predicate, sel Bits) (sure, possible Bits, err error) {
	switch p.Op {
	case filter.OpAnd:
		sure, possible = sel.clone(), sel.clone()
		for _, arg := range p.Args {
			if possible.Empty() {
				break
			}
			s, m, err := g.evaluate(arg, possible)
			if err != nil {
				return nil, nil, err
			}
			sure, possible = sure.and(s), m
		}
		return sure, possible, nil
	case filter.OpOr:
		sure, possible = newBits(g.Rows), newBits(g.Rows)
		for _, arg := range p.Args {
			rest := sel.clone().without(sure)
			if rest.Empty() {
				break
			}
			s, m, err := g.evaluate(arg, rest)
			if err != nil {
				return nil, nil, err
			}
			sure.Or(s)
			possible.Or(m)
		}
		return sure, possible, nil
	case filter.OpNot:
		s, m, err := g.evaluate(p.Args[0], sel)
		if err != nil {
			return nil, nil, err
		}
		return sel.clone().without(m), sel.clone().without(s), nil
	case filter.OpTest:
		b, err := g.test(p.Test, sel)
		return b, b.clone(), err
	case filter.OpMay:
		b, err := g.inside(p.Test, sel)
		return newBits(g.Rows), b, err
	}
	return newBits(g.Rows), sel.clone(), nil
}

// test are the rows of sel whose field passes.
func (g *Group) test(t *filter.Test, sel Bits) (Bits, error) {
	usual := !t.Has && passes(t, t.Field.Default())
	if !usual && t.Number != nil && t.Source.Number == nil && len(t.Source.Columns) > 0 && g.outside(t.Source.Columns[0], t.Low, t.High) {
		return newBits(g.Rows), nil
	}
	have, err := g.when(t.Source, sel)
	if err != nil {
		return nil, err
	}
	if len(t.Source.Columns) == 0 {
		have = newBits(g.Rows)
	}
	out := newBits(g.Rows)
	if !have.Empty() {
		if out, err = g.values(t, have); err != nil {
			return nil, err
		}
	}
	if usual {
		out.Or(sel.clone().without(have))
	}
	return out, nil
}

// passes asks a test about a field's default.
func passes(t *filter.Test, v any) bool {
	switch v := v.(type) {
	case types.String:
		return t.Text != nil && t.Text(string(v))
	case types.Int:
		return t.Number != nil && t.Number(int64(v))
	case types.Double:
		return t.Fraction != nil && t.Fraction(float64(v))
	case types.Bool:
		return t.Flag != nil && t.Flag(bool(v))
	case types.Duration, types.Timestamp:
		return t.Number != nil && t.Number(0)
	}
	return false
}

// when are the rows of sel for which a field's conditions hold.
func (g *Group) when(s *filter.Source, sel Bits) (Bits, error) {
	have := sel.clone()
	for _, c := range s.When {
		if have.Empty() {
			break
		}
		column, err := g.ColumnOf(c.Column, have)
		if err != nil {
			return nil, err
		}
		out := newBits(g.Rows)
		if c.Texts == nil {
			column.whereFlag(have, out, func(v bool) bool { return v != c.Not })
		} else {
			one := func(v string) bool {
				for _, text := range c.Texts {
					if v == text {
						return !c.Not
					}
				}
				return c.Not
			}
			column.whereText(have, out, nil, func(b []byte) bool { return one(string(b)) }, one)
		}
		have = out
	}
	return have, nil
}

// values are the rows of sel whose value passes; all have one.
func (g *Group) values(t *filter.Test, sel Bits) (Bits, error) {
	s := t.Source
	out := newBits(g.Rows)
	var all []*Column
	for k, name := range s.Columns {
		var needle []byte
		if k == len(s.Columns)-1 && s.Is == "" && t.Text != nil && t.Needle != "" {
			needle = []byte(t.Needle)
		}
		c, err := g.columnWith(name, sel, needle)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	switch {
	case s.Is != "":
		is := func(v string) bool { return t.Flag(v == s.Is) }
		all[0].whereText(sel, out, nil, func(b []byte) bool { return is(string(b)) }, is)
	case t.Text != nil:
		g.texts(t, all, sel, out)
	case t.Number != nil && s.Number != nil:
		v := make([]int64, len(all))
		for i := range sel.All() {
			for k, c := range all {
				v[k] = c.Number(i)
			}
			if t.Number(s.Number(v)) {
				out.Set(i)
			}
		}
	case t.Number != nil && t.Range:
		all[0].whereBetween(sel, out, t.Low, t.High)
	case t.Number != nil:
		all[0].whereNumber(sel, out, t.Number)
	case t.Fraction != nil && s.Divide != 0:
		all[0].whereNumber(sel, out, func(v int64) bool { return t.Fraction(float64(v) / s.Divide) })
	case t.Fraction != nil:
		for i := range sel.All() {
			if t.Fraction(all[0].Fraction(i)) {
				out.Set(i)
			}
		}
	default:
		all[0].whereFlag(sel, out, t.Flag)
	}
	return out, nil
}

// texts takes of several columns the first that is not empty.
func (g *Group) texts(t *filter.Test, all []*Column, sel, out Bits) {
	test, needle := t.Text, []byte(t.Needle)
	if t.Source.Text != nil {
		test = func(v string) bool { return t.Text(t.Source.Text(v)) }
	}
	left := sel
	for k, c := range all {
		if k < len(all)-1 {
			filled, found := newBits(g.Rows), newBits(g.Rows)
			c.whereText(left, filled, nil, func(b []byte) bool { return len(b) > 0 }, func(v string) bool { return v != "" })
			if !filled.Empty() {
				c.whereText(filled, found, needle, func(b []byte) bool { return test(string(b)) }, test)
				out.Or(found)
			}
			left = left.clone().without(filled)
			continue
		}
		found := newBits(g.Rows)
		c.whereText(left, found, needle, func(b []byte) bool { return test(string(b)) }, test)
		out.Or(found)
	}
}

// inside are the rows of sel where one of the columns holds the needle.
func (g *Group) inside(t *filter.Test, sel Bits) (Bits, error) {
	have, err := g.when(t.Source, sel)
	if err != nil {
		return nil, err
	}
	out := newBits(g.Rows)
	needle := []byte(t.Needle)
	for _, name := range t.Source.Columns {
		left := have.clone().without(out)
		if left.Empty() {
			break
		}
		encoded := name == t.Source.Encoded
		holds := needle
		if encoded || len(needle) == 0 {
			holds = nil
		}
		c, err := g.columnWith(name, left, holds)
		if err != nil {
			return nil, err
		}
		found := newBits(g.Rows)
		c.whereText(left, found, holds, func(b []byte) bool { return bytes.Contains(b, needle) || encoded && bytes.IndexByte(b, '%') >= 0 },
			func(v string) bool { return strings.Contains(v, t.Needle) || encoded && strings.Contains(v, "%") })
		out.Or(found)
	}
	return out, nil
}

// outside reports whether the bounds that the file gives for a number column of the group lie outside of those that pass.
func (g *Group) outside(name string, low, high int64) bool {
	smallest, largest, ok := g.bounds(name)
	return ok && (largest < low || smallest > high)
}

// bounds are those that the file gives for a number column.
func (g *Group) bounds(name string) (low, high int64, ok bool) {
	i, ok := g.names[name]
	if !ok {
		return 0, 0, false
	}
	x, err := g.chunk(i, g.number)
	if err != nil || !x.bounded { // a mistake is told when the column is read
		return 0, 0, false
	}
	return x.low, x.high, true
}
