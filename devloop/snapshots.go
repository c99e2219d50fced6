package devloop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/bpf"
	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

const (
	inProgress = "in_progress"
	completed  = "completed"
	failedWord = "failed"

	maxMaking      = 4  // snapshots that are made at a time, open windows included
	maxFailedKept  = 32 // failures that are remembered
	maxCaptureTime = time.Hour
	snapshotsHint  = "list_snapshots (devloop snapshot list)"
)

// makings are the snapshots that are being made, and those that came to nothing.
type makings struct {
	mu   sync.Mutex
	list []*making // oldest first
}

// making is one of them.
type making struct {
	info  query.SnapshotInfo // behind the lock of makings
	early chan struct{}      // of a window over running traffic: closed to end it before its time
	once  sync.Once
	done  chan struct{}
}

func (m *makings) find(name string) (*making, query.SnapshotInfo) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.list {
		if x.info.ID == name {
			return x, x.info
		}
	}
	return nil, query.SnapshotInfo{}
}

// infos are all of them, newest first.
func (m *makings) infos() []query.SnapshotInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []query.SnapshotInfo
	for _, x := range slices.Backward(m.list) {
		list = append(list, x.info)
	}
	return list
}

// begin notes that a snapshot is being made.
func (m *makings) begin(x *making) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = slices.DeleteFunc(m.list, func(o *making) bool { return o.info.ID == x.info.ID && o.info.Status == failedWord })
	busy := 0
	for _, o := range m.list {
		if o.info.ID == x.info.ID {
			return control.Usagef("get_snapshot tells when it is there; or choose another name", fmt.Sprintf("snapshot %s is being made already", o.info.ID))
		}
		if o.info.Status == inProgress {
			busy++
		}
	}
	if busy >= maxMaking {
		return &control.Error{What: fmt.Sprintf("%d snapshots are being made already", busy), Hint: "wait until one is there: list_snapshots", Exit: control.ExitEnvironment}
	}
	m.list = append(m.list, x)
	return nil
}

// end forgets one that is in the store now, and keeps why another is not.
func (m *makings) end(x *making, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.list = slices.DeleteFunc(m.list, func(o *making) bool { return o == x })
		return
	}
	x.info.Status, x.info.Error, x.info.Hint = failedWord, err.Error(), sealHint(err)
	var known *control.Error
	if errors.As(err, &known) {
		x.info.Hint = known.Hint
	}
	failed := 0
	for _, o := range m.list {
		if o.info.Status == failedWord {
			failed++
		}
	}
	m.list = slices.DeleteFunc(m.list, func(o *making) bool {
		if failed > maxFailedKept && o.info.Status == failedWord {
			failed--
			return true
		}
		return false
	})
}

func (m *makings) progress(x *making, percent int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x.info.Progress = max(x.info.Progress, min(percent, 99))
}

func (m *makings) remove(x *making) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = slices.DeleteFunc(m.list, func(o *making) bool { return o == x })
}

// hire is the capture of what runs now, which is not stopped before release was called.
func (s *Session) hire() (w *wire, release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wire == nil {
		why, next := s.unrecorded()
		return nil, nil, &control.Error{What: why, Hint: next, Exit: control.ExitUsage}
	}
	s.wire.making.Add(1)
	return s.wire, s.wire.making.Done, nil
}

// unrecorded says why no packets are recorded. The caller holds the lock.
func (s *Session) unrecorded() (why, next string) {
	switch {
	case s.env == nil:
		return "nothing is recorded: no services run", "devloop run"
	case s.blind != nil:
		return s.blind.Error(), "devloop doctor"
	}
	return "nothing is recorded at this moment", "devloop run"
}

