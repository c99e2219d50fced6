package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxErrors is how many errors of one file are shown.
const maxErrors = 10

// Error is one mistake in a file, with its place.
type Error struct {
	File         string
	Line, Column int    // from 1; Column counts characters. 0 where unknown
	Msg          string // what is wrong
	Hint         string // what to do about it, where that is known
	Source       string // the line as it stands in the file
}

// Error prints place and message, the line with a caret under the place, and the hint.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Line > 0 && e.Column > 0 {
		fmt.Fprintf(&b, ":%d", e.Column)
	}
	b.WriteString(": " + e.Msg)
	if e.Line > 0 && strings.TrimSpace(e.Source) != "" {
		b.WriteString("\n" + Caret(e.Source, e.Line, e.Column))
	}
	if e.Hint != "" {
		b.WriteString("\nhint: " + e.Hint)
	}
	return b.String()
}

// caretWidth is how much of a long source line is shown around the caret.
const caretWidth = 120

// Caret prints a source line with its number and, when column is above 0, a caret under that column. Tabs are kept, so
// that the caret stands right at any tab width; a long line is cut around the caret.
func Caret(source string, line, column int) string {
	number := strconv.Itoa(line)
	runes := []rune(strings.TrimRight(strings.ToValidUTF8(source, "\uFFFD"), "\r\n"))
	cut := ""
	if start := column - caretWidth*3/4; len(runes) > caretWidth && start > 0 {
		start = min(start, len(runes))
		runes, column, cut = runes[start:], column-start+1, "…"
	}
	if len(runes) > caretWidth {
		runes = append(slices.Clip(runes[:caretWidth]), '…')
	}
	text := fmt.Sprintf(" %s | %s%s", number, cut, string(runes))
	if column <= 0 {
		return text
	}
	pad := []rune(cut + string(runes))
	pad = pad[:min(len(pad), column-1)]
	for i, r := range pad {
		if r != '\t' {
			pad[i] = ' '
		}
	}
	return fmt.Sprintf("%s\n %s | %s^", text, strings.Repeat(" ", len(number)), string(pad))
}

// Errors are all mistakes that were found in a file, in the order of its lines.
type Errors []*Error

// Error prints the first ten.
func (e Errors) Error() string {
	parts := make([]string, 0, min(len(e), maxErrors)+1)
	for _, one := range e[:min(len(e), maxErrors)] {
		parts = append(parts, one.Error())
	}
	switch more := len(e) - maxErrors; {
	case more == 1:
		parts = append(parts, "… and 1 more error")
	case more > 1:
		parts = append(parts, fmt.Sprintf("… and %d more errors", more))
	}
	return strings.Join(parts, "\n")
}

// Unwrap lets errors.As find the single [Error] values.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, one := range e {
		errs[i] = one
	}
	return errs
}

// sorted orders by place and takes out repetitions.
func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return slices.CompactFunc(e, func(a, b *Error) bool { return a.Line == b.Line && a.Column == b.Column && a.Msg == b.Msg })
}

// Suggest returns the candidate that a name was probably meant to be, or "".
func Suggest(name string, candidates []string) string {
	best, bestDistance := "", 1+max(1, utf8.RuneCountInString(name)/3)
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < bestDistance || d == bestDistance && best != "" && c < best {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of neighbours that turn a into b.
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	if len(s) > 64 || len(t) > 64 {
		return 64
	}
	before, last := make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(s); i++ {
		row := make([]int, len(t)+1)
		row[0] = i
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(t)]
}
