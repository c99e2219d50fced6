package filter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Bounds of JSON paths and of what they find.
const (
	maxPathLength = 512
	maxSteps      = 32
	maxFound      = 1000
)

// step is one step of a JSON path: a member by name, an element by number, or each of either.
type step struct {
	name  string
	index int // -1: by name
	each  bool
}

// parsePath reads the part of JSONPath (RFC 9535) that names places: $.cart.items[0].sku, $["odd name"], $.items[*].sku. The
// dollar sign may be left out.
func parsePath(path string) ([]step, error) {
	if len(path) > maxPathLength {
		return nil, fmt.Errorf("the JSON path is %d bytes long, and %d are the limit", len(path), maxPathLength)
	}
	rest := path
	if after, ok := strings.CutPrefix(rest, "$"); ok {
		rest = after
	} else if rest != "" && rest[0] != '[' {
		rest = "." + rest
	}
	var steps []step
	for rest != "" {
		var s step
		var err error
		if s, rest, err = parseStep(rest); err != nil {
			return nil, fmt.Errorf("JSON path %q: %w", path, err)
		}
		if steps = append(steps, s); len(steps) > maxSteps {
			return nil, fmt.Errorf("JSON path %q: %d steps are the limit", path, maxSteps)
		}
	}
	return steps, nil
}

func parseStep(rest string) (step, string, error) {
	switch rest[0] {
	case '.':
		end := strings.IndexAny(rest[1:], ".[")
		if end < 0 {
			end = len(rest) - 1
		}
		name, after := rest[1:end+1], rest[end+1:]
		if name == "*" {
			return step{each: true, index: -1}, after, nil
		}
		if name == "" || strings.ContainsAny(name, "]*?()'\" ") {
			return step{}, "", fmt.Errorf("a name must stand after the dot in %q; write [\"…\"] around unusual ones", rest)
		}
		return step{name: name, index: -1}, after, nil
	case '[':
		return parseBracket(rest)
	}
	return step{}, "", fmt.Errorf("%q begins with neither a dot nor a bracket", rest)
}

// parseBracket reads ["name"], [3] and [*].
func parseBracket(rest string) (step, string, error) {
	if len(rest) > 1 && (rest[1] == '"' || rest[1] == '\'') {
		name, after, ok := strings.Cut(rest[2:], rest[1:2]+"]")
		if !ok {
			return step{}, "", fmt.Errorf("%q is never closed", rest)
		}
		return step{name: name, index: -1}, after, nil
	}
	inside, after, ok := strings.Cut(rest[1:], "]")
	if !ok {
		return step{}, "", fmt.Errorf("%q is never closed", rest)
	}
	if inside == "*" {
		return step{each: true, index: -1}, after, nil
	}
	n, err := strconv.Atoi(inside)
	if err != nil || n < 0 {
		return step{}, "", fmt.Errorf("[%s] is neither a number from 0 nor a name in quotation marks", inside)
	}
	return step{index: n}, after, nil
}

// errEnough ends a search that found what was wanted.
var errEnough = errors.New("enough")

// search calls found with each value that the path leads to, in the order of the text, until it says false. A text may hold
// several documents, as gRPC messages do, one a line; the path begins anew in each. A text that is cut or is not JSON yields what
// stands before the mistake.
func search(text string, steps []step, found func(json.RawMessage) bool) {
	s := &searcher{dec: json.NewDecoder(strings.NewReader(text)), found: found}
	for s.dec.More() {
		if err := s.value(steps); err != nil {
			return
		}
	}
}

type searcher struct {
	dec   *json.Decoder
	found func(json.RawMessage) bool
}

// value looks into the next value.
func (s *searcher) value(steps []step) error {
	if len(steps) == 0 {
		var raw json.RawMessage
		if err := s.dec.Decode(&raw); err != nil {
			return err
		}
		if !s.found(raw) {
			return errEnough
		}
		return nil
	}
	token, err := s.dec.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		return s.object(steps)
	case json.Delim('['):
		return s.array(steps)
	}
	return nil
}

