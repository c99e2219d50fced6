//go:build !linux

package probe

import "runtime"

func observe() Observed { return Observed{OS: runtime.GOOS, Arch: runtime.GOARCH} }
