package lsp

import (
	"fmt"
	"strings"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/traffic"
)

func markdown(text string) *MarkupContent { return &MarkupContent{Kind: "markdown", Value: text} }

func fieldDoc(f *filter.Field) *MarkupContent {
	var b strings.Builder
	fmt.Fprintf(&b, "`%s` %s", f.Name, typeName(f))
	if f.Unit != "" {
		fmt.Fprintf(&b, ", %s", f.Unit)
	}
	fmt.Fprintf(&b, "\n\n%s", f.Doc)
	if f.Stub {
		b.WriteString("\n\nIts protocol is not dissected yet: always the default.")
	}
	if f.Example != "" {
		fmt.Fprintf(&b, "\n\n```\n%s\n```", f.Example)
	}
	return markdown(b.String())
}

// typeName is a type as people say it.
func typeName(f *filter.Field) string {
	return strings.ToLower(strings.ReplaceAll(f.Type.String(), "google.protobuf.", ""))
}

func functionDoc(f *assertions.Function) *MarkupContent {
	var b strings.Builder
	fmt.Fprintf(&b, "```\n%s\n```\n%s", f.Signature, f.Doc)
	if f.Type != "" {
		fmt.Fprintf(&b, "\n\nGives %s", f.Type)
		if f.Unit != "" {
			fmt.Fprintf(&b, ", %s", f.Unit)
		}
		b.WriteString(".")
	}
	if f.Example != "" {
		fmt.Fprintf(&b, "\n\n```\n%s\n```", f.Example)
	}
	return markdown(b.String())
}

// hover explains what stands at a place: a field, a function, a key, a service, or a check with its last figures.
func (s *server) hover(d *document, at Position) *Hover {
	switch d.kind() {
	case configFile:
		return hoverConfig(d, at)
	case checkFile:
	default:
		return nil
	}
	line := d.line(at.Line)
	column := d.byteColumn(line, at.Character)
	word, from := wordAt(line, column)
	p := outlineOf(d).find(d, at)
	r := d.span(at.Line, from, from+len(word))
	if p.value == nil || p.value.key == "name" {
		if p.check == nil {
			return nil
		}
		if text := s.figures(d, p.check); text != "" {
			return &Hover{Contents: *markdown(text), Range: &r}
		}
		return nil
	}
	if word == "" {
		return nil
	}
	if p.quoted || strings.ContainsAny(p.before, `"'`) && s.isService(word) {
		if text := s.aboutService(word); text != "" {
			return &Hover{Contents: *markdown(text), Range: &r}
		}
	}
	if f, ok := function(word); ok && p.value.key == "expect" {
		text := *functionDoc(&f)
		text.Value += s.liveTerms(d, p.check, word)
		return &Hover{Contents: text, Range: &r}
	}
	// A name may go on into a map: request.headers.x.
	for name := word; name != ""; name, _ = cutLast(name) {
		if f, ok := filter.Lookup(name); ok {
			r = d.span(at.Line, from, from+len(name))
			return &Hover{Contents: *fieldDoc(&f), Range: &r}
		}
	}
	return nil
}

func cutLast(name string) (string, bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return "", false
	}
	return name[:i], true
}

func function(name string) (assertions.Function, bool) {
	for _, f := range assertions.Functions() {
		if f.Name == name {
			return f, true
		}
	}
	return assertions.Function{}, false
}

// figures are a check's last results, with the terms that they rest on.
func (s *server) figures(d *document, c *outlined) string {
	f := s.live.get()
	var b strings.Builder
	for _, r := range f.results(s.relative(d.path), c.name.plain()) {
		fmt.Fprintf(&b, "**%s** in %s (%s), n = %d %s\n\n%s\n", r.Verdict, f.iteration.ID, f.iteration.Revision, r.N, r.Unit, fenced(r.Reason))
		b.WriteString(terms(r.Terms))
	}
	return b.String()
}

func terms(list []traffic.Term) string {
	var b strings.Builder
	for _, t := range list {
		fmt.Fprintf(&b, "\n- `%s` = %s", t.Text, t.Value)
		if t.Low != "" && t.Low != t.High {
			fmt.Fprintf(&b, " [%s, %s]", t.Low, t.High)
		}
		fmt.Fprintf(&b, ", n = %d", t.N)
	}
	return b.String()
}

// liveTerms are the last values of the terms that a function made.
func (s *server) liveTerms(d *document, c *outlined, name string) string {
	if c == nil {
		return ""
	}
	f := s.live.get()
	var list []traffic.Term
	for _, r := range f.results(s.relative(d.path), c.name.plain()) {
		for _, t := range r.Terms {
			if strings.HasPrefix(t.Text, name+"(") {
				list = append(list, t)
			}
		}
	}
	if len(list) == 0 {
		return ""
	}
	return "\n\nIn " + f.iteration.ID + ":\n" + terms(list)
}

func (s *server) isService(name string) bool {
	f := s.live.get()
	for _, have := range append(f.services(), s.configured()...) {
		if have == name {
			return true
		}
	}
	return false
}

// aboutService is what runs under a name, and what was asked of it.
func (s *server) aboutService(name string) string {
	f := s.live.get()
	var b strings.Builder
	if f.status != nil {
		for _, sv := range f.status.Services {
			if sv.Name == name {
				fmt.Fprintf(&b, "**%s** %s %s %s\n", name, sv.Kind, sv.State, sv.Build)
			}
		}
	}
	for _, e := range f.endpoints {
		if strings.HasPrefix(e.Group, name+" ") {
			fmt.Fprintf(&b, "\n- %s", figuresOf(&e))
		}
	}
	if b.Len() == 0 && s.isService(name) {
		return fmt.Sprintf("**%s** of devloop.yaml; nothing was seen of it yet", name)
	}
	return b.String()
}

// figuresOf is an endpoint in one line: how often, how often not well, how long.
func figuresOf(e *query.Stats) string {
	return fmt.Sprintf("`%s` %d calls · %.1f %% errors · p50 %.1f ms · p99 %.1f ms", strings.ReplaceAll(e.Group, "`", "'"), e.Calls, 100*e.ErrorRate, e.P50, e.P99)
}

// fenced keeps text from the wire from being read as Markdown.
func fenced(text string) string {
	return "```text\n" + strings.ReplaceAll(text, "```", "'''") + "\n```"
}
