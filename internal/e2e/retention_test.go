//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestSnapshotsMakeRoom: old snapshots go when new ones need their room, while the daemon that made them lives, and any
// can be deleted by hand.
func TestSnapshotsMakeRoom(t *testing.T) {
	w := tiny(t)
	w.edit("devloop.yaml", "checks:", "storage: {snapshots: 200KiB}\nchecks:")
	last := ""
	for range 6 {
		it := w.run()
		if it.Snapshot == "" {
			t.Fatalf("no snapshot: %+v", it.Failure)
		}
		last = it.Snapshot
	}
	list := w.says(0, []string{last}, "snapshot", "list")
	if strings.Contains(list, "\ni1 ") {
		t.Errorf("six snapshots in 200 KiB:\n%s", list)
	}
	w.says(0, nil, "snapshot", "verify", last)
	w.says(0, nil, "snapshot", "delete", last)
	w.says(2, []string{fmt.Sprintf("delete snapshot %s", last), "devloop snapshot list"}, "snapshot", "delete", last)
}
