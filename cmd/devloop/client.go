package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/devloop-io/devloop/devloop"
	"github.com/devloop-io/devloop/internal/buildinfo"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/internal/daemon"
)

// dial connects to the workspace's daemon and fails when there is none.
func (r *root) dial(ctx context.Context) (*control.Client, *control.Status, error) {
	if r.there.url != "" {
		return r.there.client(ctx)
	}
	workspace, err := r.findWorkspace()
	if err != nil {
		return nil, nil, err
	}
	return dialWorkspace(ctx, workspace)
}

func dialWorkspace(ctx context.Context, workspace string) (*control.Client, *control.Status, error) {
	socket, err := control.SocketPath(workspace)
	if err != nil {
		return nil, nil, environmental(ctx, err)
	}
	c := control.NewClient(socket)
	st, err := c.Status(ctx)
	return c, st, err
}

// connect connects to the workspace's daemon and starts one when there is none. A daemon of another build is asked to
// end first. idle says that no services run yet: whoever has them started may end them.
func (r *root) connect(ctx context.Context) (c *control.Client, idle bool, err error) {
	if r.there.url != "" {
		c, _, err = r.there.client(ctx)
		return c, false, err
	}
	workspace, err := r.findWorkspace()
	if err != nil {
		return nil, false, err
	}
	if _, err := config.Load(workspace); err != nil {
		return nil, false, &control.Error{What: err.Error(), Exit: control.ExitUsage}
	}
	return connectWorkspace(ctx, workspace, r.say)
}

func connectWorkspace(ctx context.Context, workspace string, say func(string, ...any)) (c *control.Client, idle bool, err error) {
	return connectDaemon(ctx, workspace, []string{"--workspace", workspace}, say)
}

// connectDaemon is connect for a daemon that is started with arguments of its own.
func connectDaemon(ctx context.Context, workspace string, args []string, say func(string, ...any)) (c *control.Client, idle bool, err error) {
	c, st, err := dialWorkspace(ctx, workspace)
	switch {
	case err == nil && st.Version == buildinfo.ID() && st.Running && st.Source == "none" && devloop.Doctor().Source != "none":
		say("capture works now; the daemon, which began without it, is replaced")
		if err := takeDown(ctx, c, workspace, control.DownRequest{Leave: true}); err != nil {
			return nil, false, err
		}
	case err == nil && st.Version == buildinfo.ID():
		return c, !st.Running && st.Current == nil, nil
	case err == nil:
		say("the daemon is of another build of devloop; it is replaced")
		if err := takeDown(ctx, c, workspace, control.DownRequest{Leave: true}); err != nil {
			return nil, false, err
		}
	case !errors.Is(err, control.ErrNoDaemon):
		return nil, false, err
	}
	if err := spawn(ctx, workspace, args); err != nil {
		return nil, false, environmental(ctx, err)
	}
	c, _, err = dialWorkspace(ctx, workspace)
	return c, true, err
}

// takeDown takes the workspace's services and its daemon down, and returns when the daemon has ended.
func takeDown(ctx context.Context, c *control.Client, workspace string, request control.DownRequest) error {
	if err := c.Down(ctx, request); err != nil && !errors.Is(err, control.ErrNoDaemon) {
		return err
	}
	return daemon.Ended(ctx, workspace)
}

// startWait is longer than a daemon that ends may take: the new one waits for it.
const startWait = 40 * time.Second

// spawn starts the daemon on its own, so that it outlives this command, and returns when it answers.
func spawn(ctx context.Context, workspace string, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program to start the daemon with: %w", err)
	}
	dir := filepath.Join(workspace, ".devloop")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder for devloop's state: %w", err)
	}
	path := filepath.Join(dir, "daemon.log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the daemon's log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(self, append([]string{"daemon"}, args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = workspace, log, log
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ctx, cancel := context.WithTimeoutCause(ctx, startWait, fmt.Errorf("the daemon did not answer within %s; its log is %s", startWait, path))
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if _, _, err := dialWorkspace(ctx, workspace); err == nil {
				return nil
			}
		case <-ended:
			if _, _, err := dialWorkspace(ctx, workspace); err == nil {
				return nil // another one was faster
			}
			return daemonFailure(path, cmd.ProcessState.ExitCode())
		case <-ctx.Done(): // whoever started it gave up, so nothing of it may stay
			terminate(cmd.Process)
			<-ended
			return context.Cause(ctx)
		}
	}
}

// environmental gives an error that nobody has given an exit code the one of the environment.
func environmental(ctx context.Context, err error) error {
	var known *control.Error
	if err == nil || ctx.Err() != nil || errors.As(err, &known) {
		return err
	}
	return &control.Error{What: err.Error(), Exit: control.ExitEnvironment}
}

// daemonFailure is what a daemon said before it ended.
func daemonFailure(log string, code int) error {
	b, _ := os.ReadFile(log) // an unreadable log leaves the sentence below
	what, hint := "the daemon ended at once; its log is "+log, ""
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, "error: "); ok {
			what = strings.TrimSpace(text)
		}
		if text, ok := strings.CutPrefix(line, "hint: "); ok {
			hint = strings.TrimSpace(text)
		}
	}
	if code <= 0 {
		code = control.ExitEnvironment
	}
	return &control.Error{What: what, Hint: hint, Exit: code}
}
