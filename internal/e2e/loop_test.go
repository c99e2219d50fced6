//go:build linux

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

const catalogueFile = "internal/catalogue/catalogue.go"

// The catalogue answers "price"; the bug that tests plant makes it "amount".
const (
	healthy = `if c.Fault("field-changed") {`
	buggy   = `if true {`
)

// TestBuildErrorKeepsTheOldBuild: the compiler's words, exit code 3, and the old build goes on serving.
func TestBuildErrorKeepsTheOldBuild(t *testing.T) {
	w := shop(t)
	first := w.run()
	if first.Verdict != traffic.Pass {
		t.Fatalf("the clean shop: %s\n%s", first.Verdict, explain(not(first, traffic.Pass)))
	}
	w.edit(catalogueFile, "package catalogue", "package catalogue\n\nvar broken int = \"no\"")
	broken := w.run()
	if broken.ExitCode != 3 || broken.Failure == nil || broken.Failure.Phase != "build" {
		t.Fatalf("exit %d, failure %+v, want a build failure and 3", broken.ExitCode, broken.Failure)
	}
	if !strings.Contains(broken.Failure.Output, "catalogue.go:") || !strings.Contains(broken.Failure.Service, "catalogue") {
		t.Errorf("the compiler's output is missing: %+v", broken.Failure)
	}
	if st := w.status(); !slices.ContainsFunc(st.Services, func(s control.ServiceStatus) bool {
		return s.Name == "catalogue" && s.State == "running" && s.Build == first.Builds["catalogue"]
	}) {
		t.Errorf("the old catalogue does not serve any more: %+v", st.Services)
	}
	w.edit(catalogueFile, "\n\nvar broken int = \"no\"", "")
	if mended := w.run(); mended.Verdict != traffic.Pass || mended.Builds["catalogue"] != first.Builds["catalogue"] {
		t.Errorf("mended: %s, build %s, want the first build %s", mended.Verdict, mended.Builds["catalogue"], first.Builds["catalogue"])
	}
}

func (w *workspace) status() *control.Status {
	w.t.Helper()
	code, stdout, stderr := w.devloop("status", "-o", "json")
	var st control.Status
	if err := json.Unmarshal([]byte(stdout), &st); err != nil || code != 0 {
		w.t.Fatalf("devloop status: exit %d: %v\n%s", code, err, stderr)
	}
	return &st
}

// TestSaveGivesAVerdict: `up` watches; a save of one service restarts that service only and ends in a new verdict that
// speaks of the new build.
func TestSaveGivesAVerdict(t *testing.T) {
	w := shop(t)
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := w.command(ctx, "up", "-o", "jsonl", "--quiet")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	first := readIteration(t, lines)
	if first.Verdict != traffic.Pass {
		t.Fatalf("first: %s\n%s", first.Verdict, explain(not(first, traffic.Pass)))
	}
	w.edit(catalogueFile, healthy, buggy)
	bad := readIteration(t, lines)
	if bad.Verdict != traffic.Fail || bad.Trigger != "save" {
		t.Errorf("after the bug: %s by %s\n%s", bad.Verdict, bad.Trigger, explain(not(bad, traffic.Pass)))
	}
	if !slices.Equal(bad.Changed, []string{"catalogue"}) {
		t.Errorf("restarted %v, want the catalogue alone", bad.Changed)
	}
	if bad.Revision == first.Revision || bad.Builds["catalogue"] == first.Builds["catalogue"] || bad.Builds["cart"] != first.Builds["cart"] {
		t.Errorf("revision %s then %s, builds %v then %v", first.Revision, bad.Revision, first.Builds, bad.Builds)
	}
	w.edit(catalogueFile, buggy, healthy)
	if good := readIteration(t, lines); good.Verdict != traffic.Pass {
		t.Errorf("after the mending: %s\n%s", good.Verdict, explain(not(good, traffic.Pass)))
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("Ctrl-C: exit %d, want 130", code)
	}
	w.nothingLeft(t)
}

