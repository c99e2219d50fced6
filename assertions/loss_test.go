package assertions

import (
	"testing"

	"github.com/devloop-io/devloop/assertions/example"
	"github.com/devloop-io/devloop/traffic"
)

// What is missing of a connection whose TLS was opened may be its handshake, and not just what is behind it.
func TestOpenedTLSHasHandshakes(t *testing.T) {
	t.Parallel()
	s, err := Parse("check.netcheck.yaml", []byte("checks:\n  - {name: modern, on: tls, allow_empty: true, expect: none(tls.version < \"1.2\")}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]traffic.Verdict{"": traffic.Pass, traffic.SourceTLSKeyLog: traffic.Inconclusive} {
		d := example.Dissection([]example.Call{{From: "a", To: "b", Conn: 1}}, []example.Connection{{ID: 1, Missing: 40}})
		d.Connections[0].CaptureSource = source
		if got := s.Check(Input{Dissection: d}, CheckOptions{NoBuiltin: true}); got[0].Verdict != want {
			t.Errorf("opened by %q: %s, want %s: %s", source, got[0].Verdict, want, got[0].Reason)
		}
	}
}
