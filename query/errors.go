package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

const (
	maxFailures   = 100_000 // calls that are remembered
	errorExamples = 5
)

// FindErrors groups what failed by cause, with the evidence: which call failed first, who lost patience, what was slow
// before.
func FindErrors(ctx context.Context, db *Database, r ErrorsRequest) (*ErrorsAnswer, error) {
	limit, err := bounded(r.Limit, 20, 200)
	if err != nil {
		return nil, err
	}
	v, err := openSurvey(ctx, db, r.Selection)
	if err != nil {
		return nil, err
	}
	// Causes lie outside of what the filter selects as well: the filter says which failures are asked about.
	g := failing{byID: map[string]*failed{}, below: map[string][]*failed{}, of: map[[2]string]int{}}
	a := &ErrorsAnswer{Groups: []ErrorGroup{}}
	for c, err := range v.calls() {
		if err != nil {
			return nil, err
		}
		if r.Service != "" && nameOf(&c.Dst) != r.Service {
			continue
		}
		a.Calls++
		g.count(c)
		if failure(c) {
			a.Errors++
			g.add(c, true)
		}
	}
	found := v.found
	if v.f.Source() != "" || r.Service != "" {
		if err := g.others(ctx, db, r.Scope); err != nil {
			return nil, err
		}
	}
	if err := g.hangUps(db); err != nil {
		return nil, err
	}
	groups := g.groups()
	if err := g.timelines(ctx, db, r.Scope, groups[:min(limit, len(groups))]); err != nil {
		return nil, err
	}
	for _, x := range groups {
		a.Groups = append(a.Groups, x.finish())
	}
	a.Groups, a.Truncated = head(a.Groups, limit)
	a.ErrorRate = share(a.Errors, a.Calls)
	v.found = found
	a.Reading = v.reading("calls")
	switch {
	case a.Why == "" && a.Calls == 0:
		a.Why = fmt.Sprintf("no call to %q is in the window", r.Service)
	case a.Why == "" && a.Errors == 0:
		a.Why = fmt.Sprintf("none of these %d calls failed", a.Calls)
	}
	if g.left > 0 {
		a.Warnings = append(slices.Clone(a.Warnings), fmt.Sprintf("%d further failures are counted and not grouped", g.left))
	}
	return a, nil
}

// failed is what is remembered of a call that failed.
type failed struct {
	id, parent, src, endpoint, result, message string
	start, end, waited                         int64
	answered                                   int64 // when the answer began; 0 where none came
	sure                                       bool  // its parent is beyond doubt, or it has none
	asked                                      bool  // the question is about it
	unanswered, cancelled, retried             bool
	hungUp                                     bool // its client reset the connection in answer to the answer
	conn                                       uint64
}

type failing struct {
	byID  map[string]*failed
	below map[string][]*failed // by the ID of their parent
	of    map[[2]string]int    // calls by client and endpoint
	left  int
}

func (g *failing) count(c *traffic.Call) {
	if k := retryEdge(c); len(g.of) < maxGroups || g.of[k] > 0 {
		g.of[k]++
	}
}

func (g *failing) add(c *traffic.Call, asked bool) {
	if len(g.byID) >= maxFailures {
		g.left++
		return
	}
	f := &failed{
		id: c.ID, parent: c.Parent, src: nameOf(&c.Src), endpoint: endpointOf(c), result: result(c), message: complaint(c), start: c.Start, end: c.End,
		waited: max(0, c.End-c.Start), answered: c.ResponseStart, sure: c.ParentCandidates <= 1, asked: asked, unanswered: !c.Answered(), cancelled: c.Error == traffic.ErrorCancelled || c.Error == traffic.ErrorTimeout,
		retried: c.Retry != nil && c.Retry.Attempts > 1, conn: c.ConnID,
	}
	if h := c.HTTP; h != nil && h.Reset == "CANCEL" {
		f.cancelled = true
	}
	g.byID[c.ID] = f
	g.below[c.Parent] = append(g.below[c.Parent], f)
}

// others adds the failures that the filter does not select.
func (g *failing) others(ctx context.Context, db *Database, scope Scope) error {
	all, err := openSurvey(ctx, db, Selection{Scope: scope})
	if err != nil {
		return err
	}
	for c, err := range all.calls() {
		if err != nil {
			return err
		}
		if failure(c) && g.byID[c.ID] == nil {
			g.add(c, false)
		}
	}
	return nil
}

// hangUps notes the answers that their clients' kernels refused, because nobody had the connection open any more (RFC 9293
// section 3.10.7.1): it ended with a reset by the client right then.
func (g *failing) hangUps(db *Database) error {
	byConn := map[uint64][]*failed{}
	for _, f := range g.byID {
		byConn[f.conn] = append(byConn[f.conn], f)
	}
	for c, err := range db.ReadConnections() {
		if err != nil {
			return err
		}
		for _, f := range byConn[c.ID] {
			f.hungUp = c.ResetBy == "client" && f.answered > 0 && c.End >= f.end && c.End-f.end < atOnce
		}
	}
	return nil
}

