package lsp

import (
	"encoding/json"
	"regexp"
)

var meant = regexp.MustCompile(`did you mean "?([^"? ]+)"?(?: \([^)]*\))?\?`)

// actions are what would mend the diagnostics at a range, or show what they rest on.
func (s *server) actions(d *document, p CodeActionParams) []CodeAction {
	list := []CodeAction{}
	for _, diagnostic := range p.Context.Diagnostics {
		if diagnostic.Source != source || len(diagnostic.Data) == 0 {
			continue
		}
		var data struct {
			Hint, Check, Iteration string
			Baseline               bool
		}
		if json.Unmarshal(diagnostic.Data, &data) != nil {
			continue
		}
		if m := meant.FindStringSubmatch(data.Hint); m != nil {
			list = append(list, CodeAction{
				Title: "Change to " + m[1], Kind: "quickfix", Diagnostics: []Diagnostic{diagnostic}, IsPreferred: true,
				Edit: &WorkspaceEdit{Changes: map[string][]TextEdit{d.uri: {{Range: diagnostic.Range, NewText: m[1]}}}},
			})
		}
		if data.Check != "" {
			list = append(list,
				CodeAction{Title: "Show the evidence", Kind: "quickfix", Diagnostics: []Diagnostic{diagnostic},
					Command: &Command{Title: "Show the evidence", Command: commandEvidence, Arguments: []any{data.Iteration, data.Check}}},
				CodeAction{Title: "Run this check again", Kind: "quickfix", Diagnostics: []Diagnostic{diagnostic},
					Command: &Command{Title: "Run this check again", Command: commandRun, Arguments: []any{data.Check}}})
		}
		if data.Baseline {
			list = append(list, CodeAction{Title: "Accept the difference into the baseline", Kind: "quickfix", Diagnostics: []Diagnostic{diagnostic},
				Command: &Command{Title: "Accept the difference into the baseline", Command: commandAccept}})
		}
	}
	if s.live.daemon() != nil && (d.kind() == checkFile || d.kind() == sourceFile && len(d.registered()) > 0) {
		list = append(list, CodeAction{Title: "Suggest checks from what was seen", Kind: "source", Command: &Command{Title: "Suggest checks", Command: commandSuggest}})
	}
	return list
}
