package assertions

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"go.yaml.in/yaml/v3"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/internal/config"
)

// maxFile bounds a check file.
const maxFile = 4 << 20

// Load reads and compiles check files. Mistakes come as [config.Errors], all of them, each with file, line, column, the
// line with a caret, and what to write instead.
func Load(files []string) (*Suite, error) {
	s := &Suite{mutes: map[string]string{}}
	var errs config.Errors
	for _, path := range files {
		data, err := readBounded(path)
		if err != nil {
			return nil, fmt.Errorf("read checks: %w", err)
		}
		errs = append(errs, s.add(filepath.ToSlash(path), data)...)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return s, nil
}

// Parse compiles the text of one check file; file is the name that mistakes are told with.
func Parse(file string, data []byte) (*Suite, error) {
	s := &Suite{mutes: map[string]string{}}
	if errs := s.add(file, data); len(errs) > 0 {
		return nil, errs
	}
	return s, nil
}

// Text is a check file that is in memory.
type Text struct {
	File string // the name that mistakes and results are told with
	Data []byte
}

// ParseAll is [Parse] for several files, which make one suite.
func ParseAll(texts []Text) (*Suite, error) {
	s := &Suite{mutes: map[string]string{}}
	var errs config.Errors
	for _, t := range texts {
		errs = append(errs, s.add(t.File, t.Data)...)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return s, nil
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s is larger than %d MiB", path, maxFile>>20)
	}
	return os.ReadFile(path)
}

// loader reads one file.
type loader struct {
	file  string
	lines []string
	errs  config.Errors
	// parser remembers what was compiled before, nil for none.
	parser *Parser
}

// add reads one file into the suite.
func (s *Suite) add(file string, data []byte) config.Errors {
	if len(data) > maxFile {
		return config.Errors{{File: file, Msg: fmt.Sprintf("the file is larger than %d MiB", maxFile>>20)}}
	}
	l := &loader{file: file, lines: strings.Split(string(data), "\n"), parser: s.parser}
	if !utf8.Valid(data) {
		l.fail(l.firstInvalid(), 1, "the file is not UTF-8", "save it as UTF-8")
		return l.errs
	}
	var doc yaml.Node
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	if err := decoder.Decode(&doc); err != nil {
		l.syntax(err)
		return l.errs
	}
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil {
		l.fail(second.Line, 1, "a check file is one YAML document, and here begins a second", "put its checks into a file of their own")
		return l.errs
	}
	if len(doc.Content) == 0 {
		l.fail(1, 1, "the file has no checks", "begin with checks:")
		return l.errs
	}
	l.document(s, doc.Content[0])
	slices.SortStableFunc(l.errs, func(a, b *config.Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return l.errs
}

func (l *loader) firstInvalid() int {
	for i, line := range l.lines {
		if !utf8.ValidString(line) {
			return i + 1
		}
	}
	return 1
}

func (l *loader) fail(line, column int, msg, hint string) {
	e := &config.Error{File: l.file, Line: line, Column: column, Msg: msg, Hint: hint}
	if line >= 1 && line <= len(l.lines) {
		e.Source = strings.TrimSuffix(l.lines[line-1], "\r")
	}
	l.errs = append(l.errs, e)
}

func (l *loader) at(n *yaml.Node, hint, format string, args ...any) {
	l.fail(n.Line, l.column(n), fmt.Sprintf(format, args...), hint)
}

// column is a node's column in characters; yaml counts them so already, but for nothing at all it says 0.
func (l *loader) column(n *yaml.Node) int { return max(1, n.Column) }

var yamlLine = regexp.MustCompile(`line (\d+): `)

// syntax reports what the YAML parser could not read. It names a line, not always the one at fault, and no column.
func (l *loader) syntax(err error) {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = strings.Replace(msg, m[0], "", 1)
	}
	if errors.Is(err, errEmpty) || msg == "EOF" {
		l.fail(1, 1, "the file is empty", "begin with checks:")
		return
	}
	hint := ""
	if at := l.expressionNear(line); at > 0 {
		line = at
		hint = "YAML reads quotes, brackets, colons and # in a plain value itself: write the expression below `expect: |`, indented"
	}
	column := 1
	if line <= len(l.lines) && line >= 1 {
		column = len(l.lines[line-1]) - len(strings.TrimLeft(l.lines[line-1], " \t")) + 1
	}
	l.fail(line, column, "this is not YAML: "+msg, hint)
}

var errEmpty = errors.New("EOF")

// What YAML refuses in a plain value of a check: text after a closing quote or bracket, a value that begins with a character
// that YAML keeps for itself, and a colon with a space.
var refused = regexp.MustCompile("^\\s*(?:- )?\\s*(?:on|expect|by):\\s+(?:\"[^\"]*\"\\s*[^\\s#]|'[^']*'\\s*[^\\s#]|\\[[^\\]]*\\]\\s*[^\\s#]|\\{[^}]*\\}\\s*[^\\s#]|[%@`&*]|[^|>\"'\\s#].*: )")

// expressionNear is the line of the expression that YAML most probably stumbled over, or 0: its parser often names the
// beginning of the list and not the line.
func (l *loader) expressionNear(line int) int {
	best := 0
	for i := range l.lines {
		if refused.MatchString(l.lines[i]) && (best == 0 || i+1 <= line+1) {
			best = i + 1
		}
	}
	return best
}

// document reads the top of the file.
func (l *loader) document(s *Suite, n *yaml.Node) {
	var f File
	nodes := l.mapping(n, reflect.TypeFor[File](), "a check file")
	if nodes == nil {
		return
	}
	l.scalars(nodes, reflect.ValueOf(&f).Elem())
	if mutes := nodes["builtin"]; mutes != nil {
		l.mutes(s, resolve(mutes))
	}
	checks := nodes["checks"]
	if checks == nil {
		if nodes["builtin"] == nil && len(l.errs) == 0 {
			l.at(n, "add checks: with at least one - name, on, expect", "the file has no checks")
		}
		return
	}
	if checks = resolve(checks); checks.Kind != yaml.SequenceNode {
		l.at(checks, "begin every check with `- name:`", "checks is a list")
		return
	}
	taken := map[string]int{}
	for _, item := range checks.Content {
		if c := l.check(resolve(item), taken); c != nil {
			c.exercise = f.Exercise
			s.checks = append(s.checks, c)
		}
	}
}

// mutes reads builtin: {rule: reason}.
func (l *loader) mutes(s *Suite, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		l.at(n, `for example builtin: {keepalive-lost: "the proxy closes every connection"}`, "builtin maps rules to why they are muted")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolve(n.Content[i+1])
		name := "builtin/" + strings.TrimPrefix(key.Value, "builtin/")
		if !slices.ContainsFunc(builtins(), func(b builtin) bool { return b.name == name }) {
			var known []string
			for _, b := range builtins() {
				known = append(known, strings.TrimPrefix(b.name, "builtin/"))
			}
			l.at(key, didYouMean(strings.TrimPrefix(key.Value, "builtin/"), known), "no built-in check is called %s", key.Value)
			continue
		}
		if value.Kind != yaml.ScalarNode || strings.TrimSpace(value.Value) == "" {
			l.at(value, "say why, in words", "a muted check needs a reason")
			continue
		}
		s.mutes[name] = value.Value
	}
}

// check reads and compiles one check.
func (l *loader) check(n *yaml.Node, taken map[string]int) *check {
	before := len(l.errs)
	nodes := l.mapping(n, reflect.TypeFor[Check](), "a check")
	if nodes == nil {
		return nil
	}
	c := &check{file: l.file, line: n.Line}
	c.spec.Severity, c.spec.Confidence = SeverityError, DefaultConfidence
	c.spec.OnInconclusive, c.spec.OnNoData = OnFail, OnFail
	l.scalars(nodes, reflect.ValueOf(&c.spec).Elem())
	l.required(n, nodes, &c.spec)
	if name := nodes["name"]; name != nil && c.spec.Name != "" {
		if first, ok := taken[c.spec.Name]; ok {
			l.at(name, "give each check a name of its own", "line %d has a check of this name already", first)
		}
		taken[c.spec.Name] = name.Line
		if strings.HasPrefix(c.spec.Name, "builtin/") {
			l.at(name, "choose another name", "names that begin with builtin/ belong to the built-in checks")
		}
	}
	l.compile(c, nodes)
	l.rerun(c, nodes)
	l.quarantine(c, nodes)
	if len(l.errs) > before {
		return nil
	}
	return c
}

func (l *loader) required(n *yaml.Node, nodes map[string]*yaml.Node, spec *Check) {
	for _, r := range []struct{ key, value, example string }{
		{"name", spec.Name, "name: checkout never answers 5xx"},
		{"on", spec.On, `on: http && dst.service.name == "frontend"`},
		{"expect", spec.Expect, "expect: none(status_code >= 500)"},
	} {
		switch {
		case nodes[r.key] == nil:
			l.at(n, "for example "+r.example, "the check has no %s", r.key)
		case strings.TrimSpace(r.value) == "" && resolve(nodes[r.key]).Kind == yaml.ScalarNode && !l.tagged(resolve(nodes[r.key])):
			l.at(nodes[r.key], "for example "+r.example, "%s is empty", r.key)
		}
	}
	if spec.Confidence <= 0.5 || spec.Confidence >= 1 {
		l.at(nodes["confidence"], "0.95 is the default", "confidence is a number between 0.5 and 1")
	}
	for _, r := range []struct{ key, value, a, b string }{
		{"severity", spec.Severity, SeverityError, SeverityWarning},
		{"on_nodata", spec.OnNoData, OnFail, OnWarn},
	} {
		if nodes[r.key] != nil && r.value != r.a && r.value != r.b {
			l.at(resolve(nodes[r.key]), didYouMean(r.value, []string{r.a, r.b}), "%s is %s or %s", r.key, r.a, r.b)
		}
	}
	for _, key := range []string{"skip", "muted"} {
		if node := nodes[key]; node != nil && strings.TrimSpace(resolve(node).Value) == "" {
			l.at(node, "say why, in words", "%s needs a reason", key)
		}
	}
}

// compile compiles the expressions of a check.
func (l *loader) compile(c *check, nodes map[string]*yaml.Node) {
	e := expressions{by: c.spec.By, keyed: nodes["by"] != nil}
	if nodes["on"] != nil && strings.TrimSpace(c.spec.On) != "" {
		e.on = c.spec.On
	}
	if nodes["expect"] != nil && strings.TrimSpace(c.spec.Expect) != "" {
		e.expect = c.spec.Expect
	}
	k := l.parser.compile(e)
	for _, mistake := range []struct {
		key, source string
		err         error
	}{{"on", c.spec.On, k.noOn}, {"expect", c.spec.Expect, k.noExpect}, {"by", c.spec.By, k.noBy}, {"expect", c.spec.Expect, k.clash}} {
		if mistake.err != nil {
			l.expression(resolve(nodes[mistake.key]), mistake.source, mistake.err)
		}
	}
	c.on, c.expect, c.by, c.kind, c.unit, c.back, c.scope = k.on, k.expect, k.by, k.kind, k.unit, k.back, k.scope
}

// complete derives what follows from the compiled expressions.
func (c *check) complete() {
	c.kind = kindOf(c.on, c.expect)
	c.unit = c.kind.String()
	c.back = slices.ContainsFunc(c.on.Fields(), func(f filter.Field) bool { return f.Name == "background" })
	c.scope = scopeOf(c.on, c.expect, c.kind)
}

// mismatch finds a field of calls in an expectation over connections: no row has it, and the check could never say anything.
func (c *check) mismatch() error {
	if c.kind != filter.Connections {
		return nil
	}
	for _, name := range c.expect.fields {
		f, ok := filter.Lookup(name)
		if !ok || f.Rows != filter.Calls {
			continue
		}
		t, err := filter.Translate(c.spec.Expect)
		if err != nil {
			return err
		}
		at := max(0, strings.Index(t.Text, name))
		return t.ErrorAt(utf8.RuneCountInString(t.Text[:at]), fmt.Sprintf("%s is a field of calls, and on selects connections", name),
			"select calls: on: http && …")
	}
	return nil
}

// compileKey compiles by: any plain value of a row.
func compileKey(source string) (*rowExpression, error) {
	t, err := filter.Translate(source)
	if err != nil {
		return nil, err
	}
	env, err := filter.RowEnv()
	if err != nil {
		return nil, fmt.Errorf("build the filter environment: %w", err)
	}
	if strings.TrimSpace(t.Text) == "" {
		return nil, t.ErrorAt(0, "by is empty", "for example by: path")
	}
	checked, err := t.Check(env)
	if err != nil {
		return nil, err
	}
	switch out := checked.OutputType(); out {
	case cel.StringType, cel.IntType, cel.BoolType, cel.DoubleType, cel.DurationType:
	default:
		return nil, t.ErrorAt(0, "by takes a plain value of each row, and this is "+typeName(out), "for example by: path")
	}
	program, err := filter.Program(env, checked)
	if err != nil {
		return nil, t.ErrorAt(0, strings.TrimSpace(err.Error()), "")
	}
	return &rowExpression{text: source, typ: checked.OutputType(), program: program}, nil
}

// expression reports a mistake in an expression at its place in the file.
func (l *loader) expression(n *yaml.Node, text string, err error) {
	var e *filter.Error
	if !errors.As(err, &e) {
		l.at(n, "", "%v", err)
		return
	}
	line, column := l.locate(n, text, e.Offset)
	hint := e.Hint
	if n.Style == 0 && l.isCut(n) {
		hint = "YAML cuts a plain value at \" #\": quote this or write it below `|`, indented"
	}
	l.fail(line, column, e.Msg, hint)
}

// isCut reports whether YAML took the rest of a plain value's line for a comment.
func (l *loader) isCut(n *yaml.Node) bool {
	return n.LineComment != "" || n.Line <= len(l.lines) && strings.Contains(l.lines[n.Line-1], " #")
}

// locate is the place in the file of a byte of a scalar's value. It walks both texts side by side, which holds for every
// style: what YAML adds or folds (indentation, quotes, escapes) is skipped.
func (l *loader) locate(n *yaml.Node, value string, offset int) (line, column int) {
	line, column = n.Line, l.column(n)
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		line, column = n.Line+1, 1
	}
	runes := []rune(value[:min(max(offset, 0), len(value))])
	at := []rune(value[len(string(runes)):])
	if len(at) > 0 {
		runes = append(runes, at[0])
	}
	source := func() []rune {
		if line > len(l.lines) {
			return nil
		}
		return []rune(strings.TrimSuffix(l.lines[line-1], "\r"))
	}
	text := source()
	for i, r := range runes {
		if r == '\n' || r == ' ' {
			if column <= len(text) && text[column-1] == ' ' && r == ' ' {
				column++
			}
			continue
		}
		for column > len(text) || text[column-1] != r {
			if column++; column > len(text) {
				line, column = line+1, 1
				if text = source(); text == nil {
					return n.Line, l.column(n)
				}
			}
		}
		if i < len(runes)-1 || len(at) == 0 {
			column++
		}
	}
	return line, column
}

