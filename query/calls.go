package query

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/store/columns"
	"github.com/devloop-io/devloop/traffic"
)

// The limits of lists.
const (
	usualLimit = 100
	mostLimit  = 1000
)

// oneOf checks a word that has few values, of which the first is usual.
func oneOf(name, value string, values ...string) (string, error) {
	if value == "" {
		return values[0], nil
	}
	if !slices.Contains(values, value) {
		return "", mistake(name+" is "+strings.Join(values, ", "), "%s %q is none", name, cut(value, 60))
	}
	return value, nil
}

// ListAPICalls returns a page of calls, or how many there are in each group. A filter that selects connections alone, such as
// tcp_flow, lists connections with their TCP metrics.
func ListAPICalls(ctx context.Context, db *Database, r CallsRequest) (*CallsAnswer, error) {
	q, err := newListing(ctx, db, r)
	if err != nil {
		return nil, err
	}
	if r.GroupBy != "" {
		return q.groups(ctx, r.GroupBy)
	}
	if q.f.Kind() == filter.Connections {
		return q.connections(r.Cursor)
	}
	if q.at, err = readCursor(r.Cursor, q.question()); err != nil {
		return nil, err
	}
	if db.CallsPath != "" {
		return q.fromFile(ctx)
	}
	return q.fromRows()
}

// ListConnectionEntries returns a page of connections as [ListAPICalls] lists them; a filter about calls selects those that carried
// one of them.
func ListConnectionEntries(ctx context.Context, db *Database, r CallsRequest) (*CallsAnswer, error) {
	q, err := newListing(ctx, db, r)
	if err != nil {
		return nil, err
	}
	return q.connections(r.Cursor)
}

func newListing(ctx context.Context, db *Database, r CallsRequest) (*listing, error) {
	q := &listing{rows: "calls"}
	var err error
	if q.limit, err = bounded(r.Limit, usualLimit, mostLimit); err != nil {
		return nil, err
	}
	if q.format, err = oneOf("format", r.Format, "compact", "line", "full", "raw"); err != nil {
		return nil, err
	}
	if q.order, err = oneOf("order", r.Order, "newest", "oldest", "slowest"); err != nil {
		return nil, err
	}
	q.survey, err = openSurvey(ctx, db, r.Selection)
	return q, err
}

// listing is a question for a page of calls.
type listing struct {
	*survey
	limit         int
	format, order string
	rows          string // calls or connections
	at            *cursor
}

func (q *listing) question() uint64 {
	return questionOf(q.db.Name, q.f.Rewritten(), q.scope.Start, q.scope.End, q.order, q.rows)
}

// value is what calls are ordered by.
func (q *listing) value(c *traffic.Call) int64 {
	if q.order == "slowest" {
		return c.Latency()
	}
	return c.Start
}

// compare orders by value, then by what tells rows apart.
func (q *listing) compare(a, b int64) int {
	if q.order == "oldest" {
		return cmp.Compare(a, b)
	}
	return cmp.Compare(b, a)
}

// fromRows looks at calls one by one.
func (q *listing) fromRows() (*CallsAnswer, error) {
	var all []*traffic.Call
	for c, err := range q.calls() {
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *traffic.Call) int {
		return cmp.Or(q.compare(q.value(a), q.value(b)), cmp.Compare(a.ID, b.ID))
	})
	a := &CallsAnswer{Total: len(all)}
	if q.at != nil {
		from, _ := slices.BinarySearchFunc(all, q.at, func(c *traffic.Call, at *cursor) int {
			return cmp.Or(q.compare(q.value(c), at.Value), cmp.Compare(c.ID, at.ID+"\x00"))
		})
		all = all[from:]
	}
	page, more := head(all, q.limit)
	if more {
		last := page[len(page)-1]
		a.Truncated, a.Cursor = true, (&cursor{Question: q.question(), Value: q.value(last), ID: last.ID}).text()
	}
	return q.finish(a, page)
}