// CreateSnapshot begins to make a snapshot of a span of what was recorded.
func (s *Session) CreateSnapshot(ctx context.Context, r query.CreateSnapshotRequest) (*query.SnapshotCreated, error) {
	start, end, err := span(r, time.Now())
	if err != nil {
		return nil, err
	}
	name, err := s.newName(r.Name, "s")
	if err != nil {
		return nil, err
	}
	w, release, err := s.hire()
	if err != nil {
		return nil, err
	}
	if err := w.knows(r.Nodes); err != nil {
		release()
		return nil, err
	}
	hold := w.recorder.Hold(1) // nothing goes away from here on
	let := func() { hold(); release() }
	oldest, _ := w.recorded()
	_, kept := w.reaches(start) // the nodes may have what was before
	switch {
	case kept:
	case oldest == 0:
		err = control.Usagef("devloop run makes traffic", "nothing has been recorded yet")
	case end <= oldest:
		err = control.Usagef("get_data_boundaries says what is there", fmt.Sprintf("the window ends at %s, and the recording begins at %s", clock(end), clock(oldest)))
	}
	x := &making{info: query.SnapshotInfo{
		ID: name, Name: name, Status: inProgress, Created: time.Now().UnixMilli(), Start: start / 1e6, End: end / 1e6, Duration: time.Duration(end - start).String(),
		Nodes: r.Nodes, Source: w.sourceName(), Dissections: []string{},
	}, done: make(chan struct{})}
	if start < oldest && !kept {
		x.info.Note = fmt.Sprintf("the recording begins at %s: what was before is not in it", clock(oldest))
	}
	a := &query.SnapshotCreated{Success: true, ID: name, Name: name, Status: inProgress, Start: start / 1e6, End: end / 1e6, Note: x.info.Note}
	if err == nil {
		err = s.makings.begin(x)
	}
	if err != nil {
		let()
		return nil, err
	}
	go func() {
		defer let()
		defer close(x.done)
		s.makings.end(x, s.cut(w.running, w, x, start, end, r.Nodes, ""))
	}()
	return a, nil
}

