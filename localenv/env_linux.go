package localenv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/traffic"
)

// Env is a local environment: the network, and what runs in it. Its methods may be called from any goroutine.
type Env struct {
	workspace, stateDir string
	hash                string
	mode                Mode
	why                 string
	cfg                 *config.Config
	log                 *slog.Logger

	dir      string // of the state file and the namespaces
	unlock   func()
	net      *network
	names    *names
	dns      *responder
	launcher *launcher
	parent   cgroup
	given    map[int]bool // ports allocated in loopback mode
	units    map[string]*unit
	order    []string // of the names, as their addresses go
	starts   atomic.Int64
	faults   faults
	waits    sync.WaitGroup // goroutines of processes, wiring and log bounds
	closing  chan struct{}  // closed when Down begins: starts that wait for readiness give up
	ended    chan struct{}  // closed when all processes were stopped
	exits    chan Exit

	mu       sync.Mutex
	st       state
	down     bool
	targets  map[uint64]Target
	onTarget []func(Target)
	onGone   []func(Target)
	warnings []string
	commands map[*Cmd]bool
}

// New makes the network of a workspace and removes first what a killed run of it left. It fails with a [LockedError]
// while another process runs the workspace. Nothing is started yet. The caller owes a [Env.Down].
//
// Where this machine refuses namespaces in spite of the rights, as in many containers, it falls back to loopback mode.
func New(ctx context.Context, o Options) (*Env, error) {
	e, err := open(ctx, o)
	if err == nil || o.Loopback || !refused(err) {
		return e, err
	}
	o.Loopback = true
	e, second := open(ctx, o)
	if second != nil {
		return nil, errors.Join(err, second)
	}
	e.why = "this machine refuses network namespaces: " + err.Error()
	return e, nil
}

