package localenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/devloop-io/devloop/traffic"
)

// commandGrace is how long a cancelled command may take to end by itself.
const commandGrace = 500 * time.Millisecond

// Cmd is a command that drives the services, much as an [exec.Cmd]: it runs in a cgroup of its own and in the network
// namespace of the exercise, where services go by their names. Of the host's loopback nothing is to be seen there. Set
// the fields before Start.
type Cmd struct {
	Argv []string
	// Env comes after devloop's own environment: the last value of a name counts.
	Env            []string
	Dir            string // relative to the workspace, which is the default
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	ExtraFiles     []*os.File // from descriptor 3 on

	e      *Env
	ctx    context.Context
	name   string
	inst   Instance
	cmd    *exec.Cmd
	cg     cgroup
	target Target
	copies sync.WaitGroup
	pipes  []*os.File    // our ends, until the copies are through
	ended  chan struct{} // closed when the first process ended
	ending sync.Once
	kill   chan struct{}
	stop   sync.WaitGroup
}

// Command makes a command; nothing runs yet. When ctx ends, the command ends with all that it started.
func (e *Env) Command(ctx context.Context, name string, argv ...string) *Cmd {
	return &Cmd{Argv: argv, e: e, ctx: ctx, name: name, ended: make(chan struct{}), kill: make(chan struct{})}
}

// Start starts the command.
func (c *Cmd) Start() error {
	if err := c.start(); err != nil {
		return fmt.Errorf("run %s: %w", c.name, err)
	}
	return nil
}

func (c *Cmd) start() error {
	if len(c.Argv) == 0 {
		return errors.New("no command")
	}
	if err := checkName(c.name); err != nil && c.name != ExerciseName {
		return err
	}
	if err := c.ctx.Err(); err != nil {
		return err
	}
	u := c.e.units[ExerciseName]
	if err := u.awaitWire(c.ctx); err != nil {
		return err
	}
	dir := c.Dir
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(c.e.workspace, dir)
	}
	prog := program{dir: dir, keyLog: true}
	data := filepath.Join(c.e.stateDir, "local")
	if err := c.e.fillProgram(&prog, u, append([]string(nil), c.Argv...), nil, "", data); err != nil {
		return err
	}
	for _, kv := range c.Env {
		prog.env = append(prog.env, c.e.rewrite(ExerciseName, kv, c.e.peers()))
	}
	cmd, err := prog.prepare()
	if err != nil {
		return err
	}
	c.cmd, cmd.Stdin, cmd.ExtraFiles = cmd, c.Stdin, c.ExtraFiles
	cmd.WaitDelay = time.Second // for input that nobody reads to its end
	child, err := c.openOutputs()
	if err != nil {
		return err
	}
	defer closeAll(child)
	w := traffic.Workload{Namespace: "local", Kind: traffic.KindExercise, Service: c.name, Pod: c.name, Process: filepath.Base(prog.path)}
	if c.cg, c.target, err = c.e.enclose(c.name, u.nsPath(c.e), w); err != nil {
		closeAll(c.pipes)
		return err
	}
	if err := c.register(); err != nil {
		c.e.dissolve(c.cg, c.target)
		closeAll(c.pipes)
		return err
	}
	started := time.Now()
	if err := c.e.launch(cmd, c.cg, u.ns); err != nil {
		c.unregister()
		c.e.dissolve(c.cg, c.target)
		closeAll(c.pipes)
		return err
	}
	c.e.mu.Lock()
	c.inst = Instance{Service: c.name, Kind: traffic.KindExercise, PID: cmd.Process.Pid, CGroup: c.cg.id, CGroupPath: c.cg.path,
		NetNS: c.target.NetNS, IP: u.ip, Started: started, Environment: prog.env}
	c.e.mu.Unlock()
	c.e.track(cmd.Process.Pid, true)
	c.stop.Go(c.watch)
	return nil
}

// register makes the command known to Down, unless that was called already.
func (c *Cmd) register() error {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	if c.e.down {
		return errDown
	}
	c.inst = Instance{Service: c.name, Kind: traffic.KindExercise}
	c.e.commands[c] = true
	return nil
}

func (c *Cmd) unregister() {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	delete(c.e.commands, c)
}

// openOutputs gives the command its outputs. Files are handed over as they are; other writers get a pipe of ours, not of
// exec.Cmd's, because its Wait would hang on processes that the command left behind.
func (c *Cmd) openOutputs() (child []*os.File, err error) {
	set := func(w io.Writer) (io.Writer, error) {
		if w == nil {
			return nil, nil
		}
		if f, ok := w.(*os.File); ok {
			return f, nil
		}
		r, in, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		c.pipes, child = append(c.pipes, r), append(child, in)
		c.copies.Go(func() { io.Copy(w, r); r.Close() })
		return in, nil
	}
	if c.cmd.Stdout, err = set(c.Stdout); err != nil {
		return child, err
	}
	if same(c.Stdout, c.Stderr) {
		c.cmd.Stderr = c.cmd.Stdout
		return child, nil
	}
	c.cmd.Stderr, err = set(c.Stderr)
	return child, err
}

// same says whether two writers are one, as exec.Cmd does.
func same(a, b io.Writer) bool {
	defer func() { recover() }() // writers that cannot be compared are two
	return a != nil && a == b
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// watch ends the command when its context ends, or Down asks.
func (c *Cmd) watch() {
	select {
	case <-c.ended:
		return
	case <-c.ctx.Done():
	case <-c.kill:
	}
	syscall.Kill(-c.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-c.ended:
		return
	case <-time.After(commandGrace):
	}
	if c.cg.path != "" {
		c.cg.kill()
	}
	syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
}

// end ends the command from Down and waits until its cgroup is gone; somebody else waits for the command itself.
func (c *Cmd) end() {
	c.ending.Do(func() { close(c.kill) })
	deadline := time.Now().Add(stopGrace)
	for c.cg.path != "" && c.cg.populated() && time.Now().Before(deadline) {
		time.Sleep(2 * time.Millisecond)
	}
}

// Wait waits for the command to end, ends what it left behind, and returns when its output is complete. The error is
// that of exec.Cmd's Wait, or the context's.
func (c *Cmd) Wait() error {
	if c.cmd == nil || c.cmd.Process == nil {
		return errors.New("wait: not started")
	}
	err := c.cmd.Wait()
	close(c.ended)
	c.stop.Wait()
	if c.e.mode != ModeNetNS {
		syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	}
	c.e.dissolve(c.cg, c.target)
	c.copies.Wait()
	c.e.track(c.cmd.Process.Pid, false)
	c.unregister()
	if ctxErr := c.ctx.Err(); ctxErr != nil && err != nil {
		return context.Cause(c.ctx)
	}
	return err
}

// Run starts the command and waits for it.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// ExitCode is the command's exit code after Wait, -1 when a signal ended it.
func (c *Cmd) ExitCode() int {
	if c.cmd == nil || c.cmd.ProcessState == nil {
		return -1
	}
	return c.cmd.ProcessState.ExitCode()
}

// PID is the number of the command's process, 0 before Start.
func (c *Cmd) PID() int {
	if c.cmd == nil || c.cmd.Process == nil {
		return 0
	}
	return c.cmd.Process.Pid
}
