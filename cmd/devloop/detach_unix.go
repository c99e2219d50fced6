//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// detach gives the daemon its own session: a Ctrl-C in this terminal is not for it.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
