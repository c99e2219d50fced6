package devloop

import (
	"context"
	"errors"
	"log/slog"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/localenv"
	"github.com/devloop-io/devloop/traffic"
)

// local is the environment of local processes.
type local struct{ *localenv.Env }

var _ environment = local{}

// newLocal makes network and cgroups. Nothing runs in them yet.
func newLocal(ctx context.Context, workspace string, cfg *config.Config, log *slog.Logger) (environment, error) {
	env, err := localenv.New(ctx, localenv.Options{Workspace: workspace, Config: cfg, Log: log})
	if err != nil {
		return nil, failed(control.ExitEnvironment, traffic.Failure{Phase: "start", What: err.Error(), Hint: "devloop doctor"})
	}
	return local{env}, nil
}

// Name is local.
func (l local) Name() string { return "local" }

// Mode says how services are kept apart.
func (l local) Mode() (mode, why string) {
	m, why := l.Env.Mode()
	return string(m), why
}

// Platform is this machine.
func (l local) Platform() platform { return platform{} }

// Running lists services and dependencies with their processes.
func (l local) Running() []control.ServiceStatus {
	var list []control.ServiceStatus
	for _, in := range l.Instances() {
		if in.Kind == traffic.KindExercise {
			continue
		}
		st := control.ServiceStatus{
			Name: in.Service, Kind: in.Kind, State: "running", Build: in.Build, PID: in.PID, Ports: in.Ports, Log: in.Log, StandIn: in.StandIn,
		}
		if in.IP.IsValid() {
			st.IP = in.IP.String()
		}
		list = append(list, st)
	}
	return list
}

// Capture listens to the cgroups of the services. Each start of a service is entered before its process runs its first
// instruction, so that its first packet has a name.
func (l local) Capture(_ context.Context, want string, failed func(error), log *slog.Logger) (capture.Source, string, error) {
	t := newTargets()
	source, why, err := openSource(l.Env, t, want, log)
	if err != nil {
		return nil, "", err
	}
	l.OnTarget(func(target localenv.Target) {
		if err := t.add(capture.Target(target), source); err != nil {
			log.Error("a service is not captured", "service", target.Name, "err", err)
			failed(err)
		}
	})
	return withoutRelays{source, l.FaultSource()}, why, nil
}

// StartDependencies starts processes and containers.
func (l local) StartDependencies(ctx context.Context) error {
	return didNotStart(l.Env.StartDependencies(ctx))
}

// Start runs a program.
func (l local) Start(ctx context.Context, service string, b build) error {
	_, err := l.Env.Start(ctx, service, localenv.Build{ID: b.ID, Argv: b.Argv})
	return didNotStart(err)
}

// didNotStart says in the loop's words that a process did not come up.
func didNotStart(err error) error {
	var se *localenv.StartError
	if !errors.As(err, &se) {
		return err
	}
	e := &startError{service: se.Service, what: se.What, tail: se.Tail, hint: "devloop status"}
	if se.Log != "" {
		e.hint = "its whole log is " + se.Log
	}
	return e
}

// Drive runs the command in a cgroup and network namespace of its own.
func (l local) Drive(ctx context.Context, d drive) (int, error) {
	cmd := l.Command(ctx, localenv.ExerciseName, d.argv...)
	cmd.Env, cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = append(cmd.Env, d.env...), d.dir, d.stdin, d.stdout, d.stderr
	err := cmd.Run()
	return cmd.ExitCode(), err
}

// Crashes tells of processes.
func (l local) Crashes(tell func(crash)) {
	for x := range l.Exited() {
		tell(crash{service: x.Service, what: x.Service + " " + x.How(), tail: x.Tail, at: x.Time, code: x.Code})
	}
}

// Verify has nothing to say: a start of a service is the only one.
func (l local) Verify(context.Context) ([]string, error) { return nil, nil }

// Image is for clusters.
func (l local) Image(context.Context, string) (string, error) {
	return "", errors.New("it has neither go: nor command:, which the local environment needs; dockerfile: and image: are for clusters (devloop run --env kind)")
}

// Close is Down: processes do not outlive devloop.
func (l local) Close(ctx context.Context) error { return l.Env.Down(ctx) }

// Down ends all processes and removes their network and cgroups.
func (l local) Down(ctx context.Context, _ bool) error { return l.Env.Down(ctx) }
