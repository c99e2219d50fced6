//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/devloop"
	"github.com/devloop-io/devloop/traffic"
)

// A bundle tells on another machine what the verdict was, and its checks say the same of its rows.
func TestBundle(t *testing.T) {
	w := tiny(t)
	w.says(0, nil, "run")
	file := filepath.Join(t.TempDir(), "i1.bundle")
	w.says(0, []string{file}, "export", "bundle", "--file", file)
	w.says(2, []string{"is there already"}, "export", "bundle", "--file", file)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}

	elsewhere := &workspace{t: t, dir: t.TempDir()} // no devloop.yaml, no daemon
	code, stdout, stderr := elsewhere.devloop("open", file, "-o", "json")
	var o devloop.Opened
	if err := json.Unmarshal([]byte(stdout), &o); err != nil || code != 0 {
		t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	if o.Iteration.ID != "i1" || o.Iteration.Verdict != traffic.Pass || o.Verdict != traffic.Pass || len(o.Again) != len(o.Iteration.Checks) || len(o.Differs) > 0 {
		t.Errorf("%s then, %s now, %d of %d checks, %q", o.Iteration.Verdict, o.Verdict, len(o.Again), len(o.Iteration.Checks), o.Differs)
	}
	elsewhere.says(0, []string{"verdict then: pass", "now, over the same rows: pass"}, "open", file)
	elsewhere.says(0, []string{"GET", "200"}, "open", file, "--calls", "http")
	elsewhere.says(2, []string{"nosuch"}, "open", file, "--calls", "nosuch == 1")
	packets := filepath.Join(elsewhere.dir, "x.pcapng")
	elsewhere.says(0, nil, "open", file, "--packets", packets)
	elsewhere.says(2, []string{"is there already"}, "open", file, "--packets", packets)
	elsewhere.says(0, []string{"GET"}, "dissect", packets)

	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr = elsewhere.devloop("open", file)
	if code != 2 || !strings.Contains(stderr, "i1.bundle: open bundle") {
		t.Errorf("a damaged bundle: exit %d\n%s", code, stderr)
	}
}
