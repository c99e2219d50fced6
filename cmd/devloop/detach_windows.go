package main

import (
	"os"
	"os/exec"
	"syscall"
)

// detach gives the daemon its own process group: a Ctrl-C in this console is not for it.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// terminate ends a process; this system cannot ask.
func terminate(p *os.Process) { _ = p.Kill() } // an error says that it has ended already
