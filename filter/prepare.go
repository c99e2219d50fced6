package filter

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// Prepare edits a parsed tree in place into what [RowEnv] can check. m[k] and m.k of a field that is a map become
// map_get(m, k, ""), so that a missing key reads as empty; `has(m.k)` and `k in m` stay exact. A dotted field becomes one
// identifier, has(field) asks whether the row has it, now() becomes the activation's time, and mentions(x) looks into texts. All else, such as
// aggregates and their arguments, is left as it stands.
func Prepare(parsed *cel.Ast) error {
	tree := parsed.NativeRep()
	p := &preparer{info: tree.SourceInfo(), next: ast.MaxID(tree) + 1, factory: ast.NewExprFactory()}
	p.walk(tree.Expr(), 0)
	return p.err
}

type preparer struct {
	info    *ast.SourceInfo
	factory ast.ExprFactory
	next    int64
	shadow  []string // loop variables in scope: they hide fields of the same name
	err     error
}

// id returns a fresh node id that stands where the node at stands.
func (p *preparer) id(at int64) int64 {
	id := p.next
	p.next++
	if where, ok := p.info.GetOffsetRange(at); ok {
		p.info.SetOffsetRange(id, where)
	}
	return id
}

func (p *preparer) walk(e ast.Expr, loops int) {
	switch e.Kind() {
	case ast.IdentKind:
		if strings.HasPrefix(e.AsIdent(), hasPrefix) {
			p.info.ClearMacroCall(e.ID())
		}
	case ast.SelectKind:
		p.selection(e, loops)
	case ast.CallKind:
		p.call(e, loops)
	case ast.ListKind:
		for _, x := range e.AsList().Elements() {
			p.walk(x, loops)
		}
	case ast.MapKind:
		for _, x := range e.AsMap().Entries() {
			p.walk(x.AsMapEntry().Key(), loops)
			p.walk(x.AsMapEntry().Value(), loops)
		}
	case ast.StructKind:
		for _, x := range e.AsStruct().Fields() {
			p.walk(x.AsStructField().Value(), loops)
		}
	case ast.ComprehensionKind:
		p.loop(e, loops)
	}
}

// selection edits a.b.c.
func (p *preparer) selection(e ast.Expr, loops int) {
	s := e.AsSelect()
	if f := p.field(e); f != nil {
		name := f.Name
		if s.IsTestOnly() {
			name = hasPrefix + name
			p.info.ClearMacroCall(e.ID())
		}
		e.SetKindCase(p.factory.NewIdent(e.ID(), name))
		return
	}
	if f := p.field(s.Operand()); f != nil && f.Type.Kind() == types.MapKind && !s.IsTestOnly() {
		p.walk(s.Operand(), loops)
		p.mapGet(e, s.Operand(), p.factory.NewLiteral(p.id(e.ID()), types.String(s.FieldName())))
		return
	}
	p.walk(s.Operand(), loops)
}

// call edits m[k] and now().
func (p *preparer) call(e ast.Expr, loops int) {
	c := e.AsCall()
	if c.IsMemberFunction() {
		p.walk(c.Target(), loops)
	}
	isMap := false
	if c.FunctionName() == operators.Index && len(c.Args()) == 2 {
		f := p.field(c.Args()[0])
		isMap = f != nil && f.Type.Kind() == types.MapKind
	}
	for _, x := range c.Args() {
		p.walk(x, loops)
	}
	switch {
	case isMap:
		p.mapGet(e, c.Args()[0], c.Args()[1])
	case c.FunctionName() == "now" && !c.IsMemberFunction() && len(c.Args()) == 0:
		e.SetKindCase(p.factory.NewIdent(e.ID(), nowVariable))
	case c.FunctionName() == "mentions" && !c.IsMemberFunction() && len(c.Args()) == 1:
		text := p.factory.CopyExpr(c.Args()[0])
		e.SetKindCase(p.factory.NewCall(e.ID(), "mentions", p.factory.NewIdent(p.id(e.ID()), textsName), text))
	}
}

func (p *preparer) mapGet(e, m, key ast.Expr) {
	m, key = p.factory.CopyExpr(m), p.factory.CopyExpr(key)
	e.SetKindCase(p.factory.NewCall(e.ID(), "map_get", m, key, p.factory.NewLiteral(p.id(e.ID()), types.String(""))))
}

// loop walks a macro's comprehension, whose variables hide fields.
func (p *preparer) loop(e ast.Expr, loops int) {
	c := e.AsComprehension()
	p.walk(c.IterRange(), loops)
	if loops++; loops > maxLoops && p.err == nil {
		p.err = fmt.Errorf("%d loops inside each other are too many: at most %d", loops, maxLoops)
		return
	}
	n := len(p.shadow)
	p.shadow = append(p.shadow, c.AccuVar())
	p.walk(c.AccuInit(), loops)
	p.shadow = append(p.shadow, c.IterVar(), c.IterVar2())
	p.walk(c.LoopCondition(), loops)
	p.walk(c.LoopStep(), loops)
	p.walk(c.Result(), loops)
	p.shadow = p.shadow[:n]
}

// field is the field that an identifier or a chain of selections names, or nil.
func (p *preparer) field(e ast.Expr) *Field {
	name, ok := chain(e)
	if !ok {
		return nil
	}
	root, _, _ := strings.Cut(name, ".")
	for _, hidden := range p.shadow {
		if hidden == root {
			return nil
		}
	}
	return table().byName[name]
}

// chain is the dotted name of an identifier or a chain of selections.
func chain(e ast.Expr) (string, bool) {
	switch e.Kind() {
	case ast.IdentKind:
		return e.AsIdent(), true
	case ast.SelectKind:
		s := e.AsSelect()
		if s.Operand().Kind() == ast.SelectKind && s.Operand().AsSelect().IsTestOnly() {
			return "", false
		}
		name, ok := chain(s.Operand())
		return name + "." + s.FieldName(), ok
	}
	return "", false
}
