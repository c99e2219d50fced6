package devloop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/kindenv"
	"github.com/devloop-io/devloop/traffic"
)

func (s *Session) config() *config.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg
}

// reloadConfig reads devloop.yaml again when it was saved. When services or dependencies changed, the environment is
// taken down and made anew: the names and addresses in it may all be others.
func (s *Session) reloadConfig(ctx context.Context) (string, error) {
	s.mu.Lock()
	stale, old := s.reload, s.cfg
	s.mu.Unlock()
	if !stale {
		return "", nil
	}
	cfg, err := config.Load(s.workspace)
	if err != nil {
		return "", err
	}
	if !reflect.DeepEqual(cfg.Services, old.Services) || !reflect.DeepEqual(cfg.Dependencies, old.Dependencies) {
		if err := s.Close(ctx); err != nil {
			return "", err
		}
	}
	src := newSources(ctx, cfg)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg, s.reload, s.sources, s.compiled = cfg, false, src, map[string]string{}
	return "devloop.yaml was read again", nil
}

// checkFiles are the files that devloop.yaml names, sorted.
func (s *Session) checkFiles() ([]string, error) {
	cfg := s.config()
	var files []string
	for _, glob := range cfg.Checks {
		found, err := filepath.Glob(filepath.Join(cfg.Dir, glob))
		if err != nil {
			return nil, fmt.Errorf("checks %q: %w", glob, err)
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

func (s *Session) loadChecks() (*assertions.Suite, error) {
	files, err := s.checkFiles()
	if err != nil {
		return nil, err
	}
	return assertions.Load(files)
}

// ensureStarted brings environment and capture up, once, and what of the dependencies does not run.
func (s *Session) ensureStarted(ctx context.Context, where control.Where, say func(string)) (string, error) {
	s.mu.Lock()
	env, cfg, known := s.env, s.cfg, s.sources != nil
	s.mu.Unlock()
	if env != nil && where.Environment != "" && where.Environment != env.Name() {
		return "", failed(control.ExitUsage, traffic.Failure{
			Phase: "start", What: fmt.Sprintf("the services run in environment %s, and %s was asked for", env.Name(), where.Environment), Hint: "devloop down",
		})
	}
	detail := ""
	if env == nil {
		var err error
		if env, detail, err = s.makeEnvironment(ctx, cfg, where, say); err != nil {
			return "", err
		}
		say("environment " + env.Name() + ": " + detail)
	}
	if c, ok := env.(interface{ Tell(func(string)) }); ok {
		c.Tell(say)
	}
	learnt := make(chan *sources, 1)
	go func() {
		if known {
			learnt <- nil
		} else {
			learnt <- newSources(ctx, cfg)
		}
	}()
	err := env.StartDependencies(ctx) // those that ended by themselves too; the others go on
	if found := <-learnt; found != nil && ctx.Err() == nil {
		s.mu.Lock()
		s.sources = found
		s.mu.Unlock()
	}
	if err != nil {
		return "", s.startFailure("start", err)
	}
	return detail, nil
}

// makeEnvironment makes the environment, and begins to capture. Nothing runs in it yet.
func (s *Session) makeEnvironment(ctx context.Context, cfg *config.Config, where control.Where, say func(string)) (environment, string, error) {
	var env environment
	var err error
	switch name := cmp.Or(where.Environment, cfg.Environment.Default, defaultEnvironment()); name {
	case "local":
		env, err = newLocal(ctx, s.workspace, cfg, s.log)
	case kindenv.Kind, kindenv.Cluster:
		env, err = newInCluster(ctx, name, s.workspace, cfg, where, s.log, say)
	default:
		err = failed(control.ExitUsage, traffic.Failure{
			Phase: "start", What: fmt.Sprintf("there is no environment %q", name), Hint: "environment: {default: local}, kind or cluster, in " + filepath.Base(cfg.Path),
		})
	}
	if err != nil {
		return nil, "", err
	}
	w, err := newWire(ctx, env, s.store, int64(cfg.Storage.Ring), s.options, s.log)
	var none *noSource
	if err != nil && !errors.As(err, &none) {
		return nil, "", errors.Join(failed(control.ExitEnvironment, traffic.Failure{Phase: "start", What: err.Error(), Hint: "devloop doctor"}), env.Close(ctx))
	}
	s.happened.tellOf(w)
	s.mu.Lock()
	s.env, s.wire, s.blind, s.follow = env, w, none, true
	s.mu.Unlock()
	go s.collectCrashes(env)
	mode, _ := env.Mode()
	if none != nil {
		return env, fmt.Sprintf("%s; %v", mode, none), nil
	}
	return env, fmt.Sprintf("%s, capture %s", mode, w.sourceName()), nil
}

// defaultEnvironment is where services run when nobody says: on this machine where it can keep them apart, because that
// is fastest, and in kind elsewhere.
func defaultEnvironment() string {
	if runtime.GOOS == "linux" {
		return "local"
	}
	return kindenv.Kind
}

// startFailure tells a process that did not come up from other trouble.
func (s *Session) startFailure(phase string, err error) error {
	f := traffic.Failure{Phase: phase, What: err.Error(), Hint: "devloop status"}
	var se *startError
	switch {
	case errors.As(err, &se):
		f.Service, f.What, f.Output, f.Hint = se.service, se.Error(), se.tail, se.hint
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		f.Hint = "install the program, or mend its command in devloop.yaml"
	}
	return failed(control.ExitEnvironment, f)
}

// collectCrashes notes services that end by themselves; the next iteration tells of them and starts them again.
func (s *Session) collectCrashes(env environment) {
	env.Crashes(func(c crash) {
		s.log.Warn("a service ended by itself", "service", c.service, "what", c.what)
		s.happened.crashed(c)
		s.mu.Lock()
		if s.env == env {
			s.crashes = append(s.crashes, c)
			delete(s.served, c.service)
		}
		s.mu.Unlock()
		s.publish(nil, control.Event{Message: c.what})
	})
}

// crashBound is how long a failed exercise waits for the news that a service has ended: the connection breaks before the
// kernel tells of the process.
const crashBound = 300 * time.Millisecond

// awaitCrash is crashed, after waiting for one for a while.
func (s *Session) awaitCrash(bound time.Duration) []crash {
	deadline := time.NewTimer(bound)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if crashes := s.crashed(); len(crashes) > 0 {
			return crashes
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return nil
		}
	}
}

// crashed are the services that ended by themselves since the last deploy began.
func (s *Session) crashed() []crash {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.crashes)
}

func (s *Session) warnings() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.env == nil {
		return nil
	}
	return s.env.Warnings()
}

