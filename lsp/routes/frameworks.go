package routes

import (
	"regexp"
	"slices"
	"strings"
)

// Each expression's first group is where the registration begins, so that it may look at what stands before.
var (
	goHandle  = regexp.MustCompile("\\.((?:HandleFunc|Handle)\\(\\s*[\"`](?:([A-Z]+)[ \\t]+)?[^\"`/\\s]*(/[^\"`\\s]*)[\"`])")
	chiVerb   = regexp.MustCompile("([\\w)])\\.((Get|Post|Put|Delete|Patch|Head|Options|Connect|Trace)\\(\\s*[\"`](/[^\"`]*)[\"`])\\s*,")
	chiMethod = regexp.MustCompile("\\b(\\w+)\\.((?:Method|MethodFunc)\\(\\s*\"([A-Z]+)\"\\s*,\\s*[\"`](/[^\"`]*)[\"`])")
	chiRoute  = regexp.MustCompile("\\.Route\\(\\s*[\"`](/[^\"`]*)[\"`]\\s*,\\s*func\\([^)]*\\)\\s*\\{")
	ginVerb   = regexp.MustCompile("\\b(\\w+)\\.((GET|POST|PUT|DELETE|PATCH|HEAD|OPTIONS|CONNECT|TRACE|Any)\\(\\s*[\"`]([^\"`]*)[\"`])\\s*,")
	ginHandle = regexp.MustCompile("\\b(\\w+)\\.((?:Handle|Add)\\(\\s*\"([A-Z]+)\"\\s*,\\s*[\"`]([^\"`]*)[\"`])")
	ginGroup  = regexp.MustCompile("\\b(\\w+)\\s*:?=\\s*(\\w+)\\.Group\\(\\s*[\"`]([^\"`]*)[\"`]")
	grpcServe = regexp.MustCompile(`\b(Register([A-Z]\w*)Server)\(`)
	grpcFunc  = regexp.MustCompile(`(?m)^(func \(\w* ?\*?\w+\) ([A-Z]\w*))\(\w+ context\.Context, \w+ \*[\w.]+\) \(\*[\w.]+, error\)`)

	jsVerb    = regexp.MustCompile("\\b(\\w+)\\.((get|post|put|delete|patch|head|options|all)(?:<[^>()]*>)?\\(\\s*['\"`](/[^'\"`]*)['\"`])\\s*,")
	jsRoute   = regexp.MustCompile("\\.(route\\(\\s*['\"`](/[^'\"`]*)['\"`]\\s*\\))\\s*\\.(get|post|put|delete|patch|head|options|all)\\(")
	jsObject  = regexp.MustCompile(`\.(route\(\s*\{([^{}]*))`)
	jsMethod  = regexp.MustCompile("\\bmethod\\s*:\\s*(\\[[^\\]]*\\]|['\"`]\\w+['\"`])")
	jsURL     = regexp.MustCompile("\\b(?:url|path)\\s*:\\s*['\"`](/[^'\"`]*)['\"`]")
	pyRoute   = regexp.MustCompile(`(?m)^[ \t]*(@(\w+)\.(route|api_route|websocket|get|post|put|delete|patch|head|options)\(\s*[rf]?["']([^"'\n]*)["'])([^\n]*(?:\n[^@\n]*\bmethods\b[^\n]*)?)`)
	pyPrefix  = regexp.MustCompile(`(?m)^[ \t]*(\w+)(?:\s*:\s*\w+)?\s*=\s*(?:\w+\.)?(?:APIRouter|Blueprint)\([^)]*?\b(?:url_)?prefix\s*=\s*["']([^"'\n]*)["']`)
	pyMethods = regexp.MustCompile(`\bmethods\s*=\s*[\[({]([^\])}]*)`)
	pyURLRule = regexp.MustCompile(`\b\w+\.(add_url_rule\(\s*["']([^"'\n]*)["'])`)
	word      = regexp.MustCompile(`[A-Za-z]+`)

	springMap  = regexp.MustCompile(`(@(Get|Post|Put|Delete|Patch|Request)Mapping\b)[ \t]*(\([^)]*\))?`)
	springPath = regexp.MustCompile(`^\(\s*(?:\{\s*)?"([^"]*)"|\b(?:value|path)\s*=\s*(?:[\[{]\s*)?"([^"]*)"`)
	springVerb = regexp.MustCompile(`RequestMethod\.([A-Z]+)`)
	springType = regexp.MustCompile(`^(?:\s*(?:@\w+(?:\([^)]*\))?|public|protected|private|abstract|final|open|data))*\s*(?:class|interface)\b`)
)

// each calls f with every match's groups, and where they lie.
func (s *scan) each(re *regexp.Regexp, f func(at []int, group func(int) string)) {
	for _, at := range re.FindAllStringSubmatchIndex(s.code, maxRoutes) {
		f(at, func(n int) string {
			if at[2*n] < 0 {
				return ""
			}
			return s.code[at[2*n]:at[2*n+1]]
		})
	}
}

