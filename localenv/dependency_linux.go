package localenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/traffic"
)

// initBound is how long the init command of a dependency may take.
const initBound = time.Minute

// StartDependencies starts all dependencies that do not run, at the same time, and returns when all are ready.
func (e *Env) StartDependencies(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, len(e.order))
	for i, name := range e.order {
		u := e.units[name]
		if u.kind != traffic.KindDependency || e.runs(u) {
			continue
		}
		wg.Go(func() { errs[i] = e.startDependency(ctx, u, e.cfg.Dependencies[name]) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// runs says whether a unit has a process or a container.
func (e *Env) runs(u *unit) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return u.current != nil || u.container != nil
}

// startDependency runs a dependency in a container where it has an image and an engine answers, else as a process, else
// as its stand-in.
func (e *Env) startDependency(ctx context.Context, u *unit, d config.Dependency) error {
	if err := u.awaitWire(ctx); err != nil {
		return fmt.Errorf("start %s: %w", u.name, err)
	}
	var noContainer error
	if d.Image != "" {
		if noContainer = e.startContainer(ctx, u, d); noContainer == nil {
			return nil
		}
	}
	if d.Local == nil {
		return &StartError{Service: u.name, What: fmt.Sprintf("it has no local command, and %v", orNoImage(noContainer))}
	}
	prog, data, standIn, err := e.dependencyProgram(u, d)
	if err != nil {
		return &StartError{Service: u.name, What: err.Error()}
	}
	if standIn {
		e.warn("%s is a stand-in: the program of %q is not installed", u.name, d.Local.Command)
	} else if err := e.initialise(ctx, u, d, data); err != nil {
		return err
	}
	_, err = e.replace(ctx, u, prog, "", standIn)
	return err
}

func orNoImage(err error) error {
	if err == nil {
		return errors.New("it has no image")
	}
	return err
}

// startContainer runs the image; an engine that does not answer is an error as any other.
func (e *Env) startContainer(ctx context.Context, u *unit, d config.Dependency) error {
	c, err := engine(ctx)
	if err != nil {
		return err
	}
	c.Close()
	u.turn.Lock()
	defer u.turn.Unlock()
	running, err := e.runContainer(ctx, u, d)
	if err != nil {
		if d.Local != nil {
			e.warn("%s runs as a local command: %v", u.name, err)
		}
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	u.container = running
	return nil
}

// dependencyProgram is the local command, or the stand-in where its program is missing.
func (e *Env) dependencyProgram(u *unit, d config.Dependency) (prog program, data string, standIn bool, err error) {
	data, err = e.dataDir(u.name, d.Local.User)
	if err != nil {
		return prog, data, false, err
	}
	prog = program{user: d.Local.User, dir: e.workspace}
	if d.Local.User != "" {
		prog.dir = data // the workspace may be closed to that user
	}
	argv, err := config.SplitWords(d.Local.Command)
	if err != nil || len(argv) == 0 {
		return prog, data, false, fmt.Errorf("command %q cannot be read: %w", d.Local.Command, err)
	}
	err = e.fillProgram(&prog, u, argv, d.Env, "", data)
	missing := errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist)
	if !missing || d.Local.Fallback == "" {
		if missing {
			err = fmt.Errorf("%w, and it has no fallback", err)
		}
		return prog, data, false, err
	}
	prog = program{dir: e.workspace} // a stand-in is ours: it runs as we do
	argv, err = config.SplitWords(d.Local.Fallback)
	if err != nil || len(argv) == 0 {
		return prog, data, true, fmt.Errorf("fallback %q cannot be read: %w", d.Local.Fallback, err)
	}
	return prog, data, true, e.fillProgram(&prog, u, argv, d.Env, "", data)
}

// dataDir is the private folder of a dependency. A folder that its user cannot reach, as one below /root, is mounted
// where it can.
func (e *Env) dataDir(name, user string) (string, error) {
	dir := filepath.Join(e.stateDir, "local", "data", name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if user == "" || os.Geteuid() != 0 {
		return dir, nil
	}
	cred, err := credential(user)
	if err != nil {
		return "", err
	}
	if err := os.Chown(dir, int(cred.Uid), int(cred.Gid)); err != nil {
		return "", err
	}
	if reachable(dir) {
		return dir, nil
	}
	if e.mode != ModeNetNS {
		return e.openDataDir(name, cred)
	}
	seen := filepath.Join(e.dir, "data", name)
	if err := os.MkdirAll(seen, 0o711); err != nil {
		return "", err
	}
	os.Chmod(filepath.Dir(seen), 0o711)
	// Mounted in the launcher's namespace only: on the host the folder stays empty.
	return seen, e.launcher.in(e.net.ns, func() error { return unix.Mount(dir, seen, "", unix.MS_BIND, "") })
}

// openDataDir is a private folder where all users can pass. It does not outlive the environment.
func (e *Env) openDataDir(name string, cred *syscall.Credential) (string, error) {
	root := openDataRoot(e.hash)
	if err := os.Mkdir(root, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(root)
	if err != nil {
		return "", err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(st.Uid) != os.Geteuid() {
		return "", fmt.Errorf("%s belongs to somebody else", root) // anybody may make names in /tmp
	}
	dir := filepath.Join(root, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	e.warn("%s: its data is in %s and goes with the environment: its user cannot reach the workspace", name, dir)
	return dir, os.Chown(dir, int(cred.Uid), int(cred.Gid))
}

// openDataRoot is where such folders of a workspace are.
func openDataRoot(hash string) string { return filepath.Join(os.TempDir(), "devloop-"+hash) }

// reachable says whether all parents of a folder let other users pass.
func reachable(dir string) bool {
	for parent := filepath.Dir(dir); ; parent = filepath.Dir(parent) {
		info, err := os.Stat(parent)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		if parent == "/" {
			return true
		}
	}
}

// initialise runs the init command once for a new private folder. A folder whose init failed is emptied, so that the
// next start tries again.
func (e *Env) initialise(ctx context.Context, u *unit, d config.Dependency, data string) error {
	real := filepath.Join(e.stateDir, "local", "data", u.name)
	if data == filepath.Join(openDataRoot(e.hash), u.name) {
		real = data
	}
	mark := real + ".initialised"
	if _, err := os.Stat(mark); err == nil || d.Local.Init == "" {
		return nil
	}
	if err := emptyDir(real); err != nil {
		return err
	}
	argv, err := config.SplitWords(d.Local.Init)
	if err != nil || len(argv) == 0 {
		return &StartError{Service: u.name, What: fmt.Sprintf("init %q cannot be read: %v", d.Local.Init, err)}
	}
	prog := program{user: d.Local.User, dir: e.workspace}
	if prog.user != "" {
		prog.dir = data
	}
	if err := e.fillProgram(&prog, u, argv, d.Env, "", data); err != nil {
		return &StartError{Service: u.name, What: "init: " + err.Error()}
	}
	out, err := e.runOnce(ctx, u, prog)
	if err != nil {
		return errors.Join(&StartError{Service: u.name, What: fmt.Sprintf("init %q: %v", d.Local.Init, err), Tail: out}, emptyDir(real))
	}
	return os.WriteFile(mark, []byte(d.Local.Init+"\n"), 0o600)
}

// runOnce runs a program of a unit to its end, within a bound, in a cgroup of its own.
func (e *Env) runOnce(ctx context.Context, u *unit, prog program) (output string, err error) {
	ctx, cancel := context.WithTimeout(ctx, initBound)
	defer cancel()
	cmd, err := prog.prepare()
	if err != nil {
		return "", err
	}
	out, err := os.CreateTemp("", "devloop-init-")
	if err != nil {
		return "", err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	w := u.workload()
	w.Process = filepath.Base(prog.path)
	cg, target, err := e.enclose(u.name, u.nsPath(e), w)
	if err != nil {
		return "", err
	}
	defer e.dissolve(cg, target)
	if err := e.launch(cmd, cg, u.ns); err != nil {
		return "", prog.refused(err)
	}
	e.track(cmd.Process.Pid, true)
	defer e.track(cmd.Process.Pid, false)
	stop := context.AfterFunc(ctx, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err = cmd.Wait()
	if !stop() {
		err = context.Cause(ctx)
	}
	text, _ := os.ReadFile(out.Name())
	lines := slices.Collect(strings.Lines(string(bytes.TrimSpace(text))))
	return strings.Join(lines[max(0, len(lines)-tailLines):], ""), err
}

func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
