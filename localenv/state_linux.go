package localenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// runRoot holds one folder per workspace. It is gone after a boot, as are the things it speaks of.
const runRoot = "/run/devloop"

const stateFile = "state.json"

// state is what a run is about to make or has made; it is written before the thing is made.
type state struct {
	Version   int          `json:"version"`
	Hash      string       `json:"hash"`
	Workspace string       `json:"workspace"`
	Mode      Mode         `json:"mode"`
	PID       int          `json:"pid"`
	Boot      string       `json:"boot"` // of the kernel: process numbers mean nothing after the next one
	Started   time.Time    `json:"started"`
	Subnet    netip.Prefix `json:"subnet,omitzero"`
	CGroup    string       `json:"cgroup,omitempty"`
	Link      string       `json:"link,omitempty"`
	Table     string       `json:"nftables,omitempty"`
	Forward   bool         `json:"ip_forward,omitempty"` // relies on ip_forward having been set by one of us
	Rules     [][]string   `json:"iptables,omitempty"`
	Processes []procRef    `json:"processes,omitempty"` // in loopback mode, where no cgroup knows them
	Container bool         `json:"containers,omitempty"`
}

// procRef names a process for longer than it lives: numbers are given again, start times are not.
type procRef struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks after boot
}

func readState(path string) (state, error) {
	var st state
	text, err := os.ReadFile(path)
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal(text, &st)
}

// write replaces the file in one step, so that a reader never sees half of it.
func (st state) write(path string) error {
	text, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return os.Rename(path+".new", path)
}

// runDir is the folder of one workspace's state.
func runDir(mode Mode, hash, stateDir string) string {
	if mode == ModeNetNS {
		return filepath.Join(runRoot, hash)
	}
	return filepath.Join(stateDir, "local", "run")
}

// lockFile takes a lock that ends with the process. Without wait, a lock that is held is an error that names its owner.
func lockFile(path string, wait bool) (unlock func(), err error) {
	// Other users may pass through, as dependencies with a user of their own do, and list nothing.
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return nil, fmt.Errorf("make %s: %w", filepath.Dir(path), err)
	}
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open lock: %w", err)
		}
		how := unix.LOCK_EX
		if !wait {
			how |= unix.LOCK_NB
		}
		for err = unix.EINTR; err == unix.EINTR; {
			err = unix.Flock(int(f.Fd()), how)
		}
		if err == unix.EWOULDBLOCK {
			owner := make([]byte, 32)
			n, _ := f.ReadAt(owner, 0)
			f.Close()
			return nil, &LockedError{PID: strings.TrimSpace(string(owner[:n]))}
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// Whoever held it before may have removed the file: then this lock locks nothing.
		held, err1 := f.Stat()
		named, err2 := os.Stat(path)
		if err1 != nil || err2 != nil || !os.SameFile(held, named) {
			f.Close()
			continue
		}
		f.Truncate(0)
		f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		return func() { f.Close() }, nil
	}
}

// teardown removes everything that bears the hash, whether the state speaks of it or not, in the order in which
// nothing still needs what goes.
func teardown(ctx context.Context, st state, dir string) error {
	var errs []error
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	for _, p := range st.Processes {
		p.kill()
	}
	if st.Container {
		note(removeContainers(ctx, st.Hash))
	}
	if st.Mode == ModeNetNS {
		if mount, err := cgroupMount(); err == nil {
			note(cgroup{path: filepath.Join(mount, "devloop-"+st.Hash)}.remove(3 * time.Second))
		}
		note(unpin(filepath.Join(dir, "ns")))
		note(removeLink(linkName(st.Hash)))
		note(removeTable(st.Hash))
		note(removeIPTablesRules(st.Rules))
		if st.Forward {
			note(restoreForwarding(st.Hash))
		}
	}
	note(os.RemoveAll(openDataRoot(st.Hash)))
	note(os.RemoveAll(dir))
	if st.Mode == ModeNetNS {
		removeRoot()
	}
	return errors.Join(errs...)
}

// removeRoot removes the folder of all workspaces after the last one.
func removeRoot() {
	unlock, err := lockFile(filepath.Join(runRoot, "lock"), true)
	if err != nil {
		return
	}
	defer unlock()
	if entries, err := os.ReadDir(runRoot); err == nil && len(entries) == 1 { // the lock's own file
		os.RemoveAll(runRoot)
	}
}

