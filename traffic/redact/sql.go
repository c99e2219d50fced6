package redact

import (
	"slices"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// postgresqlCall redacts a PostgreSQL call. Literals and parameters are secret by the column or option that they belong to,
// and by their looks; names are not. The fingerprint has no literals.
func (r *Redactor) postgresqlCall(c *traffic.Call) {
	p := c.PostgreSQL
	if p == nil {
		return
	}
	spans, parameters := r.sql(p.Query)
	p.Query = r.apply(c, p.Query, view(p.Query), spans, "request.sql")
	if len(p.Arguments) > 0 {
		p.Arguments = slices.Clone(p.Arguments) // the dissector goes on with its own
	}
	for i := range p.Arguments {
		place := "request.argument:" + strconv.Itoa(i+1)
		if kind := parameters[i+1]; kind != "" && p.Arguments[i] != "NULL" {
			p.Arguments[i] = r.whole(c, p.Arguments[i], kind, place)
			continue
		}
		p.Arguments[i] = r.field(c, p.Arguments[i], 0, place)
	}
	p.Message = r.field(c, p.Message, 0, "response.error")
	switch p.Authentication {
	case "password", "md5", "scram": // its value was never kept, so that there is nothing to compare
		found := traffic.Credential{Kind: p.Authentication, Place: "request.authentication"}
		if !slices.Contains(c.Credentials, found) {
			c.Credentials = append(c.Credentials, found)
		}
	}
}

// sql finds the secret literals of a SQL text, and the kinds of its parameters that are secret.
func (r *Redactor) sql(s string) (spans []span, parameters map[int]string) {
	k := sqlReader{s: s, r: r}
	for k.at < len(s) {
		k.token()
	}
	return k.spans, k.parameters
}

// sqlReader follows which column or option a literal belongs to: password = 'x', PASSWORD 'x', and
// INSERT INTO t (a, password) VALUES (1, 'x').
type sqlReader struct {
	s          string
	at         int
	r          *Redactor
	spans      []span
	parameters map[int]string

	name    string // the last word that may name what follows
	depth   int
	in      int // depth of an IN list, whose literals share a name
	insert  bool
	columns []string // of INSERT
	listing bool     // within the list of columns
	values  bool
	column  int
}

func (k *sqlReader) token() {
	s, from := k.s, k.at
	switch c := s[from]; {
	case c == '\'':
		k.text(from, false)
	case c == '"':
		k.at = sqlQuoted(s, from, '"', false)
		k.word(strings.Trim(s[from:k.at], `"`))
	case c == '$':
		k.dollar()
	case c == '-' && strings.HasPrefix(s[from:], "--"):
		k.at = from + strings.IndexByte(s[from:]+"\n", '\n')
		k.looks(from, k.at)
	case c == '/' && strings.HasPrefix(s[from:], "/*"):
		if n := strings.Index(s[from+2:], "*/"); n >= 0 {
			k.at = from + n + 4
		} else {
			k.at = len(s)
		}
		k.looks(from, k.at)
	case class[c] == cWord || c >= 0x80:
		for k.at < len(s) && (class[s[k.at]] == cWord || s[k.at] >= 0x80 || s[k.at] == '$') {
			k.at++
		}
		if k.at < len(s) && s[k.at] == '\'' && k.at-from == 1 && strings.Contains("eEnNbBxX", s[from:k.at]) {
			k.text(k.at, c|0x20 == 'e')
			return
		}
		if isDigit(c) {
			k.literal(from, k.at)
		} else {
			k.word(s[from:k.at])
		}
	default:
		k.at++
		k.punctuation(c)
	}
}

func (k *sqlReader) punctuation(c byte) {
	switch c {
	case '(':
		k.depth++
		if strings.EqualFold(k.name, "values") {
			k.values, k.name = true, ""
		}
		if k.insert && k.columns == nil && !k.values && k.depth == 1 {
			k.listing = true
		}
		if k.values && k.depth == 1 {
			k.column = 0
		}
	case ')':
		k.depth--
		k.listing = false
		if k.in > k.depth {
			k.in = 0
		}
	case ',':
		if k.values && k.depth == 1 {
			k.column++
		}
		if k.in == 0 {
			k.name = ""
		}
	case ';':
		k.name, k.insert, k.columns, k.values, k.depth = "", false, nil, false, 0
	}
}

func (k *sqlReader) word(w string) {
	switch strings.ToUpper(w) {
	case "IN":
		k.in = k.depth + 1
		return
	case "LIKE", "ILIKE", "TO", "IS", "NOT", "ANY", "ENCRYPTED", "UNENCRYPTED", "TEXT", "VARCHAR":
		return
	case "INSERT":
		k.insert = true
	case "RETURNING", "CONFLICT", "SELECT":
		k.values = false
	}
	if k.listing && len(k.columns) < 1024 {
		k.columns = append(k.columns, w)
	}
	k.name = w
}

// kind is what kind of secret stands here, "" for none.
func (k *sqlReader) kind() (kind, name string) {
	name = k.name
	if k.values && k.depth == 1 && k.column < len(k.columns) {
		name = k.columns[k.column]
	}
	return k.r.keyKind(view(name)), name
}

func (k *sqlReader) text(open int, escapes bool) {
	k.at = sqlQuoted(k.s, open, '\'', escapes)
	end := k.at
	if end > open+1 && k.s[end-1] == '\'' {
		end--
	}
	k.literal(open+1, end)
}

// dollar reads $1 and $tag$text$tag$.
func (k *sqlReader) dollar() {
	s, i := k.s, k.at+1
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	if i > k.at+1 {
		n, err := strconv.Atoi(s[k.at+1 : i])
		k.at = i
		if kind, _ := k.kind(); kind != "" && err == nil {
			if k.parameters == nil {
				k.parameters = map[int]string{}
			}
			k.parameters[n] = kind
		}
		return
	}
	for i < len(s) && class[s[i]] == cWord {
		i++
	}
	if i >= len(s) || s[i] != '$' {
		k.at++
		return
	}
	tag, from := s[k.at:i+1], i+1
	n := strings.Index(s[from:], tag)
	if n < 0 {
		k.at = len(s)
		k.literal(from, k.at)
		return
	}
	k.at = from + n + len(tag)
	k.literal(from, from+n)
}

// literal notes a value that is secret by its name, or looks into it.
func (k *sqlReader) literal(from, to int) {
	kind, name := k.kind()
	b := view(k.s[from:to])
	switch {
	case len(b) == 0:
	case kind == "":
		k.looks(from, to)
	case marker(b) != len(b):
		k.spans = append(k.spans, span{from: from, to: to, kind: kind, name: view(name)})
	}
}

// looks finds secrets in a part of the text by their looks.
func (k *sqlReader) looks(from, to int) {
	if to-from < 5 {
		return
	}
	n := len(k.spans)
	k.spans = k.r.find(k.spans, view(k.s[from:to]), 0)
	for i := n; i < len(k.spans); i++ {
		k.spans[i].from += from
		k.spans[i].to += from
	}
}

// sqlQuoted is the end of a text in quotes; doubled quotes stand for one.
func sqlQuoted(s string, i int, q byte, escapes bool) int {
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
