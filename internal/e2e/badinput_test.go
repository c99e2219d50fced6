//go:build linux

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// TestMistakesInFiles: place, caret and suggestion, exit code 2, nothing is started for them; mended, all works.
func TestMistakesInFiles(t *testing.T) {
	w := tiny(t)
	w.edit("devloop.yaml", "ports:", "prots:")
	w.says(2, []string{"devloop.yaml:5:5", "prots", "^", `did you mean "ports"?`}, "run")
	w.edit("devloop.yaml", "prots:", "ports:")
	w.edit("echo.netcheck.yaml", "none(", "nonee(")
	w.says(2, []string{"echo.netcheck.yaml:4:13: no aggregate is called nonee", "^", "did you mean none?"}, "run")
	w.edit("echo.netcheck.yaml", "nonee(", "none(")
	w.edit("echo.netcheck.yaml", "&& dst.service.name", "&& dst.servic.name")
	w.says(2, []string{"echo.netcheck.yaml:3:17", "^", "dst.service.name"}, "run")
	w.edit("echo.netcheck.yaml", "dst.servic.name", "dst.service.name")
	w.says(2, []string{`no exercise is named "greeet"; there are: crash, greet, teapot`}, "run", "--exercise", "greeet")
	w.says(2, []string{`no check is called "echo answrs"`, "the checks are: echo answers"}, "run", "--check", "echo answrs")
	w.says(0, []string{"verdict: pass"}, "run")
	w.edit("devloop.yaml", "ports:", "prots:") // also where a daemon runs
	w.says(2, []string{"devloop.yaml:5:5"}, "run")
}

// TestServiceThatDoesNotStart: exit code 3, with the reason and the end of the log.
func TestServiceThatDoesNotStart(t *testing.T) {
	for name, c := range map[string]struct {
		old, mistake string
		words        []string
	}{
		"crashes at start":     {`LISTEN: ":8080"`, `LISTEN: ":8080", CRASH_AT_START: "yes"`, []string{"echo: the process exited with code 7 before it was ready", "| cannot go on: the table is empty", "hint: its whole log is "}},
		"listens elsewhere":    {`LISTEN: ":8080"`, `LISTEN: ":9090"`, []string{"echo: not ready after 2s", "nothing listens on port 8080; it listens on 9090"}},
		"listens for itself":   {`LISTEN: ":8080"`, `LISTEN: "127.0.0.1:8080"`, []string{"echo: not ready after 2s", "it listens on port 8080 of 127.0.0.1 only"}},
		"never ready":          {"http: {path: /healthz}", "log: open for business", []string{"echo: not ready after 2s", "a log line that matches \"open for business\": no line matched"}},
		"no such program":      {"./echo", "ecco --port 8080", []string{"ecco", "executable file not found", "hint: install the program, or mend its command in devloop.yaml"}},
		"no such file":         {"./echo", "./ecco", []string{"ecco: no such file", "hint: install the program"}},
		"no such build tool":   {"./echo", "./echo\n    build: ecco all", []string{"build failed: build echo", "ecco"}},
		"build tool complains": {"./echo", "./echo\n    build: sh -c 'echo there is a comma too many; exit 2'", []string{"build failed: build echo: exit status 2", "| there is a comma too many"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := tiny(t)
			w.edit("devloop.yaml", c.old, c.mistake)
			w.says(3, c.words, "run")
			w.write("devloop.yaml", tinyConfig)
			w.says(0, []string{"verdict: pass"}, "run")
		})
	}
}

