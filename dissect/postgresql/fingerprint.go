package postgresql

import "strings"

// Limits of what is made of one SQL text.
const (
	maxFingerprint = 4 << 10
	maxCollapse    = 1 << 16
)

// Fingerprint is a SQL text without what differs from one execution to the next: literals and parameters are ?, lists of
// them are one, rows of VALUES are one, comments are gone and white space is normal. Identifiers and keywords stay as they
// were written. It is cut at 4 KiB.
func Fingerprint(sql string) string {
	f := fingerprint{t: tokenizer{s: sql}}
	f.out.Grow(min(len(sql), maxFingerprint) + 8)
	for f.t.next() {
		f.token()
		if f.out.Len() > maxCollapse {
			break
		}
	}
	text := strings.TrimRight(f.out.String(), "; ")
	text = collapse(text)
	if len(text) > maxFingerprint {
		text = strings.ToValidUTF8(text[:maxFingerprint], "") + "…"
	}
	return text
}

// kind of a token.
type kind uint8

const (
	word        kind = iota // keyword, identifier, quoted identifier
	literal                 // string, number, parameter
	operator                // one or more operator characters
	punctuation             // ( ) [ ] , ; . and ::
)

// tokenizer cuts SQL as PostgreSQL's scanner does (section "Lexical Structure"), forgiving ends that are missing.
type tokenizer struct {
	s     string
	at    int
	text  string
	kind  kind
	space bool // white space or a comment stood before
}

func (t *tokenizer) next() bool {
	t.space = t.skip()
	if t.at >= len(t.s) {
		return false
	}
	from, c := t.at, t.s[t.at]
	switch {
	case c == '\'':
		t.kind, t.at = literal, quoted(t.s, t.at, '\'', false)
	case c == '"':
		t.kind, t.at = word, quoted(t.s, t.at, '"', false)
	case c == '$':
		t.dollar()
	case isDigit(c), c == '.' && t.at+1 < len(t.s) && isDigit(t.s[t.at+1]):
		t.kind = literal
		t.number()
	case isWord(c):
		t.word()
	case strings.IndexByte("()[],;.", c) >= 0:
		t.kind = punctuation
		t.at++
	case c == ':':
		t.kind = punctuation
		for t.at < len(t.s) && (t.s[t.at] == ':' || t.s[t.at] == '=') {
			t.at++
		}
		if t.s[from:t.at] == ":=" {
			t.kind = operator
		}
	default:
		t.kind = operator
		t.operator()
	}
	t.text = t.s[from:t.at]
	return true
}

// skip passes white space and comments. Comments of the second form nest.
func (t *tokenizer) skip() (some bool) {
	for t.at < len(t.s) {
		switch c := t.s[t.at]; {
		case c <= ' ':
			t.at++
		case c == '-' && strings.HasPrefix(t.s[t.at:], "--"):
			n := strings.IndexByte(t.s[t.at:], '\n')
			if n < 0 {
				n = len(t.s) - t.at - 1
			}
			t.at += n + 1
		case c == '/' && strings.HasPrefix(t.s[t.at:], "/*"):
			t.comment()
		default:
			return some
		}
		some = true
	}
	return some
}

func (t *tokenizer) comment() {
	depth := 0
	for t.at < len(t.s) {
		switch {
		case strings.HasPrefix(t.s[t.at:], "/*"):
			depth++
			t.at += 2
		case strings.HasPrefix(t.s[t.at:], "*/"):
			depth--
			t.at += 2
		default:
			t.at++
		}
		if depth == 0 {
			return
		}
	}
}

// quoted is the end of a text in quotes that begins at i; doubled quotes stand for one.
func quoted(s string, i int, q byte, escapes bool) int {
	for i++; i < len(s); i++ {
		switch {
		case escapes && s[i] == '\\':
			i++
		case s[i] == q && i+1 < len(s) && s[i+1] == q:
			i++
		case s[i] == q:
			return i + 1
		}
	}
	return len(s)
}

