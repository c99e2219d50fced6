package devloop

import (
	"cmp"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/localenv"
)

// Doctor says which capture source works here, why not a better one, and the one command that would fix it.
func Doctor() *control.DoctorAnswer {
	a := probeSources()
	mode, why := localenv.Detect()
	a.Mode = string(mode)
	a.Facts = append(a.Facts, control.Fact{Name: "services", OK: mode == localenv.ModeNetNS, Detail: detail(mode, why)})
	if mode != localenv.ModeNetNS && a.Source != "none" {
		// A source that works has nothing to tell services apart by.
		a.Source, a.Why = "none", "services cannot be kept apart: "+why
		for _, f := range a.Facts {
			a.Fix = cmp.Or(a.Fix, f.Fix)
		}
	}
	return a
}

func detail(mode localenv.Mode, why string) string {
	switch mode {
	case localenv.ModeNetNS:
		return "each in its own cgroup and network namespace: names and ports as in a cluster"
	case localenv.ModeLoopback:
		return "one loopback, allocated ports: " + why
	}
	return why
}
