package query

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/store/columns"
	"github.com/devloop-io/devloop/traffic"
)

// maxStretches bounds the stretches of time of one answer.
const maxStretches = 2000

// GetAPIStats returns statistics of calls, in all and by group. Percentiles are by the nearest rank: exact for up to 65,536 values of
// a group, beyond that from a sketch, which [Stats.Approximate] then says.
func GetAPIStats(ctx context.Context, db *Database, r StatsRequest) (*StatsAnswer, error) {
	limit, err := bounded(r.Limit, usualLimit, mostLimit)
	if err != nil {
		return nil, err
	}
	by, err := oneOf("group_by", r.GroupBy, groupNames...)
	if err != nil {
		return nil, err
	}
	order, err := oneOf("order", r.Order, "calls", "errors", "p99")
	if err != nil {
		return nil, err
	}
	v, err := openNarrowed(ctx, db, r.Selection, equal("dst.namespace", r.NS), equal("dst.service.name", r.Svc), equal("dst.pod.name", r.Pod))
	if err != nil {
		return nil, err
	}
	if err := v.checkBuckets(r.BucketMS); err != nil {
		return nil, err
	}
	all, err := v.sums(ctx, groupings[by], nil, r.BucketMS*1e6)
	if err != nil {
		return nil, err
	}
	total, err := all.total(ctx)
	if err != nil {
		return nil, err
	}
	if err := v.tally(total.calls); err != nil {
		return nil, err
	}
	a := &StatsAnswer{Stats: []Stats{}, Reading: v.reading("calls")}
	seconds := a.seconds()
	a.Totals = total.stats("", seconds)
	var groups []*group
	for _, g := range all.groups {
		if g.name != "" {
			groups = append(groups, g)
		}
	}
	groups, a.Truncated = topGroups(groups, order, limit)
	a.Stats = make([]Stats, len(groups))
	err = columns.Share(ctx, func(part, parts int) {
		for i := part; i < len(groups); i += parts {
			a.Stats[i] = groups[i].stats(groups[i].name, seconds)
		}
	})
	if err != nil {
		return nil, err
	}
	for _, begin := range slices.Sorted(maps.Keys(all.buckets)) {
		a.Buckets = append(a.Buckets, TimeStats{TS: begin / 1e6, Stats: all.buckets[begin].stats("", float64(r.BucketMS)/1e3)})
	}
	if err := v.handshakes(a, groupings[by]); err != nil {
		return nil, err
	}
	shown := []shown{{&total, &a.Totals.Example}}
	for i, g := range groups {
		shown = append(shown, struct {
			g  *group
			id *string
		}{g, &a.Stats[i].Example})
	}
	return a, v.examples(ctx, shown)
}

// shown is a group with the place of its example.
type shown = struct {
	g  *group
	id *string
}

// equal is a condition on a field, "" where nothing is asked.
func equal(field, value string) string {
	if value == "" {
		return ""
	}
	return field + " == " + celString(value)
}

// openNarrowed is openSurvey with further conditions.
func openNarrowed(ctx context.Context, db *Database, s Selection, conditions ...string) (*survey, error) {
	v, err := openSurvey(ctx, db, s)
	if err != nil {
		return nil, err
	}
	text := ""
	for _, c := range conditions {
		if c != "" {
			text += " && " + c
		}
	}
	if text == "" {
		return v, nil
	}
	if v.f.Rewritten() == "" {
		s.KFL = text[len(" && "):]
	} else {
		s.KFL = "(" + v.f.Rewritten() + ")" + text
	}
	return openSurvey(ctx, db, s)
}

// checkBuckets refuses stretches that are too many.
func (v *survey) checkBuckets(ms int64) error {
	if ms == 0 {
		return nil
	}
	r := v.reading("")
	if ms < 0 || (r.End-r.Start)/ms > maxStretches {
		return mistake(fmt.Sprintf("bucket_ms of at least %d, or a narrower window", max(1, (r.End-r.Start)/maxStretches+1)),
			"stretches of %d ms in a window of %d ms are not between 1 and %d", ms, r.End-r.Start, maxStretches)
	}
	return nil
}

// seconds is how long the window is, at least a millisecond.
func (r *Reading) seconds() float64 { return float64(max(1, r.End-r.Start)) / 1e3 }

