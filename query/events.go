package query

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// kinds of events that can be asked for.
var kinds = []string{
	traffic.EventRestart, traffic.EventProbe, traffic.EventRollout, traffic.EventScheduling, traffic.EventImage, traffic.EventStart, traffic.EventNode, traffic.EventOther,
}

const (
	secondsBefore = 120
	lastCalls     = 20
)

// ListEvents says what happened beside the calls, newest first.
func ListEvents(ctx context.Context, db *Database, r EventsRequest) (*EventsAnswer, error) {
	limit, err := bounded(r.Limit, 100, 1000)
	if err != nil {
		return nil, err
	}
	if r.Kind != "" && !slices.Contains(kinds, r.Kind) {
		return nil, mistake(fmt.Sprintf("kinds: %v", kinds), "there are no events of kind %q", r.Kind)
	}
	v, err := openSurvey(ctx, db, Selection{Scope: r.Scope})
	if err != nil {
		return nil, err
	}
	a := &EventsAnswer{Events: []Event{}}
	var wanted *Event
	for _, e := range db.Events {
		v.seen++
		x := Event{ID: eventID(&e), TS: e.Time / 1e6, ClusterEvent: e, Text: e.String()}
		if x.ID == r.Before {
			wanted = &x
		}
		if r.selects(&x) {
			a.Events = append(a.Events, x)
		}
	}
	if r.Before != "" {
		if wanted == nil {
			return nil, mistake("list_events gives the ids", "there is no event %q in %s", r.Before, db.Name)
		}
		if a.Before, err = before(ctx, db, *wanted, cmp.Or(r.Seconds, secondsBefore)); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(a.Events, func(x, y Event) int { return cmp.Compare(y.Time, x.Time) })
	a.Total, v.found = len(a.Events), len(a.Events)
	a.Events, a.Truncated = head(a.Events, limit)
	a.Reading = v.reading("events")
	if len(db.Events) == 0 && db.Empty == "" {
		a.Why = "nothing is known to have happened: no service crashed or was restarted, and no cluster told of events"
	}
	return a, nil
}

// selects reports whether an event is asked for.
func (r *EventsRequest) selects(e *Event) bool {
	return (r.Start == 0 || e.TS >= r.Start) && (r.End == 0 || e.TS < r.End) && (r.Kind == "" || e.Kind == r.Kind) && (!r.Warnings || e.Warning) &&
		(r.Namespace == "" || e.Namespace == r.Namespace) && (r.Pod == "" || e.Pod == r.Pod || e.Object == r.Pod)
}

// eventID is the same for the same event wherever it is read from.
func eventID(e *traffic.ClusterEvent) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d\x00%s\x00%s\x00%s\x00%s\x00%s\x00%s", e.Time, e.Kind, e.Reason, e.Object, e.Namespace, e.Pod, e.Container)
	return fmt.Sprintf("e%016x", h.Sum64())
}

// before tells what an event's pod said in the seconds before it.
func before(ctx context.Context, db *Database, e Event, seconds int) (*BeforeEvent, error) {
	if seconds < 1 || seconds > 86_400 {
		return nil, mistake("1 to 86400; 120 by default", "seconds %d is out of range", seconds)
	}
	if e.Pod == "" {
		return nil, mistake("ask for an event that has a pod", "event %s is about %s, which sends nothing", e.ID, cmp.Or(e.Object, e.Node, "no pod"))
	}
	b := &BeforeEvent{
		Event: e, Window: Scope{DB: db.Name, Start: e.TS - int64(seconds)*1000, End: e.TS + 1}, KFL: fmt.Sprintf("%q in pods", e.Pod),
		Received: []Talk{}, Sent: []Talk{}, Last: []traffic.CompactCall{},
	}
	v, err := openSurvey(ctx, db, Selection{Scope: b.Window})
	if err != nil {
		return nil, err
	}
	in, out := talks{}, talks{}
	var last []*traffic.Call
	for c, err := range v.slimCalls() {
		if err != nil {
			return nil, err
		}
		sent, received := c.Src.Pod == e.Pod, c.Dst.Pod == e.Pod
		if !sent && !received {
			continue
		}
		if sent {
			out.add(nameOf(&c.Dst), c)
		} else {
			in.add(nameOf(&c.Src), c)
		}
		if c.State == traffic.StateOpen || c.End > e.Time {
			b.Open++
		}
		if last = append(last, c); len(last) > 2*lastCalls {
			last = slices.Delete(last, 0, lastCalls)
		}
	}
	for _, c := range slices.Backward(last) {
		if len(b.Last) < lastCalls {
			b.Last = append(b.Last, c.Compact())
		}
	}
	for c, err := range v.connections() {
		if err != nil {
			return nil, err
		}
		if c.State == traffic.StateReset && (c.Src.Pod == e.Pod || c.Dst.Pod == e.Pod) {
			b.Resets++
		}
	}
	b.Received, b.Sent = in.list(), out.list()
	return b, nil
}

// talks are what was said, by peer and protocol.
type talks map[[2]string]*talkSums

type talkSums struct {
	Talk
	latency sample
}

func (t talks) add(peer string, c *traffic.Call) {
	k := [2]string{peer, c.Protocol}
	s := t[k]
	if s == nil {
		if len(t) >= maxGroups {
			return
		}
		s = &talkSums{Talk: Talk{Peer: peer, Protocol: c.Protocol, Outside: leaves(&filter.Row{Call: c})}}
		t[k] = s
	}
	s.Calls++
	if c.State == traffic.StateComplete {
		s.latency.add(c.Latency())
	}
	if failure(c) {
		s.Errors++
		s.LastError = c.ID
	}
}

func (t talks) list() []Talk {
	list := []Talk{}
	for _, s := range t {
		s.P99 = s.latency.msAt(99)
		list = append(list, s.Talk)
	}
	slices.SortFunc(list, func(a, b Talk) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Protocol, b.Protocol))
	})
	return list
}
