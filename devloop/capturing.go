package devloop

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/kindenv"
)

// Capture says what is captured, and by whom. It starts nothing.
func (s *Session) Capture(ctx context.Context) (*control.CaptureStatus, error) {
	s.mu.Lock()
	env, wire, blind, paused := s.env, s.wire, s.blind, s.paused
	def := s.cfg.Environment.Default
	s.mu.Unlock()
	if env == nil {
		return &control.CaptureStatus{Environment: cmp.Or(def, defaultEnvironment()), State: control.CaptureNone, Why: "no services run", Next: "loop_run (devloop run) starts them, and capture"}, nil
	}
	st := &control.CaptureStatus{Environment: env.Name(), State: control.Capturing, Source: wire.sourceName(), Warnings: env.Warnings()}
	switch {
	case blind != nil:
		st.State, st.Why, st.Next = control.CaptureNone, blind.why, "doctor (devloop doctor) names the command that mends it"
		return st, nil
	case wire != nil:
		st.Why = wire.why
	}
	if err := env.CaptureStatus(ctx, st); err != nil {
		return nil, &control.Error{What: err.Error(), Hint: "devloop doctor", Exit: control.ExitEnvironment}
	}
	st.Next = "loop_run (devloop run) judges what the services say"
	if _, ok := env.(observing); ok {
		st.Next = "get_service_map, then find_errors"
	}
	if paused == env {
		st.State, st.Next = control.CaptureStopped, "start_capture (devloop capture start) goes on; until then iterations fail"
	} else if i := slices.IndexFunc(st.Nodes, func(n control.CaptureNode) bool { return !n.OK }); i >= 0 {
		st.Next = fmt.Sprintf("the agent of node %s is not well: doctor (devloop doctor) looks closer", st.Nodes[i].Name)
	}
	return st, nil
}

// ConfigureCapture chooses the pods that are captured, from the next iteration on.
func (s *Session) ConfigureCapture(ctx context.Context, t control.CaptureTargets) (*control.CaptureStatus, error) {
	env, err := s.atRest("configured")
	if err != nil {
		return nil, err
	}
	if err := env.ConfigureCapture(ctx, t); err != nil {
		return nil, err
	}
	return s.Capture(ctx)
}

// SwitchCapture starts or stops capture. While it is stopped no iteration is judged: what nobody saw is not a pass.
func (s *Session) SwitchCapture(ctx context.Context, r control.SwitchRequest) (*control.CaptureStatus, error) {
	verb := "stopped"
	if r.On {
		verb = "started"
	}
	env, err := s.atRest(verb)
	if err != nil {
		return nil, err
	}
	if r.Targets != nil {
		if err := env.ConfigureCapture(ctx, *r.Targets); err != nil {
			return nil, err
		}
	}
	// The note comes first, when capture stops, and last, when it starts: an iteration that begins meanwhile finds it.
	if !r.On {
		if err := s.pause(env); err != nil {
			return nil, err
		}
	}
	err = env.SwitchCapture(ctx, r.On)
	if (err == nil) == r.On {
		s.unpause()
	}
	if err != nil {
		return nil, err
	}
	return s.Capture(ctx)
}

// atRest is the environment, when no iteration runs whose traffic a change would leave out.
func (s *Session) atRest(verb string) (environment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.env == nil:
		return nil, &control.Error{What: "capture cannot be " + verb + ": no services run", Hint: "devloop run", Exit: control.ExitUsage}
	case s.current != nil:
		return nil, busy(verb, s.current.ID)
	case s.blind != nil:
		return nil, &control.Error{What: "capture cannot be " + verb + ": " + s.blind.Error(), Hint: "devloop doctor", Exit: control.ExitEnvironment}
	}
	return s.env, nil
}

func busy(verb, iteration string) error {
	return &control.Error{
		What: fmt.Sprintf("capture cannot be %s while iteration %s runs: its verdict would miss traffic", verb, iteration),
		Hint: "devloop wait, or close the window, and then again", Exit: control.ExitUsage,
	}
}

func (s *Session) pause(env environment) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		return busy("stopped", s.current.ID)
	}
	s.paused = env
	return nil
}

func (s *Session) unpause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = nil
}

// capturePaused says whether somebody stopped the capture of the services that run.
func (s *Session) capturePaused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paused != nil && s.paused == s.env
}

// localOnly refuses what has no meaning where every process of a service is captured, and nothing else is.
func localOnly(what string) error {
	return &control.Error{
		What: "in the local environment capture cannot be " + what + ": it is attached to the services' own processes, all of them, for as long as they run",
		Hint: "devloop calls --kfl narrows what is shown; devloop down ends services and capture", Exit: control.ExitUsage,
	}
}

// CaptureStatus lists the services: each is captured from its first instruction on.
func (l local) CaptureStatus(_ context.Context, st *control.CaptureStatus) error {
	for _, in := range l.Instances() {
		st.Services = append(st.Services, in.Service)
	}
	slices.Sort(st.Services)
	st.Services = slices.Compact(st.Services)
	return nil
}

// ConfigureCapture is for clusters.
func (l local) ConfigureCapture(context.Context, control.CaptureTargets) error {
	return localOnly("configured")
}

// SwitchCapture is for clusters.
func (l local) SwitchCapture(_ context.Context, on bool) error {
	if on {
		return localOnly("started")
	}
	return localOnly("stopped")
}

// CaptureStatus says which pods are captured, and asks every node's agent how it is.
func (c inCluster) CaptureStatus(ctx context.Context, st *control.CaptureStatus) error {
	t, err := c.Targeted(ctx)
	if err != nil {
		return err
	}
	targeted(st, t)
	nodes(st, c.NodeStates(ctx))
	return nil
}

func captureNode(n kindenv.NodeState) control.CaptureNode {
	if n.Err != nil {
		return control.CaptureNode{Name: n.Node, Problem: n.Err.Error()}
	}
	const ms = int64(time.Millisecond)
	return control.CaptureNode{
		Name: n.Node, OK: n.Health.OK, Problem: n.Health.Problem, Source: n.Health.Source, Degraded: n.Health.Degraded,
		Packets: n.Health.Packets, Dropped: n.Health.Dropped, RSS: n.Health.RSS, CPU: n.Health.CPU,
		Segments: n.Ring.Segments, RingBytes: n.Ring.Bytes, RingLimit: n.Ring.Limit, Span: control.Span{Oldest: n.Ring.Oldest / ms, Newest: n.Ring.Newest / ms},
	}
}

// ConfigureCapture tells the agents which pods to capture.
func (c inCluster) ConfigureCapture(ctx context.Context, t control.CaptureTargets) error {
	_, err := c.Env.Configure(ctx, kindenv.Targets{Namespaces: t.Namespaces, Excluded: t.Excluded, PodRegex: t.PodRegex, Labels: t.Labels, Ports: t.Ports})
	return notTold(err)
}

// SwitchCapture tells the agents to record nothing, or the targets again.
func (c inCluster) SwitchCapture(ctx context.Context, on bool) error {
	_, err := c.Env.SwitchCapture(ctx, on)
	return notTold(err)
}

func notTold(err error) error {
	if err == nil {
		return nil
	}
	return &control.Error{What: err.Error(), Hint: "devloop capture status", Exit: control.ExitUsage}
}
