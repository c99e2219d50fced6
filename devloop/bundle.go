package devloop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/assertions/contract"
	"github.com/devloop-io/devloop/internal/buildinfo"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/store/bundle"
	"github.com/devloop-io/devloop/traffic"
)

// Bundle writes what an iteration's verdict rests on into one file: verdict, rows, checks, and packets with their secrets masked.
func (s *Session) Bundle(ctx context.Context, r control.BundleRequest) (*control.BundleAnswer, error) {
	it, err := s.sealed(r.Iteration)
	if err != nil {
		return nil, err
	}
	sn, err := s.snapshot(it.Snapshot)
	if err != nil {
		return nil, err
	}
	defer sn.Close()
	members, err := s.bundled(it, r.Told, sn)
	if err != nil {
		return nil, err
	}
	packets, err := os.CreateTemp(filepath.Join(s.store.Dir(), "snapshots"), ".bundle-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", it.ID, err)
	}
	defer func() { packets.Close(); os.Remove(packets.Name()) }()
	if _, err := sn.Export(ctx, packets, store.ExportOptions{}); err != nil {
		return nil, err
	}
	members = append(members, bundle.Member{Name: bundle.PacketsName, Write: func(w io.Writer) error {
		if _, err := packets.Seek(0, io.SeekStart); err != nil {
			return err
		}
		_, err := io.Copy(w, packets)
		return err
	}})
	name := cmp.Or(r.File, s.store.FreeExport(it.ID, ".bundle"))
	e, err := s.store.WriteExport(name, false, func(w io.Writer) error { return bundle.Write(w, "devloop "+buildinfo.Version(), members) })
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, control.Usagef("name another file", name+" is there already")
		}
		return nil, err
	}
	return &control.BundleAnswer{Iteration: it.ID, Path: e.Path, File: e.File, Bytes: e.Size, SHA256: e.SHA256, Packets: true, Next: "devloop open " + e.File}, nil
}

// bundled are the members of an iteration's bundle, but for its packets.
func (s *Session) bundled(it, told *traffic.Iteration, sn *store.Snapshot) ([]bundle.Member, error) {
	d, began, ended, err := s.dissection(it)
	if err != nil {
		return nil, err
	}
	w := bundle.Window{Start: began, End: ended, Exercise: exerciseName(it), Identities: sn.Identities}
	var members []bundle.Member
	add := func(name string, v any) {
		m, failed := bundle.JSON(name, v)
		members, err = append(members, m), errors.Join(err, failed)
	}
	add(bundle.VerdictName, shareable(cmp.Or(told, it)))
	add(bundle.RowsName, ofRevision(d, it.Revision))
	files, failed := s.checkFiles()
	if failed != nil {
		return nil, failed
	}
	for i, file := range files {
		text, failed := os.ReadFile(file)
		if failed != nil {
			return nil, fmt.Errorf("bundle %s: %w", it.ID, failed)
		}
		w.Files = append(w.Files, s.relative(file))
		members = append(members, bundle.Bytes(bundle.CheckName(i), text))
	}
	contracts, failed := s.contractsOf(files)
	if failed != nil {
		return nil, fmt.Errorf("bundle %s: %w", it.ID, failed)
	}
	for _, name := range slices.Sorted(maps.Keys(contracts)) {
		members = append(members, bundle.Bytes(bundle.ContractName(len(w.Contracts)), contracts[name]))
		w.Contracts = append(w.Contracts, name)
	}
	if b := s.baselineOf(w.Exercise); b.Baseline != nil {
		text, failed := baseline.Marshal(b.Baseline)
		if failed != nil {
			return nil, failed
		}
		w.Baseline = b.Name
		members = append(members, bundle.Bytes(bundle.BaselineName, text))
	}
	add(bundle.WindowName, w)
	return members, err
}

// contractsOf are the files that these check files read.
func (s *Session) contractsOf(checks []string) (map[string][]byte, error) {
	suite, err := assertions.Load(checks)
	if err != nil {
		return nil, err
	}
	return suite.Contracts(contract.Below(s.workspace)), nil
}

// shareable is an iteration without what programs printed: nobody has looked for secrets there.
func shareable(it *traffic.Iteration) *traffic.Iteration {
	x := *it
	if x.Failure != nil {
		f := *x.Failure
		f.Output = ""
		x.Failure = &f
	}
	if x.Exercise != nil {
		e := *x.Exercise
		e.Steps = slices.Clone(e.Steps)
		for i := range e.Steps {
			e.Steps[i].Output = ""
		}
		x.Exercise = &e
	}
	return &x
}

// Opened is a bundle that was read, with its checks judged again.
type Opened struct {
	Iteration *traffic.Iteration    `json:"iteration"`
	Again     []traffic.CheckResult `json:"again"`                 // the checks' verdicts over the bundle's rows, now
	Differs   []string              `json:"differs,omitempty"`     // checks whose verdict is another now
	Untried   []string              `json:"untried,omitempty"`     // results that are no checks of rows, such as comparisons
	Tool      string                `json:"tool"`                  // that wrote the bundle
	Note      string                `json:"untrusted_note"`        //
	Rows      *traffic.Dissection   `json:"-"`                     //
	ExitCode  int                   `json:"exit_code"`             //
	Verdict   traffic.Verdict       `json:"verdict_again"`         //
	Packets   bool                  `json:"packets"`               // whether it has packets
	Window    bundle.Window         `json:"window"`                //
	CheckText map[string]string     `json:"check_files,omitempty"` // file → its text
}