// refused says whether the kernel, or who configured it, does not let us do something at all.
func refused(err error) bool {
	for _, e := range []error{syscall.EPERM, syscall.EACCES, syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EROFS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// open makes an environment in the mode that Detect or the options say.
func open(ctx context.Context, o Options) (*Env, error) {
	e, err := prepare(o)
	if err != nil {
		return nil, err
	}
	if err := e.occupy(ctx); err != nil {
		return nil, err
	}
	if err := e.build(); err != nil {
		e.log.Debug("building the local environment was given up", "error", err)
		return nil, errors.Join(fmt.Errorf("build the local environment: %w", err), e.Down(context.WithoutCancel(ctx)))
	}
	e.waits.Go(e.boundLogs)
	return e, nil
}

// prepare fills in the options' defaults and refuses what cannot run.
func prepare(o Options) (*Env, error) {
	if o.Config == nil {
		return nil, errors.New("a local environment needs a configuration")
	}
	workspace, err := filepath.Abs(cmp.Or(o.Workspace, o.Config.Dir, "."))
	if err != nil {
		return nil, err
	}
	stateDir, err := filepath.Abs(cmp.Or(o.StateDir, filepath.Join(workspace, ".devloop")))
	if err != nil {
		return nil, err
	}
	for _, name := range append(slices.Sorted(maps.Keys(o.Config.Services)), slices.Sorted(maps.Keys(o.Config.Dependencies))...) {
		if err := checkName(name); err != nil {
			return nil, err
		}
	}
	for name := range o.Config.Dependencies {
		if _, twice := o.Config.Services[name]; twice {
			return nil, fmt.Errorf("%q is both a service and a dependency", name)
		}
	}
	e := &Env{workspace: workspace, stateDir: stateDir, hash: Hash(workspace), cfg: o.Config, log: o.Log,
		names: &names{}, units: map[string]*unit{}, given: map[int]bool{}, closing: make(chan struct{}), ended: make(chan struct{}), exits: make(chan Exit, 64),
		targets: map[uint64]Target{}, commands: map[*Cmd]bool{}, faults: faults{there: map[string]*activeFault{}}}
	if e.log == nil {
		e.log = slog.Default()
	}
	e.mode, e.why = Detect()
	if o.Loopback && e.mode == ModeNetNS {
		e.mode, e.why = ModeLoopback, "asked for"
	}
	e.dir = runDir(e.mode, e.hash, stateDir)
	return e, nil
}

// occupy takes the workspace's lock and cleans what a killed run left.
func (e *Env) occupy(ctx context.Context) error {
	if _, err := os.Stat(e.dir); err == nil {
		removed, err := Clean(ctx, e.workspace, e.stateDir)
		var locked *LockedError
		if errors.As(err, &locked) {
			return locked
		}
		if err != nil {
			return fmt.Errorf("clean up after an earlier run: %w", err)
		}
		e.log.Info("cleaned up after an earlier run", "removed", removed)
	} else if e.mode == ModeNetNS {
		// The folder may be gone and the rest still there, when somebody emptied /run.
		if _, err := Clean(ctx, e.workspace, e.stateDir); err != nil {
			return fmt.Errorf("clean up after an earlier run: %w", err)
		}
	}
	unlock, err := lockFile(filepath.Join(e.dir, "lock"), false)
	if err != nil {
		return err
	}
	e.unlock = unlock
	e.st = state{Version: 1, Hash: e.hash, Workspace: e.workspace, Mode: e.mode, PID: os.Getpid(), Started: time.Now(), Boot: bootID()}
	return nil
}

// save writes the state; what it speaks of is made after.
func (e *Env) save() error { return e.st.write(filepath.Join(e.dir, stateFile)) }

// build makes everything but processes.
func (e *Env) build() error {
	if err := os.MkdirAll(filepath.Join(e.stateDir, "local"), 0o755); err != nil {
		return err
	}
	if err := e.beginKeyLog(); err != nil {
		return err
	}
	if e.mode != ModeNetNS {
		if err := e.save(); err != nil {
			return err
		}
		return e.addUnits()
	}
	if err := e.buildNetwork(); err != nil {
		return err
	}
	if err := e.buildCGroup(); err != nil {
		return err
	}
	if err := e.addUnits(); err != nil {
		return err
	}
	if err := e.buildDNS(); err != nil {
		return err
	}
	e.warnings = append(e.warnings, egress(e.hash, &e.st, e.save)...)
	e.waits.Go(func() {
		for _, name := range e.order {
			e.wire(e.units[name])
		}
	})
	return nil
}

// buildNetwork picks the subnet and makes the bridge, while no other workspace does the same.
func (e *Env) buildNetwork() error {
	unlock, err := lockFile(filepath.Join(runRoot, "lock"), true)
	if err != nil {
		return err
	}
	defer unlock()
	subnet, err := freeSubnet(e.hash)
	if err != nil {
		return err
	}
	mount, err := cgroupMount()
	if err != nil {
		return err
	}
	e.parent.path = filepath.Join(mount, "devloop-"+e.hash)
	e.st.Subnet, e.st.Link, e.st.Table, e.st.CGroup = subnet, linkName(e.hash), tableName(e.hash), e.parent.path
	if err := e.save(); err != nil {
		return err
	}
	e.net = &network{hash: e.hash, dir: filepath.Join(e.dir, "ns"), subnet: subnet}
	e.names.subnets = []netip.Prefix{subnet}
	return e.net.build()
}

func (e *Env) buildCGroup() (err error) {
	e.parent, err = makeCGroup(e.parent.path)
	return err
}

// buildDNS starts the launcher, whose processes see our resolv.conf, and the responder that it names.
func (e *Env) buildDNS() error {
	path := filepath.Join(e.dir, "resolv.conf")
	text := fmt.Sprintf("# written by devloop for the services of %s\nnameserver %s\noptions ndots:1\n", e.workspace, e.net.addr(switchByte))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	if _, err := os.Stat("/etc/resolv.conf"); err != nil {
		e.warn("services cannot look up names: this machine has no /etc/resolv.conf in whose place theirs could be mounted")
		path = ""
	}
	launcher, err := newLauncher(path)
	if err != nil {
		return err
	}
	e.launcher = launcher
	at := net.JoinHostPort(e.net.addr(switchByte).String(), "53")
	return launcher.in(e.net.ns, func() error {
		udp, err := net.ListenPacket("udp4", at)
		if err != nil {
			return fmt.Errorf("open the DNS responder: %w", err)
		}
		tcp, err := net.Listen("tcp4", at)
		if err != nil {
			udp.Close()
			return fmt.Errorf("open the DNS responder: %w", err)
		}
		e.dns = newResponder(e.names, hostResolvers("/etc/resolv.conf"), e.log)
		e.dns.serve(udp, tcp)
		return nil
	})
}

// addUnits gives every name its address, in the order of names, so that a run has the addresses of the run before.
func (e *Env) addUnits() error {
	last := firstByte
	for _, name := range slices.Sorted(maps.Keys(e.cfg.Services)) {
		s := e.cfg.Services[name]
		if err := e.addUnit(name, traffic.KindService, s.Ports, s.Hosts, s.Outside, s.Ready, byte(last)); err != nil {
			return err
		}
		last++
	}
	for _, name := range slices.Sorted(maps.Keys(e.cfg.Dependencies)) {
		d := e.cfg.Dependencies[name]
		if err := e.addUnit(name, traffic.KindDependency, d.Ports, nil, false, d.Ready, byte(last)); err != nil {
			return err
		}
		last++
	}
	if last > lastByte {
		return fmt.Errorf("%d services and dependencies: at most %d have an address", last-firstByte, lastByte-firstByte)
	}
	return e.addUnit(ExerciseName, traffic.KindExercise, nil, nil, false, nil, exerciseByte)
}

// Mode says how services are kept apart, and why so.
func (e *Env) Mode() (Mode, string) { return e.mode, e.why }

// Hash is the short name that everything made for the workspace bears.
func (e *Env) Hash() string { return e.hash }

// Warnings are sentences about what is not as in a cluster.
func (e *Env) Warnings() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	found := slices.Clone(e.warnings)
	if e.mode == ModeLoopback {
		found = append([]string{"services share one loopback with allocated ports and their packets carry no names: " + e.why}, found...)
	}
	return found
}

// warn adds a sentence once.
func (e *Env) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Contains(e.warnings, text) {
		e.warnings = append(e.warnings, text)
	}
}

