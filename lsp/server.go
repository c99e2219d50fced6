package lsp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/creachadair/jrpc2"
	"github.com/creachadair/jrpc2/channel"
	"github.com/creachadair/jrpc2/handler"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/lsp/routes"
)

// Options of [Serve].
type Options struct {
	Version   string
	Workspace string // absolute; what the client opens by default
	// Connect reaches the daemon of a workspace. It starts none.
	Connect func(ctx context.Context, workspace string) (*control.Client, error)
}

// Serve speaks LSP over one stream pair until the client says exit or goes away.
func Serve(ctx context.Context, o Options, in io.Reader, out io.WriteCloser) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{o: o, docs: map[string]*document{}, ctx: ctx, end: cancel}
	s.live = &live{changed: s.refresh, moved: s.tell, connect: func(ctx context.Context) (*control.Client, error) { return o.Connect(ctx, s.root()) }}
	s.rpc = jrpc2.NewServer(s.methods(), &jrpc2.ServerOptions{
		AllowPush: true, Concurrency: 8, DisableBuiltin: true, NewContext: func() context.Context { return ctx },
	})
	s.rpc.Start(newStream(channel.LSP(in, out), ctx.Done()))
	err := s.rpc.Wait()
	cancel()
	s.work.Wait()
	if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) || channel.IsErrClosing(err) {
		return nil
	}
	return err
}

// server is one editor's session.
type server struct {
	o       Options
	rpc     *jrpc2.Server
	ctx     context.Context // of the session
	end     context.CancelFunc
	work    sync.WaitGroup
	live    *live
	parser  assertions.Parser
	owned   owners
	sources index

	publishing sync.Mutex // so that what is shown of a document is of its newest text

	mu     sync.Mutex
	docs   map[string]*document // by their URIs in one form
	folder string
	pulls  bool // the client asks for diagnostics itself
	bytes  bool // positions are UTF-8
	client InitializeParams

	endpoints   []routes.Observed // of the facts of this time
	endpointsOf time.Time
}

func (s *server) methods() handler.Map {
	return handler.Map{
		"initialize":                          handler.New(s.initialize),
		"initialized":                         handler.New(s.initialized),
		"shutdown":                            handler.New(s.shut),
		"exit":                                handler.New(s.exit),
		"$/cancelRequest":                     handler.New(s.cancel),
		"$/setTrace":                          handler.New(func(context.Context, json.RawMessage) error { return nil }),
		"textDocument/didOpen":                handler.New(s.didOpen),
		"textDocument/didChange":              handler.New(s.didChange),
		"textDocument/didSave":                handler.New(func(context.Context, DocumentParams) error { return nil }),
		"textDocument/didClose":               handler.New(s.didClose),
		"textDocument/diagnostic":             whole(s, func(d *document) any { return DocumentDiagnosticReport{"full", s.diagnose(d)} }),
		"textDocument/completion":             at(s, func(d *document, p Position) any { return s.complete(d, p) }),
		"textDocument/hover":                  at(s, func(d *document, p Position) any { return s.hover(d, p) }),
		"textDocument/definition":             at(s, func(d *document, p Position) any { return s.definition(d, p) }),
		"textDocument/prepareRename":          at(s, func(d *document, p Position) any { return s.prepareRename(d, p) }),
		"textDocument/rename":                 handler.New(s.renamed),
		"textDocument/codeLens":               whole(s, func(d *document) any { return s.lenses(d) }),
		"textDocument/formatting":             whole(s, func(d *document) any { return d.format() }),
		"textDocument/documentSymbol":         whole(s, func(d *document) any { return s.symbols(d) }),
		"textDocument/inlayHint":              handler.New(s.inlayHints),
		"textDocument/codeAction":             handler.New(s.codeActions),
		"workspace/executeCommand":            handler.New(s.execute),
		"devloop/checks":                      handler.New(s.checks),
		"workspace/didChangeWatchedFiles":     handler.New(func(context.Context, json.RawMessage) error { s.refresh(); return nil }),
		"workspace/didChangeConfiguration":    handler.New(func(context.Context, json.RawMessage) error { return nil }),
		"workspace/didChangeWorkspaceFolders": handler.New(func(context.Context, json.RawMessage) error { return nil }),
	}
}

// whole is a request about a whole document.
func whole(s *server, answer func(*document) any) jrpc2.Handler {
	return handler.New(func(_ context.Context, p DocumentParams) (any, error) {
		d, err := s.need(p.TextDocument.URI)
		if err != nil {
			return nil, err
		}
		return answer(d), nil
	})
}

// at is a request about a place of a document.
func at(s *server, answer func(*document, Position) any) jrpc2.Handler {
	return handler.New(func(_ context.Context, p TextDocumentPositionParams) (any, error) {
		d, err := s.need(p.TextDocument.URI)
		if err != nil {
			return nil, err
		}
		return answer(d, p.Position), nil
	})
}

