package lsp

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/internal/config"
)

// complete is what could stand at a place of a document.
func (s *server) complete(d *document, at Position) CompletionList {
	list := CompletionList{Items: []CompletionItem{}}
	switch d.kind() {
	case checkFile:
		list.Items = append(list.Items, s.completeCheck(d, at)...)
	case configFile:
		list.Items = append(list.Items, s.completeConfig(d, at)...)
	}
	return list
}

func (s *server) completeCheck(d *document, at Position) []CompletionItem {
	p := outlineOf(d).find(d, at)
	column := d.byteColumn(d.line(at.Line), at.Character)
	replace := d.span(at.Line, column-len(p.word), column)
	switch {
	case p.key:
		word, from := wordAt(d.line(at.Line), column)
		return keys(p, d.span(at.Line, from, from+len(word)))
	case p.value == nil:
		return nil
	}
	switch p.value.key {
	case "on", "by":
		if p.quoted {
			return s.strings(p, replace)
		}
		return fields(p, replace)
	case "expect":
		if p.quoted {
			return s.strings(p, replace)
		}
		return append(functions(p, replace), fields(p, replace)...)
	case "exercise":
		return s.exercises(d, replace)
	case "severity":
		return words(replace, assertions.SeverityError, assertions.SeverityWarning)
	case "on_inconclusive":
		return words(replace, "fail", "warn", "rerun(max=5, budget=60s)")
	case "on_nodata":
		return words(replace, "fail", "warn")
	case "allow_empty":
		return words(replace, "true", "false")
	}
	return nil
}

func words(r Range, list ...string) []CompletionItem {
	var items []CompletionItem
	for _, w := range list {
		items = append(items, CompletionItem{Label: w, Kind: KindValue, TextEdit: &TextEdit{r, w}})
	}
	return items
}

// keys are those of a check, or of the file.
func keys(p place, r Range) []CompletionItem {
	of := reflect.TypeFor[assertions.Check]()
	if p.check == nil || p.indent == 0 {
		of = reflect.TypeFor[assertions.File]()
	}
	var items []CompletionItem
	for i := range of.NumField() {
		f := of.Field(i)
		name := f.Tag.Get("yaml")
		if name == "" || p.check != nil && p.indent > 0 && slices.ContainsFunc(p.check.values(), func(v *value) bool { return v.key == name }) {
			continue
		}
		items = append(items, CompletionItem{Label: name, Kind: KindProperty, Detail: f.Tag.Get("jsonschema"), SortText: fmt.Sprintf("%02d", i), TextEdit: &TextEdit{r, name + ": "}})
	}
	return items
}

// fields are the variables of the filter language, those that are dissected first.
func fields(p place, r Range) []CompletionItem {
	var items []CompletionItem
	for _, f := range filter.Fields() {
		sort := "2"
		detail := typeName(&f)
		if f.Unit != "" {
			detail += ", " + f.Unit
		}
		if f.Stub {
			sort, detail = "9", detail+"; not dissected yet"
		}
		items = append(items, CompletionItem{
			Label: f.Name, Kind: KindField, Detail: detail, Documentation: fieldDoc(&f), SortText: sort + f.Name, FilterText: f.Name, TextEdit: &TextEdit{r, f.Name},
		})
	}
	return items
}

func functions(_ place, r Range) []CompletionItem {
	var items []CompletionItem
	for _, f := range assertions.Functions() {
		items = append(items, CompletionItem{
			Label: f.Name, Kind: KindFunction, Detail: f.Signature, Documentation: functionDoc(&f), SortText: "1" + f.Name, FilterText: f.Name,
			InsertTextFormat: 2, TextEdit: &TextEdit{r, f.Name + "($0)"},
		})
	}
	return items
}

// strings are the values of the field that the open string is compared with, as they were seen on the wire.
func (s *server) strings(p place, r Range) []CompletionItem {
	f := s.live.get()
	field := comparedField(p.before[:len(p.before)-len(p.word)])
	var values []string
	detail := "seen on the wire"
	switch {
	case strings.HasSuffix(field, "service.name"), strings.HasSuffix(field, ".name"), field == "services":
		if values = f.services(); len(values) == 0 {
			values, detail = s.configured(), "in devloop.yaml"
		}
	case field == "path", field == "route", field == "url":
		for _, e := range f.endpoints {
			if path := endpointPath(e.Group); path != "" {
				values = append(values, path)
			}
		}
	case field == "method":
		values, detail = []string{"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}, ""
	}
	slices.Sort(values)
	var items []CompletionItem
	for _, v := range slices.Compact(values) {
		items = append(items, CompletionItem{Label: v, Kind: KindValue, Detail: detail, TextEdit: &TextEdit{r, v}})
	}
	return items
}

// comparedField is the name on the other side of the operator before an open string.
func comparedField(before string) string {
	t := strings.TrimRight(before, ` "'(=!<>[`)
	for _, suffix := range []string{".contains", ".startsWith", ".endsWith", ".matches"} {
		t = strings.TrimSuffix(t, suffix)
	}
	word, _ := lastWord(t)
	return word
}

// endpointPath is the path in "service GET /path".
func endpointPath(group string) string {
	i := strings.Index(group, "/")
	if i < 0 || i > 0 && group[i-1] != ' ' {
		return ""
	}
	return group[i:]
}

// configured are the services and dependencies of devloop.yaml, for when nothing runs.
func (s *server) configured() []string {
	_, text, ok := s.configText()
	if !ok {
		return nil
	}
	return append(entries(text, "services"), entries(text, "dependencies")...)
}

// entries are the names of a section of devloop.yaml, found by its lines: while somebody types, it is mostly no YAML.
func entries(text, section string) []string {
	var names []string
	inside, depth := false, 0
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		indent, content, item := indented(line)
		key, _, ok := strings.Cut(line[content:], ":")
		switch {
		case line == "" || !ok || item || key == "" || key[0] == '#':
		case indent == 0:
			inside, depth = cleanKey(key) == section, 0
		case inside && (depth == 0 || indent == depth):
			depth, names = indent, append(names, cleanKey(key))
		}
	}
	return names
}

func (s *server) exercises(_ *document, r Range) []CompletionItem {
	_, text, _ := s.configText()
	names := entries(text, "exercises")
	slices.Sort(names)
	return words(r, names...)
}

// config is the workspace's devloop.yaml as the editor has it, nil where it cannot be read.
func (s *server) config() *config.Config {
	path, text, ok := s.configText()
	if !ok {
		return nil
	}
	cfg, err := config.Parse(path, []byte(text))
	if err != nil {
		return nil
	}
	return cfg
}