// OpenBundle reads a bundle and judges its rows by its checks again. It needs neither daemon nor workspace.
func OpenBundle(b *bundle.Bundle) (*Opened, error) {
	o := &Opened{Iteration: &traffic.Iteration{}, Rows: &traffic.Dissection{}, Tool: b.Tool, Note: control.Untrusted, Packets: b.Has(bundle.PacketsName), CheckText: map[string]string{}}
	for name, v := range map[string]any{bundle.VerdictName: o.Iteration, bundle.RowsName: o.Rows, bundle.WindowName: &o.Window} {
		if err := b.Into(name, v); err != nil {
			return nil, err
		}
	}
	names := b.Checks()
	if len(names) != len(o.Window.Files) {
		return nil, fmt.Errorf("the bundle has %d check files and names %d", len(names), len(o.Window.Files))
	}
	var texts []assertions.Text
	for i, name := range names {
		data, err := b.Bytes(name)
		if err != nil {
			return nil, err
		}
		texts = append(texts, assertions.Text{File: o.Window.Files[i], Data: data})
		o.CheckText[o.Window.Files[i]] = string(data)
	}
	suite, err := assertions.ParseAll(texts)
	if err != nil {
		return nil, fmt.Errorf("the bundle's checks: %w", err)
	}
	contracts, err := contractsIn(b, o.Window.Contracts)
	if err != nil {
		return nil, err
	}
	in := assertions.Input{Dissection: o.Rows, WindowStart: o.Window.Start, WindowEnd: o.Window.End, Identities: o.Window.Identities, Exercise: o.Window.Exercise, Files: contract.Kept(contracts)}
	if b.Has(bundle.BaselineName) {
		in.Baseline = assertions.BaselineFile{Name: o.Window.Baseline}
		data, err := b.Bytes(bundle.BaselineName)
		if err != nil {
			return nil, err
		}
		if in.Baseline.Baseline, err = baseline.Parse(data); err != nil {
			return nil, fmt.Errorf("the bundle's baseline: %w", err)
		}
		in.Baseline.Host = in.Baseline.Baseline.Host // where it was judged is not known; the loop has compared hosts
	}
	o.judge(suite, in)
	return o, nil
}

// contractsIn are the files that checks read, by their paths in the workspace that they come from. They stay in memory.
func contractsIn(b *bundle.Bundle, names []string) (map[string][]byte, error) {
	members := b.Contracts()
	if len(members) != len(names) {
		return nil, fmt.Errorf("the bundle has %d files that checks read and names %d", len(members), len(names))
	}
	files := map[string][]byte{}
	for i, name := range names {
		data, err := b.Bytes(members[i])
		switch {
		case err != nil:
			return nil, err
		case !fs.ValidPath(name):
			return nil, fmt.Errorf("the bundle names a file %q that lies outside of every workspace", name)
		case files[name] != nil:
			return nil, fmt.Errorf("the bundle names %s twice", name)
		}
		files[name] = data
	}
	return files, nil
}

// judge judges again, and says which verdicts are others now.
func (o *Opened) judge(suite *assertions.Suite, in assertions.Input) {
	first := in
	if o.Iteration.FirstEnd != 0 {
		first.WindowEnd = o.Iteration.FirstEnd
	}
	now := suite.Check(first, assertions.CheckOptions{Profile: config.ProfileAgent}) // which was judged is in the iteration
	if o.Iteration.FirstEnd != 0 {
		if rerun := suite.Rerunning(nil); len(rerun) > 0 {
			now = assertions.Renew(now, suite.Check(in, assertions.CheckOptions{Only: rerun, NoBuiltin: true}))
		}
	}
	for _, old := range o.Iteration.Checks {
		i := slices.IndexFunc(now, func(c traffic.CheckResult) bool { return c.Name == old.Name && c.Group == old.Group })
		if i < 0 || (assertions.CheckOptions{Only: []string{old.Name}}).Compares() { // the runs before are not in the bundle
			o.Untried = append(o.Untried, old.Name)
			continue
		}
		o.Again = append(o.Again, now[i])
		if now[i].Verdict != old.Verdict {
			o.Differs = append(o.Differs, fmt.Sprintf("%s was %s and is %s", old.Name, old.Verdict, now[i].Verdict))
		}
	}
	o.Verdict, o.ExitCode = assertions.Summary(o.Again, false)
}

// Database is the bundle's rows for questions.
func (o *Opened) Database() *query.Database {
	return &query.Database{
		Name: o.Iteration.ID, Start: o.Window.Start, End: o.Window.End, Account: o.Rows.Account, Identities: o.Window.Identities, ReadCalls: each(o.Rows.Calls), ReadConnections: each(o.Rows.Connections),
	}
}
