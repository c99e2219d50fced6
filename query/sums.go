package query

import (
	"cmp"
	"context"
	"slices"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/store/columns"
	"github.com/devloop-io/devloop/traffic"
)

// grouping says by what calls are summed up.
type grouping struct {
	of      func(*traffic.Call) string         // "" is no group: such a call counts in the totals alone
	ends    bool                               // of looks at the ends of a call alone
	conn    func(c *traffic.Connection) string // the same of connections, nil where they have none
	columns []string                           // of a stored call that of looks at
	more    []store.Further                    // and those that it looks at sometimes
}

// Columns that a name, or what a call asked for, follow from.
var (
	srcColumns = []string{"src_name"}
	dstColumns = []string{"dst_name"}
	srcAddress = store.Further{Columns: []string{"src_ip"}, When: []filter.Condition{{Column: "src_name", Texts: []string{""}}}}
	dstAddress = store.Further{Columns: []string{"dst_ip"}, When: []filter.Condition{{Column: "dst_name", Texts: []string{""}}}}

	isGRPC, notGRPC = filter.Condition{Column: "grpc"}, filter.Condition{Column: "grpc", Not: true}
	isSQL, notSQL   = filter.Condition{Column: "postgresql"}, filter.Condition{Column: "postgresql", Not: true}
	isRedis         = filter.Condition{Column: "redis"}
	notRedis        = filter.Condition{Column: "redis", Not: true}

	askedFurther = []store.Further{
		{Columns: []string{"grpc_service", "grpc_method"}, When: []filter.Condition{isGRPC}},
		{Columns: []string{"postgresql_fingerprint", "postgresql_command"}, When: []filter.Condition{isSQL}},
		{Columns: []string{"redis_command"}, When: []filter.Condition{isRedis}},
		{Columns: []string{"method", "route"}, When: []filter.Condition{notGRPC, notSQL, notRedis}},
		{Columns: []string{"path"}, When: []filter.Condition{notGRPC, notSQL, notRedis, {Column: "dns", Not: true}, {Column: "route", Texts: []string{""}}}},
	}
	endColumns = []string{"state", "error"}
	endFurther = []store.Further{
		{Columns: []string{"status"}, When: []filter.Condition{notSQL, notRedis}},
		{Columns: []string{"grpc_status"}, When: []filter.Condition{isGRPC}},
		{Columns: []string{"postgresql_sqlstate"}, When: []filter.Condition{isSQL}},
		{Columns: []string{"redis_error"}, When: []filter.Condition{isRedis}},
		{Columns: []string{"dns_rcode"}, When: []filter.Condition{{Column: "dns"}}},
		{Columns: []string{"tls_alert"}, When: []filter.Condition{{Column: "tls"}}},
	}
)

// unknown is the group of calls that lack what they are grouped by.
const unknown = "(unknown)"

func known(s string) string { return cmp.Or(s, unknown) }

// groupings are what statistics can be grouped by.
var groupings = map[string]grouping{
	"endpoint": {of: endpointOf, columns: dstColumns, more: append([]store.Further{dstAddress}, askedFurther...)},
	"service": {of: func(c *traffic.Call) string { return nameOf(&c.Dst) }, conn: func(c *traffic.Connection) string { return nameOf(&c.Dst) },
		ends: true, columns: dstColumns, more: []store.Further{dstAddress}},
	"src": {of: func(c *traffic.Call) string { return nameOf(&c.Src) }, conn: func(c *traffic.Connection) string { return nameOf(&c.Src) },
		ends: true, columns: srcColumns, more: []store.Further{srcAddress}},
	"dst": {of: func(c *traffic.Call) string { return nameOf(&c.Dst) }, conn: func(c *traffic.Connection) string { return nameOf(&c.Dst) },
		ends: true, columns: dstColumns, more: []store.Further{dstAddress}},
	"namespace": {of: func(c *traffic.Call) string { return known(c.Dst.Namespace) }, conn: func(c *traffic.Connection) string { return known(c.Dst.Namespace) },
		ends: true, columns: []string{"dst_ns"}},
	"node": {of: func(c *traffic.Call) string { return known(cmp.Or(c.Dst.Node, c.Src.Node)) },
		conn: func(c *traffic.Connection) string { return known(cmp.Or(c.Dst.Node, c.Src.Node)) }, ends: true, columns: []string{"dst_node", "src_node"}},
	"zone":   {of: func(c *traffic.Call) string { return known(c.Dst.Zone) }, conn: func(c *traffic.Connection) string { return known(c.Dst.Zone) }, ends: true, columns: []string{"dst_zone"}},
	"status": {of: result, columns: endColumns, more: endFurther},
	"proto":  {of: func(c *traffic.Call) string { return protocolOf(c) }, columns: nil},
	"cause": {of: func(c *traffic.Call) string {
		if !failure(c) {
			return ""
		}
		return result(c)
	}, columns: endColumns, more: endFurther},
}