// clock is a time as people read it.
func clock(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000Z") }

// span is the asked window in Unix nanoseconds.
func span(r query.CreateSnapshotRequest, now time.Time) (start, end int64, err error) {
	const hint = `give duration, such as "30m", or start and end in Unix milliseconds`
	switch {
	case r.Duration != "" && r.Start != 0:
		return 0, 0, control.Usagef(hint, "duration and start are given both")
	case r.Duration == "" && r.Start == 0:
		return 0, 0, control.Usagef(hint, "the window has no beginning")
	case r.Start < 0 || r.End < 0:
		return 0, 0, control.Usagef(hint, "the window lies before 1970")
	}
	end = now.UnixNano()
	if r.End != 0 {
		end = min(r.End, end/1e6+1) * 1e6
	}
	start = r.Start * 1e6
	if r.Duration != "" {
		d, err := time.ParseDuration(r.Duration)
		if err != nil || d <= 0 {
			return 0, 0, control.Usagef(hint, fmt.Sprintf("duration %q is none", r.Duration))
		}
		start = end - int64(d)
	}
	if start >= end {
		return 0, 0, control.Usagef(hint, fmt.Sprintf("the window from %s to %s is empty", clock(start), clock(end)))
	}
	return start, end, nil
}

// newName is a name that no snapshot has: the wanted one, or one that is made up.
func (s *Session) newName(want, prefix string) (string, error) {
	taken := func(name string) bool {
		if x, info := s.makings.find(name); x != nil && info.Status != failedWord {
			return true
		}
		sn, err := s.store.Snapshot(name)
		if err == nil {
			_ = sn.Close()
		}
		return err == nil || !errors.Is(err, fs.ErrNotExist)
	}
	if want == "" {
		base := prefix + time.Now().UTC().Format("20060102-150405")
		name := base
		for n := 2; taken(name); n++ {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		return name, nil
	}
	switch {
	case store.CheckName(want) != nil:
		return "", control.Usagef("such as frontend-analysis", fmt.Sprintf("name %q: use letters, digits, dashes and dots", want))
	case want == query.Live || number(want) > 0 && (want == fmt.Sprintf("i%d", number(want)) || want == fmt.Sprintf("r%d", number(want))):
		return "", control.Usagef("choose another name", fmt.Sprintf("name %q is an iteration's or a revision's", want))
	case taken(want):
		return "", control.Usagef("delete_snapshot (devloop snapshot delete) removes it; or choose another name", fmt.Sprintf("there is a snapshot %s already, and snapshots never change", want))
	}
	return want, nil
}

// knows refuses nodes that capture nothing.
func (w *wire) knows(nodes []string) error {
	here := w.nodes()
	if k, ok := w.env.(keeping); ok {
		here = append(here, k.Nodes()...)
		slices.Sort(here)
		here = slices.Compact(here)
	}
	for _, n := range nodes {
		if !slices.Contains(here, n) {
			return control.Usagef("nodes that captured something: "+shortList(here), fmt.Sprintf("node %q captured nothing here", n))
		}
	}
	return nil
}

// recorded is from when to when there are packets in the ring, 0 when there are none.
func (w *wire) recorded() (oldest, newest int64) {
	for _, s := range append(w.ring(), w.recorder.Current()) {
		if s.First == 0 {
			continue
		}
		if oldest == 0 || s.First < oldest {
			oldest = s.First
		}
		newest = max(newest, s.Last)
	}
	return oldest, newest
}

// ring is the ended segments, with their times: those of an earlier daemon are read once.
func (w *wire) ring() []capture.Segment {
	list := w.recorder.Segments()
	w.marksMu.Lock()
	defer w.marksMu.Unlock()
	if w.earlier == nil {
		w.earlier = map[uint64]capture.Segment{}
	}
	for i, s := range list {
		if s.Packets > 0 || s.First != 0 {
			continue
		}
		known, ok := w.earlier[s.Seq]
		if !ok && s.Seq <= w.before {
			known, _ = capture.ReadSegment(s.Path) // as far as it can be read
			w.earlier[s.Seq] = known
		}
		list[i].Packets, list[i].First, list[i].Last = known.Packets, known.First, known.Last
	}
	return list
}

// cut makes a snapshot of the segments that reach into a window. The ring is held meanwhile.
func (s *Session) cut(ctx context.Context, w *wire, x *making, start, end int64, nodes []string, kfl string) error {
	if _, err := w.rotate(ctx); err != nil {
		return err
	}
	s.makings.progress(x, 5)
	kept, err := w.fetch(ctx, start, end, nodes, func(share float64) { s.makings.progress(x, 5+int(60*share)) })
	if err != nil {
		return err
	}
	defer kept.drop()
	ring := w.ring()
	var within []capture.Segment
	var bytes int64
	for _, g := range ring {
		if g.First != 0 && g.First < end && g.Last >= start {
			within = append(within, g)
			bytes += g.Bytes
		}
	}
	first := uint64(0) // of those within
	if len(within) > 0 {
		first = within[0].Seq
	}
	within = append(within, kept.segments...)
	slices.SortStableFunc(within, func(a, b capture.Segment) int { return cmp.Compare(a.First, b.First) })
	if len(within) == 0 {
		oldest, newest := w.recorded()
		return control.Usagef("get_data_boundaries says what is there", fmt.Sprintf("nothing was recorded from %s to %s; there are packets from %s to %s", clock(start), clock(end), clock(oldest), clock(newest)))
	}
	var state []byte
	var keys int64
	if len(kept.segments) == 0 {
		if state, keys, err = w.stateBefore(ctx, first, ring, func(share float64) { s.makings.progress(x, 5+int(75*share)) }); err != nil {
			return err
		}
	}
	meta, err := noted(kept.notes)
	if err != nil {
		return err
	}
	identities := w.env.Identities()
	sn, err := s.store.Seal(ctx, store.SealRequest{
		ID: x.info.ID, Segments: within, Checkpoint: state, Identities: append(identities, w.follower.lookedUp(identities)...), WindowStart: start, WindowEnd: end,
		Source: w.source.Name(), KeyLog: w.keys.since(keys), Events: w.eventsIn(start, end), Cut: true, Nodes: nodes, Filter: kfl, On: w.nodes(), Meta: meta,
	})
	if err != nil {
		return err
	}
	if _, err := s.store.Retain(); err != nil { // it is held open, and stays
		s.log.Warn("old snapshots were not removed", "err", err)
	}
	return sn.Close()
}

// eventsIn are what happened in the environment in a window.
func (w *wire) eventsIn(start, end int64) []traffic.ClusterEvent {
	if w.events == nil {
		return nil
	}
	return w.events(start, end)
}

// stateBefore is the dissector's state at the beginning of a segment: from the newest state that is remembered, through
// what was recorded since; or from the beginning of the ring. keys is how far the key log was then.
func (w *wire) stateBefore(ctx context.Context, first uint64, ring []capture.Segment, tell func(share float64)) (state []byte, keys int64, err error) {
	m, ok := w.markBefore(first)
	if ok && len(ring) > 0 && ring[0].Seq > m.seq+1 && ring[0].Seq < first {
		m = mark{} // what followed it is gone
	}
	o := dissect.Options{Node: nodeName, Secrets: w.keys.secrets}
	var lead []capture.Segment
	var bytes, read int64
	for _, g := range ring {
		if g.Seq > m.seq && g.Seq < first {
			lead = append(lead, g)
			bytes += g.Bytes
		}
	}
	if len(lead) == 0 {
		return m.checkpoint, m.keys, nil
	}
	d := dissect.New(o)
	if len(m.checkpoint) > 0 {
		if d, err = dissect.Restore(o, m.checkpoint); err != nil {
			return nil, 0, err
		}
	}
	w.keys.refresh()
	for _, g := range lead {
		if err := through(ctx, d, g); err != nil {
			return nil, 0, fmt.Errorf("read what was recorded before the window: %w", err)
		}
		read += g.Bytes
		tell(float64(read) / float64(max(bytes, 1)))
	}
	d.EndWindow()
	state, err = d.Checkpoint()
	return state, m.keys, err
}

// through takes a dissector through a segment.
func through(ctx context.Context, d *dissect.Dissector, g capture.Segment) error {
	r, err := pcapfile.Open(g.Path)
	if err != nil {
		return err
	}
	defer r.Close()
	r.Finish()
	var p traffic.Packet
	for n := uint64(1); ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		err := r.Next(&p)
		if err == io.EOF || errors.Is(err, pcapfile.ErrTruncated) {
			return nil
		}
		if err != nil {
			return err
		}
		p.Number = n
		d.Packet(&p, r.Interface(p.Interface))
	}
}

// ListSnapshots lists the snapshots, newest first.
func (s *Session) ListSnapshots(_ context.Context, r query.SnapshotsRequest) (*query.SnapshotsAnswer, error) {
	limit, err := limited(r.Limit)
	if err != nil {
		return nil, err
	}
	list, err := s.store.List()
	if err != nil {
		return nil, err
	}
	size, age := s.store.Bounds()
	a := &query.SnapshotsAnswer{Snapshots: s.makings.infos(), MaxSize: size, MaxAge: age.String()}
	known := map[string]bool{}
	for _, info := range a.Snapshots {
		known[info.ID] = true
	}
	for _, info := range slices.Backward(list) {
		if a.Size += info.Size; !known[info.ID] {
			a.Snapshots = append(a.Snapshots, s.described(info))
		}
	}
	a.Total = len(a.Snapshots)
	if a.Truncated = a.Total > limit; a.Truncated {
		a.Snapshots = a.Snapshots[:limit]
	}
	if a.Snapshots == nil {
		a.Snapshots = []query.SnapshotInfo{}
	}
	return a, nil
}

func limited(limit int) (int, error) {
	switch {
	case limit == 0:
		return defaultLimit, nil
	case limit < 0 || limit > maxLimit:
		return 0, control.Usagef(fmt.Sprintf("1 to %d", maxLimit), fmt.Sprintf("limit %d is out of range", limit))
	}
	return limit, nil
}

// described is what is known of a sealed snapshot.
func (s *Session) described(info store.Info) query.SnapshotInfo {
	w := &info.Window
	nodes := w.Nodes
	if len(nodes) == 0 {
		nodes = w.On
	}
	d := query.SnapshotInfo{
		ID: w.ID, Name: w.ID, Status: completed, Progress: 100, Size: info.Size, Created: info.Created / 1e6, Start: w.Start / 1e6, End: w.End / 1e6,
		Duration: time.Duration(w.End - w.Start).String(), Packets: w.Packets, NodeCount: max(1, len(nodes)), Nodes: nodes, Source: w.Source,
		Iteration: w.Iteration, Revision: w.Revision, Exercise: w.Exercise, Filter: w.Filter, Dissections: []string{}, Note: noteOf(w.Meta),
	}
	for _, name := range info.Dissections {
		d.Dissections = append(d.Dissections, w.ID+"/"+name)
	}
	return d
}

// GetSnapshot says what is known of a snapshot.
func (s *Session) GetSnapshot(ctx context.Context, r query.SnapshotRequest) (*query.SnapshotInfo, error) {
	id, err := named(r)
	if err != nil {
		return nil, err
	}
	if x, info := s.makings.find(id); x != nil {
		return &info, nil
	}
	sn, err := s.snapshot(id)
	if err != nil {
		return nil, err
	}
	defer sn.Close()
	info := s.described(sn.Info())
	if r.Verify {
		if err := sn.Verify(ctx); err != nil {
			return nil, &control.Error{What: err.Error(), Hint: "it was changed after it was sealed: trust nothing in it; devloop snapshot delete " + sn.ID(), Exit: control.ExitEnvironment}
		}
		info.Verified = true
	}
	return &info, nil
}

func named(r query.SnapshotRequest) (string, error) {
	switch {
	case r.ID == "" && r.Name == "":
		return "", control.Usagef(snapshotsHint, "which snapshot? give its id")
	case r.ID != "" && r.Name != "" && r.ID != r.Name:
		return "", control.Usagef("give one of them", fmt.Sprintf("id %q and name %q are two snapshots", r.ID, r.Name))
	}
	return cmp.Or(r.ID, r.Name), nil
}

// DeleteSnapshot deletes a snapshot with its dissections.
func (s *Session) DeleteSnapshot(_ context.Context, r query.SnapshotRequest) (*query.Deleted, error) {
	id, err := named(r)
	if err != nil {
		return nil, err
	}
	if x, info := s.makings.find(id); x != nil {
		if info.Status == inProgress {
			return nil, &control.Error{What: fmt.Sprintf("snapshot %s is being made", id), Hint: "get_snapshot tells when it is there", Exit: control.ExitUsage}
		}
		s.makings.remove(x)
		return &query.Deleted{Success: true, Name: id}, nil
	}
	switch err := s.store.Delete(id); {
	case errors.Is(err, store.ErrInUse):
		return nil, &control.Error{What: err.Error(), Hint: "again when the iteration, the dissection or the export that reads it has ended", Exit: control.ExitEnvironment}
	case errors.Is(err, fs.ErrNotExist):
		return nil, control.Missing(snapshotsHint, err.Error())
	case err != nil:
		return nil, &control.Error{What: err.Error(), Hint: "devloop snapshot list", Exit: control.ExitUsage}
	}
	return &query.Deleted{Success: true, Name: id}, nil
}

// ExportSnapshotPCAP writes packets of a snapshot into a file.
func (s *Session) ExportSnapshotPCAP(ctx context.Context, r query.ExportPCAPRequest) (*query.PCAPAnswer, error) {
	if r.ID == "" {
		return nil, control.Usagef(snapshotsHint, "which snapshot? give its id")
	}
	return s.export(ctx, r.ID, r.PacketSelection)
}

func (s *Session) export(ctx context.Context, id string, p query.PacketSelection) (*query.PCAPAnswer, error) {
	o, err := ExportOptions(p)
	if err != nil {
		return nil, err
	}
	if x, info := s.makings.find(id); x != nil {
		if info.Status == failedWord {
			return nil, &control.Error{What: fmt.Sprintf("snapshot %s was not made: %s", id, info.Error), Hint: info.Hint, Exit: control.ExitUsage}
		}
		return nil, control.Usagef("get_snapshot tells when it is there", fmt.Sprintf("snapshot %s is being made", id))
	}
	sn, err := s.snapshot(id)
	if err != nil {
		return nil, err
	}
	defer sn.Close()
	for _, n := range p.Nodes {
		if on := sn.Window.On; len(on) > 0 && !slices.Contains(on, n) {
			return nil, control.Usagef("nodes of the snapshot: "+shortList(on), fmt.Sprintf("node %q captured nothing of snapshot %s", n, sn.ID()))
		}
	}
	none := "" // why there can be no packets
	for _, kfl := range []string{sn.Window.Filter, p.KFL} {
		if none == "" && kfl != "" {
			if none, err = s.narrow(ctx, sn, kfl, &o); err != nil {
				return nil, err
			}
		}
	}
	name := cmp.Or(p.File, s.exportName(sn.ID(), &o))
	a := &query.PCAPAnswer{Snapshot: sn.ID(), Format: o.Format, Of: sn.Window.Packets, Masked: !o.Raw}
	e, err := s.store.WriteExport(name, p.Overwrite, func(w io.Writer) (err error) {
		if none != "" {
			o.Select = []store.Selection{{}} // nothing
		}
		a.Packets, err = sn.Export(ctx, w, o)
		return err
	})
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, control.Usagef("choose another file, or set overwrite", fmt.Sprintf("there is a file %s already in the folder for exports", name))
	case err != nil && p.File != "" && store.CheckName(name) != nil:
		return nil, control.Usagef("a name such as checkout.pcapng", err.Error())
	case err != nil:
		return nil, &control.Error{What: err.Error(), Hint: sealHint(err), Exit: control.ExitEnvironment}
	}
	a.Path, a.File, a.Size, a.SHA256 = e.Path, e.File, e.Size, e.SHA256
	if a.Packets == 0 {
		a.Why = cmp.Or(none, fmt.Sprintf("none of the snapshot's %d packets is selected", a.Of))
	}
	return a, nil
}

