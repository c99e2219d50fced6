package pcapfile_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

var payment = traffic.Interface{Index: 0, Name: "local/payment", Link: traffic.LinkRaw, CGroup: 4711,
	Workload: &traffic.Workload{Namespace: "local", Kind: traffic.KindService, Service: "payment", Build: "ab12", PID: 42}}

var lost = []traffic.FlowLoss{{Src: netip.MustParseAddrPort("10.0.0.1:40000"), Dst: netip.MustParseAddrPort("10.0.0.2:8080"), Proto: "tcp", Packets: 3}}

// udp is an IPv4 UDP packet with n bytes of payload; checksums are zero, which means none for UDP.
func udp(n int) []byte {
	b := make([]byte, 28+n)
	copy(b, []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40, 0x1f, 0x90})
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[24:], uint16(8+n))
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum>>16+sum&0xffff))
	return b
}

func sample(t testing.TB, packets int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := pcapfile.NewWriter(&out, pcapfile.Header{Application: "devloop", Names: []pcapfile.Name{
		{Addr: netip.MustParseAddr("10.0.0.2"), Names: []string{"payment", "payment.local"}},
		{Addr: netip.MustParseAddr("fd00::2"), Names: []string{"payment"}},
	}})
	i := w.AddInterface(&payment)
	for n := range packets {
		p := traffic.Packet{Time: 1_700_000_000_123_456_789 + int64(n), Data: udp(n % 50), Direction: traffic.Direction(n % 3), Cookie: uint64(n % 7), PID: 42}
		p.Length = len(p.Data) + n%2
		if err := w.Write(&p, i); err != nil {
			t.Fatal(err)
		}
	}
	w.Statistics(i, 1_700_000_001_000_000_000, uint64(packets)+3, 3, lost)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if int64(out.Len()) != w.Written() {
		t.Errorf("Written says %d, file has %d bytes", w.Written(), out.Len())
	}
	return out.Bytes()
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	t.Parallel()
	r := pcapfile.NewReader(bytes.NewReader(sample(t, 100)))
	var p traffic.Packet
	for n := range 100 {
		if err := r.Next(&p); err != nil {
			t.Fatal(err)
		}
		want := traffic.Packet{Number: uint64(n + 1), Time: 1_700_000_000_123_456_789 + int64(n), Data: udp(n % 50), Link: traffic.LinkRaw,
			Length: 28 + n%50 + n%2, Direction: traffic.Direction(n % 3), Cookie: uint64(n % 7), PID: 42}
		if diff := cmp.Diff(want, p); diff != "" {
			t.Fatalf("packet %d (-want +got):\n%s", n+1, diff)
		}
	}
	if err := r.Next(&p); err != io.EOF {
		t.Fatalf("after the last packet: %v", err)
	}
	want := payment
	want.Packets, want.Dropped, want.Lost = 100, 3, lost
	byString := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
	if diff := cmp.Diff([]traffic.Interface{want}, r.Interfaces(), byString); diff != "" {
		t.Errorf("interfaces (-want +got):\n%s", diff)
	}
	if got := fmt.Sprint(r.Names()); got != "[{10.0.0.2 [payment payment.local]} {fd00::2 [payment]}]" {
		t.Errorf("names: %s", got)
	}
}

func TestWriterAllocatesNothingPerPacket(t *testing.T) {
	w := pcapfile.NewWriter(io.Discard, pcapfile.Header{})
	i := w.AddInterface(&payment)
	p := traffic.Packet{Time: 1, Data: udp(60000), Length: 60028, Cookie: 9, PID: 1}
	if n := testing.AllocsPerRun(1000, func() { w.Write(&p, i) }); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}

// grow hands out a file in small steps with io.EOF between them, as a file that is being written does.
type grow struct {
	b    []byte
	step int
	end  bool
}

func (g *grow) Read(p []byte) (int, error) {
	if g.end = !g.end; g.end || len(g.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(g.step, len(p))], g.b)
	g.b = g.b[n:]
	return n, nil
}