// groupNames are the names of groupings, the usual one first.
var groupNames = []string{"endpoint", "service", "namespace", "status", "src", "dst", "proto", "node", "zone", "cause"}

// protocolOf tells gRPC from the HTTP that carries it.
func protocolOf(c *traffic.Call) string {
	if c.GRPC != nil {
		return "grpc"
	}
	return c.Protocol
}

// outcome is how calls ended.
type outcome struct {
	failed, answered, complete bool
	status                     string
}

func outcomeOf(c *traffic.Call) outcome {
	return outcome{failed: failure(c), answered: c.Answered(), complete: c.State == traffic.StateComplete, status: result(c)}
}

// group sums up calls.
type group struct {
	name      string
	like      *traffic.Call // one of them, as far as the grouping looks at it
	calls     int
	errors    int
	answered  int
	statuses  map[string]int
	req, resp int64
	latency   digest
	details   []detail // what is further counted
	first     example
	failed    example // the first that failed
}

// example is a call of a group: its ID, or its row in a file. Its place orders examples.
type example struct {
	found bool
	place int64
	id    string
}

func (e *example) offer(place int64, id string) {
	if !e.found || place < e.place {
		*e = example{true, place, id}
	}
}

// example offers a call that may be shown for the group.
func (g *group) example(o outcome, place int64, id string) {
	g.first.offer(place, id)
	if o.failed {
		g.failed.offer(place, id)
	}
}

func (g *group) count(o outcome, n int) {
	g.calls += n
	if g.statuses == nil {
		g.statuses = map[string]int{}
	}
	if _, ok := g.statuses[o.status]; ok || len(g.statuses) < maxStatuses {
		g.statuses[o.status] += n
	}
	if o.answered {
		g.answered += n
	}
	if o.failed {
		g.errors += n
	}
}

// maxStatuses bounds the statuses that a group counts one by one.
const maxStatuses = 64

// detail is a name that is counted in a group.
type detail struct {
	name string
	n    int
}

// merge adds another group, but for its details. Which statuses find room is the same in any order while there are few.
func (g *group) merge(o *group) {
	if g.like == nil {
		g.like = o.like
	}
	g.calls += o.calls
	g.errors += o.errors
	g.answered += o.answered
	g.req += o.req
	g.resp += o.resp
	g.latency.merge(&o.latency)
	if g.statuses == nil {
		g.statuses = map[string]int{}
	}
	for status, n := range o.statuses {
		g.statuses[status] += n
	}
	if o.first.found {
		g.first.offer(o.first.place, o.first.id)
	}
	if o.failed.found {
		g.failed.offer(o.failed.place, o.failed.id)
	}
}

// summing is calls summed up, by group and by stretch of time.
type summing struct {
	groups   []*group // "" is that of calls without one
	byName   map[string]int
	buckets  map[int64]*group // by begin, Unix nanoseconds
	details  []string
	byDetail map[string]int
	detailed pairCounts // calls by group and detail

	last      *group // bucket that was asked for last: calls follow each other in time
	lastBegin int64
}

func newSumming() *summing {
	return &summing{byName: map[string]int{}, buckets: map[int64]*group{}, byDetail: map[string]int{}}
}

// otherGroups is where groups go that find no room.
const otherGroups = "(others)"

// index is the place of a group.
func (s *summing) index(name string, like *traffic.Call) int {
	i, ok := s.byName[name]
	if !ok {
		if len(s.groups) >= maxGroups && name != "" {
			name, like = otherGroups, nil
			if i, ok = s.byName[name]; ok {
				return i
			}
		}
		i = len(s.groups)
		s.groups = append(s.groups, &group{name: name, like: like})
		s.byName[name] = i
	}
	return i
}

func (s *summing) bucket(start, width int64) *group {
	begin := start - start%width
	if s.last != nil && s.lastBegin == begin {
		return s.last
	}
	b := s.buckets[begin]
	if b == nil {
		b = &group{}
		s.buckets[begin] = b
	}
	s.last, s.lastBegin = b, begin
	return b
}

// mostHeld bounds the values that digests hold together, of one goroutine.
const mostHeld = 1 << 21

// relieve condenses digests when they hold too much.
func (s *summing) relieve() {
	held := 0
	all := slices.Clone(s.groups)
	for _, b := range s.buckets {
		all = append(all, b)
	}
	for _, g := range all {
		held += len(g.latency.values)
	}
	for least := maxExact / 2; held > mostHeld; least /= 2 {
		for _, g := range all {
			if n := len(g.latency.values); n > least {
				g.latency.condense()
				held -= n
			}
		}
	}
}

