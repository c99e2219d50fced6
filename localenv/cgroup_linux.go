package localenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cgroup is one folder of the cgroup v2 tree.
type cgroup struct {
	path string
	id   uint64 // inode of the folder, which is what the kernel calls its id
}

// cgroupMount finds where cgroup v2 is mounted: /sys/fs/cgroup, or a folder of it on hybrid systems.
func cgroupMount() (string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		// proc(5): fields up to a lone "-", then file system type, source, options.
		before, after, ok := strings.Cut(line, " - ")
		f, t := strings.Fields(before), strings.Fields(after)
		if ok && len(f) >= 5 && len(t) > 0 && t[0] == "cgroup2" {
			return f[4], nil
		}
	}
	return "", errors.New("cgroup v2 is not mounted")
}

// makeCGroup makes a folder, which makes a cgroup.
func makeCGroup(path string) (cgroup, error) {
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return cgroup{}, fmt.Errorf("make cgroup: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return cgroup{}, fmt.Errorf("make cgroup: %w", err)
	}
	return cgroup{path: path, id: info.Sys().(*syscall.Stat_t).Ino}, nil
}

// pids are the processes in the cgroup itself.
func (c cgroup) pids() []int {
	text, err := os.ReadFile(filepath.Join(c.path, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for line := range strings.Lines(string(text)) {
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// populated says whether a process is in the cgroup or below it.
func (c cgroup) populated() bool {
	text, err := os.ReadFile(filepath.Join(c.path, "cgroup.events"))
	return err == nil && strings.Contains(string(text), "populated 1")
}

// kill ends every process in the cgroup and below.
func (c cgroup) kill() {
	if os.WriteFile(filepath.Join(c.path, "cgroup.kill"), []byte("1"), 0) == nil {
		return
	}
	// Before Linux 5.14 there is no cgroup.kill: signal all, again and again while they fork.
	for range 50 {
		pids := c.pids()
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(time.Millisecond)
	}
	for _, child := range c.children() {
		child.kill()
	}
}

// reapBound is how long init may take to notice that an orphan has ended.
const reapBound = 3 * time.Second

// waitReaped returns when no ended process of the workspace waits for its parent any more. A daemon that was killed
// leaves its processes to init; until that has reaped them their numbers count as alive, and a database that finds its
// own number in a lock file refuses to start. The kernel shows an ended process in its cgroup even when that is gone
// (Documentation/admin-guide/cgroup-v2.rst, "Processes").
func waitReaped(hash string, bound time.Duration) {
	deadline := time.Now().Add(bound)
	for time.Now().Before(deadline) && hasEnded(hash) {
		time.Sleep(5 * time.Millisecond)
	}
}

func hasEnded(hash string) bool {
	places, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, p := range places {
		if text, err := os.ReadFile(p); err == nil && strings.Contains(string(text), "::/devloop-"+hash) {
			return true
		}
	}
	return false
}

func (c cgroup) children() []cgroup {
	entries, _ := os.ReadDir(c.path)
	var found []cgroup
	for _, e := range entries {
		if e.IsDir() {
			found = append(found, cgroup{path: filepath.Join(c.path, e.Name())})
		}
	}
	return found
}

// remove kills what is in the cgroup and removes it with all below it. The kernel refuses while a process is still
// being reaped, so it is tried until the bound.
func (c cgroup) remove(bound time.Duration) error {
	if _, err := os.Stat(c.path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if c.populated() {
		c.kill()
	}
	deadline := time.Now().Add(bound)
	for wait := 200 * time.Microsecond; ; wait = min(2*wait, 20*time.Millisecond) {
		for _, child := range c.children() {
			child.remove(time.Until(deadline))
		}
		err := os.Remove(c.path)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("remove cgroup %s with processes %v: %w", c.path, c.pids(), err)
		}
		time.Sleep(wait)
	}
}