// dollar reads $1, $$text$$ and $tag$text$tag$.
func (t *tokenizer) dollar() {
	t.kind = literal
	i := t.at + 1
	for i < len(t.s) && isDigit(t.s[i]) {
		i++
	}
	if i > t.at+1 {
		t.at = i
		return
	}
	for i < len(t.s) && isWord(t.s[i]) {
		i++
	}
	if i >= len(t.s) || t.s[i] != '$' {
		t.kind, t.at = operator, t.at+1
		return
	}
	tag := t.s[t.at : i+1]
	if n := strings.Index(t.s[i+1:], tag); n >= 0 {
		t.at = i + 1 + n + len(tag)
		return
	}
	t.at = len(t.s)
}

func (t *tokenizer) number() {
	for t.at < len(t.s) {
		c := t.s[t.at]
		if (c == '+' || c == '-') && (t.s[t.at-1] == 'e' || t.s[t.at-1] == 'E') && t.at+1 < len(t.s) && isDigit(t.s[t.at+1]) {
			t.at++
			continue
		}
		if !isDigit(c) && c != '.' && c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') || strings.HasPrefix(t.s[t.at:], "..") {
			return
		}
		t.at++
	}
}

// word reads a name, or a string with a letter before it: E'…', B'…', X'…', N'…', U&'…'.
func (t *tokenizer) word() {
	from := t.at
	for t.at < len(t.s) && (isWord(t.s[t.at]) || isDigit(t.s[t.at]) || t.s[t.at] == '$') {
		t.at++
	}
	t.kind = word
	if n := t.at - from; n == 1 && t.at < len(t.s) {
		switch c := t.s[from] | 0x20; {
		case t.s[t.at] == '\'' && strings.IndexByte("ebxn", c) >= 0:
			t.kind, t.at = literal, quoted(t.s, t.at, '\'', c == 'e')
		case c == 'u' && strings.HasPrefix(t.s[t.at:], "&'"):
			t.kind, t.at = literal, quoted(t.s, t.at+1, '\'', false)
		case c == 'u' && strings.HasPrefix(t.s[t.at:], "&\""):
			t.at = quoted(t.s, t.at+1, '"', false)
		}
	}
}