func readIteration(t *testing.T, lines *bufio.Reader) *traffic.Iteration {
	t.Helper()
	line, err := lines.ReadBytes('\n')
	for err == nil && len(strings.TrimSpace(string(line))) == 0 {
		line, err = lines.ReadBytes('\n')
	}
	if err != nil {
		t.Fatalf("read an iteration: %v", err)
	}
	var it traffic.Iteration
	if err := json.Unmarshal(line, &it); err != nil {
		t.Fatalf("read an iteration: %v\n%s", err, line)
	}
	return &it
}

// nothingLeft looks at the kernel: no process, bridge, namespace, table or cgroup of this workspace.
func (w *workspace) nothingLeft(t *testing.T) {
	t.Helper()
	real, err := filepath.EvalSymlinks(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	hash := control.WorkspaceHash(real)
	for _, look := range [][]string{{"ip", "link"}, {"nft", "list", "tables"}, {"ip", "route"}} {
		out, _ := exec.Command(look[0], look[1:]...).CombinedOutput() // nft may be missing
		if strings.Contains(string(out), hash) {
			t.Errorf("%s still shows %s:\n%s", strings.Join(look, " "), hash, out)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), hash) {
		t.Errorf("a mount of %s is left", hash)
	}
	for _, place := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if found, _ := filepath.Glob(filepath.Join(place, "devloop-"+hash+"*")); len(found) > 0 {
			t.Errorf("cgroups are left: %v", found)
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if b, err := os.ReadFile(p); err == nil && strings.Contains(string(b), w.dir) {
			t.Errorf("a process is left: %s %q", p, b)
		}
	}
}

// TestKillNineLeavesNothing: a daemon that is killed leaves its services behind; the next start cleans up and works,
// and what was sealed is still there. Without another start, `down` cleans up.
func TestKillNineLeavesNothing(t *testing.T) {
	w := shop(t)
	first := w.run()
	kill := func() {
		st := w.status()
		if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the killed daemon is gone", func() bool { return syscall.Kill(st.PID, 0) != nil || zombie(st.PID) })
	}
	kill()
	second := w.run()
	if second.Verdict != traffic.Pass {
		t.Errorf("after kill -9: %s %+v\n%s", second.Verdict, second.Failure, explain(not(second, traffic.Pass)))
	}
	if second.ID == first.ID {
		t.Errorf("iteration %s twice: counting was lost", first.ID)
	}
	if code, stdout, stderr := w.devloop("snapshot", "verify", first.Snapshot); code != 0 {
		t.Errorf("the snapshot sealed before the kill: exit %d\n%s%s", code, stdout, stderr)
	}
	kill()
	if code, _, stderr := w.devloop("down"); code != 0 {
		t.Errorf("devloop down: exit %d\n%s", code, stderr)
	}
	w.nothingLeft(t)
}

// zombie reports whether a process waits only for its parent to notice.
func zombie(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "stat"))
	return err == nil && strings.Contains(string(b), ") Z ")
}

func itoa(n int) string {
	b, _ := json.Marshal(n)
	return string(b)
}

// eventually polls a condition that the kernel makes true.
func eventually(t *testing.T, what string, true func() bool) {
	t.Helper()
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !true() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not true within 60 s: %s", what)
		}
	}
}

// TestWrappedCommand: the command's exit code counts, and its traffic is judged.
func TestWrappedCommand(t *testing.T) {
	w := shop(t)
	testenv.NeedsProgram(t, "curl")
	if it := w.run("--check", "checkout never answers 5xx", "--allow-inconclusive", "--", "curl", "-sf", "http://frontend/healthz"); it.ExitCode != 0 || it.Calls == 0 {
		t.Errorf("curl: exit %d, %d calls, %+v", it.ExitCode, it.Calls, it.Failure)
	}
	if it := w.run("--allow-inconclusive", "--", "curl", "-sf", "http://frontend/no-such-path"); it.ExitCode != 22 {
		t.Errorf("curl of a 404: exit %d, want curl's own 22\n%s", it.ExitCode, explain(not(it, traffic.Pass)))
	}
}
