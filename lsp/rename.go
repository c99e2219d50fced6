package lsp

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/creachadair/jrpc2"
)

// named is a name that can be changed everywhere at once.
type named struct {
	kind  string // check, service
	name  string
	where Range
}

// nameOf finds the name that stands at a place: of a check in its file, or of a service or dependency.
func (s *server) nameOf(d *document, at Position) (named, bool) {
	line := d.line(at.Line)
	column := d.byteColumn(line, at.Character)
	switch d.kind() {
	case checkFile:
		p := outlineOf(d).find(d, at)
		if p.value == nil {
			return named{}, false
		}
		if p.value.key == "name" && p.value.line == at.Line {
			return named{"check", p.value.plain(), d.span(at.Line, p.value.at, len(line))}, true
		}
		name := nameAt(line, column)
		return serviceAt(serviceInChecks(d, name), name, at, s.configured())
	case configFile:
		name := nameAt(line, column)
		services := s.configured()
		if !slices.Contains(services, name) {
			return named{}, false
		}
		return serviceAt(serviceIn(d, name), name, at, services)
	}
	return named{}, false
}

// serviceAt is the name of a service at a place, where it stands for one.
func serviceAt(places []Range, name string, at Position, services []string) (named, bool) {
	for _, r := range places {
		if r.Start.Line == at.Line && r.Start.Character <= at.Character && at.Character <= r.End.Character && slices.Contains(services, name) {
			return named{"service", name, r}, true
		}
	}
	return named{}, false
}

var quotedName = regexp.MustCompile(`["']([a-z0-9][-a-z0-9]*)["']`)

func isExpression(v *value) bool { return v.key == "on" || v.key == "expect" || v.key == "by" }

// serviceIn are the places of devloop.yaml that mean a service: its key, who depends on it, and addresses with its name for a host.
func serviceIn(d *document, name string) []Range {
	quoted := regexp.QuoteMeta(name)
	key := regexp.MustCompile(`^\s+["']?(` + quoted + `)["']?\s*:(?:\s|$)`)
	address := regexp.MustCompile(`(?://|@|["'\s])(` + quoted + `):\d|(?://|@)(` + quoted + `)(?:[/"'\s}?]|$)|\{\{\.(?:Host|Port)\.(` + quoted + `)[.}]`)
	item := regexp.MustCompile(`(?:^|[\s\[,])["']?(` + quoted + `)["']?(?:[\s,\]]|$)`)
	var list []Range
	add := func(n, offset int, re *regexp.Regexp, text string) {
		for _, m := range re.FindAllStringSubmatchIndex(text, -1) {
			for i := 2; i < len(m); i += 2 {
				if m[i] >= 0 {
					list = append(list, d.span(n, offset+m[i], offset+m[i+1]))
				}
			}
		}
	}
	for n := range d.lines {
		line := d.line(n)
		if !strings.Contains(line, name) {
			continue
		}
		indent, _, dash := indented(line)
		path := above(d, n, indent, dash)
		switch {
		case len(path) == 1 && (path[0] == "services" || path[0] == "dependencies") && key.MatchString(line):
			add(n, 0, key, line)
			if _, rest, ok := strings.Cut(line, ":"); ok { // a mapping in braces
				add(n, len(line)-len(rest), address, rest)
			}
		case len(path) > 0 && path[len(path)-1] == "depends_on":
			add(n, 0, item, line)
		default:
			if at := strings.Index(line, "depends_on:"); at >= 0 {
				at += len("depends_on:")
				add(n, at, item, line[at:])
				line = line[:at]
			}
			add(n, 0, address, line)
		}
	}
	return list
}

// prepareRename says whether something at a place can be renamed.
func (s *server) prepareRename(d *document, at Position) any {
	n, ok := s.nameOf(d, at)
	if !ok {
		return nil
	}
	return map[string]any{"range": n.where, "placeholder": n.name}
}

