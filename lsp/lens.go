package lsp

import (
	"fmt"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// Commands that the server carries out (workspace/executeCommand). Editors may have their own ways to show what they answer.
const (
	commandRun      = "devloop.run"      // [check]: an iteration that judges this check, or all without one
	commandEvidence = "devloop.evidence" // [iteration, check]: what its verdict rests on
	commandSuggest  = "devloop.suggest"  // []: checks drafted from what was seen
	commandAccept   = "devloop.accept"   // [reason]: what differs from the baseline is accepted into it
)

// lenses are the lines above the checks of a file: run it, and its last verdict; and above the routes of a source file.
func (s *server) lenses(d *document) []CodeLens {
	list := []CodeLens{}
	switch d.kind() {
	case checkFile:
	case sourceFile:
		return s.routeLenses(d)
	default:
		return list
	}
	f := s.live.get()
	file := s.relative(d.path)
	for _, c := range outlineOf(d).checks {
		name := c.name.plain()
		if name == "" {
			continue
		}
		r := d.span(c.first, 0, len(d.line(c.first)))
		list = append(list, CodeLens{Range: r, Command: &Command{Title: "▶ run", Command: commandRun, Arguments: []any{name}}})
		for _, result := range f.results(file, name) {
			list = append(list, CodeLens{Range: r, Command: &Command{
				Title: verdictTitle(&result, &f, !c.still(&result)), Command: commandEvidence, Arguments: []any{f.iteration.ID, name},
			}})
		}
	}
	return list
}

// verdictTitle is a result in a few words.
func verdictTitle(r *traffic.CheckResult, f *facts, changed bool) string {
	text := fmt.Sprintf("%s %s", r.Verdict.Sign(), r.Verdict)
	if r.Group != "" {
		text += " (" + r.Group + ")"
	}
	for i, t := range r.Terms {
		if i == 2 {
			break
		}
		text += fmt.Sprintf(" · %s = %s", t.Text, t.Value)
	}
	text += fmt.Sprintf(" · n = %d · %s", r.N, f.iteration.Revision)
	if changed || !f.connected {
		text += " · stale"
	}
	return text
}

// hints are the last values behind the expectations of a file.
func (s *server) hints(d *document, within Range) []InlayHint {
	list := []InlayHint{}
	if d.kind() != checkFile {
		return list
	}
	f := s.live.get()
	file := s.relative(d.path)
	for _, c := range outlineOf(d).checks {
		line := c.expect.last
		if c.expect.key == "" || line < within.Start.Line || line > within.End.Line {
			continue
		}
		for _, r := range f.results(file, c.name.plain()) {
			if len(r.Terms) == 0 || !c.still(&r) {
				continue
			}
			var values []string
			for _, t := range r.Terms {
				values = append(values, t.Value)
			}
			list = append(list, InlayHint{Position: d.position(line, len(d.line(line))), Label: "= " + strings.Join(values, ", "), Tooltip: r.Reason, PaddingLeft: true})
		}
	}
	return list
}

// symbols are the checks of a file, for the editor's outline.
func (s *server) symbols(d *document) []DocumentSymbol {
	list := []DocumentSymbol{}
	if d.kind() != checkFile {
		return list
	}
	for _, c := range outlineOf(d).checks {
		if c.name.key == "" {
			continue
		}
		list = append(list, DocumentSymbol{
			Name: c.name.plain(), Detail: c.expression(), Kind: 12,
			Range:          Range{d.position(c.first, 0), d.position(c.last, len(d.line(c.last)))},
			SelectionRange: d.span(c.name.line, c.name.at, len(d.line(c.name.line))),
		})
	}
	return list
}