// total is all groups together.
func (s *summing) total(ctx context.Context) (group, error) {
	sums := make([]group, columns.Workers())
	all := 0
	for _, g := range s.groups {
		all += len(g.latency.values)
	}
	sums[0].latency.expect(all)
	err := columns.Share(ctx, func(part, parts int) {
		for i := part; i < len(s.groups); i += parts {
			sums[part].merge(s.groups[i])
		}
	})
	for i := range sums[1:] {
		sums[0].merge(&sums[i+1])
	}
	return sums[0], err
}

// topGroups are the first groups by an order.
func topGroups(groups []*group, order string, limit int) ([]*group, bool) {
	p99 := map[*group]int64{}
	if order == "p99" {
		for _, g := range groups {
			p99[g] = g.latency.at(99)[0]
		}
	}
	slices.SortFunc(groups, func(a, b *group) int {
		by := 0
		switch order {
		case "errors":
			by = cmp.Compare(b.errors, a.errors)
		case "p99":
			by = cmp.Compare(p99[b], p99[a])
		}
		return cmp.Or(by, cmp.Compare(b.calls, a.calls), cmp.Compare(a.name, b.name))
	})
	return head(groups, limit)
}

func (g *group) stats(name string, seconds float64) Stats {
	s := Stats{Group: name, Calls: g.calls, Errors: g.errors, Statuses: g.statuses, Answered: g.answered, RequestSize: g.req, ResponseSize: g.resp,
		Max: ms(g.latency.max), Approximate: g.latency.approximate()}
	if g.calls > 0 {
		s.ErrorRate = float64(g.errors) / float64(g.calls)
		s.PerSecond = float64(g.calls) / seconds
	}
	if g.latency.n > 0 {
		s.Mean = ms(int64(g.latency.sum / float64(g.latency.n)))
		p := g.latency.at(50, 90, 99)
		s.P50, s.P90, s.P99 = ms(p[0]), ms(p[1]), ms(p[2])
	}
	return s
}

// handshakes adds those of the connections to each group, where connections have the groups and the filter speaks of them.
func (v *survey) handshakes(a *StatsAnswer, by grouping) error {
	if by.conn == nil || v.f.Kind()&filter.Connections == 0 {
		return nil
	}
	var total digest
	groups := map[string]*digest{}
	for i := range a.Stats {
		groups[a.Stats[i].Group] = &digest{}
	}
	found := v.found
	for c, err := range v.connections() {
		if err != nil {
			return err
		}
		if c.HandshakeClientNS <= 0 {
			continue
		}
		total.add(c.HandshakeClientNS)
		if d := groups[by.conn(c)]; d != nil {
			d.add(c.HandshakeClientNS)
		}
	}
	v.found = found
	a.Totals.handshake(&total)
	for i := range a.Stats {
		a.Stats[i].handshake(groups[a.Stats[i].Group])
	}
	return nil
}

func (s *Stats) handshake(d *digest) {
	p := d.at(50, 90, 99)
	s.HandshakeP50, s.HandshakeP90, s.HandshakeP99 = p[0]/1e3, p[1]/1e3, p[2]/1e3
}

// examples names a call of each group: one that failed where one did.
func (v *survey) examples(ctx context.Context, all []shown) (err error) {
	rows := map[int64][]*string{}
	for _, s := range all {
		e := s.g.first
		if s.g.failed.found {
			e = s.g.failed
		}
		switch {
		case e.id != "":
			*s.id = e.id
		case e.found:
			rows[e.place] = append(rows[e.place], s.id)
		}
	}
	if len(rows) == 0 || v.db.CallsPath == "" {
		return nil
	}
	t, err := store.OpenCalls(v.db.CallsPath)
	if err != nil {
		return err
	}
	defer func() {
		if shut := t.Close(); err == nil {
			err = shut
		}
	}()
	numbers := slices.Sorted(maps.Keys(rows))
	var calls []*traffic.Call
	if calls, err = t.Calls(ctx, numbers, []string{"id"}); err != nil {
		return err
	}
	for i, n := range numbers {
		for _, id := range rows[n] {
			*id = calls[i].ID
		}
	}
	return nil
}
