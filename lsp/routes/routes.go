package routes

import (
	"path/filepath"
	"slices"
	"strings"
)

// maxText bounds what is read of a file; routes are not written in larger ones.
const maxText = 1 << 20

// Route is one registration.
type Route struct {
	Line      int    // from 0
	From, To  int    // bytes of the line: the registration, as far as the end of its path
	Method    string // GET; "" for any; "gRPC"
	Path      string // parameters are {}, a rest is {*}: /items/{}; of gRPC Service/Method, either may be {}
	Framework string
	parts     []string // of the path
}

// Reads says whether files of this name are scanned.
func Reads(path string) bool { return languageOf(path) != none }

type language int

const (
	none language = iota
	golang
	script // JavaScript and TypeScript
	python
	java // and Kotlin
)

func languageOf(path string) language {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".go":
		if strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".pb.go") {
			return none
		}
		return golang
	case ".js", ".mjs", ".cjs", ".ts", ".mts", ".cts":
		return script
	case ".py":
		return python
	case ".java", ".kt":
		return java
	}
	return none
}

// Scan finds the routes that a file registers, in its order.
func Scan(path, text string) []Route {
	if len(text) > maxText {
		return nil
	}
	s := &scan{text: text}
	switch languageOf(path) {
	case golang:
		if mentions(text, "net/http", "chi", "gin-gonic/gin", "labstack/echo", "google.golang.org/grpc") {
			s.code = blank(text, "//", "/*", "*/", "`")
			s.golang()
		}
	case script:
		if mentions(text, "express", "fastify", "Fastify") {
			s.code = blank(text, "//", "/*", "*/", "`")
			s.script()
		}
	case python:
		if mentions(text, "flask", "fastapi") {
			s.code = blank(text, "#", `"""`, `"""`, "")
			s.python()
		}
	case java:
		if mentions(text, "org.springframework") {
			s.code = blank(text, "//", "/*", "*/", "")
			s.spring()
		}
	}
	slices.SortStableFunc(s.routes, func(a, b Route) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.From - b.From
	})
	return s.routes
}

func mentions(text string, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}

// scan is the reading of one file.
type scan struct {
	text   string
	code   string // text with comments blanked; offsets are the same
	lines  []int
	routes []Route
}

// maxRoutes bounds what one file gives.
const maxRoutes = 1000

// add notes a registration between two offsets.
func (s *scan) add(from, to int, method, path, framework string) {
	if len(s.routes) >= maxRoutes {
		return
	}
	if s.lines == nil {
		s.lines = []int{0}
		for i := range len(s.text) {
			if s.text[i] == '\n' {
				s.lines = append(s.lines, i+1)
			}
		}
	}
	line, _ := slices.BinarySearch(s.lines, from+1)
	line--
	end := len(s.text)
	if line+1 < len(s.lines) {
		end = s.lines[line+1] - 1
	}
	r := Route{Line: line, From: from - s.lines[line], To: min(to, end) - s.lines[line], Method: method, Path: path, Framework: framework}
	if method != "gRPC" {
		r.Path = Normal(path)
		r.parts = split(r.Path)
	}
	s.routes = append(s.routes, r)
}

// blank replaces comments by spaces and leaves strings. Where strings of a kind hold text of any sort, raw is their quote.
func blank(text, line, open, end, raw string) string {
	b := []byte(text)
	for i := 0; i < len(b); {
		rest := text[i:]
		switch {
		case strings.HasPrefix(rest, open):
			n := strings.Index(rest[len(open):], end)
			if n < 0 {
				n = len(rest)
			} else {
				n += len(open) + len(end)
			}
			wipe(b[i : i+n])
			i += n
		case strings.HasPrefix(rest, line):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			wipe(b[i : i+n])
			i += n
		case raw != "" && strings.HasPrefix(rest, raw):
			n := strings.Index(rest[1:], raw)
			if n < 0 {
				return string(b)
			}
			i += n + 2
		case rest[0] == '"' || rest[0] == '\'':
			i += quoted(rest)
		default:
			i++
		}
	}
	return string(b)
}

// quoted is the length of the string that a text begins with; it ends with its line at the latest.
func quoted(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case text[0]:
			return i + 1
		case '\n':
			return i
		}
	}
	return len(text)
}

func wipe(b []byte) {
	for i := range b {
		if b[i] != '\n' {
			b[i] = ' '
		}
	}
}

// Normal is a path with its parameters as {} and its rest as {*}, whatever the framework writes.
func Normal(path string) string {
	path, _, _ = strings.Cut(path, "?")
	if path == "" || path == "/" {
		return "/"
	}
	parts := split(path)
	for i, p := range parts {
		switch {
		case p == "{$}":
			parts[i] = ""
		case strings.HasPrefix(p, "*"), strings.HasPrefix(p, "{*"), strings.HasSuffix(p, "...}"), strings.HasPrefix(p, "<path:"), strings.HasSuffix(p, ":path}"):
			parts[i] = "{*}"
		case strings.HasPrefix(p, ":"), strings.ContainsAny(p, "{<"):
			parts[i] = "{}"
		}
	}
	return "/" + strings.TrimSuffix(strings.Join(parts, "/"), "/")
}

// split cuts a path at its slashes, but not at those within the braces of a parameter: {id:[^/]+}.
func split(path string) []string {
	var parts []string
	depth, from := 0, 0
	path = strings.TrimPrefix(path, "/")
	for i := range len(path) {
		switch path[i] {
		case '{':
			depth++
		case '}':
			depth--
		case '/':
			if depth <= 0 {
				parts = append(parts, path[from:i])
				from = i + 1
			}
		}
	}
	return append(parts, path[from:])
}

func join(prefix, path string) string {
	if prefix == "" {
		return path
	}
	return strings.TrimSuffix(prefix, "/") + "/" + strings.TrimPrefix(path, "/")
}
