package lsp

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creachadair/jrpc2"
	"github.com/creachadair/jrpc2/channel"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite golden files")

// editor is a client that speaks to a server in this process over pipes, as an editor does.
type editor struct {
	t         *testing.T
	dir       string
	rpc       *jrpc2.Client
	published chan PublishDiagnosticsParams
}

func newEditor(t *testing.T, dir string, capabilities string) *editor {
	t.Helper()
	toServer, fromClient := io.Pipe()
	toClient, fromServer := io.Pipe()
	e := &editor{t: t, dir: dir, published: make(chan PublishDiagnosticsParams, 100)}
	ended := make(chan error, 1)
	go func() { ended <- Serve(context.Background(), Options{Version: "test"}, toServer, fromServer) }()
	e.rpc = jrpc2.NewClient(channel.LSP(toClient, fromClient), &jrpc2.ClientOptions{
		OnNotify: func(r *jrpc2.Request) {
			var p PublishDiagnosticsParams
			if r.Method() == "textDocument/publishDiagnostics" && r.UnmarshalParams(&p) == nil {
				e.published <- p
			}
		},
	})
	e.call("initialize", json.RawMessage(fmt.Sprintf(`{"rootUri":%q,"capabilities":%s}`, uriOf(dir), capabilities)), nil)
	e.notify("initialized", struct{}{})
	t.Cleanup(func() {
		e.call("shutdown", nil, nil)
		e.notify("exit", nil)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the server ended with %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("the server did not end")
		}
		_ = e.rpc.Close()
	})
	return e
}

func (e *editor) call(method string, params, result any) {
	e.t.Helper()
	r, err := e.rpc.Call(context.Background(), method, params)
	if err == nil && result != nil {
		err = r.UnmarshalResult(result)
	}
	if err != nil {
		e.t.Fatalf("%s: %v", method, err)
	}
}

func (e *editor) notify(method string, params any) {
	e.t.Helper()
	if err := e.rpc.Notify(context.Background(), method, params); err != nil {
		e.t.Fatalf("%s: %v", method, err)
	}
}

func (e *editor) open(name, text string) string {
	uri := uriOf(filepath.Join(e.dir, name))
	e.notify("textDocument/didOpen", map[string]any{"textDocument": map[string]any{"uri": uri, "languageId": "yaml", "version": 1, "text": text}})
	return uri
}

// diagnostics waits for the next that are published of a document.
func (e *editor) diagnostics(uri string) []Diagnostic {
	e.t.Helper()
	for {
		select {
		case p := <-e.published:
			if p.URI == uri {
				return p.Diagnostics
			}
		case <-time.After(30 * time.Second):
			e.t.Fatal("no diagnostics were published")
		}
	}
}

var marker = regexp.MustCompile(`⟦(\w+)⟧`)

// unmark takes the markers out of a text and says where they stood.
func unmark(text string) (string, map[string]Position) {
	places := map[string]Position{}
	for {
		m := marker.FindStringSubmatchIndex(text)
		if m == nil {
			return text, places
		}
		name := text[m[2]:m[3]]
		text = text[:m[0]] + text[m[1]:]
		places[name] = newDocument("", 0, text, false).at(m[0])
	}
}

// TestMarkers plays testdata/*.txtar: the comment says what is asked, ⟦names⟧ in the files say where, want is what came.
func TestMarkers(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			e := newEditor(t, dir, "{}")
			places := map[string]Position{}
			uris := map[string]string{}
			var want *txtar.File
			for i := range archive.Files {
				f := &archive.Files[i]
				if f.Name == "want" {
					want = f
					continue
				}
				text, found := unmark(string(f.Data))
				path := filepath.Join(dir, f.Name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				if k := kindOf(path); k != checkFile && k != configFile {
					continue
				}
				uri := e.open(f.Name, text)
				uris[f.Name] = uri
				for name, p := range found {
					places[name], uris[name] = p, uri
				}
			}
			if want == nil {
				archive.Files = append(archive.Files, txtar.File{Name: "want"})
				want = &archive.Files[len(archive.Files)-1]
			}
			var got bytes.Buffer
			for _, line := range strings.Split(string(archive.Comment), "\n") {
				if verb, what, _ := strings.Cut(strings.TrimSpace(line), " "); verb != "" && verb[0] != '#' {
					e.ask(&got, verb, what, uris, places)
				}
			}
			if *update {
				want.Data = got.Bytes()
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want.Data), got.String()); diff != "" {
				t.Errorf("(-want +got; -update rewrites it):\n%s", diff)
			}
		})
	}
}

