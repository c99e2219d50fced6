package filter

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Predicate is a checked filter as a tree that a back end other than CEL can evaluate: over columns today. What the tree cannot
// say is [OpRest]: such a part may be true, false or an error of a row, and only [Filter.Match] knows. A back end keeps for each
// row whether the tree is certainly true and whether it is possibly true; rows between the two it gives to Match.
type Predicate struct {
	Op   Op
	Args []*Predicate // of OpAnd and OpOr; OpNot has one
	Test *Test        // of OpTest and OpMay
	Text string       // of OpRest: what it stands for, for people
}

// Op is the kind of a [Predicate].
type Op uint8

// The kinds of a predicate.
const (
	OpRest Op = iota // whatever CEL says
	OpAnd
	OpOr
	OpNot
	OpTest // true exactly where the test holds
	OpMay  // false where none of the test's columns holds its Needle, else whatever CEL says
)

// Test asks one field of a row about constants. One of the functions is set, by the field's type; rows without a value hold the
// default.
type Test struct {
	Field    *Field
	Source   *Source
	Has      bool // the row must have a value
	Text     func(string) bool
	Number   func(int64) bool // durations and times in nanoseconds
	Fraction func(float64) bool
	Flag     func(bool) bool
	Low      int64    // with Number: no smaller one can pass
	High     int64    // nor a larger one
	Range    bool     // with Number: whatever lies between the two passes
	Texts    []string // with Text: the only ones that pass, where these can be listed
	Needle   string   // no text without it passes; of OpMay what the columns are searched for
	function string   // CEL's operator or function
	constant ref.Val  // what it compares with; nil where there are several
}

// Lower turns the filter into a predicate. Parts whose fields have no [Source] are OpRest.
func (f *Filter) Lower() *Predicate {
	if f.checked == nil {
		return &Predicate{Op: OpAnd}
	}
	l := &lowering{now: f.now}
	return l.lower(f.checked.NativeRep().Expr())
}

// And narrows a predicate by another.
func (p *Predicate) And(o *Predicate) *Predicate {
	both := &Predicate{Op: OpAnd}
	for _, x := range []*Predicate{o, p} {
		if x.Op == OpAnd {
			both.Args = append(both.Args, x.Args...)
		} else {
			both.Args = append(both.Args, x)
		}
	}
	return both
}

// During selects calls that began at or after start and before end, Unix nanoseconds.
func During(start, end int64) *Predicate {
	f := table().byName["timestamp"]
	return &Predicate{Op: OpTest, Test: &Test{Field: f, Source: sources()[f.Name], Low: start, High: end - 1, Range: true,
		Number: func(v int64) bool { return v >= start && v < end }}}
}

type lowering struct{ now time.Time }

func (l *lowering) lower(e ast.Expr) *Predicate {
	if e.Kind() == ast.CallKind {
		c := e.AsCall()
		switch c.FunctionName() {
		case operators.LogicalAnd:
			return l.join(OpAnd, c.Args())
		case operators.LogicalOr:
			return l.join(OpOr, c.Args())
		case operators.LogicalNot:
			return &Predicate{Op: OpNot, Args: []*Predicate{l.lower(c.Args()[0])}}
		}
	}
	if v, ok := l.constant(e); ok && v.Type() == types.BoolType {
		if v == types.True {
			return &Predicate{Op: OpAnd}
		}
		return &Predicate{Op: OpOr}
	}
	if p := l.test(e); p != nil {
		return p
	}
	return &Predicate{Op: OpRest, Text: exprText(e)}
}

// join puts what is cheap to ask first: logic does not mind, and errors neither.
func (l *lowering) join(op Op, args []ast.Expr) *Predicate {
	p := &Predicate{Op: op}
	for _, x := range args {
		arg := l.lower(x)
		if arg.Op == op {
			p.Args = append(p.Args, arg.Args...)
		} else {
			p.Args = append(p.Args, arg)
		}
	}
	slices.SortStableFunc(p.Args, func(a, b *Predicate) int { return a.cost() - b.cost() })
	return p
}

