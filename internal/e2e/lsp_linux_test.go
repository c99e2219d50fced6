//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/creachadair/jrpc2"
	"github.com/creachadair/jrpc2/channel"

	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/lsp"
	"github.com/devloop-io/devloop/traffic"
)

const pairConfig = `version: 1
services:
  front:
    go: ./cmd/front
    ports: {http: 8080}
    env: {STOCK_URL: "http://stock:8080"}
  stock:
    go: ./cmd/stock
    ports: {http: 8080}
exercises:
  browse:
    default: true
    steps:
      - http: {url: "http://front:8080/shelf/7", repeat: 20}
checks: ["*.netcheck.yaml"]
`

const pairChecks = `checks:
  - name: stock answers
    on: http && dst.service.name == "stock"
    expect: none(status_code >= 500)
  - name: stock is quick
    on: http && dst.service.name == "stock"
    expect: p50(latency) < duration("2s")
`

const frontSource = `package main

import (
	"io"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("GET /shelf/{id}", func(w http.ResponseWriter, r *http.Request) {
		answer, err := http.Get(os.Getenv("STOCK_URL") + "/items/" + r.PathValue("id"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		io.Copy(w, answer.Body)
		answer.Body.Close()
	})
	http.ListenAndServe(":8080", nil)
}
`

const stockSource = `package main

import (
	"fmt"
	"net/http"
)

func main() {
	http.HandleFunc("GET /items/{id}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.PathValue("id"))
	})
	http.ListenAndServe(":8080", nil)
}
`

// The bug that the test plants, and the line that it takes the place of.
const (
	stockWell   = `fmt.Fprintln(w, r.PathValue("id"))`
	stockBroken = `http.Error(w, fmt.Sprint("out of shelves"), http.StatusInternalServerError)`
)

