package lsp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/devloop-io/devloop/internal/config"
)

// schemaNode is a place of the JSON Schema of devloop.yaml, as far as completion and hover need it.
type schemaNode struct {
	Ref         string                 `json:"$ref"`
	Defs        map[string]*schemaNode `json:"$defs"`
	Type        any                    `json:"type"`
	Description string                 `json:"description"`
	Properties  map[string]*schemaNode `json:"properties"`
	Additional  json.RawMessage        `json:"additionalProperties"` // false, or what any other key holds
	Items       *schemaNode            `json:"items"`
	Enum        []any                  `json:"enum"`
	Const       any                    `json:"const"`
	OneOf       []*schemaNode          `json:"oneOf"`
	AnyOf       []*schemaNode          `json:"anyOf"`
}

var configSchema = sync.OnceValue(func() *schemaNode {
	var root schemaNode
	if err := json.Unmarshal(config.Schema(), &root); err != nil {
		return &schemaNode{} // the schema is generated, and a test reads it
	}
	return &root
})

// variants are what a node may be: itself without its reference, and its alternatives.
func (n *schemaNode) variants() []*schemaNode {
	if n == nil {
		return nil
	}
	if name, ok := strings.CutPrefix(n.Ref, "#/$defs/"); ok {
		return configSchema().Defs[name].variants()
	}
	list := []*schemaNode{n}
	for _, o := range slices.Concat(n.OneOf, n.AnyOf) {
		list = append(list, o.variants()...)
	}
	return list
}

// child is what stands under a key, nil where the schema knows nothing. An item of a list has the key itemKey.
func (n *schemaNode) child(key string) *schemaNode {
	for _, v := range n.variants() {
		if key == itemKey {
			if v.Items != nil {
				return v.Items
			}
			continue
		}
		if p := v.Properties[key]; p != nil {
			return p
		}
		if len(v.Additional) > 0 && v.Additional[0] == '{' {
			var any schemaNode
			if json.NewDecoder(bytes.NewReader(v.Additional)).Decode(&any) == nil {
				return &any
			}
		}
	}
	return nil
}

// at is the node under a path of keys.
func (n *schemaNode) at(path []string) *schemaNode {
	for _, key := range path {
		if n = n.child(key); n == nil {
			return nil
		}
	}
	return n
}

// keys are the names that may stand in a mapping, with what they hold.
func (n *schemaNode) keys() map[string]*schemaNode {
	all := map[string]*schemaNode{}
	for _, v := range n.variants() {
		maps.Copy(all, v.Properties)
	}
	return all
}

