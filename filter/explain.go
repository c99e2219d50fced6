package filter

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Explanation is how a filter was understood.
type Explanation struct {
	Source    string     `json:"source"`
	Rewritten string     `json:"rewritten"`
	Changes   []Change   `json:"changes,omitempty"`
	Warnings  []string   `json:"warnings,omitempty"`
	Selects   string     `json:"selects"`             // calls, connections, or both
	Protocols []string   `json:"protocols,omitempty"` // of the calls that it could select
	Fields    []FieldUse `json:"fields,omitempty"`
	Columns   []string   `json:"columns,omitempty"`    // of stored calls that can tell which match
	RowByRow  []string   `json:"row_by_row,omitempty"` // parts of the filter that only whole rows tell, named by their fields
	Tree      *Node      `json:"tree,omitempty"`
	Rows      *Found     `json:"rows,omitempty"` // where it was tried on rows
}

// Found is what a filter selects of rows that were captured.
type Found struct {
	Matched int `json:"matched"`
	Of      int `json:"of"`
}

// FieldUse is a field that a filter reads.
type FieldUse struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Unit string `json:"unit,omitempty"`
	Doc  string `json:"doc"`
}

// Node is one step of the evaluation.
type Node struct {
	Text string  `json:"text"` // the operator, function, field or literal
	Type string  `json:"type"`
	Args []*Node `json:"args,omitempty"`
}

// Explain says how a filter is understood. The error is that of [Compile].
func Explain(src string, opts ...Option) (*Explanation, error) {
	f, err := Compile(src, opts...)
	if err != nil {
		return nil, err
	}
	return f.Explain(), nil
}

// Explain says how the filter is understood.
func (f *Filter) Explain() *Explanation {
	x := &Explanation{Source: f.Source(), Rewritten: f.Rewritten(), Changes: f.Changes(), Warnings: f.Warnings(), Selects: f.Kind().String()}
	if f.kind&Calls != 0 {
		x.Protocols = f.Protocols()
	}
	for _, field := range f.Fields() {
		x.Fields = append(x.Fields, FieldUse{Name: field.Name, Type: typeName(field.Type), Unit: field.Unit, Doc: field.Doc})
	}
	if f.kind&Calls != 0 {
		p := f.Lower()
		x.Columns, x.RowByRow = p.Columns(), p.Rest()
	}
	if f.checked != nil {
		x.Tree = explainNode(f.checked.NativeRep(), f.checked.NativeRep().Expr())
	}
	return x
}

// explainNode draws a checked tree. A macro appears as it was written.
func explainNode(tree *ast.AST, e ast.Expr) *Node {
	if macro, ok := tree.SourceInfo().GetMacroCall(e.ID()); ok {
		return explainMacro(tree, e, macro)
	}
	n := &Node{Type: typeName(tree.GetType(e.ID()))}
	switch e.Kind() {
	case ast.IdentKind:
		n.Text = identText(e.AsIdent())
	case ast.LiteralKind:
		n.Text = literalText(e.AsLiteral())
	case ast.SelectKind:
		n.Text = "." + e.AsSelect().FieldName()
		n.Args = []*Node{explainNode(tree, e.AsSelect().Operand())}
	case ast.ListKind:
		n.Text = "[…]"
		for _, x := range e.AsList().Elements() {
			n.Args = append(n.Args, explainNode(tree, x))
		}
	case ast.CallKind:
		c := e.AsCall()
		n.Text = callText(c)
		if c.IsMemberFunction() {
			n.Args = append(n.Args, explainNode(tree, c.Target()))
		}
		for _, x := range c.Args() {
			n.Args = append(n.Args, explainNode(tree, x))
		}
	default:
		n.Text = "{…}"
	}
	return n
}

