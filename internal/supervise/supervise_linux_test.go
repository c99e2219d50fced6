package supervise_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/supervise"
)

// bench is a supervisor in a folder of its own, with the program that the tests push.
type bench struct {
	t       *testing.T
	self    string // the supervisor's binary
	dir     string
	port    int
	app     []byte
	process *exec.Cmd
	stderr  bytes.Buffer
}

// built is the folder of both programs, made once.
var built = sync.OnceValues(func() (string, error) {
	bin, err := os.MkdirTemp("", "supervise-test-")
	if err != nil {
		return "", err
	}
	for out, pkg := range map[string]string{"devloop-supervise": "../../cmd/devloop-supervise", "app": "./testdata/app"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(bin, out), pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return bin, fmt.Errorf("build %s: %w\n%s", pkg, err, text)
		}
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if bin, err := built(); err == nil {
		os.RemoveAll(bin)
	}
	os.Exit(code)
}

func newBench(t *testing.T) *bench {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, dir: t.TempDir(), port: freePort(t), self: filepath.Join(bin, "devloop-supervise")}
	if b.app, err = os.ReadFile(filepath.Join(bin, "app")); err != nil {
		t.Fatal(err)
	}
	b.run()
	return b
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// run starts the supervisor, as the kubelet starts a container.
func (b *bench) run() {
	b.t.Helper()
	b.process = exec.Command(b.self, "run", b.dir)
	b.process.Stderr, b.process.Stdout = &b.stderr, &b.stderr
	if err := b.process.Start(); err != nil {
		b.t.Fatal(err)
	}
	p := b.process
	b.t.Cleanup(func() {
		_ = p.Process.Signal(syscall.SIGTERM)
		_ = p.Wait()
	})
	b.poll("the supervisor's socket", func() bool {
		conn, err := net.Dial("unix", filepath.Join(b.dir, "sock"))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func (b *bench) poll(what string, done func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited in vain for %s", what)
		}
		<-tick.C
	}
}

func (b *bench) meant(build string, size int) supervise.Switch {
	sum := sha256.Sum256(b.app)
	return supervise.Switch{
		Build: build, Sum: hex.EncodeToString(sum[:]), Size: int64(size), Name: "app", Args: []string{"-x"},
		Env:   map[string]string{"PORT": strconv.Itoa(b.port), "BUILD": build},
		Ready: supervise.Ready{Port: b.port, Path: "/healthz", Timeout: 10 * time.Second},
	}
}

// push runs the push command and calls at for every event; at "stopped" it says go after at returned.
func (b *bench) push(s supervise.Switch, program []byte, at func(supervise.Event)) []supervise.Event {
	b.t.Helper()
	cmd := exec.Command(b.self, "push", b.dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	go func() {
		_ = json.NewEncoder(in).Encode(s)
		_, _ = in.Write(program)
		if int64(len(program)) < s.Size {
			in.Close()
		}
	}()
	var events []supervise.Event
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var e supervise.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			b.t.Fatalf("%q: %v", lines.Text(), err)
		}
		events = append(events, e)
		if at != nil {
			at(e)
		}
		if e.Phase == supervise.PhaseStopped {
			_, _ = io.WriteString(in, supervise.Go)
		}
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		events = append(events, supervise.Event{Phase: "push failed", What: stderr.String()})
	}
	return events
}

func phases(events []supervise.Event) string {
	var names []string
	for _, e := range events {
		names = append(names, e.Phase)
	}
	return strings.Join(names, " ")
}

func (b *bench) get(path string) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	r, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d%s", b.port, path))
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return string(text), err
}

func (b *bench) serves(build string) {
	b.t.Helper()
	if text, err := b.get("/build"); err != nil || text != build+" [-x]" {
		b.t.Fatalf("the service answers %q (%v), and should be build %s; log:\n%s", text, err, build, b.stderr.String())
	}
}

// watch collects events until one has the phase.
func (b *bench) watch(until string, provoke func()) []supervise.Event {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.self, "watch", b.dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	var events []supervise.Event
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var e supervise.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			b.t.Fatal(err)
		}
		events = append(events, e)
		if len(events) == 1 && provoke != nil {
			provoke()
		}
		if e.Phase == until {
			break
		}
	}
	in.Close() // so the process beside the supervisor goes too
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		b.t.Fatalf("watch: %v, after %s", err, phases(events))
	}
	return events
}

