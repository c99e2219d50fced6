package routes

import (
	"regexp"
	"slices"
	"strings"
)

// Call is a line that asks another service: a client's request whose path is written there.
type Call struct {
	Route
	Host string // without port, "" where it is not written there
}

var (
	goRequest = regexp.MustCompile(`\bhttp\.(NewRequest(?:WithContext)?)\(`)
	goClient  = regexp.MustCompile(`\b\w+\.(Get|Head|Post|PostForm)\(`)
	goRemote  = regexp.MustCompile(`\b(New([A-Z]\w*)Client)\(`)
	goMethod  = regexp.MustCompile(`^(?:http\.Method([A-Z][a-z]+)|"([A-Z]+)")$`)
	jsClient  = regexp.MustCompile(`\b(?:fetch|(?:axios|got|ky|request|http)(?:\.(get|post|put|delete|patch|head))?)\(`)
	jsOption  = regexp.MustCompile(`\bmethod\s*:\s*["'](\w+)["']`)
	pyClient  = regexp.MustCompile(`\b(?:requests|httpx|client|session|http|self\.\w+)\.(get|post|put|delete|patch|head|options)\(`)
	jvClient  = regexp.MustCompile(`\.(getForObject|getForEntity|postForObject|postForEntity|uri)\(`)
	verbs     = regexp.MustCompile(`%[-+ #0-9.]*[a-zA-Z]`)
)

// hole stands for what is computed in a text.
const hole = "\x00"

// Calls finds the requests that a file makes of others, in its order. Those whose path is computed are not found.
func Calls(path, text string) []Call {
	if len(text) > maxText {
		return nil
	}
	s := &scan{text: text}
	var list []Call
	note := func(at, end int, method, url string) {
		host, path, ok := address(url)
		if before := len(s.routes); ok {
			s.add(at, end, method, path, "client")
			if len(s.routes) > before {
				list = append(list, Call{s.routes[before], host})
			}
		}
	}
	switch languageOf(path) {
	case golang:
		if !mentions(text, "net/http", "google.golang.org/grpc") || !mentions(text, "NewRequest", ".Get(", ".Head(", ".Post", "Client(") {
			return nil
		}
		s.code = blank(text, "//", "/*", "*/", "`")
		s.each(goRequest, func(at []int, g func(int) string) {
			args, end := s.arguments(at[1])
			if g(1) == "NewRequestWithContext" && len(args) > 0 {
				args = args[1:]
			}
			if len(args) < 2 {
				return
			}
			method := ""
			if m := goMethod.FindStringSubmatch(args[0]); m != nil {
				method = strings.ToUpper(m[1] + m[2])
			}
			note(at[0], end, method, literal(args[1], false))
		})
		s.each(goClient, func(at []int, g func(int) string) {
			if args, end := s.arguments(at[1]); len(args) > 0 {
				note(at[0], end, strings.ToUpper(strings.TrimSuffix(g(1), "Form")), requests(literal(args[0], false)))
			}
		})
		s.each(goRemote, func(at []int, g func(int) string) {
			if before := len(s.routes); strings.Contains(text, `"google.golang.org/grpc`) {
				s.add(at[2], at[3], "gRPC", g(2)+"/{}", "client")
				for _, r := range s.routes[before:] {
					list = append(list, Call{Route: r})
				}
			}
		})
	case script:
		if !mentions(text, "fetch(", "axios", "got", "ky", "request", "http.") {
			return nil
		}
		s.code = blank(text, "//", "/*", "*/", "`")
		s.each(jsClient, func(at []int, g func(int) string) {
			args, end := s.arguments(at[1])
			if len(args) == 0 {
				return
			}
			method := strings.ToUpper(g(1))
			if method == "" {
				method = "GET"
				if m := jsOption.FindStringSubmatch(strings.Join(args[1:], ",")); m != nil {
					method = strings.ToUpper(m[1])
				}
			}
			note(at[0], end, method, literal(args[0], true))
		})
	case python:
		if !mentions(text, "requests", "httpx", "client", "session", "http") {
			return nil
		}
		s.code = blank(text, "#", `"""`, `"""`, "")
		s.each(pyClient, func(at []int, g func(int) string) {
			if args, end := s.arguments(at[1]); len(args) > 0 {
				note(at[0], end, strings.ToUpper(g(1)), requests(literal(args[0], false)))
			}
		})
	case java:
		if !mentions(text, "ForObject(", "ForEntity(", ".uri(") {
			return nil
		}
		s.code = blank(text, "//", "/*", "*/", "")
		s.each(jvClient, func(at []int, g func(int) string) {
			method := ""
			switch {
			case strings.HasPrefix(g(1), "get"):
				method = "GET"
			case strings.HasPrefix(g(1), "post"):
				method = "POST"
			}
			if args, end := s.arguments(at[1]); len(args) > 0 {
				note(at[0], end, method, literal(args[0], false))
			}
		})
	}
	slices.SortStableFunc(list, func(a, b Call) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.From - b.From
	})
	return list
}

