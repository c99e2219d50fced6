//go:build linux

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/testenv"
)

// The services of the repository that pull requests change: a frontend asks a backend, and somebody else's service is there to be
// spoken to.
const (
	pullConfig = `version: 1
services:
  frontend:
    go: ./frontend
    ports: {http: 8080}
    ready: {http: {path: /healthz}}
  backend:
    go: ./backend
    ports: {http: 8080}
    ready: {http: {path: /healthz}}
  vendor:
    go: ./vendor-standin
    outside: true
    hosts: [telemetry.vendor.example]
    ports: {http: 8080}
    ready: {http: {path: /healthz}}
exercises:
  visit:
    default: true
    steps:
      - http: {url: "http://frontend:8080/page", repeat: 16, expect_status: 200}
      - http: {url: "http://frontend:8080/order/1", repeat: 10, expect_status: 200}
      - http: {url: "http://frontend:8080/order/3", expect_status: 200}
`
	pullFrontend = `package main

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

var (
	client   = &http.Client{Timeout: 2 * time.Second}
	requests atomic.Int64
)

func ask(path string) (int, string) {
	req, err := http.NewRequest(http.MethodGet, "http://backend:8080"+path, nil)
	if err != nil {
		return 500, err.Error()
	}
	req.Header.Set("X-Request-Id", fmt.Sprintf("request-%d", requests.Add(1)))
	resp, err := client.Do(req)
	if err != nil {
		return 502, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

func page(w http.ResponseWriter, _ *http.Request) {
	status, body := ask("/items")
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

func order(w http.ResponseWriter, r *http.Request) {
	status, body := ask("/stock/" + r.PathValue("id"))
	if status == 503 {
		body = "it is sold out"
	}
	fmt.Fprint(w, body)
}

func main() {
	http.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("GET /page", page)
	http.HandleFunc("GET /order/{id}", order)
	panic(http.ListenAndServe(":8080", nil))
}
`
	pullBackend = `package main

import (
	"fmt"
	"net/http"
	"time"
)

func main() {
	http.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("GET /items", func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(30 * time.Millisecond)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, "[{\"name\":\"tea\",\"price\":3}]")
	})
	http.HandleFunc("GET /stock/{id}", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(10 * time.Millisecond)
		if r.PathValue("id") == "3" {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "5")
	})
	panic(http.ListenAndServe(":8080", nil))
}
`
	pullVendor = `package main

import "net/http"

func main() {
	http.HandleFunc("/", func(http.ResponseWriter, *http.Request) {})
	panic(http.ListenAndServe(":8080", nil))
}
`
)

// pullRequest is one change, and what its pipeline says of it.
type pullRequest struct {
	name, file, old, new string
	check                string // of the annotation
	at                   string // file and text of its line
	says                 string // in its message
}

