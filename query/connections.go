package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/devloop-io/devloop/traffic"
)

// mostStretches bounds the stretches of time that an answer is cut into.
const mostStretches = 1000

// ListConnections says how connections are opened and used, by client and server.
func ListConnections(ctx context.Context, db *Database, r ConnectionsRequest) (*ConnectionsAnswer, error) {
	limit, err := bounded(r.Limit, 100, 1000)
	if err != nil {
		return nil, err
	}
	order, err := connectionOrder(r.Order)
	if err != nil {
		return nil, err
	}
	if r.BucketMS < 0 {
		return nil, mistake("a positive number of milliseconds", "bucket_ms %d is none", r.BucketMS)
	}
	v, err := openSurvey(ctx, db, r.Selection)
	if err != nil {
		return nil, err
	}
	edges := map[connKey]*connSums{}
	for c, err := range v.connections() {
		if err != nil {
			return nil, err
		}
		k := connKey{nameOf(&c.Src), nameOf(&c.Dst), c.Dst.Port}
		e := edges[k]
		if e == nil {
			if len(edges) >= maxGroups {
				continue
			}
			e = &connSums{ConnectionEdge: ConnectionEdge{Client: k.client, Server: k.server, Port: int(k.port), Protocols: []string{}}}
			edges[k] = e
		}
		e.add(c, v.scope)
	}
	v.found = len(edges)
	a := &ConnectionsAnswer{Edges: []ConnectionEdge{}, Total: len(edges)}
	a.Reading = v.reading("connections")
	minutes := float64(a.End-a.Start) / 60_000
	if r.BucketMS > 0 && (a.End-a.Start)/r.BucketMS >= mostStretches {
		return nil, mistake(fmt.Sprintf("at least %d", (a.End-a.Start)/mostStretches+1), "bucket_ms %d makes more than %d stretches of this window", r.BucketMS, mostStretches)
	}
	for _, e := range edges {
		a.Edges = append(a.Edges, e.finish(minutes, &a.Reading, r.BucketMS))
		a.Opened += e.Opened
	}
	if minutes > 0 {
		a.PerMinute = float64(a.Opened) / minutes
	}
	slices.SortFunc(a.Edges, func(x, y ConnectionEdge) int {
		return cmp.Or(order(&x, &y), cmp.Compare(y.Opened, x.Opened), cmp.Compare(x.Client, y.Client), cmp.Compare(x.Server, y.Server), cmp.Compare(x.Port, y.Port))
	})
	a.Edges, a.Truncated = head(a.Edges, limit)
	return a, nil
}

func connectionOrder(name string) (func(a, b *ConnectionEdge) int, error) {
	switch name {
	case "", "opened":
		return func(a, b *ConnectionEdge) int { return cmp.Compare(b.Opened, a.Opened) }, nil
	case "resets":
		return func(a, b *ConnectionEdge) int { return cmp.Compare(b.Resets+b.Refused, a.Resets+a.Refused) }, nil
	case "reuse":
		return func(a, b *ConnectionEdge) int { return cmp.Compare(a.CallsPer, b.CallsPer) }, nil
	}
	return nil, mistake("opened, resets or reuse", "there is no order %q", name)
}

type connKey struct {
	client, server string
	port           uint16
}

type connSums struct {
	ConnectionEdge
	life, handshakes, opened sample
	changes                  []change
	lost                     bool // not every change found room
}

// change is a connection that begins or ends.
type change struct {
	at    int64
	delta int
}

// maxChanges bounds the begins and ends from which the most connections at once are counted.
const maxChanges = 200_000

func (e *connSums) add(c *traffic.Connection, w Scope) {
	e.Connections++
	if c.L7 != "" {
		e.Protocols = note(e.Protocols, c.L7, 20)
	}
	if began := c.Opened && c.Start >= w.Start*1e6; began && (w.End == 0 || c.Start < w.End*1e6) {
		e.Opened++
		e.opened.add(c.Start)
	}
	e.Calls += c.WindowCalls
	if c.Closed {
		e.life.add(c.End - c.Start)
	}
	switch c.State {
	case traffic.StateClosed:
		e.Closed++
	case traffic.StateReset:
		e.Resets++
		if c.ResetBy != "" {
			if e.ResetBy == nil {
				e.ResetBy = map[string]int{}
			}
			e.ResetBy[c.ResetBy]++
		}
	case traffic.StateRefused:
		e.Refused++
	}
	if c.MidRequestReset {
		e.MidRequest++
	}
	if c.HandshakeClientNS > 0 {
		e.handshakes.add(c.HandshakeClientNS)
	}
	e.SYNAgain += c.SYNRetransmits
	if len(e.changes) >= maxChanges {
		e.lost = true
		return
	}
	e.changes = append(e.changes, change{c.Start, 1})
	if c.Closed {
		e.changes = append(e.changes, change{c.End, -1})
	}
}

func (e *connSums) finish(minutes float64, r *Reading, bucket int64) ConnectionEdge {
	if minutes > 0 {
		e.PerMinute = float64(e.Opened) / minutes
	}
	e.CallsPer = share(e.Calls, e.Connections)
	if e.Calls > 0 {
		e.Reused = max(0, 1-share(e.Connections, e.Calls))
	}
	e.LifeP50 = e.life.msAt(50)
	e.HandshakeP50, e.HandshakeP99 = e.handshakes.usAt(50), e.handshakes.usAt(99)
	slices.Sort(e.Protocols)
	slices.SortFunc(e.changes, func(a, b change) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.delta, b.delta)) })
	now := 0
	for _, x := range e.changes {
		now += x.delta
		e.Most = max(e.Most, now)
	}
	if bucket > 0 {
		e.Buckets = e.buckets(r, bucket)
	}
	return e.ConnectionEdge
}

// buckets count the connections opened in each stretch. Of very many a sample is known, and scaled.
func (e *connSums) buckets(r *Reading, size int64) []OpenedIn {
	list := make([]OpenedIn, (r.End-r.Start)/size+1)
	for i := range list {
		list[i].TS = r.Start + int64(i)*size
	}
	for _, at := range e.opened.values {
		if i := (at/1e6 - r.Start) / size; i >= 0 && int(i) < len(list) {
			list[i].Opened++
		}
	}
	if e.opened.partial() {
		for i := range list {
			list[i].Opened = list[i].Opened * e.opened.n / len(e.opened.values)
		}
	}
	return list
}
