//go:build unix

package main

import (
	"os"
	"os/exec"
	"syscall"
)

// detach gives the daemon its own session: a Ctrl-C in this terminal is not for it.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// terminate asks a process to end with everything that it started.
func terminate(p *os.Process) { _ = p.Signal(syscall.SIGTERM) } // an error says that it has ended already