// mapping reads a mapping's keys and refuses what the Go type does not have.
func (l *loader) mapping(n *yaml.Node, t reflect.Type, what string) map[string]*yaml.Node {
	if n = resolve(n); n.Kind != yaml.MappingNode {
		l.at(n, "write key: value lines", "%s is a mapping", what)
		return nil
	}
	known := keysOf(t)
	nodes := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case !slices.Contains(known, key.Value):
			l.at(key, didYouMean(key.Value, known), "%s has no key %s", what, clean(key.Value, 40))
		case nodes[key.Value] != nil:
			l.at(key, "keep one of the two", "%s stands here a second time", key.Value)
		default:
			nodes[key.Value] = n.Content[i+1]
		}
	}
	return nodes
}

func didYouMean(name string, known []string) string {
	if near := config.Suggest(name, known); near != "" {
		return "did you mean " + near + "?"
	}
	return "one of " + strings.Join(known, ", ")
}

// keysOf are the YAML keys of a struct.
func keysOf(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		keys = append(keys, name)
	}
	return keys
}

// scalars sets the plain fields of a struct.
func (l *loader) scalars(nodes map[string]*yaml.Node, v reflect.Value) {
	for i := range v.NumField() {
		key, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		n := nodes[key]
		if n == nil || v.Field(i).Kind() == reflect.Slice || v.Field(i).Kind() == reflect.Map || v.Field(i).Kind() == reflect.Pointer {
			continue
		}
		l.scalar(resolve(n), key, v.Field(i))
	}
}

