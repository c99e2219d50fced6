//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/devloop-io/devloop/internal/testenv"
)

const tinyConfig = `version: 1
services:
  echo:
    command: ./echo
    ports: {http: 8080}
    env: {LISTEN: ":8080"}
    watch: [echo]
    ready: {http: {path: /healthz}, timeout: 2s}
exercises:
  greet:
    default: true
    steps:
      - http: {url: "http://echo:8080/", repeat: 3, expect_status: 200}
  teapot:
    steps:
      - http: {url: "http://echo:8080/", expect_status: 418}
  crash:
    steps:
      - http: {url: "http://echo:8080/crash"}
checks: ["*.netcheck.yaml"]
`

const tinyChecks = `checks:
  - name: echo answers
    on: http && dst.service.name == "echo"
    expect: none(status_code >= 500)
`

// echoSource is the one service of the tiny workspace. It ends when it is told to.
const echoSource = `package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	if os.Getenv("CRASH_AT_START") != "" {
		fmt.Fprintln(os.Stderr, "cannot go on: the table is empty")
		os.Exit(7)
	}
	http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) {
		fmt.Fprintln(os.Stderr, "cannot go on: the well is dry")
		os.Exit(9)
	})
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello"+os.Getenv("MORE")) })
	if err := http.ListenAndServe(os.Getenv("LISTEN"), nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
`

var echoProgram = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "devloop-echo-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	source, built := filepath.Join(dir, "main.go"), filepath.Join(dir, "echo")
	if err := os.WriteFile(source, []byte(echoSource), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", built, source)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	return os.ReadFile(built)
})

// tiny is a workspace with one service, which is built already: what a test of devloop's own conduct needs.
func tiny(t *testing.T) *workspace {
	t.Helper()
	testenv.NeedsRoot(t)
	testenv.NeedsFull(t)
	echo, err := echoProgram()
	if err != nil {
		t.Fatalf("build the service: %v", err)
	}
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w := &workspace{t: t, dir: dir}
	w.write("devloop.yaml", tinyConfig)
	w.write("echo.netcheck.yaml", tinyChecks)
	if err := os.WriteFile(filepath.Join(dir, "echo"), echo, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if code, _, stderr := w.devloop("down"); code != 0 {
			t.Errorf("devloop down: exit %d\n%s", code, stderr)
		}
		if t.Failed() {
			w.dumpLog()
		}
	})
	return w
}

// says runs a command and wants an exit code and words in what it writes, on either output.
func (w *workspace) says(code int, words []string, args ...string) string {
	w.t.Helper()
	got, stdout, stderr := w.devloop(args...)
	if got != code {
		w.t.Errorf("devloop %s: exit %d, want %d", strings.Join(args, " "), got, code)
	}
	for _, word := range words {
		if !strings.Contains(stdout+stderr, word) {
			w.t.Errorf("devloop %s does not say %q", strings.Join(args, " "), word)
		}
	}
	if w.t.Failed() {
		w.t.Logf("devloop %s:\n%s%s", strings.Join(args, " "), stdout, stderr)
	}
	return stdout + stderr
}

// gone wants nothing left of the workspace: what nothingLeft looks for, and no process that works in its folder. The
// kernel may take a moment to end what was killed.
func (w *workspace) gone(t *testing.T) {
	t.Helper()
	eventually(t, "no process works in "+w.dir, func() bool {
		folders, _ := filepath.Glob("/proc/[0-9]*/cwd")
		for _, f := range folders {
			if cwd, err := os.Readlink(f); err == nil && (cwd == w.dir || strings.HasPrefix(cwd, w.dir+"/")) {
				return false
			}
		}
		return true
	})
	w.nothingLeft(t)
}
