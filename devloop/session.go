package devloop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/devloop-io/devloop/devloop/watch"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
	"github.com/devloop-io/devloop/traffic/redact"
)

// Options are what a session needs to know.
type Options struct {
	Workspace string // absolute
	Version   string
	Log       *slog.Logger
	Source    string // "" chooses the best, else tap or afpacket; for tests and for doctor's advice
	Wrap      WrapSource
	Observe   *control.Observed // a cluster to look at, instead of services to build and run; see [Session.Observe]
}

// Session is one workspace attached to one environment. Make it with [New], run it with [Session.Run], and end it with
// [Session.Close]. Its other methods are the API that the daemon serves; they may be called from any goroutine.
type Session struct {
	workspace string
	version   string
	log       *slog.Logger
	options   Options
	store     *store.Store
	started   time.Time
	requests  chan *request
	syncs     chan chan struct{} // answered by closing, when all saves up to then are noted
	ended     chan struct{}
	filters   query.Filters

	mu       sync.Mutex
	cfg      *config.Config
	sources  *sources
	env      environment
	wire     *wire
	blind    *noSource         // why wire is nil although env is not
	paused   environment       // whose capture was stopped
	served   map[string]build  // what runs now
	stale    map[string]bool   // services whose files are newer than what runs
	compiled map[string]string // programs of Go services whose sources are as when they were compiled
	reload   bool              // devloop.yaml changed
	follow   bool              // saves start iterations
	follows  int               // how many asked for that
	queued   bool              // one waits for its turn
	relist   bool              // imports changed: which packages a service is made of may be others
	imports  map[string]string // of Go files that were saved, by path
	listing  sync.WaitGroup
	state    state
	current  *traffic.Iteration
	recent   []*traffic.Iteration // finished, oldest first, bounded
	window   *window              // opened by hand
	watchers map[int]func(control.Event)
	nextID   int
	crashes  []crash
	happened happened
	rows     *rowCache
	makings  makings
	jobs     *jobs
}

// state is what is remembered from one daemon to the next.
type state struct {
	Iteration int               `json:"iteration"`
	Revision  int               `json:"revision"`
	Builds    map[string]string `json:"builds,omitempty"`
}

const keepIterations = 100

// New opens a workspace: its devloop.yaml and its store. Nothing is started.
func New(o Options) (*Session, error) {
	cfg := nothingToBuild(o.Workspace)
	if o.Observe == nil {
		var err error
		if cfg, err = config.Load(o.Workspace); err != nil {
			return nil, err
		}
	}
	st, err := store.Open(filepath.Join(o.Workspace, ".devloop"), storeOptions(cfg))
	if err != nil {
		return nil, err
	}
	s := &Session{
		workspace: o.Workspace, version: o.Version, log: o.Log, options: o, store: st, cfg: cfg,
		started: time.Now(), requests: make(chan *request), syncs: make(chan chan struct{}), ended: make(chan struct{}),
		imports: map[string]string{}, compiled: map[string]string{}, served: map[string]build{}, stale: map[string]bool{}, watchers: map[int]func(control.Event){}, rows: newRowCache(),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.remember(); err != nil {
		return nil, err
	}
	s.jobs = newJobs(s.jobsPath(), s.log, s.dissectSnapshot)
	return s, nil
}

func storeOptions(cfg *config.Config) store.Options {
	return store.Options{
		MaxSize: int64(cfg.Storage.Snapshots), MaxAge: time.Duration(cfg.Storage.MaxAge),
		Redact: redact.Options{Headers: cfg.Redact.Headers, Keys: cfg.Redact.Keys},
	}
}

func (s *Session) stateDir() string { return filepath.Join(s.workspace, ".devloop") }

// remember reads the counters and the iterations of earlier daemons.
func (s *Session) remember() error {
	b, err := os.ReadFile(filepath.Join(s.stateDir(), "state.json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the session's state: %w", err)
	}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &s.state); err != nil {
			s.log.Warn("the session's state is unreadable; counting begins again", "err", err)
		}
	}
	files, err := filepath.Glob(filepath.Join(s.stateDir(), "iterations", "i*.json"))
	if err != nil {
		return err
	}
	for _, f := range files {
		var it traffic.Iteration
		if b, err := os.ReadFile(f); err == nil && json.Unmarshal(b, &it) == nil {
			s.recent = append(s.recent, &it)
			s.state.Iteration = max(s.state.Iteration, number(it.ID))
		}
	}
	sealed, err := s.store.List()
	if err != nil {
		return err
	}
	for _, sn := range sealed { // a full disk may have kept the snapshot and not the counters
		s.state.Iteration = max(s.state.Iteration, number(sn.ID))
	}
	slices.SortFunc(s.recent, func(a, b *traffic.Iteration) int { return number(a.ID) - number(b.ID) })
	return nil
}

// number is the 12 of "i12".
func number(id string) int {
	var n int
	_, _ = fmt.Sscanf(strings.TrimLeft(id, "ir"), "%d", &n) // 0 for anything else
	return n
}

