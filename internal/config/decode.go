package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds what the aliases of a file may expand to.
const maxNodes = 100_000

// document is a file with the place of every value in it, by path: "services.payment.ports.http".
type document struct {
	file  string
	lines []string
	keys  map[string]*yaml.Node // the key of a mapping's entry
	nodes map[string]*yaml.Node // the value
	errs  Errors
	left  int // of maxNodes
}

// parseDocument decodes YAML strictly into a struct. All mistakes are collected in errs.
func parseDocument(file string, data []byte, into any) *document {
	d := &document{file: file, lines: strings.Split(string(data), "\n"), keys: map[string]*yaml.Node{}, nodes: map[string]*yaml.Node{}, left: maxNodes}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		d.errs = append(d.errs, d.syntax(err))
		return d
	}
	if root.Kind == 0 {
		return d // an empty file: what is missing is said later
	}
	d.decode(root.Content[0], reflect.ValueOf(into).Elem(), "")
	return d
}

var (
	syntaxError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	parserError = regexp.MustCompile(`^did not find expected (key|'-'|',' or|node content|<)`)
)

// syntax gives the parser's error a place.
func (d *document) syntax(err error) *Error {
	e := &Error{File: d.file, Msg: "this is not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	m := syntaxError.FindStringSubmatch(err.Error())
	if m == nil {
		return e
	}
	e.Msg = "this is not YAML: " + m[2]
	e.Line, _ = strconv.Atoi(m[1])
	if e.Line > 0 && parserError.MatchString(m[2]) {
		e.Line++ // yaml counts from 0 in errors of its parser, from 1 in those of its scanner
	}
	e.Line = min(e.Line, len(d.lines))
	if e.Line > 0 {
		e.Source = d.lines[e.Line-1]
		e.Column = len(e.Source) - len(strings.TrimLeft(e.Source, " \t")) + 1
		if strings.HasPrefix(strings.TrimLeft(e.Source, " "), "\t") {
			e.Hint = "indent with spaces: YAML allows no tabs there"
		}
	}
	return e
}

func (d *document) add(n *yaml.Node, hint, format string, args ...any) {
	e := &Error{File: d.file, Msg: fmt.Sprintf(format, args...), Hint: hint}
	if n != nil {
		e.Line, e.Column = n.Line, n.Column
		if n.Line > 0 && n.Line <= len(d.lines) {
			e.Source = strings.TrimSuffix(d.lines[n.Line-1], "\r")
		}
	}
	d.errs = append(d.errs, e)
}

// at adds a mistake at the value of a path, or at the nearest thing that is in the file.
func (d *document) at(path, hint, format string, args ...any) {
	d.add(d.node(path, d.nodes), hint, format, args...)
}

// atKey adds a mistake at the key of a path.
func (d *document) atKey(path, hint, format string, args ...any) {
	d.add(d.node(path, d.keys), hint, format, args...)
}

func (d *document) node(path string, from map[string]*yaml.Node) *yaml.Node {
	for ; path != ""; path = parent(path) {
		if n := from[path]; n != nil {
			return n
		}
		if n := d.nodes[path]; n != nil {
			return n
		}
	}
	return d.nodes[""]
}

func parent(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

var (
	durationType = reflect.TypeFor[Duration]()
	sizeType     = reflect.TypeFor[Size]()
	manifestType = reflect.TypeFor[Manifest]()
)

// decode fills v, which is a value of the types in config.go.
func (d *document) decode(n *yaml.Node, v reflect.Value, path string) {
	if d.left--; d.left <= 0 {
		if d.left == 0 {
			d.add(n, "", "the file's aliases expand to more than %d values", maxNodes)
		}
		return
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if _, seen := d.nodes[path]; !seen {
		d.nodes[path] = n
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return
	}
	switch {
	case v.Type() == durationType:
		d.quantity(n, path, "a time span with its unit", `"30s"`, func(text string) error {
			parsed, err := ParseDuration(text)
			v.SetInt(int64(parsed))
			return err
		})
	case v.Type() == sizeType:
		d.quantity(n, path, "a size with its unit", `"256MiB"`, func(text string) error {
			parsed, err := ParseSize(text)
			v.SetInt(int64(parsed))
			return err
		})
	case v.Type() == manifestType && n.Kind == yaml.ScalarNode:
		d.decodeScalar(n, v.FieldByName("Path"), path)
	default:
		d.decodeKind(n, v, path)
	}
}

func (d *document) decodeKind(n *yaml.Node, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.decode(n, v.Elem(), path)
	case reflect.Struct:
		d.decodeStruct(n, v, path)
	case reflect.Map:
		d.decodeMap(n, v, path)
	case reflect.Slice:
		d.decodeSlice(n, v, path)
	case reflect.Interface:
		var any any
		if err := n.Decode(&any); err != nil {
			d.add(n, "", "%s: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))
		} else if any != nil {
			v.Set(reflect.ValueOf(any))
		}
	default:
		d.decodeScalar(n, v, path)
	}
}

func (d *document) decodeScalar(n *yaml.Node, v reflect.Value, path string) {
	tag := n.ShortTag()
	switch {
	case n.Kind != yaml.ScalarNode:
		d.wrong(n, path, kindName(v.Kind()))
	case v.Kind() == reflect.String && tag == "!!str":
		v.SetString(n.Value)
	case v.Kind() == reflect.String:
		d.add(n, fmt.Sprintf("write %q in quotes", n.Value), "%s must be text, but this is read as %s", path, nodeName(n))
	case v.Kind() == reflect.Bool && tag == "!!bool":
		v.SetBool(n.Value == "true" || n.Value == "True" || n.Value == "TRUE")
	case v.Kind() == reflect.Int && tag == "!!int":
		var i int
		if err := n.Decode(&i); err != nil {
			d.add(n, "", "%s: %s is out of range", path, n.Value)
			return
		}
		v.SetInt(int64(i))
	case v.Kind() == reflect.Float64 && (tag == "!!int" || tag == "!!float"):
		var f float64
		if err := n.Decode(&f); err != nil {
			d.add(n, "", "%s: %s is out of range", path, n.Value)
			return
		}
		v.SetFloat(f)
	default:
		d.wrong(n, path, kindName(v.Kind()))
	}
}

func (d *document) quantity(n *yaml.Node, path, what, example string, parse func(string) error) {
	if n.Kind != yaml.ScalarNode {
		d.wrong(n, path, what)
		return
	}
	if err := parse(n.Value); err != nil {
		hint := "write " + what + ", such as " + example
		if unit := strings.TrimLeft(example, `"0123456789`); isNumber(n.Value) {
			hint = fmt.Sprintf("add a unit, such as %q", n.Value+strings.TrimSuffix(unit, `"`))
		}
		d.add(n, hint, "%s: %s", path, err)
	}
}

func (d *document) wrong(n *yaml.Node, path, want string) {
	if path == "" {
		path = "the file"
	}
	d.add(n, "", "%s must be %s, but this is %s", path, want, nodeName(n))
}

// mapping calls entry for each key, merge keys (<<) resolved; it says so where n is no mapping or a key comes twice.
func (d *document) mapping(n *yaml.Node, path string, entry func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.wrong(n, path, "a mapping")
		return
	}
	seen := map[string]*yaml.Node{}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case key.ShortTag() == "!!merge":
			merged = append(merged, value)
		case key.Kind != yaml.ScalarNode:
			d.add(key, "", "a key must be a word, but this is %s", nodeName(key))
		case seen[key.Value] != nil:
			d.add(key, "", "the key %q is already on line %d", key.Value, seen[key.Value].Line)
		default:
			seen[key.Value] = key
			entry(key, value)
		}
	}
	d.merge(merged, path, seen, entry, 0)
}