func (s *searcher) object(steps []step) error {
	first := steps[0]
	for s.dec.More() {
		key, err := s.dec.Token()
		if err != nil {
			return err
		}
		if err := s.member(first.each || first.index < 0 && key == first.name, steps[1:]); err != nil {
			return err
		}
	}
	_, err := s.dec.Token()
	return err
}

func (s *searcher) array(steps []step) error {
	first := steps[0]
	for i := 0; s.dec.More(); i++ {
		if err := s.member(first.each || first.index == i, steps[1:]); err != nil {
			return err
		}
	}
	_, err := s.dec.Token()
	return err
}

// member looks into a value where the path goes there, and steps over it where it does not.
func (s *searcher) member(wanted bool, steps []step) error {
	if wanted {
		return s.value(steps)
	}
	var skipped json.RawMessage
	return s.dec.Decode(&skipped)
}

// scalar is a JSON value as text: strings without quotation marks, null as nothing, all else in JSON's own spelling without blanks.
func scalar(raw json.RawMessage) string {
	switch {
	case len(raw) > 0 && raw[0] == '"':
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return s
		}
	case string(raw) == "null":
		return ""
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

// The functions on JSON text. What the path does not lead to reads as "", 0, false and an empty list, as everywhere.

func jsonText(text string, steps []step) ref.Val {
	v := types.String("")
	search(text, steps, func(raw json.RawMessage) bool { v = types.String(scalar(raw)); return false })
	return v
}

func jsonNumber(text string, steps []step) ref.Val {
	v := types.Double(0)
	search(text, steps, func(raw json.RawMessage) bool {
		n, err := strconv.ParseFloat(scalar(raw), 64)
		if err == nil && n == n {
			v = types.Double(n)
		}
		return false
	})
	return v
}

func jsonHas(text string, steps []step) ref.Val {
	v := types.False
	search(text, steps, func(json.RawMessage) bool { v = types.True; return false })
	return v
}

func jsonAll(text string, steps []step) ref.Val {
	var all []string
	search(text, steps, func(raw json.RawMessage) bool { all = append(all, scalar(raw)); return len(all) < maxFound })
	if all == nil {
		return emptyList
	}
	return types.DefaultTypeAdapter.NativeToValue(all)
}

// jsonFunctions declares text.json(path) and its kin.
func jsonFunctions() []cel.EnvOption {
	declare := func(name string, result *cel.Type, get func(string, []step) ref.Val) cel.EnvOption {
		return cel.Function(name, cel.MemberOverload("string_"+name+"_string", []*cel.Type{cel.StringType, cel.StringType}, result,
			cel.BinaryBinding(func(text, path ref.Val) ref.Val {
				s, ok := text.(types.String)
				p, isText := path.(types.String)
				if !ok || !isText {
					return types.MaybeNoSuchOverloadErr(text)
				}
				steps, err := parsePath(string(p))
				if err != nil {
					return types.NewErrFromString(err.Error())
				}
				return get(string(s), steps)
			})))
	}
	return []cel.EnvOption{declare("json", cel.StringType, jsonText), declare("json_number", cel.DoubleType, jsonNumber),
		declare("json_has", cel.BoolType, jsonHas), declare("json_all", stringList, jsonAll), cel.ASTValidators(pathValidator{})}
}

// pathValidator finds mistakes in literal JSON paths at compile time.
type pathValidator struct{}

// Name implements [cel.ASTValidator].
func (pathValidator) Name() string { return "devloop.json_path" }

// Validate implements [cel.ASTValidator].
func (pathValidator) Validate(_ *cel.Env, _ cel.ValidatorConfig, tree *ast.AST, issues *cel.Issues) {
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || !strings.HasPrefix(e.AsCall().FunctionName(), "json") || len(e.AsCall().Args()) != 1 {
			return
		}
		arg := e.AsCall().Args()[0]
		if arg.Kind() != ast.LiteralKind {
			return
		}
		if path, ok := arg.AsLiteral().(types.String); ok {
			if _, err := parsePath(string(path)); err != nil {
				issues.ReportErrorAtID(arg.ID(), "%s", err.Error())
			}
		}
	}))
}
