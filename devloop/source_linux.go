package devloop

import (
	"fmt"
	"log/slog"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/afpacket"
	"github.com/devloop-io/devloop/capture/probe"
	"github.com/devloop-io/devloop/capture/tap"
	"github.com/devloop-io/devloop/localenv"
)

// openSource opens the best capture source that works here, or the wanted one. why says why not a better one.
func openSource(env *localenv.Env, t *targets, want string, log *slog.Logger) (s capture.Source, why string, err error) {
	cgroup, _ := env.CGroup()
	if cgroup == "" {
		_, reason := env.Mode()
		return nil, "", &noSource{reason}
	}
	if want == "" {
		r := probe.Run()
		want, why = r.Choice, r.Why
	}
	switch want {
	case "tap":
		s, err = tap.Open(tap.Options{CGroup: cgroup, Resolve: t.resolve, Log: log})
	case "afpacket":
		s, err = afpacket.Open(afpacket.Options{})
	default:
		return nil, "", &noSource{why}
	}
	if err != nil {
		return nil, "", fmt.Errorf("capture with %s: %w", want, err)
	}
	return s, why, nil
}
