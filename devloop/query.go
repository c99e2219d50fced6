package devloop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// rowCache keeps the newest dissections in memory; older ones are read from their snapshots.
type rowCache struct {
	mu   sync.Mutex
	ids  []string
	rows map[string]*traffic.Dissection

	summaries summaryCache
}

const keepDissections = 4

func newRowCache() *rowCache { return &rowCache{rows: map[string]*traffic.Dissection{}} }

func (c *rowCache) put(id string, d *traffic.Dissection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.rows[id]; !ok {
		c.ids = append(c.ids, id)
	}
	c.rows[id] = d
	for len(c.ids) > keepDissections {
		delete(c.rows, c.ids[0])
		c.ids = c.ids[1:]
	}
}

func (c *rowCache) get(id string) *traffic.Dissection {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rows[id]
}

// dissection is what was found in an iteration's window, and the window's bounds.
func (s *Session) dissection(it *traffic.Iteration) (d *traffic.Dissection, began, ended int64, err error) {
	sn, err := s.store.Snapshot(it.Snapshot)
	if err != nil {
		return nil, 0, 0, &control.Error{What: err.Error(), Hint: "devloop snapshot list", Exit: control.ExitUsage}
	}
	defer sn.Close()
	began, ended = sn.Window.Start, sn.Window.End
	if d = s.rows.get(it.ID); d != nil {
		return d, began, ended, nil
	}
	if d, err = sn.ReadDissection(); err != nil {
		return nil, 0, 0, err
	}
	s.rows.put(it.ID, d)
	return d, began, ended, nil
}

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// Query returns a page of calls, connections or flows that a filter selects, of the newest iteration by default: what list_api_calls and
// list_l4_flows answer about an iteration, with how many rows it has.
func (s *Session) Query(ctx context.Context, r control.QueryRequest) (*control.QueryAnswer, error) {
	it, err := s.sealed(r.Iteration)
	if err != nil {
		return nil, err
	}
	a := &control.QueryAnswer{Iteration: it.ID, Kind: cmp.Or(r.Kind, "calls"), Rows: []any{}}
	ask, ok := map[string]func(context.Context, query.Scope, control.QueryRequest) (*listed, error){"calls": s.listCalls, "connections": s.listConnections, "flows": s.listFlows}[a.Kind]
	if !ok {
		return nil, control.Usagef("kind is calls, connections or flows", fmt.Sprintf("kind %q is none", r.Kind))
	}
	r.Limit = min(max(r.Limit, 0), maxLimit)
	scope := query.Scope{Snapshot: it.Snapshot}
	found, err := ask(ctx, scope, r)
	if err != nil {
		return nil, err
	}
	a.Rows = append(a.Rows, found.rows...)
	a.Total, a.Of, a.Cursor, a.Rewritten, a.Warnings, a.Why = found.total, found.total, found.cursor, found.Rewritten, found.Warnings, found.Why
	if found.Incomplete != "" {
		a.Warnings = append(a.Warnings, found.Incomplete)
	}
	if r.KFL == "" {
		return a, nil
	}
	all, err := ask(ctx, scope, control.QueryRequest{Limit: 1})
	if err != nil {
		return nil, err
	}
	a.Of = all.total
	return a, nil
}

// listed is a page of rows of any kind.
type listed struct {
	rows   []any
	total  int
	cursor string
	query.Reading
}

func (s *Session) listCalls(ctx context.Context, scope query.Scope, r control.QueryRequest) (*listed, error) {
	a, err := s.ListAPICalls(ctx, query.CallsRequest{Selection: query.Selection{Scope: scope, KFL: r.KFL}, Limit: r.Limit, Cursor: r.Cursor, Format: r.Format})
	if err != nil {
		return nil, err
	}
	return &listed{a.Calls, a.Total, a.Cursor, a.Reading}, nil
}

func (s *Session) listConnections(ctx context.Context, scope query.Scope, r control.QueryRequest) (*listed, error) {
	a, err := conclude(ctx, s, scope, query.CallsRequest{Selection: query.Selection{Scope: scope, KFL: r.KFL}, Limit: r.Limit, Cursor: r.Cursor, Format: "raw"}, query.ListConnectionEntries)
	if err != nil {
		return nil, err
	}
	for i := range a.Calls {
		if e, ok := a.Calls[i].(query.ConnectionEntry); ok {
			a.Calls[i] = e.Connection
		}
	}
	return &listed{a.Calls, a.Total, a.Cursor, a.Reading}, nil
}

func (s *Session) listFlows(ctx context.Context, scope query.Scope, r control.QueryRequest) (*listed, error) {
	a, err := s.ListL4Flows(ctx, query.FlowsRequest{Selection: query.Selection{Scope: scope, KFL: r.KFL}, Limit: r.Limit, Cursor: r.Cursor, Format: r.Format})
	if err != nil {
		return nil, err
	}
	return &listed{a.Flows, a.Total, a.Cursor, a.Reading}, nil
}

func byID(connections []*traffic.Connection) map[uint64]*traffic.Connection {
	m := make(map[uint64]*traffic.Connection, len(connections))
	for _, c := range connections {
		m[c.ID] = c
	}
	return m
}

