package devloop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/devloop/exercise"
	"github.com/devloop-io/devloop/internal/agentbin"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/kindenv"
	"github.com/devloop-io/devloop/kindenv/cluster"
	"github.com/devloop-io/devloop/localenv"
	"github.com/devloop-io/devloop/traffic"
)

// inCluster is the environment of pods.
type inCluster struct {
	*kindenv.Env
	said *speaker
}

var _ environment = inCluster{}

// speaker hands progress to who asked last.
type speaker struct {
	mu  sync.Mutex
	say func(string)
}

func (s *speaker) tell(text string) {
	s.mu.Lock()
	say := s.say
	s.mu.Unlock()
	say(text)
}

// Tell says who is told of progress from now on.
func (c inCluster) Tell(say func(string)) {
	c.said.mu.Lock()
	defer c.said.mu.Unlock()
	c.said.say = say
}

// newInCluster attaches to the workspace's cluster, and makes it where it is to be made.
func newInCluster(ctx context.Context, where, workspace string, cfg *config.Config, o control.Where, log *slog.Logger, say func(string)) (environment, error) {
	said := &speaker{say: say}
	env, err := kindenv.New(ctx, kindenv.Options{
		Workspace: workspace, Config: cfg, Where: where, Hash: localenv.Hash(workspace), NodeImage: o.NodeImage, Nodes: o.Nodes, Log: log, Say: said.tell, Tool: agentbin.Binary,
	})
	if err == nil {
		return inCluster{env, said}, nil
	}
	what, hint, _ := strings.Cut(err.Error(), "\nhint: ")
	f := traffic.Failure{Phase: "start", What: what, Hint: cmp.Or(hint, "devloop doctor --env "+where)}
	var ce *cluster.Error
	if errors.As(err, &ce) {
		f.Hint = ce.Hint
	}
	return nil, failed(control.ExitEnvironment, f)
}

// Mode names the cluster.
func (c inCluster) Mode() (mode, why string) { return c.Describe(), "" }

// Platform is that of the nodes.
func (c inCluster) Platform() platform { return platform{"linux", c.Arch()} }

// Running lists services and dependencies with their pods.
func (c inCluster) Running() []control.ServiceStatus {
	var list []control.ServiceStatus
	for _, r := range c.Env.Running() {
		list = append(list, control.ServiceStatus{Name: r.Name, Kind: r.Kind, State: "running", Build: r.Build, IP: r.IP, Pods: r.Pods})
	}
	return list
}

// Capture installs the nodes' agents. Which source they use is theirs to say: want is for local environments.
func (c inCluster) Capture(ctx context.Context, _ string, failed func(error), _ *slog.Logger) (capture.Source, string, error) {
	return c.Env.Capture(ctx, failed)
}

// StartDependencies applies what the workspace has in the cluster.
func (c inCluster) StartDependencies(ctx context.Context) error {
	return podsDidNotStart(c.Env.StartDependencies(ctx))
}

// Start pushes a program, or rolls an image out.
func (c inCluster) Start(ctx context.Context, service string, b build) error {
	k := kindenv.Build{ID: b.ID, Env: b.Env, Image: b.Image}
	if len(b.Argv) > 0 {
		k.Program, k.Args = b.Argv[0], b.Argv[1:]
	}
	return podsDidNotStart(c.Env.Start(ctx, service, k))
}

// podsDidNotStart says in the loop's words why a service did not come up.
func podsDidNotStart(err error) error {
	var se *kindenv.StartError
	if !errors.As(err, &se) {
		return err
	}
	return &startError{service: se.Service, what: se.What, tail: se.Tail, hint: se.Hint}
}

// Reach leaves a text as it is: services go by their names.
func (c inCluster) Reach(text string) string { return text }

// Drive runs the command on this machine. What it says to the services goes through a proxy in the cluster.
func (c inCluster) Drive(ctx context.Context, d drive) (int, error) {
	proxy, err := c.Proxy()
	if err != nil {
		return -1, err
	}
	cmd := exec.CommandContext(ctx, d.argv[0], d.argv[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = d.dir, d.stdin, d.stdout, d.stderr, buildGrace
	if !filepath.IsAbs(cmd.Dir) {
		return -1, fmt.Errorf("run %s: folder %q is not absolute", d.argv[0], d.dir)
	}
	cmd.Env = append(os.Environ(), exercise.ProxyVariable+"="+proxy.String())
	for _, name := range []string{"ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "http_proxy", "https_proxy"} {
		cmd.Env = append(cmd.Env, name+"="+proxy.String())
	}
	cmd.Env = append(cmd.Env, d.env...)
	kill := wholeGroup(cmd)
	err = cmd.Run()
	if ctx.Err() != nil {
		kill()
	}
	if cmd.ProcessState == nil {
		return -1, err
	}
	return cmd.ProcessState.ExitCode(), err
}

// Crashes tells of programs that ended in their containers.
func (c inCluster) Crashes(tell func(crash)) {
	for x := range c.Env.Crashes() {
		tell(crash{service: x.Service, what: x.What, tail: x.Tail})
	}
}