func (s *scan) golang() {
	chi, gin, echo := strings.Contains(s.text, "go-chi/chi"), strings.Contains(s.text, "gin-gonic/gin"), strings.Contains(s.text, "labstack/echo")
	if strings.Contains(s.text, `"net/http"`) {
		nested := s.nested(chi)
		s.each(goHandle, func(at []int, g func(int) string) {
			s.add(at[2], at[3], g(2), join(nested(at[0]), subtree(g(3))), "net/http")
		})
	}
	if chi {
		nested := s.nested(true)
		for _, re := range []*regexp.Regexp{chiVerb, chiMethod} {
			s.each(re, func(at []int, g func(int) string) {
				s.add(at[2], at[5], strings.ToUpper(g(3)), join(nested(at[0]), g(4)), "chi")
			})
		}
	}
	if gin || echo {
		prefix := s.prefixes()
		framework := "gin"
		if echo {
			framework = "echo"
		}
		for _, re := range []*regexp.Regexp{ginVerb, ginHandle} {
			s.each(re, func(at []int, g func(int) string) {
				method := g(3)
				if method == "Any" {
					method = ""
				}
				s.add(at[2], at[5], method, join(prefix[g(1)], g(4)), framework)
			})
		}
	}
	if strings.Contains(s.text, `"google.golang.org/grpc`) {
		s.each(grpcServe, func(at []int, g func(int) string) { s.add(at[2], at[3], "gRPC", g(2)+"/{}", "grpc-go") })
		s.each(grpcFunc, func(at []int, g func(int) string) { s.add(at[2], at[3], "gRPC", "{}/"+g(2), "grpc-go") })
	}
}

// subtree is a pattern of net/http: with a slash at its end it takes all that begins with it.
func subtree(path string) string {
	if strings.HasSuffix(path, "/") {
		return path + "{*}"
	}
	return path
}

// nested says which prefix chi's Route adds at an offset: the functions that are open there.
func (s *scan) nested(on bool) func(int) string {
	type block struct {
		from, to int
		prefix   string
	}
	var blocks []block
	if on {
		s.each(chiRoute, func(at []int, g func(int) string) {
			blocks = append(blocks, block{at[1], s.closing(at[1]), g(1)})
		})
	}
	return func(at int) string {
		prefix := ""
		for _, b := range blocks {
			if at > b.from && at < b.to {
				prefix = join(prefix, b.prefix)
			}
		}
		return prefix
	}
}

// closing is where the block ends that begins before an offset.
func (s *scan) closing(at int) int {
	for depth := 1; at < len(s.code); at++ {
		switch s.code[at] {
		case '"':
			at += quoted(s.code[at:]) - 1
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return at
			}
		}
	}
	return at
}

// prefixes are what the groups of gin and echo add, by the name of their variable.
func (s *scan) prefixes() map[string]string {
	prefix := map[string]string{}
	s.each(ginGroup, func(_ []int, g func(int) string) {
		if p := join(prefix[g(2)], g(3)); len(p) < 1<<10 {
			prefix[g(1)] = p
		}
	})
	return prefix
}

func (s *scan) script() {
	framework := "Express"
	if strings.Contains(strings.ToLower(s.text), "fastify") {
		framework = "Fastify"
	}
	s.each(jsVerb, func(at []int, g func(int) string) {
		s.add(at[2], at[5], verb(g(3)), g(4), framework)
	})
	s.each(jsRoute, func(at []int, g func(int) string) { s.add(at[2], at[3], verb(g(3)), g(2), framework) })
	s.each(jsObject, func(at []int, g func(int) string) {
		url, method := jsURL.FindStringSubmatch(g(2)), jsMethod.FindStringSubmatch(g(2))
		if url == nil || method == nil {
			return
		}
		for _, m := range word.FindAllString(method[1], 10) {
			s.add(at[2], at[3], verb(m), url[1], framework)
		}
	})
}

// verb is a method as HTTP writes it.
func verb(name string) string {
	if name == "all" {
		return ""
	}
	return strings.ToUpper(name)
}

func (s *scan) python() {
	prefix := map[string]string{}
	s.each(pyPrefix, func(_ []int, g func(int) string) { prefix[g(1)] = g(2) })
	framework := "Flask"
	if strings.Contains(s.text, "fastapi") {
		framework = "FastAPI"
	}
	s.each(pyRoute, func(at []int, g func(int) string) {
		path := join(prefix[g(2)], g(4))
		methods := []string{verb(g(3))}
		switch g(3) {
		case "websocket":
			methods = []string{"GET"}
		case "route", "api_route":
			methods = []string{"GET"}
			if m := pyMethods.FindStringSubmatch(g(5)); m != nil {
				methods = word.FindAllString(m[1], 10)
			}
		}
		for _, m := range slices.Compact(methods) {
			s.add(at[2], at[3], strings.ToUpper(m), path, framework)
		}
	})
	s.each(pyURLRule, func(at []int, g func(int) string) { s.add(at[2], at[3], "", g(2), framework) })
}

// spring reads the mappings of controllers; one before a class is the prefix of those that follow.
func (s *scan) spring() {
	prefix := ""
	s.each(springMap, func(at []int, g func(int) string) {
		path := ""
		if m := springPath.FindStringSubmatch(g(3)); m != nil {
			path = m[1] + m[2]
		}
		if springType.MatchString(s.code[at[1]:min(len(s.code), at[1]+1000)]) {
			prefix = path
			return
		}
		method := strings.ToUpper(g(2))
		if method == "REQUEST" {
			method = ""
			if m := springVerb.FindStringSubmatch(g(3)); m != nil {
				method = m[1]
			}
		}
		s.add(at[2], at[1], method, join(prefix, path), "Spring")
	})
}