func (t *tokenizer) operator() {
	from := t.at
	for t.at < len(t.s) && strings.IndexByte("+-*/<>=~!@#%^&|`?\\{}", t.s[t.at]) >= 0 {
		if t.at > from && (strings.HasPrefix(t.s[t.at:], "--") || strings.HasPrefix(t.s[t.at:], "/*")) {
			break
		}
		// PostgreSQL ends an operator before a sign: a=-1 is = and -1.
		if t.at > from && (t.s[t.at] == '-' || t.s[t.at] == '+') && !strings.ContainsAny(t.s[from:t.at], "~!@#%^&|`?") {
			break
		}
		t.at++
	}
	if t.at == from {
		t.at++
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isWord(c byte) bool  { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c >= 0x80 }

// fingerprint writes the tokens down.
type fingerprint struct {
	t    tokenizer
	out  strings.Builder
	last string // the token before, "?" for literals
	kind kind
	sign bool // a sign that may belong to a number waits
	mark string
}

func (f *fingerprint) token() {
	text, k := f.t.text, f.t.kind
	if k == literal {
		text = "?"
		if f.sign { // -5 is a literal as a whole
			f.sign = false
		}
		f.write(text, k, f.t.space)
		return
	}
	f.flush()
	if (text == "-" || text == "+") && f.unary() {
		f.sign, f.mark = true, text
		return
	}
	f.write(text, k, f.t.space)
}

// flush writes a sign that no number followed.
func (f *fingerprint) flush() {
	if f.sign {
		f.sign = false
		f.write(f.mark, operator, true)
	}
}

// unary reports whether a sign here has nothing on its left.
func (f *fingerprint) unary() bool {
	switch {
	case f.last == "", f.kind == operator && f.last != "*":
		return true
	case f.kind == punctuation:
		return f.last == "(" || f.last == "," || f.last == "["
	case f.kind == word:
		switch strings.ToUpper(f.last) {
		case "SELECT", "WHERE", "AND", "OR", "NOT", "THEN", "ELSE", "WHEN", "BETWEEN", "LIMIT", "OFFSET", "VALUES", "BY", "RETURNING", "SET", "IN":
			return true
		}
	}
	return false
}

func (f *fingerprint) write(text string, k kind, space bool) {
	if f.last != "" && f.apart(text, k, space) {
		f.out.WriteByte(' ')
	}
	f.out.WriteString(text)
	f.last, f.kind = text, k
}

// apart reports whether a space stands before a token.
func (f *fingerprint) apart(text string, k kind, space bool) bool {
	switch f.last {
	case "(", "[", ".", "::":
		return false
	}
	switch text {
	case ")", "]", ",", ";", ".", "::", "[":
		return false
	case "(": // a function's call or a list: as it was written
		return f.kind != word || space
	}
	return true
}

// collapse makes one of lists of ? and of rows of them.
func collapse(s string) string {
	if !strings.Contains(s, "?, ?") && !strings.Contains(s, "), (") {
		return s
	}
	s = lists(s)
	return rows(s)
}

// lists makes IN (?, ?, ?) and ARRAY[?, ?] one ?.
func lists(s string) string {
	var out strings.Builder
	for {
		i := strings.Index(s, "?, ?")
		if i <= 0 {
			break
		}
		end := i + 1
		for strings.HasPrefix(s[end:], ", ?") {
			end += 3
		}
		open := s[i-1]
		whole := end < len(s) && (open == '(' && s[end] == ')' && isIn(out.String(), s[:i-1]) || open == '[' && s[end] == ']')
		if whole {
			out.WriteString(s[:i+1])
		} else {
			out.WriteString(s[:end])
		}
		s = s[end:]
	}
	out.WriteString(s)
	return out.String()
}

// isIn reports whether the text before a parenthesis ends with IN; it may have been cut between the two parts.
func isIn(before, s string) bool {
	if len(s) < 4 {
		s = before[max(0, len(before)-4):] + s
	}
	s = strings.TrimRight(s, " ")
	n := len(s)
	return n >= 2 && strings.EqualFold(s[n-2:], "in") && (n == 2 || !isWord(s[n-3]) && !isDigit(s[n-3]))
}

// rows makes VALUES (?, ?), (?, ?) one row.
func rows(s string) string {
	const head = "VALUES "
	from := 0
	for {
		i := indexFold(s[from:], head)
		if i < 0 {
			return s
		}
		from += i + len(head)
		if from >= len(s) || s[from] != '(' {
			continue
		}
		end := closing(s, from)
		if end < 0 {
			return s
		}
		row, rest := s[from:end], s[end:]
		for strings.HasPrefix(rest, ", ") && strings.HasPrefix(rest[2:], row) {
			rest = rest[2+len(row):]
		}
		s = s[:end] + rest
		from = end
	}
}

func indexFold(s, upper string) int {
	for i := 0; i+len(upper) <= len(s); i++ {
		if s[i]|0x20 == upper[0]|0x20 && strings.EqualFold(s[i:i+len(upper)], upper) {
			return i
		}
	}
	return -1
}

// closing is behind the parenthesis that closes the one at i, -1 without.
func closing(s string, i int) int {
	depth := 0
	for ; i < len(s); i++ {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"':
			i = quoted(s, i, '"', false) - 1
		}
	}
	return -1
}

// command is what a SQL text does: its first keyword in upper case, or what stands behind its WITH clause. Empty for text
// that holds no statement.
func command(sql string) string {
	t := tokenizer{s: sql}
	depth, with := 0, false
	for n := 0; t.next() && n < 10_000; n++ {
		switch {
		case t.text == "(":
			depth++
		case t.text == ")":
			depth--
		case t.kind == word:
			name := strings.ToUpper(t.text)
			if !with && name == "WITH" {
				with = true
				continue
			}
			if !with {
				return cut(name, 32)
			}
			if depth == 0 {
				switch name {
				case "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES", "TABLE":
					return name
				}
			}
		}
	}
	if with {
		return "WITH"
	}
	return ""
}

// cut shortens text to n bytes at most, between characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}
