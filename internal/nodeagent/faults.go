package nodeagent

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/devloop-io/devloop/capture/agent"
	"github.com/devloop-io/devloop/fault"
	"github.com/devloop-io/devloop/fault/detour"
)

// How a fault gets between two pods: a program at the client's cgroup turns its connections to the server, as they are made, to
// a relay in the agent, which speaks to the server in the client's place. The packets between client and relay are recorded
// as if they were the server's, and those between relay and server not at all: so each call is there once, as its client met
// it. Packets are lost, and connections refused, by the program alone. The kernel takes the programs away with the process.

// faults are those of one node.
type faults struct {
	log    *slog.Logger
	groups *groups // nil where there is no cgroup v2
	own    netip.Addr

	mu    sync.Mutex
	there map[string]*made
	over  []agent.FaultState // the last fault.KeepEnded of them
	roles atomic.Pointer[roles]
}

// made is a fault that is there.
type made struct {
	agent.Fault
	detour *detour.Detour
	relays map[netip.AddrPort]*fault.Relay // by destination
	closed map[netip.AddrPort]uint16       // by destination, ports of ours that refuse
	pods   int
	timer  *time.Timer
}

func newFaults(g *groups, log *slog.Logger) *faults {
	return &faults{log: log, groups: g, own: ownAddress(), there: map[string]*made{}}
}

// ownAddress is that of the agent's pod.
func ownAddress() netip.Addr {
	addrs, _ := net.InterfaceAddrs() // none, then
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

// set makes the faults those that are wanted: what is not among them ends, what is new begins, and what goes on is for the pods and
// destinations that are named now.
func (f *faults) set(want agent.Faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leave(want.Relays)
	for id, m := range f.there {
		if !slices.ContainsFunc(want.Faults, func(x agent.Fault) bool { return x.ID == id }) {
			f.end(m)
		}
	}
	for _, x := range want.Faults {
		m := f.there[x.ID]
		if m != nil {
			m.Pods, m.To = x.Pods, x.To
		} else if f.ended(x.ID) { // who asks has not heard of it yet
			continue
		}
		if m == nil {
			m = &made{Fault: x, relays: map[netip.AddrPort]*fault.Relay{}, closed: map[netip.AddrPort]uint16{}}
			m.timer = time.AfterFunc(x.Lasts, func() { f.expire(m) })
			f.there[x.ID] = m
		}
		if err := f.make(m); err != nil {
			f.log.Warn("a fault cannot be made", "fault", x.ID, "err", err)
			f.endWith(m, err)
		}
	}
}

func (f *faults) ended(id string) bool {
	return slices.ContainsFunc(f.over, func(s agent.FaultState) bool { return s.ID == id })
}

// make puts a fault where it belongs, as far as it is not there. The caller holds the lock.
func (f *faults) make(m *made) error {
	if f.groups == nil {
		return errors.New("make a fault: this node has no cgroup v2, at which connections are turned")
	}
	if !f.own.IsValid() {
		return errors.New("make a fault: the agent has no IPv4 address, at which its relays could listen")
	}
	if m.detour == nil {
		way, rate := detour.Turn, 1.0
		switch m.Kind {
		case fault.Drop:
			way, rate = detour.Lose, m.Rate
		case fault.Refuse:
			rate = m.Rate
		}
		var err error
		if m.detour, err = detour.Open(way, rate); err != nil {
			return err
		}
	}
	for _, to := range m.To {
		if err := f.turn(m, to); err != nil {
			return err
		}
	}
	return f.spread(m)
}

// turn has connections to a destination go to a relay of its own, or to where nobody listens.
func (f *faults) turn(m *made, to netip.AddrPort) error {
	if m.relays[to] != nil || m.closed[to] != 0 {
		return nil
	}
	var port uint16
	switch m.Kind {
	case fault.Drop:
		return m.detour.To(to, netip.AddrPort{})
	case fault.Refuse:
		if port = f.closedPort(); port == 0 {
			return errors.New("make a fault: no port is left that could refuse")
		}
		m.closed[to] = port
	default:
		listen, err := net.Listen("tcp4", netip.AddrPortFrom(f.own, 0).String())
		if err != nil {
			return fmt.Errorf("make a fault: %w", err)
		}
		dialer := net.Dialer{Timeout: time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(f.own, 0))}
		r := fault.NewRelay(m.Of(), listen, func() (net.Conn, error) { return dialer.Dial("tcp4", to.String()) })
		m.relays[to], port = r, uint16(r.Port())
	}
	here := netip.AddrPortFrom(f.own, port)
	f.pose(port, to)
	return m.detour.To(to, here)
}

