package devloop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/kindenv"
	"github.com/devloop-io/devloop/kindenv/cluster"
)

// observing is a cluster that is only looked at: what its agents capture comes here, and nothing is built, deployed or
// changed.
type observing struct{ *kindenv.Observer }

var (
	_ environment = observing{}
	_ changing    = observing{}
	_ keeping     = observing{}
)

// nothingToBuild is the configuration of a session that only looks.
func nothingToBuild(folder string) *config.Config {
	return &config.Config{Version: 1, Dir: folder, Path: filepath.Join(folder, "devloop.yaml"), Environment: config.Environment{Default: kindenv.Cluster}}
}

// Observe attaches to the cluster that [Options] name, and begins with what its agents captured in the last minutes. Without
// one it does nothing.
func (s *Session) Observe(ctx context.Context) error {
	o := s.options.Observe
	if o == nil {
		return nil
	}
	x, err := kindenv.Observe(ctx, kindenv.ObserveOptions{Kubeconfig: o.Kubeconfig, Context: o.Context, Namespace: o.Namespace, Since: time.Now().Add(-liveAge), Log: s.log})
	if err != nil {
		return unobserved(err)
	}
	env := observing{x}
	// All that an earlier daemon streamed comes again, as far as the nodes have it.
	if err := os.RemoveAll(s.store.RingDir()); err != nil {
		return errors.Join(fmt.Errorf("empty the ring: %w", err), env.Close(ctx))
	}
	w, err := newWire(ctx, env, s.store, int64(s.cfg.Storage.Ring), s.options, s.log)
	if err != nil {
		return errors.Join(unobserved(err), env.Close(ctx))
	}
	s.happened.tellOf(w)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.env, s.wire = env, w
	return nil
}

// unobserved gives an error its exit code.
func unobserved(err error) error {
	var known *cluster.Error
	if !errors.As(err, &known) {
		return &control.Error{What: err.Error(), Hint: "kubectl get pods --all-namespaces", Exit: control.ExitEnvironment}
	}
	e := &control.Error{What: known.What, Hint: known.Hint, Exit: control.ExitEnvironment}
	if known.Reason.Usage() {
		e.Exit = control.ExitUsage
	}
	return e
}

// looksOnly refuses what a session that only looks does not do.
func looksOnly(what string) error {
	return &control.Error{What: what + ": this cluster is only looked at, nothing is built, deployed or changed in it",
		Hint: "devloop run, in the workspace of the services, with its devloop.yaml", Exit: control.ExitUsage}
}

// Name is cluster.
func (observing) Name() string { return kindenv.Cluster }

// Mode names the cluster.
func (o observing) Mode() (mode, why string) { return o.Describe(), "" }

// Platform is not known: nothing is built.
func (observing) Platform() platform { return platform{} }

// Running is nobody: the pods are whoever's who deployed them.
func (observing) Running() []control.ServiceStatus { return nil }

// Capture opens a source over the agents that are there.
func (o observing) Capture(ctx context.Context, _ string, _ func(error), _ *slog.Logger) (capture.Source, string, error) {
	return o.Observer.Capture(ctx)
}

// CaptureStatus says which pods are captured, and asks every node's agent how it is.
func (o observing) CaptureStatus(ctx context.Context, st *control.CaptureStatus) error {
	t, err := o.Targeted(ctx)
	if err != nil {
		return err
	}
	targeted(st, t)
	nodes(st, o.NodeStates(ctx))
	return nil
}

// ConfigureCapture is refused.
func (observing) ConfigureCapture(context.Context, control.CaptureTargets) error {
	return looksOnly("capture cannot be configured")
}

// SwitchCapture is refused.
func (observing) SwitchCapture(context.Context, bool) error {
	return looksOnly("capture cannot be switched")
}

// StartDependencies is refused.
func (observing) StartDependencies(context.Context) error {
	return looksOnly("dependencies cannot be started")
}

// Start is refused.
func (observing) Start(_ context.Context, service string, _ build) error {
	return looksOnly("service " + service + " cannot be started")
}

// Reach leaves a text as it is.
func (observing) Reach(text string) string { return text }

// Drive is refused.
func (observing) Drive(context.Context, drive) (int, error) {
	return -1, looksOnly("services cannot be driven")
}

// Crashes tells of none: events do.
func (observing) Crashes(func(crash)) {}

// Verify finds nothing wrong: no build is known.
func (observing) Verify(context.Context) ([]string, error) { return nil, nil }

// Image is refused.
func (observing) Image(_ context.Context, service string) (string, error) {
	return "", looksOnly("no image is made of service " + service)
}

// Down lets go: nothing was made.
func (o observing) Down(ctx context.Context, _ bool) error { return o.Close(ctx) }

// targeted fills in what is captured.
func targeted(st *control.CaptureStatus, t *kindenv.Targeted) {
	st.Targets = &control.CaptureTargets{Namespaces: t.Namespaces, Excluded: t.Excluded, PodRegex: t.PodRegex, Labels: t.Labels, Ports: t.Ports}
	st.Pods = t.Pods
	for _, p := range t.Pods {
		namespace, _, _ := strings.Cut(p, "/")
		st.Namespaces = append(st.Namespaces, namespace)
	}
	slices.Sort(st.Namespaces)
	st.Namespaces = slices.Compact(st.Namespaces)
}

// nodes fills in how the nodes' agents are.
func nodes(st *control.CaptureStatus, states []kindenv.NodeState) {
	st.Cluster = &control.Span{}
	for _, n := range states {
		node := captureNode(n)
		st.Nodes = append(st.Nodes, node)
		if node.Oldest != 0 && (st.Cluster.Oldest == 0 || node.Oldest < st.Cluster.Oldest) {
			st.Cluster.Oldest = node.Oldest
		}
		st.Cluster.Newest = max(st.Cluster.Newest, node.Newest)
	}
}

// examined is what doctor says of a cluster that is looked at.
func (o observing) examined(ctx context.Context) *control.DoctorAnswer {
	var st control.CaptureStatus
	a := &control.DoctorAnswer{Source: "agent", Mode: o.Describe()}
	if err := o.CaptureStatus(ctx, &st); err != nil {
		a.Source, a.Why, a.Fix = "none", err.Error(), "kubectl get pods --all-namespaces --selector app.kubernetes.io/name=devloop-agent"
	}
	a.Facts = append(a.Facts, control.Fact{Name: "cluster", OK: a.Source != "none", Detail: fmt.Sprintf("%s; %d pods are captured", o.Describe(), len(st.Pods)), Fix: a.Fix})
	return a
}
