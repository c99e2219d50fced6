package filter

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser/gen"
)

const (
	identifier = gen.CELLexerIDENTIFIER
	dot        = gen.CELLexerDOT
	leftParen  = gen.CELLexerLPAREN
)

// Explain turns what CEL reports about [Translation.Text] into an [*Error] in the source: the first mistake, in words, with
// the nearest name where one is unknown. Further names are those that the environment knows beside the field table.
func (t *Translation) Explain(issues *cel.Issues, further ...string) error {
	all := issues.Errors()
	if len(all) == 0 {
		return t.place(fmt.Errorf("%s", strings.TrimSpace(issues.String())))
	}
	first := all[0]
	offset := offsetOf(t.Text, first.Location.Line(), first.Location.Column())
	msg := strings.TrimSpace(first.Message)
	at := t.at(offset)
	if m := undeclared.FindStringSubmatch(msg); m != nil {
		return t.unknownName(m[1], offset, further)
	}
	if strings.Contains(msg, "does not support field selection") {
		return t.unknownName("", offset, further)
	}
	if m := overload.FindStringSubmatch(msg); m != nil {
		msg, hint := noOverload(m[1], m[2])
		return newError(t.Source, t.base, at, msg, hint)
	}
	if strings.HasPrefix(msg, "Syntax error:") {
		msg = strings.TrimSpace(strings.TrimPrefix(msg, "Syntax error:"))
		if strings.Contains(msg, "input '<EOF>'") {
			return newError(t.Source, t.base, len([]rune(strings.TrimRightFunc(t.Source, unicode.IsSpace))), "something is missing at the end", "")
		}
		return newError(t.Source, t.base, at, t.syntax(msg, offset), "")
	}
	if what, ok := literals[msg]; ok {
		return newError(t.Source, t.base, at, what[0], what[1])
	}
	if m := wanted.FindStringSubmatch(msg); m != nil {
		msg = fmt.Sprintf("%s must stand here, and this is %s", article(m[1]), article(m[2]))
		hint := ""
		if m[1] == "bool" {
			hint = "compare it with something"
		}
		return newError(t.Source, t.base, at, msg, hint)
	}
	return newError(t.Source, t.base, at, msg, "")
}

// literals are the mistakes in literal arguments, with what to write instead.
var literals = map[string][2]string{
	"invalid matches argument":   {"this is not a regular expression", `RE2 syntax, as in Go: r"^/api/v[0-9]+"; to look for plain text use contains`},
	"invalid duration argument":  {"this is not a duration", `write "100ms", "1.5s", "5m" or "1h"`},
	"invalid timestamp argument": {"this is not a time", `write "2026-01-02T15:04:05Z"`},
}

// syntax says which word the parser stumbled over.
func (t *Translation) syntax(msg string, offset int) string {
	tokens, _ := lex(t.Text)
	for i, tok := range tokens {
		if tok.start == offset && i > 0 {
			return fmt.Sprintf("%s cannot follow %s", tok.text, tokens[i-1].text)
		}
		if tok.start == offset {
			return fmt.Sprintf("%s cannot stand here", tok.text)
		}
	}
	msg, _, _ = strings.Cut(msg, " expecting")
	return "the expression does not parse: " + msg
}

var (
	wanted     = regexp.MustCompile(`^expected type '([^']*)' but found '([^']*)'`)
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	overload   = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '([^']*)'`)
)

// offsetOf is the code point at a line (from 1) and column (from 0) of a text.
func offsetOf(text string, line, column int) int {
	runes := []rune(text)
	at := 0
	for ; line > 1 && at < len(runes); at++ {
		if runes[at] == '\n' {
			line--
		}
	}
	return min(at+max(column, 0), len(runes))
}

// unknownName reports a name that is no field, as a whole: CEL points into the middle of dotted names.
func (t *Translation) unknownName(reported string, offset int, further []string) error {
	tokens, err := lex(t.Text)
	if err != nil {
		return t.place(err)
	}
	name, start, call := dotted(tokens, offset)
	if name == "" && reported == "" {
		return newError(t.Source, t.base, t.at(offset), "this has no fields", "")
	}
	if name == "" || !strings.Contains(name, strings.TrimPrefix(reported, ".")) && !strings.HasPrefix(reported, name) {
		name, start = reported, offset
	}
	if call || slices.Contains(functions, reported) {
		last := name[strings.LastIndexByte(name, '.')+1:]
		hint := ""
		if near := nearest(last, functions); near != "" {
			hint = fmt.Sprintf("did you mean %s(…)?", near)
		}
		if !strings.HasSuffix(reported, name) { // a method: point at its own name
			start += len([]rune(name)) - len([]rune(last))
		}
		return newError(t.Source, t.base, t.at(start), fmt.Sprintf("%s is not a function of the filter language", last), hint)
	}
	hint := ""
	if near := Nearest(name, further...); near != "" {
		hint = "did you mean " + near + "?"
		if f := table().byName[near]; f != nil {
			hint = fmt.Sprintf("did you mean %s (%s)? %s", near, typeName(f.Type), f.Doc)
		}
	}
	return newError(t.Source, t.base, t.at(start), fmt.Sprintf("%s is not a field", name), hint)
}

