package devloop

import (
	"context"
	"fmt"
	"time"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/store"
)

// liveDatabase is what is captured now.
func (s *Session) liveDatabase(context.Context) (*query.Database, func(), error) {
	db := &query.Database{Name: query.Live}
	w, release, err := s.hire()
	if err != nil {
		db.Empty, db.ReadCalls, db.ReadConnections = s.whyNoLive(), each(db.Calls), each(db.Connections)
		return db, func() {}, nil
	}
	defer release() // rows that were handed out stay
	met, stopped := w.live.touch()
	if err := w.follower.catchUp(); err != nil {
		return nil, nil, &control.Error{What: "follow the recording: " + err.Error(), Hint: "devloop doctor", Exit: control.ExitEnvironment}
	}
	d, since := w.live.view(w.follower)
	db.Calls, db.Connections, db.Account, db.Start, db.End = d.Calls, d.Connections, d.Account, since, w.follower.upTo()
	stats := w.source.Stats()
	db.Account.Source, db.Account.Dropped, db.Account.Interfaces = w.source.Name(), stats.Dropped+w.recorder.Lost(), stats.Interfaces
	db.Identities = w.env.Identities()
	db.Identities = append(db.Identities, w.follower.lookedUp(db.Identities)...)
	db.Events = w.eventsIn(db.Start, time.Now().UnixNano())
	if len(d.Calls) == 0 {
		db.Empty = s.whyEmptyLive(met, stopped)
	}
	db.ReadCalls, db.ReadConnections = each(db.Calls), each(db.Connections)
	return db, func() {}, nil
}

// whyNoLive says why nothing is captured now.
func (s *Session) whyNoLive() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	why, next := s.unrecorded()
	return why + ": " + next + "; list_databases names what was kept of earlier traffic"
}

// whyEmptyLive says why no live row is kept although packets are recorded, "" where silence is the only reason.
func (s *Session) whyEmptyLive(met string, stopped int64) string {
	switch {
	case met == liveOff:
		return "live dissection is switched off: enable_dissection; create_snapshot and start_snapshot_dissection read what was recorded meanwhile"
	case met == liveIdly:
		return fmt.Sprintf("nobody asked for live traffic for %s, so its rows have not been kept since %s. They are again from now on; create_snapshot and start_snapshot_dissection read what was recorded meanwhile",
			liveIdle, clock(stopped))
	case s.capturePaused():
		return "capture was stopped: start_capture (devloop capture start) goes on"
	}
	return ""
}

// liveInfo is the database of live traffic in a list.
func (s *Session) liveInfo() query.DatabaseInfo {
	d := query.DatabaseInfo{Type: "realtime", DB: query.Live, Node: nodeName, Status: "none"}
	w, release, err := s.hire()
	if err != nil {
		return d
	}
	defer release()
	f := w.live.figures()
	d.Status, d.Entries, d.First, d.Last = f.state, int64(f.calls), f.oldest/1e6, f.newest/1e6
	return d
}

// GetDataBoundaries says from when to when packets are recorded.
func (s *Session) GetDataBoundaries(ctx context.Context, _ query.BoundariesRequest) (*query.Boundaries, error) {
	b := &query.Boundaries{Nodes: []query.NodeSpan{}}
	w, release, err := s.hire()
	if err != nil {
		b.Why = err.Error()
		return b, nil
	}
	defer release()
	oldest, newest := w.recorded()
	b.Here = query.TimeSpan{Oldest: oldest / 1e6, Newest: newest / 1e6}
	var st control.CaptureStatus
	if err := w.env.CaptureStatus(ctx, &st); err != nil {
		return nil, &control.Error{What: err.Error(), Hint: "devloop doctor", Exit: control.ExitEnvironment}
	}
	if st.Cluster == nil {
		b.Cluster = b.Here
		b.Nodes = append(b.Nodes, query.NodeSpan{Name: store.LocalNode, TimeSpan: b.Here})
		return b, nil
	}
	b.Cluster = query.TimeSpan{Oldest: st.Cluster.Oldest, Newest: st.Cluster.Newest}
	for _, n := range st.Nodes {
		b.Nodes = append(b.Nodes, query.NodeSpan{Name: n.Name, TimeSpan: query.TimeSpan{Oldest: n.Oldest, Newest: n.Newest}, Problem: n.Problem})
	}
	return b, nil
}

