package assertions

import (
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// outerEnv is the environment of expectations once their aggregates are lifted out: CEL with operators over estimates.
//
// An operator of CEL takes no binding of ours. So the overload is declared on the operator without one, and once more under
// the same identity on a function of our own that carries it: the planner looks the identity up first.
var outerEnv = sync.OnceValues(func() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.CrossTypeNumericComparisons(true),
		cel.EnableMacroCallTracking(),
		cel.ParserExpressionSizeLimit(16 << 10),
		cel.ParserRecursionLimit(128),
		cel.ExpressionNodeLimit(4096),
		cel.RegexProgramSizeLimit(2000),
	}
	for _, op := range []struct{ cel, own, sign string }{
		{operators.Less, "@lt", "<"}, {operators.LessEquals, "@le", "<="},
		{operators.Greater, "@gt", ">"}, {operators.GreaterEquals, "@ge", ">="},
		{"", equalFunction, "=="}, {"", unequalFunction, "!="},
	} {
		options = append(options, comparisonOf(op.cel, op.own, op.sign)...)
	}
	for _, op := range []struct{ cel, own, sign string }{
		{operators.Add, "@add", "+"}, {operators.Subtract, "@subtract", "-"},
		{operators.Multiply, "@multiply", "*"}, {operators.Divide, "@divide", "/"},
	} {
		options = append(options, arithmeticOf(op.cel, op.own, op.sign)...)
	}
	options = append(options, namesFunctions()...)
	options = append(options, groupFunctions()...)
	return cel.NewEnv(options...)
})

// The functions that == and != of estimates become: CEL's own equality would turn unknown into an answer.
const (
	equalFunction   = "@eq"
	unequalFunction = "@ne"
)

// pair is the operand types of one overload, and its result where that is not a truth value.
type pair struct{ left, right, result *cel.Type }

// comparable are the pairs of types that can be compared, estimates on at least one side.
func comparablePairs() []pair {
	var all []pair
	for _, t := range []struct{ estimate, plain *cel.Type }{
		{estimateDuration, cel.DurationType}, {estimateDouble, cel.DoubleType}, {estimateInt, cel.IntType},
	} {
		all = append(all, pair{t.estimate, t.plain, nil}, pair{t.plain, t.estimate, nil}, pair{t.estimate, t.estimate, nil})
	}
	return append(all,
		pair{estimateDouble, cel.IntType, nil}, pair{cel.IntType, estimateDouble, nil},
		pair{estimateInt, cel.DoubleType, nil}, pair{cel.DoubleType, estimateInt, nil},
		pair{estimateDouble, estimateInt, nil}, pair{estimateInt, estimateDouble, nil})
}

// arithmeticPairs are the pairs of types that an operator combines. A quotient of whole numbers is a fraction, as people mean it.
func arithmeticPairs(sign string) []pair {
	var all []pair
	both := func(a, b, result *cel.Type) {
		all = append(all, pair{a, b, result})
		if a != b {
			all = append(all, pair{b, a, result})
		}
	}
	d, f, i := estimateDuration, estimateDouble, estimateInt
	switch sign {
	case "+", "-":
		both(d, d, d)
		both(d, cel.DurationType, d)
	case "*":
		both(d, cel.DoubleType, d)
		both(d, cel.IntType, d)
		both(d, f, d)
		both(d, i, d)
	case "/":
		all = append(all, pair{d, cel.DoubleType, d}, pair{d, cel.IntType, d}, pair{d, f, d}, pair{d, i, d})
		both(d, d, f)
		both(d, cel.DurationType, f)
	}
	whole := i
	if sign == "/" {
		whole = f
	}
	both(i, i, whole)
	both(i, cel.IntType, whole)
	both(f, f, f)
	both(f, cel.DoubleType, f)
	both(f, cel.IntType, f)
	both(f, i, f)
	both(i, cel.DoubleType, f)
	return all
}

func overloadID(own string, p pair) string {
	name := own + "_" + p.left.String() + "_" + p.right.String()
	return strings.NewReplacer("@", "", "(", "_", ")", "").Replace(name)
}

func comparisonOf(operator, own, sign string) []cel.EnvOption {
	return declare(operator, own, comparablePairs(), func(pair) (*cel.Type, func(a, b ref.Val) ref.Val) {
		return cel.BoolType, func(a, b ref.Val) ref.Val { return compare(sign, a, b) }
	})
}

func arithmeticOf(operator, own, sign string) []cel.EnvOption {
	return declare(operator, own, arithmeticPairs(sign), func(p pair) (*cel.Type, func(a, b ref.Val) ref.Val) {
		return p.result, func(a, b ref.Val) ref.Val { return arithmetic(sign, p.result, a, b) }
	})
}

// declare declares the overloads on CEL's operator, where there is one, and binds them on a function of our own.
func declare(operator, own string, pairs []pair, of func(pair) (*cel.Type, func(a, b ref.Val) ref.Val)) []cel.EnvOption {
	var declared, bound []cel.FunctionOpt
	for _, p := range pairs {
		id := overloadID(own, p)
		result, do := of(p)
		args := []*cel.Type{p.left, p.right}
		declared = append(declared, cel.Overload(id, args, result))
		bound = append(bound, cel.Overload(id, args, result, cel.BinaryBinding(do)))
	}
	options := []cel.EnvOption{cel.Function(own, bound...)}
	if operator != "" {
		options = append(options, cel.Function(operator, declared...))
	}
	return options
}

// groupFunctions are the aggregates of an aggregate: max(count_by(…)).
func groupFunctions() []cel.EnvOption {
	var options []cel.EnvOption
	for _, name := range []string{"max", "min", "sum", "mean", "stddev", "p50", "p90", "p95", "p99"} {
		result := estimateInt
		if name == "mean" || name == "stddev" {
			result = estimateDouble
		}
		options = append(options, cel.Function(name, cel.Overload(name+"_groups", []*cel.Type{groupsInt}, result,
			cel.UnaryBinding(func(v ref.Val) ref.Val {
				g, ok := v.(*groups)
				if !ok {
					return types.MaybeNoSuchOverloadErr(v)
				}
				return g.number(name, 0, result)
			}))))
	}
	return append(options,
		cel.Function("percentile", cel.Overload("percentile_groups", []*cel.Type{groupsInt, cel.DoubleType}, estimateInt,
			cel.BinaryBinding(func(v, q ref.Val) ref.Val {
				g, ok := v.(*groups)
				at, fraction := q.(types.Double)
				if !ok || !fraction || at <= 0 || at >= 1 {
					return types.NewErr("percentile: the quantile must lie between 0 and 1")
				}
				return g.number("percentile", float64(at), estimateInt)
			}))),
		cel.Function(sizeFunction, cel.MemberOverload("groups_size", []*cel.Type{groupsInt}, estimateInt,
			cel.UnaryBinding(func(v ref.Val) ref.Val {
				g, ok := v.(*groups)
				if !ok {
					return types.MaybeNoSuchOverloadErr(v)
				}
				return g.size()
			}))))
}
