package devloop

import (
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
	"github.com/devloop-io/devloop/dissect/derive"
	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/internal/control"
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

// Query returns a page of calls, connections or flows that a filter selects, newest iteration by default.
func (s *Session) Query(r control.QueryRequest) (*control.QueryAnswer, error) {
	f, err := filter.Compile(r.KFL)
	if err != nil {
		return nil, &control.Error{What: err.Error(), Hint: "devloop kfl explain '…' shows how a filter is read; docs/fields.md lists the fields", Exit: control.ExitUsage}
	}
	it, err := s.sealed(r.Iteration)
	if err != nil {
		return nil, err
	}
	d, _, _, err := s.dissection(it)
	if err != nil {
		return nil, err
	}
	a := &control.QueryAnswer{Iteration: it.ID, Kind: r.Kind, Warnings: f.Warnings(), Rows: []any{}}
	if f.Rewritten() != f.Source() {
		a.Rewritten = f.Rewritten()
	}
	var rows []any
	switch r.Kind {
	case "", "calls":
		a.Kind, a.Of = "calls", len(d.Calls)
		rows, err = matchCalls(f, d, r.Format == "full")
	case "connections":
		a.Of = len(d.Connections)
		rows, err = matchConnections(f, d)
	case "flows":
		a.Of = len(d.Connections)
		rows, err = matchFlows(f, d)
	default:
		return nil, control.Usagef("kind is calls, connections or flows", fmt.Sprintf("kind %q is none", r.Kind))
	}
	if err != nil {
		return nil, &control.Error{What: err.Error(), Exit: control.ExitUsage}
	}
	a.Total = len(rows)
	if a.Total == 0 {
		a.Why = whyEmpty(f, it, d, a)
	}
	return a, page(a, rows, r)
}

func matchCalls(f *filter.Filter, d *traffic.Dissection, full bool) ([]any, error) {
	connections := byID(d.Connections)
	var rows []any
	for _, c := range d.Calls {
		ok, err := f.Match(&filter.Row{Call: c, Conn: connections[c.ConnID]})
		if err != nil {
			return nil, err
		}
		switch {
		case ok && full:
			rows = append(rows, c.Full())
		case ok:
			rows = append(rows, c.Compact())
		}
	}
	return rows, nil
}

func byID(connections []*traffic.Connection) map[uint64]*traffic.Connection {
	m := make(map[uint64]*traffic.Connection, len(connections))
	for _, c := range connections {
		m[c.ID] = c
	}
	return m
}

func selected(f *filter.Filter, d *traffic.Dissection) ([]*traffic.Connection, error) {
	var rows []*traffic.Connection
	for _, c := range d.Connections {
		ok, err := f.Match(&filter.Row{Conn: c})
		if err != nil {
			return nil, err
		}
		if ok {
			rows = append(rows, c)
		}
	}
	return rows, nil
}

func matchConnections(f *filter.Filter, d *traffic.Dissection) ([]any, error) {
	list, err := selected(f, d)
	rows := make([]any, len(list))
	for i, c := range list {
		rows[i] = c
	}
	return rows, err
}

func matchFlows(f *filter.Filter, d *traffic.Dissection) ([]any, error) {
	list, err := selected(f, d)
	flows := traffic.Flows(list)
	rows := make([]any, len(flows))
	for i, c := range flows {
		rows[i] = c
	}
	return rows, err
}

// page cuts the rows to the asked page. A cursor is the number of rows before it: an iteration's rows never change.
func page(a *control.QueryAnswer, rows []any, r control.QueryRequest) error {
	limit := r.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	limit = min(limit, maxLimit)
	from := 0
	if r.Cursor != "" {
		var err error
		if from, err = strconv.Atoi(r.Cursor); err != nil || from < 0 {
			return control.Usagef("give the cursor of the answer before", fmt.Sprintf("cursor %q is none", r.Cursor))
		}
	}
	from = min(from, len(rows))
	to := min(from+limit, len(rows))
	a.Rows = append(a.Rows, rows[from:to]...)
	if to < len(rows) {
		a.Cursor = strconv.Itoa(to)
	}
	return nil
}

// whyEmpty says, as far as can be told, why a filter found nothing.
func whyEmpty(f *filter.Filter, it *traffic.Iteration, d *traffic.Dissection, a *control.QueryAnswer) string {
	account := d.Account
	switch {
	case account.Packets == 0:
		return fmt.Sprintf("no packets were captured in iteration %s (source %s)", it.ID, it.Source)
	case a.Of == 0 && len(d.Connections) > 0:
		return fmt.Sprintf("%d connections were seen, but no %s could be read from them: their protocols are not dissected yet or encrypted", len(d.Connections), a.Kind)
	}
	why := fmt.Sprintf("%d %s were seen in iteration %s, and none matches %s", a.Of, a.Kind, it.ID, f.Rewritten())
	if f.Kind() == filter.Connections && a.Kind == "calls" {
		why += "; the filter selects connections: ask for kind connections"
	}
	if f.Kind() == filter.Calls && a.Kind != "calls" {
		why += "; the filter selects calls: ask for kind calls"
	}
	if !account.Complete() {
		why += fmt.Sprintf("; the capture has gaps (%d packets lost, %d bytes missing, %d bytes undecoded), so there may have been some", account.Dropped, account.Missing, account.Undecoded)
	}
	return why
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

const defaultTree = 200

// Trace returns the tree of calls that a call belongs to, by default the slowest of those that nothing here caused.
func (s *Session) Trace(r control.TraceRequest) (*control.TraceAnswer, error) {
	it, err := s.sealed(r.Iteration)
	if err != nil {
		return nil, err
	}
	d, _, _, err := s.dissection(it)
	if err != nil {
		return nil, err
	}
	c := derive.Slowest(d.Calls)
	if r.ID != "" {
		i := slices.IndexFunc(d.Calls, func(c *traffic.Call) bool { return c.ID == r.ID })
		if i < 0 {
			return nil, control.Usagef("devloop calls lists the ids; an older iteration's calls need its name", fmt.Sprintf("no call %q in iteration %s", r.ID, it.ID))
		}
		c = d.Calls[i]
	}
	if c == nil {
		return nil, control.Usagef("devloop flows shows what was seen", fmt.Sprintf("no call was seen in iteration %s", it.ID))
	}
	limit := r.Limit
	if limit <= 0 {
		limit = defaultTree
	}
	root, omitted := derive.Tree(d.Calls, c, min(limit, maxLimit))
	return &control.TraceAnswer{Iteration: it.ID, Root: root, Omitted: omitted, Note: control.Untrusted}, nil
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
		Dissection: ofRevision(d, it.Revision), WindowStart: began, WindowEnd: ended, Identities: s.identities(),
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