// CGroup is the cgroup whose children are the services' own: what a tap attaches to. It is empty in loopback mode.
func (e *Env) CGroup() (path string, id uint64) { return e.parent.path, e.parent.id }

// Address is where the host reaches a port of a service or dependency.
func (e *Env) Address(name, port string) (netip.AddrPort, bool) {
	u, ok := e.units[name]
	if !ok || u.ports[port] == 0 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(u.ip, uint16(u.reachPort(port))), true
}

// Start runs a build of a service in place of the running one and returns when it is ready. Only this service is
// touched. When it does not become ready it is stopped, and the error is a [StartError] with the log's tail.
func (e *Env) Start(ctx context.Context, service string, b Build) (*Instance, error) {
	s, ok := e.cfg.Services[service]
	if !ok {
		return nil, fmt.Errorf("start %s: no such service; there are %s", service, strings.Join(slices.Sorted(maps.Keys(e.cfg.Services)), ", "))
	}
	u := e.units[service]
	prog, err := e.serviceProgram(u, s, b)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", service, err)
	}
	return e.replace(ctx, u, prog, b.ID, false)
}

var errDown = errors.New("the environment is down")

// replace stops what runs under a name, starts a program and waits until it is ready.
func (e *Env) replace(ctx context.Context, u *unit, prog program, build string, standIn bool) (*Instance, error) {
	if err := u.awaitWire(ctx); err != nil {
		return nil, fmt.Errorf("start %s: %w", u.name, err)
	}
	u.turn.Lock()
	defer u.turn.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-e.closing:
			cancel(errDown)
		case <-ctx.Done():
		}
	}()
	var ledger []traffic.PhaseTime
	phase := time.Now()
	lap := func(name string) {
		now := time.Now()
		ledger = append(ledger, traffic.PhaseTime{Phase: name, NS: now.Sub(phase).Nanoseconds(), Detail: u.name})
		phase = now
	}
	if old := e.running(u); old != nil {
		old.stop(ctx)
		lap("stop")
	}
	if e.isDown() {
		return nil, fmt.Errorf("start %s: %w", u.name, errDown)
	}
	if err := e.portsFree(u); err != nil {
		return nil, err
	}
	p, err := e.begin(u, prog, build, standIn)
	if err != nil {
		return nil, &StartError{Service: u.name, What: err.Error()}
	}
	lap("start")
	e.mu.Lock()
	u.current, u.standIn = p, standIn
	e.mu.Unlock()
	if err := e.await(ctx, p, u.ready); err != nil {
		p.stop(ctx)
		var failed *StartError
		if errors.As(err, &failed) {
			return nil, failed
		}
		return nil, fmt.Errorf("start %s: %w", u.name, err)
	}
	lap("ready")
	e.mu.Lock()
	p.inst.Ledger = ledger
	inst := p.inst
	e.mu.Unlock()
	p.serving.Store(true)
	select {
	case <-p.done: // ended between readiness and here: nobody else says so
		return nil, p.failure(fmt.Sprintf("the process %s as soon as it was ready", p.exit.How()), &p.exit)
	default:
	}
	return &inst, nil
}

