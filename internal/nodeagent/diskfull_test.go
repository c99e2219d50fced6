//go:build linux && (amd64 || arm64)

package nodeagent_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/devloop-io/devloop/capture/agent"
)

// TestTheRingsDiskIsFull: what cannot be written is counted and said, and with room again all is recorded again.
func TestTheRingsDiskIsFull(t *testing.T) {
	n := newNode(t)
	o := n.options()
	o.Segment = 256 << 10
	if err := unix.Mount("tmpfs", o.Ring, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the agent: cleanups run last first
		if err := unix.Unmount(o.Ring, 0); err != nil {
			t.Error(err)
		}
	})
	filler := filepath.Join(o.Ring, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := serve(t, o)
	s := dial(t, agent.Options{Address: addr})
	got, _ := listen(t, s)
	flood := start(t, n.a, "flood", "")
	const each = 10000 // some 4 MB a direction
	flood.ask(20000, each)
	h, err := s.Client().Health(t.Context())
	if err != nil || h.OK || h.Problem == "" {
		t.Errorf("on a full disk the agent says %+v, %v", h, err)
	}
	t.Logf("the agent says: %s", h.Problem)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	flood.ask(20000, 100)
	if !poll(func() bool {
		h, err = s.Client().Health(t.Context())
		return err == nil && h.OK
	}) {
		t.Errorf("with room again the agent says %+v, %v", h, err)
	}
	if _, err := s.Client().Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	flood.ask(20000, 100)
	flush(t, s)
	got.mu.Lock()
	defer got.mu.Unlock()
	if st := s.Stats(); uint64(got.total)+st.Dropped != 2*(each+200) || st.Dropped == 0 || got.total < 2*200 {
		t.Errorf("%d came and %d are counted as lost, of %d; gaps %+v", got.total, st.Dropped, 2*(each+200), s.Gaps())
	}
}
