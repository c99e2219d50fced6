//go:build linux

package e2e

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
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

const (
	bundledAPI = `openapi: 3.0.3
info: {title: echo, version: "1"}
paths:
  /:
    get:
      responses:
        "200": {description: hello, content: {application/json: {schema: {$ref: 'schemas/hello.yaml'}}}}
`
	bundledChecks = `checks:
  - name: echo answers
    on: http && dst.service.name == "echo"
    expect: none(status_code >= 500)
  - name: echo answers as documented
    on: http && dst.service.name == "echo"
    expect: conforms("api/openapi.yaml")
  - name: echo would be documented otherwise
    on: http && dst.service.name == "echo"
    severity: warning
    expect: conforms("api/gone.yaml")
`
	bundledSecret = "s3cr3t-ti7ket-0f-the-exercise"
)

// devloop ci of a git repository whose check fails leaves a bundle: private, without the exercise's secret, and with all that its
// checks read, so that they say the same in an empty folder.
func TestBundleOfAPipeline(t *testing.T) {
	w := tiny(t)
	if err := os.MkdirAll(filepath.Join(w.dir, "api", "schemas"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.write("api/openapi.yaml", bundledAPI)
	w.write("api/schemas/hello.yaml", "type: object\n")
	w.write("echo.netcheck.yaml", bundledChecks)
	w.edit("devloop.yaml", "expect_status: 200}", "expect_status: 200, headers: {Authorization: Bearer "+bundledSecret+"}}")
	w.write(".gitignore", ".devloop\ndevloop-report\n")
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"config", "user.name", "test"}, {"config", "user.email", "test@localhost"}, {"add", "."}, {"commit", "-q", "-m", "echo"}} {
		w.git(args...)
	}
	file := filepath.Join(t.TempDir(), "ci.bundle")
	w.says(1, []string{"echo answers as documented", "verdict: fail"}, "ci", "--bundle", file)
	w.gone(t)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	members := unpacked(t, file)
	for name, text := range members {
		if bytes.Contains(text, []byte(bundledSecret)) {
			t.Errorf("%s holds the exercise's secret", name)
		}
	}
	if got := string(members["contracts/000"]); got != bundledAPI || len(members["contracts/001"]) == 0 || len(members["packets.pcapng"]) == 0 {
		t.Errorf("the bundle holds %d members, and as its first contract\n%s", len(members), got)
	}

	elsewhere := &workspace{t: t, dir: t.TempDir()}
	code, stdout, stderr := elsewhere.devloop("open", file, "-o", "json")
	var o devloop.Opened
	if err := json.Unmarshal([]byte(stdout), &o); err != nil || code != 1 || o.Verdict != traffic.Fail || len(o.Differs) > 0 {
		t.Fatalf("exit %d, %v, verdict %s, other verdicts %q\n%s", code, err, o.Verdict, o.Differs, stderr)
	}
	for i, was := range o.Iteration.Checks {
		if now := o.Again[i]; now.Verdict != was.Verdict || now.Reason != was.Reason {
			t.Errorf("%s was %s: %s\nand is %s: %s", was.Name, was.Verdict, was.Reason, now.Verdict, now.Reason)
		}
	}
	elsewhere.says(1, []string{"echo answers as documented", "promises", "verdict then: fail   now, over the same rows: fail"}, "open", file)
	if left, err := os.ReadDir(elsewhere.dir); err != nil || len(left) > 0 {
		t.Errorf("opening left %v, %v", left, err)
	}
}

// unpacked are a bundle's members.
func unpacked(t *testing.T, file string) map[string][]byte {
	t.Helper()
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	members := map[string][]byte{}
	for _, f := range z.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if members[f.Name], err = io.ReadAll(in); err != nil {
			t.Fatal(err)
		}
		in.Close()
	}
	return members
}
