package assertions

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/containers"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	exprpb "google.golang.org/genproto/googleapis/api/expr/v1alpha1"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/internal/config"
)

// expectation is a compiled expect: its aggregates, and what it says of them.
type expectation struct {
	source    string
	terms     []*term
	conjuncts []*conjunct
	fields    []string // of rows, that its aggregates read, sorted
}

// term is one aggregate of an expectation.
type term struct {
	aggregate aggregate
	text      string
	name      string // of the variable that stands for it
	typ       *cel.Type
	args      []*argument
	polarity  int // 1 under an even number of negations, -1 under an odd one, 0 where both could be meant

	comparer *comparisons // of the evaluation under way
	setUses  *setUses
}

// conjunct is one of the parts that && joins at the top of an expectation.
type conjunct struct {
	text    string
	program cel.Program
	terms   []int // indices into the expectation's terms
}

// compiler lifts the aggregates out of one expectation.
type compiler struct {
	t        *filter.Translation
	tree     *ast.AST
	original map[int64]ast.Expr // nodes as they were written, for their text
	info     *ast.SourceInfo
	infoPB   *exprpb.SourceInfo
	rows     *cel.Env
	factory  ast.ExprFactory
	next     int64
	terms    []*term
	types    map[string]*cel.Type // of the variables that stand for aggregates
	fields   map[string]bool
}

// compileExpectation compiles an expect. The error is a [*filter.Error] in its text.
func compileExpectation(source string) (*expectation, error) {
	t, err := filter.Translate(source)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(t.Text) == "" {
		return nil, t.ErrorAt(0, "expect is empty", "say what must hold, such as none(status_code >= 500)")
	}
	rows, err := filter.RowEnv()
	if err != nil {
		return nil, fmt.Errorf("build the filter environment: %w", err)
	}
	outer, err := outerEnv()
	if err != nil {
		return nil, fmt.Errorf("build the environment of expectations: %w", err)
	}
	parsed, issues := rows.Parse(t.Text)
	if issues.Err() != nil {
		return nil, explain(t, issues)
	}
	written, _ := rows.Parse(t.Text)
	if err := filter.Prepare(parsed); err != nil {
		return nil, t.ErrorAt(0, err.Error(), "")
	}
	c := &compiler{t: t, tree: parsed.NativeRep(), original: map[int64]ast.Expr{}, rows: rows, factory: ast.NewExprFactory(),
		types: map[string]*cel.Type{}, fields: map[string]bool{}}
	ast.PreOrderVisit(written.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) { c.original[e.ID()] = e }))
	c.info = c.tree.SourceInfo()
	if c.infoPB, err = ast.SourceInfoToProto(c.info); err != nil {
		return nil, fmt.Errorf("read the positions of an expectation: %w", err)
	}
	c.next = ast.MaxID(c.tree) + 1
	if err := c.lift(c.tree.Expr(), 1); err != nil {
		return nil, err
	}
	if err := c.equalities(c.tree.Expr()); err != nil {
		return nil, err
	}
	return c.finish(source, outer)
}