// unpin unmounts the namespaces of a folder and removes their mount points.
func unpin(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		for unix.Unmount(path, unix.MNT_DETACH) == nil { // as often as something is mounted there
		}
		if err := os.Remove(path); err != nil {
			errs = append(errs, fmt.Errorf("remove network namespace: %w", err))
		}
	}
	return errors.Join(append(errs, err)...)
}

func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	// Deleting the bridge's namespace deletes the link as well, a moment later: who comes second finds nothing.
	if err != nil && !errors.Is(err, unix.ENODEV) && !errors.As(err, &missing) {
		return fmt.Errorf("remove link %s: %w", name, err)
	}
	return nil
}

// leftovers asks the kernel what of a workspace is still there.
func leftovers(st state, dir string) []string {
	var left []string
	if st.Mode == ModeNetNS {
		if mount, err := cgroupMount(); err == nil {
			path := filepath.Join(mount, "devloop-"+st.Hash)
			if _, err := os.Stat(path); err == nil {
				left = append(left, fmt.Sprintf("cgroup %s", path))
			}
		}
		if _, err := netlink.LinkByName(linkName(st.Hash)); err == nil {
			left = append(left, "link "+linkName(st.Hash))
		}
		if there, _ := hasTable(st.Hash); there {
			left = append(left, "nftables table "+tableName(st.Hash))
		}
		if text, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
			for line := range strings.Lines(string(text)) {
				if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
					left = append(left, "mount "+f[4])
				}
			}
		}
	}
	for _, p := range st.Processes {
		if p.alive() {
			left = append(left, fmt.Sprintf("process %d", p.PID))
		}
	}
	if _, err := os.Stat(dir); err == nil {
		left = append(left, "folder "+dir)
	}
	slices.Sort(left)
	return left
}

// bootID tells this run of the kernel from others.
func bootID() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text))
}

// refProcess names a process that lives now.
func refProcess(pid int) procRef { return procRef{PID: pid, Start: startTime(pid)} }

func (p procRef) alive() bool { return p.Start != 0 && startTime(p.PID) == p.Start }

// kill ends the process with its group; every process of ours leads one.
func (p procRef) kill() {
	if !p.alive() {
		return
	}
	syscall.Kill(-p.PID, syscall.SIGKILL)
	for range 200 { // not our child, so nobody can be asked to wait for it
		if !p.alive() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// startTime is field 22 of /proc/<pid>/stat (proc(5)), 0 when there is no such process or it is only waiting to be reaped.
func startTime(pid int) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, ok := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if !ok || len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return 0
	}
	start, _ := strconv.ParseUint(f[19], 10, 64)
	return start
}

// Clean removes what a run of the workspace's environment left that was killed. It returns what it removed, in words,
// and fails with a [LockedError] while a run is alive. It is what `devloop down` does where no daemon answers.
func Clean(ctx context.Context, workspace, stateDir string) ([]string, error) {
	if stateDir == "" {
		stateDir = filepath.Join(workspace, ".devloop")
	}
	hash := Hash(workspace)
	var removed []string
	defer func() {
		if len(removed) > 0 { // a run that was cut off left its secrets, too
			_ = os.Remove(filepath.Join(stateDir, "local", keyLogFile))
		}
	}()
	for _, mode := range []Mode{ModeNetNS, ModeLoopback} {
		dir := runDir(mode, hash, stateDir)
		if mode == ModeNetNS && os.Geteuid() != 0 && !mayUseNetNS() {
			continue
		}
		if len(leftovers(state{Hash: hash, Mode: mode}, dir)) == 0 {
			continue
		}
		unlock, err := lockFile(filepath.Join(dir, "lock"), false)
		if err != nil {
			return removed, err
		}
		what, err := cleanLocked(ctx, hash, mode, dir)
		unlock()
		removed = append(removed, what...)
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// cleanLocked removes what an earlier run left, while the lock in dir is held; the lock's file goes as well.
func cleanLocked(ctx context.Context, hash string, mode Mode, dir string) ([]string, error) {
	st, err := readState(filepath.Join(dir, stateFile))
	if err != nil || st.Hash != hash {
		st = state{} // never follow the file where it speaks of something that is not ours
	}
	st.Hash, st.Mode = hash, mode
	if st.Boot != bootID() {
		st.Processes = nil
	}
	before := leftovers(st, dir)
	err = teardown(ctx, st, dir)
	if len(before) > 0 {
		waitReaped(hash, reapBound)
	}
	if left := leftovers(st, dir); len(left) > 0 {
		return before, errors.Join(fmt.Errorf("still there: %s", strings.Join(left, ", ")), err)
	}
	return before, err
}