func (s *server) initialize(_ context.Context, p InitializeParams) (any, error) {
	s.mu.Lock()
	s.client = p
	s.folder = s.o.Workspace
	if path := pathOf(p.RootURI); path != "" {
		s.folder = path
	} else if len(p.WorkspaceFolders) > 0 && pathOf(p.WorkspaceFolders[0].URI) != "" {
		s.folder = pathOf(p.WorkspaceFolders[0].URI)
	}
	if found, err := config.Find(s.folder); err == nil {
		s.folder = config.Workspace(found) // the editor may have opened a folder within it
	}
	encoding := "utf-16"
	if list := p.Capabilities.General.PositionEncodings; slices.Contains(list, "utf-8") && !slices.Contains(list, "utf-16") {
		encoding, s.bytes = "utf-8", true
	}
	s.pulls = p.Capabilities.TextDocument.Diagnostic != nil
	s.mu.Unlock()
	commands := []string{commandRun, commandEvidence, commandSuggest, commandAccept}
	if p.isExtension() {
		commands = []string{} // it has commands of these names
	}
	return map[string]any{
		"serverInfo": map[string]string{"name": "devloop", "version": s.o.Version},
		"capabilities": map[string]any{
			"positionEncoding":           encoding,
			"textDocumentSync":           map[string]any{"openClose": true, "change": 2, "save": true},
			"completionProvider":         map[string]any{"triggerCharacters": []string{".", "\"", " "}},
			"hoverProvider":              true,
			"definitionProvider":         true,
			"documentFormattingProvider": true,
			"documentSymbolProvider":     true,
			"renameProvider":             map[string]any{"prepareProvider": true},
			"codeLensProvider":           map[string]any{"resolveProvider": false},
			"inlayHintProvider":          true,
			"codeActionProvider":         map[string]any{"codeActionKinds": []string{"quickfix", "source"}},
			"diagnosticProvider":         map[string]any{"identifier": "devloop", "interFileDependencies": true, "workspaceDiagnostics": false},
			"executeCommandProvider":     map[string]any{"commands": commands, "workDoneProgress": true},
		},
	}, nil
}

// initialized begins to follow the daemon: from now on the client takes what it did not ask for.
func (s *server) initialized(context.Context, json.RawMessage) error {
	s.tell()
	if s.o.Connect != nil {
		s.work.Go(func() { s.live.watch(s.ctx) })
	}
	return nil
}

// shut has nothing to do: what there is ends with exit, or with the client. Some clients send an empty object with it, and with exit.
func (s *server) shut(context.Context, json.RawMessage) (any, error) { return nil, nil }

func (s *server) exit(context.Context, json.RawMessage) error {
	s.end()
	return nil
}

// cancel ends a request that the client does not wait for any more.
func (s *server) cancel(_ context.Context, p struct {
	ID json.RawMessage `json:"id"`
}) error {
	s.rpc.CancelRequest(string(p.ID))
	return nil
}

// root is the folder of the workspace.
func (s *server) root() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.folder
}

// relative is a file's path as verdicts name it.
func (s *server) relative(path string) string {
	rel, err := filepath.Rel(s.root(), path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return path
	}
	return filepath.ToSlash(rel)
}

func (s *server) open(uri string) *document {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.docs[sameFile(uri)]
}

func (s *server) need(uri string) (*document, error) {
	if d := s.open(uri); d != nil {
		return d, nil
	}
	return nil, jrpc2.Errorf(jrpc2.InvalidParams, "the document %s is not open", uri)
}

func (s *server) put(d *document) {
	s.mu.Lock()
	s.docs[sameFile(d.uri)] = d
	pulls := s.pulls
	s.mu.Unlock()
	if !pulls {
		s.publish(d)
	}
}

func (s *server) didOpen(_ context.Context, p DidOpenParams) error {
	s.put(newDocument(p.TextDocument.URI, p.TextDocument.Version, p.TextDocument.Text, s.bytes))
	return nil
}

func (s *server) didChange(_ context.Context, p DidChangeParams) error {
	d := s.open(p.TextDocument.URI)
	if d == nil {
		return nil
	}
	version := d.version + 1
	if p.TextDocument.Version != nil {
		version = *p.TextDocument.Version
	}
	s.put(d.changed(version, p.ContentChanges))
	return nil
}

func (s *server) didClose(ctx context.Context, p DocumentParams) error {
	s.mu.Lock()
	delete(s.docs, sameFile(p.TextDocument.URI))
	s.mu.Unlock()
	s.publishing.Lock()
	defer s.publishing.Unlock()
	return s.rpc.Notify(ctx, "textDocument/publishDiagnostics", PublishDiagnosticsParams{URI: p.TextDocument.URI, Diagnostics: []Diagnostic{}})
}

// publish tells the client what is wrong with a document.
func (s *server) publish(d *document) {
	if kindOf(d.path) == other {
		return
	}
	s.publishing.Lock()
	defer s.publishing.Unlock()
	if s.open(d.uri) != d {
		return // closed or typed in since; whoever did that publishes
	}
	version := d.version
	_ = s.rpc.Notify(s.ctx, "textDocument/publishDiagnostics", PublishDiagnosticsParams{URI: d.uri, Version: &version, Diagnostics: s.diagnose(d)})
}