// values are what a scalar may be, where the schema lists it.
func (n *schemaNode) values() []string {
	var list []string
	for _, v := range n.variants() {
		for _, e := range v.Enum {
			list = append(list, fmt.Sprint(e))
		}
		if v.Const != nil {
			list = append(list, fmt.Sprint(v.Const))
		}
		if v.Type == "boolean" {
			list = append(list, "false", "true")
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// doc is what the schema says of a node.
func (n *schemaNode) doc() string {
	for _, v := range append([]*schemaNode{n}, n.variants()...) {
		if v != nil && v.Description != "" {
			return v.Description
		}
	}
	return ""
}

// itemKey stands in a path for an item of a list.
const itemKey = "-"

// configPlace is where in devloop.yaml a cursor stands.
type configPlace struct {
	path []string // keys above it; itemKey for an item of a list
	key  string   // whose value it is in, "" where a key would stand
	from int      // byte of its line where the word begins that is being typed
	flow bool     // within braces
}

// inConfig finds the place by lines and braces: while somebody types, the file is no YAML.
func inConfig(d *document, at Position) configPlace {
	line := d.line(at.Line)
	column := d.byteColumn(line, at.Character)
	indent, content, item := indented(line)
	p := configPlace{path: above(d, at.Line, indent, item)}
	if item {
		p.path = append(p.path, itemKey)
	}
	if column < content {
		p.from = column
		return p
	}
	p.within(line, content, column)
	return p
}

// indented says where a line's content begins, behind the dash of an item.
func indented(line string) (indent, content int, item bool) {
	trimmed := strings.TrimLeft(line, " ")
	indent = len(line) - len(trimmed)
	content = indent
	if trimmed == "-" || strings.HasPrefix(trimmed, "- ") {
		rest := strings.TrimLeft(trimmed[1:], " ")
		return indent, len(line) - len(rest), true
	}
	return indent, content, false
}

// above are the keys and items that hold what begins in a column of a line; dash says that it is an item of a list, which may stand in
// the column of its key.
func above(d *document, n, column int, dash bool) []string {
	var path []string
	for n--; n >= 0 && (column > 0 || dash); n-- {
		line := d.line(n)
		if trimmed := strings.TrimSpace(line); trimmed == "" || trimmed[0] == '#' {
			continue
		}
		indent, content, item := indented(line)
		if key, _, ok := strings.Cut(line[content:], ":"); ok && (content < column || dash && content == column && !item) {
			path, column, dash = append(path, cleanKey(key)), content, false
		}
		if item && indent < column {
			path, column, dash = append(path, itemKey), indent, true
		}
	}
	slices.Reverse(path)
	return path
}

func cleanKey(key string) string { return strings.Trim(strings.TrimSpace(key), `"'`) }

// within goes through a line up to the cursor: keys, and what braces open.
func (p *configPlace) within(line string, from, to int) {
	type level struct {
		depth int // of the path
		list  bool
	}
	var open []level
	start := from
	quote := byte(0)
	for i := from; i < to; i++ {
		switch c := line[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '#' && i > 0 && line[i-1] == ' ':
			p.key, p.from = itemKey, to // a comment
			return
		case c == ':' && (i+1 >= len(line) || line[i+1] == ' '):
			p.key, start = cleanKey(line[start:i]), i+1
		case c == '{' || c == '[':
			open = append(open, level{len(p.path), c == '['})
			if p.key != "" {
				p.path = append(p.path, p.key)
			}
			if c == '[' {
				p.path = append(p.path, itemKey)
			}
			p.key, start = "", i+1
		case (c == '}' || c == ']') && len(open) > 0:
			p.path, open = p.path[:open[len(open)-1].depth], open[:len(open)-1]
			p.key, start = "", i+1
		case c == ',' && len(open) > 0:
			p.key, start = "", i+1
		}
	}
	p.flow = len(open) > 0
	for start < to && (line[start] == ' ' || line[start] == '"' || line[start] == '\'') {
		start++
	}
	p.from = start
}

// completeConfig is what could stand at a place of devloop.yaml.
func (s *server) completeConfig(d *document, at Position) []CompletionItem {
	p := inConfig(d, at)
	line := d.line(at.Line)
	to := d.byteColumn(line, at.Character)
	for to < len(line) && (isName(line[to]) || line[to] == '-') && line[to] != '.' {
		to++
	}
	r := d.span(at.Line, min(p.from, to), to)
	node := configSchema().at(p.path)
	if node == nil {
		return nil
	}
	last := ""
	if len(p.path) > 0 {
		last = p.path[len(p.path)-1]
	}
	if p.key != "" {
		return append(words(r, node.child(p.key).values()...), s.named(p.key, r)...)
	}
	var items []CompletionItem
	if last == itemKey && len(p.path) > 1 {
		items = s.named(p.path[len(p.path)-2], r)
		items = append(items, words(r, node.values()...)...)
	}
	keys := node.keys()
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		if p.flow || !d.beside(at.Line, name) {
			items = append(items, CompletionItem{Label: name, Kind: KindProperty, Detail: keys[name].doc(), TextEdit: &TextEdit{r, name + ": "}})
		}
	}
	return items
}

// named are the names of the file itself that a key takes.
func (s *server) named(key string, r Range) []CompletionItem {
	if key != "depends_on" {
		return nil
	}
	names := s.configured()
	slices.Sort(names)
	return words(r, names...)
}

// beside says whether a key stands already in the mapping that a line belongs to.
func (d *document) beside(n int, key string) bool {
	_, column, _ := indented(d.line(n))
	for _, step := range []int{-1, 1} {
		for i := n + step; i >= 0 && i < len(d.lines); i += step {
			line := d.line(i)
			if strings.TrimSpace(line) == "" {
				continue
			}
			indent, content, item := indented(line)
			if content == column && strings.HasPrefix(line[content:], key+":") && (step < 0 || !item) {
				return true
			}
			if content < column || step > 0 && item && indent < column {
				break
			}
			if item && content == column {
				break // the first line of this item
			}
		}
	}
	return false
}

// hoverConfig says what a key of devloop.yaml means.
func hoverConfig(d *document, at Position) *Hover {
	line := d.line(at.Line)
	column := d.byteColumn(line, at.Character)
	name := nameAt(line, column)
	if name == "" {
		return nil
	}
	from := strings.LastIndex(line[:min(len(line), column+len(name))], name)
	if from < 0 || !strings.HasPrefix(strings.TrimLeft(line[from+len(name):], `"'`), ":") {
		return nil
	}
	p := inConfig(d, d.position(at.Line, from))
	if p.key != "" {
		return nil
	}
	text := configSchema().at(p.path).child(name).doc()
	if text == "" {
		return nil
	}
	r := d.span(at.Line, from, from+len(name))
	return &Hover{Contents: *markdown(fmt.Sprintf("`%s`\n\n%s", name, text)), Range: &r}
}
