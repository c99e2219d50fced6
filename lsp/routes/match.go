package routes

import "strings"

// Observed is what was asked of a service, as its traffic says it.
type Observed struct {
	text, method string
	parts        []string // of the path; nil where there is none
}

// Observe reads an observed endpoint: "GET /items/{id}", "shop.Stock/Reserve".
func Observe(asked string) Observed {
	o := Observed{text: asked}
	method, path, ok := strings.Cut(asked, " ")
	if ok && strings.HasPrefix(path, "/") {
		o.method, o.parts = method, split(Normal(path))
		if method == "POST" {
			o.text = path[1:] // of gRPC, where the call's request line is told
		}
	}
	return o
}

// Match gives the routes that serve what was observed best: their indexes, none where no route fits. Several fit equally where
// a path is registered twice, or where gRPC's service and its method's function both stand in a file.
func Match(list []Route, o Observed) []int {
	var best []int
	top := 0
	for i := range list {
		switch n := list[i].fits(&o); {
		case n == 0 || n < top:
		case n > top:
			best, top = []int{i}, n
		default:
			best = append(best, i)
		}
	}
	return best
}

// fits says how well a route fits what was observed, 0 for not at all.
func (r *Route) fits(o *Observed) int {
	if r.Method == "gRPC" {
		return r.remote(o.text)
	}
	if o.parts == nil || r.Method != "" && r.Method != o.method && !(r.Method == "GET" && o.method == "HEAD") {
		return 0
	}
	have, want := r.parts, o.parts
	if have == nil {
		have = split(r.Path)
	}
	fit := segments(have, want)
	if fit == 0 && len(have) < len(want) && have[0] != "" && have[0] != "{*}" && have[0] != "{}" {
		fit = segments(have, want[len(want)-len(have):]) // a prefix that another file adds
	} else if fit > 0 {
		fit += 1000
	}
	if fit > 0 && r.Method != "" {
		fit++
	}
	return fit
}

// remote is fits for gRPC: shop.v1.Stock/Reserve.
func (r *Route) remote(observed string) int {
	service, method, ok := strings.Cut(observed, "/")
	if !ok {
		return 0
	}
	service = service[strings.LastIndexByte(service, '.')+1:]
	s, m, _ := strings.Cut(r.Path, "/")
	if s == service || m == method {
		return 2000 // before any path that takes all
	}
	return 0
}

// segments compares a route's segments with those of an observed path, whose parameters may have been left as they were.
func segments(have, want []string) int {
	fit := 1
	for i, h := range have {
		if h == "{*}" {
			return fit
		}
		if i >= len(want) {
			return 0
		}
		switch {
		case h == want[i]:
			fit += 4
		case h == "{}" && want[i] != "":
			fit += 2
		default:
			return 0
		}
	}
	if len(have) != len(want) {
		return 0
	}
	return fit
}