func (s *Session) identities() []traffic.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.env == nil {
		return nil
	}
	return s.env.Identities()
}

func (s *Session) builder() *builder {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &builder{cfg: s.cfg, dir: filepath.Join(s.stateDir(), "build"), compiled: maps.Clone(s.compiled), env: s.env}
}

// deploy restarts the services whose build is another than the one that runs, in the order of their needs. It returns
// who was restarted.
func (s *Session) deploy(ctx context.Context, built map[string]build) ([]string, error) {
	s.mu.Lock()
	env := s.env
	s.crashes = nil // what crashed before is started again
	var changed []string
	for name, b := range built {
		if s.served[name].ID != b.ID {
			changed = append(changed, name)
		}
	}
	s.mu.Unlock()
	slices.Sort(changed)
	restarted, err := s.startAll(ctx, env, waves(s.config(), changed), built)
	slices.Sort(restarted)
	return restarted, err
}

// startAll starts services, each as soon as those of earlier waves that it depends on serve, and returns who was started.
// When one does not come up nothing more is started.
func (s *Session) startAll(ctx context.Context, env environment, waves [][]string, built map[string]build) (restarted []string, err error) {
	cfg := s.config()
	serves := map[string]chan struct{}{}
	g, starting := errgroup.WithContext(ctx)
	for _, wave := range waves {
		before := maps.Clone(serves)
		for _, name := range wave {
			done := make(chan struct{})
			serves[name] = done
			g.Go(func() error {
				for _, needed := range cfg.Services[name].DependsOn {
					if ready := before[needed]; ready != nil {
						select {
						case <-ready:
						case <-starting.Done():
							return context.Cause(starting)
						}
					}
				}
				if starting.Err() != nil {
					return context.Cause(starting)
				}
				if err := s.startOne(ctx, env, name, built[name]); err != nil {
					return err
				}
				close(done)
				s.mu.Lock()
				restarted = append(restarted, name)
				s.mu.Unlock()
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() == nil {
			err = s.startFailure("deploy", err)
		}
		return restarted, err
	}
	return restarted, nil
}

// startOne starts a service in place of the running one.
func (s *Session) startOne(ctx context.Context, env environment, name string, b build) error {
	err := env.Start(ctx, name, b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.happened.started(name, s.served[name].ID, b.ID)
		s.served[name] = b
	} else {
		delete(s.served, name)
	}
	return err
}

// waves orders services so that each comes after what it depends on. A cycle is cut: readiness then decides.
func waves(cfg *config.Config, names []string) [][]string {
	left := map[string]bool{}
	for _, n := range names {
		left[n] = true
	}
	var order [][]string
	for len(left) > 0 {
		var wave []string
		for _, n := range slices.Sorted(maps.Keys(left)) {
			if !slices.ContainsFunc(cfg.Services[n].DependsOn, func(d string) bool { return left[d] && d != n }) {
				wave = append(wave, n)
			}
		}
		if len(wave) == 0 {
			wave = slices.Sorted(maps.Keys(left))
		}
		for _, n := range wave {
			delete(left, n)
		}
		order = append(order, wave)
	}
	return order
}