// requests keeps what is certainly an address, where many things have a method of that name: maps, caches.
func requests(text string) string {
	if strings.Contains(text, "://") || strings.HasPrefix(text, hole+"/") {
		return text
	}
	return ""
}

// maxArguments bounds how much text the arguments of one call may have.
const maxArguments = 4 << 10

// arguments are those of a call whose parenthesis opens before an offset, and where the first that is a text ends.
func (s *scan) arguments(from int) (list []string, end int) {
	text := s.code[from:min(len(s.code), from+maxArguments)]
	depth, begin := 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"', '\'', '`':
			for i++; i < len(text) && text[i] != c; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			end = from + min(i+1, len(text))
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			if depth--; depth < 0 {
				return append(list, strings.TrimSpace(text[begin:i])), end
			}
		case ',':
			if depth == 0 {
				list, begin = append(list, strings.TrimSpace(text[begin:i])), i+1
			}
		}
	}
	return nil, end // it does not end
}

// literal is what an expression says of a text, with holes for what it computes.
func literal(expression string, script bool) string {
	if inner, ok := strings.CutPrefix(expression, "fmt.Sprintf("); ok {
		s := scan{code: inner}
		if args, _ := s.arguments(0); len(args) > 0 {
			return verbs.ReplaceAllString(literal(args[0], false), hole)
		}
		return ""
	}
	var out strings.Builder
	open := false // something that is computed has begun
	for i := 0; i < len(expression); i++ {
		c := expression[i]
		if c == '(' || c == '[' { // what is computed there is no part of the text
			i += closes(expression[i:])
			continue
		}
		if c != '"' && c != '\'' && c != '`' {
			if c != ' ' && c != '+' && c != '\n' && c != '\t' && !open {
				if f := c == 'f' && i+1 < len(expression) && (expression[i+1] == '"' || expression[i+1] == '\''); !f {
					out.WriteString(hole)
					open = true
				}
			}
			continue
		}
		from := i + 1
		for i++; i < len(expression) && expression[i] != c; i++ {
			if expression[i] == '\\' {
				i++
			}
		}
		part := expression[from:min(i, len(expression))]
		if formatted := from >= 2 && expression[from-2] == 'f'; formatted || script && c == '`' {
			part = holes(part)
		}
		out.WriteString(part)
		open = false
	}
	return out.String()
}

// closes is where the parenthesis closes that a text begins with, or the text's end.
func closes(text string) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"', '\'', '`':
			for i++; i < len(text) && text[i] != c; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(text)
}

// holes replaces ${name} and {name}.
func holes(text string) string {
	var out strings.Builder
	for text != "" {
		at := strings.IndexByte(text, '{')
		end := -1
		if at >= 0 {
			end = strings.IndexByte(text[at:], '}')
		}
		if end < 0 {
			out.WriteString(text)
			break
		}
		out.WriteString(strings.TrimSuffix(text[:at], "$") + hole)
		text = text[at+end+1:]
	}
	return out.String()
}

// address takes host and path out of a URL with holes. There must be something of a path.
func address(url string) (host, path string, ok bool) {
	rest := url
	if _, after, found := strings.Cut(url, "://"); found {
		rest = after
	}
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		return "", "", false
	}
	host, path = rest[:slash], rest[slash:]
	if host, _, _ = strings.Cut(host, ":"); strings.Contains(host, hole) {
		host = ""
	}
	if at := strings.IndexAny(path, "?#"); at >= 0 {
		path = path[:at]
	}
	written := false
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, p := range parts {
		if strings.Contains(p, hole) {
			parts[i] = "{}"
		} else if p != "" {
			written = true
		}
	}
	return host, "/" + strings.Join(parts, "/"), written && !strings.ContainsAny(path, " \n\"'")
}