// explainMacro names a macro and explains what it runs over; its body has no single value.
func explainMacro(tree *ast.AST, e, macro ast.Expr) *Node {
	n := &Node{Text: macro.AsCall().FunctionName() + "()", Type: typeName(tree.GetType(e.ID()))}
	if e.Kind() == ast.ComprehensionKind {
		n.Args = []*Node{explainNode(tree, e.AsComprehension().IterRange())}
		for _, x := range macro.AsCall().Args() {
			n.Args = append(n.Args, bodyNode(x))
		}
	} else if e.Kind() == ast.SelectKind {
		n.Args = []*Node{explainNode(tree, e.AsSelect().Operand()), {Text: literalText(types.String(e.AsSelect().FieldName())), Type: "string"}}
	}
	return n
}

// bodyNode draws the untyped body of a macro.
func bodyNode(e ast.Expr) *Node {
	n := &Node{}
	switch e.Kind() {
	case ast.IdentKind:
		n.Text = identText(e.AsIdent())
	case ast.LiteralKind:
		n.Text = literalText(e.AsLiteral())
	case ast.SelectKind:
		if name, ok := chain(e); ok {
			n.Text = name
			return n
		}
		n.Text, n.Args = "."+e.AsSelect().FieldName(), []*Node{bodyNode(e.AsSelect().Operand())}
	case ast.CallKind:
		c := e.AsCall()
		n.Text = callText(c)
		if c.IsMemberFunction() {
			n.Args = append(n.Args, bodyNode(c.Target()))
		}
		for _, x := range c.Args() {
			n.Args = append(n.Args, bodyNode(x))
		}
	default:
		n.Text = "…"
	}
	return n
}

func identText(name string) string {
	if name == nowVariable {
		return "now()"
	}
	if field, ok := strings.CutPrefix(name, hasPrefix); ok {
		return "has(" + field + ")"
	}
	return name
}

func callText(c ast.CallExpr) string {
	if op, ok := operatorText[c.FunctionName()]; ok {
		return op
	}
	return c.FunctionName() + "()"
}

func literalText(v ref.Val) string {
	if s, ok := v.(types.String); ok {
		return fmt.Sprintf("%q", string(s))
	}
	return fmt.Sprint(v.Value())
}

// String draws the explanation for people.
func (x *Explanation) String() string {
	var b strings.Builder
	if x.Rewritten != x.Source {
		fmt.Fprintf(&b, "reads as   %s\n", x.Rewritten)
	}
	for _, c := range x.Changes {
		fmt.Fprintf(&b, "           %s → %s", c.From, c.To)
		if c.Why != "" {
			fmt.Fprintf(&b, " (%s)", c.Why)
		}
		b.WriteByte('\n')
	}
	for _, w := range x.Warnings {
		fmt.Fprintf(&b, "warning    %s\n", w)
	}
	fmt.Fprintf(&b, "selects    %s", x.Selects)
	if len(x.Protocols) > 0 {
		fmt.Fprintf(&b, " (%s)", strings.Join(x.Protocols, ", "))
	}
	b.WriteString("\n")
	if x.Rows != nil {
		fmt.Fprintf(&b, "found      %d of %d rows\n", x.Rows.Matched, x.Rows.Of)
	}
	if len(x.Columns) > 0 {
		fmt.Fprintf(&b, "columns    %s\n", strings.Join(x.Columns, ", "))
	}
	if len(x.RowByRow) > 0 {
		fmt.Fprintf(&b, "row by row %s\n", strings.Join(x.RowByRow, "; "))
	}
	if x.Tree != nil {
		b.WriteString("\n")
		x.Tree.draw(&b, "", "")
	}
	if len(x.Fields) > 0 {
		b.WriteString("\n")
	}
	for _, f := range x.Fields {
		fmt.Fprintf(&b, "%-22s %-18s %s\n", f.Name, f.Type, f.Doc)
	}
	return b.String()
}

func (n *Node) draw(b *strings.Builder, first, rest string) {
	b.WriteString(first + n.Text)
	if n.Type != "" {
		b.WriteString("  : " + n.Type)
	}
	b.WriteByte('\n')
	for i, arg := range n.Args {
		if i == len(n.Args)-1 {
			arg.draw(b, rest+"└─ ", rest+"   ")
		} else {
			arg.draw(b, rest+"├─ ", rest+"│  ")
		}
	}
}