// ExportOptions reads a selection, all but its filter for calls and connections.
func ExportOptions(p query.PacketSelection) (o store.ExportOptions, err error) {
	o = store.ExportOptions{Raw: p.Raw, Nodes: p.Nodes, Start: p.StartTime * 1e6, End: p.EndTime * 1e6, Format: cmp.Or(p.Format, store.FormatPCAPNG)}
	switch {
	case o.Format != store.FormatPCAPNG && o.Format != store.FormatPCAP:
		return o, control.Usagef("pcapng or pcap", fmt.Sprintf("format %q is none", p.Format))
	case p.StartTime < 0 || p.EndTime < 0 || p.EndTime != 0 && p.EndTime <= p.StartTime:
		return o, control.Usagef("end_time is after start_time, both in Unix milliseconds", fmt.Sprintf("the window from %d to %d is empty", p.StartTime, p.EndTime))
	}
	if _, err := compiled(p.KFL); err != nil {
		return o, err
	}
	if p.BPF != "" {
		f, err := bpf.Compile(p.BPF)
		if err != nil {
			return o, control.Usagef(bpf.Help, err.Error())
		}
		o.Match = f.Match
	}
	return o, nil
}

// compiled is a filter, or the user's error.
func compiled(kfl string) (*filter.Filter, error) {
	f, err := filter.Compile(kfl)
	if err != nil {
		return nil, &control.Error{What: err.Error(), Hint: "devloop kfl explain '…' shows how a filter is read", Exit: control.ExitUsage}
	}
	return f, nil
}

