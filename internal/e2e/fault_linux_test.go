package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/localenv"
	"github.com/devloop-io/devloop/traffic"
)

const edgeConfig = `version: 1
services:
  checkout:
    command: ./edge
    ports: {http: 8080}
    env: {LISTEN: ":8080", NEXT: "http://payment:8080/"}
    ready: {http: {path: /healthz}, timeout: 5s}
    depends_on: [payment]
  payment:
    command: ./edge
    ports: {http: 8080}
    env: {LISTEN: ":8080"}
    ready: {http: {path: /healthz}, timeout: 5s}
exercises:
  buy:
    default: true
    steps:
      - http: {url: "http://checkout:8080/buy", repeat: 6}
checks: ["*.netcheck.yaml"]
`

// edgeSource is a service that asks another one, if there is one, and says how that went.
const edgeSource = `package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	client := &http.Client{Timeout: 700 * time.Millisecond}
	http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		next := os.Getenv("NEXT")
		if next == "" {
			io.WriteString(w, strings.Repeat("paid ", 200))
			return
		}
		resp, err := client.Post(next, "text/plain", strings.NewReader("pay"))
		if err != nil {
			fmt.Fprintln(w, "error", err)
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		fmt.Fprintln(w, resp.StatusCode, len(b), err)
	})
	panic(http.ListenAndServe(os.Getenv("LISTEN"), nil))
}
`

var edgeProgram = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "devloop-edge-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	source, built := filepath.Join(dir, "main.go"), filepath.Join(dir, "edge")
	if err := os.WriteFile(source, []byte(edgeSource), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", built, source)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(built)
})

// faultCall is what the test looks at of a call.
type faultCall struct {
	Status    int               `json:"status"`
	Error     string            `json:"error"`
	LatencyMS float64           `json:"latency_ms"`
	Headers   map[string]string `json:"resp_headers"`
	Body      string            `json:"resp_body"`
}

// asked are the calls to payment of an iteration: all of them have to be checkout's.
func (w *workspace) asked(it *traffic.Iteration) []faultCall {
	w.t.Helper()
	all, own := w.matching(it, `http && dst.service.name == "payment" && path != "/healthz"`), w.matching(it, `http && src.service.name == "checkout" && dst.service.name == "payment"`)
	if len(all) != len(own) {
		w.t.Errorf("%d calls to payment, and %d of them from checkout", len(all), len(own))
	}
	return own
}

// told is what checkout said of its own calls.
func (w *workspace) told(it *traffic.Iteration) []string {
	w.t.Helper()
	var list []string
	for _, c := range w.matching(it, `http && dst.service.name == "checkout" && path != "/healthz"`) {
		list = append(list, c.Body)
	}
	return list
}

func (w *workspace) matching(it *traffic.Iteration, filter string) []faultCall {
	w.t.Helper()
	code, stdout, stderr := w.devloop("calls", "--iteration", it.ID, "--full", "-o", "json", filter)
	if code != 0 {
		w.t.Fatalf("devloop calls: exit %d: %s", code, stderr)
	}
	var a struct {
		Calls []faultCall `json:"calls"`
	}
	if err := json.Unmarshal([]byte(stdout), &a); err != nil {
		w.t.Fatalf("%v: %s", err, stdout)
	}
	return a.Calls
}