// TestPullRequests: in a repository with a main branch, each of four pull requests that spoil the traffic is blocked by devloop ci,
// which compares with the merge base, and says so at the changed line; one that only rearranges the code passes.
func TestPullRequests(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsFull(t)
	w := repository(t)
	for _, pr := range []pullRequest{
		{name: "retry without back-off", file: "frontend/main.go", old: `	status, body := ask("/stock/" + r.PathValue("id"))
`, new: `	status, body := ask("/stock/" + r.PathValue("id"))
	for try := 1; status == 503 && try < 5; try++ {
		requests.Add(-1) // it is the same request
		status, body = ask("/stock/" + r.PathValue("id"))
	}
`, check: "baseline/retry [frontend -> backend%3A8080 GET /stock/{id}]", at: "for try := 1", says: "is retried, which it never was in"},
		{name: "keep-alive lost", file: "frontend/main.go", old: "	resp, err := client.Do(req)\n", new: "	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{}}\n	resp, err := client.Do(req)\n",
			check: "baseline/reuse [frontend -> backend%3A8080]", at: "Transport: &http.Transport{}", says: "finds its connections open for 0 %25 of the calls, and did for 100 %25"},
		{name: "new egress", file: "frontend/main.go", old: "	fmt.Fprint(w, body)\n}\n\nfunc main", new: `	fmt.Fprint(w, body)
	if resp, err := client.Get("http://telemetry.vendor.example:8080/v1/order"); err == nil {
		resp.Body.Close()
	}
}

func main`, check: "baseline/edge [frontend -> vendor%3A8080]", at: "telemetry.vendor.example", says: "is a new way out of the system"},
		{name: "20 % slower", file: "backend/main.go", old: "30 * time.Millisecond", new: "36 * time.Millisecond",
			check: "baseline/latency [frontend -> backend%3A8080 GET /items]", at: "36 * time.Millisecond", says: "got slower: 30."},
		{name: "refactoring", file: "frontend/main.go", old: `	status, body := ask("/items")
	w.WriteHeader(status)
	fmt.Fprint(w, body)
`, new: `	answer(w, "/items")
}

func answer(w http.ResponseWriter, path string) {
	status, body := ask(path)
	w.WriteHeader(status)
	fmt.Fprint(w, body)
`},
	} {
		t.Run(pr.name, func(t *testing.T) {
			began := time.Now()
			w := &workspace{t: t, dir: w.dir}
			w.git("checkout", "-q", "-B", "change", "main")
			w.edit(pr.file, pr.old, pr.new)
			w.git("commit", "-q", "-a", "-m", pr.name)
			code, stderr, summary := w.pipeline()
			t.Logf("exit %d after %s", code, time.Since(began).Round(100*time.Millisecond))
			if pr.check == "" {
				if code != 0 || strings.Contains(stderr, "::error") {
					t.Errorf("exit %d for a change that changes nothing\n%s\n%s", code, stderr, summary)
				}
				return
			}
			if code != 1 {
				t.Errorf("exit %d, want 1", code)
			}
			want := fmt.Sprintf("::error file=shop/%s,line=%d,title=fail%%3A %s::", pr.file, w.lineOf(pr.file, pr.at), pr.check)
			if line := lineWith(stderr, want); !strings.Contains(line, pr.says) {
				t.Errorf("no annotation %s… that says %q in\n%s", want, pr.says, stderr)
			} else if !regexp.MustCompile(`\(packets \d+ to \d+\)`).MatchString(line) {
				t.Errorf("no packets in %s", line)
			}
			if !strings.Contains(summary, "devloop: fail") {
				t.Errorf("the step's summary:\n%s", summary)
			}
			for _, file := range []string{"junit.xml", "devloop.sarif", "report.html", "summary.md"} {
				text, err := os.ReadFile(filepath.Join(w.dir, "devloop-report", file))
				if kind, _, _ := strings.Cut(pr.check, " "); err != nil || !bytes.Contains(text, []byte(kind)) {
					t.Errorf("%s does not speak of %s (%v)", file, kind, err)
				}
			}
		})
	}
	w.t = t
	w.gone(t)
}

// repository is a git repository with a workspace in the folder shop.
func repository(t *testing.T) *workspace {
	top := t.TempDir()
	for d := top; d != os.TempDir() && len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w := &workspace{t: t, dir: filepath.Join(top, "shop")}
	for _, dir := range []string{"frontend", "backend", "vendor-standin"} {
		if err := os.MkdirAll(filepath.Join(w.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.write("go.mod", "module shop.example\n\ngo 1.24\n")
	w.write("devloop.yaml", pullConfig)
	w.write("frontend/main.go", pullFrontend)
	w.write("backend/main.go", pullBackend)
	w.write("vendor-standin/main.go", pullVendor)
	w.write(".gitignore", ".devloop\ndevloop-report\n")
	for _, args := range [][]string{{"init", "-q", "-b", "main", top}, {"config", "user.name", "test"}, {"config", "user.email", "test@localhost"}, {"add", "."}, {"commit", "-q", "-m", "the shop"}} {
		w.git(args...)
	}
	t.Cleanup(func() {
		if code, _, stderr := w.devloop("down"); code != 0 {
			t.Errorf("devloop down: exit %d\n%s", code, stderr)
		}
	})
	return w
}

// git runs git in the workspace.
func (w *workspace) git(args ...string) {
	w.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = w.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// pipeline is the step of a pull request in GitHub Actions.
func (w *workspace) pipeline() (code int, stderr, summary string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	file := filepath.Join(w.t.TempDir(), "summary.md")
	cmd := w.command(ctx, "ci", "--against", "git:merge-base")
	cmd.Env = append(cmd.Env, "GITHUB_ACTIONS=true", "GITHUB_STEP_SUMMARY="+file)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	_ = cmd.Run() // its exit code is looked at
	text, err := os.ReadFile(file)
	if err != nil {
		w.t.Errorf("no summary: %v\n%s", err, errOut.String())
	}
	return cmd.ProcessState.ExitCode(), errOut.String(), string(text)
}

// lineOf is the line of a file, from 1, that has a text.
func (w *workspace) lineOf(file, text string) int {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, file))
	if err != nil {
		w.t.Fatal(err)
	}
	before, _, ok := strings.Cut(string(b), text)
	if !ok {
		w.t.Fatalf("%s has no %q", file, text)
	}
	return strings.Count(before, "\n") + 1
}

// lineWith is the first line that begins with a text.
func lineWith(text, begin string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, begin) {
			return line
		}
	}
	return ""
}