// fromFile asks columns.
func (q *listing) fromFile(ctx context.Context) (_ *CallsAnswer, err error) {
	t, err := store.OpenCalls(q.db.CallsPath)
	if err != nil {
		return nil, err
	}
	defer func() {
		if shut := t.Close(); err == nil {
			err = shut
		}
	}()
	a := &CallsAnswer{}
	var rows []int64 // in the order of the answer
	if q.order == "slowest" || !t.Ordered() {
		rows, err = q.byValue(ctx, t, a)
	} else {
		rows, err = q.byTime(ctx, t, a)
	}
	if err != nil {
		return nil, err
	}
	page, more := head(rows, q.limit)
	calls, err := fetch(ctx, t, page, q.columns())
	if err != nil {
		return nil, err
	}
	if more {
		last := len(page) - 1
		a.Truncated, a.Cursor = true, (&cursor{Question: q.question(), Value: q.value(calls[last]), Row: page[last], Total: a.Total, Least: a.TotalIsLeast}).text()
	}
	return q.finish(a, calls)
}

// search is what is looked for in a file.
func (v *survey) search() store.CallSearch {
	s := store.CallSearch{Filter: v.f, Start: nanoseconds(v.scope.Start), End: nanoseconds(v.scope.End)}
	if v.conns != nil {
		s.Conn = func(id uint64) *traffic.Connection { return v.conns[id] }
	}
	return s
}

// nanoseconds of Unix milliseconds, as far as they go.
func nanoseconds(ms int64) int64 {
	const most = math.MaxInt64 / 1_000_000
	return max(-most, min(most, ms)) * 1_000_000
}

// byTime takes rows from one end of the file.
func (q *listing) byTime(ctx context.Context, t *store.CallTable, a *CallsAnswer) ([]int64, error) {
	s := q.search()
	if q.order == "newest" {
		s.Order = store.Newest
	}
	enough := 0
	if costly(q.f.Lower()) {
		enough = q.limit + 1
	}
	if q.at != nil {
		enough = q.limit + 1
		if q.order == "newest" {
			s.Before = q.at.Row
		} else {
			s.After = q.at.Row + 1
		}
	}
	var found *columns.Result
	var err error
	if q.at != nil && q.order == "newest" && q.at.Row == 0 {
		found = &columns.Result{} // nothing is before the first row
	} else if found, err = t.Find(ctx, s, enough); err != nil {
		return nil, err
	}
	q.count(a, found)
	if q.order == "newest" {
		rows := found.Last(q.limit + 1)
		slices.Reverse(rows)
		return rows, nil
	}
	return found.First(q.limit + 1), nil
}

// count sets the total; later pages repeat what the first one said.
func (q *listing) count(a *CallsAnswer, found *columns.Result) {
	a.Total, a.TotalIsLeast = found.Count(), found.Partial
	if q.at != nil {
		a.Total, a.TotalIsLeast = q.at.Total, q.at.Least
	}
}

// costly reports whether a predicate reads much of a file, so that looking on only to count is not worth it.
func costly(p *filter.Predicate) bool {
	if p.Op == filter.OpRest || p.Op == filter.OpMay || p.Test != nil && p.Test.Source.Large {
		return true
	}
	return slices.ContainsFunc(p.Args, costly)
}

// byValue looks at all rows that match, and orders them.
func (q *listing) byValue(ctx context.Context, t *store.CallTable, a *CallsAnswer) ([]int64, error) {
	type row struct{ number, value int64 }
	name := "start_ns"
	if q.order == "slowest" {
		name = "latency_ns"
	}
	lists := make([][]row, columns.Workers())
	if err := t.Scan(ctx, q.search(), func(worker int, g *store.CallGroup) error {
		c, err := g.ColumnOf(name, g.Selected)
		if err != nil {
			return err
		}
		for i := range g.Selected.All() {
			lists[worker] = append(lists[worker], row{g.First + int64(i), c.Number(i)})
		}
		return nil
	}); err != nil {
		return nil, err
	}
	all := slices.Concat(lists...)
	order := func(x, y row) int { return cmp.Or(q.compare(x.value, y.value), cmp.Compare(x.number, y.number)) }
	slices.SortFunc(all, order)
	a.Total = len(all)
	if q.at != nil {
		from, _ := slices.BinarySearchFunc(all, row{q.at.Row + 1, q.at.Value}, order)
		all = all[from:]
	}
	all, _ = head(all, q.limit+1)
	rows := make([]int64, len(all))
	for i := range all {
		rows[i] = all[i].number
	}
	return rows, nil
}