func (p *Predicate) cost() int {
	switch p.Op {
	case OpRest:
		return 1000
	case OpMay:
		return 100 * len(p.Test.Source.Columns)
	case OpTest:
		switch {
		case p.Test.Source.Large:
			return 50
		case p.Test.Text != nil:
			return 3
		case p.Test.Flag != nil:
			return 1
		}
		return 2
	}
	n := 0
	for _, x := range p.Args {
		n += x.cost()
	}
	return n
}

// Columns are the columns of stored calls that the predicate reads, in alphabetical order.
func (p *Predicate) Columns() []string {
	var all []string
	p.visit(func(p *Predicate) {
		if p.Test != nil {
			all = append(all, p.Test.Source.Columns...)
			for _, c := range p.Test.Source.When {
				all = append(all, c.Column)
			}
		}
	})
	slices.Sort(all)
	return slices.Compact(all)
}

func (p *Predicate) visit(see func(*Predicate)) {
	see(p)
	for _, x := range p.Args {
		x.visit(see)
	}
}

// Rest are the parts that only CEL can evaluate, for people.
func (p *Predicate) Rest() []string {
	switch p.Op {
	case OpRest:
		return []string{p.Text}
	case OpMay:
		return []string{p.Test.Field.Name}
	}
	var all []string
	for _, x := range p.Args {
		for _, s := range x.Rest() {
			if !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	return all
}

// test lowers an expression over one field, or returns nil.
func (l *lowering) test(e ast.Expr) *Predicate {
	if e.Kind() == ast.IdentKind {
		name, has := strings.CutPrefix(e.AsIdent(), hasPrefix)
		f := table().byName[name]
		switch {
		case f == nil:
		case has:
			return nonzero(f)
		case f.Type.Kind() == types.BoolKind:
			return exactly(&Test{Field: f, Flag: func(v bool) bool { return v }})
		}
		return nil
	}
	if e.Kind() != ast.CallKind {
		return nil
	}
	c := e.AsCall()
	args := c.Args()
	if c.IsMemberFunction() {
		args = append([]ast.Expr{c.Target()}, args...)
	}
	if len(args) != 2 {
		return nil
	}
	function := c.FunctionName()
	if function == operators.In {
		return l.in(args[0], args[1])
	}
	v, ok := l.constant(args[1])
	subject := args[0]
	if !ok {
		if v, ok = l.constant(args[0]); !ok || mirrored[function] == "" {
			return nil
		}
		subject, function = args[1], mirrored[function]
	}
	if f := fieldOf(subject); f != nil {
		if f.Name == textsName && function == "mentions" {
			return may(f, v)
		}
		return exactly(compare(f, function, v))
	}
	return keyed(subject, function, v)
}

// mirrored are the operators with their sides exchanged.
var mirrored = map[string]string{operators.Equals: operators.Equals, operators.NotEquals: operators.NotEquals, operators.Less: operators.Greater,
	operators.LessEquals: operators.GreaterEquals, operators.Greater: operators.Less, operators.GreaterEquals: operators.LessEquals}

// exactly is a test where there is one and its field has a source.
func exactly(t *Test) *Predicate {
	if t == nil {
		return nil
	}
	if t.Source = sources()[t.Field.Name]; t.Source == nil || t.Source.Inside {
		return nil
	}
	return &Predicate{Op: OpTest, Test: t}
}

// may is a text that the columns of a field hold wherever the field does, as far as that can be told from the text.
func may(f *Field, v ref.Val) *Predicate {
	needle, ok := v.(types.String)
	source := sources()[f.Name]
	if !ok || source == nil || !source.Inside || !plain(string(needle)) {
		return nil
	}
	return &Predicate{Op: OpMay, Test: &Test{Field: f, Source: source, Needle: string(needle)}}
}

// plain reports whether a text is written in JSON as it is, and cannot lie across two values that were joined.
func plain(s string) bool {
	for _, r := range s {
		if r >= 0x80 || !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:", r)) {
			return false
		}
	}
	return s != ""
}

// keyed lowers map_get(field, key, "") compared with a text.
func keyed(e ast.Expr, function string, v ref.Val) *Predicate {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != "map_get" || e.AsCall().IsMemberFunction() {
		return nil
	}
	args := e.AsCall().Args()
	f := fieldOf(args[0])
	if f == nil || args[2].Kind() != ast.LiteralKind || args[2].AsLiteral().Equal(types.String("")) != types.True || args[1].Kind() != ast.LiteralKind {
		return nil
	}
	switch function {
	case operators.Equals, "contains", "startsWith", "endsWith":
		return may(f, v)
	}
	return nil
}

// in lowers field in [constants] and constant in field.
func (l *lowering) in(element, list ast.Expr) *Predicate {
	if f := fieldOf(list); f != nil && f.Type.Kind() == types.ListKind {
		if v, ok := l.constant(element); ok {
			return may(f, v)
		}
		return nil
	}
	f := fieldOf(element)
	if f == nil || list.Kind() != ast.ListKind || len(list.AsList().OptionalIndices()) > 0 {
		return nil
	}
	var all []*Test
	for _, x := range list.AsList().Elements() {
		v, ok := l.constant(x)
		if !ok {
			return nil
		}
		t := compare(f, operators.Equals, v)
		if t == nil {
			return nil
		}
		all = append(all, t)
	}
	if len(all) == 0 {
		return &Predicate{Op: OpOr}
	}
	return exactly(anyOf(f, all))
}

// anyOf joins tests of one field.
func anyOf(f *Field, all []*Test) *Test {
	t := &Test{Field: f, Low: math.MaxInt64, High: math.MinInt64}
	for _, x := range all {
		t.Low, t.High = min(t.Low, x.Low), max(t.High, x.High)
	}
	switch {
	case all[0].Text != nil:
		for _, x := range all {
			t.Texts = append(t.Texts, x.Texts...)
		}
		t.Text = func(v string) bool { return slices.ContainsFunc(all, func(x *Test) bool { return x.Text(v) }) }
	case all[0].Number != nil:
		t.Number = func(v int64) bool { return slices.ContainsFunc(all, func(x *Test) bool { return x.Number(v) }) }
	case all[0].Fraction != nil:
		t.Fraction = func(v float64) bool { return slices.ContainsFunc(all, func(x *Test) bool { return x.Fraction(v) }) }
	default:
		t.Flag = func(v bool) bool { return slices.ContainsFunc(all, func(x *Test) bool { return x.Flag(v) }) }
	}
	return t
}

// nonzero is has(field).
func nonzero(f *Field) *Predicate {
	if s := sources()[f.Name]; s == nil || s.Valued {
		return nil
	}
	t := compare(f, operators.NotEquals, f.zero)
	if t == nil {
		return nil
	}
	t.Has = true
	return exactly(t)
}

func fieldOf(e ast.Expr) *Field {
	if e.Kind() != ast.IdentKind {
		return nil
	}
	return table().byName[e.AsIdent()]
}

// compare is the test of a field against a constant, nil where there is none.
func compare(f *Field, function string, constant ref.Val) *Test {
	t := &Test{Field: f, Low: math.MinInt64, High: math.MaxInt64, function: function, constant: constant}
	switch f.Type.Kind() {
	case types.StringKind:
		t.Text = textAgainst(function, constant)
		if want, ok := constant.(types.String); ok && function == "contains" {
			t.Needle = string(want)
		} else if ok && function == operators.Equals {
			t.Texts = []string{string(want)}
		}
	case types.BoolKind:
		if v, ok := constant.(types.Bool); ok && function == operators.Equals {
			t.Flag = func(x bool) bool { return x == bool(v) }
		} else if ok && function == operators.NotEquals {
			t.Flag = func(x bool) bool { return x != bool(v) }
		}
	case types.IntKind:
		if v, ok := constant.(types.Int); ok {
			t.against(function, int64(v))
		} else if v, ok := constant.(types.Double); ok {
			t.Number = ordered(function, func(x int64) ref.Val { return types.Int(x) }, v)
		}
	case types.DurationKind:
		if v, ok := constant.(types.Duration); ok {
			t.against(function, int64(v.Duration))
		}
	case types.TimestampKind:
		if v, ok := constant.(types.Timestamp); ok {
			if v.Year() > 1700 && v.Year() < 2200 {
				t.against(function, v.UnixNano())
			}
		}
	case types.DoubleKind:
		switch constant.(type) {
		case types.Int, types.Double:
			t.Fraction = ordered(function, func(x float64) ref.Val { return types.Double(x) }, constant)
		}
	}
	if t.Text == nil && t.Number == nil && t.Fraction == nil && t.Flag == nil {
		return nil
	}
	return t
}

// against compares whole numbers, and knows between which bounds they must lie.
func (t *Test) against(function string, want int64) {
	test := numberTest(function)
	if test == nil {
		return
	}
	t.Number = func(v int64) bool { return test(v, want) }
	t.Range = function != operators.NotEquals && want > math.MinInt64 && want < math.MaxInt64
	switch function {
	case operators.Equals:
		t.Low, t.High = want, want
	case operators.Less:
		t.High = max(want, math.MinInt64+1) - 1
	case operators.LessEquals:
		t.High = want
	case operators.Greater:
		t.Low = min(want, math.MaxInt64-1) + 1
	case operators.GreaterEquals:
		t.Low = want
	}
}

// ordered compares by CEL's own rules, for numbers of two types.
func ordered[T any](function string, value func(T) ref.Val, constant ref.Val) func(T) bool {
	switch function {
	case operators.Equals:
		return func(v T) bool { return value(v).Equal(constant) == types.True }
	case operators.NotEquals:
		return func(v T) bool { return value(v).Equal(constant) == types.False }
	}
	test := numberTest(function)
	if test == nil {
		return nil
	}
	return func(v T) bool {
		order, ok := value(v).(traits.Comparer).Compare(constant).(types.Int)
		return ok && test(int64(order), 0)
	}
}

func textAgainst(function string, constant ref.Val) func(string) bool {
	want, ok := constant.(types.String)
	if !ok {
		return nil
	}
	w := string(want)
	if test := textTest(function); test != nil {
		return func(v string) bool { return test(v, w) }
	}
	switch function {
	case operators.Less:
		return func(v string) bool { return v < w }
	case operators.LessEquals:
		return func(v string) bool { return v <= w }
	case operators.Greater:
		return func(v string) bool { return v > w }
	case operators.GreaterEquals:
		return func(v string) bool { return v >= w }
	case "matches":
		if re, err := regexp.Compile(w); err == nil {
			return re.MatchString
		}
	}
	return nil
}

// constant folds what no row changes: literals, duration("…"), timestamp("…"), now() and sums of them.
func (l *lowering) constant(e ast.Expr) (ref.Val, bool) {
	switch e.Kind() {
	case ast.LiteralKind:
		return e.AsLiteral(), true
	case ast.IdentKind:
		return types.Timestamp{Time: l.now}, e.AsIdent() == nowVariable
	case ast.CallKind:
	default:
		return nil, false
	}
	c := e.AsCall()
	var args []ref.Val
	for _, x := range c.Args() {
		v, ok := l.constant(x)
		if !ok {
			return nil, false
		}
		args = append(args, v)
	}
	v := fold(c.FunctionName(), args)
	return v, v != nil && !c.IsMemberFunction() && !types.IsUnknownOrError(v)
}

func fold(function string, args []ref.Val) ref.Val {
	switch {
	case len(args) == 1 && function == "duration":
		return args[0].ConvertToType(types.DurationType)
	case len(args) == 1 && function == "timestamp":
		return args[0].ConvertToType(types.TimestampType)
	case len(args) == 1 && function == operators.Negate:
		if n, ok := args[0].(traits.Negater); ok {
			return n.Negate()
		}
	case len(args) == 2 && function == operators.Add:
		if n, ok := args[0].(traits.Adder); ok {
			return n.Add(args[1])
		}
	case len(args) == 2 && function == operators.Subtract:
		if n, ok := args[0].(traits.Subtractor); ok {
			return n.Subtract(args[1])
		}
	}
	return nil
}

// exprText names a part of the filter by the fields that it reads.
func exprText(e ast.Expr) string {
	var all []string
	ast.PostOrderVisit(e, ast.NewExprVisitor(func(x ast.Expr) {
		if x.Kind() == ast.IdentKind {
			if f := table().byName[strings.TrimPrefix(x.AsIdent(), hasPrefix)]; f != nil && !slices.Contains(all, f.Name) {
				all = append(all, f.Name)
			}
		}
	}))
	return strings.Join(all, ", ")
}
