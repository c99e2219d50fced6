package localenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/devloop-io/devloop/traffic"
)

// stopGrace is how long a process may take to end by itself after SIGTERM.
const stopGrace = 3 * time.Second

// program is what a process is started from.
type program struct {
	path string // of the file
	argv []string
	dir  string
	env  []string
	user string // run as; empty is devloop's own

	keyLog bool // it may write the secrets of its TLS connections to [Env.KeyLog]
}

// process is one start of a unit: a program in its cgroup.
type process struct {
	unit     *unit
	inst     Instance
	target   Target
	cg       cgroup // zero in loopback mode
	cmd      *exec.Cmd
	stopping atomic.Bool   // asked to end: its end is no crash
	serving  atomic.Bool   // was ready: its end is reported
	done     chan struct{} // closed when it and its whole tree ended; exit is set then
	exit     Exit
}

// credential finds the numbers of a user.
func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	c := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	ids, _ := u.GroupIds()
	for _, id := range ids {
		if g, err := strconv.ParseUint(id, 10, 32); err == nil {
			c.Groups = append(c.Groups, uint32(g))
		}
	}
	return c, nil
}

// prepare makes the command that starts a program; stdio is set by the caller.
func (p program) prepare() (*exec.Cmd, error) {
	cmd := &exec.Cmd{Path: p.path, Args: p.argv, Dir: p.dir, Env: p.env}
	// A group of its own, so that Ctrl-C on devloop's terminal does not end it and a signal reaches its children.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if p.user != "" && os.Geteuid() == 0 {
		c, err := credential(p.user)
		if err != nil {
			return nil, fmt.Errorf("run as user %s: %w", p.user, err)
		}
		cmd.SysProcAttr.Credential = c
	}
	return cmd, nil
}

// refused says what could not be run, where and as whom: the kernel's error does not tell the program from its folder.
func (p program) refused(err error) error {
	as := ""
	if p.user != "" {
		as = " as user " + p.user
	}
	return fmt.Errorf("run %s in %s%s: %w", p.path, p.dir, as, err)
}

// enclose makes the cgroup of the next start and tells capture of it. In loopback mode there is none.
func (e *Env) enclose(name string, ns string, w traffic.Workload) (cgroup, Target, error) {
	n := e.starts.Add(1)
	t := Target{Name: "local/" + name, NetNS: ns, Workload: w}
	if e.mode != ModeNetNS {
		return cgroup{}, t, nil
	}
	cg, err := makeCGroup(filepath.Join(e.parent.path, fmt.Sprintf("%s.%d", name, n)))
	if err != nil {
		return cgroup{}, t, err
	}
	t.CGroup, t.CGroupPath = cg.id, cg.path
	e.announce(t)
	return cg, t, nil
}

// launch starts a command inside a cgroup and a network namespace.
func (e *Env) launch(cmd *exec.Cmd, cg cgroup, ns *os.File) error {
	if e.mode != ModeNetNS {
		cmd.SysProcAttr.Pdeathsig = 0 // it looks at the thread, and in loopback mode no thread is ours for long
		return cmd.Start()
	}
	dir, err := os.Open(cg.path)
	if err != nil {
		return err
	}
	defer dir.Close()
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	return e.launcher.in(ns, cmd.Start)
}

// begin starts a program as a unit's next process; it does not wait for readiness.
func (e *Env) begin(u *unit, prog program, build string, standIn bool) (*process, error) {
	cmd, err := prog.prepare()
	if err != nil {
		return nil, err
	}
	w := u.workload()
	w.Build, w.Process = build, filepath.Base(prog.path)
	if standIn {
		w.Labels = map[string]string{"stand-in": "true"}
	}
	p := &process{unit: u, cmd: cmd, done: make(chan struct{})}
	logs := filepath.Join(e.stateDir, "local", "logs")
	if p.cg, p.target, err = e.enclose(u.name, u.nsPath(e), w); err != nil {
		return nil, err
	}
	log, err := createLog(filepath.Join(logs, fmt.Sprintf("%s.%d.log", u.name, e.starts.Load())))
	if err != nil {
		e.dissolve(p.cg, p.target)
		return nil, fmt.Errorf("make log: %w", err)
	}
	defer log.Close()
	removeOldLogs(logs, u.name)
	cmd.Stdout, cmd.Stderr = log, log
	started := time.Now()
	if err := e.launch(cmd, p.cg, u.ns); err != nil {
		e.dissolve(p.cg, p.target)
		return nil, prog.refused(err)
	}
	p.inst = Instance{Service: u.name, Kind: u.kind, Build: build, PID: cmd.Process.Pid, CGroup: p.cg.id, CGroupPath: p.cg.path,
		NetNS: p.target.NetNS, IP: u.ip, Ports: u.reachPorts(), Started: started, Log: log.Name(), StandIn: standIn, Environment: prog.env}
	e.track(cmd.Process.Pid, true)
	e.waits.Go(p.reap(e))
	return p, nil
}

// reap waits for the process and its tree to end.
func (p *process) reap(e *Env) func() {
	return func() {
		err := p.cmd.Wait()
		pid := p.cmd.Process.Pid
		if e.mode != ModeNetNS {
			syscall.Kill(-pid, syscall.SIGKILL)
		}
		e.dissolve(p.cg, p.target)
		p.exit = describeExit(err, p.cmd.ProcessState)
		p.exit.Service, p.exit.Build, p.exit.PID, p.exit.Log = p.unit.name, p.inst.Build, pid, p.inst.Log
		p.exit.Tail, p.exit.Time = logTail(p.inst.Log), time.Now()
		e.track(pid, false)
		e.forget(p)
		close(p.done)
		if p.serving.Load() && !p.stopping.Load() {
			e.report(p.exit)
		}
	}
}

// describeExit turns the end of a process into code and signal.
func describeExit(err error, state *os.ProcessState) Exit {
	if state == nil {
		return Exit{Code: -1, Signal: fmt.Sprint(err)}
	}
	x := Exit{Code: state.ExitCode()}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		x.Signal = ws.Signal().String()
	}
	return x
}

// dissolve ends what is left in a cgroup and removes it.
func (e *Env) dissolve(cg cgroup, t Target) {
	if cg.path == "" {
		return
	}
	if err := cg.remove(2 * time.Second); err != nil {
		e.log.Warn("a cgroup stays", "error", err)
	}
	e.retire(t)
}

// stop asks the process to end, and ends it and its tree when it does not in time.
func (p *process) stop(ctx context.Context) {
	p.stopping.Store(true)
	pid := p.cmd.Process.Pid
	syscall.Kill(-pid, syscall.SIGTERM)
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case <-p.done:
		return
	case <-grace.C:
	case <-ctx.Done():
	}
	if p.cg.path != "" {
		p.cg.kill()
	}
	syscall.Kill(-pid, syscall.SIGKILL)
	<-p.done
}