func (l *loader) scalar(n *yaml.Node, key string, v reflect.Value) {
	if l.tagged(n) {
		l.at(n, "quote this or write it below `|`, indented", "YAML reads the leading ! as a tag")
		return
	}
	if n.Kind != yaml.ScalarNode {
		hint := "write it as text"
		if n.Style&yaml.FlowStyle != 0 {
			hint = "YAML reads a leading [ or { itself: quote this or write it below `|`, indented"
		}
		l.at(n, hint, "%s is a single value", key)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.Value)
	case reflect.Bool:
		var b bool
		if err := n.Decode(&b); err != nil {
			l.at(n, "write true or false", "%s is true or false, and not %s", key, clean(n.Value, 40))
			return
		}
		v.SetBool(b)
	case reflect.Float64:
		var f float64
		if err := n.Decode(&f); err != nil {
			l.at(n, "write a number, such as 0.95", "%s is a number, and not %s", key, clean(n.Value, 40))
			return
		}
		v.SetFloat(f)
	}
}

// tagged reports whether YAML took a leading ! for a tag.
func (l *loader) tagged(n *yaml.Node) bool {
	return strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!")
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	for range 8 {
		if n.Kind != yaml.AliasNode {
			return n
		}
		n = n.Alias
	}
	return n
}
