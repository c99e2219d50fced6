//go:build linux

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// watched is a command's output that a test looks at while it comes.
type watched struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// TestInterruptAtAnyMoment: Ctrl-C ends the command with 130 and soon, nothing of it is left, and what was sealed before
// is whole.
func TestInterruptAtAnyMoment(t *testing.T) {
	w := tiny(t)
	// A build tool with a child, and an exercise, that would go on for long.
	slow := strings.Replace(tinyConfig, "command: ./echo\n", "command: ./echo\n    build: sh -c 'sleep 60; true'\n", 1)
	busy := strings.Replace(tinyConfig, "    steps:\n", "    steps:\n      - run: sh -c 'sleep 60; true'\n", 1)
	silent := strings.Replace(tinyConfig, `ready: {http: {path: /healthz}, timeout: 2s}`, `ready: {log: never, timeout: 60s}`, 1)
	sealed := w.run("--down").Snapshot
	for _, verb := range [][]string{{"run", "--down"}, {"run"}, {"up"}} {
		for _, c := range []struct{ config, until string }{
			{tinyConfig, ""}, // the daemon is being started
			{tinyConfig, "start …"},
			{tinyConfig, "environment local"},
			{slow, "build …"},
			{tinyConfig, "build …"},
			{silent, "deploy …"},
			{tinyConfig, "deploy …"},
			{busy, "exercise …"},
			{tinyConfig, "watching: save a file"},
		} {
			if c.until == "watching: save a file" && verb[0] != "up" {
				continue
			}
			t.Run(fmt.Sprintf("%s at %q", strings.Join(verb, " "), c.until), func(t *testing.T) {
				w.write("devloop.yaml", c.config)
				w.interrupt(t, c.until, c.config != tinyConfig || c.until == "watching: save a file", verb...)
				w.gone(t)
			})
		}
	}
	w.write("devloop.yaml", tinyConfig)
	w.says(0, nil, "snapshot", "verify", sealed)
	w.says(0, []string{"verdict: pass"}, "run")
}

// interrupt sends SIGINT when the command's output holds the words, or as soon as it starts the daemon. Where the command
// would not go on for long by itself, it may have been faster.
func (w *workspace) interrupt(t *testing.T, until string, certain bool, args ...string) {
	t.Helper()
	log := filepath.Join(w.dir, ".devloop", "daemon.log")
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := w.command(ctx, args...)
	var out watched
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "devloop says "+until, func() bool {
		_, err := os.Stat(log)
		return err == nil && strings.Contains(out.String(), until)
	})
	interrupted := time.Now()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if took := time.Since(interrupted); took > 15*time.Second {
		t.Errorf("it took %s to end", took)
	}
	if code := cmd.ProcessState.ExitCode(); code != 130 && (certain || code != 0) {
		t.Errorf("exit %d, want 130\n%s", code, out.String())
	}
	if !certain && cmd.ProcessState.ExitCode() == 0 { // it left the services running, as it says
		w.says(0, []string{"nothing is left"}, "down")
	}
}
