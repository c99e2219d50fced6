package dissect_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/devloop-io/devloop/internal/testenv"
)

// Of altered captures.
const (
	alteredVariable = "DEVLOOP_TRUTH_ALTERED" // how many files each alteration is tried on; 1 is alteredFiles
	alteredFiles    = 45
	alteredMost     = 1500 // packets
)

// alteredFloors are the parts of the scored streams of altered captures whose figures are those of tshark.
var alteredFloors = map[string]float64{
	"retransmissions": 0.98, "fast_retransmissions": 0.98, "out_of_order": 0.98, "dup_acks": 0.98, "missing_segments": 0.98,
	"zero_window_events": 0.98, "window_full_events": 0.98, "keepalive_count": 0.98, "connection_completeness": 0.98,
	"initial_rtt_us": 0.98, "rst_count": 0.98, "fin_count": 0.98, "packets": 0.98, "streams": 0.98,
}

// TestTruthAltered compares what is found in altered foreign captures with what tshark finds in the same files.
func TestTruthAltered(t *testing.T) {
	most := needsAltered(t)
	dir := testenv.NeedsFolder(t, "DEVLOOP_PCAPS")
	testenv.NeedsProgram(t, "tshark")
	files, rare := alteredSources(t, readTruth(t, dir))
	sum := newAlteredTally(t)
	for k, a := range alterations {
		t.Run(a.what, func(t *testing.T) {
			x := newAlteredTally(t)
			x.all(t, dir, a, choose(files, rare, most, k))
			sum.merge(x)
			report(t, "5-altered-kinds", fmt.Sprintf("%02d %-34s %s", k+1, a.what, x))
		})
	}
	sum.calls.judge(t, "6-altered-calls")
	sum.tcp.report(t, "7-altered-tcp", alteredFloors)
}

// needsAltered skips unless the test was asked for, and returns how many files an alteration is tried on.
func needsAltered(t *testing.T) int {
	n, err := strconv.Atoi(testenv.NeedsAsked(t, alteredVariable))
	if err != nil || n < 1 {
		t.Fatalf("%s is the number of captures to alter in each way, or 1 for %d", alteredVariable, alteredFiles)
	}
	if n == 1 {
		n = alteredFiles
	}
	return n
}

// alteredSources are the captures to alter: those with calls or TCP streams, and of these the ones with what few have. Those that are known to
// differ are left out: every alteration would find the same again.
func alteredSources(t *testing.T, all []truth) (files, rare []string) {
	known := readKnown(t)
	for _, line := range dataLines(t, "testdata/known_tcp.txt") {
		file, why, _ := strings.Cut(line, ": ")
		file, _, _ = strings.Cut(file, " ") // its stream
		known[file] = why
	}
	for _, w := range all {
		lists, packets := w.lists(), 0
		for _, s := range w.TCP {
			packets += s.Pkts
		}
		if known[w.File] != "" || len(lists) == 0 && packets == 0 || packets > alteredMost {
			continue
		}
		files = append(files, w.File)
		if len(w.PGSQL)+len(w.Redis)+len(w.HTTP2) > 0 {
			rare = append(rare, w.File)
		}
	}
	return files, rare
}

// choose takes so many files, others for each alteration, and the rare ones always.
func choose(files, rare []string, most, k int) []string {
	chosen := slices.Clone(rare)
	step := max(1, len(files)/most)
	if step%7 == 0 { // else all would begin with the same one
		step++
	}
	for i := k * 7 % step; i < len(files); i += step {
		if !slices.Contains(rare, files[i]) {
			chosen = append(chosen, files[i])
		}
	}
	return chosen
}

// alteredTally counts what one alteration, or all, gave.
type alteredTally struct {
	mutex sync.Mutex
	calls *callTally
	tcp   *tcpTally
}

func newAlteredTally(t *testing.T) *alteredTally {
	x := &alteredTally{calls: newCallTally(), tcp: newTCPTally(t)}
	x.tcp.known, x.tcp.two, x.tcp.loose = nil, nil, math.MaxInt64 // differences are counted, and held by floors
	return x
}

// all alters captures, two with two processors.
func (x *alteredTally) all(t *testing.T, dir string, a alteration, files []string) {
	var workers sync.WaitGroup
	jobs := make(chan int)
	for range runtime.NumCPU() {
		workers.Go(func() {
			for i := range jobs {
				x.compare(t, dir, a, files[i], files[(i+1)%len(files)])
			}
		})
	}
	for i := range files {
		jobs <- i
	}
	close(jobs)
	workers.Wait()
}

// compare alters a capture and counts what is found in it.
func (x *alteredTally) compare(t *testing.T, dir string, a alteration, file, next string) {
	r := rand.New(rand.NewPCG(uint64(len(file)), 5))
	packets := a.change(r, foreignPackets(filepath.Join(dir, file), alteredMost), foreignPackets(filepath.Join(dir, next), alteredMost))
	if len(packets) == 0 {
		return
	}
	altered := filepath.Join(t.TempDir(), "altered.pcapng")
	writePackets(t, altered, packets)
	defer os.Remove(altered)
	want := askTshark(t, altered)
	calls, conns, err := dissectFile(altered)
	if err != nil {
		t.Errorf("%s, %s: %v", file, a.what, err)
	}
	want.File = a.what + ": " + file
	x.mutex.Lock()
	defer x.mutex.Unlock()
	x.calls.compare(&want, calls, func(kind string, missing []string, of int) {
		t.Logf("%s: %s: lacks %.200q of %d", want.File, kind, missing, of)
	})
	x.tcp.compare(t, want, conns)
}

func (x *alteredTally) merge(y *alteredTally) {
	for kind, n := range y.calls.wanted {
		x.calls.wanted[kind] += n
		x.calls.found[kind] += y.calls.found[kind]
	}
	for _, m := range [][2]map[string][2]int{{x.tcp.scored, y.tcp.scored}, {x.tcp.flatter, y.tcp.flatter}} {
		for figure, n := range m[1] {
			m[0][figure] = [2]int{m[0][figure][0] + n[0], m[0][figure][1] + n[1]}
		}
	}
}

// String is a line of the report.
func (x *alteredTally) String() string {
	var b strings.Builder
	for _, c := range x.calls.comparisons() {
		fmt.Fprintf(&b, "%5d/%-5d", c.ours, c.tshark)
	}
	equal, scored := 0, 0
	for name := range alteredFloors {
		equal, scored = equal+x.tcp.scored[name][0], scored+x.tcp.scored[name][1]
	}
	fmt.Fprintf(&b, "%6d/%-6d", equal, scored)
	return b.String()
}
