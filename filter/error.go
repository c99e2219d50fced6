package filter

import (
	"fmt"
	"strings"
)

// Error is why a text is not a filter, and where.
type Error struct {
	Offset int    // byte in the source
	Line   int    // from 1; counted from the base where [At] gave one
	Column int    // from 1, in code points; the same
	Msg    string // one sentence without position
	Hint   string // what to write instead; may be empty
	File   string // from [At]; may be empty
	Text   string // the source line that the position lies in, or what stands around the position where it is long
	caret  int    // column of the caret within Text, from 0
}

// Error is the message with its position, and the line with a caret below the place.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ":")
	}
	fmt.Fprintf(&b, "%d:%d: %s", e.Line, e.Column, e.Msg)
	if e.Text != "" {
		b.WriteString("\n  " + e.Text + "\n  " + caretIndent(e.Text, e.caret) + "^")
	}
	if e.Hint != "" {
		b.WriteString("\nhint: " + e.Hint)
	}
	return b.String()
}

// caretIndent keeps tabs, so that the caret stands below its place whatever a tab's width.
func caretIndent(line string, column int) string {
	var b strings.Builder
	for i, r := range []rune(line) {
		if i >= column {
			break
		}
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// Base says where in a file an expression stands.
type Base struct {
	File   string
	Line   int // of the expression's first character, from 1
	Column int // of the expression's first character, from 1
	Indent int // columns that every further line of the expression is indented by in the file
}

// newError places a message at a code point of the source.
func newError(src string, base Base, at int, msg, hint string) *Error {
	runes := []rune(src)
	at = max(0, min(at, len(runes)))
	line, start := 0, 0
	for i, r := range runes[:at] {
		if r == '\n' {
			line, start = line+1, i+1
		}
	}
	end := start
	for end < len(runes) && runes[end] != '\n' {
		end++
	}
	e := &Error{Offset: len(string(runes[:at])), Line: line + 1, Column: at - start + 1, Msg: msg, Hint: hint, File: base.File}
	e.Text, e.caret = excerpt(runes[start:end], at-start)
	if base.Line > 0 {
		e.Line += base.Line - 1
		switch {
		case line > 0:
			e.Column += base.Indent
		case base.Column > 0:
			e.Column += base.Column - 1
		}
	}
	return e
}

// widest is how many code points of a line are shown.
const widest = 120

// excerpt cuts a long line around a column.
func excerpt(line []rune, column int) (string, int) {
	from, to := 0, len(line)
	if to > widest {
		from = max(0, min(column-widest/2, to-widest))
		to = from + widest
	}
	text := strings.TrimRight(string(line[from:to]), "\r")
	if to < len(line) {
		text += "…"
	}
	if from > 0 {
		return "…" + text, column - from + 1
	}
	return text, column
}