// lastClosed is the last of the ports on which nothing in the agent's pod listens.
const lastClosed = 1023

// closedPort is one of the agent's pod that no other fault uses. What connects to it is refused.
func (f *faults) closedPort() uint16 {
	taken := map[uint16]bool{}
	for _, m := range f.there {
		for _, port := range m.closed {
			taken[port] = true
		}
	}
	for port := uint16(1); port <= lastClosed; port++ {
		if !taken[port] {
			return port
		}
	}
	return 0
}

// spread puts the fault over its pods' cgroups.
func (f *faults) spread(m *made) error {
	var paths []string
	pods := map[string]bool{}
	for _, g := range f.groups.all() { // parents come first: a program at a pod's folder is at its containers' as well
		if g.Pod == "" || !slices.Contains(m.Pods, g.Pod) || slices.ContainsFunc(paths, func(p string) bool { return strings.HasPrefix(g.Path, p+"/") }) {
			continue
		}
		paths = append(paths, g.Path)
		pods[g.Pod] = true
	}
	for i, p := range paths {
		paths[i] = filepath.Join(f.groups.root, p)
	}
	m.pods = len(pods)
	return m.detour.Over(paths)
}

// refresh puts the faults over pods of theirs that came.
func (f *faults) refresh() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.there {
		if err := f.spread(m); err != nil { // a folder may have gone meanwhile
			f.log.Debug("a fault does not reach all of its pods", "fault", m.ID, "err", err)
		}
	}
}

// expire ends a fault whose time is over.
func (f *faults) expire(m *made) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.there[m.ID] == m {
		f.end(m)
	}
}

func (f *faults) end(m *made) { f.endWith(m, nil) }

// endWith ends a fault, and notes why it could not be made. The caller holds the lock.
func (f *faults) endWith(m *made, why error) {
	m.timer.Stop()
	delete(f.there, m.ID)
	var gone error
	if m.detour != nil {
		gone = m.detour.Close()
	}
	state := m.state()
	for _, r := range m.relays {
		r.Close()
	}
	state.Over = true
	if err := errors.Join(why, gone); err != nil {
		state.Problem = err.Error()
	}
	f.over = append(f.over, state)
	f.over = f.over[max(0, len(f.over)-fault.KeepEnded):]
}

// endAll is for the agent's end.
func (f *faults) endAll() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, m := range f.there {
		f.end(m)
		if p := f.over[len(f.over)-1].Problem; p != "" {
			errs = append(errs, errors.New(p))
		}
	}
	return errors.Join(errs...)
}

func (m *made) state() agent.FaultState {
	s := agent.FaultState{ID: m.ID, Pods: m.pods}
	for _, r := range m.relays {
		seen, hit, unfit := r.Counts()
		s.Seen, s.Hit, s.Unfit = s.Seen+seen, s.Hit+hit, s.Unfit+unfit
	}
	return s
}

func (f *faults) states() agent.FaultStates {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := agent.FaultStates{Address: f.own, Faults: slices.Clone(f.over)}
	for _, m := range f.there {
		a.Faults = append(a.Faults, m.state())
	}
	return a
}

func (a *Agent) getFaults(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, a.faults.states())
}

func (a *Agent) putFaults(w http.ResponseWriter, r *http.Request) error {
	const hint = `such as {"faults": [{"id": "f1", "kind": "latency", "rate": 1, "delay_ns": 1000000, "lasts_ns": 60000000000, "pods": ["UID"], "to": ["10.96.0.7:8080"]}]}`
	var want agent.Faults
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRules))
	d.DisallowUnknownFields()
	if err := d.Decode(&want); err != nil {
		return badRequest("read faults: "+err.Error(), hint)
	}
	if err := want.Validate(); err != nil {
		return badRequest(err.Error(), hint)
	}
	if a.groups != nil {
		if _, err := a.groups.walk(); err != nil {
			return err
		}
	}
	a.faults.set(want)
	return answer(w, a.faults.states())
}
