package dissect_test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// tcpFloors are the parts of the scored streams whose figures are Wireshark's. They only ever rise; testdata/known_tcp.txt
// names every difference.
var tcpFloors = map[string]float64{
	"retransmissions": 1, "fast_retransmissions": 1, "out_of_order": 1, "dup_acks": 1, "missing_segments": 1,
	"zero_window_events": 1, "window_full_events": 1, "keepalive_count": 1, "connection_completeness": 0.962,
	"initial_rtt_us": 1, "rst_count": 1, "fin_count": 1, "packets": 0.999, "streams": 0.98,
	onePass: 0.77,
}

// onePass is completeness against what tshark prints with a stream's last packet in one pass: the value before that packet.
const onePass = "completeness_one_pass"

// isRight begins the reasons for differences in which our figure is what its documentation says.
const isRight = "right: "

// TestTruthTCP compares TCP analysis with that of tshark over foreign captures. A stream is scored when either is not zero.
func TestTruthTCP(t *testing.T) {
	dir := testenv.NeedsFolder(t, "DEVLOOP_PCAPS")
	x := newTCPTally(t)
	for _, want := range readTruth(t, dir) {
		_, conns, err := dissectFile(filepath.Join(dir, want.File))
		if err != nil {
			t.Logf("%s: %v", want.File, err)
		}
		x.compare(t, want, conns)
	}
	x.report(t, "3-tcp", tcpFloors)
}

// tcpTally counts streams by figure.
type tcpTally struct {
	loose int64 // by how much a counter of a stream may differ; 0 but for captures that were damaged on purpose

	known   map[string]string // reasons, by "file: figure" and "file stream: figure"
	two     map[string]int    // completeness that two passes of tshark print, by "file stream"
	scored  map[string][2]int // equal, all
	flatter map[string][2]int // the same with the streams in which both are zero
	right   map[string]int    // of those that are not equal
}

func newTCPTally(t *testing.T) *tcpTally {
	x := &tcpTally{known: map[string]string{}, two: map[string]int{}, scored: map[string][2]int{}, flatter: map[string][2]int{}, right: map[string]int{}}
	for _, line := range dataLines(t, "testdata/known_tcp.txt") {
		parts := strings.SplitN(line, ": ", 3)
		if len(parts) != 3 {
			t.Fatalf("testdata/known_tcp.txt: %q is not file [stream]: figure: reason", line)
		}
		x.known[parts[0]+": "+parts[1]] = parts[2]
	}
	for _, line := range dataLines(t, "testdata/completeness.txt") {
		stream, value, _ := cutLast(line, " ")
		n, err := strconv.Atoi(value)
		if err != nil {
			t.Fatalf("testdata/completeness.txt: %q: %v", line, err)
		}
		x.two[stream] = n
	}
	return x
}

func dataLines(t *testing.T, path string) (lines []string) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// compare counts the streams of a capture. They are matched by their order, which is that of tshark.
func (x *tcpTally) compare(t *testing.T, want truth, conns []*traffic.Connection) {
	var mine []*traffic.Connection
	for _, c := range conns {
		if c.Proto == "tcp" {
			mine = append(mine, c)
		}
	}
	slices.SortStableFunc(mine, func(a, b *traffic.Connection) int { return cmp.Compare(a.Packets.First, b.Packets.First) })
	x.count(t, want.File, "all", "streams", int64(len(want.TCP)), int64(len(mine)))
	if len(want.TCP) != len(mine) {
		return
	}
	for name, w := range want.TCP {
		i, _ := strconv.Atoi(name)
		if i >= len(mine) {
			continue
		}
		c, g := mine[i], mine[i].TCP
		for _, f := range []struct {
			name string
			w, g int64
		}{
			{"packets", int64(w.Pkts), int64(c.ClientPackets + c.ServerPackets)},
			{"rst_count", int64(w.RST), int64(g.RSTCount)},
			{"fin_count", int64(w.FIN), int64(g.FINCount)},
			{"retransmissions", int64(w.Retrans), int64(g.Retransmissions)},
			{"fast_retransmissions", int64(w.Fast), int64(g.FastRetransmissions)},
			{"out_of_order", int64(w.OutOfOrder), int64(g.OutOfOrder)},
			{"dup_acks", int64(w.DupAcks), int64(g.DupACKs)},
			{"missing_segments", int64(w.Lost), int64(g.MissingSegments)},
			{"zero_window_events", int64(w.ZeroWindow), int64(g.ZeroWindowEvents)},
			{"window_full_events", int64(w.WindowFull), int64(g.WindowFullEvents)},
			{"keepalive_count", int64(w.KeepAlive), int64(g.KeepaliveCount)},
			{"initial_rtt_us", w.InitialRTT, g.InitialRTT},
		} {
			x.count(t, want.File, name, f.name, f.w, f.g)
		}
		x.completeness(t, want.File, name, &w, g.Completeness)
	}
}

// completeness compares the value at the end of the stream. tshark prints the value that a packet found, before it has
// counted the packet: a single packet finds none. In one thing ours is another on purpose: the RST that refuses a
// connection is no ACK of it (33 and not 37).
func (x *tcpTally) completeness(t *testing.T, file, stream string, w *tcpTruth, g int) {
	want := w.Completeness
	x.add(onePass, int64(want), int64(g))
	if two, ok := x.two[file+" "+stream]; ok {
		want = two
	}
	if w.Pkts == 1 && want == 0 {
		return
	}
	if want == 37 && g == 33 {
		return
	}
	x.count(t, file, stream, "connection_completeness", int64(want), int64(g))
}

func (x *tcpTally) add(figure string, want, got int64) {
	one := func(m map[string][2]int) {
		n := m[figure]
		n[1]++
		if want == got {
			n[0]++
		}
		m[figure] = n
	}
	one(x.flatter)
	if want != 0 || got != 0 {
		one(x.scored)
	}
}

func (x *tcpTally) count(t *testing.T, file, stream, figure string, want, got int64) {
	x.add(figure, want, got)
	if want == got {
		return
	}
	why := cmp.Or(x.known[file+" "+stream+": "+figure], x.known[file+": "+figure])
	if strings.HasPrefix(why, isRight) {
		x.right[figure]++
	}
	say := t.Logf
	if off := want - got; why == "" && max(off, -off) > x.loose {
		say = t.Errorf
	}
	say("%s: stream %s: %s is %d, tshark has %d: %s", file, stream, figure, got, want, why)
}

// report prints the parts and holds the floors.
func (x *tcpTally) report(t *testing.T, section string, floors map[string]float64) {
	for _, name := range slices.Sorted(maps.Keys(floors)) {
		s, all := x.scored[name], x.flatter[name]
		part, right := share(s[0], s[1]), s[0]+x.right[name]
		report(t, section, fmt.Sprintf("%-44s %6d %6d %7.2f%% %8d %7.2f%%   (%d of %d with the streams of zeros)",
			name, s[0], s[1], 100*part, right, 100*share(right, s[1]), all[0], all[1]))
		if part < floors[name] {
			t.Errorf("tcp %s: %.4f of the scored streams are equal, the floor is %.3f", name, part, floors[name])
		}
	}
}
