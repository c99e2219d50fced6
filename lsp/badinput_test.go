package lsp

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/creachadair/jrpc2"
)

// TestBadInput: documents that nobody wants to type are answered soon, whatever is asked of them: those that are too large with one
// diagnostic and nothing else, broken ones with what is wrong.
func TestBadInput(t *testing.T) {
	const soon = 20 * time.Second // what is quadratic in the size of these takes minutes
	const much = maxDocument / 8
	check := "checks:\n  - name: a\n    on: http\n    expect: "
	const whole, broken, large = "", "broken", "large"
	for name, c := range map[string]struct{ text, kind string }{
		"empty":                         {"", whole},
		"larger than is read":           {strings.Repeat("# much\n", maxDocument/7+2), large},
		"larger, and checks":            {strings.Repeat(oneCheck, maxDocument/len(oneCheck)+2), large},
		"an expectation of many lines":  {check + "|\n" + strings.Repeat("      a\n", maxDocument/16), broken},
		"one long line":                 {check + strings.Repeat("(", much), broken},
		"deep flow sequences":           {"checks: " + strings.Repeat("[", much), broken},
		"deep flow mappings":            {"checks: " + strings.Repeat("{a: ", much/4), broken},
		"deep block sequences":          {"checks:\n  " + strings.Repeat("- ", much/2) + "a\n", broken},
		"deep indentation":              {deep(1000), broken},
		"aliases of aliases":            {laughs(60), broken},
		"a key many times":              {"checks:\n  - name: a\n" + strings.Repeat("    on: http\n", 8000), broken},
		"many checks":                   {"checks:\n" + strings.Repeat("  - name: a\n    on: http\n    expect: none(error)\n", 8000), broken},
		"control characters":            {"checks:\n  - name: \x00\x01\u2028\ufeff\x7f\n    on: \t\n", broken},
		"a byte order mark":             {"\ufeff" + oneCheck, whole},
		"line ends of Windows":          {strings.ReplaceAll(oneCheck, "\n", "\r\n"), whole},
		"line ends of long ago":         {strings.ReplaceAll(oneCheck, "\n", "\r"), whole},
		"several documents":             {oneCheck + "---\n" + oneCheck, broken},
		"a directive":                   {"%YAML 9.9\n---\n" + oneCheck, broken},
		"a list where a mapping stands": {"- - - checks\n", broken},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEditor(t, t.TempDir(), `{"textDocument":{"diagnostic":{}}}`)
			for _, file := range []string{"a.netcheck.yaml", "devloop.yaml", "a.ts"} {
				uri := e.open(file, c.text)
				at := Position{Line: strings.Count(c.text, "\n") / 2, Character: 12}
				document := map[string]any{"uri": uri}
				ask := func(method string, params map[string]any, result any) {
					t.Helper()
					ctx, cancel := context.WithTimeout(t.Context(), soon)
					defer cancel()
					params["textDocument"] = document
					r, err := e.rpc.Call(ctx, method, params)
					if ctx.Err() != nil {
						t.Fatalf("%s of %s is not answered within %v", method, file, soon)
					}
					if err == nil && result != nil {
						err = r.UnmarshalResult(result)
					}
					if err != nil && jrpc2.ErrorCode(err) != jrpc2.InvalidParams { // as a rename of nothing is answered
						t.Fatalf("%s of %s: %v", method, file, err)
					}
				}
				var report DocumentDiagnosticReport
				ask("textDocument/diagnostic", map[string]any{}, &report)
				for _, method := range []string{"completion", "hover", "definition", "prepareRename"} {
					ask("textDocument/"+method, map[string]any{"position": at}, nil)
				}
				var lenses, hints, symbols, edits []any
				ask("textDocument/codeLens", map[string]any{}, &lenses)
				ask("textDocument/inlayHint", map[string]any{"range": Range{End: Position{Line: 1e6}}}, &hints)
				ask("textDocument/documentSymbol", map[string]any{}, &symbols)
				ask("textDocument/formatting", map[string]any{}, &edits)
				ask("textDocument/rename", map[string]any{"position": at, "newName": "b"}, nil)
				ask("textDocument/codeAction", map[string]any{"range": Range{Start: at, End: at}, "context": map[string]any{"diagnostics": report.Items}}, nil)
				switch {
				case c.kind == large:
					if len(report.Items) != 1 || !strings.Contains(report.Items[0].Message, "larger than 4 MiB") {
						t.Errorf("%s: %d diagnostics", file, len(report.Items))
					}
					if len(lenses)+len(hints)+len(symbols)+len(edits) > 0 {
						t.Errorf("%s is read all the same: %d lenses, %d hints, %d symbols, %d edits", file, len(lenses), len(hints), len(symbols), len(edits))
					}
				case file == "a.netcheck.yaml" && c.kind == broken && len(report.Items) == 0:
					t.Error("nothing is wrong with it")
				case len(report.Items) > maxMistakes+1:
					t.Errorf("%d diagnostics", len(report.Items))
				}
			}
		})
	}
}

// deep is a mapping in a mapping, so many times, a line each.
func deep(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// laughs is a list of ten aliases of a list of ten aliases, and so on.
func laughs(n int) string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x]\n")
	for i := 1; i < n; i++ {
		at := func(i int) string { return "a" + strings.Repeat("b", i) }
		b.WriteString(at(i) + ": &" + at(i) + " [" + strings.TrimSuffix(strings.Repeat("*"+at(i-1)+", ", 10), ", ") + "]\n")
	}
	return strings.Replace(b.String(), "a0: &a0", "a: &a", 1) + "checks: *a\n"
}
