package devloop

import (
	"cmp"
	"context"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/kindenv"
	"github.com/devloop-io/devloop/localenv"
)

// DoctorFor says whether the environment of a workspace can be had, and what is in the way: where is local, kind or cluster,
// and empty takes what devloop.yaml says.
func DoctorFor(ctx context.Context, workspace string, cfg *config.Config, where string) *control.DoctorAnswer {
	where = cmp.Or(where, cfg.Environment.Default, defaultEnvironment())
	if where == "local" {
		return Doctor()
	}
	return clusterDoctor(kindenv.Examine(ctx, kindenv.Options{Workspace: workspace, Config: cfg, Where: where, Hash: localenv.Hash(workspace)}), where)
}

func clusterDoctor(facts []kindenv.Fact, where string) *control.DoctorAnswer {
	a := &control.DoctorAnswer{Source: "agent", Mode: where}
	for _, f := range facts {
		a.Facts = append(a.Facts, control.Fact{Name: f.Name, OK: f.OK, Detail: f.Detail, Fix: f.Fix})
		if !f.OK && a.Source != "none" {
			a.Source, a.Why, a.Fix = "none", f.Name+": "+f.Detail, f.Fix
		}
	}
	return a
}

// Doctor is [DoctorFor] the environment that runs, with what the nodes' agents say of themselves.
func (s *Session) Doctor(ctx context.Context) *control.DoctorAnswer {
	s.mu.Lock()
	env, cfg := s.env, s.cfg
	s.mu.Unlock()
	if o, ok := env.(observing); ok {
		return withAgents(o.examined(ctx), o.NodeStates(ctx))
	}
	where := ""
	if env != nil {
		where = env.Name()
	}
	a := DoctorFor(ctx, s.workspace, cfg, where)
	c, ok := env.(inCluster)
	if !ok {
		return a
	}
	return withAgents(a, c.NodeStates(ctx))
}

// withAgents adds what the nodes' agents say of themselves.
func withAgents(a *control.DoctorAnswer, states []kindenv.NodeState) *control.DoctorAnswer {
	for _, n := range states {
		node := captureNode(n)
		f := control.Fact{Name: "agent of node " + node.Name, OK: node.OK && node.Degraded == "", Detail: "captures with " + node.Source}
		if !f.OK {
			f.Detail, f.Fix = cmp.Or(node.Problem, f.Detail+": "+node.Degraded), "devloop capture status"
			a.Why = cmp.Or(a.Why, f.Name+": "+f.Detail)
		}
		a.Facts = append(a.Facts, f)
	}
	return a
}