// narrow selects the connections that a filter selects, or that carried a call that it selects. none says why there are
// none.
func (s *Session) narrow(ctx context.Context, sn *store.Snapshot, kfl string, o *store.ExportOptions) (none string, err error) {
	f, err := compiled(kfl)
	if err != nil {
		return "", err
	}
	rows, err := s.rowsOf(ctx, sn)
	if err != nil {
		return "", err
	}
	guarded := func(err error) error {
		return &control.Error{What: err.Error(), Hint: "guard it: has(field) && …", Exit: control.ExitUsage}
	}
	var list []*traffic.Connection
	for c, err := range rows.connections() {
		if err != nil {
			return "", err
		}
		list = append(list, c)
	}
	connections := byID(list)
	wanted, calls := map[uint64]bool{}, 0
	for c, err := range rows.calls() { // one at a time: there may be millions
		if err != nil {
			return "", err
		}
		calls++
		if f.Kind() == filter.Connections || wanted[c.ConnID] {
			continue
		}
		ok, err := f.Match(&filter.Row{Call: c, Conn: connections[c.ConnID]})
		if err != nil {
			return "", guarded(err)
		}
		wanted[c.ConnID] = ok
	}
	var chosen []store.Selection
	for _, c := range list {
		ok := wanted[c.ID]
		if !ok && f.Kind() != filter.Calls {
			if ok, err = f.Match(&filter.Row{Conn: c}); err != nil {
				return "", guarded(err)
			}
		}
		if ok {
			chosen = append(chosen, store.SelectConnection(c))
		}
	}
	if o.Select != nil { // both filters must select
		both := slices.DeleteFunc(chosen, func(c store.Selection) bool { return !slices.Contains(o.Select, c) })
		chosen = both
	}
	if len(chosen) == 0 {
		return fmt.Sprintf("none of the snapshot's %d calls and %d connections matches %s", calls, len(list), f.Rewritten()), nil
	}
	o.Select = chosen
	return "", nil
}