func (s *summing) merge(ctx context.Context, o *summing) error {
	groups, details := make([]int, len(o.groups)), make([]int, len(o.details))
	for i, g := range o.groups {
		groups[i] = s.index(g.name, g.like)
	}
	err := columns.Share(ctx, func(part, parts int) {
		for i, g := range o.groups {
			if groups[i]%parts == part {
				s.groups[groups[i]].merge(g)
			}
		}
	})
	if err != nil {
		return err
	}
	for i, name := range o.details {
		details[i] = intern(&s.details, s.byDetail, name)
	}
	o.detailed.each(func(g, d int, n uint32) { s.detailed.add(groups[g], details[d], n) })
	for begin, b := range o.buckets {
		s.bucket(begin, 1).merge(b)
	}
	return nil
}

// detail hands each group its details.
func (s *summing) detail() {
	s.detailed.each(func(g, d int, n uint32) {
		s.groups[g].details = append(s.groups[g].details, detail{s.details[d], int(n)})
	})
}

// sums sums up the selected calls. Width is that of stretches of time in nanoseconds, 0 for none; detail, which may be nil, names
// what is further counted in each group.
func (v *survey) sums(ctx context.Context, by grouping, detail *grouping, width int64) (*summing, error) {
	if v.db.CallsPath != "" {
		return v.sumColumns(ctx, by, detail, width)
	}
	s := newSumming()
	place := int64(0)
	for c, err := range v.calls() {
		if err != nil {
			return nil, err
		}
		o := outcomeOf(c)
		into := []*group{s.groups[s.index(by.of(c), c)]}
		if width > 0 {
			into = append(into, s.bucket(c.Start, width))
		}
		for _, g := range into {
			g.count(o, 1)
			g.example(o, place, c.ID)
			g.req, g.resp = g.req+c.RequestSize, g.resp+c.ResponseSize
			if l := c.Latency(); o.complete && l > 0 {
				g.latency.add(l)
			}
		}
		if detail != nil {
			s.detailed.add(s.byName[into[0].name], intern(&s.details, s.byDetail, detail.of(c)), 1)
		}
		if place++; place%(1<<16) == 0 {
			s.relieve()
		}
	}
	s.detail()
	return s, nil
}

// sumColumns is sums of a file: the same functions, asked once for each combination of what they look at.
func (v *survey) sumColumns(ctx context.Context, by grouping, detail *grouping, width int64) (_ *summing, err error) {
	t, err := store.OpenCalls(v.db.CallsPath)
	if err != nil {
		return nil, err
	}
	defer func() {
		if shut := t.Close(); err == nil {
			err = shut
		}
	}()
	workers := make([]*columnSums, columns.Workers())
	err = t.Scan(ctx, v.search(), func(worker int, g *store.CallGroup) error {
		if workers[worker] == nil {
			workers[worker] = newColumnSums(by, detail, width)
		}
		return workers[worker].add(g)
	})
	if err != nil {
		return nil, err
	}
	var all *summing
	for _, w := range workers {
		switch {
		case w == nil:
		case all == nil:
			all = w.finish()
		default:
			if err := all.merge(ctx, w.finish()); err != nil {
				return nil, err
			}
		}
	}
	if all == nil {
		all = newSumming()
	}
	all.detail()
	return all, nil
}

// columnSums is what one goroutine sums up.
type columnSums struct {
	*summing
	width    int64
	begun    bool
	outcomes []outcome
	byEnd    map[outcome]int
	ended    pairCounts // calls by group and outcome
	sorting  store.Sorting
	key, end *store.Classifier
	detail   *store.Classifier

	room, times []int64 // for numbers
}

func newColumnSums(by grouping, detail *grouping, width int64) *columnSums {
	s := &columnSums{summing: newSumming(), width: width, byEnd: map[outcome]int{}}
	s.key = s.sorting.Classifier(by.ends, by.columns, by.more, func(c *traffic.Call) int { return s.index(by.of(c), c) })
	s.end = s.sorting.Classifier(false, endColumns, endFurther, func(c *traffic.Call) int {
		return intern(&s.outcomes, s.byEnd, outcomeOf(c))
	})
	if detail != nil {
		s.detail = s.sorting.Classifier(detail.ends, detail.columns, detail.more, func(c *traffic.Call) int {
			return intern(&s.details, s.byDetail, detail.of(c))
		})
	}
	return s
}

// pairCounts counts by two numbers: in a table with a place for each pair while that is small, then by a hash.
type pairCounts struct {
	cells  []uint32
	stride int // a power of two above every second number
	sparse map[uint64]uint32
}