// atOnce is how long a reset may take that answers a segment.
const atOnce = int64(5e6)

// complaint is what an answer says about its failure, cut.
func complaint(c *traffic.Call) string {
	text := ""
	switch {
	case c.GRPC != nil:
		text = c.GRPC.Message
	case c.PostgreSQL != nil:
		text = c.PostgreSQL.Message
	case c.Redis != nil:
		text = c.Redis.Error
	case c.HTTP != nil:
		text = string(c.HTTP.ResponseBody)
	}
	return cut(strings.Join(strings.Fields(strings.ToValidUTF8(text, "�")), " "), 200)
}

// chain is the way from an outermost failure to the innermost: at each step the failed call that ended last before its
// caller's answer, for that is what the caller reported.
func (g *failing) chain(top *failed) []*failed {
	chain := []*failed{top}
	for at := top; len(chain) < maxAncestors; {
		var cause *failed
		for _, x := range g.below[at.id] {
			if x.end <= at.end+slack && (cause == nil || x.end > cause.end) {
				cause = x
			}
		}
		if cause == nil {
			break
		}
		chain = append(chain, cause)
		at = cause
	}
	return chain
}

// slack is by how much the end of a call may be seen after its caller's answer: a connection is closed a little later.
const slack = int64(50e6)

// errorGroup is failures whose chains go the same way.
type errorGroup struct {
	ErrorGroup
	leaf     *failed // of the first chain
	late     int     // chains whose innermost answer came when its caller did not wait for it any more
	waited   sample
	conns    map[uint64]bool // of the innermost calls and those that reported them, for resets
	from, to int64           // Unix nanoseconds
}

func (g *failing) groups() []*errorGroup {
	byKey := map[string]*errorGroup{}
	var list []*errorGroup
	for _, f := range g.tops() {
		chain := g.chain(f)
		var key strings.Builder
		for _, x := range chain {
			fmt.Fprintf(&key, "%s\x00%s\x00%s\x00", x.src, x.endpoint, x.result)
		}
		e := byKey[key.String()]
		if e == nil {
			if len(list) >= maxGroups {
				g.left++
				continue
			}
			e = newErrorGroup(chain, g.of[[2]string{f.src, f.endpoint}])
			byKey[key.String()] = e
			list = append(list, e)
		}
		e.add(chain)
	}
	slices.SortStableFunc(list, func(a, b *errorGroup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.First, b.First), cmp.Compare(a.Endpoint, b.Endpoint))
	})
	return list
}

// tops are the outermost failures that are asked about, by start.
func (g *failing) tops() []*failed {
	var list []*failed
	for _, f := range g.byID {
		parent := g.byID[f.parent]
		if f.asked && (parent == nil || !parent.asked || f.end > parent.end+slack) {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b *failed) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.id, b.id)) })
	return list
}

func newErrorGroup(chain []*failed, of int) *errorGroup {
	top, leaf := chain[0], chain[len(chain)-1]
	e := &errorGroup{leaf: leaf, conns: map[uint64]bool{}, from: top.start, ErrorGroup: ErrorGroup{Endpoint: top.endpoint, Src: top.src, Result: top.result, Of: of, First: top.start / 1e6, Timeline: []Moment{}, Examples: []string{}}}
	for i := len(chain) - 1; i >= 0 && e.Message == ""; i-- { // the innermost that says something
		e.Message = chain[i].message
	}
	for _, x := range chain {
		e.Chain = append(e.Chain, ErrorStep{Src: x.src, Endpoint: x.endpoint, Result: x.result, Example: x.id})
	}
	return e
}

func (e *errorGroup) add(chain []*failed) {
	top, leaf := chain[0], chain[len(chain)-1]
	e.Count++
	e.Last, e.to = top.start/1e6, max(e.to, top.end)
	e.Examples = note(e.Examples, top.id, errorExamples)
	sure := true
	for i, x := range chain {
		e.Chain[i].Count++
		sure = sure && (i == 0 || x.sure)
	}
	if sure {
		e.Sure++
	}
	if leaf.retried {
		e.Retried++
	}
	switch {
	case leaf.unanswered:
		e.waited.add(leaf.waited)
	case len(chain) > 1 && tooLate(chain[len(chain)-2], leaf):
		e.late++
		e.waited.add(min(leaf.waited, chain[len(chain)-2].answered-leaf.start))
	case leaf.hungUp:
		e.late++
		e.waited.add(leaf.waited)
	}
	for _, x := range chain {
		if len(e.conns) < maxRecent {
			e.conns[x.conn] = true
		}
	}
}

// tooLate reports whether a caller had answered before the answer to its own call came: it had given up.
func tooLate(caller, callee *failed) bool {
	return caller.answered > 0 && callee.answered > caller.answered
}