// fetch reads calls in the order given.
func fetch(ctx context.Context, t *store.CallTable, rows []int64, names []string) ([]*traffic.Call, error) {
	sorted := slices.Sorted(slices.Values(rows))
	calls, err := t.Calls(ctx, sorted, names)
	if err != nil {
		return nil, err
	}
	out := make([]*traffic.Call, len(rows))
	for i, row := range rows {
		at, _ := slices.BinarySearch(sorted, row)
		out[i] = calls[at]
	}
	return out, nil
}

// compactColumns are what the short form of a call takes.
var compactColumns = strings.Fields("id proto start_ns response_start_ns end_ns state error method path status retried retry_group retry_attempt retry_attempts retry_delay_ns " +
	"retry_factor retry_jitter retry_confidence src_ip src_port src_pod src_ns src_svc src_node dst_ip dst_port dst_pod dst_ns dst_svc dst_node")

// lineColumns are what a line takes beyond that: how the call ended.
var lineColumns = append(strings.Fields("http grpc grpc_status postgresql postgresql_sqlstate redis redis_error dns dns_rcode tls tls_alert"), compactColumns...)

// columns are what the answer shows; nil is all.
func (q *listing) columns() []string {
	switch q.format {
	case "compact":
		return compactColumns
	case "line":
		return lineColumns
	}
	return nil
}

// finish writes calls in the asked form, and says how the question was read.
func (q *listing) finish(a *CallsAnswer, calls []*traffic.Call) (*CallsAnswer, error) {
	a.Calls = make([]any, 0, len(calls))
	var conns map[uint64]*traffic.Connection
	if q.format == "raw" && len(calls) > 0 {
		var err error
		if conns, err = q.carriers(calls); err != nil {
			return nil, err
		}
	}
	for _, c := range calls {
		switch q.format {
		case "full":
			a.Calls = append(a.Calls, c.Full())
		case "line":
			l := CallLine{CompactCall: c.Compact(), Result: result(c), Failed: failure(c)}
			l.Proto = protocolOf(c)
			a.Calls = append(a.Calls, l)
		case "raw":
			a.Calls = append(a.Calls, rawCall(c, conns[c.ConnID]))
		default:
			a.Calls = append(a.Calls, c.Compact())
		}
	}
	if err := q.tally(a.Total); err != nil {
		return nil, err
	}
	a.Reading = q.reading("calls")
	if q.f.Kind() == filter.Connections && a.Total == 0 {
		a.Why += "; the filter selects connections"
	}
	return a, nil
}

// tally notes how many rows were found, for the reading; where none was, also how many there were.
func (v *survey) tally(found int) error {
	v.found = found
	if found > 0 || v.db.CallsPath == "" {
		return nil
	}
	t, err := store.OpenCalls(v.db.CallsPath)
	if err != nil {
		return err
	}
	all, err := filter.Compile("")
	if err == nil {
		s := v.search()
		s.Filter = all
		var r *columns.Result
		if r, err = t.Find(v.ctx, s, 0); err == nil {
			v.seen = r.Count()
		}
	}
	if shut := t.Close(); err == nil {
		err = shut
	}
	return err
}

// CallLine is a call in short with how it ended, as statistics count it.
type CallLine struct {
	traffic.CompactCall        // proto is grpc where HTTP carries it
	Result              string `json:"result"` // status, SQLSTATE, error reply, or why there is no answer
	Failed              bool   `json:"failed,omitempty"`
}

// RawCall is a call with all that is known of it and of the connection that carried it.
type RawCall struct {
	*traffic.Call
	TCP        *traffic.TCPMetrics `json:"tcp_metrics,omitempty"`
	Connection *traffic.Connection `json:"connection,omitempty"`
}

func rawCall(c *traffic.Call, conn *traffic.Connection) RawCall {
	r := RawCall{Call: c, Connection: conn}
	if conn != nil {
		r.TCP = conn.TCP
	}
	return r
}

// carriers are the connections of some calls.
func (v *survey) carriers(calls []*traffic.Call) (map[uint64]*traffic.Connection, error) {
	wanted := map[uint64]bool{}
	for _, c := range calls {
		wanted[c.ConnID] = true
	}
	found := map[uint64]*traffic.Connection{}
	list, err := v.connectionsWhere("conn_id", wanted)
	for _, c := range list {
		found[c.ID] = c
	}
	return found, err
}