// mostCells bounds the table, and maxPairs the pairs that are counted beyond it.
const (
	mostCells = 1 << 20
	maxPairs  = 1 << 19
)

// add counts n more, and reports whether they are the first ones.
func (p *pairCounts) add(a, b int, n uint32) (first bool) {
	if p.sparse == nil && (b >= p.stride || (a+1)*p.stride > len(p.cells)) {
		p.grow(a, b)
	}
	if p.sparse == nil {
		c := &p.cells[a*p.stride+b]
		*c += n
		return *c == n
	}
	key := uint64(a)<<32 | uint64(b)
	old, ok := p.sparse[key]
	if ok || len(p.sparse) < maxPairs {
		p.sparse[key] = old + n
	}
	return !ok
}

// grow makes room for a pair.
func (p *pairCounts) grow(a, b int) {
	old := *p
	p.stride = max(p.stride, 16)
	for p.stride <= b {
		p.stride *= 2
	}
	rows := max(64, len(old.cells)/max(1, old.stride))
	for rows <= a {
		rows *= 2
	}
	if rows*p.stride <= mostCells {
		p.cells = make([]uint32, rows*p.stride)
	} else {
		p.cells, p.sparse = nil, map[uint64]uint32{}
	}
	old.each(func(a, b int, n uint32) { p.add(a, b, n) })
}

// each calls do with the pairs and their counts.
func (p *pairCounts) each(do func(a, b int, n uint32)) {
	for i, n := range p.cells {
		if n > 0 {
			do(i/p.stride, i%p.stride, n)
		}
	}
	for key, n := range p.sparse {
		do(int(key>>32), int(uint32(key)), n)
	}
}

// intern is the place of a value in a list of distinct ones.
func intern[T comparable](list *[]T, places map[T]int, v T) int {
	i, ok := places[v]
	if !ok {
		i = len(*list)
		*list = append(*list, v)
		places[v] = i
	}
	return i
}

func (s *columnSums) add(g *store.CallGroup) error {
	if !s.begun { // later, it is known which columns are read
		s.begun = true
		s.sorting.Ahead(g, "latency_ns", "req_size", "resp_size")
	}
	if err := s.sorting.Sort(g); err != nil {
		return err
	}
	defer s.sorting.Done()
	groups, complete := make([]*group, len(s.key.Class)), make([]bool, len(s.end.Class))
	for k, at := range s.key.Class {
		if at >= 0 {
			groups[k] = s.groups[at]
		}
	}
	for e, at := range s.end.Class {
		complete[e] = at >= 0 && s.outcomes[at].complete
	}
	for i := range g.Selected.All() {
		key, end := s.key.Class[s.key.Of[i]], s.end.Class[s.end.Of[i]]
		if s.ended.add(key, end, 1) {
			s.groups[key].example(s.outcomes[end], g.First+int64(i), "")
		}
		if s.detail != nil {
			s.detailed.add(key, s.detail.Class[s.detail.Of[i]], 1)
		}
	}
	var start []int64
	if s.width > 0 {
		var err error
		if start, err = numbers(g, "start_ns", &s.times); err != nil {
			return err
		}
		for i := range g.Selected.All() {
			b, o := s.bucket(start[i], s.width), s.outcomes[s.end.Class[s.end.Of[i]]]
			b.count(o, 1)
			b.example(o, g.First+int64(i), "")
		}
	} else {
		g.Release("start_ns") // which the window alone looked at
	}
	// One column after the other lies in the same memory.
	for _, column := range []struct {
		name string
		add  func(into *group, end uint32, v int64)
	}{
		{"req_size", func(into *group, _ uint32, v int64) { into.req += v }},
		{"resp_size", func(into *group, _ uint32, v int64) { into.resp += v }},
		{"latency_ns", func(into *group, end uint32, v int64) {
			if v > 0 && complete[end] {
				into.latency.add(v)
			}
		}},
	} {
		values, err := numbers(g, column.name, &s.room)
		if err != nil {
			return err
		}
		for i := range g.Selected.All() {
			end, v := s.end.Of[i], values[i]
			column.add(groups[s.key.Of[i]], end, v)
			if start != nil {
				column.add(s.bucket(start[i], s.width), end, v)
			}
		}
		g.Release(column.name)
	}
	s.relieve()
	return nil
}

// finish tells the groups how their calls ended.
func (s *columnSums) finish() *summing {
	s.ended.each(func(g, e int, n uint32) { s.groups[g].count(s.outcomes[e], int(n)) })
	return s.summing
}

func numbers(g *store.CallGroup, name string, room *[]int64) ([]int64, error) {
	c, err := g.ColumnOf(name, g.Selected)
	if err != nil {
		return nil, err
	}
	return c.Numbers(room, g.Rows), nil
}
