package graphql

import (
	"slices"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// maxFields is how many root fields are kept.
const maxFields = 64

// document reads a GraphQL document (GraphQL specification, section 2) as far as its operations' types, names and root fields.
type document struct{ rest string }

// describe finds the operation that a client chose by name, or the first one. It reports false for what is no GraphQL.
func describe(text, chosen string) (op traffic.GraphQLOperation, ok bool) {
	op.Query = text
	d := document{strings.TrimPrefix(text, "\ufeff")}
	for {
		one, kind := traffic.GraphQLOperation{}, d.next()
		sound := true
		switch kind {
		case "{":
			one.Operation = "query"
			if one.Fields, sound = d.selection(); !sound && !ok {
				return op, false // a lone brace begins other languages too
			}
		case "query", "mutation", "subscription":
			one.Operation = kind
			if one.Name, sound = d.header(); !sound {
				return op, ok
			}
			one.Fields, sound = d.selection()
		case "fragment":
			if _, sound = d.header(); sound {
				_, sound = d.selection()
			}
		default: // the end, or nothing that is known
			return op, ok
		}
		if one.Operation != "" && (!ok || chosen != "" && one.Name == chosen) {
			op.Operation, op.Name, op.Fields, ok = one.Operation, one.Name, one.Fields, true
		}
		if !sound {
			return op, ok
		}
	}
}

// header reads from behind the keyword to the brace that begins the selection set. The first name is the operation's.
func (d *document) header() (name string, ok bool) {
	for first := true; ; first = false {
		switch t := d.next(); {
		case t == "{":
			return name, true
		case t == "(":
			if !d.skip() {
				return name, false
			}
		case t == "@", t == "on":
		case t != "" && isName(t[0]):
			if first {
				name = t
			}
		default:
			return name, false
		}
	}
}

// selection reads a selection set behind its brace.
func (d *document) selection() (fields []string, ok bool) {
	note := func(name string) {
		if name != "" && len(fields) < maxFields && !slices.Contains(fields, name) {
			fields = append(fields, name)
		}
	}
	last, spread := "", false // a name may turn out to be an alias
	for depth := 1; depth > 0; {
		t := d.next()
		switch {
		case t == ":":
			last = ""
			continue
		case t == "(":
			if !d.skip() {
				note(last)
				return fields, false
			}
			continue
		case t == "...", t == "@":
			note(last)
			last, spread = "", true
			continue
		case t == "{":
			depth++
		case t == "}":
			depth--
		case t != "" && isName(t[0]):
			if spread && t == "on" { // the type's name follows
				continue
			}
			if !spread && depth == 1 {
				note(last)
				last = t
			}
			spread = false
			continue
		default:
			note(last)
			return fields, t == ""
		}
		note(last)
		last, spread = "", false
	}
	return fields, true
}

// skip passes arguments, up to the parenthesis that closes them.
func (d *document) skip() bool {
	for depth := 1; depth > 0; {
		switch d.next() {
		case "":
			return false
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		}
	}
	return true
}

// next is the next token: a name, a punctuator, `"` for a string, 0 for a number. It is empty at the end.
func (d *document) next() string {
	s := d.rest
	for s != "" {
		switch c := s[0]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',':
			s = s[1:]
		case c == '#':
			k := strings.IndexAny(s, "\r\n")
			if k < 0 {
				k = len(s)
			}
			s = s[k:]
		case c == '"':
			d.rest = afterString(s)
			return `"`
		case isName(c):
			n := 1
			for n < len(s) && (isName(s[n]) || isDigit(s[n])) {
				n++
			}
			d.rest = s[n:]
			return s[:n]
		case isDigit(c) || c == '-':
			n := 1
			for n < len(s) && (isDigit(s[n]) || strings.IndexByte(".eE+-", s[n]) >= 0) {
				n++
			}
			d.rest = s[n:]
			return "0"
		case strings.HasPrefix(s, "..."):
			d.rest = s[3:]
			return "..."
		default:
			d.rest = s[1:]
			return s[:1]
		}
	}
	d.rest = ""
	return ""
}

// afterString is what follows a string or block string.
func afterString(s string) string {
	if rest, ok := strings.CutPrefix(s, `"""`); ok {
		for {
			k := strings.Index(rest, `"""`)
			if k < 0 {
				return ""
			}
			if k == 0 || rest[k-1] != '\\' {
				return rest[k+3:]
			}
			rest = rest[k+3:]
		}
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"', '\n':
			return s[i+1:]
		}
	}
	return ""
}

func isName(c byte) bool  { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