// rename changes a name in all check files and devloop.yaml. A service's name is its host name as well, so addresses in devloop.yaml
// change with it; source code does not.
func (s *server) rename(d *document, p RenameParams) (*WorkspaceEdit, error) {
	n, ok := s.nameOf(d, p.Position)
	if !ok {
		return nil, jrpc2.Errorf(jrpc2.InvalidParams, "there is no check's or service's name here")
	}
	if n.kind == "check" {
		return s.renameCheck(d, n, strings.TrimSpace(p.NewName))
	}
	return s.renameService(n.name, p.NewName)
}

func (s *server) renameCheck(d *document, n named, name string) (*WorkspaceEdit, error) {
	if name == "" || strings.ContainsAny(name, "\n\r") {
		return nil, jrpc2.Errorf(jrpc2.InvalidParams, "a check's name is one line of text")
	}
	for _, c := range outlineOf(d).checks {
		if c.name.plain() == name && name != n.name {
			return nil, jrpc2.Errorf(jrpc2.InvalidParams, "there is a check %q in this file already", name)
		}
	}
	return &WorkspaceEdit{Changes: map[string][]TextEdit{d.uri: {{n.where, scalar(name)}}}}, nil
}

var plainScalar = regexp.MustCompile(`^[A-Za-z0-9(/.][^:#"'\\]*$`)

// scalar writes a text as YAML has it: plain where that cannot be misread.
func scalar(text string) string {
	if plainScalar.MatchString(text) && !strings.ContainsAny(text, "[]{},&*!|>%@`") {
		return text
	}
	quoted, _ := json.Marshal(text) // YAML's double quotes are JSON's
	return string(quoted)
}

var serviceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (s *server) renameService(old, name string) (*WorkspaceEdit, error) {
	switch {
	case !serviceName.MatchString(name):
		return nil, jrpc2.Errorf(jrpc2.InvalidParams, "a service's name is a DNS label: lower-case letters, digits and hyphens")
	case name != old && slices.Contains(s.configured(), name):
		return nil, jrpc2.Errorf(jrpc2.InvalidParams, "there is a service or dependency %q already", name)
	}
	edit := &WorkspaceEdit{Changes: map[string][]TextEdit{}}
	if path, text, ok := s.configText(); ok {
		d := newDocument(uriOf(path), 0, text, s.bytes)
		for _, r := range serviceIn(d, old) {
			edit.Changes[d.uri] = append(edit.Changes[d.uri], TextEdit{r, name})
		}
	}
	for _, path := range s.checkFiles() {
		d, err := s.read(path)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", s.relative(path), err)
		}
		for _, r := range serviceInChecks(d, old) {
			edit.Changes[d.uri] = append(edit.Changes[d.uri], TextEdit{r, name})
		}
	}
	return edit, nil
}

// serviceInChecks are the strings of a check file that a service's name is compared with.
func serviceInChecks(d *document, name string) []Range {
	var list []Range
	o := outlineOf(d)
	for i := range o.checks {
		for _, v := range o.checks[i].values() {
			if v.key == "" || !isExpression(v) {
				continue
			}
			for n := v.line; n <= v.last; n++ {
				line := d.line(n)
				from := 0
				if n == v.line {
					from = min(v.at, len(line))
				}
				for _, m := range quotedName.FindAllStringSubmatchIndex(line[from:], -1) {
					field := comparedField(line[from : from+m[2]])
					if line[from+m[2]:from+m[3]] == name && (field == "" || strings.HasSuffix(field, "name") || field == "services") {
						list = append(list, d.span(n, from+m[2], from+m[3]))
					}
				}
			}
		}
	}
	return list
}

// read is a file as the editor has it, else as it lies there.
func (s *server) read(path string) (*document, error) {
	uri := uriOf(path)
	if d := s.open(uri); d != nil {
		return d, nil
	}
	text, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	return newDocument(uri, 0, text, s.bytes), nil
}