// pair is a workspace of two small services with their sources.
func pair(t *testing.T) *workspace {
	t.Helper()
	testenv.NeedsRoot(t)
	testenv.NeedsFull(t)
	w := &workspace{t: t, dir: t.TempDir()}
	for d := w.dir; d != os.TempDir() && len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, service := range []string{"front", "stock"} {
		if err := os.MkdirAll(filepath.Join(w.dir, "cmd", service), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.write("go.mod", "module example.com/pair\n\ngo 1.22\n")
	w.write("devloop.yaml", pairConfig)
	w.write("stock.netcheck.yaml", pairChecks)
	w.write("cmd/front/main.go", frontSource)
	w.write("cmd/stock/main.go", stockSource)
	t.Cleanup(func() {
		if code, _, stderr := w.devloop("down"); code != 0 {
			t.Errorf("devloop down: exit %d\n%s", code, stderr)
		}
		if t.Failed() {
			w.dumpLog()
		}
	})
	return w
}

// editor is a client of `devloop lsp` that shows what an editor would.
type editor struct {
	w   *workspace
	rpc *jrpc2.Client

	mu    sync.Mutex
	shown map[string][]lsp.Diagnostic // by URI
	times map[string]int              // that they were published
}

// edited starts `devloop lsp` on the workspace.
func edited(w *workspace) *editor {
	t := w.t
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := w.command(ctx, "lsp", "--stdio")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e := &editor{w: w, shown: map[string][]lsp.Diagnostic{}, times: map[string]int{}}
	e.rpc = jrpc2.NewClient(channel.LSP(out, in), &jrpc2.ClientOptions{
		OnNotify: func(r *jrpc2.Request) {
			var p lsp.PublishDiagnosticsParams
			if r.Method() == "textDocument/publishDiagnostics" && r.UnmarshalParams(&p) == nil {
				e.mu.Lock()
				e.shown[p.URI] = p.Diagnostics
				e.times[p.URI]++
				e.mu.Unlock()
			}
		},
		OnCallback: func(context.Context, *jrpc2.Request) (any, error) { return nil, nil },
	})
	e.call("initialize", json.RawMessage(fmt.Sprintf(`{"rootUri":%q,"capabilities":{"workspace":{"codeLens":{"refreshSupport":true}}}}`, fileURI(w.dir))), nil)
	e.notify("initialized", struct{}{})
	t.Cleanup(func() {
		e.call("shutdown", nil, nil)
		e.notify("exit", nil)
		if err := cmd.Wait(); err != nil {
			t.Errorf("devloop lsp ended with %v", err)
		}
		cancel()
	})
	return e
}

func fileURI(path string) string { return (&url.URL{Scheme: "file", Path: path}).String() }

func (e *editor) call(method string, params, result any) {
	e.w.t.Helper()
	r, err := e.rpc.Call(context.Background(), method, params)
	if err == nil && result != nil {
		err = r.UnmarshalResult(result)
	}
	if err != nil {
		e.w.t.Fatalf("%s: %v", method, err)
	}
}

func (e *editor) notify(method string, params any) {
	e.w.t.Helper()
	if err := e.rpc.Notify(context.Background(), method, params); err != nil {
		e.w.t.Fatalf("%s: %v", method, err)
	}
}

// open opens a file of the workspace as it lies there.
func (e *editor) open(name string) string {
	e.w.t.Helper()
	text, err := os.ReadFile(filepath.Join(e.w.dir, name))
	if err != nil {
		e.w.t.Fatal(err)
	}
	uri := fileURI(filepath.Join(e.w.dir, name))
	e.notify("textDocument/didOpen", map[string]any{"textDocument": map[string]any{"uri": uri, "languageId": "yaml", "version": 1, "text": string(text)}})
	return uri
}

func (e *editor) diagnostics(uri string) []lsp.Diagnostic {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.shown[uri]
}

func (e *editor) published(uri string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.times[uri]
}

// lenses are the titles of a document's code lenses, with their lines from 0.
func (e *editor) lenses(uri string) string {
	e.w.t.Helper()
	var list []lsp.CodeLens
	e.call("textDocument/codeLens", map[string]any{"textDocument": map[string]any{"uri": uri}}, &list)
	var b strings.Builder
	for _, l := range list {
		fmt.Fprintf(&b, "%d %s\n", l.Range.Start.Line, l.Command.Title)
	}
	return b.String()
}

func (e *editor) hover(uri string, line, character int) string {
	e.w.t.Helper()
	var h *lsp.Hover
	e.call("textDocument/hover", map[string]any{"textDocument": map[string]any{"uri": uri}, "position": lsp.Position{Line: line, Character: character}}, &h)
	if h == nil {
		return ""
	}
	return h.Contents.Value
}

func (e *editor) hints(uri string) string {
	e.w.t.Helper()
	var list []lsp.InlayHint
	e.call("textDocument/inlayHint", map[string]any{"textDocument": map[string]any{"uri": uri}, "range": lsp.Range{End: lsp.Position{Line: 100}}}, &list)
	var b strings.Builder
	for _, h := range list {
		fmt.Fprintf(&b, "%d %s\n", h.Position.Line, h.Label)
	}
	return b.String()
}

// TestEditorSeesBrokenAndMended: a check file is open in an editor while a service is broken and mended, the daemon dies and
// comes back. What the editor shows follows, and what is old says so.
func TestEditorSeesBrokenAndMended(t *testing.T) {
	w := pair(t)
	e := edited(w)
	checks := e.open("stock.netcheck.yaml")
	handler := e.open("cmd/stock/main.go")
	eventually(t, "the file is without mistakes", func() bool { return e.published(checks) == 1 })
	if lenses := e.lenses(checks); lenses != "1 ▶ run\n4 ▶ run\n" {
		t.Errorf("before any run: %s", lenses)
	}

	w.edit("cmd/stock/main.go", stockWell, stockBroken)
	broken := w.run()
	if broken.Verdict != traffic.Fail {
		t.Fatalf("the broken stock: %s %+v\n%s", broken.Verdict, broken.Failure, explain(not(broken, traffic.Pass)))
	}
	eventually(t, "the editor shows the failing check", func() bool { return len(e.diagnostics(checks)) == 1 })
	shown := e.diagnostics(checks)[0]
	if shown.Severity != lsp.SeverityError || shown.Range.Start.Line != 3 || !strings.Contains(shown.Message, "fail in "+broken.ID) || !strings.Contains(shown.Message, "stock") {
		t.Errorf("the squiggle: %+v", shown)
	}
	if len(shown.RelatedInformation) == 0 || !strings.Contains(shown.RelatedInformation[0].Message, "500") {
		t.Errorf("its evidence: %+v", shown.RelatedInformation)
	}
	for _, word := range []string{"1 ✗ fail", "n = 20 · " + broken.Revision, "4 ✓ pass · p50(latency) = "} {
		if lenses := e.lenses(checks); !strings.Contains(lenses, word) || strings.Contains(lenses, "stale") {
			t.Errorf("the lenses do not say %q:\n%s", word, lenses)
		}
	}
	for place, words := range map[lsp.Position][]string{
		{Line: 6, Character: 13}: {"p50(", "In " + broken.ID, "n = 20"},
		{Line: 1, Character: 13}: {"**fail** in " + broken.ID, "n = 20"},
		{Line: 2, Character: 39}: {"**stock** service running", "`stock GET /items/{id}` 20 calls · 100.0 % errors"},
	} {
		for _, word := range words {
			if hover := e.hover(checks, place.Line, place.Character); !strings.Contains(hover, word) {
				t.Errorf("hover at %+v does not say %q:\n%s", place, word, hover)
			}
		}
	}
	if hints := e.hints(checks); !strings.Contains(hints, "6 = ") {
		t.Errorf("inlay hints: %s", hints)
	}

	var blamed lsp.Diagnostic // by our check; built-in ones may have been broken as well
	eventually(t, "the handler is marked", func() bool {
		for _, d := range e.diagnostics(handler) {
			if strings.Contains(d.Message, `broke the check "stock answers"`) {
				blamed = d
			}
		}
		return blamed.Message != ""
	})
	if blamed.Range.Start.Line != 8 || len(blamed.RelatedInformation) != 2 ||
		blamed.RelatedInformation[1].Location.URI != checks || blamed.RelatedInformation[1].Location.Range.Start.Line != 1 {
		t.Errorf("the mark at the handler: %+v", blamed)
	}
	if lenses := e.lenses(handler); !strings.HasPrefix(lenses, "8 20 calls · 100.0 % errors · p99 ") || !strings.HasSuffix(lenses, " ms · "+broken.Revision+"\n") {
		t.Errorf("the lens at the handler: %q", lenses)
	}

	caller := e.open("cmd/front/main.go")
	if lenses := e.lenses(caller); !strings.Contains(lenses, "10 → stock · 20 calls · 100.0 % errors · p99 ") {
		t.Errorf("the lens at the call: %q", lenses)
	}
	second := edited(w) // another window on the same workspace
	there := second.open("stock.netcheck.yaml")
	eventually(t, "a second editor shows the same", func() bool { return len(second.diagnostics(there)) == 1 })

	told := e.published(checks)
	w.edit("cmd/stock/main.go", stockBroken, "no Go at all")
	if unbuilt := w.run(); unbuilt.Failure == nil {
		t.Errorf("it was built: %+v", unbuilt)
	}
	eventually(t, "the editor was told of the iteration that did not build", func() bool { return e.published(checks) > told })
	if d := e.diagnostics(checks); len(d) != 1 || d[0].Message != shown.Message {
		t.Errorf("what did not build takes the squiggle away: %+v", d)
	}
	third := edited(w) // opened only now
	late := third.open("stock.netcheck.yaml")
	eventually(t, "an editor that is opened after it shows the last verdict", func() bool {
		return len(third.diagnostics(late)) == 1 && strings.Contains(third.diagnostics(late)[0].Message, "fail in "+broken.ID)
	})

	w.edit("cmd/stock/main.go", "no Go at all", stockWell)
	mended := w.run()
	if mended.Verdict != traffic.Pass {
		t.Fatalf("the mended stock: %s\n%s", mended.Verdict, explain(not(mended, traffic.Pass)))
	}
	eventually(t, "the squiggles are gone", func() bool {
		return len(e.diagnostics(checks)) == 0 && len(e.diagnostics(handler)) == 0 && len(second.diagnostics(there)) == 0
	})
	if lenses := e.lenses(checks); !strings.Contains(lenses, "1 ✓ pass") || strings.Contains(lenses, "✗") {
		t.Errorf("mended: %s", lenses)
	}

	w.edit("cmd/stock/main.go", stockWell, stockBroken)
	again := w.run()
	eventually(t, "the squiggle is back", func() bool { return len(e.diagnostics(checks)) == 1 })
	before := e.published(checks)
	if err := syscall.Kill(w.status().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what is shown is stale", func() bool {
		d := e.diagnostics(checks)
		return len(d) == 1 && d[0].Severity == lsp.SeverityInformation && strings.HasPrefix(d[0].Message, "stale, the daemon has ended since: fail in "+again.ID)
	})
	if lenses := e.lenses(handler); !strings.HasSuffix(lenses, " · stale\n") {
		t.Errorf("the handler without the daemon: %s", lenses)
	}
	if lenses := e.lenses(checks); !strings.Contains(lenses, "✗ fail") || !strings.Contains(lenses, "stale") {
		t.Errorf("without the daemon: %s", lenses)
	}
	if after := e.published(checks); after != before+1 {
		t.Errorf("the editor was told %d times that the daemon ended", after-before)
	}
	if hover := e.hover(checks, 6, 13); !strings.Contains(hover, "p50(") {
		t.Errorf("hover without the daemon: %q", hover)
	}

	w.edit("cmd/stock/main.go", stockBroken, stockWell)
	if back := w.run(); back.Verdict != traffic.Pass {
		t.Fatalf("with a new daemon: %s %+v\n%s", back.Verdict, back.Failure, explain(not(back, traffic.Pass)))
	}
	eventually(t, "what is shown is current", func() bool {
		return len(e.diagnostics(checks)) == 0 && !strings.Contains(e.lenses(checks), "stale")
	})
}
