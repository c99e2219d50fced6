//go:build unix

package devloop

import (
	"os/exec"
	"syscall"
)

// wholeGroup lets the end of a command's context interrupt what the command started, too: make's children would else go
// on, and hold the pipe that its output comes through. kill ends what is left of them.
func wholeGroup(cmd *exec.Cmd) (kill func()) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	return func() {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // an error says that nothing is left
		}
	}
}
