package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// bothWays compares what two readings store with what one that holds all rows finds.
func bothWays(t *testing.T, sn *Snapshot) {
	t.Helper()
	want, err := sn.Dissect(t.Context(), dissect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := sn.WriteDissectionAs(t.Context(), "held", want); err != nil {
		t.Fatal(err)
	}
	held := readAs(t, sn, "held")
	var told Progress
	if err := sn.DissectInto(t.Context(), "twice", dissect.Options{}, func(p Progress) { told = p }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(held, readAs(t, sn, "twice"), sameAddrs); diff != "" {
		t.Errorf("%s: (-held +read twice):\n%.4000s", sn.ID(), diff)
	}
	if told.Calls != uint64(len(want.Calls)) || want.Account.Packets > 0 && told.Part < 0.5 {
		t.Errorf("%s: told %+v of %d calls", sn.ID(), told, len(want.Calls))
	}
	tight := bounds{facts: len(want.Calls) / 2, rows: 2, bytes: 100}
	if err := sn.dissectInto(t.Context(), "tight", dissect.Options{}, nil, tight); err != nil {
		t.Fatal(err)
	}
	got := readAs(t, sn, "tight")
	if got.Account.Underived != uint64(len(want.Calls)-tight.facts) {
		t.Errorf("%s: %d calls are beyond the bound, want %d", sn.ID(), got.Account.Underived, len(want.Calls)-tight.facts)
	}
	byBegin(held)
	byBegin(got)
	derived := cmpopts.IgnoreFields(traffic.Call{}, "Parent", "ParentBy", "ParentCandidates", "Depth", "SelfNS", "Route", "Retry")
	if diff := cmp.Diff(held, got, sameAddrs, derived, cmpopts.IgnoreFields(traffic.Account{}, "Underived")); diff != "" {
		t.Errorf("%s: within tight bounds (-held +read twice):\n%.4000s", sn.ID(), diff)
	}
}

func byBegin(d *traffic.Dissection) {
	slices.SortStableFunc(d.Calls, beganBefore)
	slices.SortStableFunc(d.Connections, openedBefore)
}

func readAs(t *testing.T, sn *Snapshot, name string) *traffic.Dissection {
	t.Helper()
	d, err := sn.Dissection(name)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := d.Read()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// secretAndLoss is a snapshot of a connection of which packets were lost, and of a path with a token in it.
func secretAndLoss(t *testing.T, s *Store, id string) *Snapshot {
	t.Helper()
	c := newTalk(t, 40003, 1e18)
	c.request("GET /pay/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg HTTP/1.1\r\nHost: a\r\n\r\n")
	c.respond(answered)
	c.finish()
	r, err := capture.NewRecorder(s.RingDir(), capture.RecorderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range c.packets {
		if err := r.Write(&c.packets[i], &interfaces[c.packets[i].Interface]); err != nil {
			t.Fatal(err)
		}
	}
	lost := slices.Clone(interfaces)
	lost[0].Dropped = 3
	lost[0].Lost = []traffic.FlowLoss{{Src: netip.MustParseAddrPort("10.0.0.1:40003"), Dst: netip.MustParseAddrPort("10.0.0.2:8080"), Proto: "tcp", Packets: 3}}
	segment, err := r.Rotate(capture.Stats{Dropped: 3, Interfaces: lost})
	if err != nil {
		t.Fatal(err)
	}
	return sealed(t, s, id, []capture.Segment{segment})
}

// TestDissectInto compares the two ways on a small snapshot, its failures, and a window that was cut out.
func TestDissectInto(t *testing.T) {
	t.Parallel()
	s := opened(t, Options{})
	bothWays(t, exchanged(t, s, "i1"))
	lossy := secretAndLoss(t, s, "i0")
	bothWays(t, lossy)
	d := readAs(t, lossy, "twice")
	if c := d.Calls[0]; d.Connections[0].Lost != 3 || strings.Contains(c.Path+c.Route, "eyJ") || !strings.Contains(c.Path, "redacted") {
		t.Errorf("%d packets lost, and %s as %s", d.Connections[0].Lost, c.Path, c.Route)
	}

	sn := sealed(t, s, "i2", recorded(t, s, newTalk(t, 40009, 1e18).packets))
	if err := sn.DissectInto(t.Context(), "../x", dissect.Options{}, nil); err == nil {
		t.Error("a name with a folder")
	}
	for _, want := range []error{nil, fs.ErrExist} {
		if err := sn.DissectInto(t.Context(), "one", dissect.Options{}, nil); !errors.Is(err, want) {
			t.Errorf("a name for the first and the second time: %v, want %v", err, want)
		}
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := sn.DissectInto(stopped, "two", dissect.Options{}, nil); !errors.Is(err, context.Canceled) || len(sn.Dissections()) != 1 {
		t.Errorf("one that was stopped: %v, and there are %v", err, sn.Dissections())
	}
}

// TestForeignInto compares the two ways on captures that others made, and on windows that were cut out of them.
func TestForeignInto(t *testing.T) {
	t.Parallel()
	dir := testenv.NeedsFolder(t, "DEVLOOP_PCAPS")
	files, err := filepath.Glob(filepath.Join(dir, "*", "*", "*.pcap"))
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	s := opened(t, Options{})
	for i, file := range files {
		if i%10 != 0 && !strings.Contains(file, "http-") {
			continue
		}
		r := SealRequest{ID: fmt.Sprintf("c%d", i), Segments: []capture.Segment{{Seq: 1, Path: file}}}
		if d, err := DissectFile(t.Context(), file, FileOptions{}); err != nil {
			continue // no capture at all
		} else if a := d.Account; i%2 == 0 {
			r.Cut, r.WindowStart, r.WindowEnd = true, a.First+(a.Last-a.First)/3, a.Last-(a.Last-a.First)/3
		}
		sn, err := s.Seal(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		bothWays(t, sn)
		sn.Close()
		if err := s.Delete(sn.ID()); err != nil {
			t.Fatal(err)
		}
	}
}
