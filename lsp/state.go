package lsp

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"github.com/creachadair/jrpc2"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// What our own extension asks beyond LSP. A client that has the experimental capability "devloop" is sent devloop/state, and
// carries the commands out itself.

// State is how things stand (the notification devloop/state, sent at every change).
type State struct {
	Workspace string           `json:"workspace"`
	Found     bool             `json:"found"`            // there is a devloop.yaml
	Socket    string           `json:"socket,omitempty"` // where the daemon listens when one runs
	Connected bool             `json:"connected"`        // one does
	Running   bool             `json:"running"`          // the environment is up
	Revision  string           `json:"revision,omitempty"`
	Phase     string           `json:"phase"`             // idle, or the running iteration's phase
	Current   string           `json:"current,omitempty"` // the running iteration
	Iteration string           `json:"iteration,omitempty"`
	Judged    string           `json:"judged,omitempty"` // the revision that the verdict speaks of
	Verdict   traffic.Verdict  `json:"verdict,omitempty"`
	Failure   *traffic.Failure `json:"failure,omitempty"` // why the newest iteration came to no verdict
	Stale     bool             `json:"stale"`             // the verdict does not speak of what there is now
}

// CheckFile is a check file of the workspace with its checks (devloop/checks).
type CheckFile struct {
	URI    string      `json:"uri"`
	File   string      `json:"file"` // relative to the workspace
	Error  string      `json:"error,omitempty"`
	Checks []CheckItem `json:"checks"`
}

// CheckItem is a check as it stands in its file, with what the newest iteration said of it.
type CheckItem struct {
	Name    string                `json:"name"`
	Range   Range                 `json:"range"`
	Expect  Range                 `json:"expect"` // where its expectation stands
	Stale   bool                  `json:"stale"`  // it was changed since
	Results []traffic.CheckResult `json:"results"`
}

// Checks answers devloop/checks.
type Checks struct {
	Iteration string                `json:"iteration,omitempty"`
	Revision  string                `json:"revision,omitempty"`
	Files     []CheckFile           `json:"files"`
	Builtin   []traffic.CheckResult `json:"builtin"` // built-in checks that had something to look at
}

// maxCheckFiles bounds how many files of a workspace are listed.
const maxCheckFiles = 500

// ours says whether the client is our extension.
func (s *server) ours() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client.isExtension()
}

func (p *InitializeParams) isExtension() bool {
	var said struct{ Devloop bool }
	return json.Unmarshal(p.Capabilities.Experimental, &said) == nil && said.Devloop // others say other things there
}

// tell sends the state to a client that understands it.
func (s *server) tell() {
	if s.ours() {
		_ = s.rpc.Notify(s.ctx, "devloop/state", s.state())
	}
}

func (s *server) state() State {
	st := State{Workspace: s.root(), Phase: "idle"}
	_, _, st.Found = s.configText()
	st.Socket, _ = control.SocketPath(st.Workspace) // without one there is nothing to ask
	f := s.live.get()
	st.Connected = f.connected
	if f.status != nil && f.connected {
		st.Running, st.Revision = f.status.Running, f.status.Revision
		st.Phase = cmp.Or(f.status.Phase, "idle")
		if f.status.Current != nil {
			st.Current = f.status.Current.ID
		}
		if f.status.Last != nil {
			st.Failure = f.status.Last.Failure
		}
	}
	if f.running != nil {
		st.Current, st.Phase = f.running.ID, f.running.Phase
	}
	if f.iteration != nil {
		st.Iteration, st.Verdict, st.Judged = f.iteration.ID, f.iteration.Verdict, f.iteration.Revision
		st.Stale = s.stale(&f, nil) != "" || f.status != nil && len(f.status.Stale) > 0
	}
	return st
}

// checks lists the checks of the workspace, as open documents have them or as they lie there.
func (s *server) checks(ctx context.Context) (*Checks, error) {
	f := s.live.get()
	all := &Checks{Files: []CheckFile{}, Builtin: []traffic.CheckResult{}}
	if f.iteration != nil {
		all.Iteration, all.Revision = f.iteration.ID, f.iteration.Revision
		for _, r := range f.iteration.Checks {
			if r.Builtin && r.Verdict != traffic.Skipped {
				all.Builtin = append(all.Builtin, r)
			}
		}
	}
	for _, path := range s.checkFiles() {
		if ctx.Err() != nil {
			return nil, jrpc2.Errorf(jrpc2.Cancelled, "cancelled")
		}
		all.Files = append(all.Files, s.checkFile(path, &f))
	}
	return all, nil
}

// checkFiles are the files that devloop.yaml names, and the open ones that it does not name.
func (s *server) checkFiles() []string {
	var files []string
	if cfg := s.config(); cfg != nil {
		for _, pattern := range cfg.Checks {
			found, _ := filepath.Glob(filepath.Join(s.root(), filepath.FromSlash(pattern))) // a bad pattern is a diagnostic of devloop.yaml
			files = append(files, found...)
		}
	}
	s.mu.Lock()
	for _, d := range s.docs {
		if kindOf(d.path) == checkFile {
			files = append(files, d.path)
		}
	}
	s.mu.Unlock()
	slices.Sort(files)
	files = slices.Compact(files)
	return files[:min(len(files), maxCheckFiles)]
}

func (s *server) checkFile(path string, f *facts) CheckFile {
	file := CheckFile{URI: uriOf(path), File: s.relative(path), Checks: []CheckItem{}}
	d, err := s.read(path)
	if err != nil {
		file.Error = err.Error()
		return file
	}
	if len(d.text) > maxDocument {
		file.Error = tooLarge
		return file
	}
	if _, err := s.parser.Parse(file.File, []byte(d.text)); err != nil {
		file.Error = err.Error()
	}
	o := outlineOf(d)
	for i := range o.checks {
		c := &o.checks[i]
		if c.name.plain() == "" {
			continue
		}
		item := CheckItem{Name: c.name.plain(), Range: Range{d.position(c.first, 0), d.position(c.last, len(d.line(c.last)))}, Results: []traffic.CheckResult{}}
		item.Expect = item.Range
		if c.expect.key != "" {
			item.Expect = Range{d.position(c.expect.keyLine, c.expect.keyAt), d.position(c.expect.last, len(d.line(c.expect.last)))}
		}
		for _, r := range f.results(file.File, item.Name) {
			item.Stale = item.Stale || !c.still(&r)
			item.Results = append(item.Results, r)
		}
		file.Checks = append(file.Checks, item)
	}
	return file
}

// readBounded reads a file that is no larger than a document may be.
func readBounded(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Size() > maxDocument {
		return "", &os.PathError{Op: "read", Path: path, Err: errTooLarge}
	}
	b, err := os.ReadFile(path)
	return string(b), err
}