// rowsFrom is where rows of a snapshot come from.
type rowsFrom struct {
	calls       func() iter.Seq2[*traffic.Call, error]
	connections func() iter.Seq2[*traffic.Connection, error]
}

// rowsOf are those of the newest dissection of a snapshot, or of one that is made now and not kept.
func (s *Session) rowsOf(ctx context.Context, sn *store.Snapshot) (rowsFrom, error) {
	held := func(d *traffic.Dissection) rowsFrom { return rowsFrom{each(d.Calls), each(d.Connections)} }
	list := sn.Dissections()
	if len(list) > 0 {
		newest := list[len(list)-1]
		if d := s.rows.get(sn.Window.Iteration); d != nil && newest.Name == store.DefaultDissection {
			return held(d), nil
		}
		return rowsFrom{
			func() iter.Seq2[*traffic.Call, error] { return store.ReadCalls(newest.CallsPath()) },
			func() iter.Seq2[*traffic.Connection, error] { return store.ReadConnections(newest.ConnectionsPath()) },
		}, nil
	}
	o, err := s.dissectOptions(ctx)
	if err != nil {
		return rowsFrom{}, &control.Error{What: err.Error(), Hint: "mend protos in devloop.yaml", Exit: control.ExitUsage}
	}
	d, err := sn.Dissect(ctx, o)
	if err != nil {
		return rowsFrom{}, err
	}
	return held(d), nil
}

