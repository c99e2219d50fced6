package capture_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

var (
	cart    = traffic.Interface{Index: 0, Name: "local/cart", Link: traffic.LinkRaw, Workload: &traffic.Workload{Service: "cart", Build: "b1"}}
	payment = traffic.Interface{Index: 1, Name: "local/payment", Link: traffic.LinkRaw, Workload: &traffic.Workload{Service: "payment"}}
	byValue = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
)

// tcp is a bare TCP segment from one port of 10.0.0.1 to port 80 of 10.0.0.2.
func tcp(port uint16, payload int) *traffic.Packet {
	b := make([]byte, 40+payload)
	copy(b, []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2})
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[20:], port)
	binary.BigEndian.PutUint16(b[22:], 80)
	b[32] = 5 << 4
	return &traffic.Packet{Time: 1000 + int64(port), Data: b, Length: len(b), Link: traffic.LinkRaw, Direction: traffic.DirectionOut, Interface: 0}
}

func lostFlow(port uint16, n uint64) traffic.FlowLoss {
	return traffic.FlowLoss{Src: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port), Dst: netip.MustParseAddrPort("10.0.0.2:80"), Proto: "tcp", Packets: n}
}

func recorder(t *testing.T, dir string, o capture.RecorderOptions) *capture.Recorder {
	t.Helper()
	r, err := capture.NewRecorder(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func read(t *testing.T, path string) ([]traffic.Packet, []traffic.Interface) {
	t.Helper()
	r, err := pcapfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var list []traffic.Packet
	for {
		var p traffic.Packet
		if err := r.Next(&p); err == io.EOF {
			return list, r.Interfaces()
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

func TestRotateEndsASegmentWithItsLosses(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ring")
	r := recorder(t, dir, capture.RecorderOptions{Header: func() capture.Meta {
		return capture.Meta{Names: []pcapfile.Name{{Addr: netip.MustParseAddr("10.0.0.2"), Names: []string{"payment"}}}}
	}})
	for port := range uint16(5) {
		if err := r.Write(tcp(port, 10), &cart); err != nil {
			t.Fatal(err)
		}
	}
	stats := capture.Stats{Dropped: 9, Interfaces: []traffic.Interface{cart, payment}}
	stats.Interfaces[0].Dropped, stats.Interfaces[0].Lost = 2, []traffic.FlowLoss{lostFlow(7, 2)}
	stats.Interfaces[1].Dropped = 4
	first, err := r.Rotate(stats)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(first.Path)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 || info.Size() != first.Bytes {
		t.Errorf("segment %+v is %v, %v", first, info, err)
	}
	if first.Packets != 5 || first.First != 1000 || first.Last != 1004 || first.Dropped != 9 {
		t.Errorf("segment %+v", first)
	}
	packets, ifaces := read(t, first.Path)
	if len(packets) != 5 || len(ifaces) != 3 || ifaces[0].Dropped != 2 || ifaces[1].Dropped != 4 || ifaces[2].Dropped != 3 {
		t.Errorf("%d packets, interfaces %+v", len(packets), ifaces)
	}
	if diff := cmp.Diff([]traffic.FlowLoss{lostFlow(7, 2)}, ifaces[0].Lost, byValue); diff != "" {
		t.Errorf("lost flows (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(cart.Workload, ifaces[0].Workload); diff != "" {
		t.Errorf("workload (-want +got):\n%s", diff)
	}
	// The next segment has only what was lost since.
	stats.Interfaces[0].Dropped, stats.Interfaces[0].Lost, stats.Dropped = 3, []traffic.FlowLoss{lostFlow(7, 2), lostFlow(8, 1)}, 10
	second, err := r.Rotate(stats)
	if err != nil {
		t.Fatal(err)
	}
	if _, ifaces = read(t, second.Path); len(ifaces) != 1 || ifaces[0].Dropped != 1 {
		t.Fatalf("interfaces of the second segment: %+v", ifaces)
	}
	if diff := cmp.Diff([]traffic.FlowLoss{lostFlow(8, 1)}, ifaces[0].Lost, byValue); diff != "" {
		t.Errorf("lost flows (-want +got):\n%s", diff)
	}
}

func TestRingKeepsItsBoundAndWhatIsHeld(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := recorder(t, dir, capture.RecorderOptions{SegmentSize: 10_000, RingSize: 50_000})
	fill := func() {
		for n := range 500 {
			if err := r.Write(tcp(uint16(n), 960), &cart); err != nil {
				t.Fatal(err)
			}
		}
	}
	size := func() (sum int64) {
		for _, s := range r.Segments() {
			if info, err := os.Stat(s.Path); err != nil || info.Size() != s.Bytes {
				t.Errorf("segment %+v: %v", s, err)
			}
			sum += s.Bytes
		}
		return sum
	}
	fill()
	if n := size(); n > 50_000 || n < 20_000 {
		t.Errorf("ring has %d bytes", n)
	}
	held := r.Current().Seq
	release := r.Hold(held)
	fill()
	if n := size(); n < 500_000 || r.Segments()[0].Seq > held {
		t.Errorf("held ring has %d bytes from segment %d on, held is %d", n, r.Segments()[0].Seq, held)
	}
	release()
	fill()
	if n := size(); n > 50_000 {
		t.Errorf("released ring has %d bytes", n)
	}
	files, _ := os.ReadDir(dir)
	if len(files) != len(r.Segments())+1 {
		t.Errorf("%d files for %d segments and the growing one", len(files), len(r.Segments()))
	}
}

func TestNextRunFindsTheSegmentsOfOneThatDied(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := recorder(t, dir, capture.RecorderOptions{})
	for n := range 10 {
		r.Write(tcp(uint16(n), 10), &cart)
	}
	r.Flush()
	path := r.Current().Path
	info, _ := os.Stat(path)
	os.Truncate(path, info.Size()-7) // as kill -9 in the middle of a write leaves it
	os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("x"), 0o600)
	next := recorder(t, dir, capture.RecorderOptions{})
	segments := next.Segments()
	if len(segments) != 1 || segments[0].Path != path || next.Current().Seq <= segments[0].Seq {
		t.Fatalf("found %+v, growing %+v", segments, next.Current())
	}
	s, err := capture.ReadSegment(path)
	if err != nil || s.Packets != 9 || s.Seq != 1 || s.Last != 1008 {
		t.Errorf("read %+v, %v", s, err)
	}
}

func TestReaderFollowsTheGrowingSegment(t *testing.T) {
	t.Parallel()
	r := recorder(t, t.TempDir(), capture.RecorderOptions{})
	rd, err := pcapfile.Open(r.Current().Path)
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	var p traffic.Packet
	for n := range 5 {
		if err := rd.Next(&p); err != io.EOF {
			t.Fatalf("before packet %d: %v", n, err)
		}
		r.Write(tcp(uint16(n), 10), &cart)
		if err := r.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := rd.Next(&p); err != nil || p.Time != 1000+int64(n) {
			t.Fatalf("packet %d: %v, time %d", n, err, p.Time)
		}
	}
}

// TestFullDiskIsCountedAsLoss records onto a file system of one megabyte.
func TestFullDiskIsCountedAsLoss(t *testing.T) {
	testenv.NeedsRoot(t)
	dir := t.TempDir()
	unmount := tinyDisk(t, dir)
	defer unmount()
	r := recorder(t, dir, capture.RecorderOptions{})
	var failed error
	const all = 3000
	for range all {
		if err := r.Write(tcp(9, 960), &cart); err != nil {
			failed = err
		}
	}
	if err := r.Flush(); err != nil {
		failed = err
	}
	if !errors.Is(failed, syscall.ENOSPC) || !strings.Contains(failed.Error(), "record packets into") {
		t.Fatalf("error: %v", failed)
	}
	lost := r.Lost()
	var kept uint64
	for _, s := range r.Segments() {
		packets, _ := read(t, s.Path)
		if uint64(len(packets)) != s.Packets {
			t.Errorf("segment %+v has %d packets", s, len(packets))
		}
		kept += s.Packets
		if s.Seq > 1 || kept == 0 {
			continue
		}
		os.Remove(s.Path) // room again
	}
	if lost == 0 || kept+lost+r.Current().Packets != all && kept+lost != all {
		t.Errorf("%d kept and %d lost of %d", kept, lost, all)
	}
	if err := r.Write(tcp(9, 10), &cart); err != nil {
		t.Fatal(err)
	}
	s, err := r.Rotate(capture.Stats{})
	if err != nil || s.Dropped != lost || s.Packets == 0 {
		t.Fatalf("after there is room again: %+v, %v; want %d lost", s, err, lost)
	}
	if _, ifaces := read(t, s.Path); len(ifaces) != 1 || ifaces[0].Dropped != lost || len(ifaces[0].Lost) != 1 {
		t.Errorf("interfaces %+v", ifaces)
	}
}

// fake is a source that delivers what it was given.
type fake struct{ packets []*traffic.Packet }

func (fake) Name() string                    { return "fake" }
func (fake) Interfaces() []traffic.Interface { return []traffic.Interface{cart, payment} }
func (fake) Flush(context.Context) error     { return nil }
func (fake) Close() error                    { return nil }
func (f fake) Stats() capture.Stats {
	return capture.Stats{Received: uint64(len(f.packets)), Interfaces: f.Interfaces()}
}
func (f fake) Run(_ context.Context, emit func(*traffic.Packet)) error {
	for _, p := range f.packets {
		emit(p)
	}
	return nil
}

func TestLossyCountsWhatItDrops(t *testing.T) {
	t.Parallel()
	var packets []*traffic.Packet
	for n := range 10 {
		packets = append(packets, tcp(uint16(n%2), 0))
	}
	s := capture.NewLossy(fake{packets}, func(p *traffic.Packet) bool { return p.Data[21] == 1 })
	var passed int
	if err := s.Run(t.Context(), func(*traffic.Packet) { passed++ }); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if passed != 5 || st.Dropped != 5 || st.Received != 5 || st.Interfaces[0].Dropped != 5 || st.Unattributed() != 0 {
		t.Errorf("%d passed; %+v", passed, st)
	}
	if diff := cmp.Diff([]traffic.FlowLoss{lostFlow(1, 5)}, st.Interfaces[0].Lost, byValue); diff != "" {
		t.Errorf("lost (-want +got):\n%s", diff)
	}
}

func TestRecorderWriteAllocatesNothing(t *testing.T) {
	r := recorder(t, t.TempDir(), capture.RecorderOptions{})
	p := tcp(1, 1000)
	if n := testing.AllocsPerRun(1000, func() { r.Write(p, &cart) }); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}