func TestSwitch(t *testing.T) {
	b := newBench(t)
	if first := b.watch(supervise.PhaseWaiting, nil); phases(first) != "waiting" {
		t.Fatalf("a new supervisor says %q", phases(first))
	}
	if got := b.push(b.meant("a", 0), nil, nil); phases(got) != "missing" {
		t.Fatalf("a program that was never sent: %s", phases(got))
	}
	if got := b.push(b.meant("a", len(b.app)), b.app, nil); phases(got) != "stopped started ready" {
		t.Fatalf("first push: %v", got)
	}
	b.serves("a")
	got := b.push(b.meant("b", 0), nil, func(e supervise.Event) {
		if e.Phase == supervise.PhaseStopped {
			if text, err := b.get("/build"); err == nil {
				t.Errorf("between stopped and go somebody answers %q", text)
			}
		}
	})
	if phases(got) != "stopped started ready" {
		t.Fatalf("second push: %v", got)
	}
	for i := 1; i < len(got); i++ {
		if got[i].Time < got[i-1].Time {
			t.Errorf("times go backwards: %v", got)
		}
	}
	b.serves("b")
}

func TestRefused(t *testing.T) {
	b := newBench(t)
	b.push(b.meant("a", len(b.app)), b.app, nil)
	cut := b.meant("cut", len(b.app))
	cut.Sum = strings.Repeat("ab", 32)
	evil := b.meant("evil", len(b.app))
	evil.Name = "../../evil"
	for name, c := range map[string]struct {
		s       supervise.Switch
		program []byte
		want    string
	}{
		"another program": {cut, b.app, "not the one that was announced"},
		"half of it":      {func() supervise.Switch { s := b.meant("half", len(b.app)); s.Sum = strings.Repeat("cd", 32); return s }(), b.app[:1000], "not the one that was announced"},
		"outside":         {evil, nil, "no file name"},
	} {
		t.Run(name, func(t *testing.T) {
			got := b.push(c.s, c.program, nil)
			if len(got) != 1 || !strings.Contains(got[0].What, c.want) {
				t.Errorf("got %v", got)
			}
			b.serves("a")
		})
	}
}

func TestCrash(t *testing.T) {
	b := newBench(t)
	b.push(b.meant("a", len(b.app)), b.app, nil)
	events := b.watch(supervise.PhaseExited, func() { _, _ = b.get("/exit?code=7") })
	if last := events[len(events)-1]; last.Code != 7 || last.Build != "a" || last.How() != "exited with code 7" {
		t.Errorf("got %+v", last)
	}
	if got := b.push(b.meant("b", 0), nil, nil); phases(got) != "stopped started ready" {
		t.Fatalf("push after a crash: %v", got)
	}
	b.serves("b")
}

func TestNeverReady(t *testing.T) {
	b := newBench(t)
	s := b.meant("a", len(b.app))
	s.Ready.Path, s.Ready.Timeout = "/nowhere", 200*time.Millisecond
	got := b.push(s, b.app, nil)
	if phases(got) != "stopped started error" || !strings.Contains(got[2].What, "404") {
		t.Errorf("got %v", got)
	}
	s = b.meant("b", 0)
	s.Env["PORT"] = "no port"
	if got = b.push(s, nil, nil); phases(got) != "stopped started exited" || got[2].Code != 3 {
		t.Errorf("a program that ends before it is ready: %v", got)
	}
}

func TestContainerRestart(t *testing.T) {
	b := newBench(t)
	b.push(b.meant("a", len(b.app)), b.app, nil)
	if err := b.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err := b.process.Wait()
	if code := b.process.ProcessState.ExitCode(); code != 128+int(syscall.SIGTERM) {
		t.Errorf("the container ended with %d (%v)", code, err)
	}
	if text, err := b.get("/build"); err == nil {
		t.Errorf("the program outlived its container and answers %q", text)
	}
	b.run()
	b.poll("the build of before", func() bool { _, err := b.get("/build"); return err == nil })
	b.serves("a")
}

// TestDeaf: what does not hear SIGTERM, and what it started, is killed.
func TestDeaf(t *testing.T) {
	b := newBench(t)
	s := b.meant("a", len(b.app))
	s.Env["DEAF"] = "1"
	b.push(s, b.app, nil)
	spawned, err := b.get("/spawn")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	b.push(b.meant("b", 0), nil, nil)
	if took := time.Since(began); took < 1900*time.Millisecond || took > 8*time.Second {
		t.Errorf("the switch took %s", took)
	}
	b.serves("b")
	pid, err := strconv.Atoi(spawned)
	if err != nil {
		t.Fatal(err)
	}
	b.poll("the end of what the old program started", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

func TestInstall(t *testing.T) {
	b := newBench(t)
	to := t.TempDir()
	if out, err := exec.Command(b.self, "install", to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.Command(filepath.Join(to, "supervise"), "nonsense").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "usage") {
		t.Errorf("the copy says %q (%v)", out, err)
	}
}
