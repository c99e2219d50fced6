//go:build !unix

package devloop

import "os/exec"

// wholeGroup does nothing: this system has no process groups to signal.
func wholeGroup(*exec.Cmd) (kill func()) { return func() {} }
