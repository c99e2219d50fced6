package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/traffic"
)

func opened(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), Folder), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// recorded is the recorder's ring with the given packets, one ended segment per group.
func recorded(t testing.TB, s *Store, groups ...[]traffic.Packet) []capture.Segment {
	t.Helper()
	r, err := capture.NewRecorder(s.RingDir(), capture.RecorderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var segments []capture.Segment
	for _, packets := range groups {
		for i := range packets {
			if err := r.Write(&packets[i], &interfaces[packets[i].Interface]); err != nil {
				t.Fatal(err)
			}
		}
		seg, err := r.Rotate(capture.Stats{})
		if err != nil {
			t.Fatal(err)
		}
		segments = append(segments, seg)
	}
	return segments
}

var interfaces = []traffic.Interface{
	{Index: 0, Name: "local/cart", Link: traffic.LinkRaw, Workload: &traffic.Workload{Namespace: "local", Kind: "service", Service: "cart", Build: "c1", PID: 7}},
	{Index: 1, Name: "local/catalogue", Link: traffic.LinkRaw, Workload: &traffic.Workload{Namespace: "local", Kind: "service", Service: "catalogue", Build: "k1", PID: 8}},
}

func sealed(t testing.TB, s *Store, id string, segments []capture.Segment) *Snapshot {
	t.Helper()
	sn, err := s.Seal(t.Context(), SealRequest{
		ID: id, Segments: segments, WindowStart: 1, WindowEnd: 2, Iteration: id, Revision: "r1", Builds: map[string]string{"cart": "c1"}, Source: "tap",
		Checkpoint: nil, Identities: []traffic.Identity{
			{IP: netip.MustParseAddr("10.0.0.1"), Workload: *interfaces[0].Workload}, {IP: netip.MustParseAddr("10.0.0.2"), Workload: *interfaces[1].Workload},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sn.Close() })
	return sn
}

// numbered are n packets of noise.
func numbered(n int) (out []traffic.Packet) {
	for i := range n {
		data := []byte{0x60, 0, 0, byte(i), byte(i >> 8)}
		out = append(out, traffic.Packet{Time: int64(1e18) + int64(i), Data: data, Length: len(data), Interface: i % 2, Link: traffic.LinkRaw, Direction: traffic.DirectionOut})
	}
	return out
}

func TestSealAndRead(t *testing.T) {
	t.Parallel()
	s := opened(t, Options{})
	all := numbered(25)
	segments := recorded(t, s, all[:10], all[10:20], all[20:])
	sealed(t, s, "i1", segments).Close()
	sn, err := s.Snapshot("i1")
	if err != nil {
		t.Fatal(err)
	}
	defer sn.Close()
	if err := sn.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if sn.Window.Packets != 25 || sn.Window.Revision != "r1" || sn.Window.Builds["cart"] != "c1" || len(sn.Identities) != 2 {
		t.Errorf("window: %+v, identities %v", sn.Window, sn.Identities)
	}
	p := sn.Packets()
	defer p.Close()
	var pkt traffic.Packet
	for i := range all {
		if err := p.Next(&pkt); err != nil {
			t.Fatalf("packet %d: %v", i+1, err)
		}
		want := all[i]
		want.Number = uint64(i + 1)
		if diff := cmp.Diff(want, pkt); diff != "" {
			t.Fatalf("packet %d (-want +got):\n%s", i+1, diff)
		}
		if name := p.Interface(pkt.Interface).Name; name != interfaces[i%2].Name {
			t.Fatalf("packet %d is of %s", i+1, name)
		}
	}
	if err := p.Next(&pkt); err != io.EOF {
		t.Errorf("after the last packet: %v", err)
	}
	if n := len(p.Interfaces()); n != 2 {
		t.Errorf("%d interfaces, want the three segments' two merged", n)
	}
	a, _ := os.Stat(segments[0].Path)
	b, _ := os.Stat(filepath.Join(sn.Dir(), sn.Window.Segments[0]))
	if !os.SameFile(a, b) {
		t.Error("the segment was copied instead of linked")
	}
	err = filepath.WalkDir(s.Dir(), func(path string, d fs.DirEntry, err error) error {
		info, _ := d.Info()
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if d.Name() != ".gitignore" && info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSealTwiceFails(t *testing.T) {
	t.Parallel()
	s := opened(t, Options{})
	segments := recorded(t, s, numbered(3))
	sealed(t, s, "i1", segments)
	if _, err := s.Seal(t.Context(), SealRequest{ID: "i1", Segments: segments}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("sealed twice: %v", err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 8 {
		wg.Go(func() {
			if sn, err := s.Seal(context.Background(), SealRequest{ID: "i2", Segments: segments}); err == nil {
				sn.Close()
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of 8 sealed one id, want 1", won)
	}
	noTemps(t, s)
}

func noTemps(t *testing.T, s *Store) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(s.snapshots(), tempPrefix+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestIDsStayInside(t *testing.T) {
	t.Parallel()
	s := opened(t, Options{})
	for _, id := range []string{"", ".", "..", "../x", "a/b", `a\b`, "/etc", "a..b", ".tmp-1", "a\x00", strings.Repeat("a", 200), "i1/../../key", "-x"} {
		if _, err := s.Seal(t.Context(), SealRequest{ID: id}); err == nil {
			t.Errorf("sealed %q", id)
		}
		if _, err := s.Snapshot(id); err == nil {
			t.Errorf("opened %q", id)
		}
		if err := s.Delete(id); err == nil {
			t.Errorf("deleted %q", id)
		}
	}
	for _, id := range []string{"i1", "i12.retry-2", "2026-11-21_x"} {
		if err := checkID(id); err != nil {
			t.Error(err)
		}
	}
}

func TestTampering(t *testing.T) {
	t.Parallel()
	s := opened(t, Options{})
	for i, c := range []struct {
		name  string
		spoil func(t *testing.T, dir string, w Window)
		open  bool // found when it is opened, not only by Verify
	}{
		{"byte of a segment", func(t *testing.T, dir string, w Window) {
			path := filepath.Join(dir, w.Segments[0])
			b, _ := os.ReadFile(path)
			b[len(b)/2] ^= 1
			write(t, path, b)
		}, false},
		{"byte of the window", func(t *testing.T, dir string, _ Window) {
			b, _ := os.ReadFile(filepath.Join(dir, windowName))
			write(t, filepath.Join(dir, windowName), bytes.Replace(b, []byte("r1"), []byte("r2"), 1))
		}, false},
		{"cut segment", func(t *testing.T, dir string, w Window) {
			if err := os.Truncate(filepath.Join(dir, w.Segments[0]), 10); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"missing checkpoint", func(t *testing.T, dir string, _ Window) { os.Remove(filepath.Join(dir, checkpointName)) }, true},
		{"manifest of another", func(t *testing.T, dir string, _ Window) {
			b, _ := os.ReadFile(filepath.Join(dir, manifestName))
			write(t, filepath.Join(dir, manifestName), bytes.Replace(b, []byte(`"id": "t`), []byte(`"id": "u`), 1))
		}, true},
		{"manifest that points outside", func(t *testing.T, dir string, _ Window) {
			b, _ := os.ReadFile(filepath.Join(dir, manifestName))
			write(t, filepath.Join(dir, manifestName), bytes.Replace(b, []byte(checkpointName), []byte("../../key"), 1))
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			id := fmt.Sprint("t", i)
			sn := sealed(t, s, id, recorded(t, opened(t, Options{}), numbered(5)))
			c.spoil(t, sn.Dir(), sn.Window)
			if err := sn.Verify(t.Context()); err == nil && i != 4 && i != 5 {
				t.Error("Verify found nothing")
			}
			again, err := s.Snapshot(id)
			if err == nil {
				again.Close()
			}
			if (err != nil) != c.open {
				t.Errorf("opening it: %v", err)
			}
		})
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCrashLeavesNothingVisible(t *testing.T) {
	t.Parallel()
	s := opened(t, Options{})
	// What a process that was killed between writing and renaming leaves: a full folder under a temporary name.
	dead := filepath.Join(s.snapshots(), tempPrefix+"999999999-1")
	ours := filepath.Join(s.snapshots(), fmt.Sprint(tempPrefix, os.Getpid(), "-1"))
	for _, dir := range []string{dead, ours} {
		sn := sealed(t, s, "x", recorded(t, opened(t, Options{}), numbered(2)))
		sn.Close()
		if err := os.Rename(sn.Dir(), dir); err != nil {
			t.Fatal(err)
		}
	}
	busy, drop, err := s.temp()
	if err != nil {
		t.Fatal(err)
	}
	defer drop()
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("list: %v, %v", list, err)
	}
	if _, err := Open(s.Dir(), Options{}); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(s.snapshots(), tempPrefix+"*"))
	if len(left) != 1 || left[0] != busy {
		t.Errorf("left: %v, want only %s, which is being filled", left, busy)
	}
}

// small is a file on a full disk.
type small struct{ f io.WriteCloser }

func (s small) Write(p []byte) (int, error) {
	n, _ := s.f.Write(p[:len(p)/2])
	return n, &fs.PathError{Op: "write", Err: syscall.ENOSPC}
}
func (s small) Close() error { return s.f.Close() }

func TestDiskFull(t *testing.T) {
	t.Parallel()
	s := opened(t, Options{})
	segments := recorded(t, s, numbered(3))
	ok := sealed(t, s, "i0", segments)
	for _, name := range []string{windowName, checkpointName, manifestName, callsName, lossName} {
		s.create = func(path string) (io.WriteCloser, error) {
			f, err := createFile(path)
			if filepath.Base(path) == name {
				return small{f}, err
			}
			return f, err
		}
		var err error
		if name == callsName || name == lossName {
			err = ok.WriteDissection(t.Context(), &traffic.Dissection{Calls: sampleCalls()})
		} else {
			_, err = s.Seal(t.Context(), SealRequest{ID: "i1", Segments: segments})
		}
		if err == nil || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("%s on a full disk: %v", name, err)
		}
		noTemps(t, s)
		if list, _ := s.List(); len(list) != 1 || list[0].Dissected {
			t.Errorf("%s on a full disk: visible is %+v", name, list)
		}
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	s := opened(t, Options{Now: func() time.Time { return now }, MaxAge: time.Hour})
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		sealed(t, s, id, recorded(t, opened(t, Options{}), numbered(100))).Close()
		now = now.Add(10 * time.Minute)
	}
	list, err := s.List()
	if err != nil || len(list) != 5 {
		t.Fatal(list, err)
	}
	retain := func(want ...string) {
		t.Helper()
		gone, err := s.Retain()
		if diff := cmp.Diff(want, gone); err != nil || diff != "" {
			t.Errorf("deleted (-want +got):\n%s%v", diff, err)
		}
	}
	retain()
	b, err := s.Snapshot("b")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete("b"); !errors.Is(err, ErrInUse) {
		t.Errorf("delete what is in use: %v", err)
	}
	other, err := Open(s.Dir(), s.o) // as another process sees it
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Delete("b"); !errors.Is(err, ErrInUse) {
		t.Errorf("delete what another process uses: %v", err)
	}
	s.o.MaxSize = list[0].Size*3 + 10 // room for three
	retain("a", "c")
	b.Close()
	s.o.MaxSize = 1
	retain("b", "d")
	now = now.Add(100 * time.Hour)
	retain()
	if list, _ := s.List(); len(list) != 1 || list[0].ID != "e" {
		t.Errorf("left: %+v, want the newest", list)
	}
}

func TestReadersDuringSeals(t *testing.T) {
	t.Parallel()
	s := opened(t, Options{})
	segments := recorded(t, s, numbered(50))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				list, err := s.List()
				if err != nil {
					t.Error(err)
				}
				for _, info := range list {
					sn, err := s.Snapshot(info.ID)
					if errors.Is(err, fs.ErrNotExist) {
						continue
					}
					if err != nil {
						t.Error(err)
						continue
					}
					p, n := sn.Packets(), 0
					var pkt traffic.Packet
					for p.Next(&pkt) == nil {
						n++
					}
					p.Close()
					if n != 50 {
						t.Errorf("%s has %d packets, want 50", info.ID, n)
					}
					sn.Close()
				}
			}
		})
	}
	for i := range 20 {
		sn, err := s.Seal(ctx, SealRequest{ID: fmt.Sprint("i", i), Segments: segments})
		if err != nil {
			t.Fatal(err)
		}
		if err := sn.WriteDissection(ctx, &traffic.Dissection{Calls: sampleCalls()}); err != nil {
			t.Error(err)
		}
		sn.Close()
		if i > 5 {
			if err := s.Delete(fmt.Sprint("i", i-5)); err != nil && !errors.Is(err, ErrInUse) {
				t.Error(err)
			}
		}
	}
	stop()
	wg.Wait()
	noTemps(t, s)
}

func TestDissectionIsKept(t *testing.T) {
	t.Parallel()
	s := opened(t, Options{})
	sn := sealed(t, s, "i1", recorded(t, s, numbered(3)))
	if _, err := sn.ReadDissection(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before it was written: %v", err)
	}
	want := &traffic.Dissection{Calls: sampleCalls(), Connections: sampleConnections(), Account: traffic.Account{
		Packets: 3, GivenUp: map[string]uint64{"x": 1}, Lost: []traffic.FlowLoss{{Src: netip.MustParseAddrPort("10.0.0.1:1"), Packets: 2}}, Interfaces: interfaces,
	}}
	for range 2 { // written again, it is replaced
		if err := sn.WriteDissection(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		got, err := sn.ReadDissection()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, sameAddrs); diff != "" {
			t.Errorf("dissection (-want +got):\n%s", diff)
		}
	}
	if err := sn.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	b, _ := os.ReadFile(sn.CallsPath())
	b[len(b)/2] ^= 1
	write(t, sn.CallsPath(), b)
	if err := sn.Verify(t.Context()); err == nil {
		t.Error("a changed table was not found")
	}
	noTemps(t, s)
}

func TestKeyAndGitignore(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), Folder)
	var wg sync.WaitGroup
	hashes := make([]string, 6)
	for i := range hashes {
		wg.Go(func() {
			s, err := Open(dir, Options{})
			if err != nil {
				t.Error(err)
				return
			}
			hashes[i] = s.Redactor().Hash([]byte("x"))
		})
	}
	wg.Wait()
	for _, h := range hashes {
		if h != hashes[0] {
			t.Errorf("hashes differ: %v", hashes)
		}
	}
	write(t, filepath.Join(dir, "key"), []byte("short"))
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("a spoilt key was taken")
	}
	if b, err := os.ReadFile(filepath.Join(dir, ".gitignore")); err != nil || string(b) != gitignore {
		t.Errorf(".gitignore is %q, %v", b, err)
	}
}

func TestCheckpoint(t *testing.T) {
	t.Parallel()
	s := opened(t, Options{})
	sn, err := s.Seal(t.Context(), SealRequest{ID: "i1", Checkpoint: []byte("state")})
	if err != nil {
		t.Fatal(err)
	}
	defer sn.Close()
	if got, err := sn.Checkpoint(); string(got) != "state" || err != nil {
		t.Errorf("checkpoint is %q, %v", got, err)
	}
	for _, b := range []string{"", "state", checkpointMagic, checkpointMagic + "\x00\x63state"} {
		if _, err := unpackCheckpoint([]byte(b)); err == nil {
			t.Errorf("%q was taken for a checkpoint", b)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	s := opened(b, Options{})
	packets := numbered(10000)
	for i := range packets {
		packets[i].Data = bytes.Repeat([]byte{byte(i)}, 1000)
		packets[i].Length = 1000
	}
	segments := recorded(b, s, packets)
	b.SetBytes(segments[0].Bytes)
	n := 0
	for b.Loop() {
		n++
		sn, err := s.Seal(context.Background(), SealRequest{ID: fmt.Sprint("i", n), Segments: segments})
		if err != nil {
			b.Fatal(err)
		}
		sn.Close()
	}
}
