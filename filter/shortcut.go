package filter

import (
	"strings"

	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// shortcuts makes the planner read plain comparisons of a field with a constant, such as status_code >= 500, straight from
// the row: no lookup by name, no value boxed. They decide nothing by themselves: in expectations, inside loops and in
// partial evaluation the planner's own step runs, and a test compares the two.
func shortcuts(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	switch step := i.(type) {
	case interpreter.InterpretableAttribute:
		if f := attributeField(step); f != nil && f.flag != nil {
			return &flagStep{InterpretableAttribute: step, field: f}, nil
		}
	case interpreter.InterpretableCall:
		args := step.Args()
		if len(args) != 2 {
			break
		}
		f := attributeField(args[0])
		constant, ok := args[1].(interpreter.InterpretableConst)
		if f == nil || !ok {
			break
		}
		if holds := comparison(f, step.Function(), constant.Value()); holds != nil {
			return &compareStep{InterpretableCall: step, holds: holds}, nil
		}
	}
	return i, nil
}

// attributeField is the field that a step reads as a whole, or nil.
func attributeField(i interpreter.InterpretableV2) *Field {
	attribute, ok := i.(interpreter.InterpretableAttribute)
	if !ok {
		return nil
	}
	name, ok := attribute.Attr().(interpreter.NamespacedAttribute)
	if !ok || len(name.Qualifiers()) > 0 || len(name.CandidateVariableNames()) != 1 {
		return nil
	}
	return table().byName[name.CandidateVariableNames()[0]]
}

// comparison returns the test of a row, or nil where there is no shortcut. Rows without a value hold the default, as always.
func comparison(f *Field, function string, constant ref.Val) func(*Row) bool {
	switch c := constant.(type) {
	case types.String:
		if f.Name == textsName && function == "mentions" {
			return func(r *Row) bool { return mentioned(r, string(c)) }
		}
		if test := textTest(function); f.text != nil && test != nil {
			get, want := f.text, string(c)
			return func(r *Row) bool {
				v, ok := get(r)
				if !ok { // a getter may know more than the row has: why an open call has no answer yet
					v = ""
				}
				return test(v, want)
			}
		}
	case types.Int:
		if test := numberTest(function); f.number != nil && test != nil {
			get, want := f.number, int64(c)
			return func(r *Row) bool { v, _ := get(r); return test(v, want) }
		}
	}
	return nil
}

func textTest(function string) func(a, b string) bool {
	switch function {
	case operators.Equals:
		return func(a, b string) bool { return a == b }
	case operators.NotEquals:
		return func(a, b string) bool { return a != b }
	case "startsWith":
		return strings.HasPrefix
	case "endsWith":
		return strings.HasSuffix
	case "contains":
		return strings.Contains
	}
	return nil
}

func numberTest(function string) func(a, b int64) bool {
	switch function {
	case operators.Equals:
		return func(a, b int64) bool { return a == b }
	case operators.NotEquals:
		return func(a, b int64) bool { return a != b }
	case operators.Less:
		return func(a, b int64) bool { return a < b }
	case operators.LessEquals:
		return func(a, b int64) bool { return a <= b }
	case operators.Greater:
		return func(a, b int64) bool { return a > b }
	case operators.GreaterEquals:
		return func(a, b int64) bool { return a >= b }
	}
	return nil
}

// plainRow is the row when the step runs in a filter, outside of loops.
func plainRow(frame *interpreter.ExecutionFrame) (*Row, bool) {
	act, ok := frame.Scope().(*Activation)
	if !ok || act.mode != ModeFilter || act.ends != nil {
		return nil, false
	}
	return act.row, true
}

// compareStep is a comparison of a field with a constant.
type compareStep struct {
	interpreter.InterpretableCall
	holds func(*Row) bool
}

// Exec implements [interpreter.InterpretableV2].
func (s *compareStep) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	if row, ok := plainRow(frame); ok {
		return types.Bool(s.holds(row))
	}
	return s.InterpretableCall.Exec(frame)
}

// flagStep is a field that is true or false.
type flagStep struct {
	interpreter.InterpretableAttribute
	field *Field
}

// Exec implements [interpreter.InterpretableV2].
func (s *flagStep) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	if row, ok := plainRow(frame); ok {
		v, found := s.field.flag(row)
		return types.Bool(v && found)
	}
	return s.InterpretableAttribute.Exec(frame)
}
