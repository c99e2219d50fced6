package dissect_test

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// rows is what a window yields.
type rows struct {
	Calls       []*traffic.Call
	Connections []*traffic.Connection
	Account     traffic.Account
}

// into collects rows; every window needs its own.
func (r *rows) into() dissect.Options {
	return dissect.Options{
		OnCall:       func(c *traffic.Call) { r.Calls = append(r.Calls, c) },
		OnConnection: func(c *traffic.Connection) { r.Connections = append(r.Connections, c) },
	}
}

// feed runs packets as one window, numbered from 1.
func feed(d *dissect.Dissector, packets []traffic.Packet, ifaces []*traffic.Interface) traffic.Account {
	for i, p := range packets {
		p.Number = uint64(i + 1)
		var ifc *traffic.Interface
		if p.Interface < len(ifaces) {
			ifc = ifaces[p.Interface]
		}
		d.Packet(&p, ifc)
	}
	return d.EndWindow()
}

// split checks that the packets from at on yield the same rows whether their window is dissected alone, from the
// checkpoint, or by the dissector that saw all before.
func split(t *testing.T, packets []traffic.Packet, ifaces []*traffic.Interface, at int) {
	t.Helper()
	var first, going, alone rows
	target := &first
	o := dissect.Options{
		OnCall:       func(c *traffic.Call) { target.Calls = append(target.Calls, c) },
		OnConnection: func(c *traffic.Connection) { target.Connections = append(target.Connections, c) },
	}
	d := dissect.New(o)
	feed(d, packets[:at], ifaces)
	state, err := d.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	target = &going
	going.Account = feed(d, packets[at:], ifaces)

	r, err := dissect.Restore(alone.into(), state)
	if err != nil {
		t.Fatal(err)
	}
	alone.Account = feed(r, packets[at:], ifaces)
	if diff := cmp.Diff(going, alone, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); diff != "" {
		t.Errorf("window 2 from packet %d on: going on (-) and from the checkpoint (+) differ:\n%.3000s", at, diff)
	}
}

func readPackets(path string, limit int) (packets []traffic.Packet, ifaces []*traffic.Interface) {
	r, err := pcapfile.Open(path)
	if err != nil {
		return nil, nil
	}
	defer r.Close()
	var p traffic.Packet
	for len(packets) < limit && r.Next(&p) == nil {
		q := p
		q.Data = append([]byte(nil), p.Data...)
		packets = append(packets, q)
	}
	for i := range r.Interfaces() {
		ifaces = append(ifaces, r.Interface(i))
	}
	return packets, ifaces
}

// TestCheckpointForeign splits foreign captures: the small ones at every packet, the others at random.
func TestCheckpointForeign(t *testing.T) {
	dir := testenv.NeedsFolder(t, "DEVLOOP_PCAPS")
	rng := rand.New(rand.NewPCG(1, 2))
	for _, want := range readTruth(t, dir) {
		packets, ifaces := readPackets(filepath.Join(dir, want.File), 2000)
		tries := len(packets)
		if tries > 10 {
			tries = 2
		}
		for k := range tries {
			at := k
			if tries != len(packets) {
				at = rng.IntN(len(packets))
			}
			split(t, packets, ifaces, at)
			if t.Failed() {
				t.Fatalf("in %s", want.File)
			}
		}
	}
}

// TestCheckpointBenchmark splits the capture that DEVLOOP_BENCH_PCAP names, where it is set.
func TestCheckpointBenchmark(t *testing.T) {
	path := os.Getenv("DEVLOOP_BENCH_PCAP")
	if path == "" {
		t.Skip("needs DEVLOOP_BENCH_PCAP to name a capture")
	}
	packets, ifaces := readPackets(path, 1500)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		split(t, packets, ifaces, rng.IntN(len(packets)))
	}
}
