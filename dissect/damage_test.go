package dissect_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// TestDamage dissects every foreign capture with bytes flipped, packets cut, lost and swapped. Nothing may panic, take long, or
// hold more memory than the limits allow.
func TestDamage(t *testing.T) {
	dir := testenv.NeedsFolder(t, "DEVLOOP_PCAPS")
	const limit = 4 << 20
	for i, x := range readTruth(t, dir) {
		r := rand.New(rand.NewPCG(uint64(i), 7))
		packets := foreignPackets(filepath.Join(dir, x.File), 2000)
		for j := range packets {
			p := &packets[j]
			switch n := len(p.Data); {
			case n > 0 && r.IntN(4) == 0:
				p.Data[r.IntN(n)] ^= byte(1 << r.IntN(8))
			case n > 0 && r.IntN(20) == 0:
				p.Data = p.Data[:r.IntN(n)]
			case r.IntN(20) == 0 && j > 0:
				packets[j-1], packets[j] = packets[j], packets[j-1]
			}
		}
		began := time.Now()
		d := dissect.New(dissect.Options{MaxTotal: limit, MaxBuffered: limit / 4, OnCall: func(*traffic.Call) {}})
		feed(d, packets, nil)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: %d packets took %v", x.File, len(packets), took)
		}
		if i%100 == 0 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			if m.HeapAlloc > 256<<20 {
				t.Fatalf("%s: %d MiB are held", x.File, m.HeapAlloc>>20)
			}
			runtime.KeepAlive(d)
		}
	}
}

// TestCutCaptures ends every foreign capture after each of some random packets: what waits must not stay unsaid or panic.
func TestCutCaptures(t *testing.T) {
	dir := testenv.NeedsFolder(t, "DEVLOOP_PCAPS")
	for i, x := range readTruth(t, dir) {
		r := rand.New(rand.NewPCG(uint64(i), 11))
		packets := foreignPackets(filepath.Join(dir, x.File), 500)
		if len(packets) == 0 {
			continue
		}
		end, n := r.IntN(len(packets)), 0
		_, err := dissect.Run(context.Background(), func(p *traffic.Packet) error {
			if n++; n > end {
				return io.EOF
			}
			*p = packets[n-1]
			return nil
		}, nil, dissect.Options{OnCall: func(*traffic.Call) {}})
		if err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", x.File, err)
		}
	}
}

// foreignPackets reads at most so many packets of a capture, with data of their own. What is broken ends it.
func foreignPackets(path string, most int) (packets []traffic.Packet) {
	r, err := pcapfile.Open(path)
	if err != nil {
		return nil
	}
	defer r.Close()
	var p traffic.Packet
	for len(packets) < most && r.Next(&p) == nil {
		q := p
		q.Data = append([]byte(nil), p.Data...)
		packets = append(packets, q)
	}
	return packets
}