// Get returns one call or connection by its ID.
func (s *Session) Get(r control.GetRequest) (*control.GetAnswer, error) {
	it, err := s.sealed(r.Iteration)
	if err != nil {
		return nil, err
	}
	d, _, _, err := s.dissection(it)
	if err != nil {
		return nil, err
	}
	connections := byID(d.Connections)
	for _, c := range d.Calls {
		if c.ID == r.ID {
			return &control.GetAnswer{Iteration: it.ID, Call: c.Full(), Connection: connections[c.ConnID], Note: control.Untrusted}, nil
		}
	}
	if id, err := strconv.ParseUint(r.ID, 10, 64); err == nil && connections[id] != nil {
		return &control.GetAnswer{Iteration: it.ID, Connection: connections[id], Note: control.Untrusted}, nil
	}
	return nil, control.Usagef("devloop calls lists the ids; an older iteration's calls need its name", fmt.Sprintf("no call or connection %q in iteration %s", r.ID, it.ID))
}

// Trace returns the tree of calls that a call of an iteration belongs to, by default the slowest of those that nothing here
// caused: what [Session.CallTree] answers, in the form that devloop trace prints.
func (s *Session) Trace(ctx context.Context, r control.TraceRequest) (*control.TraceAnswer, error) {
	it, err := s.sealed(r.Iteration)
	if err != nil {
		return nil, err
	}
	question := query.TreeRequest{ID: r.ID, Limit: r.Limit}
	question.Snapshot = it.Snapshot
	tree, err := s.CallTree(ctx, question)
	if err != nil {
		return nil, err
	}
	if tree.Root == nil {
		return nil, control.Usagef("devloop flows shows what was seen", fmt.Sprintf("no call was seen in iteration %s", it.ID))
	}
	return &control.TraceAnswer{Iteration: it.ID, Root: tree.Root, Omitted: tree.Omitted, Note: control.Untrusted}, nil
}

// Expression tries a check on traffic that is there already.
func (s *Session) Expression(r control.ExpressionRequest) (*traffic.CheckResult, error) {
	it, err := s.sealed(r.Iteration)
	if err != nil {
		return nil, err
	}
	d, began, ended, err := s.dissection(it)
	if err != nil {
		return nil, err
	}
	result, err := assertions.CheckExpression(r.On, r.Expect, assertions.Input{
		Dissection: ofRevision(d, it.Revision), WindowStart: began, WindowEnd: ended, Identities: s.identities(), Folder: s.workspace,
	})
	if err != nil {
		return nil, &control.Error{What: err.Error(), Hint: "docs/checks.md lists the vocabulary", Exit: control.ExitUsage}
	}
	return &result, nil
}

// Slug is a check's name as a word that needs no quoting.
func Slug(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '/':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.TrimSuffix(b.String(), "-")
}

// Evidence returns the proof of a check's verdict: its calls, their connections, and a file with their packets.
func (s *Session) Evidence(ctx context.Context, r control.EvidenceRequest) (*control.EvidenceAnswer, error) {
	it, err := s.sealed(r.Iteration)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(it.Checks, func(c traffic.CheckResult) bool {
		return c.Name == r.Check || Slug(c.Name) == r.Check || Slug(c.Name+" "+c.Group) == r.Check
	})
	if i < 0 {
		names := make([]string, len(it.Checks))
		for i, c := range it.Checks {
			names[i] = Slug(c.Name)
		}
		return nil, control.Usagef("checks of this iteration: "+strings.Join(names, ", "), fmt.Sprintf("iteration %s has no check %q", it.ID, r.Check))
	}
	d, _, _, err := s.dissection(it)
	if err != nil {
		return nil, err
	}
	check := it.Checks[i]
	a := &control.EvidenceAnswer{Iteration: it.ID, Snapshot: it.Snapshot, Check: check, Note: control.Untrusted, Calls: []any{}}
	limit := r.Limit
	if limit <= 0 {
		limit = 5
	}
	wanted := map[string]bool{}
	var connections []uint64
	for _, e := range check.Evidence[:min(limit, len(check.Evidence))] {
		wanted[e.Call] = true
		connections = append(connections, e.Connection)
	}
	for _, c := range d.Calls {
		if wanted[c.ID] {
			a.Calls = append(a.Calls, c.Full())
		}
	}
	slices.Sort(connections)
	connections = slices.Compact(connections)
	all := byID(d.Connections)
	var packets []store.Selection
	for _, id := range connections {
		if c := all[id]; c != nil {
			a.Connections = append(a.Connections, c)
			packets = append(packets, store.SelectConnection(c))
		}
	}
	a.Commands = []string{fmt.Sprintf("devloop explain --iteration %s %s", it.ID, Slug(check.Name))}
	if len(packets) > 0 {
		if a.PCAP, err = s.slice(ctx, it, Slug(check.Name), store.ExportOptions{Select: packets, Raw: r.Raw}); err != nil {
			return nil, err
		}
		a.Commands = append(a.Commands, "tshark -r "+a.PCAP, "wireshark "+a.PCAP)
	}
	return a, nil
}

// slice writes the packets of some connections beside the snapshots, masked unless raw is asked for.
func (s *Session) slice(ctx context.Context, it *traffic.Iteration, name string, o store.ExportOptions) (string, error) {
	dir := filepath.Join(s.stateDir(), "evidence")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the folder for evidence: %w", err)
	}
	suffix := ""
	if o.Raw {
		suffix = "-raw"
	}
	path := filepath.Join(dir, it.ID+"-"+strings.ReplaceAll(name, "/", "-")+suffix+".pcapng")
	sn, err := s.store.Snapshot(it.Snapshot)
	if err != nil {
		return "", err
	}
	return path, errors.Join(sn.ExportTo(ctx, path, o), sn.Close())
}
