package filter

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// lint says what is right and yet cannot be meant: filters that match all rows or none.
func (f *Filter) lint() []string {
	if f.kind == 0 {
		return []string{"no row can ever match: the conditions exclude each other"}
	}
	var all []string
	if f.program != nil && f.certain() {
		all = append(all, "this is always true: it selects every row")
	}
	f.Lower().visit(func(p *Predicate) { all = append(all, p.lint()...) })
	return all
}

// certain reports whether the filter is true whatever a row holds.
func (f *Filter) certain() bool {
	for _, kind := range []Kind{Calls, Connections} {
		act := f.pool.Get().(*Activation)
		act.Reset(nil, ModeFilter)
		act.ends = &ends{kind: kind}
		out, _, err := f.program.Eval(act)
		act.ends = nil
		f.pool.Put(act)
		if err != nil || out != types.True {
			return false
		}
	}
	return true
}

// lint looks at one step.
func (p *Predicate) lint() []string {
	switch p.Op {
	case OpTest:
		return p.Test.lint()
	case OpAnd:
		return clash(p.Args)
	case OpOr:
		return exhausted(p.Args)
	}
	return nil
}

// negative are the number fields that can be below 0.
var negative = []string{"grpc_status"}

// lint finds comparisons with numbers that a count, a size or a code cannot reach.
func (t *Test) lint() []string {
	if t.Has || t.Number == nil || t.constant == nil || t.Field.Type.Kind() != types.IntKind || slices.Contains(negative, t.Field.Name) {
		return nil
	}
	switch {
	case t.High < 0:
		return []string{t.Field.Name + " is never below 0: this matches no row"}
	case t.Low <= 0 && t.High == math.MaxInt64 && t.Number(0) && (t.function == operators.Greater || t.function == operators.GreaterEquals):
		return []string{t.Field.Name + " is never below 0: this is always true, also for rows that do not have it"}
	}
	return nil
}

// clash finds tests of one field that cannot both hold.
func clash(args []*Predicate) []string {
	var all []string
	for i, a := range args {
		for _, b := range args[:i] {
			if a.isProtocol() && b.isProtocol() && a.Test.Source.Is != b.Test.Source.Is {
				all = append(all, fmt.Sprintf("no row is both %s and %s: these two conditions exclude each other", b.Test.Field.Name, a.Test.Field.Name))
			}
			if a.Op != OpTest || b.Op != OpTest || a.Test.Field != b.Test.Field || a.Test.constant == nil || b.Test.constant == nil {
				continue
			}
			one := a.Test.function == operators.Equals && b.Test.function == operators.Equals && a.Test.constant.Equal(b.Test.constant) == types.False
			apart := a.Test.Number != nil && b.Test.Number != nil && (a.Test.Low > b.Test.High || b.Test.Low > a.Test.High)
			if one || apart {
				all = append(all, a.Test.Field.Name+" cannot be both: these two conditions exclude each other")
			}
		}
	}
	return all
}

// isProtocol reports whether a predicate asks for rows of one protocol.
func (p *Predicate) isProtocol() bool {
	return p.Op == OpTest && p.Test.Source.Is != "" && p.Test.Flag(true) && !p.Test.Flag(false)
}

// exhausted finds x != a || x != b, which every x is one of.
func exhausted(args []*Predicate) []string {
	var all []string
	for i, a := range args {
		for _, b := range args[:i] {
			if a.Op == OpTest && b.Op == OpTest && a.Test.Field == b.Test.Field && a.Test.constant != nil && b.Test.constant != nil &&
				a.Test.function == operators.NotEquals && b.Test.function == operators.NotEquals && a.Test.constant.Equal(b.Test.constant) == types.False {
				all = append(all, fmt.Sprintf("this is always true: whatever %s is, it differs from one of the two; write && for neither", a.Test.Field.Name))
			}
		}
	}
	return all
}

// Against compares the filter with rows that were captured: how many it selects, and which names it asks for that none of them
// has. The warnings name what is nearest.
func (f *Filter) Against(rows iter.Seq[*Row]) (matched, of int, warnings []string) {
	asked := f.names()
	for row := range rows {
		of++
		if ok, err := f.Match(row); ok && err == nil {
			matched++
		}
		for _, a := range asked {
			if v, _ := a.field.text(row); v != "" {
				a.seen[v] = true
			}
		}
	}
	for _, a := range asked {
		if of == 0 || a.seen[a.want] {
			continue
		}
		var names []string
		for name := range a.seen {
			names = append(names, name)
		}
		slices.Sort(names)
		warning := fmt.Sprintf("%s == %q: no captured row has that", a.field.Name, a.want)
		if near := nearest(a.want, names); near != "" {
			warning += fmt.Sprintf("; did you mean %q?", near)
		} else if len(names) > 0 {
			warning += "; there are " + strings.Join(names[:min(len(names), 8)], ", ")
		}
		warnings = append(warnings, warning)
	}
	return matched, of, warnings
}

// Try adds to the explanation what the filter selects of rows that were captured.
func (x *Explanation) Try(f *Filter, rows iter.Seq[*Row]) {
	matched, of, warnings := f.Against(rows)
	x.Rows, x.Warnings = &Found{Matched: matched, Of: of}, append(slices.Clone(x.Warnings), warnings...)
}

// askedName is a comparison of a field with a name.
type askedName struct {
	field *Field
	want  string
	seen  map[string]bool
}

// names are the comparisons whose constants are names of workloads.
func (f *Filter) names() []*askedName {
	var all []*askedName
	f.Lower().visit(func(p *Predicate) {
		if p.Op != OpTest || p.Test.function != operators.Equals || p.Test.Field.end == 0 || p.Test.Field.text == nil {
			return
		}
		if want, ok := p.Test.constant.(types.String); ok && want != "" {
			all = append(all, &askedName{field: p.Test.Field, want: string(want), seen: map[string]bool{}})
		}
	})
	return all
}
