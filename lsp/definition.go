package lsp

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// definition is where a name of a check file is defined: an exercise or a service in devloop.yaml, or a path where it is served;
// and of a service in devloop.yaml its main package.
func (s *server) definition(d *document, at Position) []Location {
	line := d.line(at.Line)
	column := d.byteColumn(line, at.Character)
	switch d.kind() {
	case checkFile:
		p := outlineOf(d).find(d, at)
		if p.value == nil {
			return nil
		}
		if p.value.key == "exercise" {
			return s.key("exercises", p.value.plain())
		}
		if p.check != nil && isExpression(p.value) {
			if found := s.handlers(line, column, p.check.on.text); len(found) > 0 {
				return found
			}
		}
		name := nameAt(line, column)
		for _, section := range []string{"services", "dependencies"} {
			if found := s.key(section, name); len(found) > 0 {
				return append(found, s.mainPackage(name)...)
			}
		}
	case configFile:
		if m := goKey.FindStringSubmatch(line); m != nil {
			return mainFile(filepath.Join(filepath.Dir(d.path), filepath.FromSlash(m[1])))
		}
		return s.mainPackage(nameAt(line, column))
	}
	return nil
}

var goKey = regexp.MustCompile(`^\s*go:\s*"?([^"#\s]+)`)

// nameAt is the name at a byte of a line: letters, digits, and the hyphens that names of services have.
func nameAt(line string, at int) string {
	of := func(c byte) bool { return c == '-' || isName(c) && c != '.' }
	from, to := min(at, len(line)), min(at, len(line))
	for from > 0 && of(line[from-1]) {
		from--
	}
	for to < len(line) && of(line[to]) {
		to++
	}
	return line[from:to]
}

// configText is devloop.yaml as the editor has it, else as it lies in the workspace.
func (s *server) configText() (path, text string, ok bool) {
	for _, name := range []string{"devloop.yaml", "devloop.yml"} {
		path = filepath.Join(s.root(), name)
		if d := s.open(uriOf(path)); d != nil {
			return path, d.text, true
		}
		if b, err := os.ReadFile(path); err == nil && len(b) <= maxDocument {
			return path, string(b), true
		}
	}
	return "", "", false
}

// key is where an entry of a section of devloop.yaml stands.
func (s *server) key(section, name string) []Location {
	path, text, ok := s.configText()
	if !ok || name == "" {
		return nil
	}
	d := newDocument(uriOf(path), 0, text, s.bytes)
	inside := false
	entry := regexp.MustCompile(fmt.Sprintf(`^\s+"?%s"?\s*:`, regexp.QuoteMeta(name)))
	depth := 0
	for n := range d.lines {
		line := d.line(n)
		if line != "" && line[0] != ' ' && line[0] != '#' {
			inside, depth = strings.HasPrefix(line, section+":"), 0
			continue
		}
		trimmed := strings.TrimLeft(line, " ")
		if !inside || trimmed == "" || trimmed[0] == '#' {
			continue
		}
		indent := len(line) - len(trimmed)
		if depth == 0 {
			depth = indent
		}
		if indent == depth && entry.MatchString(line) {
			return []Location{{d.uri, d.span(n, indent, indent+len(name))}}
		}
	}
	return nil
}

// mainPackage is the program of a Go service.
func (s *server) mainPackage(name string) []Location {
	cfg := s.config()
	if cfg == nil {
		return nil
	}
	service, ok := cfg.Services[name]
	if !ok || service.Go == "" {
		return nil
	}
	return mainFile(filepath.Join(s.root(), filepath.FromSlash(service.Go)))
}

var mainFunc = regexp.MustCompile(`(?m)^func main\(\)`)

// mainFile is the file of a folder that has func main.
func mainFile(dir string) []Location {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil
	}
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil {
			if at := mainFunc.FindIndex(b); at != nil {
				d := newDocument(uriOf(file), 0, string(b), false)
				return []Location{{d.uri, Range{d.at(at[0]), d.at(at[1])}}}
			}
		}
	}
	return nil
}