// refresh tells the client that what it shows of the wire is old.
func (s *server) refresh() {
	s.tell()
	s.mu.Lock()
	var docs []*document
	for _, d := range s.docs {
		docs = append(docs, d)
	}
	client, pulls := s.client.Capabilities.Workspace, s.pulls
	s.mu.Unlock()
	if !pulls {
		for _, d := range docs {
			s.publish(d)
		}
	}
	for _, r := range []struct {
		ok     bool
		method string
	}{
		{client.CodeLens.RefreshSupport, "workspace/codeLens/refresh"},
		{client.InlayHint.RefreshSupport, "workspace/inlayHint/refresh"},
		{client.Diagnostics.RefreshSupport && pulls, "workspace/diagnostic/refresh"},
	} {
		if r.ok {
			s.work.Go(func() { _, _ = s.rpc.Callback(s.ctx, r.method, nil) })
		}
	}
}

func (s *server) inlayHints(_ context.Context, p struct {
	TextDocument TextDocumentIdentifier `json:"textDocument"`
	Range        Range                  `json:"range"`
}) (any, error) {
	d, err := s.need(p.TextDocument.URI)
	if err != nil {
		return nil, err
	}
	return s.hints(d, p.Range), nil
}

func (s *server) renamed(_ context.Context, p RenameParams) (any, error) {
	d, err := s.need(p.TextDocument.URI)
	if err != nil {
		return nil, err
	}
	return s.rename(d, p)
}

func (s *server) codeActions(_ context.Context, p CodeActionParams) (any, error) {
	d, err := s.need(p.TextDocument.URI)
	if err != nil {
		return nil, err
	}
	return s.actions(d, p), nil
}

// execute carries out a command, with progress where the client asked for it.
func (s *server) execute(ctx context.Context, p ExecuteCommandParams) (any, error) {
	var args []string
	for _, raw := range p.Arguments {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, jrpc2.Errorf(jrpc2.InvalidParams, "the arguments of %s are strings", p.Command)
		}
		args = append(args, text)
	}
	c := s.live.daemon()
	if c == nil {
		return nil, jrpc2.Errorf(jrpc2.SystemError, "no daemon runs for %s: start it with devloop up", s.root())
	}
	switch p.Command {
	case commandRun:
		r := control.RunRequest{Checks: args}
		it, err := c.Run(ctx, r, s.progress(ctx, p.WorkDoneToken))
		if err != nil {
			return nil, failure(err)
		}
		return it, nil
	case commandEvidence:
		if len(args) != 2 {
			return nil, jrpc2.Errorf(jrpc2.InvalidParams, "%s takes an iteration and a check", commandEvidence)
		}
		a, err := c.Evidence(ctx, control.EvidenceRequest{Iteration: args[0], Check: args[1]})
		if err != nil {
			return nil, failure(err)
		}
		return a, nil
	}
	return s.beside(ctx, c, p.Command, args)
}

// beside carries out the commands that are not about one check.
func (s *server) beside(ctx context.Context, c *control.Client, command string, args []string) (any, error) {
	var answer any
	var err error
	switch command {
	case commandSuggest:
		answer, err = control.ChecksSuggest.Ask(ctx, c, control.SuggestRequest{}, nil)
	case commandAccept:
		if len(args) != 1 || strings.TrimSpace(args[0]) == "" {
			return nil, jrpc2.Errorf(jrpc2.InvalidParams, "%s takes a reason", commandAccept)
		}
		answer, err = control.BaselineAccept.Ask(ctx, c, control.BaselineRequest{Reason: args[0]}, nil)
	default:
		return nil, jrpc2.Errorf(jrpc2.InvalidParams, "there is no command %q", command)
	}
	if err != nil {
		return nil, failure(err)
	}
	return answer, nil
}

// failure is an error with the next command to type.
func failure(err error) error {
	var known *control.Error
	if errors.As(err, &known) && known.Hint != "" {
		return jrpc2.Errorf(jrpc2.SystemError, "%s. Fix: %s", known.What, known.Hint)
	}
	return jrpc2.Errorf(jrpc2.SystemError, "%s", err)
}

// progress reports the phases of an iteration.
func (s *server) progress(ctx context.Context, token any) func(control.Event) {
	if token == nil {
		return nil
	}
	report := func(value map[string]any) {
		_ = s.rpc.Notify(ctx, "$/progress", map[string]any{"token": token, "value": value})
	}
	begun, last := false, ""
	return func(e control.Event) {
		if e.Iteration == nil || e.Iteration.Phase == last {
			return
		}
		last = e.Iteration.Phase
		message := fmt.Sprintf("%s %s", e.Iteration.ID, last)
		switch {
		case !begun:
			begun = true
			report(map[string]any{"kind": "begin", "title": "devloop", "message": message, "cancellable": true})
		case last == "done":
			report(map[string]any{"kind": "end", "message": fmt.Sprintf("%s: %s", message, e.Iteration.Verdict)})
		default:
			report(map[string]any{"kind": "report", "message": message})
		}
	}
}
