package store

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/traffic"
)

// TestACutSnapshotOfOneNode seals whole segments, of which a window and a node belong to the snapshot.
func TestACutSnapshotOfOneNode(t *testing.T) {
	t.Parallel()
	s := opened(t, Options{})
	r, err := capture.NewRecorder(s.RingDir(), capture.RecorderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	nodes := []traffic.Interface{
		{Index: 0, Name: "a", Link: traffic.LinkRaw, Workload: &traffic.Workload{Pod: "a", Node: "n1"}},
		{Index: 1, Name: "b", Link: traffic.LinkRaw, Workload: &traffic.Workload{Pod: "b", Node: "n2"}},
	}
	all := numbered(20)
	for i := range all {
		if err := r.Write(&all[i], &nodes[all[i].Interface]); err != nil {
			t.Fatal(err)
		}
	}
	seg, err := r.Rotate(capture.Stats{})
	if err != nil {
		t.Fatal(err)
	}
	sn, err := s.Seal(t.Context(), SealRequest{ID: "x", Segments: []capture.Segment{seg}, WindowStart: all[4].Time, WindowEnd: all[14].Time, Cut: true, Nodes: []string{"n1"}, On: []string{"n1", "n2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer sn.Close()
	for _, c := range []struct {
		what string
		o    ExportOptions
		want []uint64 // numbers of all packets, from 1
	}{
		{"the window", ExportOptions{}, []uint64{5, 7, 9, 11, 13}},
		{"less of it", ExportOptions{Start: all[6].Time, End: all[10].Time}, []uint64{7, 9}},
		{"more than it", ExportOptions{Start: all[0].Time, End: all[19].Time}, []uint64{5, 7, 9, 11, 13}},
		{"another node", ExportOptions{Nodes: []string{"n2"}}, nil},
		{"a test of packets", ExportOptions{Match: func(p *traffic.Packet) bool { return p.Data[3] < 8 }}, []uint64{5, 7}},
	} {
		var out bytes.Buffer
		n, err := sn.Export(t.Context(), &out, c.o)
		if err != nil || n != uint64(len(c.want)) {
			t.Errorf("%s: %d packets, %v; want %v", c.what, n, err, c.want)
			continue
		}
		p := pcapfile.NewReader(&out)
		var pkt traffic.Packet
		for _, want := range c.want {
			if err := p.Next(&pkt); err != nil || pkt.Time != all[want-1].Time {
				t.Errorf("%s: packet at %d, %v; want number %d", c.what, pkt.Time-all[0].Time, err, want)
			}
		}
	}
}

func TestExportsStayWhereTheyBelong(t *testing.T) {
	t.Parallel()
	s := opened(t, Options{})
	text := func(x string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, x); return err }
	}
	e, err := s.WriteExport("a.csv", false, text("one"))
	if err != nil || e.Path != "exports/a.csv" || e.Size != 3 {
		t.Fatalf("export: %+v, %v", e, err)
	}
	if _, err := s.WriteExport("a.csv", false, text("two")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second one of that name: %v", err)
	}
	if b, err := os.ReadFile(e.File); err != nil || string(b) != "one" {
		t.Errorf("the first one is %q, %v", b, err)
	}
	if _, err := s.WriteExport("a.csv", true, text("three")); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"", "../a", "a/b", "/a", ".a", "..", `a\b`, "a\x00", strings.Repeat("a", 200)} {
		if e, err := s.WriteExport(name, true, text("x")); err == nil {
			t.Errorf("%q was written to %s", name, e.File)
		}
	}
	broken := errors.New("broken")
	if _, err := s.WriteExport("b.csv", false, func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("a writer that fails: %v", err)
	}
	entries, err := os.ReadDir(filepath.Join(s.Dir(), ExportsName))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
	if name := s.FreeExport("a", ".csv"); name != "a-2.csv" {
		t.Errorf("a free name: %s", name)
	}
}

// TestWhatWasAskedForStaysLonger deletes iterations before snapshots that somebody made.
func TestWhatWasAskedForStaysLonger(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	s := opened(t, Options{MaxSize: 1, Now: func() time.Time { now = now.Add(time.Second); return now }})
	for _, id := range []string{"mine", "i1", "i2"} {
		iteration := id
		if id == "mine" {
			iteration = ""
		}
		sn, err := s.Seal(t.Context(), SealRequest{ID: id, Iteration: iteration, WindowStart: 1, WindowEnd: 2})
		if err != nil {
			t.Fatal(err)
		}
		sn.Close()
	}
	gone, err := s.Retain()
	if err != nil || strings.Join(gone, " ") != "i1 mine" {
		t.Errorf("gone in this order: %v, %v", gone, err)
	}
}

func TestNamedDissections(t *testing.T) {
	t.Parallel()
	s := opened(t, Options{})
	sn := sealed(t, s, "i1", recorded(t, s, numbered(3)))
	d := &traffic.Dissection{Calls: []*traffic.Call{{ID: "local/a/0", Protocol: traffic.ProtoHTTP, State: traffic.StateComplete}}, Account: traffic.Account{Packets: 3}}
	for _, err := range []error{sn.WriteDissection(t.Context(), d), sn.WriteDissectionAs(t.Context(), "one", d), sn.WriteDissectionAs(t.Context(), "two", d)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := sn.WriteDissectionAs(t.Context(), "one", d); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a name twice: %v", err)
	}
	if err := sn.WriteDissectionAs(t.Context(), "../x", d); err == nil {
		t.Error("a name with a folder")
	}
	if err := sn.DeleteDissection(DefaultDissection); !errors.Is(err, ErrJudged) {
		t.Errorf("the iteration's own: %v", err)
	}
	if err := sn.DeleteDissection("one"); err != nil {
		t.Error(err)
	}
	if err := sn.DeleteDissection("one"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("deleted twice: %v", err)
	}
	var names []string
	for _, d := range sn.Dissections() {
		names = append(names, d.Name)
	}
	if got := strings.Join(names, " "); got != "dissection two" {
		t.Errorf("dissections: %s", got)
	}
	two, err := sn.Dissection("two")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := two.Entries(); err != nil || n != 1 {
		t.Errorf("%d entries, %v", n, err)
	}
	if counts, err := CountProtocols(two.CallsPath()); err != nil || counts["http"] != 1 {
		t.Errorf("protocols: %v, %v", counts, err)
	}
	if rows, err := two.Read(); err != nil || len(rows.Calls) != 1 || rows.Account.Packets != 3 {
		t.Errorf("rows: %+v, %v", rows, err)
	}
	if err := sn.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(two.ConnectionsPath(), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sn.Verify(t.Context()); err == nil || !strings.Contains(err.Error(), "dissection two") {
		t.Errorf("a changed dissection: %v", err)
	}
}
