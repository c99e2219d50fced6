package assertions

import (
	"testing"

	"github.com/devloop-io/devloop/assertions/example"
	"github.com/devloop-io/devloop/traffic"
)

// A call that is open may have been answered where the capture has a hole: how long it was looked at is no bound of how long it took.
func TestOpenCallsDidNotWait(t *testing.T) {
	t.Parallel()
	s, err := Parse("check.netcheck.yaml", []byte("checks:\n  - {name: quick, on: http, expect: max(latency) < duration(\"1s\")}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for state, want := range map[traffic.State]traffic.Verdict{traffic.StateUnanswered: traffic.Fail, traffic.StateOpen: traffic.Inconclusive} {
		d := example.Dissection([]example.Call{{From: "a", To: "b", State: string(state), MS: 5000}}, nil)
		d.Calls[0].End = d.Calls[0].Start + 5e9
		if got := s.Check(Input{Dissection: d}, CheckOptions{NoBuiltin: true}); got[0].Verdict != want {
			t.Errorf("%s: %s, want %s: %s", state, got[0].Verdict, want, got[0].Reason)
		}
	}
}
