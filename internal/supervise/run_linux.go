package supervise

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	stopGrace   = 2 * time.Second // between SIGTERM and SIGKILL
	goBound     = 5 * time.Second // how long a switch waits for "go": after it whoever pushed is gone
	readyPoll   = 2 * time.Millisecond
	mostReaders = 16 // connections at a time
)

// supervisor runs one program at a time. As the first process of the container it is the one that reaps.
type supervisor struct {
	dir      string
	switches chan struct{} // holds one token: one switch at a time

	mu       sync.Mutex
	now      Event
	child    *child
	watchers map[chan Event]bool
}

// child is one start of a program.
type child struct {
	pid   int
	build string
	asked bool // its end was asked for
	ended chan struct{}
}

// Run is the supervisor. It starts what build.json says, serves push and watch on its socket, and passes the signals
// that end a container on to the program. It returns when the container ends: the exit code is the program's.
func Run(ctx context.Context, dir string) (int, error) {
	for _, folder := range []string{"bin", "data"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			return 1, fmt.Errorf("make %s, which must be a folder that the container may write, such as an emptyDir: %w", dir, err)
		}
	}
	v := &supervisor{dir: dir, switches: make(chan struct{}, 1), watchers: map[chan Event]bool{}, now: Event{Phase: PhaseWaiting, Time: now()}}
	sock := filepath.Join(dir, "sock")
	if err := os.Remove(sock); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 1, fmt.Errorf("remove the socket of a run before: %w", err)
	}
	l, err := net.Listen("unix", sock)
	if err != nil {
		return 1, fmt.Errorf("listen for pushes: %w", err)
	}
	defer l.Close()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	go v.serve(l)
	if s, err := remembered(dir); err != nil {
		fmt.Fprintf(os.Stderr, "devloop: the program from before the container's restart cannot be started: %v\n", err)
	} else if s != nil {
		go v.restart(s)
	}
	for {
		select {
		case <-ctx.Done():
			return v.end(syscall.SIGTERM, signals), nil
		case s := <-signals:
			switch s {
			case syscall.SIGCHLD:
				v.reap()
			case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT:
				return v.end(s.(syscall.Signal), signals), nil
			default:
				v.signal(s.(syscall.Signal))
			}
		}
	}
}

// end passes the container's end on and waits for the program; the kubelet's grace bounds it.
func (v *supervisor) end(s syscall.Signal, signals <-chan os.Signal) int {
	v.mu.Lock()
	c := v.child
	if c != nil {
		c.asked = true
	}
	v.mu.Unlock()
	if c == nil {
		return 0
	}
	v.signal(s)
	for {
		select {
		case <-c.ended:
			v.mu.Lock()
			defer v.mu.Unlock()
			if v.now.Signal != "" {
				return 128 + int(s)
			}
			return v.now.Code
		case again := <-signals:
			if again == syscall.SIGCHLD {
				v.reap()
			} else {
				v.signal(again.(syscall.Signal))
			}
		}
	}
}

// signal reaches the program and all that it started.
func (v *supervisor) signal(s syscall.Signal) {
	v.mu.Lock()
	c := v.child
	v.mu.Unlock()
	if c != nil {
		_ = syscall.Kill(-c.pid, s) // it may have ended meanwhile
	}
}

// reap collects every process that ended: orphans of the program come to the container's first process.
func (v *supervisor) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		v.mu.Lock()
		c := v.child
		if c == nil || c.pid != pid {
			v.mu.Unlock()
			continue
		}
		e := Event{Phase: PhaseExited, Build: c.build, PID: pid, Time: now(), Code: status.ExitStatus()}
		if status.Signaled() {
			e.Code, e.Signal = -1, status.Signal().String()
		}
		v.child = nil
		asked := c.asked
		if asked {
			v.now = e // no news: whoever asked waits for ended
		} else {
			v.say(e)
		}
		v.mu.Unlock()
		_ = syscall.Kill(-pid, syscall.SIGKILL) // what it left behind
		close(c.ended)
		if !asked {
			fmt.Fprintf(os.Stderr, "devloop: the program of build %s %s\n", e.Build, e.How())
		}
	}
}

