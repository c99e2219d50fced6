package localenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// launcher is one thread that lives in a private mount namespace and enters network namespaces. Whatever it forks or
// whatever socket it opens belongs there. Children die with it (PR_SET_PDEATHSIG looks at the thread), and it lives as
// long as the environment.
type launcher struct {
	jobs  chan job
	quit  chan struct{}
	ended chan struct{}
}

type job struct {
	ns   *os.File // network namespace
	do   func() error
	done chan error
}

// newLauncher starts the thread. resolvConf, unless empty, is mounted over /etc/resolv.conf for what it starts.
func newLauncher(resolvConf string) (*launcher, error) {
	l := &launcher{jobs: make(chan job), quit: make(chan struct{}), ended: make(chan struct{})}
	ready := make(chan error, 1)
	go onOwnThread(func() {
		defer close(l.ended)
		err := privateMounts(resolvConf)
		ready <- err
		if err != nil {
			return
		}
		for {
			select {
			case j := <-l.jobs:
				j.done <- j.run()
			case <-l.quit:
				return
			}
		}
	})
	if err := <-ready; err != nil {
		return nil, err
	}
	return l, nil
}

// run does one job inside its namespace.
func (j job) run() error {
	if err := unix.Setns(int(j.ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", j.ns.Name(), err)
	}
	return j.do()
}

// in does something on the thread, inside a network namespace, and waits for it.
func (l *launcher) in(ns *os.File, do func() error) error {
	j := job{ns: ns, do: do, done: make(chan error, 1)}
	select {
	case l.jobs <- j:
		return <-j.done
	case <-l.ended:
		return errDown
	}
}

// close ends the thread; later calls of in are refused.
func (l *launcher) close() {
	close(l.quit)
	<-l.ended
}

// onOwnThread runs f on a thread that ends with it, never on the process's first thread: what /proc/self shows must
// stay the host's namespaces.
func onOwnThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		done := make(chan struct{})
		go func() { defer close(done); onOwnThread(f) }() // cannot get this thread: it is locked
		<-done
		runtime.UnlockOSThread()
		return
	}
	f() // the thread is not unlocked, so the runtime ends it
}

// privateMounts gives the thread its own mount namespace, with our resolv.conf.
func privateMounts(resolvConf string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	// Nothing that is mounted here may show on the host; what the host unmounts disappears here too.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if resolvConf == "" {
		return nil
	}
	if err := unix.Mount(resolvConf, "/etc/resolv.conf", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount resolv.conf: %w", err)
	}
	// These would answer for the C library without asking our responder (nss-resolve, nscd).
	for _, socket := range []string{"/run/systemd/resolve/io.systemd.Resolve", "/run/nscd/socket", "/var/run/nscd/socket"} {
		if _, err := os.Stat(socket); err == nil {
			unix.Mount("/dev/null", socket, "", unix.MS_BIND, "")
		}
	}
	return nil
}

// makeNetNS makes a network namespace that lives as long as the bind mount at path.
func makeNetNS(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return nil, err
	}
	f.Close()
	made := make(chan error, 1)
	go onOwnThread(func() { made <- pinNewNetNS(path) })
	if err := <-made; err != nil {
		os.Remove(path)
		return nil, fmt.Errorf("make network namespace %s: %w", filepath.Base(path), err)
	}
	return os.Open(path)
}

// pinNewNetNS runs on a thread that is thrown away.
func pinNewNetNS(path string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	// These are settings of the new namespace, never of the host. Links other than lo get no IPv6 address: its
	// neighbour discovery would be noise in captures, and services bind [::] all the same.
	for name, value := range map[string]string{
		"ipv4/ip_unprivileged_port_start": "0",
		"ipv6/conf/default/disable_ipv6":  "1",
		"bridge/bridge-nf-call-iptables":  "0", // there only since Linux 5.3, which made them per namespace
		"bridge/bridge-nf-call-ip6tables": "0",
		"bridge/bridge-nf-call-arptables": "0",
	} {
		err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path, "", unix.MS_BIND, "")
}
