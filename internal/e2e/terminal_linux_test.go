package e2e

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo-terminal: the side that a program has, and the one that shows it.
func terminal(t *testing.T, columns, rows uint16) (program, shown *os.File) {
	t.Helper()
	shown, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shown.Close() })
	if err := unix.IoctlSetPointerInt(int(shown.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(shown.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	resize(t, shown, columns, rows)
	return program, shown
}

func resize(t *testing.T, shown *os.File, columns, rows uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(shown.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
}

// TestUpOnATerminal: the loop is shown live, follows the terminal's size, and Ctrl-C leaves the terminal as it was. Where somebody wants
// no colours or a CI reads, there are plain lines.
func TestUpOnATerminal(t *testing.T) {
	w := tiny(t)
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain %t", plain), func(t *testing.T) {
			program, shown := terminal(t, 100, 30)
			before, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
			defer cancel()
			cmd := w.command(ctx, "up")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			cmd.Env = append(slices.DeleteFunc(cmd.Env, func(e string) bool {
				return strings.HasPrefix(e, "CI=") || strings.HasPrefix(e, "NO_COLOR=") || strings.HasPrefix(e, "TERM=")
			}), "TERM=xterm-256color")
			if plain {
				cmd.Env = append(cmd.Env, "NO_COLOR=1")
			}
			var out watched
			go func() { _, _ = io.Copy(&out, shown) }() // ends with the terminal
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			watching := "watching r"
			if plain {
				watching = "watching: save"
			}
			eventually(t, "it comes to "+watching, func() bool { return strings.Contains(out.String(), watching) })
			if !plain {
				if !strings.Contains(out.String(), "✓ pass") || !strings.Contains(out.String(), "exercise") {
					t.Errorf("neither verdict nor phases are shown:\n%q", out.String())
				}
				from := len(out.String())
				resize(t, shown, 24, 10)
				eventually(t, "the lines are as narrow as the terminal", func() bool { return strings.Contains(out.String()[from:], "…") })
			}
			if _, err := shown.WriteString("\x03"); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // its code is looked at below
			if code := cmd.ProcessState.ExitCode(); code != 130 {
				t.Errorf("exit %d after Ctrl-C, want 130:\n%q", code, out.String())
			}
			after, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			if *before != *after {
				t.Errorf("the terminal's modes were %+v and are %+v", before, after)
			}
			_ = program.Close()
			text := out.String()
			if plain {
				if strings.Contains(text, "\x1b") {
					t.Errorf("there are escape sequences in plain lines:\n%q", text)
				}
				return
			}
			if strings.LastIndex(text, "\x1b[?25l") > strings.LastIndex(text, "\x1b[?25h") || strings.LastIndex(text, "\x1b[?7l") > strings.LastIndex(text, "\x1b[?7h") {
				t.Errorf("the cursor or wrapping is left switched off:\n%q", text[max(0, len(text)-300):])
			}
		})
	}
}