// say tells everyone who watches. The caller holds the lock.
func (v *supervisor) say(e Event) {
	v.now = e
	for w := range v.watchers {
		select {
		case w <- e:
		default: // who does not read is cut off and may ask again
			close(w)
			delete(v.watchers, w)
		}
	}
}

func (v *supervisor) serve(l net.Listener) {
	slots := make(chan struct{}, mostReaders)
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		select {
		case slots <- struct{}{}:
			go func() {
				defer func() { <-slots }()
				defer conn.Close()
				v.answer(conn)
			}()
		default:
			_ = json.NewEncoder(conn).Encode(Event{Phase: PhaseError, Time: now(), What: "too many connections at a time"})
			conn.Close()
		}
	}
}

func (v *supervisor) answer(conn net.Conn) {
	r := bufio.NewReader(conn)
	enc := json.NewEncoder(conn)
	line, err := readLine(r)
	var q request
	if err == nil {
		err = json.Unmarshal(line, &q)
	}
	if err == nil && q.Switch != nil {
		err = q.Switch.check()
	}
	switch {
	case err != nil:
		_ = enc.Encode(Event{Phase: PhaseError, Time: now(), What: err.Error()})
	case q.Switch != nil:
		granted := make(chan bool, 1)
		go func() {
			line, err := readLine(r)
			granted <- err == nil && string(line) == Go
		}()
		v.change(q.Switch, granted, func(e Event) { _ = enc.Encode(e) }) // who pushed may be gone; the program runs all the same
	case q.Watch:
		v.watch(conn, enc)
	}
}

func (v *supervisor) watch(conn net.Conn, enc *json.Encoder) {
	news := make(chan Event, 32)
	v.mu.Lock()
	first := v.now
	v.watchers[news] = true
	v.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = conn.Read(make([]byte, 1))
	}()
	defer func() {
		v.mu.Lock()
		delete(v.watchers, news)
		v.mu.Unlock()
	}()
	if enc.Encode(first) != nil {
		return
	}
	for {
		select {
		case e, ok := <-news:
			if !ok || enc.Encode(e) != nil {
				return
			}
		case <-gone:
			return
		}
	}
}

// restart starts the program of before the container's restart.
func (v *supervisor) restart(s *Switch) {
	granted := make(chan bool, 1)
	granted <- true
	v.change(s, granted, func(Event) {})
}

// change ends the running program and starts another. tell hears of every step.
func (v *supervisor) change(s *Switch, granted <-chan bool, tell func(Event)) {
	v.switches <- struct{}{}
	defer func() { <-v.switches }()
	step := func(e Event) {
		e.Build, e.Time = s.Build, now()
		tell(e)
		v.mu.Lock()
		defer v.mu.Unlock()
		if e.Phase != PhaseReady || v.now.Phase == PhaseStarted && v.now.Build == s.Build {
			v.say(e)
		}
	}
	v.stop()
	step(Event{Phase: PhaseStopped})
	select {
	case <-granted:
	case <-time.After(goBound):
	}
	c, err := v.start(s, step)
	if err == nil {
		err = remember(v.dir, s)
	}
	if err != nil {
		step(Event{Phase: PhaseError, What: err.Error()})
		return
	}
	missing := awaitReady(s.Ready, c.ended)
	select {
	case <-c.ended:
		v.mu.Lock()
		e := v.now
		v.mu.Unlock()
		e.Build = s.Build
		tell(e) // the watchers heard it when it happened
		return
	default:
	}
	if missing != "" {
		step(Event{Phase: PhaseError, PID: c.pid, What: missing})
		return
	}
	step(Event{Phase: PhaseReady, PID: c.pid})
}

