package lsp

import (
	"regexp"
	"strings"
)

// outline is a check file as far as it can be made out from its lines, whether it is whole YAML or not: while somebody
// types, it mostly is not.
type outline struct {
	exercise value
	checks   []outlined
}

// outlined is one check.
type outlined struct {
	name       value
	on, expect value
	first      int // line of "- name:"
	last       int // its last line
	others     []value
}

// value is the value of a key. Its text begins at a byte of a line; block scalars begin on the line after their key.
type value struct {
	key      string
	keyLine  int
	keyAt    int // byte in its line
	line, at int // of the text's first character
	last     int // its last line
	text     string
}

// place is where in a file a cursor stands.
type place struct {
	check  *outlined
	value  *value
	before string // of the value's text
	word   string // the name before the cursor, with its dots
	quoted bool   // within a string
	key    bool   // where a key would stand
	indent int
}

var keyLine = regexp.MustCompile(`^(\s*)(- +)?([A-Za-z_]+):(\s*)(.*)$`)

// outlineOf reads a document.
func outlineOf(d *document) *outline {
	o := &outline{}
	var current *value // the value that further lines may belong to
	var text []string  // those lines, joined at its end: one by one would take quadratic time
	depth := 0         // of its key
	end := func() {
		if len(text) > 0 {
			current.text = strings.Join(text, "\n")
		}
		current, text = nil, text[:0]
	}
	for n := range d.lines {
		line := d.line(n)
		trimmed := strings.TrimSpace(line)
		indent := len(line) - len(strings.TrimLeft(line, " "))
		m := keyLine.FindStringSubmatchIndex(line)
		if current != nil && (trimmed == "" || indent > depth) && (m == nil || indent > depth) {
			if trimmed != "" {
				switch {
				case len(text) > 0:
				case current.text == "":
					current.line, current.at = n, indent
				default:
					text = append(text, current.text)
				}
				text, current.last = append(text, trimmed), n
				o.extend(n)
			}
			continue
		}
		end()
		if m == nil {
			continue
		}
		v := value{key: line[m[6]:m[7]], keyLine: n, keyAt: m[6], line: n, at: m[10], last: n, text: line[m[10]:m[11]]}
		depth = m[6]
		if v.text == "|" || v.text == ">" || strings.HasPrefix(v.text, "|-") || strings.HasPrefix(v.text, ">-") {
			v.text, v.line = "", n+1
		}
		current = o.put(v, m[4] >= 0, indent)
	}
	end()
	return o
}

// extend says that the last check goes on to a line.
func (o *outline) extend(n int) {
	if len(o.checks) > 0 {
		o.checks[len(o.checks)-1].last = n
	}
}

// put files a value where it belongs, and returns where it is.
func (o *outline) put(v value, item bool, indent int) *value {
	if indent == 0 && !item {
		if v.key == "exercise" {
			o.exercise = v
			return &o.exercise
		}
		return nil
	}
	if item {
		o.checks = append(o.checks, outlined{first: v.keyLine})
	}
	if len(o.checks) == 0 {
		return nil
	}
	c := &o.checks[len(o.checks)-1]
	c.last = v.keyLine
	switch v.key {
	case "name":
		c.name = v
		return &c.name
	case "on":
		c.on = v
		return &c.on
	case "expect":
		c.expect = v
		return &c.expect
	}
	c.others = append(c.others, v)
	return &c.others[len(c.others)-1]
}

// plain is a scalar without its quotes.
func (v *value) plain() string {
	t := strings.TrimSpace(v.text)
	if len(t) >= 2 && (t[0] == '"' || t[0] == '\'') && t[len(t)-1] == t[0] {
		return t[1 : len(t)-1]
	}
	return t
}

// values are all values of a check.
func (c *outlined) values() []*value {
	list := []*value{&c.name, &c.on, &c.expect}
	for i := range c.others {
		list = append(list, &c.others[i])
	}
	return list
}

// find says where a cursor stands.
func (o *outline) find(d *document, at Position) place {
	line := d.line(at.Line)
	column := d.byteColumn(line, at.Character)
	p := place{indent: len(line) - len(strings.TrimLeft(line, " "))}
	for i := range o.checks {
		if c := &o.checks[i]; at.Line >= c.first && at.Line <= c.last+1 {
			p.check = c
		}
	}
	values := []*value{&o.exercise}
	if p.check != nil {
		values = append(values, p.check.values()...)
	}
	for _, v := range values {
		if v.key == "" || at.Line < v.line || at.Line > max(v.last, v.line) || at.Line == v.line && column < v.at {
			continue
		}
		p.value = v
		start := min(d.lines[min(v.line, len(d.lines)-1)]+v.at, len(d.text))
		p.before = d.text[start:max(start, min(d.lines[at.Line]+column, len(d.text)))]
	}
	if p.value == nil {
		p.key = !strings.Contains(line[:column], ":")
		return p
	}
	if p.value.line == p.value.keyLine && p.before != "" && (p.before[0] == '"' || p.before[0] == '\'') {
		p.before = p.before[1:] // YAML's quotes are not the expression's
	}
	p.word, p.quoted = lastWord(p.before)
	return p
}

// lastWord is the name that ends a text, or the beginning of a string that is open there.
func lastWord(text string) (word string, quoted bool) {
	open := byte(0)
	from := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case open != 0 && c == '\\':
			i++
		case open != 0 && c == open:
			open = 0
		case open == 0 && (c == '"' || c == '\''):
			open, from = c, i+1
		}
	}
	if open != 0 {
		return text[from:], true
	}
	i := len(text)
	for i > 0 && isName(text[i-1]) {
		i--
	}
	return text[i:], false
}

// wordAt is the name that a byte of a line lies in, and where it begins.
func wordAt(line string, at int) (string, int) {
	from, to := min(at, len(line)), min(at, len(line))
	for from > 0 && isName(line[from-1]) {
		from--
	}
	for to < len(line) && isName(line[to]) {
		to++
	}
	return line[from:to], from
}

func isName(c byte) bool {
	return c == '_' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