// exportName makes up a name that no file has.
func (s *Session) exportName(id string, o *store.ExportOptions) string {
	if o.Raw {
		id += "-raw"
	}
	return s.store.FreeExport(id, "."+o.Format)
}

// CaptureTraffic opens a window over running traffic, and returns at once.
func (s *Session) CaptureTraffic(ctx context.Context, r query.CaptureTrafficRequest) (*query.CaptureTrafficAnswer, error) {
	d := time.Minute
	if r.Duration != "" {
		var err error
		if d, err = time.ParseDuration(r.Duration); err != nil || d <= 0 || d > maxCaptureTime {
			return nil, control.Usagef("such as 30s or 5m; 1h at most", fmt.Sprintf("duration %q is none", r.Duration))
		}
	}
	f, err := compiled(r.Filter)
	if err != nil {
		return nil, err
	}
	name, err := s.newName(r.Name, "c")
	if err != nil {
		return nil, err
	}
	w, release, err := s.hire()
	if err != nil {
		return nil, err
	}
	hold := w.recorder.Hold(w.recorder.Current().Seq)
	now := time.Now()
	x := &making{info: query.SnapshotInfo{
		ID: name, Name: name, Status: inProgress, Created: now.UnixMilli(), Start: now.UnixMilli(), End: now.Add(d).UnixMilli(), Duration: d.String(),
		Source: w.sourceName(), Filter: f.Source(), Dissections: []string{}, Note: "its window is open",
	}, early: make(chan struct{}), done: make(chan struct{})}
	if err := s.makings.begin(x); err != nil {
		hold()
		release()
		return nil, err
	}
	go func() {
		defer release()
		defer hold()
		defer close(x.done)
		s.makings.end(x, s.awaitWindow(w, x, now, d, f.Source()))
	}()
	return &query.CaptureTrafficAnswer{
		Handle: name, Status: inProgress, Filter: f.Rewritten(), Start: now.UnixMilli(), End: now.Add(d).UnixMilli(),
		Next: "drive the services; then export_pcap with this handle, or start_snapshot_dissection once get_snapshot says completed",
	}, nil
}

