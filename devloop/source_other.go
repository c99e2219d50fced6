//go:build !linux

package devloop

import (
	"log/slog"
	"runtime"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/localenv"
)

// openSource says that there is none on this operating system.
func openSource(*localenv.Env, *targets, string, *slog.Logger) (capture.Source, string, error) {
	return nil, "", &noSource{"it needs Linux, and this is " + runtime.GOOS}
}