// Stop ends a service or dependency. What does not run is fine.
func (e *Env) Stop(ctx context.Context, name string) error {
	u, ok := e.units[name]
	if !ok {
		return fmt.Errorf("stop %s: no such service", name)
	}
	u.turn.Lock()
	defer u.turn.Unlock()
	if p := e.running(u); p != nil {
		p.stop(ctx)
	}
	e.mu.Lock()
	c := u.container
	u.container = nil
	e.mu.Unlock()
	if c != nil {
		return c.close(ctx)
	}
	return nil
}

// serviceProgram is what to run for a build of a service.
func (e *Env) serviceProgram(u *unit, s config.Service, b Build) (program, error) {
	argv := slices.Clone(b.Argv)
	if len(argv) == 0 && b.Path != "" {
		argv = append([]string{b.Path}, s.Args...)
	}
	if len(argv) == 0 {
		words, err := config.SplitWords(s.Command)
		if err != nil {
			return program{}, fmt.Errorf("command: %w", err)
		}
		argv = append(words, s.Args...)
	}
	if len(argv) == 0 {
		return program{}, errors.New("nothing to run: neither a build nor a command")
	}
	data := filepath.Join(e.stateDir, "local", "data", u.name)
	if err := os.MkdirAll(data, 0o700); err != nil {
		return program{}, err
	}
	prog := program{path: b.Path, dir: filepath.Join(e.workspace, s.Dir), keyLog: s.TLSKeys == nil || *s.TLSKeys}
	if err := e.fillProgram(&prog, u, argv, s.Env, s.EnvFile, data); err != nil {
		return program{}, err
	}
	return prog, nil
}

// fillProgram completes a program: its words, its environment and, where no path is known, its file.
func (e *Env) fillProgram(prog *program, u *unit, argv []string, env map[string]string, envFile, data string) error {
	peers := e.peers()
	vars := values(u.name, data, peers)
	var changed []string
	for i, word := range argv {
		filled := word
		if u.kind != traffic.KindExercise { // whose words are the user's own: go list -f '{{.Dir}}'
			var err error
			if filled, err = fill(word, vars); err != nil {
				return fmt.Errorf("command: %w", err)
			}
		}
		if argv[i] = e.rewrite(u.name, filled, peers); argv[i] != filled && !slices.Contains(changed, "its arguments") {
			changed = append(changed, "its arguments")
		}
	}
	prog.argv = argv
	base := baseEnvironment(os.Environ(), e.noProxy())
	if u.kind == traffic.KindDependency {
		base = withServers(base)
	}
	if prog.keyLog {
		base = append(base, keyLogVariable+"="+e.KeyLog())
	}
	full, err := environment(base, e.workspace, envFile, env, vars)
	if err != nil {
		return err
	}
	for i := len(base); i < len(full); i++ {
		name, value, _ := strings.Cut(full[i], "=")
		now := e.rewrite(u.name, value, peers)
		if full[i] = name + "=" + now; now != value {
			changed = append(changed, name)
		}
	}
	if len(changed) > 0 {
		e.warn("%s: declared addresses were replaced by allocated ones of the loopback in %s", u.name, strings.Join(changed, ", "))
	}
	if e.mode != ModeNetNS {
		full = append(full, portVariables(u.name, peers)...)
	}
	prog.env = full
	if prog.path == "" {
		prog.path, err = findProgram(argv[0], prog.dir)
	}
	return err
}

