package localenv

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/traffic"
)

// unit is one name of the environment: a service, a dependency or the exercise, with its address for the session.
type unit struct {
	name    string
	kind    string
	ports   map[string]int    // declared
	reach   map[string]string // port name → host:port for peers
	ip      netip.Addr
	last    byte // of ip
	hosts   []string
	outside bool
	ready   *config.Ready

	turn    sync.Mutex    // one start or stop at a time
	wired   chan struct{} // closed when ns is there, or wireErr
	ns      *os.File      // network namespace; nil in loopback mode
	wireErr error

	current   *process // guarded by Env.mu
	container *container
	standIn   bool // guarded by Env.mu
}

// workload is who speaks from the unit's address.
func (u *unit) workload() traffic.Workload {
	return traffic.Workload{Namespace: "local", Kind: u.kind, Service: u.name, Pod: u.name, Outside: u.outside}
}

// nsPath is where the unit's network namespace can be opened.
func (u *unit) nsPath(e *Env) string {
	if e.mode != ModeNetNS {
		return ""
	}
	return filepath.Join(e.dir, "ns", u.name)
}

// reachPort is the number that a port really has.
func (u *unit) reachPort(name string) int {
	_, number, err := net.SplitHostPort(u.reach[name])
	if err != nil {
		return 0
	}
	port, _ := strconv.Atoi(number)
	return port
}

func (u *unit) reachPorts() map[string]int {
	found := map[string]int{}
	for name := range u.ports {
		found[name] = u.reachPort(name)
	}
	return found
}

// hostAddr is where the host connects to.
func (u *unit) hostAddr(name string) string {
	return net.JoinHostPort(u.ip.String(), strconv.Itoa(u.reachPort(name)))
}

// addUnit gives a name its address and, in loopback mode, its ports.
func (e *Env) addUnit(name, kind string, ports map[string]int, hosts []string, outside bool, ready *config.Ready, last byte) error {
	u := &unit{name: name, kind: kind, ports: ports, hosts: hosts, outside: outside, ready: ready, last: last,
		reach: map[string]string{}, wired: make(chan struct{})}
	if e.mode == ModeNetNS {
		u.ip = e.net.addr(last)
		for pname, port := range ports {
			u.reach[pname] = net.JoinHostPort(name, strconv.Itoa(port))
		}
		e.names.set(name, u.ip)
		for _, h := range hosts {
			e.names.set(h, u.ip)
		}
	} else {
		u.ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		for _, pname := range slices.Sorted(maps.Keys(ports)) {
			port, err := e.freePort()
			if err != nil {
				return fmt.Errorf("allocate port %s of %s: %w", pname, name, err)
			}
			u.reach[pname] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		}
		close(u.wired)
	}
	e.units[name] = u
	e.order = append(e.order, name)
	return nil
}

// freePort asks the kernel for a port that nobody has, and that this environment has not given away yet.
func (e *Env) freePort() (int, error) {
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if !e.given[port] {
			e.given[port] = true
			return port, nil
		}
	}
}

// wire makes the unit's network namespace. New lets it run in the background, while services are still being built.
func (e *Env) wire(u *unit) {
	defer close(u.wired)
	u.ns, u.wireErr = e.net.attach(u.name, u.last)
}

// awaitWire waits for the unit's network namespace.
func (u *unit) awaitWire(ctx context.Context) error {
	select {
	case <-u.wired:
		return u.wireErr
	case <-ctx.Done():
		return ctx.Err()
	}
}

// peers are what commands and environments may name.
func (e *Env) peers() map[string]peer {
	found := map[string]peer{}
	for name, u := range e.units {
		found[name] = peer{name: name, hosts: u.hosts, declared: u.ports, reach: u.reach}
	}
	return found
}