// stop ends the running program.
func (v *supervisor) stop() {
	v.mu.Lock()
	c := v.child
	if c != nil {
		c.asked = true
	}
	v.mu.Unlock()
	if c == nil {
		return
	}
	_ = syscall.Kill(-c.pid, syscall.SIGTERM)
	select {
	case <-c.ended:
		return
	case <-time.After(stopGrace):
	}
	_ = syscall.Kill(-c.pid, syscall.SIGKILL)
	<-c.ended
}

// start starts a program in a process group of its own.
func (v *supervisor) start(s *Switch, step func(Event)) (*child, error) {
	path := program(v.dir, s)
	dir := s.Dir
	if dir == "" {
		dir = "."
	}
	env := os.Environ()
	for k, value := range s.Env {
		env = append(env, k+"="+value)
	}
	v.mu.Lock()
	// Under the lock, so that reap knows the child before it can be reaped.
	p, err := os.StartProcess(path, append([]string{path}, s.Args...), &os.ProcAttr{
		Dir: dir, Env: unique(env), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		v.mu.Unlock()
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	c := &child{pid: p.Pid, build: s.Build, ended: make(chan struct{})}
	v.child = c
	v.mu.Unlock()
	_ = p.Release() // reap waits for it
	step(Event{Phase: PhaseStarted, PID: c.pid})
	return c, nil
}

// unique keeps the last value of each name.
func unique(env []string) []string {
	seen := map[string]bool{}
	kept := env[:0:0]
	for _, e := range slices.Backward(env) {
		name := e
		if i := indexByte(e, '='); i >= 0 {
			name = e[:i]
		}
		if !seen[name] {
			seen[name] = true
			kept = append(kept, e)
		}
	}
	slices.Reverse(kept)
	return kept
}

func indexByte(s string, b byte) int {
	for i := range len(s) {
		if s[i] == b {
			return i
		}
	}
	return -1
}

func remember(dir string, s *Switch) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "build.json")
	if err := os.WriteFile(path+".new", b, 0o600); err != nil { // an environment may hold secrets
		return fmt.Errorf("remember the build: %w", err)
	}
	return os.Rename(path+".new", path)
}

// remembered is nil when nothing was pushed yet.
func remembered(dir string) (*Switch, error) {
	f, err := os.Open(filepath.Join(dir, "build.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var s Switch
	if err := json.NewDecoder(f).Decode(&s); err != nil {
		return nil, err
	}
	return &s, s.check()
}

// awaitReady says what is missing when time is up, nothing when the program is ready or has ended.
func awaitReady(r Ready, ended <-chan struct{}) string {
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = DefaultReady
	}
	deadline := time.Now().Add(timeout)
	probes := make([]func() string, 0, len(r.TCP)+1)
	for _, port := range r.TCP {
		probes = append(probes, func() string { return accepts(port) })
	}
	if r.Path != "" {
		probes = append(probes, func() string { return answers(r.Port, r.Path) })
	}
	for _, probe := range probes {
		for wait := readyPoll; ; wait = min(wait*3/2, 20*time.Millisecond) {
			missing := probe()
			if missing == "" {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Sprintf("not ready after %s: %s", timeout, missing)
			}
			select {
			case <-ended:
				return ""
			case <-time.After(wait):
			}
		}
	}
	return ""
}

func accepts(port int) string {
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return err.Error()
	}
	conn.Close()
	return ""
}

// answers asks as devloop's other probes do, so that dissection can tell it from the services' own calls. It is written
// by hand because net/http is three times the size of everything else here.
func answers(port int, path string) string {
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost:%d\r\nUser-Agent: devloop-probe\r\nConnection: close\r\n\r\n", path, port); err != nil {
		return err.Error()
	}
	line, err := bufio.NewReaderSize(conn, 256).ReadSlice('\n')
	if err != nil {
		return fmt.Sprintf("GET %s: %v", path, err)
	}
	if len(line) < 12 || string(line[:5]) != "HTTP/" || line[9] != '2' && line[9] != '3' {
		return fmt.Sprintf("GET %s answered %q", path, line)
	}
	return ""
}

func now() int64 { return time.Now().UnixNano() }