// rewrite replaces declared addresses where they do not exist.
func (e *Env) rewrite(service, value string, peers map[string]peer) string {
	if e.mode == ModeNetNS {
		return value
	}
	return rewriteHosts(value, service, peers)
}

// Reach replaces the declared addresses of services in a text, such as a URL, by those that answer. They are the same but
// in loopback mode.
func (e *Env) Reach(text string) string { return e.rewrite(ExerciseName, text, e.peers()) }

// noProxy lists what must not be asked of a proxy.
func (e *Env) noProxy() []string {
	list := []string{"localhost", "127.0.0.1"}
	if e.mode == ModeNetNS {
		list = append(list, e.net.subnet.String())
		for _, name := range e.order {
			list = append(append(list, name), e.units[name].hosts...)
		}
	}
	return list
}

// findProgram finds the file of a program: a path relative to the folder it runs in, or a name on the PATH and where
// servers are that distributions keep off it.
func findProgram(name, dir string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return exec.LookPath(name)
	}
	path, err := exec.LookPath(name)
	if err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range serverFolders() {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", err
}

// serverFolders are where distributions keep servers off the PATH, newest version first.
func serverFolders() []string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(found, byVersion)
	slices.Reverse(found)
	return append(found, "/usr/local/sbin", "/usr/sbin", "/sbin")
}

// withServers appends those folders to the PATH, for dependencies whose init is a script that calls such servers.
func withServers(env []string) []string {
	folders := strings.Join(serverFolders(), ":")
	for i, kv := range env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			env[i] = "PATH=" + path + ":" + folders
			return env
		}
	}
	return append(env, "PATH=/usr/bin:/bin:"+folders)
}

// byVersion orders paths so that 9 comes before 15.
func byVersion(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

// running is the unit's process that has not ended.
func (e *Env) running(u *unit) *process {
	e.mu.Lock()
	defer e.mu.Unlock()
	return u.current
}

func (e *Env) isDown() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.down
}

// forget takes a process that ended off its unit.
func (e *Env) forget(p *process) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p.unit.current == p {
		p.unit.current = nil
	}
}

// track notes a process that no cgroup knows, or that it ended.
func (e *Env) track(pid int, lives bool) {
	if e.mode == ModeNetNS {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if lives {
		e.st.Processes = append(e.st.Processes, refProcess(pid))
	} else {
		e.st.Processes = slices.DeleteFunc(e.st.Processes, func(p procRef) bool { return p.PID == pid })
	}
	if e.down && !lives {
		return
	}
	if err := e.save(); err != nil {
		e.log.Warn("the state file could not be written", "error", err)
	}
}

// report hands over a crash; a reader that does not come loses the oldest ones.
func (e *Env) report(x Exit) {
	for {
		select {
		case e.exits <- x:
			return
		default:
		}
		select {
		case <-e.exits:
		default:
		}
	}
}

// Exited tells of processes that ended unasked after they had been ready. [Env.Down] closes it.
func (e *Env) Exited() <-chan Exit { return e.exits }

// Instances are what runs now: services, dependencies, commands.
func (e *Env) Instances() []Instance {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []Instance
	for _, name := range e.order {
		u := e.units[name]
		if u.current != nil {
			found = append(found, u.current.inst)
		} else if u.container != nil {
			found = append(found, u.container.inst)
		}
	}
	for c := range e.commands {
		found = append(found, c.inst)
	}
	return found
}

// OnTarget has f called with every present target and with every later one, before the first instruction of the process
// that it is made for. f must not call back into the environment.
func (e *Env) OnTarget(f func(Target)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.onTarget = append(e.onTarget, f)
	for _, id := range slices.Sorted(maps.Keys(e.targets)) {
		f(e.targets[id])
	}
}

// OnTargetGone has f called with every target whose processes ended and whose cgroup is removed.
func (e *Env) OnTargetGone(f func(Target)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.onGone = append(e.onGone, f)
}

// Targets are the cgroups that are there now.
func (e *Env) Targets() []Target {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []Target
	for _, id := range slices.Sorted(maps.Keys(e.targets)) {
		found = append(found, e.targets[id])
	}
	return found
}

func (e *Env) announce(t Target) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.targets[t.CGroup] = t
	for _, f := range e.onTarget {
		f(t)
	}
}