// awaitWindow waits until a window over running traffic is over, and makes its snapshot.
func (s *Session) awaitWindow(w *wire, x *making, began time.Time, d time.Duration, kfl string) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-x.early:
	case <-w.running.Done():
		return &control.Error{What: "the capture ended before the window did", Hint: "devloop run", Exit: control.ExitEnvironment}
	}
	ended := time.Now()
	err := s.cut(w.running, w, x, began.UnixNano(), ended.UnixNano(), nil, kfl)
	var known *control.Error
	if errors.As(err, &known) && strings.HasPrefix(known.What, "nothing was recorded") {
		known.What, known.Hint = "nothing was captured while the window was open", "drive the services in it"
	}
	return err
}

// ExportPCAP writes the packets of a window into a file. A window over running traffic ends with it.
func (s *Session) ExportPCAP(ctx context.Context, r query.ExportCaptureRequest) (*query.PCAPAnswer, error) {
	if r.Handle != "" && r.Window != "" {
		return nil, control.Usagef("give one of them", "handle and window are given both")
	}
	if _, err := ExportOptions(r.PacketSelection); err != nil { // before anything is ended
		return nil, err
	}
	id := cmp.Or(r.Handle, r.Window)
	if id == "" {
		it, err := s.sealed("")
		if err != nil {
			return nil, err
		}
		id = it.Snapshot
	}
	if s.openWindow(id) {
		return nil, control.Usagef("window_close ends and judges it; then again", fmt.Sprintf("window %s is open", id))
	}
	if x, info := s.makings.find(id); x != nil && info.Status == inProgress {
		if x.early != nil {
			x.once.Do(func() { close(x.early) })
		}
		select {
		case <-x.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return s.export(ctx, id, r.PacketSelection)
}

// openWindow reports whether an iteration is under way.
func (s *Session) openWindow(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current != nil && s.current.ID == id
}
