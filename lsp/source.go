package lsp

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/lsp/routes"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/traffic"
)

// registered are the routes of a source file. They are looked for once for each text.
func (d *document) registered() []routes.Route {
	d.scan.Do(d.read)
	return d.routes
}

// asks are the requests that a source file makes of others.
func (d *document) asks() []routes.Call {
	d.scan.Do(d.read)
	return d.calls
}

func (d *document) read() {
	d.routes, d.calls = routes.Scan(d.path, d.text), routes.Calls(d.path, d.text)
}

// routeLenses are the figures of a file's routes, as the newest iteration saw them.
func (s *server) routeLenses(d *document) []CodeLens {
	list := []CodeLens{}
	f := s.live.get()
	found := d.registered()
	if f.iteration == nil || len(found) == 0 && len(d.asks()) == 0 {
		return list
	}
	served := map[int][]query.Stats{}
	services := s.servicesOf(d.path)
	for n, o := range s.observed(&f) {
		e := f.endpoints[n]
		if service, _, _ := strings.Cut(e.Group, " "); slices.Contains(services, service) {
			for _, i := range routes.Match(found, o) {
				served[i] = append(served[i], e)
			}
		}
	}
	stale := s.stale(&f, services)
	for i, r := range found {
		if len(served[i]) == 0 {
			continue
		}
		title := fmt.Sprintf("%s · %s", sum(served[i]), f.iteration.Revision)
		if stale != "" {
			title += " · stale"
		}
		list = append(list, CodeLens{Range: d.span(r.Line, r.From, r.To), Command: &Command{Title: title}})
	}
	return append(list, s.callLenses(d, &f, services)...)
}

// callLenses are the figures of what a file asks of other services. Where several could be meant, nothing is shown.
func (s *server) callLenses(d *document, f *facts, services []string) []CodeLens {
	var list []CodeLens
	for _, c := range d.asks() {
		asked := map[string][]query.Stats{}
		for n, o := range s.observed(f) {
			e := f.endpoints[n]
			service, _, _ := strings.Cut(e.Group, " ")
			if slices.Contains(services, service) || c.Host != "" && service != strings.SplitN(c.Host, ".", 2)[0] {
				continue
			}
			if len(routes.Match([]routes.Route{c.Route}, o)) > 0 {
				asked[service] = append(asked[service], e)
			}
		}
		if len(asked) != 1 {
			continue
		}
		for service, stats := range asked {
			title := fmt.Sprintf("→ %s · %s · %s", service, sum(stats), f.iteration.Revision)
			if s.stale(f, []string{service}) != "" {
				title += " · stale"
			}
			list = append(list, CodeLens{Range: d.span(c.Line, c.From, c.To), Command: &Command{Title: title}})
		}
	}
	return list
}

// observed are the endpoints as routes are matched with them, one for each; they are read once for each iteration.
func (s *server) observed(f *facts) []routes.Observed {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.endpoints == nil || !s.endpointsOf.Equal(f.since) || len(s.endpoints) != len(f.endpoints) {
		s.endpoints, s.endpointsOf = make([]routes.Observed, len(f.endpoints)), f.since
		for i := range f.endpoints {
			_, asked, _ := strings.Cut(f.endpoints[i].Group, " ")
			s.endpoints[i] = routes.Observe(asked)
		}
	}
	return s.endpoints
}

// sum is several endpoints in one line. The percentile of a union is at most the largest of theirs.
func sum(list []query.Stats) string {
	calls, errors, p99 := 0, 0, 0.0
	for _, e := range list {
		calls, errors, p99 = calls+e.Calls, errors+e.Errors, max(p99, e.P99)
	}
	sign := ""
	if len(list) > 1 {
		sign = "≤ "
	}
	noun := "calls"
	if calls == 1 {
		noun = "call"
	}
	return fmt.Sprintf("%d %s · %.1f %% errors · p99 %s%.3g ms", calls, noun, 100*float64(errors)/float64(max(1, calls)), sign, p99)
}

// stale says why the newest verdict does not speak of what serves now, "" where it does.
func (s *server) stale(f *facts, services []string) string {
	switch {
	case !f.connected:
		return "the daemon has ended since"
	case f.status != nil && f.status.Revision != "" && f.iteration.Revision != f.status.Revision:
		return fmt.Sprintf("%s serves now and this is of %s", f.status.Revision, f.iteration.Revision)
	case f.status != nil && slices.ContainsFunc(services, func(name string) bool { return slices.Contains(f.status.Stale, name) }):
		return "files were saved since"
	}
	return ""
}

// asked is what a call's summary says of its server and of what was asked there.
var asked = regexp.MustCompile(` → (\S+) (?:([A-Z]+ /\S*)|(?:gRPC )?([\w.]+/\w+))`)

// broken marks the routes of a source file whose traffic is the evidence of a failed check.
func (s *server) broken(d *document) []Diagnostic {
	all := []Diagnostic{}
	f := s.live.get()
	if f.iteration == nil || !slices.ContainsFunc(f.iteration.Checks, func(r traffic.CheckResult) bool { return r.Verdict == traffic.Fail }) {
		return all
	}
	found := d.registered()
	if len(found) == 0 {
		return all
	}
	services := s.servicesOf(d.path)
	stale := s.stale(&f, services)
	for i := range f.iteration.Checks {
		r := &f.iteration.Checks[i]
		if r.Verdict != traffic.Fail {
			continue
		}
		marked := map[int]bool{}
		for _, e := range r.Evidence {
			m := asked.FindStringSubmatch(e.Summary)
			if m == nil || !slices.Contains(services, m[1]) {
				continue
			}
			for _, n := range routes.Match(found, routes.Observe(m[2]+m[3])) {
				if !marked[n] {
					marked[n] = true
					all = append(all, s.blame(d, &found[n], r, &e, f.iteration.ID, stale))
				}
			}
		}
	}
	return all
}

// blame is the mark of one route for one check.
func (s *server) blame(d *document, route *routes.Route, r *traffic.CheckResult, e *traffic.Evidence, iteration, stale string) Diagnostic {
	severity := SeverityError
	if r.Severity == assertions.SeverityWarning {
		severity = SeverityWarning
	}
	text := fmt.Sprintf("its traffic broke the check %q in %s: %s", r.Name, iteration, r.Reason)
	if stale != "" {
		severity, text = SeverityInformation, "stale, "+stale+": "+text
	}
	x := Diagnostic{Range: d.span(route.Line, route.From, route.To), Severity: severity, Source: source, Code: string(r.Verdict), Message: text}
	x.RelatedInformation = []DiagnosticRelatedInformation{{Location: Location{URI: d.uri, Range: x.Range}, Message: e.Summary}}
	if r.File != "" {
		at := Position{Line: max(0, r.Line-1)}
		x.RelatedInformation = append(x.RelatedInformation, DiagnosticRelatedInformation{
			Location: Location{URI: uriOf(filepath.Join(s.root(), filepath.FromSlash(r.File))), Range: Range{at, at}}, Message: "the check: " + r.Expect,
		})
	}
	x.Data, _ = json.Marshal(map[string]string{"check": r.Name, "iteration": iteration})
	return x
}