// persist writes the counters, and a finished iteration.
func (s *Session) persist(it *traffic.Iteration) error {
	s.mu.Lock()
	counters, err := json.Marshal(s.state)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(s.stateDir(), "state.json"), counters); err != nil {
		return err
	}
	if it == nil {
		return nil
	}
	b, err := json.Marshal(it)
	if err != nil {
		return err
	}
	dir := filepath.Join(s.stateDir(), "iterations")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder for iterations: %w", err)
	}
	_ = os.Remove(filepath.Join(dir, fmt.Sprintf("i%d.json", number(it.ID)-keepIterations))) // usually absent
	return writeFile(filepath.Join(dir, it.ID+".json"), b)
}

// writeFile writes beside and renames, so that a reader never sees half a file.
func writeFile(path string, b []byte) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Close ends the capture and lets go of the services: those that cannot run without devloop end. Call it after
// [Session.Run] returned.
func (s *Session) Close(ctx context.Context) error {
	return s.end(ctx, func(env environment) error { return env.Close(ctx) })
}

// Down ends the services and the capture and removes what was made for them. Call it after [Session.Run] returned.
func (s *Session) Down(ctx context.Context, r control.DownRequest) error {
	return s.end(ctx, func(env environment) error { return env.Down(ctx, r.KeepCluster) })
}

func (s *Session) end(ctx context.Context, leave func(environment) error) error {
	s.mu.Lock()
	env, wire := s.env, s.wire
	s.env, s.wire, s.blind = nil, nil, nil
	s.served = map[string]build{}
	s.mu.Unlock()
	s.listing.Wait()
	var errs []error
	if wire != nil {
		if err := wire.stop(); err != nil { // of packets that nobody sealed: the services go down all the same
			s.log.Warn("the recording did not end well", "err", err)
		}
	}
	if env != nil {
		errs = append(errs, leave(env))
	}
	return errors.Join(errs...)
}

// note marks what a batch of saves makes stale and returns the files that matter.
func (s *Session) note(b watch.Batch) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.Overflow {
		for name := range s.cfg.Services {
			s.stale[name] = true
			delete(s.compiled, name)
		}
		return []string{"(too many changes to name)"}
	}
	var matter []string
	for _, p := range b.Paths {
		isConfig := filepath.Join(s.workspace, filepath.FromSlash(p)) == s.cfg.Path
		isCheck := watch.Match(s.cfg.Checks, p)
		var touched []string
		if s.sources != nil {
			touched = s.sources.touched([]string{p})
		}
		for _, name := range touched {
			s.stale[name] = true
			if path.Clean(filepath.ToSlash(s.cfg.Services[name].EnvFile)) != p {
				delete(s.compiled, name)
			}
		}
		s.reload = s.reload || isConfig
		if strings.HasSuffix(p, ".go") || path.Base(p) == "go.mod" {
			now := importsOf(filepath.Join(s.workspace, filepath.FromSlash(p)))
			s.relist = s.relist || s.imports[p] != now
			s.imports[p] = now
		}
		if isConfig || isCheck || len(touched) > 0 {
			matter = append(matter, path.Clean(p))
		}
	}
	return matter
}

func (s *Session) following() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.follow
}

// exercising reports whether the running iteration has reached the exercise: from there on it finishes.
func (s *Session) exercising() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return false
	}
	switch s.current.Phase {
	case "start", "build", "deploy":
		return false
	}
	return true
}

// Follow says that one more, or one fewer, wants saves to start iterations by themselves. They stop when the last one leaves.
func (s *Session) Follow(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on {
		s.follows++
	} else {
		s.follows = max(0, s.follows-1)
	}
	s.follow = s.follows > 0
}

// rememberPrograms keeps the programs of a build, except where a save during it made them old already.
func (s *Session) rememberPrograms(built map[string]build) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, b := range built {
		if s.cfg.Services[name].Go != "" && !s.stale[name] {
			s.compiled[name] = b.Argv[0]
		}
	}
}

// markStale makes services stale again: those whose build or deploy came to nothing.
func (s *Session) markStale(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		s.stale[name] = true
	}
}

// takeStale are the services to build now, sorted: what a save touched, and what does not run. They count as built from
// here on, so that a save during the build makes them stale anew.
func (s *Session) takeStale() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.stale
	s.stale = map[string]bool{}
	for name := range s.cfg.Services {
		if _, ok := s.served[name]; !ok {
			names[name] = true
		}
	}
	maps.DeleteFunc(names, func(name string, _ bool) bool { _, known := s.cfg.Services[name]; return !known })
	return slices.Sorted(maps.Keys(names))
}

// publish tells everyone who listens how the running iteration stands.
func (s *Session) publish(r *request, e control.Event) {
	s.mu.Lock()
	listeners := slices.Collect(maps.Values(s.watchers))
	if e.Iteration != nil {
		copied := *e.Iteration
		copied.Ledger = slices.Clone(copied.Ledger)
		e.Iteration = &copied
	}
	s.mu.Unlock()
	if r != nil && r.events != nil {
		r.events(e)
	}
	for _, tell := range listeners {
		tell(e)
	}
}

// Listen calls tell for every event until the returned function is called. tell must not block.
func (s *Session) Listen(tell func(control.Event)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.nextID
	s.nextID++
	s.watchers[id] = tell
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, id)
	}
}
