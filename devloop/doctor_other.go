//go:build !linux

package devloop

import (
	"runtime"

	"github.com/devloop-io/devloop/internal/control"
)

func probeSources() *control.DoctorAnswer {
	return &control.DoctorAnswer{Source: "none", Why: "capture needs Linux, and this is " + runtime.GOOS}
}
