package query

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/assertions/stat"
	"github.com/devloop-io/devloop/traffic"
)

const (
	maxMessages = 500     // of an endpoint that are looked at for their fields
	maxFields   = 500     // of an endpoint
	maxDepth    = 8       // of JSON
	maxJSON     = 1 << 18 // bytes of a body that is looked at
)

// shapes are which headers and JSON fields the messages of each endpoint have. The zero value is ready.
type shapes struct {
	of map[string]*shape
}

type shape struct {
	messages map[string]int // by place
	fields   map[fieldKey]*fieldSums
}

type fieldKey struct{ place, name string }

type fieldSums struct {
	present int
	types   []string
}

func (s *shapes) add(endpoint string, c *traffic.Call) {
	h := c.HTTP
	if h == nil {
		return
	}
	if s.of == nil {
		s.of = map[string]*shape{}
	}
	x := s.of[endpoint]
	if x == nil {
		x = &shape{messages: map[string]int{}, fields: map[fieldKey]*fieldSums{}}
		s.of[endpoint] = x
	}
	if c.Asked() && !h.RequestHeadersCut {
		x.headers("request.header", h.RequestHeaders)
		x.body("request.body", h.RequestBody, h.RequestBodyCut)
	}
	if c.Answered() && !h.ResponseHeadersCut && c.Status < 400 { // an error's answer has another form
		x.headers("response.header", h.ResponseHeaders)
		x.body("response.body", h.ResponseBody, h.ResponseBodyCut)
	}
}

// full reports whether enough messages were looked at, and counts one more otherwise.
func (x *shape) full(place string) bool {
	if x.messages[place] >= maxMessages {
		return true
	}
	x.messages[place]++
	return false
}

func (x *shape) headers(place string, headers []traffic.Header) {
	if x.full(place) {
		return
	}
	seen := map[string]bool{}
	for _, h := range headers {
		if name := strings.ToLower(h.Name); !seen[name] {
			seen[name] = true
			x.note(fieldKey{place, name}, "")
		}
	}
}

func (x *shape) body(place string, body []byte, cut bool) {
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	if cut || len(body) > maxJSON || len(trimmed) == 0 || trimmed[0] != '{' && trimmed[0] != '[' {
		return
	}
	var v any
	if json.Unmarshal(body, &v) != nil || x.full(place) {
		return
	}
	found := map[string]string{}
	jsonFields("", v, 0, found)
	for name, kind := range found {
		x.note(fieldKey{place, name}, kind)
	}
}

func (x *shape) note(k fieldKey, kind string) {
	f := x.fields[k]
	if f == nil {
		if len(x.fields) >= maxFields {
			return
		}
		f = &fieldSums{}
		x.fields[k] = f
	}
	f.present++
	if kind != "" {
		f.types = note(f.types, kind, 6)
	}
}

// jsonFields notes each path of a JSON value with its type. Members whose names look like values (numbers) count as one.
func jsonFields(path string, v any, depth int, found map[string]string) {
	if depth > maxDepth || len(found) >= maxFields {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		noteType(path, "object", found)
		for name, member := range v {
			if strings.Trim(name, "0123456789") == "" {
				name = "{}"
			}
			jsonFields(strings.TrimPrefix(path+"."+name, "."), member, depth+1, found)
		}
	case []any:
		noteType(path, "array", found)
		for _, member := range v {
			jsonFields(path+"[]", member, depth+1, found)
		}
	case string:
		noteType(path, "string", found)
	case float64:
		noteType(path, "number", found)
	case bool:
		noteType(path, "boolean", found)
	default:
		noteType(path, "null", found)
	}
}

func noteType(path, kind string, found map[string]string) {
	if path == "" {
		return
	}
	if old, ok := found[path]; ok && old != kind && old != "null" {
		if kind != "null" && !strings.Contains(old, kind) {
			found[path] = old + "|" + kind
		}
		return
	}
	found[path] = kind
}

// commonest is the share of messages at and above which a field is expected.
const (
	always = 0.95
	rarely = 0.05
)

// fields are the differences of headers and JSON fields, what is surest first.
func (c comparing) fields() []FieldChange {
	list := []FieldChange{}
	for endpoint, a := range c.a.shapes.of {
		b := c.b.shapes.of[endpoint]
		if b == nil {
			continue
		}
		keys := map[fieldKey]bool{}
		for _, x := range []*shape{a, b} {
			for k := range x.fields {
				keys[k] = true
			}
		}
		for k := range keys {
			if x, ok := fieldChange(a, b, k); ok {
				x.Endpoint = endpoint
				list = append(list, x)
			}
		}
	}
	order := []string{"another type", "lost", "new", "rarer", "commoner"}
	slices.SortFunc(list, func(a, b FieldChange) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Change), slices.Index(order, b.Change)), cmp.Compare(a.Endpoint, b.Endpoint),
			cmp.Compare(a.Place, b.Place), cmp.Compare(a.Name, b.Name))
	})
	return list
}

func fieldChange(a, b *shape, k fieldKey) (FieldChange, bool) {
	var none fieldSums
	fa, fb := cmp.Or(a.fields[k], &none), cmp.Or(b.fields[k], &none)
	x := FieldChange{Place: k.place, Name: k.name, Present: [2]int{fa.present, fb.present}, Of: [2]int{a.messages[k.place], b.messages[k.place]}}
	if x.Of[0] == 0 || x.Of[1] == 0 {
		return x, false
	}
	slices.Sort(fa.types)
	slices.Sort(fb.types)
	shareA, shareB := share(fa.present, x.Of[0]), share(fb.present, x.Of[1])
	sure := stat.Fisher(fa.present, x.Of[0], fb.present, x.Of[1]) < alpha
	switch {
	case fa.present > 0 && fb.present > 0 && anotherType(fa.types, fb.types):
		x.Change, x.Types = "another type", [2]string{strings.Join(fa.types, "|"), strings.Join(fb.types, "|")}
	case shareA >= always && fb.present == 0:
		x.Change = "lost"
	case fa.present == 0 && shareB >= always:
		x.Change = "new"
	case sure && shareB < shareA-0.01:
		x.Change = "rarer"
	case sure && shareB > shareA+rarely:
		x.Change = "commoner"
	default:
		return x, false
	}
	return x, true
}

// anotherType reports whether no type, null apart, is common to both.
func anotherType(a, b []string) bool {
	known := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == "null" })
	}
	a, b = known(a), known(b)
	return len(a) > 0 && len(b) > 0 && !slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
