package devloop

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/traffic"
)

// What passed before an iteration ran the same, has its packets, and is of one revision: the last that is meant.
func TestPassedBefore(t *testing.T) {
	at := int64(0)
	it := func(id, revision, exercise string, v traffic.Verdict) *traffic.Iteration {
		at++
		return &traffic.Iteration{ID: id, Revision: revision, Snapshot: id, Verdict: v, Started: at, Exercise: &traffic.ExerciseResult{Name: exercise}}
	}
	s := &Session{recent: []*traffic.Iteration{
		it("old", "r1", "buy", traffic.Pass), it("a", "r2", "buy", traffic.Pass), it("failed", "r2", "buy", traffic.Fail), it("open", "r2", "buy", traffic.Inconclusive),
		it("b", "r2", "buy", traffic.Pass), it("other", "r2", "look", traffic.Pass), it("gone", "r2", "buy", traffic.Pass), it("window", "r2", "buy", traffic.Pass),
		it("own", "r3", "buy", traffic.Pass),
	}}
	s.recent[6].Snapshot, s.recent[7].Trigger = "", "window"
	now, next := it("now", "r3", "buy", traffic.Pass), it("next", "r4", "buy", traffic.Pass)
	s.recent = append(s.recent, now, it("later", "r2", "buy", traffic.Pass))
	for name, x := range map[string]struct {
		of   *traffic.Iteration
		same own
		want []string
	}{
		"its own revision passed already": {now, ownEnds, nil},
		"beyond its own revision":         {now, ownPassedOver, []string{"a", "b"}},
		"its own counts":                  {now, ownCounts, []string{"own"}},
		"of another revision":             {next, ownEnds, []string{"own", "now"}},
		"of the first":                    {s.recent[0], ownCounts, nil},
		"after one":                       {s.recent[1], ownEnds, []string{"old"}},
	} {
		var got []string
		for _, p := range s.passedBefore(x.of, x.same) {
			got = append(got, p.ID)
		}
		if diff := cmp.Diff(x.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
