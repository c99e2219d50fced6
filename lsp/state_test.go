package lsp

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creachadair/jrpc2/channel"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// workspace is a server on a folder with some files, as after an iteration.
func workspace(t *testing.T, files map[string]string, it *traffic.Iteration) *server {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := &server{o: Options{Workspace: dir}, folder: dir, docs: map[string]*document{}, live: &live{}}
	s.live.facts = facts{connected: true, status: &control.Status{Revision: "r1", Running: true, Phase: "idle"}, iteration: it}
	return s
}

const oneCheck = "checks:\n  - name: a\n    on: http\n    expect: none(status_code >= 500)\n"

// TestChecks: the checks of a workspace with their results; files that are broken, huge, gone or typed in are each told as they are.
func TestChecks(t *testing.T) {
	it := &traffic.Iteration{ID: "i3", Revision: "r1", Verdict: traffic.Fail, Checks: []traffic.CheckResult{
		{Name: "a", File: "a.netcheck.yaml", On: "http", Expect: "none(status_code >= 500)", Verdict: traffic.Fail},
		{Name: "builtin/x", Builtin: true, Verdict: traffic.Pass}, {Name: "builtin/y", Builtin: true, Verdict: traffic.Skipped},
	}}
	s := workspace(t, map[string]string{
		"devloop.yaml": "version: 1\nservices: {a: {command: a}}\nchecks: [\"*.netcheck.yaml\"]\n", "a.netcheck.yaml": oneCheck, "broken.netcheck.yaml": "checks: [\n",
		"huge.netcheck.yaml": strings.Repeat("# much\n", maxDocument/7+2),
	}, it)
	got, err := s.checks(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Files) != 3 || got.Iteration != "i3" || len(got.Builtin) != 1 {
		t.Fatalf("%+v", got)
	}
	a, broken, huge := got.Files[0], got.Files[1], got.Files[2]
	if a.Error != "" || len(a.Checks) != 1 || len(a.Checks[0].Results) != 1 || a.Checks[0].Stale || a.Checks[0].Expect.Start.Line != 3 {
		t.Errorf("a: %+v", a)
	}
	if broken.Error == "" || len(broken.Checks) != 0 {
		t.Errorf("broken: %+v", broken)
	}
	if !strings.Contains(huge.Error, "larger than 4 MiB") {
		t.Errorf("huge: %+v", huge)
	}
	typed := newDocument(uriOf(filepath.Join(s.root(), "a.netcheck.yaml")), 2, strings.Replace(oneCheck, "500", "400", 1), false)
	s.docs[typed.uri] = typed
	if got, _ = s.checks(context.Background()); !got.Files[0].Checks[0].Stale {
		t.Error("a check that was typed in is not stale")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.checks(ctx); err == nil {
		t.Error("a request that was given up is answered")
	}
}

func TestState(t *testing.T) {
	s := workspace(t, map[string]string{"devloop.yaml": "version: 1\n"}, &traffic.Iteration{ID: "i3", Revision: "r1", Verdict: traffic.Pass})
	if st := s.state(); !st.Found || !st.Connected || st.Phase != "idle" || st.Verdict != traffic.Pass || st.Stale || st.Socket == "" {
		t.Errorf("%+v", st)
	}
	told := 0
	s.live.moved = func() { told++ }
	s.live.phase(&traffic.Iteration{ID: "i4", Phase: "build"})
	s.live.phase(&traffic.Iteration{ID: "i4", Phase: "build"})
	if st := s.state(); told != 1 || st.Phase != "build" || st.Current != "i4" {
		t.Errorf("told %d times: %+v", told, st)
	}
	s.live.facts.connected = false
	if st := s.state(); !st.Stale || st.Connected {
		t.Errorf("without a daemon: %+v", st)
	}
}

// TestPull: a client that asks for diagnostics itself gets them so, and none that it did not ask for. Our extension has the commands itself.
func TestPull(t *testing.T) {
	e := newEditor(t, t.TempDir(), `{"textDocument":{"diagnostic":{}},"experimental":{"devloop":true}}`)
	uri := e.open("a.netcheck.yaml", "checks: [\n")
	var report DocumentDiagnosticReport
	e.call("textDocument/diagnostic", map[string]any{"textDocument": map[string]any{"uri": uri}}, &report)
	if report.Kind != "full" || len(report.Items) == 0 {
		t.Errorf("%+v", report)
	}
	select {
	case p := <-e.published:
		t.Errorf("published without being asked: %+v", p)
	default:
	}
	var said struct {
		Capabilities struct {
			ExecuteCommandProvider struct{ Commands []string }
		}
	}
	e.call("initialize", json.RawMessage(`{"capabilities":{"experimental":[true]}}`), &said)
	if len(said.Capabilities.ExecuteCommandProvider.Commands) != 4 {
		t.Errorf("a client with experiments of its own: %+v", said)
	}
	e.call("initialize", json.RawMessage(`{"capabilities":{"experimental":{"devloop":true}}}`), &said)
	if len(said.Capabilities.ExecuteCommandProvider.Commands) != 0 {
		t.Errorf("%+v", said)
	}
}

// TestEnd: a client may send something with shutdown and exit, as Claude Code does, go on after them, and leave its end open.
func TestEnd(t *testing.T) {
	for _, params := range []string{"", `,"params":null`, `,"params":{}`, `,"params":[]`} {
		toServer, fromClient := io.Pipe()
		toClient, fromServer := io.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- Serve(context.Background(), Options{Version: "test"}, toServer, fromServer) }()
		client := channel.LSP(toClient, fromClient)
		send := func(text string) {
			if err := client.Send([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		send(`{"jsonrpc":"2.0","id":1,"method":"shutdown"` + params + `}`)
		if answer, err := client.Recv(); err != nil || strings.Contains(string(answer), "error") {
			t.Errorf("shutdown%s: %s %v", params, answer, err)
		}
		send(`{"jsonrpc":"2.0","method":"exit"` + params + `}`)
		go func() { _ = client.Send([]byte(`{"jsonrpc":"2.0","id":2,"method":"shutdown"}`)) }() // somebody may still read it
		go func() { _, _ = io.Copy(io.Discard, toClient) }()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("exit%s: %v", params, err)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("exit%s: the server goes on", params)
		}
		_ = fromClient.Close()
	}
}

// TestURIs: files and URIs of both kinds of systems, and there and back.
func TestURIs(t *testing.T) {
	for _, c := range []struct{ system, uri, path, back string }{
		{"linux", "file:///work/a.yaml", "/work/a.yaml", "file:///work/a.yaml"},
		{"linux", "file:///work/shop%20%281%29%2B%40/a.yaml", "/work/shop (1)+@/a.yaml", "file:///work/shop%20%281%29+@/a.yaml"},
		{"linux", "file:///work/%E2%82%AC%25.yaml", "/work/€%.yaml", "file:///work/%E2%82%AC%25.yaml"},
		{"windows", "file:///c%3A/Users/a%20b/shop/devloop.yaml", `c:\Users\a b\shop\devloop.yaml`, "file:///c:/Users/a%20b/shop/devloop.yaml"},
		{"windows", "file:///C:/shop/devloop.yaml", `c:\shop\devloop.yaml`, "file:///c:/shop/devloop.yaml"},
		{"windows", "file://server/share/shop/a.netcheck.yaml", `\\server\share\shop\a.netcheck.yaml`, "file://server/share/shop/a.netcheck.yaml"},
		{"windows", "untitled:Untitled-1", "", "file:///"},
		{"linux", "untitled:Untitled-1", "", "file:///"},
		{"linux", "devloop:/i3/a.txt", "", "file:///"},
		{"linux", "%", "", "file:///"},
	} {
		if path := pathOn(c.system, c.uri); path != c.path {
			t.Errorf("%s on %s: %q, want %q", c.uri, c.system, path, c.path)
		}
		if back := uriOn(c.system, c.path); back != c.back {
			t.Errorf("%s on %s: %q, want %q", c.path, c.system, back, c.back)
		}
	}
}

// TestUnsavedUnderAnotherName: what the editor has of a file counts, however it writes the URI.
func TestUnsavedUnderAnotherName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop (1)+@")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	e := newEditor(t, dir, `{"textDocument":{"diagnostic":{}}}`)
	escaped := strings.NewReplacer("+", "%2B", "@", "%40", "(", "%28", ")", "%29")
	for name, text := range map[string]string{"devloop.yaml": "version: 1\nservices: {cart: {command: a}}\nchecks: [\"*.netcheck.yaml\"]\n", "a.netcheck.yaml": oneCheck} {
		e.notify("textDocument/didOpen", map[string]any{"textDocument": map[string]any{"uri": "file://" + escaped.Replace(strings.ReplaceAll(dir, " ", "%20")+"/"+name), "languageId": "yaml", "version": 1, "text": text}})
	}
	var all Checks
	e.call("devloop/checks", nil, &all)
	if len(all.Files) != 1 || len(all.Files[0].Checks) != 1 || all.Files[0].Error != "" {
		t.Errorf("%+v", all)
	}
}