func TestReaderFollowsAGrowingFile(t *testing.T) {
	t.Parallel()
	for _, step := range []int{1, 7, 100, 5000} {
		g := &grow{b: sample(t, 200), step: step}
		r := pcapfile.NewReader(g)
		var p traffic.Packet
		for n, tries := 0, 0; n < 200; tries++ {
			switch err := r.Next(&p); {
			case err == nil:
				n++
				if p.Number != uint64(n) {
					t.Fatalf("step %d: packet %d came as %d", step, n, p.Number)
				}
			case err != io.EOF || tries > 100000:
				t.Fatalf("step %d: after %d packets: %v", step, n, err)
			}
		}
	}
}

func TestCutFileIsTruncatedOnlyWhenFinished(t *testing.T) {
	t.Parallel()
	whole := sample(t, 10)
	for cut := 1; cut < len(whole); cut++ {
		r := pcapfile.NewReader(bytes.NewReader(whole[:cut]))
		var p traffic.Packet
		err := r.Next(&p)
		for ; err == nil; err = r.Next(&p) {
		}
		if err != io.EOF {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		torn := r.Truncated()
		r.Finish()
		if err := r.Next(&p); torn != errors.Is(err, pcapfile.ErrTruncated) || !torn && err != io.EOF {
			t.Fatalf("cut at %d, torn %v: after Finish: %v", cut, torn, err)
		}
	}
}

func TestCompressedFilesReadTheSame(t *testing.T) {
	t.Parallel()
	plain := sample(t, 500)
	var gz, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	g.Write(plain)
	g.Close()
	z, _ := zstd.NewWriter(&zs)
	z.Write(plain)
	z.Close()
	for name, b := range map[string][]byte{"gzip": gz.Bytes(), "zstd": zs.Bytes()} {
		if n, err := count(pcapfile.NewReader(bytes.NewReader(b))); n != 500 || err != io.EOF {
			t.Errorf("%s: %d packets, %v", name, n, err)
		}
		r := pcapfile.NewReader(bytes.NewReader(b[:len(b)*2/3]))
		if _, err := count(r); err != io.EOF || !r.Truncated() {
			t.Errorf("%s, cut: %v, truncated %v", name, err, r.Truncated())
		}
	}
}

func count(r *pcapfile.Reader) (n int, err error) {
	var p traffic.Packet
	for err = r.Next(&p); err == nil; err = r.Next(&p) {
		n++
	}
	return n, err
}

func TestOldFormats(t *testing.T) {
	t.Parallel()
	head := func(o binary.ByteOrder, magic uint32) []byte {
		b := make([]byte, 24)
		o.PutUint32(b, magic)
		o.PutUint16(b[4:], 2)
		o.PutUint16(b[6:], 4)
		o.PutUint32(b[16:], 65535)
		o.PutUint32(b[20:], 1)
		return b
	}
	for name, c := range map[string]struct {
		order binary.ByteOrder
		magic uint32
		extra []byte
		time  int64
		dir   traffic.Direction
	}{
		"micro little":    {binary.LittleEndian, 0xa1b2c3d4, nil, 5_000_007_000, 0},
		"micro big":       {binary.BigEndian, 0xa1b2c3d4, nil, 5_000_007_000, 0},
		"nano little":     {binary.LittleEndian, 0xa1b23c4d, nil, 5_000_000_007, 0},
		"nano big":        {binary.BigEndian, 0xa1b23c4d, nil, 5_000_000_007, 0},
		"modified little": {binary.LittleEndian, 0xa1b2cd34, []byte{1, 0, 0, 0, 8, 0, 4, 0}, 5_000_007_000, traffic.DirectionOut},
	} {
		b := head(c.order, c.magic)
		rec := make([]byte, 16)
		c.order.PutUint32(rec, 5)
		c.order.PutUint32(rec[4:], 7)
		c.order.PutUint32(rec[8:], 4)
		c.order.PutUint32(rec[12:], 60)
		b = append(append(append(b, rec...), c.extra...), 1, 2, 3, 4)
		r := pcapfile.NewReader(bytes.NewReader(b))
		var p traffic.Packet
		if err := r.Next(&p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want := traffic.Packet{Number: 1, Time: c.time, Data: []byte{1, 2, 3, 4}, Length: 60, Link: 1, Direction: c.dir}
		if diff := cmp.Diff(want, p); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestSections reads two sections of different byte order, odd resolutions, an unknown block and the packet blocks that
// nobody writes any more.
func TestSections(t *testing.T) {
	t.Parallel()
	var b []byte
	le, be := binary.LittleEndian, binary.BigEndian
	b = block(b, le, 0x0a0d0d0a, u32s(le, 0x1a2b3c4d, 0x00000001, 0xffffffff, 0xffffffff))
	b = block(b, le, 1, append(u32s(le, 1, 0), 9, 0, 1, 0, 0x8a, 0, 0, 0, 14, 0, 8, 0, 100, 0, 0, 0, 0, 0, 0, 0)) // 2^-10 s, offset 100 s
	b = block(b, le, 0xbad, make([]byte, 4096))
	b = block(b, le, 6, append(u32s(le, 0, 0, 3<<10+512, 2, 2), 7, 8, 0, 0))
	b = block(b, le, 3, append(u32s(le, 3), 1, 2, 3, 0))
	b = block(b, be, 0x0a0d0d0a, u32s(be, 0x1a2b3c4d, 0x00010000, 0xffffffff, 0xffffffff))
	b = block(b, be, 1, append(u32s(be, 101<<16, 0), 0, 9, 0, 1, 12, 0, 0, 0)) // picoseconds
	b = block(b, be, 2, append(u32s(be, 0, 0, 5000, 1, 1), 9, 0, 0, 0, 0, 2, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0))
	r := pcapfile.NewReader(bytes.NewReader(b))
	want := []traffic.Packet{
		{Number: 1, Time: 103_500_000_000, Data: []byte{7, 8}, Length: 2, Link: 1},
		{Number: 2, Data: []byte{1, 2, 3}, Length: 3, Link: 1},
		{Number: 3, Time: 5, Data: []byte{9}, Length: 1, Link: 101, Interface: 1, Direction: traffic.DirectionIn},
	}
	for _, w := range want {
		var p traffic.Packet
		if err := r.Next(&p); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(w, p); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func u32s(o binary.ByteOrder, values ...uint32) []byte {
	b := make([]byte, 4*len(values))
	for i, v := range values {
		o.PutUint32(b[4*i:], v)
	}
	return b
}

func block(b []byte, o binary.ByteOrder, kind uint32, body []byte) []byte {
	n := uint32(len(body) + 12)
	return append(append(append(b, u32s(o, kind, n)...), body...), u32s(o, n)...)
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.pcap")
	os.WriteFile(path, []byte("hello, I am text"), 0o600)
	if _, err := pcapfile.Open(path); !errors.Is(err, pcapfile.ErrFormat) {
		t.Errorf("text file: %v", err)
	}
	os.WriteFile(path, nil, 0o600)
	r, err := pcapfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.Finish()
	if err := r.Next(&traffic.Packet{}); !errors.Is(err, pcapfile.ErrFormat) {
		t.Errorf("empty file: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(sample(f, 20))
	f.Add([]byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x01\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := pcapfile.NewReader(bytes.NewReader(b))
		r.Finish()
		var p traffic.Packet
		for n := 0; ; n++ {
			if err := r.Next(&p); err != nil {
				break
			}
			if r.Interface(p.Interface) == nil || n > len(b) && b[0] != 0x1f && b[0] != 0x28 {
				t.Fatalf("packet %d on interface %d", n, p.Interface)
			}
		}
	})
}

func TestTsharkReadsWhatIsWritten(t *testing.T) {
	t.Parallel()
	tshark := testenv.NeedsProgram(t, "tshark")
	path := filepath.Join(t.TempDir(), "x.pcapng")
	if err := os.WriteFile(path, sample(t, 60), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tshark, "-n", "-r", path, "-T", "fields", "-e", "frame.number", "-e", "frame.time_epoch", "-e", "frame.interface_name",
		"-e", "frame.packet_flags_direction", "-e", "frame.len", "-e", "ip.src", "-e", "udp.dstport", "-e", "_ws.expert.message")
	var warnings strings.Builder
	cmd.Stderr = &warnings
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, warnings.String())
	}
	for line := range strings.Lines(warnings.String()) {
		if !strings.Contains(line, "Running as user") {
			t.Errorf("tshark warns: %s", line)
		}
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 60 {
		t.Fatalf("tshark sees %d packets", len(lines))
	}
	for n, line := range lines {
		f := strings.Split(line, "\t")
		direction, _ := strconv.ParseInt(strings.TrimPrefix(f[3], "0x"), 16, 32)
		got := fmt.Sprint(f[0], f[1], f[2], direction, f[4], f[5], f[6])
		want := fmt.Sprint(strconv.Itoa(n+1), fmt.Sprintf("1700000000.%09d", 123456789+n), "local/payment", n%3, strconv.Itoa(28+n%50+n%2), "10.0.0.1", "8080")
		if got != want {
			t.Errorf("tshark says %s, want %s", got, want)
		}
	}
}

// TestForeignCaptures reads captures that were made to break parsers; the counts are Wireshark's.
func TestForeignCaptures(t *testing.T) {
	t.Parallel()
	dir := testenv.NeedsFolder(t, "DEVLOOP_PCAPS")
	capinfos, tshark := testenv.NeedsProgram(t, "capinfos"), testenv.NeedsProgram(t, "tshark")
	var files []string
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(strings.TrimPrefix(filepath.Ext(path), "."), "pcap") {
			files = append(files, path)
		}
		return nil
	})
	if len(files) == 0 {
		t.Fatal("no captures found")
	}
	for i, path := range files {
		r, err := pcapfile.Open(path)
		if err != nil {
			t.Logf("%s: %v", path, err)
			continue
		}
		n, err := count(r)
		torn := r.Truncated()
		r.Close()
		if err != io.EOF {
			t.Logf("%s: %d packets, then %v", path, n, err)
		}
		if i%8 != 0 && err == io.EOF && !torn {
			continue
		}
		out, err := exec.Command(capinfos, "-c", "-M", "-T", "-r", path).Output()
		f := strings.Fields(string(out))
		if err != nil { // capinfos stops at a cut or corrupt record; tshark prints what is before it
			out, _ = exec.Command(tshark, "-n", "-r", path, "-T", "fields", "-e", "frame.number").Output()
			f = strings.Fields("0 " + string(out))
		}
		if want, _ := strconv.Atoi(f[len(f)-1]); want != n {
			t.Errorf("%s: capinfos counts %d packets, we %d (end: %v, torn %v)", path, want, n, err, torn)
		}
	}
}

func TestDescriptionIsTheAgreedJSON(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(pcapfile.Description{Workload: traffic.Workload{Service: "a", Build: "b", PID: 1, Kind: "service", Outside: true}, CGroup: 2})
	if want := `{"kind":"service","svc":"a","pid":1,"build":"b","outside":true,"cgroup":2}`; err != nil || string(b) != want {
		t.Errorf("got %s, want %s (%v)", b, want, err)
	}
}

func BenchmarkReader(b *testing.B) {
	var ng bytes.Buffer
	w := pcapfile.NewWriter(&ng, pcapfile.Header{})
	i := w.AddInterface(&payment)
	plain := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	plain = append(plain, make([]byte, 20)...)
	plain[20] = 101
	for n := range 100_000 {
		p := traffic.Packet{Time: int64(n), Data: udp(700), Length: 728, Direction: 1, Cookie: 5, PID: 6}
		w.Write(&p, i)
		plain = append(append(plain, u32s(binary.LittleEndian, 1, 2, 728, 728)...), p.Data...)
	}
	w.Flush()
	for name, data := range map[string][]byte{"pcap": plain, "pcapng": ng.Bytes()} {
		path := filepath.Join(b.TempDir(), name)
		os.WriteFile(path, data, 0o600)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				r, err := pcapfile.Open(path)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := count(r); n != 100_000 || err != io.EOF {
					b.Fatal(n, err)
				}
				r.Close()
			}
		})
	}
}