// GetRawCapture says whether packets are recorded.
func (s *Session) GetRawCapture(context.Context, query.RawCaptureRequest) (*query.RawCapture, error) {
	w, release, err := s.hire()
	if err != nil {
		return &query.RawCapture{Why: err.Error()}, nil
	}
	defer release()
	a := &query.RawCapture{Enabled: !s.capturePaused(), Session: fmt.Sprint(w.began)}
	if err := w.failed.Load(); err != nil {
		a.Enabled, a.Why = false, fmt.Sprintf("capture with %s ended: %v", w.source.Name(), *err)
	} else if !a.Enabled {
		a.Why = "capture was stopped: start_capture goes on"
	}
	return a, nil
}

// GetL7DataBoundaries says from when to when live calls are kept.
func (s *Session) GetL7DataBoundaries(context.Context, query.BoundariesRequest) (*query.L7Boundaries, error) {
	b := &query.L7Boundaries{Nodes: []query.NodeSpan{}}
	w, release, err := s.hire()
	if err != nil {
		b.Why = err.Error()
		return b, nil
	}
	defer release()
	f := w.live.figures()
	b.Enabled, b.Why = f.state == liveOn, whyNot(&f)
	b.Cluster = query.TimeSpan{Oldest: f.oldest / 1e6, Newest: f.newest / 1e6}
	for _, n := range w.nodes() { // one dissector reads what the agents of all nodes stream to it
		b.Nodes = append(b.Nodes, query.NodeSpan{Name: n, TimeSpan: b.Cluster})
	}
	return b, nil
}

// whyNot says why no rows are kept now.
func whyNot(f *liveFigures) string {
	switch f.state {
	case liveOff:
		return "it was switched off: enable_dissection"
	case liveIdly:
		return fmt.Sprintf("nobody asked for live traffic for %s; the next question, or enable_dissection, begins again", liveIdle)
	}
	return ""
}

// GetDissectionStatus says whether live calls are kept. It is no question for them.
func (s *Session) GetDissectionStatus(context.Context, query.DissectionStatusRequest) (*query.DissectionStatus, error) {
	w, release, err := s.hire()
	if err != nil {
		return &query.DissectionStatus{Success: true, State: "none", Why: err.Error(), Workers: []query.DissectionWorker{}}, nil
	}
	defer release()
	f := w.live.figures()
	a := &query.DissectionStatus{
		Success: true, Enabled: f.state == liveOn, State: f.state, Why: whyNot(&f), Calls: f.calls, Connections: f.conns, Bytes: f.bytes,
		MaxBytes: liveBytes, MaxAge: liveAge.String(), Forgotten: f.forgotten, DelayMS: float64(f.delay.Microseconds()) / 1e3, StopAfter: liveIdle.String(),
		Workers: []query.DissectionWorker{},
	}
	for _, n := range w.nodes() {
		a.Workers = append(a.Workers, query.DissectionWorker{Node: n, Status: f.state})
	}
	return a, nil
}

// EnableDissection keeps live rows from now on.
func (s *Session) EnableDissection(ctx context.Context, _ query.DissectionStatusRequest) (*query.DissectionStatus, error) {
	return s.turnLive(ctx, true)
}

// DisableDissection keeps no more live rows. Checkpoints go on: windows need them.
func (s *Session) DisableDissection(ctx context.Context, _ query.DissectionStatusRequest) (*query.DissectionStatus, error) {
	return s.turnLive(ctx, false)
}

func (s *Session) turnLive(ctx context.Context, on bool) (*query.DissectionStatus, error) {
	w, release, err := s.hire()
	if err != nil {
		return nil, err
	}
	defer release()
	w.live.turn(on)
	return s.GetDissectionStatus(ctx, query.DissectionStatusRequest{})
}