// TestPortTaken: who holds it is named.
func TestPortTaken(t *testing.T) {
	w := tiny(t)
	testenv.NeedsProgram(t, "nsenter")
	w.says(3, nil, "run", "--exercise", "crash")
	real, err := filepath.EvalSymlinks(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	ns := filepath.Join("/run/devloop", control.WorkspaceHash(real), "ns", "echo")
	squatter := exec.Command("nsenter", "--net="+ns, filepath.Join(w.dir, "echo"))
	squatter.Env = append(os.Environ(), "LISTEN=:8080")
	if err := squatter.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	end := func() {
		if !ended {
			ended = true
			_ = squatter.Process.Kill()
			_ = squatter.Wait()
		}
	}
	defer end()
	eventually(t, "the squatter listens", func() bool {
		return exec.Command("nsenter", "--net="+ns, "sh", "-c", "grep -q ':1F90 .* 0A ' /proc/net/tcp6").Run() == nil
	})
	w.says(3, []string{"echo: port 8080 (http) is taken in its network namespace by echo (process "}, "run")
	end()
	w.says(0, []string{"verdict: pass"}, "run")
}

// TestExerciseFails: its words and exit code 1, although every check passes.
func TestExerciseFails(t *testing.T) {
	w := tiny(t)
	w.says(1, []string{"exercise failed: step 1 of exercise teapot: GET http://echo:8080/ answered 200, expected 418", "verdict: pass"}, "run", "--exercise", "teapot")
	w.says(3, []string{"no-such-program", "executable file not found"}, "run", "--", "no-such-program")
	w.says(7, []string{"exited with 7"}, "run", "--allow-inconclusive", "--", "sh", "-c", "exit 7")
}

// TestCrashDuringExercise: the service is named with the end of its log, and started again by the next run.
func TestCrashDuringExercise(t *testing.T) {
	w := tiny(t)
	it := w.run("--exercise", "crash")
	if it.ExitCode != 3 || it.Failure == nil || it.Failure.Service != "echo" || !strings.HasPrefix(it.Failure.What, "echo exited with code 9") ||
		!strings.Contains(it.Failure.Output, "the well is dry") {
		t.Errorf("exit %d, failure %+v", it.ExitCode, it.Failure)
	}
	if it.Snapshot == "" {
		t.Error("the traffic of the crash was not sealed")
	}
	w.says(0, []string{"crashed"}, "status")
	w.says(0, []string{"verdict: pass"}, "run")
}

// TestDependencyThatEndedIsStartedAgain: by the next run.
func TestDependencyThatEndedIsStartedAgain(t *testing.T) {
	w := tiny(t)
	w.edit("devloop.yaml", "exercises:", `dependencies:
  store:
    ports: {http: 7070}
    local: {command: ./echo}
    env: {LISTEN: ":7070"}
exercises:`)
	w.says(0, []string{"verdict: pass"}, "run")
	pid := 0
	for _, s := range w.status().Services {
		if s.Name == "store" {
			pid = s.PID
		}
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); pid == 0 || err != nil {
		t.Fatalf("kill the dependency, process %d: %v", pid, err)
	}
	eventually(t, "devloop noticed", func() bool {
		for _, s := range w.status().Services {
			if s.Name == "store" {
				return s.State == "crashed"
			}
		}
		return false
	})
	w.says(0, []string{"verdict: pass"}, "run")
	for _, s := range w.status().Services {
		if s.Name == "store" && (s.State != "running" || s.PID == pid) {
			t.Errorf("the dependency: %+v", s)
		}
	}
}

// TestDiskFull: a clear sentence and exit code 3; what was sealed stays whole, and with space all works again.
func TestDiskFull(t *testing.T) {
	w := tiny(t)
	state := filepath.Join(w.dir, ".devloop")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", state, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before down of tiny: cleanups run last first
		w.devloop("down")
		if err := unix.Unmount(state, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	filler := filepath.Join(state, "filler")
	fill := func() {
		f, err := os.OpenFile(filler, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, size := range []int{64 << 10, 512} {
			for b := make([]byte, size); ; {
				if _, err := f.Write(b); err != nil {
					break
				}
			}
		}
	}
	first := w.run()
	if first.Verdict != traffic.Pass {
		t.Fatalf("with space: %s %+v", first.Verdict, first.Failure)
	}
	fill()
	w.says(3, []string{"no space left on device", "hint: the disk is full: devloop snapshot list"}, "run")
	w.says(0, nil, "snapshot", "verify", first.Snapshot)
	w.says(0, []string{"nothing is left"}, "down")
	w.gone(t)
	fill()
	w.says(3, []string{"no space left on device"}, "run") // a daemon that starts on a full disk
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	again := w.run()
	if again.Verdict != traffic.Pass || again.Snapshot == first.Snapshot {
		t.Errorf("with space again: %s, snapshot %s, %+v", again.Verdict, again.Snapshot, again.Failure)
	}
	w.says(0, nil, "snapshot", "verify", first.Snapshot)
	w.says(0, nil, "snapshot", "verify", again.Snapshot)
}

// TestDaemons: one a workspace, whatever became of the others.
func TestDaemons(t *testing.T) {
	w := tiny(t)
	w.says(0, []string{"verdict: pass"}, "run")
	w.says(3, []string{"error: a daemon runs for this workspace already", "hint: devloop status shows it, devloop down ends it"}, "daemon")

	// Killed, it leaves its socket; the next one takes its place.
	if err := syscall.Kill(w.status().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.says(0, []string{"verdict: pass"}, "run")
	pid := w.status().PID

	// One of another build is replaced.
	other := filepath.Join(t.TempDir(), "devloop")
	copyFile(t, program(t), other)
	if err := os.Chmod(other, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, other, "run")
	cmd.Dir = w.dir
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "of another build of devloop; it is replaced") {
		t.Errorf("with a daemon of another build: %v\n%s", err, out)
	}
	w.says(0, []string{"of another build of devloop; it is replaced", "verdict: pass"}, "run")
	if now := w.status().PID; now == pid {
		t.Errorf("the daemon is still process %d", pid)
	}
	w.says(0, []string{"nothing is left"}, "down")
	w.gone(t)
	w.says(0, []string{"nothing is left"}, "down") // twice is fine
}

// TestTimeout: exit code 124, and nothing runs that did not run before.
func TestTimeout(t *testing.T) {
	w := tiny(t)
	w.edit("devloop.yaml", "    steps:\n", "    steps:\n      - wait: 1m\n")
	w.says(124, []string{"the time given by --timeout is over"}, "run", "--timeout", "1s")
	w.gone(t)
}