// ConnectionEntry is a connection in a list of calls.
type ConnectionEntry struct {
	ID         string              `json:"id"`
	TS         int64               `json:"ts"`
	Src        traffic.CompactEnd  `json:"src"`
	Dst        traffic.CompactEnd  `json:"dst"`
	Proto      string              `json:"proto"`
	State      traffic.State       `json:"state"`
	ConnID     uint64              `json:"conn_id"`
	FlowID     uint64              `json:"flow_id"`
	L4         *L4Conn             `json:"l4_conn,omitempty"`
	TCP        *traffic.TCPMetrics `json:"tcp_metrics,omitempty"`
	Connection *traffic.Connection `json:"connection,omitempty"`
}

func (q *listing) entry(c *traffic.Connection) ConnectionEntry {
	e := ConnectionEntry{ID: strconv.FormatUint(c.ID, 10), TS: c.Start / 1e6, Src: compactEnd(&c.Src), Dst: compactEnd(&c.Dst), Proto: c.Proto, State: c.State,
		ConnID: c.ID, FlowID: c.FlowID, L4: l4Conn(c)}
	if q.format != "compact" {
		e.TCP = c.TCP
	}
	if q.format == "raw" {
		e.Connection = c
	}
	return e
}

// connections lists connections from a cursor on.
func (q *listing) connections(from string) (_ *CallsAnswer, err error) {
	q.rows = "connections"
	if q.at, err = readCursor(from, q.question()); err != nil {
		return nil, err
	}
	var all []*traffic.Connection
	for c, err := range q.survey.connections() {
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	value := func(c *traffic.Connection) int64 {
		if q.order == "slowest" {
			return c.HandshakeClientNS
		}
		return c.Start
	}
	slices.SortFunc(all, func(a, b *traffic.Connection) int {
		return cmp.Or(q.compare(value(a), value(b)), cmp.Compare(a.ID, b.ID))
	})
	a := &CallsAnswer{Total: len(all), Calls: []any{}}
	if q.at != nil {
		from, _ := slices.BinarySearchFunc(all, q.at, func(c *traffic.Connection, at *cursor) int {
			return cmp.Or(q.compare(value(c), at.Value), cmp.Compare(c.ID, uint64(at.Row)+1))
		})
		all = all[from:]
	}
	page, more := head(all, q.limit)
	for _, c := range page {
		a.Calls = append(a.Calls, q.entry(c))
	}
	if more {
		last := page[len(page)-1]
		a.Truncated, a.Cursor = true, (&cursor{Question: q.question(), Value: value(last), Row: int64(last.ID)}).text()
	}
	a.Reading = q.reading("connections")
	return a, nil
}

func compactEnd(e *traffic.Endpoint) traffic.CompactEnd {
	return traffic.CompactEnd{IP: e.IP.String(), Port: e.Port, Pod: e.Pod, NS: e.Namespace, Svc: e.Service, Node: e.Node}
}

// groups counts calls instead of listing them.
func (q *listing) groups(ctx context.Context, by string) (*CallsAnswer, error) {
	by, err := oneOf("group_by", by, "node", "ns", "worker")
	if err != nil {
		return nil, err
	}
	by = map[string]string{"node": "node", "worker": "node", "ns": "namespace"}[by]
	all, err := q.survey.sums(ctx, groupings[by], nil, 0)
	if err != nil {
		return nil, err
	}
	a := &CallsAnswer{Calls: []any{}}
	for _, s := range all.groups {
		a.Groups = append(a.Groups, GroupCount{s.name, s.calls})
		a.Total += s.calls
	}
	slices.SortFunc(a.Groups, func(x, y GroupCount) int { return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Group, y.Group)) })
	var more bool
	if a.Groups, more = head(a.Groups, mostLimit); more {
		a.Warnings = append(a.Warnings, fmt.Sprintf("the largest %d groups of many", mostLimit))
	}
	if err := q.tally(a.Total); err != nil {
		return nil, err
	}
	a.Reading = q.reading("calls")
	return a, nil
}
