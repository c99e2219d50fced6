package devloop

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// replayed is an environment whose packets come from capture files.
type replayed struct {
	environment
	source *playback
}

func (r replayed) Name() string                                                { return "local" }
func (r replayed) Identities() []traffic.Identity                              { return nil }
func (r replayed) Warnings() []string                                          { return nil }
func (r replayed) Mode() (string, string)                                      { return "netns", "" }
func (r replayed) Running() []control.ServiceStatus                            { return nil }
func (r replayed) Close(context.Context) error                                 { return nil }
func (r replayed) Down(context.Context, bool) error                            { return nil }
func (r replayed) CaptureStatus(context.Context, *control.CaptureStatus) error { return nil }
func (r replayed) Capture(context.Context, string, func(error), *slog.Logger) (capture.Source, string, error) {
	return r.source, "", nil
}

// playback is a capture source that delivers what it is given.
type playback struct {
	ifaces []traffic.Interface
	in     chan []traffic.Packet
	done   chan struct{}
}

func (r *playback) Name() string                    { return "file" }
func (r *playback) Interfaces() []traffic.Interface { return r.ifaces }
func (r *playback) Flush(context.Context) error     { return nil }
func (r *playback) Stats() capture.Stats            { return capture.Stats{Interfaces: r.ifaces} }
func (r *playback) Close() error                    { return nil }

func (r *playback) Run(ctx context.Context, emit func(*traffic.Packet)) error {
	for {
		select {
		case packets := <-r.in:
			for i := range packets {
				emit(&packets[i])
			}
			r.done <- struct{}{}
		case <-ctx.Done():
			return nil
		}
	}
}

// send delivers packets that passed one after the other from a time on, and returns when they are recorded.
func (r *playback) send(packets []traffic.Packet, at time.Time) {
	shifted := make([]traffic.Packet, len(packets))
	for i, p := range packets {
		p.Time = at.UnixNano() + int64(i)*1000 // all of them before now
		shifted[i] = p
	}
	r.in <- shifted
	<-r.done
	for last := shifted[len(shifted)-1].Time; time.Now().UnixNano() <= last; {
		time.Sleep(time.Microsecond)
	}
}

