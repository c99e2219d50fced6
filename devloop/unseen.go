package devloop

import (
	"cmp"
	"context"
	"errors"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// noSource says why no packets can be captured here at all. Services are built, run and driven all the same.
type noSource struct{ why string }

func (e *noSource) Error() string { return "packets cannot be captured here: " + e.why }

// cannotCapture is why the environment runs without capture, nil when it does not.
func (s *Session) cannotCapture() *noSource {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blind
}

// unseen drives the services where nothing can be captured. It never ends well: what nobody saw is not a pass.
func (t *turn) unseen(ctx context.Context, none *noSource) error {
	var failing error
	if t.r.window == nil { // there is nothing to open a window on
		failing = t.exercise(ctx)
	}
	if ctx.Err() != nil {
		return failing
	}
	f := traffic.Failure{Phase: "capture", What: none.Error(), Hint: cmp.Or(Doctor().Fix, "devloop doctor")}
	exit := control.ExitEnvironment
	var before *failure
	if errors.As(t.crash(failing), &before) {
		f.Phase, f.Service, f.Output = before.Phase, before.Service, before.Output
		f.What = before.What + "; " + f.What
		exit = graver(exit, before.exit)
	}
	return failed(exit, f)
}
