package lsp

import (
	"regexp"
	"strings"
)

var blockScalar = regexp.MustCompile(`:\s+[|>][+-]?\d?[+-]?$`)

// format is what formatting changes in our files: tabs and spaces at ends of lines go, several blank lines become one,
// the file ends with one newline. Block scalars stay as they are. YAML's own layout is left to its author: it carries the comments.
func (d *document) format() []TextEdit {
	if k := d.kind(); k != checkFile && k != configFile {
		return nil
	}
	var out []string
	blank := false
	block := -1 // indent of the key whose block scalar the lines belong to: its text is data
	for n := range d.lines {
		line := strings.TrimRight(d.line(n), " \t")
		indent := len(line) - len(strings.TrimLeft(line, " "))
		if block >= 0 && (line == "" || indent > block) && n+1 < len(d.lines) {
			out = append(out, d.line(n))
			continue
		}
		block = -1
		if blockScalar.MatchString(line) {
			block = indent
		}
		if line == "" {
			blank = len(out) > 0
			continue
		}
		if blank {
			out = append(out, "")
		}
		blank = false
		out = append(out, line)
	}
	text := strings.Join(out, "\n") + "\n"
	if len(out) == 0 {
		text = ""
	}
	if text == d.text {
		return []TextEdit{}
	}
	return []TextEdit{{Range: Range{Position{}, d.at(len(d.text))}, NewText: text}}
}
