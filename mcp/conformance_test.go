package mcp

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/testenv"
)

// TestConformance runs the official suite against one URL, in the revision with sessions and in the one without. What
// testdata/conformance.yml expects to fail calls tools, and reads resources and prompts, that only the suite's own example
// server has; a scenario that fails beyond these, or passes though it is listed, fails the test.
func TestConformance(t *testing.T) {
	testenv.NeedsFull(t)
	path := testenv.NeedsClients(t)
	url := served(t, Options{Toolsets: []string{"all"}}, fixedAnswers)
	for _, revision := range []string{"2025-11-25", "2026-07-28"} {
		t.Run(revision, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "sh", "-c", `exec conformance server --url "$1" --suite all --spec-version "$2" --expected-failures "testdata/conformance-$2.yml" -o "$3"`,
				"sh", url, revision, t.TempDir())
			cmd.Env = append(os.Environ(), "PATH="+path)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out[max(0, len(out)-4000):])
			}
			t.Logf("%s", out[max(0, len(out)-4000):])
		})
	}
}
