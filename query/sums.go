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
		columns: dstColumns, more: []store.Further{dstAddress}},
	"src": {of: func(c *traffic.Call) string { return nameOf(&c.Src) }, conn: func(c *traffic.Connection) string { return nameOf(&c.Src) },
		columns: srcColumns, more: []store.Further{srcAddress}},
	"dst": {of: func(c *traffic.Call) string { return nameOf(&c.Dst) }, conn: func(c *traffic.Connection) string { return nameOf(&c.Dst) },
		columns: dstColumns, more: []store.Further{dstAddress}},
	"namespace": {of: func(c *traffic.Call) string { return known(c.Dst.Namespace) }, conn: func(c *traffic.Connection) string { return known(c.Dst.Namespace) },
		columns: []string{"dst_ns"}},
	"node": {of: func(c *traffic.Call) string { return known(cmp.Or(c.Dst.Node, c.Src.Node)) },
		conn: func(c *traffic.Connection) string { return known(cmp.Or(c.Dst.Node, c.Src.Node)) }, columns: []string{"dst_node", "src_node"}},
	"zone":   {of: func(c *traffic.Call) string { return known(c.Dst.Zone) }, conn: func(c *traffic.Connection) string { return known(c.Dst.Zone) }, columns: []string{"dst_zone"}},
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
	details   map[string]int
	numbered  map[int]int // details by their number, while one goroutine counts
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

func (g *group) count(o outcome, n int, place int64, id string) {
	g.calls += n
	if g.statuses == nil {
		g.statuses = map[string]int{}
	}
	if _, ok := g.statuses[o.status]; ok || len(g.statuses) < maxStatuses {
		g.statuses[o.status] += n
	}
	g.first.offer(place, id)
	if o.answered {
		g.answered += n
	}
	if o.failed {
		g.errors += n
		g.failed.offer(place, id)
	}
}

// maxStatuses bounds the statuses, and maxDetails the further names, that a group counts one by one.
const (
	maxStatuses = 64
	maxDetails  = 10_000
)

func (g *group) detail(name string, n int) {
	if g.details == nil {
		g.details = map[string]int{}
	}
	if _, ok := g.details[name]; ok || len(g.details) < maxDetails {
		g.details[name] += n
	}
}

// merge adds another group. Which details and statuses find room is the same in any order while there are few.
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
	for name, n := range o.details {
		g.detail(name, n)
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
	groups  []*group // "" is that of calls without one
	byName  map[string]int
	buckets map[int64]*group // by begin, Unix nanoseconds
}

func newSumming() *summing { return &summing{byName: map[string]int{}, buckets: map[int64]*group{}} }

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
	b := s.buckets[begin]
	if b == nil {
		b = &group{}
		s.buckets[begin] = b
	}
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

func (s *summing) merge(o *summing) {
	for _, g := range o.groups {
		s.groups[s.index(g.name, g.like)].merge(g)
	}
	for begin, b := range o.buckets {
		s.bucket(begin, 1).merge(b)
	}
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
			g.count(o, 1, place, c.ID)
			g.req, g.resp = g.req+c.RequestSize, g.resp+c.ResponseSize
			if l := c.Latency(); o.complete && l > 0 {
				g.latency.add(l)
			}
		}
		if detail != nil {
			into[0].detail(detail.of(c), 1)
		}
		if place++; place%(1<<16) == 0 {
			s.relieve()
		}
	}
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
	all := newSumming()
	for _, w := range workers {
		if w != nil {
			all.merge(w.finish())
		}
	}
	return all, nil
}

// columnSums is what one goroutine sums up.
type columnSums struct {
	*summing
	width    int64
	outcomes []outcome
	byEnd    map[outcome]int
	details  []string
	byDetail map[string]int
	key, end *store.Classifier
	detail   *store.Classifier

	latency, req, resp, start []int64
}

func newColumnSums(by grouping, detail *grouping, width int64) *columnSums {
	s := &columnSums{summing: newSumming(), width: width, byEnd: map[outcome]int{}, byDetail: map[string]int{}}
	s.key = store.NewClassifier(by.columns, by.more, func(c *traffic.Call) int { return s.index(by.of(c), c) })
	s.end = store.NewClassifier(endColumns, endFurther, func(c *traffic.Call) int {
		return intern(&s.outcomes, s.byEnd, outcomeOf(c))
	})
	if detail != nil {
		s.detail = store.NewClassifier(detail.columns, detail.more, func(c *traffic.Call) int {
			return intern(&s.details, s.byDetail, detail.of(c))
		})
	}
	return s
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
	keyOf, keys, err := s.key.Sort(g)
	if err != nil {
		return err
	}
	endOf, ends, err := s.end.Sort(g)
	if err != nil {
		return err
	}
	for _, x := range []struct {
		name string
		out  *[]int64
	}{{"latency_ns", &s.latency}, {"req_size", &s.req}, {"resp_size", &s.resp}} {
		if *x.out, err = numbers(g, x.name, *x.out); err != nil {
			return err
		}
	}
	columns.Pairs(g.Selected, keyOf, endOf, len(keys), len(ends), func(k, e uint32, n, first int) {
		s.groups[keys[k]].count(s.outcomes[ends[e]], n, g.First+int64(first), "")
	})
	groups, complete := make([]*group, len(keys)), make([]bool, len(ends))
	for k, at := range keys {
		if at >= 0 {
			groups[k] = s.groups[at]
		}
	}
	for e, at := range ends {
		complete[e] = at >= 0 && s.outcomes[at].complete
	}
	for i := range keyOf {
		if !g.Selected.Has(i) {
			continue
		}
		into := groups[keyOf[i]]
		into.req += s.req[i]
		into.resp += s.resp[i]
		if l := s.latency[i]; l > 0 && complete[endOf[i]] {
			into.latency.add(l)
		}
	}
	if err := s.addBuckets(g, endOf, ends, complete); err != nil {
		return err
	}
	s.relieve()
	if s.detail == nil {
		return nil
	}
	detailOf, details, err := s.detail.Sort(g)
	if err != nil {
		return err
	}
	columns.Pairs(g.Selected, keyOf, detailOf, len(keys), len(details), func(k, d uint32, n, _ int) {
		g := s.groups[keys[k]]
		if g.numbered == nil {
			g.numbered = map[int]int{}
		}
		g.numbered[details[d]] += n
	})
	return nil
}

// finish names the details.
func (s *columnSums) finish() *summing {
	for _, g := range s.groups {
		for d, n := range g.numbered {
			g.detail(s.details[d], n)
		}
		g.numbered = nil
	}
	return s.summing
}

// addBuckets sums up by stretches of time.
func (s *columnSums) addBuckets(g *store.CallGroup, endOf []uint32, ends []int, complete []bool) (err error) {
	if s.width == 0 {
		return nil
	}
	if s.start, err = numbers(g, "start_ns", s.start); err != nil {
		return err
	}
	for i := range g.Selected.All() {
		b := s.bucket(s.start[i], s.width)
		b.count(s.outcomes[ends[endOf[i]]], 1, g.First+int64(i), "")
		b.req += s.req[i]
		b.resp += s.resp[i]
		if l := s.latency[i]; l > 0 && complete[endOf[i]] {
			b.latency.add(l)
		}
	}
	return nil
}

func numbers(g *store.CallGroup, name string, out []int64) ([]int64, error) {
	c, err := g.ColumnOf(name, g.Selected)
	if err != nil {
		return nil, err
	}
	return c.Numbers(out, g.Rows), nil
}