func (d *document) merge(from []*yaml.Node, path string, seen map[string]*yaml.Node, entry func(key, value *yaml.Node), depth int) {
	for _, m := range from {
		if m.Kind == yaml.AliasNode {
			m = m.Alias
		}
		if d.left--; d.left <= 0 || depth > 8 {
			return
		}
		switch m.Kind {
		case yaml.SequenceNode:
			d.merge(m.Content, path, seen, entry, depth+1)
		case yaml.MappingNode:
			for i := 0; i+1 < len(m.Content); i += 2 {
				key := m.Content[i]
				if key.ShortTag() == "!!merge" {
					d.merge(m.Content[i+1:i+2], path, seen, entry, depth+1)
				} else if key.Kind == yaml.ScalarNode && seen[key.Value] == nil {
					seen[key.Value] = key
					entry(key, m.Content[i+1])
				}
			}
		default:
			d.wrong(m, join(path, "<<"), "a mapping")
		}
	}
}

func (d *document) decodeStruct(n *yaml.Node, v reflect.Value, path string) {
	fields := fieldsOf(v.Type())
	d.mapping(n, path, func(key, value *yaml.Node) {
		index, ok := fields[key.Value]
		if !ok {
			if path != "" || !strings.HasPrefix(key.Value, "x-") { // x-… holds anchors, as in Compose files
				d.unknownKey(key, path, fields)
			}
			return
		}
		d.keys[join(path, key.Value)] = key
		d.decode(value, v.Field(index), join(path, key.Value))
	})
}

func (d *document) unknownKey(key *yaml.Node, path string, fields map[string]int) {
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	hint := "known here: " + strings.Join(names, ", ")
	if s := Suggest(key.Value, names); s != "" {
		hint = fmt.Sprintf("did you mean %q?", s)
	}
	where := ""
	if path != "" {
		where = " in " + path
	}
	d.add(key, hint, "unknown key %q%s", key.Value, where)
}

// fieldsOf maps the YAML names of a struct's fields to their indices.
func fieldsOf(t reflect.Type) map[string]int {
	fields := map[string]int{}
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); name != "-" && name != "" {
			fields[name] = i
		}
	}
	return fields
}

func (d *document) decodeMap(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind == yaml.MappingNode && v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	d.mapping(n, path, func(key, value *yaml.Node) {
		d.keys[join(path, key.Value)] = key
		element := reflect.New(v.Type().Elem()).Elem()
		d.decode(value, element, join(path, key.Value))
		v.SetMapIndex(reflect.ValueOf(key.Value), element)
	})
}

func (d *document) decodeSlice(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.wrong(n, path, "a list")
		return
	}
	for i, item := range n.Content {
		element := reflect.New(v.Type().Elem()).Elem()
		d.decode(item, element, fmt.Sprintf("%s[%d]", path, i))
		v.Set(reflect.Append(v, element))
	}
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	}
	return k.String()
}

func nodeName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return "the truth value " + n.Value
	case "!!null":
		return "nothing"
	case "!!timestamp":
		return "the date " + n.Value
	}
	return fmt.Sprintf("the text %q", n.Value)
}