func (e *errorGroup) finish() ErrorGroup {
	e.AfterMS = e.waited.msAt(50)
	switch l := e.leaf; {
	case !l.unanswered && 2*e.late >= e.Count && e.late > 0:
		e.GaveUp = l.src
		e.Cause = fmt.Sprintf("%s gave up on %s after %.4g ms: the answer, %s, came when nobody waited for it", l.src, l.endpoint, e.AfterMS, l.result)
	case l.unanswered && l.cancelled:
		e.GaveUp = l.src
		e.Cause = fmt.Sprintf("%s gave up on %s after %.4g ms", l.src, l.endpoint, e.AfterMS)
	case l.unanswered:
		server, _, _ := strings.Cut(l.endpoint, " ")
		e.GaveUp = server
		e.Cause = fmt.Sprintf("%s gave %s no answer to %s: %s after %.4g ms", server, l.src, strings.TrimPrefix(l.endpoint, server+" "), l.result, e.AfterMS)
	default:
		e.Cause = fmt.Sprintf("%s answered %s to %s", l.endpoint, l.result, l.src)
		if e.Message != "" {
			e.Cause += fmt.Sprintf(": %q", cut(e.Message, 100))
		}
	}
	if len(e.Chain) > 1 {
		e.Cause = fmt.Sprintf("%s, so %s answered %s", e.Cause, e.Endpoint, e.Result)
	}
	return e.ErrorGroup
}

// slowness is by how much the first slow call exceeds the median of those before it; shorter ones than noticed are none.
const (
	slowness = 10
	noticed  = int64(20e6)
)

// usualTime is the median of the calls so far, found anew whenever their number has doubled.
type usualTime struct {
	sample
	median int64
	next   int
}

func (u *usualTime) add(v int64) {
	u.sample.add(v)
	if u.n >= max(u.next, 3) {
		u.median, u.next = u.at(50), 2*u.n
	}
}

// timelines tell for each group what came first: the innermost endpoint's first slow call, the first failure, the first
// reset connection.
func (g *failing) timelines(ctx context.Context, db *Database, scope Scope, groups []*errorGroup) error {
	all, err := openSurvey(ctx, db, Selection{Scope: scope})
	if err != nil {
		return err
	}
	byLeaf := map[[2]string][]*errorGroup{}
	for _, e := range groups {
		k := [2]string{e.leaf.src, e.leaf.endpoint}
		byLeaf[k] = append(byLeaf[k], e)
	}
	usual := map[[2]string]*usualTime{}
	slow := map[[2]string]Moment{}
	for c, err := range all.slimCalls() {
		if err != nil {
			return err
		}
		k := retryEdge(c)
		if byLeaf[k] == nil {
			continue
		}
		s := usual[k]
		if s == nil {
			s = &usualTime{}
			usual[k] = s
		}
		took := max(c.Latency(), c.End-c.Start)
		if _, known := slow[k]; !known && c.State != traffic.StateOpen && s.median > 0 && took > max(slowness*s.median, noticed) {
			slow[k] = Moment{TS: c.Start / 1e6, Call: c.ID, What: fmt.Sprintf("first slow call: %s → %s took %s ms, where %s ms was usual", k[0], k[1], brief(took), brief(s.median))}
		}
		if c.State == traffic.StateComplete && !failure(c) {
			s.add(took)
		}
	}
	for k, list := range byLeaf {
		for _, e := range list {
			if m, ok := slow[k]; ok && m.TS*1e6 <= e.to {
				e.Timeline = append(e.Timeline, m)
			}
			for _, x := range slices.Backward(e.Chain) {
				f := g.byID[x.Example]
				e.Timeline = append(e.Timeline, Moment{TS: f.end / 1e6, Call: f.id, What: fmt.Sprintf("first failure: %s %s", f.endpoint, f.result)})
			}
		}
	}
	return g.resets(all, groups)
}

// brief is nanoseconds as milliseconds with three digits.
func brief(ns int64) string { return fmt.Sprintf("%.3g", float64(ns)/1e6) }

// resets adds the first reset connection of each group.
func (g *failing) resets(all *survey, groups []*errorGroup) error {
	reset := map[*errorGroup]bool{}
	for c, err := range all.connections() {
		if err != nil {
			return err
		}
		if c.State != traffic.StateReset {
			continue
		}
		for _, e := range groups {
			if e.conns[c.ID] && !reset[e] {
				reset[e] = true
				by := ""
				if c.ResetBy != "" {
					by = " by the " + c.ResetBy
				}
				e.Timeline = append(e.Timeline, Moment{TS: c.End / 1e6, What: fmt.Sprintf("first reset: connection %d, %s → %s%s", c.ID, nameOf(&c.Src), nameOf(&c.Dst), by)})
			}
		}
	}
	for _, e := range groups {
		slices.SortStableFunc(e.Timeline, func(a, b Moment) int { return cmp.Compare(a.TS, b.TS) })
	}
	return nil
}