// loaded reads the packets of a capture of dissect's tests.
func loaded(t testing.TB, name string) (packets []traffic.Packet, ifaces []traffic.Interface) {
	t.Helper()
	r, err := pcapfile.Open(filepath.Join("..", "dissect", "testdata", name, "input.pcapng"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var p traffic.Packet
	for err = r.Next(&p); err == nil; err = r.Next(&p) {
		own := p
		own.Data = append([]byte(nil), p.Data...)
		packets = append(packets, own)
	}
	if err != io.EOF {
		t.Fatal(err)
	}
	return packets, r.Interfaces()
}

// listening is a session that captures what the returned source is given.
func listening(t testing.TB, ifaces []traffic.Interface) (*Session, *playback) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "devloop.yaml"), []byte("version: 1\nservices:\n  a:\n    command: \"true\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Workspace: dir})
	if err != nil {
		t.Fatal(err)
	}
	src := &playback{ifaces: ifaces, in: make(chan []traffic.Packet), done: make(chan struct{})}
	env := replayed{source: src}
	w, err := newWire(t.Context(), env, s.store, 64<<20, s.options, s.log)
	if err != nil {
		t.Fatal(err)
	}
	s.env, s.wire = env, w
	t.Cleanup(func() {
		s.jobs.close()
		if err := s.end(context.Background(), func(environment) error { return nil }); err != nil {
			t.Error(err)
		}
	})
	return s, src
}

// until polls with a deadline.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// made waits for a snapshot.
func made(t testing.TB, s *Session, id string) *query.SnapshotInfo {
	t.Helper()
	var info *query.SnapshotInfo
	until(t, "snapshot "+id, func() bool {
		var err error
		if info, err = s.GetSnapshot(t.Context(), query.SnapshotRequest{ID: id, Verify: true}); err != nil {
			t.Fatal(err)
		}
		return info.Status != inProgress
	})
	if info.Status != completed || !info.Verified {
		t.Fatalf("snapshot %s: %+v", id, info)
	}
	return info
}

// told are the calls of a database from a time on, in short.
func told(t testing.TB, s *Session, scope query.Scope, from int64) (calls []string) {
	t.Helper()
	db, release, err := s.database(t.Context(), scope)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	for c, err := range db.ReadCalls() {
		if err != nil {
			t.Fatal(err)
		}
		if c.Start >= from {
			calls = append(calls, fmt.Sprintf("%s %s %s %d %s", c.ID, c.Method, c.Path, c.Status, c.State))
		}
	}
	return calls
}

func TestAConnectionThatWasOpenBeforeTheSnapshotIsRead(t *testing.T) {
	t.Parallel()
	packets, ifaces := loaded(t, "http2")
	s, src := listening(t, ifaces)
	half := len(packets) / 2
	began := time.Now()
	src.send(packets[:half], began)
	if _, err := s.wire.rotate(t.Context()); err != nil { // the window begins in another segment
		t.Fatal(err)
	}
	until(t, "another millisecond", func() bool { return time.Now().UnixMilli() > began.UnixMilli()+500 })
	middle := time.Now()
	src.send(packets[half:], middle)
	all := told(t, s, query.Scope{DB: query.Live}, 0)
	live := told(t, s, query.Scope{DB: query.Live}, middle.UnixMilli()*1e6)
	if len(all) < 4 || len(live) == 0 || len(live) == len(all) {
		t.Fatalf("the capture is of no use: %d calls, of which %d in the second half", len(all), len(live))
	}
	a, err := s.CreateSnapshot(t.Context(), query.CreateSnapshotRequest{Name: "second-half", Start: middle.UnixMilli(), End: time.Now().UnixMilli() + 1})
	if err != nil {
		t.Fatal(err)
	}
	if a.Status != inProgress {
		t.Errorf("answer: %+v", a)
	}
	info := made(t, s, "second-half")
	if info.Packets == 0 || info.NodeCount != 1 || len(info.Dissections) != 0 {
		t.Errorf("snapshot: %+v", info)
	}
	isLink(t, s, "second-half")
	j, err := s.StartDissection(t.Context(), query.StartDissectionRequest{Snapshot: "second-half", Name: "analysis-1"})
	if err != nil {
		t.Fatal(err)
	}
	done := dissected(t, s, j.ID)
	if done.Status != completed || done.Progress != 100 || done.Stats.Protocols["http2"]+done.Stats.Protocols["http"] == 0 {
		t.Fatalf("dissection: %+v", done)
	}
	got := told(t, s, query.Scope{DB: "second-half/analysis-1"}, middle.UnixMilli()*1e6)
	if diff := cmp.Diff(live, got); diff != "" {
		t.Errorf("dissected live and from the snapshot (-live +snapshot):\n%s", diff)
	}
	if n := uint64(len(told(t, s, query.Scope{Snapshot: "second-half"}, 0))); n != done.Stats.Entries {
		t.Errorf("%d entries said, %d there", done.Stats.Entries, n)
	}
	databases, err := s.ListDatabases(t.Context(), query.DatabasesRequest{})
	if err != nil || len(databases.Databases) != 2 || databases.Databases[1].DB != "second-half/analysis-1" || databases.Databases[0].Entries != int64(len(all)) {
		t.Errorf("databases: %+v, %v", databases, err)
	}
	if _, err := s.DeleteDissection(t.Context(), query.DissectionRequest{ID: j.ID}); err != nil {
		t.Error(err)
	}
	if _, err := s.DeleteSnapshot(t.Context(), query.SnapshotRequest{Name: "second-half"}); err != nil {
		t.Error(err)
	}
	refuses(t, "get a deleted one", second(s.GetSnapshot(t.Context(), query.SnapshotRequest{ID: "second-half"})), "there is none", "list_snapshots")
}

func second[T any](_ T, err error) error { return err }

// isLink says that a snapshot's packets are not copied.
func isLink(t *testing.T, s *Session, id string) {
	t.Helper()
	sn, err := s.store.Snapshot(id)
	if err != nil {
		t.Fatal(err)
	}
	defer sn.Close()
	for _, name := range sn.Window.Segments {
		_, number, _ := strings.Cut(name, "-")
		ours, err1 := os.Stat(filepath.Join(sn.Dir(), name))
		ring, err2 := os.Stat(filepath.Join(s.store.RingDir(), number))
		if err := errors.Join(err1, err2); err != nil || !os.SameFile(ours, ring) {
			t.Errorf("segment %s is a copy: %v", name, err)
		}
	}
}

func dissected(t testing.TB, s *Session, id string) (d *query.DissectionJob) {
	t.Helper()
	until(t, "dissection "+id, func() bool {
		var err error
		if d, err = s.GetDissectionJob(t.Context(), query.DissectionRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
		return !d.Active
	})
	return d
}

func TestTheFollowerReadsAheadAndWindowsStayWhatTheyAre(t *testing.T) {
	t.Parallel()
	packets, ifaces := loaded(t, "http2")
	s, src := listening(t, ifaces)
	third := len(packets) / 3
	src.send(packets[:third], time.Now())
	until(t, "the growing segment is read", func() bool { return s.wire.follower.packets() == uint64(third) })
	seal := func(id string, ow *openWindow) []string {
		it := &traffic.Iteration{ID: id, Revision: "r1"}
		if err := s.wire.seal(t.Context(), ow, it, nil); err != nil {
			t.Fatal(err)
		}
		defer ow.snapshot.Close()
		d, err := ow.snapshot.Dissect(t.Context(), DissectOptions())
		if err != nil {
			t.Fatal(err)
		}
		var calls []string
		for _, c := range d.Calls {
			if c.State != traffic.StateOpen {
				calls = append(calls, fmt.Sprintf("%s %s %s %d %s", c.ID, c.Method, c.Path, c.Status, c.State))
			}
		}
		return calls
	}
	before := told(t, s, query.Scope{}, 0)
	one, err := s.wire.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	src.send(packets[third:2*third], time.Now())
	until(t, "the second window is read", func() bool { return s.wire.follower.packets() == uint64(2*third) })
	windows := seal("i1", one)
	two, err := s.wire.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	src.send(packets[2*third:], time.Now())
	windows = append(windows, seal("i2", two)...)
	if len(windows) < 3 {
		t.Fatalf("the capture is of no use: %q", windows)
	}
	if diff := cmp.Diff(told(t, s, query.Scope{DB: query.Live}, 0), append(before, windows...)); diff != "" {
		t.Errorf("live, and window by window (-live +windows):\n%s", diff)
	}
}

func TestExports(t *testing.T) {
	t.Parallel()
	packets, ifaces := loaded(t, "http2")
	s, src := listening(t, ifaces)
	handle, err := s.CaptureTraffic(t.Context(), query.CaptureTrafficRequest{Duration: "1h", Filter: "http"})
	if err != nil {
		t.Fatal(err)
	}
	src.send(packets, time.Now())
	a, err := s.ExportPCAP(t.Context(), query.ExportCaptureRequest{Handle: handle.Handle}) // and the window ends
	if err != nil {
		t.Fatal(err)
	}
	if a.Packets != uint64(len(packets)) || !a.Masked || a.Path != "exports/"+handle.Handle+".pcapng" {
		t.Errorf("export of the window: %+v", a)
	}
	same := func(a *query.PCAPAnswer) int {
		t.Helper()
		b, err := os.ReadFile(a.File)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != a.SHA256 || int64(len(b)) != a.Size {
			t.Errorf("%s has other bytes than the answer says", a.Path)
		}
		if info, err := os.Stat(a.File); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", a.File, info.Mode(), err)
		}
		g, err := capture.ReadSegment(a.File)
		if err != nil || g.Packets != a.Packets {
			t.Errorf("%s has %d packets of %d: %v", a.Path, g.Packets, a.Packets, err)
		}
		return int(g.Packets)
	}
	same(a)
	id := handle.Handle
	export := func(p query.PacketSelection) *query.PCAPAnswer {
		t.Helper()
		a, err := s.ExportSnapshotPCAP(t.Context(), query.ExportPCAPRequest{ID: id, PacketSelection: p})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if again := export(query.PacketSelection{}); again.Path == a.Path || same(again) != len(packets) {
		t.Errorf("a second export: %+v", again)
	}
	if n := same(export(query.PacketSelection{BPF: "tcp", Format: "pcap", File: "x.pcap"})); n != len(packets) {
		t.Errorf("pcap has %d packets", n)
	}
	out, in := same(export(query.PacketSelection{BPF: fmt.Sprintf("src port %d", port(packets, 0))})), same(export(query.PacketSelection{BPF: fmt.Sprintf("not src port %d", port(packets, 0))}))
	if out == 0 || in == 0 || out+in != len(packets) {
		t.Errorf("BPF: %d and %d packets of %d", out, in, len(packets))
	}
	if none := export(query.PacketSelection{KFL: `http && request.path == "/not-in-this-capture"`}); none.Packets != 0 || !strings.Contains(none.Why, "none of the snapshot's") {
		t.Errorf("a filter that matches nothing: %+v", none)
	}
	if later := export(query.PacketSelection{StartTime: time.Now().UnixMilli() + 60000}); later.Packets != 0 || later.Why == "" {
		t.Errorf("a window without packets: %+v", later)
	}
	for _, bad := range []struct {
		p          query.PacketSelection
		what, hint string
	}{
		{query.PacketSelection{BPF: "host 10.0.0.1 and prt 80"}, "column 19", "understood:"},
		{query.PacketSelection{KFL: "status_code >"}, "status_code >", "kfl explain"},
		{query.PacketSelection{File: "x.pcap"}, "already", "overwrite"},
		{query.PacketSelection{File: "../x.pcap"}, "no folder", "a name such as"},
		{query.PacketSelection{File: "/etc/x"}, "no folder", "a name such as"},
		{query.PacketSelection{Format: "csv"}, `format "csv"`, "pcapng or pcap"},
		{query.PacketSelection{Nodes: []string{"worker-7"}}, `node "worker-7"`, "nodes of the snapshot: local"},
		{query.PacketSelection{StartTime: 5, EndTime: 4}, "window from 5 to 4", "Unix milliseconds"},
	} {
		refuses(t, fmt.Sprintf("%+v", bad.p), second(s.ExportSnapshotPCAP(t.Context(), query.ExportPCAPRequest{ID: id, PacketSelection: bad.p})), bad.what, bad.hint)
	}
	refuses(t, "unknown", second(s.ExportSnapshotPCAP(t.Context(), query.ExportPCAPRequest{ID: "nobody"})), "there is none", handle.Handle)
	if over := export(query.PacketSelection{File: "x.pcap", Overwrite: true}); same(over) != len(packets) {
		t.Errorf("overwrite: %+v", over)
	}
}

// port is the source port of a packet's TCP header.
func port(packets []traffic.Packet, i int) int {
	l := 20
	if packets[i].Data[0]>>4 == 6 {
		l = 40
	}
	return int(packets[i].Data[l])<<8 | int(packets[i].Data[l+1])
}

// refuses wants a user's error with a sentence and the next step.
func refuses(t *testing.T, what string, err error, sentence, hint string) {
	t.Helper()
	var e *control.Error
	if !errors.As(err, &e) || e.Exit != control.ExitUsage || !strings.Contains(e.What, sentence) || !strings.Contains(e.Hint, hint) {
		t.Errorf("%s: %#v; want an error of the user with %q and hint %q", what, err, sentence, hint)
	}
}

func TestBadSnapshots(t *testing.T) {
	t.Parallel()
	packets, ifaces := loaded(t, "get")
	s, src := listening(t, ifaces)
	create := func(r query.CreateSnapshotRequest) error { return second(s.CreateSnapshot(t.Context(), r)) }
	refuses(t, "an empty ring", create(query.CreateSnapshotRequest{Duration: "1m"}), "nothing has been recorded", "devloop run")
	src.send(packets, time.Now())
	if err := create(query.CreateSnapshotRequest{Name: "a", Duration: "1m"}); err != nil {
		t.Fatal(err)
	}
	if info := made(t, s, "a"); !strings.Contains(info.Duration, "1m") {
		t.Errorf("snapshot: %+v", info)
	}
	now := time.Now().UnixMilli()
	for _, bad := range []struct {
		r          query.CreateSnapshotRequest
		what, hint string
	}{
		{query.CreateSnapshotRequest{}, "no beginning", `"30m"`},
		{query.CreateSnapshotRequest{Duration: "soon"}, `duration "soon"`, `"30m"`},
		{query.CreateSnapshotRequest{Duration: "-1m"}, `duration "-1m"`, `"30m"`},
		{query.CreateSnapshotRequest{Duration: "1m", Start: now}, "both", "start and end"},
		{query.CreateSnapshotRequest{Start: now, End: now - 1}, "is empty", "Unix milliseconds"},
		{query.CreateSnapshotRequest{Start: now + 60000}, "is empty", "Unix milliseconds"},
		{query.CreateSnapshotRequest{Start: 1, End: 2}, "the recording begins at", "get_data_boundaries"},
		{query.CreateSnapshotRequest{Duration: "1m", Name: "a"}, "already", "delete_snapshot"},
		{query.CreateSnapshotRequest{Duration: "1m", Name: "../a"}, "letters, digits", "frontend-analysis"},
		{query.CreateSnapshotRequest{Duration: "1m", Name: "i7"}, "an iteration's", "another name"},
		{query.CreateSnapshotRequest{Duration: "1m", Nodes: []string{"worker-7"}}, `node "worker-7"`, "local"},
	} {
		refuses(t, fmt.Sprintf("%+v", bad.r), create(bad.r), bad.what, bad.hint)
	}
	refuses(t, "delete nobody", second(s.DeleteSnapshot(t.Context(), query.SnapshotRequest{ID: "nobody"})), "delete snapshot nobody", "devloop snapshot list")
	for _, scope := range []query.Scope{{DB: "nobody/x"}, {DB: "a"}, {DB: "a/x"}, {DB: "a/b/c"}, {DB: "live/x"}, {Snapshot: "nobody"}, {DB: "a/x", Snapshot: "b"}} {
		if _, _, err := s.database(t.Context(), scope); err == nil {
			t.Errorf("database %+v: no error", scope)
		} else {
			refuses(t, fmt.Sprintf("%+v", scope), err, "", "")
		}
	}
	list, err := s.ListSnapshots(t.Context(), query.SnapshotsRequest{})
	if err != nil || list.Total != 1 || list.Snapshots[0].ID != "a" {
		t.Errorf("list: %+v, %v", list, err)
	}
	refuses(t, "limit", second(s.ListSnapshots(t.Context(), query.SnapshotsRequest{Limit: 1001})), "out of range", "1 to 1000")
	b, err := s.GetDataBoundaries(t.Context(), query.BoundariesRequest{})
	if err != nil || b.Cluster.Oldest == 0 || b.Cluster.Newest < b.Cluster.Oldest || len(b.Nodes) != 1 || b.Nodes[0].Name != store.LocalNode {
		t.Errorf("boundaries: %+v, %v", b, err)
	}
}

func TestNobodyAsks(t *testing.T) {
	t.Parallel()
	packets, ifaces := loaded(t, "get")
	s, src := listening(t, ifaces)
	l := s.wire.live
	src.send(packets, time.Now())
	until(t, "a live call", func() bool { return len(told(t, s, query.Scope{}, 0)) > 0 })
	l.mu.Lock()
	l.asked -= int64(liveIdle) + 1
	l.mu.Unlock()
	if st, err := s.GetDissectionStatus(t.Context(), query.DissectionStatusRequest{}); err != nil || st.Enabled || st.State != liveIdly || st.Calls != 0 {
		t.Errorf("after five minutes: %+v, %v", st, err)
	}
	db, _, err := s.database(t.Context(), query.Scope{})
	if err != nil || !strings.Contains(db.Empty, "nobody asked") || len(db.Calls) != 0 {
		t.Errorf("the question after it: %q, %d calls, %v", db.Empty, len(db.Calls), err)
	}
	if _, err := s.DisableDissection(t.Context(), query.DissectionStatusRequest{}); err != nil {
		t.Fatal(err)
	}
	src.send(packets, time.Now())
	if db, _, err = s.database(t.Context(), query.Scope{}); err != nil || !strings.Contains(db.Empty, "switched off") {
		t.Errorf("switched off: %q, %v", db.Empty, err)
	}
	if st, err := s.EnableDissection(t.Context(), query.DissectionStatusRequest{}); err != nil || !st.Enabled {
		t.Errorf("switched on: %+v, %v", st, err)
	}
}

func TestJobs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jobs.json")
	entered, leave := make(chan string), make(chan error)
	run := func(ctx context.Context, x *job) error {
		entered <- x.ID
		select {
		case err := <-leave:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	j := newJobs(path, slog.New(slog.DiscardHandler), run)
	add := func(name string) error {
		return j.add(query.DissectionJob{ID: "s/" + name, Snapshot: "s", Name: name, Status: jobPending, Active: true})
	}
	status := func(j *jobs) map[string]string {
		m := map[string]string{}
		for _, d := range j.all() {
			m[d.Name] = d.Status + " " + strings.Join(d.Errors, "; ")
		}
		return m
	}
	for i := range maxQueued + 1 {
		if err := add(fmt.Sprint("d", i)); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			<-entered
		}
	}
	var full *control.Error
	if err := add("more"); !errors.As(err, &full) || !strings.Contains(full.What, "wait already") {
		t.Errorf("one too many: %v", err)
	}
	refuses(t, "the same again", add("d3"), "already", "another name")
	for i := 3; i <= maxQueued; i++ {
		if !j.halt(fmt.Sprint("s/d", i)) {
			t.Errorf("d%d did not wait", i)
		}
	}
	leave <- errors.New("no room")
	<-entered
	if !j.halt("s/d1") {
		t.Error("d1 does not run")
	}
	<-entered // d2
	if s := status(j); s["d0"] != "failed no room" || s["d1"] != "cancelled it was stopped" || !strings.HasPrefix(s["d4"], "cancelled it was stopped before") || !strings.HasPrefix(s["d2"], "running") {
		t.Errorf("jobs: %q", s)
	}
	crashed := newJobs(path, slog.New(slog.DiscardHandler), run) // what the next daemon finds after a crash
	if s := status(crashed); !strings.HasPrefix(s["d2"], "failed the daemon ended while it ran") {
		t.Errorf("after a crash: %q", s)
	}
	j.close()
	if s := status(newJobs(path, slog.New(slog.DiscardHandler), run)); !strings.HasPrefix(s["d2"], "failed the daemon ended") {
		t.Errorf("after the end: %q", s)
	}
}

// BenchmarkLiveQuery says how long a call takes from its last packet to the answer that has it, as a share of the 500 ms
// that are promised, while many calls are kept.
func BenchmarkLiveQuery(b *testing.B) {
	packets, ifaces := loaded(b, "get")
	for _, kept := range []int{0, 20000} {
		b.Run(fmt.Sprintf("kept=%d", kept), func(b *testing.B) {
			worst := time.Duration(0)
			for range b.N {
				b.StopTimer()
				s, src := listening(b, ifaces)
				for i := range kept { // a hundred a second, which were asked for before
					at := time.Now().UnixNano() - int64(kept-i)*1e7
					s.wire.live.call(&traffic.Call{ID: fmt.Sprint("local/x/", i), ConnID: 1, Protocol: traffic.ProtoHTTP, State: traffic.StateComplete,
						Method: "GET", Path: fmt.Sprint("/items/", i), Status: 200, Start: at, End: at + 1e6, HTTP: &traffic.HTTP{}})
				}
				_, release, err := s.database(b.Context(), query.Scope{DB: query.Live})
				if err != nil {
					b.Fatal(err)
				}
				release()
				b.StartTimer()
				began := time.Now()
				src.send(packets, began)
				for n := 0; n <= kept; {
					db, release, err := s.database(b.Context(), query.Scope{DB: query.Live})
					if err != nil {
						b.Fatal(err)
					}
					n = len(db.Calls)
					release()
				}
				worst = max(worst, time.Since(began))
			}
			b.ReportMetric(float64(worst)/float64(500*time.Millisecond), "of-500ms")
		})
	}
}