// dotted returns the dotted name that covers an offset, where it starts, and whether the name reported there is a function's.
func dotted(tokens []token, offset int) (name string, start int, call bool) {
	w := &rewriter{tokens: tokens}
	for i := 0; i < len(tokens); i++ {
		if w.kind(i) != identifier || w.kind(i-1) == dot {
			continue
		}
		end := i + 1
		for end+1 < len(tokens) && w.kind(end) == dot && w.kind(end+1) == identifier {
			end += 2
		}
		isCall := w.kind(end) == leftParen
		stop := tokens[end-1].end
		if isCall {
			stop = tokens[end].end // CEL points at the parenthesis of a call
		}
		if offset < tokens[i].start || offset >= stop {
			continue
		}
		if isCall && offset < tokens[end-1].start && end-2 > i { // the target of a call
			end, isCall = end-2, false
		}
		return w.text(i, end), tokens[i].start, isCall
	}
	return "", 0, false
}

// functions are the functions and macros that a filter can call.
var functions = []string{"all", "bool", "bytes", "contains", "double", "duration", "endsWith", "exists", "exists_one", "filter", "getDate", "getDayOfWeek",
	"getFullYear", "getHours", "getMilliseconds", "getMinutes", "getMonth", "getSeconds", "has", "int", "json", "json_all", "json_has", "json_number", "map", "map_get", "matches", "mentions", "now", "size",
	"startsWith", "string", "timestamp", "type", "uint"}

// Nearest returns the field, or one of the further names, whose spelling is nearest to a name; empty when none is near.
func Nearest(name string, further ...string) string {
	names := slices.Clone(further)
	for _, f := range table().fields {
		names = append(names, f.Name)
	}
	if near := nearest(name, names); near != "" {
		return near
	}
	var aliases []string
	for alias := range table().byAlias {
		aliases = append(aliases, alias)
	}
	slices.Sort(aliases)
	if near := nearest(name, aliases); near != "" {
		return table().byAlias[near].Name
	}
	for rest := name; ; { // http.status: perhaps a prefix too many
		_, after, found := strings.Cut(rest, ".")
		if !found {
			return ""
		}
		if f, ok := Lookup(after); ok {
			return f.Name
		}
		rest = after
	}
}

// nearest allows one edit in short names and up to a third of the letters in longer ones, and ignores case and separators first.
func nearest(name string, names []string) string {
	best, distance := "", 1+max(1, len(name)/3)
	for _, candidate := range names {
		if folded(candidate) == folded(name) && candidate != name {
			return candidate
		}
		if d := levenshtein(name, candidate, distance); d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

var separators = strings.NewReplacer(".", "", "_", "", "-", "")

func folded(name string) string { return strings.ToLower(separators.Replace(name)) }

// levenshtein is the number of edits between two names, or limit where it is that or more.
func levenshtein(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit || len(a) > 200 {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return min(row[len(b)], limit)
}

var operatorText = map[string]string{"_==_": "==", "_!=_": "!=", "_<_": "<", "_<=_": "<=", "_>_": ">", "_>=_": ">=", "_&&_": "&&", "_||_": "||", "!_": "!",
	"@in": "in", "_+_": "+", "_-_": "-", "_*_": "*", "_/_": "/", "_%_": "%", "_[_]": "[…]", "-_": "-", "_?_:_": "?:"}

// noOverload says in words what cannot be done with which types.
func noOverload(function, applied string) (msg, hint string) {
	args := strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(applied, "("), ")"), "google.protobuf.", "")
	args = strings.ToLower(args)
	op, ok := operatorText[function]
	if !ok {
		return fmt.Sprintf("%s() does not take (%s)", function, args), ""
	}
	left, right, two := cutArgument(args)
	switch {
	case !two:
		return fmt.Sprintf("%s does not take %s", op, article(left)), ""
	case op == "&&" || op == "||":
		return fmt.Sprintf("%s joins conditions, not %s and %s", op, article(left), article(right)), "each side must be true or false: compare it with something"
	case op == "in":
		return fmt.Sprintf("%s cannot be in %s", article(left), article(right)), ""
	}
	switch left + " " + right {
	case "int string":
		hint = "write the number without quotes"
	case "double int":
		hint = "write the number with a decimal point to compare for equality: 120.0"
	case "string int":
		hint = "this field is text: put quotes around the number"
	case "duration int", "duration double", "duration string":
		hint = `write a duration as duration("100ms"), or use latency_ms for plain numbers`
	case "timestamp string", "timestamp int":
		hint = `write a time as timestamp("2026-01-02T15:04:05Z"), or now() - duration("5m")`
	case "bool string", "bool int":
		hint = "this field is true or false: write it alone, or with ! before it"
	}
	if strings.HasPrefix(left, "list") && (op == "==" || op == "!=") {
		hint = "a list: write value in list"
	}
	return fmt.Sprintf("%s does not go with %s and %s", op, article(left), article(right)), hint
}

// cutArgument cuts after the first type, whose own brackets may hold commas.
func cutArgument(args string) (left, right string, two bool) {
	depth := 0
	for i, r := range args {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == ',' && depth == 0:
			return args[:i], strings.TrimSpace(args[i+1:]), true
		}
	}
	return args, "", false
}

// typeName is how people call a type.
func typeName(t *cel.Type) string {
	switch t.Kind() {
	case types.DurationKind:
		return "duration"
	case types.TimestampKind:
		return "timestamp"
	case types.ListKind:
		return "list(" + typeName(t.Parameters()[0]) + ")"
	case types.MapKind:
		return "map(" + typeName(t.Parameters()[0]) + ", " + typeName(t.Parameters()[1]) + ")"
	}
	return t.String()
}

// article puts a or an before a word.
func article(word string) string {
	if word != "" && strings.ContainsRune("aeiou", rune(word[0])) {
		return "an " + word
	}
	return "a " + word
}
