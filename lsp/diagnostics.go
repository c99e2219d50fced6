package lsp

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/lsp/routes"
	"github.com/devloop-io/devloop/traffic"
)

const source = "devloop"

// maxMistakes bounds how many mistakes of a file are shown; the last says how many more there are.
const maxMistakes = 200

// tooLarge is what is said of a document beyond maxDocument.
var (
	tooLarge    = fmt.Sprintf("the file is larger than %d MiB and is not read", maxDocument>>20)
	errTooLarge = errors.New(tooLarge)
)

// kind is what a document is to us.
type kind int

const (
	other kind = iota
	checkFile
	configFile
	sourceFile
)

func kindOf(path string) kind {
	switch name := filepath.Base(path); {
	case strings.HasSuffix(name, ".netcheck.yaml"), strings.HasSuffix(name, ".netcheck.yml"):
		return checkFile
	case name == "devloop.yaml", name == "devloop.yml":
		return configFile
	case routes.Reads(path):
		return sourceFile
	}
	return other
}

// kind is what a document is to us. One that is too large is nothing, so that all that asks for it comes to an end soon.
func (d *document) kind() kind {
	if len(d.text) > maxDocument {
		return other
	}
	return kindOf(d.path)
}

// diagnose is everything that is wrong with a document, as its text stands and by the newest verdict.
func (s *server) diagnose(d *document) []Diagnostic {
	all := []Diagnostic{}
	if len(d.text) > maxDocument {
		return append(all, Diagnostic{Severity: SeverityWarning, Source: source, Message: tooLarge})
	}
	switch d.kind() {
	case checkFile:
		_, err := s.parser.Parse(s.relative(d.path), []byte(d.text))
		all = append(all, d.mistakes(err)...)
		all = append(all, s.verdicts(d)...)
	case configFile:
		_, err := config.Parse(d.path, []byte(d.text))
		all = append(all, d.mistakes(err)...)
	case sourceFile:
		all = append(all, s.broken(d)...)
	}
	return all
}

// mistakes turns the errors of a file into diagnostics.
func (d *document) mistakes(err error) []Diagnostic {
	if err == nil {
		return nil
	}
	var several config.Errors
	if !errors.As(err, &several) {
		var one *config.Error
		if !errors.As(err, &one) {
			return []Diagnostic{{Severity: SeverityError, Source: source, Message: err.Error()}}
		}
		several = config.Errors{one}
	}
	var all []Diagnostic
	for i, e := range several {
		if i == maxMistakes {
			return append(all, Diagnostic{Range: all[i-1].Range, Severity: SeverityError, Source: source, Message: fmt.Sprintf("and %d more mistakes", len(several)-i)})
		}
		line := max(0, e.Line-1)
		text := d.line(line)
		from := runes(text, max(1, e.Column))
		word, begin := wordAt(text, from)
		to := begin + len(word)
		if to <= from {
			to = min(len(text), from+1)
		}
		diagnostic := Diagnostic{Range: d.span(line, from, to), Severity: SeverityError, Source: source, Message: e.Msg}
		if e.Hint != "" {
			diagnostic.Message += "\nhint: " + e.Hint
			diagnostic.Data, _ = json.Marshal(map[string]string{"hint": e.Hint})
		}
		all = append(all, diagnostic)
	}
	return all
}

// verdicts marks the checks that the newest iteration did not pass. Where the file was changed since, or newer code serves,
// the mark says that it speaks of what was.
func (s *server) verdicts(d *document) []Diagnostic {
	f := s.live.get()
	if f.iteration == nil {
		return nil
	}
	var all []Diagnostic
	file := s.relative(d.path)
	o := outlineOf(d)
	for i := range o.checks {
		c := &o.checks[i]
		name := c.name.plain()
		for _, r := range f.results(file, name) {
			if diagnostic, ok := d.verdict(c, &r, &f); ok {
				all = append(all, diagnostic)
			}
		}
	}
	return all
}

// verdict is the mark of one result; a pass has none.
func (d *document) verdict(c *outlined, r *traffic.CheckResult, f *facts) (Diagnostic, bool) {
	severity := SeverityWarning
	switch r.Verdict {
	case traffic.Pass, traffic.Skipped:
		return Diagnostic{}, false
	case traffic.Fail:
		if r.Severity != assertions.SeverityWarning {
			severity = SeverityError
		}
	case traffic.Inconclusive, traffic.NoData:
	}
	line := c.first
	from := 0
	if c.expect.key != "" {
		line, from = c.expect.keyLine, c.expect.keyAt
	}
	text := fmt.Sprintf("%s in %s: %s", r.Verdict, f.iteration.ID, r.Reason)
	if r.Group != "" {
		text = fmt.Sprintf("%s (%s) in %s: %s", r.Verdict, r.Group, f.iteration.ID, r.Reason)
	}
	switch {
	case !c.still(r):
		severity, text = SeverityInformation, "stale, the check was changed since: "+text
	case !f.connected:
		severity, text = SeverityInformation, "stale, the daemon has ended since: "+text
	case f.status != nil && f.status.Revision != "" && f.iteration.Revision != f.status.Revision:
		severity, text = SeverityInformation, fmt.Sprintf("stale, %s serves now and this is of %s: %s", f.status.Revision, f.iteration.Revision, text)
	}
	diagnostic := Diagnostic{Range: d.span(line, from, len(d.line(line))), Severity: severity, Source: source, Code: string(r.Verdict), Message: text}
	for i, e := range r.Evidence {
		if i == 3 {
			break
		}
		diagnostic.RelatedInformation = append(diagnostic.RelatedInformation, DiagnosticRelatedInformation{
			Location: Location{URI: d.uri, Range: diagnostic.Range}, Message: e.Summary,
		})
	}
	diagnostic.Data, _ = json.Marshal(map[string]any{"check": r.Name, "iteration": f.iteration.ID, "baseline": strings.Contains(r.Expect, "baseline")})
	return diagnostic, true
}

// expression is what a check expects, as its lines stand.
func (c *outlined) expression() string { return c.expect.plain() }

// still says whether a result is of the check as it stands, whatever its layout.
func (c *outlined) still(r *traffic.CheckResult) bool {
	same := func(a, b string) bool {
		return strings.Join(strings.Fields(a), " ") == strings.Join(strings.Fields(b), " ")
	}
	return same(r.Expect, c.expect.plain()) && same(r.On, c.on.plain())
}
