package mcp

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/internal/testenv"
)

// TestConformance runs the official suite against one URL, in the revision with sessions and in the one without. What the suite
// calls of its own example server's is added to devloop's as fixtures. A scenario that fails, or that only warns and is not in
// testdata/conformance-REVISION.yml, fails the test; so does one that is listed and passes.
func TestConformance(t *testing.T) {
	testenv.NeedsFull(t)
	path := testenv.NeedsClients(t)
	daemon := daemonOf(t, fixedAnswers, new(strings.Builder))
	f, err := newFace(Options{Toolsets: []string{"all"}, Connect: func(context.Context) (*control.Client, error) { return daemon, nil }})
	if err != nil {
		t.Fatal(err)
	}
	addFixtures(t, f.server)
	s := httptest.NewServer(f.handler())
	defer f.close()
	defer s.Close()
	for _, revision := range []string{"2025-11-25", "2026-07-28"} {
		t.Run(revision, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "sh", "-c", `exec conformance server --url "$1" --suite all --spec-version "$2" --expected-failures "testdata/conformance-$2.yml" -o "$3"`,
				"sh", s.URL, revision, t.TempDir())
			cmd.Env = append(os.Environ(), "PATH="+path)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out[max(0, len(out)-4000):])
			}
			t.Logf("%s", out[max(0, len(out)-4000):])
		})
	}
}
