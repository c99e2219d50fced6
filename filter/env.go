package filter

import (
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Bounds of an expression, so that text from outside costs a bounded time to compile and to evaluate.
const (
	MaxLength   = 16 << 10 // bytes
	maxDepth    = 64       // brackets inside brackets
	maxNodes    = 4096
	maxLoops    = 3    // comprehensions inside comprehensions
	maxRegex    = 2000 // instructions of a compiled regular expression
	maxRecovery = 8    // errors that the parser reports before it gives up
)

// RowEnv returns the CEL environment of one row: every field of the table as a typed variable, map_get and now. Extend it
// to build on it; check only trees that went through [Prepare].
func RowEnv() (*cel.Env, error) { return rowEnv() }

var rowEnv = sync.OnceValues(func() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.CrossTypeNumericComparisons(true),
		cel.EnableMacroCallTracking(),
		cel.ParserExpressionSizeLimit(MaxLength),
		cel.ParserRecursionLimit(4 * maxDepth),
		cel.ParserErrorRecoveryLimit(maxRecovery),
		cel.ExpressionNodeLimit(maxNodes),
		cel.RegexProgramSizeLimit(maxRegex),
		cel.Variable(nowVariable, cel.TimestampType),
		cel.Function("now", cel.Overload("now", nil, cel.TimestampType)), // replaced by the variable in Prepare
		mapGet(),
		mentions(),
		cel.Macros(cel.GlobalMacro("has", 1, expandHas)),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals()),
	}
	options = append(options, jsonFunctions()...)
	for _, f := range table().fields {
		options = append(options, cel.Variable(f.Name, f.Type), cel.Variable(hasPrefix+f.Name, cel.BoolType))
	}
	return cel.NewEnv(options...)
})

var checking sync.Mutex

// Check checks the types of a tree, one tree at a time: where cel-go (v0.33.2) looks for the name nearest to one that it does
// not know, it writes to the environment while other checks in it read.
func Check(env *cel.Env, tree *cel.Ast) (*cel.Ast, *cel.Issues) {
	checking.Lock()
	defer checking.Unlock()
	return env.Check(tree)
}

// expandHas lets has() ask about fields without a dot too, which CEL's own refuses.
func expandHas(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	if args[0].Kind() == ast.IdentKind && table().byName[args[0].AsIdent()] != nil {
		return f.NewIdent(hasPrefix + args[0].AsIdent()), nil
	}
	if args[0].Kind() != ast.SelectKind {
		return nil, f.NewError(args[0].ID(), "has() asks about a field or a key: has(retry.attempts), has(request.headers.authorization)")
	}
	return f.NewPresenceTest(args[0].AsSelect().Operand(), args[0].AsSelect().FieldName()), nil
}

// mapGet declares map_get(map, key, default).
func mapGet() cel.EnvOption {
	key, value := cel.TypeParamType("K"), cel.TypeParamType("V")
	// The checker has seen the types; the guard would iterate the whole map to look at them again.
	return cel.Function("map_get", decls.DisableTypeGuards(true), cel.Overload("map_get_map_key_default",
		[]*cel.Type{cel.MapType(key, value), key, value}, value,
		cel.FunctionBinding(func(args ...ref.Val) ref.Val {
			m, ok := args[0].(traits.Mapper)
			if !ok {
				return types.MaybeNoSuchOverloadErr(args[0])
			}
			if v, found := m.Find(args[1]); found {
				return v
			}
			return args[2]
		})))
}

// Program plans a checked tree for evaluation with an [Activation].
func Program(env *cel.Env, checked *cel.Ast) (cel.Program, error) {
	return env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CustomDecoratorV2(shortcuts))
}
