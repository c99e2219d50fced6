package devloop

import (
	"github.com/devloop-io/devloop/capture/probe"
	"github.com/devloop-io/devloop/internal/control"
)

func probeSources() *control.DoctorAnswer {
	r := probe.Run()
	a := &control.DoctorAnswer{Source: r.Choice, Why: r.Why, Fix: r.Fix}
	for _, f := range r.Facts {
		a.Facts = append(a.Facts, control.Fact{Name: f.Name, OK: f.OK, Detail: f.Detail, Fix: f.Fix})
	}
	return a
}