func TestFaults(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsFull(t)
	testenv.NeedsProgram(t, "nft")
	program, err := edgeProgram()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w := &workspace{t: t, dir: dir}
	t.Cleanup(func() {
		if code, _, stderr := w.devloop("down"); code != 0 {
			t.Errorf("devloop down: exit %d\n%s", code, stderr)
		}
		w.gone(t)
	})
	w.write("devloop.yaml", edgeConfig)
	w.write("a.netcheck.yaml", "checks:\n  - name: payment answers\n    on: http && src.service.name == \"checkout\"\n    expect: none(status_code >= 500)\n")
	if err := os.WriteFile(filepath.Join(w.dir, "edge"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	clean := w.run()
	if clean.Verdict != traffic.Pass || len(w.asked(clean)) != 6 {
		t.Fatalf("without a fault: %s, %d calls\n%s", clean.Verdict, len(w.asked(clean)), explain(clean.Checks))
	}
	for _, kind := range []string{"latency", "status", "refuse", "reset", "stall", "truncate", "drop"} {
		t.Run(kind, func(t *testing.T) {
			w.says(0, []string{kind}, "fault", "set", "--from", "checkout", "--to", "payment:http", "--kind", kind, "--delay", "150ms", "--rate", rates[kind])
			w.says(0, []string{"warning: fault", "checkout → payment:8080"}, "status")
			w.says(2, []string{"(checkout -> payment) is active, and a baseline would take"}, "baseline", "record", "--runs", "1")
			w.says(2, []string{"clear it first"}, "fault", "set", "--from", "checkout", "--to", "payment", "--kind", kind)
			_, stdout, stderr := w.devloop("run", "-o", "json")
			var it traffic.Iteration
			if err := json.Unmarshal([]byte(stdout), &it); err != nil {
				t.Fatalf("%v: %s %s", err, stdout, stderr)
			}
			if !strings.Contains(strings.Join(it.Warnings, "\n"), "checkout → payment:8080: "+kind) {
				t.Errorf("the iteration does not warn of the fault: %q", it.Warnings)
			}
			if said := shows[kind](w.asked(&it), w.told(&it)); said != "" {
				t.Errorf("%s\n%v\n%v", said, w.asked(&it), w.told(&it))
			}
			w.says(0, []string{"cleared"}, "fault", "clear", "--all")
			w.noTraces(t)
		})
	}
	after := w.run()
	if after.Verdict != traffic.Pass || len(w.asked(after)) != 6 {
		t.Errorf("after the faults: %s, %d calls\n%s", after.Verdict, len(w.asked(after)), explain(after.Checks))
	}
	w.says(2, []string{"at most 1"}, "fault", "set", "--from", "checkout", "--to", "payment", "--kind", "reset", "--rate", "2")
	w.says(2, []string{"no service is called"}, "fault", "set", "--from", "checkout", "--to", "nobody", "--kind", "reset")
	w.says(0, nil, "fault", "set", "--from", "exercise", "--to", "checkout", "--kind", "reset", "--for", "300ms")
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, stdout, _ := w.devloop("fault", "list", "-o", "json")
		var a control.FaultsAnswer
		if err := json.Unmarshal([]byte(stdout), &a); err != nil {
			t.Fatal(err)
		}
		if last := a.Faults[len(a.Faults)-1]; last.EndedNS != 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the fault does not end by itself")
		}
	}
	w.noTraces(t)
	w.says(0, nil, "fault", "set", "--from", "exercise", "--to", "checkout", "--kind", "stall")
	_, stdout, _ := w.devloop("status", "-o", "json")
	var st control.Status
	if err := json.Unmarshal([]byte(stdout), &st); err != nil || st.PID <= 1 {
		t.Fatalf("%v: %s", err, stdout)
	}
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil { // down has to find what the daemon cannot tell of any more
		t.Fatal(err)
	}
}

// rates are shares with which each kind shows in six requests and the client does not wait forever.
var rates = map[string]string{"latency": "1", "status": "1", "refuse": "1", "reset": "1", "stall": "1", "truncate": "1", "drop": "0.4"}

// shows says what is missing of how a fault looks on the wire, and to the client.
var shows = map[string]func(calls []faultCall, told []string) string{
	"latency":  each(func(c faultCall) bool { return c.Status == 200 && c.LatencyMS >= 150 && c.LatencyMS < 600 }, "200 1000 <nil>"),
	"status":   each(func(c faultCall) bool { return c.Status == 503 && c.Headers["X-Devloop-Fault"] != "" }, "503 45 <nil>"),
	"reset":    each(func(c faultCall) bool { return c.Error == "connection_reset" }, "connection reset by peer"),
	"stall":    each(func(c faultCall) bool { return c.Status == 0 && c.Error != "" }, "Client.Timeout"),
	"truncate": each(func(c faultCall) bool { return c.Status == 200 && c.Error == "truncated" }, "200 500 unexpected EOF"),
	"refuse": func(calls []faultCall, told []string) string {
		if len(calls) != 0 || len(told) != 6 || !strings.Contains(told[0], "connection refused") {
			return "the connections are not refused"
		}
		return ""
	},
	"drop": func(calls []faultCall, told []string) string {
		slow := 0
		for _, c := range calls {
			if c.LatencyMS >= 150 || c.Error != "" {
				slow++
			}
		}
		if len(calls) >= 6 && slow == 0 || len(told) != 6 {
			return "no packets are lost"
		}
		return ""
	},
}

// each wants six calls of a kind, and the client's word for it.
func each(like func(faultCall) bool, word string) func([]faultCall, []string) string {
	return func(calls []faultCall, told []string) string {
		if len(calls) != 6 || len(told) != 6 {
			return fmt.Sprintf("%d calls of %d that were asked for; want 6", len(calls), len(told))
		}
		for i, c := range calls {
			if !like(c) || !strings.Contains(told[i], word) {
				return fmt.Sprintf("call %d does not show the fault", i)
			}
		}
		return ""
	}
}

// noTraces looks for what faults leave in namespaces that go on living.
func (w *workspace) noTraces(t *testing.T) {
	t.Helper()
	spaces, err := filepath.Glob("/run/devloop/" + localenv.Hash(w.dir) + "/ns/*")
	if err != nil || len(spaces) < 4 {
		t.Fatalf("namespaces: %v %v", spaces, err)
	}
	for _, ns := range spaces {
		for _, ask := range []string{"nft list tables", "ip route show"} {
			words := append([]string{"--net=" + ns}, strings.Fields(ask)...)
			out, err := exec.Command("nsenter", words...).CombinedOutput()
			if ask == "nft list tables" && (err != nil || strings.TrimSpace(string(out)) != "") {
				t.Errorf("%s in %s: %s %v", ask, ns, out, err)
			}
			if ask == "ip route show" && (err != nil || strings.Count(string(out), "via") > 1) {
				t.Errorf("%s in %s: %s %v", ask, ns, out, err)
			}
		}
	}
}