// lift replaces every aggregate below e by a variable. polarity follows negation.
func (c *compiler) lift(e ast.Expr, polarity int) error {
	switch e.Kind() {
	case ast.CallKind:
		return c.liftCall(e, polarity)
	case ast.IdentKind:
		return c.strayField(e, e.AsIdent())
	case ast.SelectKind:
		return c.lift(e.AsSelect().Operand(), 0)
	case ast.ListKind:
		for _, x := range e.AsList().Elements() {
			if err := c.lift(x, 0); err != nil {
				return err
			}
			if c.estimates(x) {
				return c.at(x, "an estimate cannot stand in a list", "compare it by itself: p95(latency) < duration(\"120ms\")")
			}
		}
	case ast.MapKind:
		for _, x := range e.AsMap().Entries() {
			for _, part := range []ast.Expr{x.AsMapEntry().Key(), x.AsMapEntry().Value()} {
				if err := c.lift(part, 0); err != nil {
					return err
				}
			}
		}
	case ast.ComprehensionKind:
		x := e.AsComprehension()
		for _, part := range []ast.Expr{x.IterRange(), x.AccuInit(), x.LoopCondition(), x.LoopStep(), x.Result()} {
			if err := c.lift(part, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// strayField explains a field of rows that stands outside of an aggregate.
func (c *compiler) strayField(e ast.Expr, name string) error {
	f, ok := filter.Lookup(name)
	if !ok {
		return nil
	}
	hint := fmt.Sprintf("put it into an aggregate: all(%s …) or max(%s)", name, name)
	if f.Type.Kind() == types.BoolKind {
		hint = fmt.Sprintf("put it into an aggregate: all(%s), none(%s) or ratio(%s)", name, name, name)
	}
	return c.at(e, fmt.Sprintf("%s is a field of each row, and expect speaks of all rows together", name), hint)
}

func (c *compiler) liftCall(e ast.Expr, polarity int) error {
	call := e.AsCall()
	name := call.FunctionName()
	if call.IsMemberFunction() {
		if q, ok := containers.ToQualifiedName(call.Target()); ok {
			if a, ok := aggregateNamed(strings.TrimPrefix(q+"."+name, "retry.")); ok && q == "retry" {
				return c.liftAggregate(e, a, polarity)
			}
		}
		if err := c.lift(call.Target(), polarity); err != nil {
			return err
		}
		for _, x := range call.Args() {
			if err := c.lift(x, 0); err != nil {
				return err
			}
		}
		c.renameMember(e)
		return nil
	}
	if a, ok := aggregateNamed(name); ok {
		if len(call.Args()) > 0 && c.overGroups(call.Args()[0]) {
			return c.liftOuter(e, polarity)
		}
		return c.liftAggregate(e, a, polarity)
	}
	if err := c.unknownFunction(e); err != nil {
		return err
	}
	inner := 0
	switch name {
	case operators.LogicalAnd, operators.LogicalOr, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals,
		operators.Add, operators.Subtract, operators.Multiply, operators.Divide:
		inner = polarity
	case operators.LogicalNot:
		inner = -polarity
	case operators.Conditional:
		inner = polarity
	}
	for i, x := range call.Args() {
		side := inner
		if name == operators.Conditional && i == 0 {
			side = 0
		}
		if (name == operators.Equals || name == operators.NotEquals) && c.isNumberLike(call.Args()) {
			side = polarity
		}
		if err := c.lift(x, side); err != nil {
			return err
		}
	}
	return nil
}

// isNumberLike reports whether == compares numbers and not truth values, so that a vacuous side keeps its polarity.
func (c *compiler) isNumberLike(args []ast.Expr) bool {
	for _, x := range args {
		if x.Kind() == ast.CallKind {
			if a, ok := aggregateNamed(x.AsCall().FunctionName()); ok && a.result != nil && a.isNumber() {
				return true
			}
		}
	}
	return false
}

// overGroups reports whether an expression is an aggregate that yields groups.
func (c *compiler) overGroups(e ast.Expr) bool {
	if e.Kind() != ast.CallKind || e.AsCall().IsMemberFunction() {
		return false
	}
	name := e.AsCall().FunctionName()
	return name == "count_by" || name == "calls_per" || name == "fan_out"
}

func (c *compiler) liftOuter(e ast.Expr, polarity int) error {
	for _, x := range e.AsCall().Args() {
		if err := c.lift(x, polarity); err != nil {
			return err
		}
	}
	return nil
}

// unknownFunction suggests the aggregate that a misspelt name means.
func (c *compiler) unknownFunction(e ast.Expr) error {
	name := e.AsCall().FunctionName()
	if c.rows.HasFunction(name) || strings.ContainsAny(name, "_@!-?") && !isWord(name) {
		return nil
	}
	outer, err := outerEnv()
	if err == nil && outer.HasFunction(name) {
		return nil
	}
	var known []string
	for _, a := range vocabulary() {
		known = append(known, a.name)
	}
	hint := "docs/checks.md lists them"
	if near := config.Suggest(name, known); near != "" {
		hint = "did you mean " + near + "?"
	}
	return c.at(e, "no aggregate is called "+name, hint)
}

var word = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]*$`)

func isWord(s string) bool { return word.MatchString(s) }

// renameMember turns .size() and .contains() of sets and groups into functions of our own.
func (c *compiler) renameMember(e ast.Expr) {
	call := e.AsCall()
	own := map[string]string{"size": sizeFunction, "contains": containsFunction}[call.FunctionName()]
	if own == "" || call.Target().Kind() != ast.IdentKind {
		return
	}
	if t := c.types[call.Target().AsIdent()]; t == namesType || t == groupsInt {
		e.SetKindCase(c.factory.NewMemberCall(e.ID(), own, c.factory.CopyExpr(call.Target()), call.Args()...))
	}
}

// liftAggregate compiles an aggregate's arguments in the environment of rows and puts a variable in its place.
func (c *compiler) liftAggregate(e ast.Expr, a aggregate, polarity int) error {
	args := e.AsCall().Args()
	if len(args) < a.required || len(args) > len(a.params) {
		return c.at(e, fmt.Sprintf("%s takes %s, and this has %d", a.signature, plural(a.required, len(a.params)), len(args)),
			"for example "+a.example)
	}
	t := &term{aggregate: a, text: c.text(e), polarity: polarity}
	for i, x := range args {
		arg, err := c.argument(x, a, a.params[i])
		if err != nil {
			return err
		}
		t.args = append(t.args, arg)
	}
	for _, same := range c.terms {
		if same.text == t.text && same.polarity == polarity {
			e.SetKindCase(c.factory.NewIdent(e.ID(), same.name))
			return nil
		}
	}
	t.typ = a.result(t.args)
	t.name = fmt.Sprintf("@%d", len(c.terms)+1)
	c.terms = append(c.terms, t)
	c.types[t.name] = t.typ
	e.SetKindCase(c.factory.NewIdent(e.ID(), t.name))
	return nil
}

func plural(least, most int) string {
	switch {
	case least == most && least == 0:
		return "no arguments"
	case least == most && least == 1:
		return "one argument"
	case least == most:
		return fmt.Sprintf("%d arguments", least)
	case least == 0:
		return fmt.Sprintf("at most %d", most)
	}
	return fmt.Sprintf("%d to %d arguments", least, most)
}

// argument compiles one argument.
func (c *compiler) argument(e ast.Expr, a aggregate, kind parameter) (*argument, error) {
	arg := &argument{kind: kind, text: c.text(e)}
	if kind == theBaseline {
		if e.Kind() != ast.IdentKind || e.AsIdent() != "baseline" {
			return nil, c.at(e, a.signature+" takes the word baseline here", "for example "+a.example)
		}
		return arg, nil
	}
	if kind == words {
		said, ok := "", e.Kind() == ast.LiteralKind
		if ok {
			said, ok = e.AsLiteral().Value().(string)
		}
		if !ok || said == "" {
			return nil, c.at(e, fmt.Sprintf("%s takes a text in quotes here, and %s is none", a.signature, arg.text), "for example "+a.example)
		}
		arg.said = said
		return arg, nil
	}
	if nested := c.nestedAggregate(e); nested != nil {
		return nil, c.at(nested, fmt.Sprintf("%s speaks of all rows, and what stands inside %s is asked of each row",
			nested.AsCall().FunctionName(), a.name),
			"compare the aggregates outside of each other")
	}
	var optional []string
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(x ast.Expr) {
		if x.Kind() == ast.IdentKind {
			if f, ok := filter.Lookup(strings.TrimPrefix(x.AsIdent(), "@has.")); ok {
				c.fields[f.Name] = true
				if f.Optional {
					optional = append(optional, f.Name)
				}
			}
		}
	}))
	pb, err := ast.ExprToProto(e)
	if err != nil {
		return nil, c.at(e, err.Error(), "")
	}
	sub := cel.ParsedExprToAstWithSource(&exprpb.ParsedExpr{Expr: pb, SourceInfo: c.infoPB}, nil)
	checked, issues := filter.Check(c.rows, sub)
	if issues.Err() != nil {
		return nil, explain(c.t, issues)
	}
	program, err := filter.Program(c.rows, checked)
	if err != nil {
		return nil, c.at(e, strings.TrimSpace(err.Error()), "")
	}
	arg.row = &rowExpression{text: arg.text, typ: checked.OutputType(), program: program, optional: optional}
	return arg, c.fits(e, a, arg)
}

// nestedAggregate is an aggregate inside an argument, or nil.
func (c *compiler) nestedAggregate(e ast.Expr) (nested ast.Expr) {
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(x ast.Expr) {
		if x.Kind() == ast.CallKind && !x.AsCall().IsMemberFunction() && nested == nil {
			if _, ok := aggregateNamed(x.AsCall().FunctionName()); ok {
				nested = x
			}
		}
	}))
	return nested
}

// fits checks an argument's type, and evaluates the constants.
func (c *compiler) fits(e ast.Expr, a aggregate, arg *argument) error {
	kind := arg.row.typ.Kind()
	switch arg.kind {
	case predicate:
		if kind != types.BoolKind {
			return c.at(e, fmt.Sprintf("%s asks a question of each row, and %s is %s", a.signature, arg.text, typeName(arg.row.typ)),
				"for example "+a.example)
		}
	case quantity:
		if kind != types.DurationKind && kind != types.IntKind && kind != types.DoubleKind {
			return c.at(e, fmt.Sprintf("%s takes a number or a duration of each row, and %s is %s", a.signature, arg.text, typeName(arg.row.typ)),
				"for example "+a.example)
		}
	case anything:
		switch kind {
		case types.BoolKind, types.IntKind, types.DoubleKind, types.StringKind, types.DurationKind, types.UintKind:
		default:
			return c.at(e, fmt.Sprintf("%s takes a plain value, and %s is %s", a.signature, arg.text, typeName(arg.row.typ)), "for example "+a.example)
		}
	case fraction, span, whole:
		return c.constant(e, a, arg)
	}
	return nil
}

// constant evaluates an argument that must not depend on rows.
func (c *compiler) constant(e ast.Expr, a aggregate, arg *argument) error {
	out, _, err := arg.row.program.Eval(map[string]any{})
	value := constant(out)
	if err != nil || value == nil {
		return c.at(e, fmt.Sprintf("%s takes a constant here, and %s is none", a.signature, arg.text), "for example "+a.example)
	}
	arg.row, arg.at = nil, value.value
	if arg.kind == span && (value.typ != estimateDuration || value.value < 0) {
		return c.at(e, fmt.Sprintf("%s takes a duration here, and not %s", a.signature, arg.text), `write duration("2s")`)
	}
	if arg.kind == whole && (value.typ != estimateInt || value.value < 1) {
		return c.at(e, fmt.Sprintf("%s takes a whole number from 1 on here, and not %s", a.signature, arg.text), "for example "+a.example)
	}
	if arg.kind == fraction && (value.typ == estimateDuration || value.value <= 0 || value.value >= 1) {
		return c.at(e, fmt.Sprintf("%s takes a quantile between 0 and 1 here, and not %s", a.signature, arg.text), "for example "+a.example)
	}
	return nil
}

// estimates reports whether an expression of the lifted tree is an estimate.
func (c *compiler) estimates(e ast.Expr) bool {
	switch e.Kind() {
	case ast.IdentKind:
		return isEstimate(c.types[e.AsIdent()])
	case ast.CallKind:
		call := e.AsCall()
		switch call.FunctionName() {
		case operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Conditional:
			for _, x := range call.Args() {
				if c.estimates(x) {
					return true
				}
			}
			return false
		case sizeFunction:
			return true
		}
		_, ok := aggregateNamed(call.FunctionName())
		return ok && !call.IsMemberFunction()
	}
	return false
}

// equalities renames == and != where they touch an estimate, and refuses what would turn an unknown into an answer.
func (c *compiler) equalities(root ast.Expr) (err error) {
	ast.PostOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || err != nil {
			return
		}
		call := e.AsCall()
		touches := false
		for _, x := range call.Args() {
			touches = touches || c.estimates(x)
		}
		if !touches {
			return
		}
		switch name := call.FunctionName(); name {
		case operators.Equals:
			e.SetKindCase(c.factory.NewCall(e.ID(), equalFunction, call.Args()...))
		case operators.NotEquals:
			e.SetKindCase(c.factory.NewCall(e.ID(), unequalFunction, call.Args()...))
		case operators.In, operators.OldIn:
			err = c.at(e, "an estimate cannot be looked up in a list", "compare it: a == 1 || a == 2")
		case "dyn":
			err = c.at(e, "an estimate cannot lose its type", "take dyn(…) away")
		}
	}))
	return err
}

// finish checks the lifted tree and plans each of its conjuncts.
func (c *compiler) finish(source string, outer *cel.Env) (*expectation, error) {
	var variables []cel.EnvOption
	for _, t := range c.terms {
		variables = append(variables, cel.Variable(t.name, t.typ))
	}
	env, err := outer.Extend(variables...)
	if err != nil {
		return nil, fmt.Errorf("build the environment of an expectation: %w", err)
	}
	whole, err := c.check(env, c.tree.Expr())
	if err != nil {
		return nil, err
	}
	if whole.OutputType().Kind() != types.BoolKind {
		return nil, c.notTrueOrFalse(whole.OutputType())
	}
	if len(c.terms) == 0 {
		return nil, c.t.ErrorAt(0, "the expectation asks nothing of the traffic", "use an aggregate, such as none(status_code >= 500)")
	}
	x := &expectation{source: source, terms: c.terms}
	for _, part := range conjunctsOf(c.tree.Expr()) {
		checked, err := c.check(env, part)
		if err != nil {
			return nil, err
		}
		program, err := env.Program(checked, cel.EvalOptions(cel.OptOptimize))
		if err != nil {
			return nil, c.at(part, strings.TrimSpace(err.Error()), "")
		}
		x.conjuncts = append(x.conjuncts, &conjunct{text: c.text(part), program: program, terms: c.termsIn(part)})
	}
	x.fields = slices.Sorted(maps.Keys(c.fields))
	return x, nil
}

func (c *compiler) notTrueOrFalse(t *cel.Type) error {
	hint := "compare it with something"
	switch {
	case t.IsExactType(estimateDuration):
		hint = `compare it: … < duration("100ms")`
	case t.IsExactType(namesType):
		hint = `ask it: ….subset_of(["api.example.com:443"]), ….contains("…") or ….size() == 0`
	case t.IsExactType(groupsInt):
		hint = "aggregate it: max(…) <= 3"
	}
	return c.t.ErrorAt(0, "an expectation is true or false, and this is "+typeName(t), hint)
}

// typeName is a type as people call it.
func typeName(t *cel.Type) string {
	for _, n := range []struct {
		typ  *cel.Type
		name string
	}{
		{estimateDuration, "a duration"}, {estimateDouble, "a number"}, {estimateInt, "a number"}, {namesType, "a set of names"},
		{groupsInt, "counts by group"}, {cel.IntType, "a whole number"}, {cel.DoubleType, "a number"}, {cel.BoolType, "true or false"},
		{cel.StringType, "text"}, {cel.DurationType, "a duration"}, {cel.TimestampType, "a time"},
	} {
		if t.IsExactType(n.typ) {
			return n.name
		}
	}
	switch t.Kind() {
	case types.ListKind:
		return "a list"
	case types.MapKind:
		return "a map"
	}
	return "a value of type " + t.String()
}

func (c *compiler) check(env *cel.Env, e ast.Expr) (*cel.Ast, error) {
	pb, err := ast.ExprToProto(e)
	if err != nil {
		return nil, c.at(e, err.Error(), "")
	}
	checked, issues := filter.Check(env, cel.ParsedExprToAstWithSource(&exprpb.ParsedExpr{Expr: pb, SourceInfo: c.infoPB}, nil))
	if issues.Err() != nil {
		return nil, explain(c.t, issues)
	}
	return checked, nil
}

// conjunctsOf flattens the && at the top.
func conjunctsOf(e ast.Expr) []ast.Expr {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.LogicalAnd {
		var all []ast.Expr
		for _, x := range e.AsCall().Args() {
			all = append(all, conjunctsOf(x)...)
		}
		return all
	}
	return []ast.Expr{e}
}

func (c *compiler) termsIn(e ast.Expr) []int {
	var all []int
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(x ast.Expr) {
		if x.Kind() == ast.IdentKind {
			for i, t := range c.terms {
				if t.name == x.AsIdent() {
					all = append(all, i)
				}
			}
		}
	}))
	return all
}

// text is a node as it was written, in CEL's own spacing.
func (c *compiler) text(e ast.Expr) string {
	written, ok := c.original[e.ID()]
	if !ok {
		written = e
	}
	pb, err := ast.ExprToProto(written)
	if err != nil {
		return c.t.Source
	}
	text, err := cel.AstToString(cel.ParsedExprToAstWithSource(&exprpb.ParsedExpr{Expr: pb, SourceInfo: c.infoPB}, nil))
	if err != nil {
		return c.t.Source
	}
	return text
}

// at places an error at a node. A call's own position is its bracket, so the start of its name is looked for.
func (c *compiler) at(e ast.Expr, msg, hint string) error {
	offset := 0
	if r, ok := c.info.GetOffsetRange(e.ID()); ok {
		offset = int(r.Start)
	}
	if e.Kind() == ast.CallKind {
		text := []rune(c.t.Text)
		name := []rune(e.AsCall().FunctionName())
		if from := offset - len(name); from >= 0 && offset <= len(text) && string(text[from:offset]) == string(name) {
			offset = from
		}
	}
	return c.t.ErrorAt(offset, msg, hint)
}

var ours = regexp.MustCompile(`\b(estimate|groups)\(|\bnames\b`)

var noOverload = regexp.MustCompile(`found no matching overload for '([^']+)' applied to '(.*?)\.?\((.*)\)'`)

// explain turns CEL's issues into one error that speaks of this language.
func explain(t *filter.Translation, issues *cel.Issues) error {
	err := t.Explain(issues)
	if list := issues.Errors(); len(list) > 0 {
		first := list[0]
		offset := offsetOf(t.Text, first.Location.Line(), first.Location.Column())
		if m := noOverload.FindStringSubmatch(first.Message); m != nil && ours.MatchString(m[3]) {
			msg, hint := mismatch(m[1], m[3])
			return t.ErrorAt(offset, msg, hint)
		}
		var placed *filter.Error
		if !errors.As(err, &placed) {
			return t.ErrorAt(offset, first.Message, "")
		}
	}
	return err
}

// offsetOf is the code point at a line (from 1) and column (from 0).
func offsetOf(text string, line, column int) int {
	offset := 0
	for _, l := range strings.SplitAfter(text, "\n")[:max(0, line-1)] {
		offset += len([]rune(l))
	}
	return offset + column
}

// mismatch says that an estimate meets the wrong unit, and what to write.
func mismatch(operator, operands string) (msg, hint string) {
	sign := strings.Trim(operator, "_@")
	sign = strings.NewReplacer("eq", "==", "ne", "!=").Replace(sign)
	plain := strings.NewReplacer("list(string)", "a list", "names", "a set of names", "groups(int)", "counts by group", "estimate(duration)", "a duration", "estimate(double)", "a number", "estimate(int)", "a number",
		"int", "a plain number", "double", "a plain number", "string", "text", "google.protobuf.Duration", "a duration").Replace(operands)
	msg = fmt.Sprintf("%s does not go between %s", sign, strings.Replace(plain, ", ", " and ", 1))
	if strings.Contains(operands, "estimate(duration)") {
		return msg, `write the bound with its unit: duration("5ms")`
	}
	if strings.Contains(operands, "names") {
		return msg, `ask the set: ….subset_of(["api.example.com:443"]), ….contains("…") or ….size() == 0`
	}
	if strings.Contains(operands, "groups(") {
		return msg, "aggregate the counts first: max(…) <= 3"
	}
	return msg, "compare numbers with numbers"
}

// isNumber reports whether the aggregate yields an estimate, whatever its arguments.
func (a aggregate) isNumber() bool {
	switch a.name {
	case "none", "all", "any", "before", "then", "eventually", "never_after", "edges", "destinations", "changed", "new_edges", "new_fields", "conforms", "path", "cycles", "deadlines_kept", "top", "stable":
		return false
	}
	return true
}

// now is the time that now() means inside checks: the window's end, so that the same traffic gives the same verdict.
func now(end int64) time.Time { return time.Unix(0, end).UTC() }