func (e *Env) retire(t Target) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.targets, t.CGroup)
	for _, f := range e.onGone {
		f(t)
	}
}

// Identities says whose the addresses of the bridge are. In loopback mode one address is everybody's, so there are none.
func (e *Env) Identities() []traffic.Identity {
	if e.mode != ModeNetNS {
		return nil
	}
	host := traffic.Workload{Namespace: "local", Kind: KindHost, Service: "devloop", Pod: "devloop", Process: "devloop"}
	dns := traffic.Workload{Namespace: "local", Kind: KindHost, Service: "dns", Pod: "dns", Process: "devloop"}
	found := []traffic.Identity{{IP: e.net.addr(hostByte), Workload: host}, {IP: e.net.addr(switchByte), Workload: dns}}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, name := range e.order {
		u := e.units[name]
		w := u.workload()
		if u.standIn {
			w.Labels = map[string]string{"stand-in": "true"}
		}
		found = append(found, traffic.Identity{IP: u.ip, Workload: w})
	}
	return found
}

// boundLogs keeps logs below their limit until Down.
func (e *Env) boundLogs() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-e.ended:
			return
		case <-tick.C:
		}
		for _, inst := range e.Instances() {
			if inst.Log == "" {
				continue
			}
			if err := boundLog(inst.Log, logLimit); err != nil && !errors.Is(err, os.ErrNotExist) {
				e.log.Warn("a log could not be bounded", "log", inst.Log, "error", err)
			}
		}
	}
}

// Down stops everything, removes all that was made and asks the kernel whether anything is left. The data of
// dependencies and the logs stay. A second call does nothing.
func (e *Env) Down(ctx context.Context) error {
	e.mu.Lock()
	if e.down {
		e.mu.Unlock()
		return nil
	}
	e.down = true
	close(e.closing)
	commands := slices.Collect(maps.Keys(e.commands))
	e.mu.Unlock()
	for _, c := range commands {
		c.end()
	}
	_, faulty := e.ClearFault("")
	err := errors.Join(faulty, e.stopAll(ctx, traffic.KindService), e.stopAll(ctx, traffic.KindDependency))
	close(e.ended)
	e.waits.Wait()
	close(e.exits)
	if e.dns != nil {
		e.dns.close()
	}
	if e.launcher != nil {
		e.launcher.close()
	}
	for _, u := range e.units {
		if u.ns != nil {
			u.ns.Close()
		}
	}
	if e.net != nil {
		e.net.close()
	}
	err = errors.Join(err, teardown(ctx, e.st, e.dir), e.endKeyLog())
	if e.unlock != nil {
		e.unlock()
	}
	if left := leftovers(e.st, e.dir); len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("still there: %s", strings.Join(left, ", ")))
	}
	if err != nil {
		return fmt.Errorf("take the local environment down: %w", err)
	}
	return nil
}

// stopAll stops the units of one kind at the same time: services first, so that servers see their clients gone.
func (e *Env) stopAll(ctx context.Context, kind string) error {
	var wg sync.WaitGroup
	errs := make([]error, len(e.order))
	for i, name := range e.order {
		if e.units[name].kind == kind {
			wg.Go(func() { errs[i] = e.Stop(ctx, name) })
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}
