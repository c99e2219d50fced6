package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/traffic"
)

// TestEventsAreSealed keeps what happened in the cluster beside the packets, digested like them.
func TestEventsAreSealed(t *testing.T) {
	t.Parallel()
	s, err := Open(filepath.Join(t.TempDir(), ".devloop"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []traffic.ClusterEvent{
		{Time: 5, Kind: traffic.EventRestart, Reason: "OOMKilled", Object: "Pod/payment-1", Namespace: "shop", Pod: "payment-1", Container: "payment",
			Message: "payment-1 was restarted: OOMKilled (exit code 137)", ExitCode: 137, Warning: true},
		{Time: 6, Kind: traffic.EventNode, Reason: "NodeNotReady", Object: "Node/n1", Node: "n1", Count: 3},
	}
	sn, err := s.Seal(t.Context(), SealRequest{ID: "i1", WindowStart: 1, WindowEnd: 9, Events: want})
	if err != nil {
		t.Fatal(err)
	}
	defer sn.Close()
	if diff := cmp.Diff(want, sn.Events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	path := filepath.Join(sn.Dir(), eventsName)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), "payment-1", "payment-2", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sn.Verify(t.Context()); err == nil || !strings.Contains(err.Error(), eventsName) {
		t.Errorf("verify says %v of events that were changed", err)
	}
	none, err := s.Seal(t.Context(), SealRequest{ID: "i2"})
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	if none.Events != nil {
		t.Errorf("a window without events has %v", none.Events)
	}
}
