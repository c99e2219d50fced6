package scaffold

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// setMember adds object[key] = value to the JSON text of a file, comments allowed, without touching anything else. What
// is there under that key already stays as it is. The text may be empty.
func setMember(text, object, key string, value any) (string, error) {
	if strings.TrimSpace(strings.TrimPrefix(text, "\uFEFF")) == "" {
		b, err := json.MarshalIndent(map[string]any{object: map[string]any{key: value}}, "", "  ")
		return string(b) + "\n", err
	}
	p := jsonText{text: text}
	root, err := p.object(p.blank(0))
	if err != nil {
		return "", fmt.Errorf("the file is not a JSON object: %w", err)
	}
	if rest := p.blank(root.end); rest < len(text) {
		return "", p.wrong(rest, "the end of the file")
	}
	indent := root.indent(text, "  ")
	servers, found := root.member(object)
	if !found {
		return p.insert(root, object, map[string]any{key: value}, "", indent)
	}
	inner, err := p.object(servers.value)
	if err != nil {
		return "", fmt.Errorf("%q is not an object: %w", object, err)
	}
	if _, found := inner.member(key); found {
		return text, nil
	}
	return p.insert(inner, key, value, indent, indent)
}

// jsonText finds where things are in JSON with comments and trailing commas. Positions are byte offsets.
type jsonText struct {
	text  string
	depth int
}

type jsonObject struct {
	start, end int // from { to behind }
	members    []jsonMember
	comma      bool // behind the last member
	last       int  // where the last member, or its comma, ends; behind { in an empty object
}

type jsonMember struct {
	key                  string
	start, value, behind int
}

func (o jsonObject) member(key string) (jsonMember, bool) {
	for _, m := range o.members {
		if m.key == key {
			return m, true
		}
	}
	return jsonMember{}, false
}

// indent is what the first member is indented by, when it stands on its own line.
func (o jsonObject) indent(text, fallback string) string {
	if len(o.members) == 0 {
		return fallback
	}
	line := strings.LastIndexByte(text[:o.members[0].start], '\n') + 1
	blank := text[line:o.members[0].start]
	if line <= o.start || strings.Trim(blank, " \t") != "" || blank == "" {
		return fallback
	}
	return blank
}

// insert adds a member behind the last one.
func (p *jsonText) insert(o jsonObject, key string, value any, outer, step string) (string, error) {
	newline := "\n"
	if strings.Contains(p.text, "\r\n") {
		newline = "\r\n"
	}
	name, err := json.Marshal(key)
	if err != nil {
		return "", err
	}
	b, err := json.MarshalIndent(value, outer+step, step)
	if err != nil {
		return "", err
	}
	member := strings.ReplaceAll("\n"+outer+step+string(name)+": "+string(b), "\n", newline)
	if len(o.members) > 0 && !o.comma {
		// The comma goes right behind the last value, the member behind the comments that follow it on its line.
		return p.text[:o.last] + "," + p.place(o, o.last, member, outer, newline), nil
	}
	if o.comma {
		member += ","
	}
	return p.text[:o.last] + p.place(o, o.last, member, outer, newline), nil
}

// place returns the text from an offset on, with the member in it: behind what else is on the line, before the brace.
func (p *jsonText) place(o jsonObject, from int, member, outer, newline string) string {
	brace := o.end - 1
	between := p.text[from:brace]
	kept := strings.TrimRight(between, " \t\r\n")
	rest := between[len(kept):]
	if !strings.Contains(rest, "\n") {
		rest = newline + outer
	}
	return kept + member + rest + p.text[brace:]
}

func (p *jsonText) wrong(at int, want string) error {
	return fmt.Errorf("line %d: expected %s", 1+strings.Count(p.text[:min(at, len(p.text))], "\n"), want)
}

// blank skips white space and comments.
func (p *jsonText) blank(i int) int {
	for i < len(p.text) {
		switch rest := p.text[i:]; {
		case strings.HasPrefix(rest, "//"):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				return len(p.text)
			}
			i += n
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest, "*/")
			if n < 0 {
				return len(p.text)
			}
			i += n + 2
		case strings.HasPrefix(rest, "\uFEFF"):
			i += len("\uFEFF")
		case strings.ContainsRune(" \t\r\n", rune(rest[0])):
			i++
		default:
			return i
		}
	}
	return i
}

func (p *jsonText) is(i int, c byte) bool { return i < len(p.text) && p.text[i] == c }

func (p *jsonText) object(i int) (jsonObject, error) {
	if !p.is(i, '{') {
		return jsonObject{}, p.wrong(i, "{")
	}
	if p.depth++; p.depth > 100 {
		return jsonObject{}, errors.New("nested too deeply")
	}
	defer func() { p.depth-- }()
	o := jsonObject{start: i, last: i + 1}
	for i = p.blank(i + 1); !p.is(i, '}'); i = p.blank(i) {
		if len(o.members) > 0 && !o.comma {
			return o, p.wrong(i, ", or }")
		}
		m := jsonMember{start: i}
		end, err := p.str(i)
		if err != nil {
			return o, err
		}
		if err := json.Unmarshal([]byte(p.text[i:end]), &m.key); err != nil {
			return o, p.wrong(i, "a key")
		}
		if i = p.blank(end); !p.is(i, ':') {
			return o, p.wrong(i, ":")
		}
		m.value = p.blank(i + 1)
		if m.behind, err = p.skip(m.value); err != nil {
			return o, err
		}
		o.members, o.last = append(o.members, m), m.behind
		i = p.blank(m.behind)
		if o.comma = p.is(i, ','); o.comma {
			i++
			o.last = i
		}
	}
	o.end = i + 1
	return o, nil
}

func (p *jsonText) str(i int) (int, error) {
	if !p.is(i, '"') {
		return 0, p.wrong(i, `"`)
	}
	for j := i + 1; j < len(p.text); j++ {
		switch p.text[j] {
		case '\\':
			j++
		case '"':
			return j + 1, nil
		case '\n':
			return 0, p.wrong(j, `"`)
		}
	}
	return 0, p.wrong(len(p.text), `"`)
}

// skip returns where a value ends.
func (p *jsonText) skip(i int) (int, error) {
	switch {
	case p.is(i, '{'):
		o, err := p.object(i)
		return o.end, err
	case p.is(i, '['):
		return p.array(i)
	case p.is(i, '"'):
		return p.str(i)
	}
	end := i
	for end < len(p.text) && strings.IndexByte(" \t\r\n,]}/", p.text[end]) < 0 {
		end++
	}
	if !json.Valid([]byte(p.text[i:end])) {
		return 0, p.wrong(i, "a value")
	}
	return end, nil
}

func (p *jsonText) array(i int) (int, error) {
	if p.depth++; p.depth > 100 {
		return 0, errors.New("nested too deeply")
	}
	defer func() { p.depth-- }()
	for i = p.blank(i + 1); !p.is(i, ']'); i = p.blank(i) {
		end, err := p.skip(i)
		if err != nil {
			return 0, err
		}
		if i = p.blank(end); p.is(i, ',') {
			i++
		} else if !p.is(i, ']') {
			return 0, p.wrong(i, ", or ]")
		}
	}
	return i + 1, nil
}
