package lsp

import "strings"

// format is what formatting changes in a check file: tabs and spaces at ends of lines go, several blank lines become one,
// the file ends with one newline. YAML's own layout is left to its author: it carries the comments.
func (d *document) format() []TextEdit {
	if k := kindOf(d.path); k != checkFile && k != configFile {
		return nil
	}
	var out []string
	blank := false
	for n := range d.lines {
		line := strings.TrimRight(d.line(n), " \t")
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