// ask plays one line of a case.
func (e *editor) ask(w io.Writer, verb, what string, uris map[string]string, places map[string]Position) {
	e.t.Helper()
	name, grep, _ := strings.Cut(what, " ")
	uri := ""
	params := map[string]any{}
	if p, ok := places[name]; ok {
		uri = uris[name]
		params["position"] = p
	} else if u, ok := uris[name]; ok {
		uri = u
	} else if verb == "complete" || verb == "hover" || verb == "definition" || verb == "rename" {
		e.t.Fatalf("there is no marker ⟦%s⟧", name)
	}
	params["textDocument"] = map[string]any{"uri": uri}
	fmt.Fprintf(w, "> %s %s\n", verb, what)
	switch verb {
	case "diagnostics":
		for _, d := range e.diagnostics(uri) {
			fmt.Fprintf(w, "%s %s %s\n", place4(d.Range), []string{"", "error", "warning", "information", "hint"}[d.Severity], strings.ReplaceAll(d.Message, "\n", "\n  "))
			e.fixes(w, uri, d)
		}
	case "complete":
		var list CompletionList
		e.call("textDocument/completion", params, &list)
		slices.SortFunc(list.Items, func(a, b CompletionItem) int { return strings.Compare(a.SortText+a.Label, b.SortText+b.Label) })
		for _, i := range list.Items {
			if strings.Contains(i.Label, grep) {
				fmt.Fprintf(w, "%s | %s | %s %q\n", i.Label, i.Detail, place4(i.TextEdit.Range), i.TextEdit.NewText)
			}
		}
	case "hover":
		var h *Hover
		e.call("textDocument/hover", params, &h)
		if h != nil {
			fmt.Fprintf(w, "%s\n%s\n", place4(*h.Range), h.Contents.Value)
		}
	case "rename": // the new name stands behind the marker; ! says that it is refused
		params["newName"] = strings.TrimPrefix(grep, "!")
		var can *struct{ Placeholder string }
		e.call("textDocument/prepareRename", params, &can)
		if can == nil {
			fmt.Fprintln(w, "nothing to rename")
			return
		}
		if strings.HasPrefix(grep, "!") {
			_, err := e.rpc.Call(context.Background(), "textDocument/rename", params)
			fmt.Fprintf(w, "%q: %v\n", can.Placeholder, err)
			return
		}
		var edit WorkspaceEdit
		e.call("textDocument/rename", params, &edit)
		for _, uri := range slices.Sorted(maps.Keys(edit.Changes)) {
			rel, _ := filepath.Rel(e.dir, pathOf(uri))
			for _, t := range edit.Changes[uri] {
				fmt.Fprintf(w, "%s %s %s\n", filepath.ToSlash(rel), place4(t.Range), t.NewText)
			}
		}
	case "definition":
		var list []Location
		e.call("textDocument/definition", params, &list)
		for _, l := range list {
			rel, _ := filepath.Rel(e.dir, pathOf(l.URI))
			fmt.Fprintf(w, "%s %s\n", filepath.ToSlash(rel), place4(l.Range))
		}
	case "symbols":
		var list []DocumentSymbol
		e.call("textDocument/documentSymbol", params, &list)
		for _, s := range list {
			fmt.Fprintf(w, "%s %s | %s\n", place4(s.Range), s.Name, s.Detail)
		}
	case "lens":
		var list []CodeLens
		e.call("textDocument/codeLens", params, &list)
		for _, l := range list {
			fmt.Fprintf(w, "%s %s %v\n", place4(l.Range), l.Command.Title, l.Command.Arguments)
		}
	case "format":
		var list []TextEdit
		e.call("textDocument/formatting", params, &list)
		for _, edit := range list {
			fmt.Fprintf(w, "%s\n%s", place4(edit.Range), edit.NewText)
		}
	default:
		e.t.Fatalf("there is no verb %q", verb)
	}
}

// fixes writes the quick fixes of a diagnostic.
func (e *editor) fixes(w io.Writer, uri string, d Diagnostic) {
	var list []CodeAction
	e.call("textDocument/codeAction", map[string]any{
		"textDocument": map[string]any{"uri": uri}, "range": d.Range, "context": map[string]any{"diagnostics": []Diagnostic{d}},
	}, &list)
	for _, a := range list {
		fmt.Fprintf(w, "  fix: %s\n", a.Title)
	}
}

// place4 is a range in four numbers, from 1 as people count lines, columns from 0 as the protocol does.
func place4(r Range) string {
	return fmt.Sprintf("%d:%d-%d:%d", r.Start.Line+1, r.Start.Character, r.End.Line+1, r.End.Character)
}
