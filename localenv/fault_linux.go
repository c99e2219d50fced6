package localenv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/devloop-io/devloop/fault"
	"github.com/devloop-io/devloop/traffic"
)

// How a fault gets between two services: the client's namespace gets a route to the server's address over the switch's
// namespace, whose nftables table sends new connections to that port on to a relay that listens there. Both services keep
// seeing each other's addresses, except that the server sees connections come from the relay's own one. The relay's side of
// the conversation is not recorded, so that a call is there once, as its client met it. Packets are dropped, and connections
// refused, in the namespaces of the two alone. All of it is inside of namespaces that go with the environment.

const faultTable = "devloop_faults"

// faults are those of an environment.
type faults struct {
	mu      sync.Mutex
	there   map[string]*activeFault
	history fault.History
	ready   bool // the switch forwards
}

type activeFault struct {
	fault.Fault
	from, to *unit
	relay    *fault.Relay // nil where the kernel does it alone
	timer    *time.Timer
}

// now is the fault with its counts.
func (a *activeFault) now() fault.Fault {
	f := a.Fault
	if r := a.relay; r != nil {
		f.Seen, f.Hit, f.Unfit = r.Counts()
	}
	return f
}

// FaultSource is the address that relays speak to servers from. What is said there is no service's.
func (e *Env) FaultSource() netip.Addr {
	if e.mode != ModeNetNS {
		return netip.Addr{}
	}
	return e.net.addr(relayByte)
}

// SetFault begins a fault, which ends by itself after a time. Open connections of its client to that port are ended, so that
// pooled ones do not go around it; those of drop end with it.
func (e *Env) SetFault(ctx context.Context, f fault.Fault, port string, lasts time.Duration) (fault.Fault, error) {
	if err := f.Check(lasts); err != nil {
		return fault.Fault{}, err
	}
	if e.mode != ModeNetNS {
		return fault.Fault{}, fmt.Errorf("faults need a network namespace for each service, and here they share one loopback: %s", e.why)
	}
	from, to, err := e.edge(&f, port)
	if err != nil {
		return fault.Fault{}, err
	}
	for _, u := range []*unit{from, to} {
		if err := u.awaitWire(ctx); err != nil {
			return fault.Fault{}, err
		}
	}
	e.faults.mu.Lock()
	defer e.faults.mu.Unlock()
	if e.isDown() {
		return fault.Fault{}, errDown
	}
	for _, other := range e.faults.there {
		if other.from == from && other.to == to && other.Port == f.Port {
			return fault.Fault{}, fmt.Errorf("%s has fault %s (%s) already; clear it first", f.Edge(), other.ID, other.What())
		}
	}
	e.faults.history.Begin(&f, lasts)
	a := &activeFault{Fault: f, from: from, to: to}
	if err := e.putFault(a); err != nil {
		return fault.Fault{}, errors.Join(fmt.Errorf("set fault on %s: %w", f.Edge(), err), e.takeFault(a))
	}
	a.timer = time.AfterFunc(lasts, func() {
		if _, err := e.ClearFault(f.ID); err != nil {
			e.log.Error("a fault did not end", "fault", f.ID, "err", err)
		}
	})
	return f, nil
}

// edge finds both ends by their names, and the port by name or number.
func (e *Env) edge(f *fault.Fault, port string) (from, to *unit, err error) {
	names := strings.Join(e.order, ", ")
	if from = e.units[f.From]; from == nil {
		return nil, nil, fmt.Errorf("no service is called %q; there are %s", f.From, names)
	}
	if to = e.units[f.To]; to == nil || to.kind == traffic.KindExercise {
		return nil, nil, fmt.Errorf("no service is called %q; there are %s", f.To, names)
	}
	if from == to {
		return nil, nil, fmt.Errorf("%s does not go over the network to reach itself", f.From)
	}
	f.Port, err = fault.PortOf(f.To, to.ports, port)
	return from, to, err
}

// putFault puts one fault in place. The caller holds the lock.
func (e *Env) putFault(a *activeFault) error {
	if a.ByRelay() {
		if err := e.switchForwards(); err != nil {
			return err
		}
		if err := e.relayFault(a); err != nil {
			return err
		}
	}
	e.faults.there[a.ID] = a
	if err := e.writeTables(); err != nil {
		return err
	}
	if a.relay != nil {
		if err := e.detour(a, true); err != nil {
			return err
		}
	}
	if a.Kind != fault.Drop {
		e.endConnections(a)
	}
	return nil
}

// relayFault begins to listen in the switch's namespace.
func (e *Env) relayFault(a *activeFault) error {
	here := e.net.addr(relayByte)
	var listen net.Listener
	err := e.launcher.in(e.net.ns, func() (err error) {
		listen, err = net.Listen("tcp4", netip.AddrPortFrom(here, 0).String())
		return err
	})
	if err != nil {
		return err
	}
	to := netip.AddrPortFrom(a.to.ip, uint16(a.Port)).String()
	dialer := net.Dialer{Timeout: time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(here, 0))}
	a.relay = fault.NewRelay(a.Fault, listen, func() (c net.Conn, err error) {
		err = e.launcher.in(e.net.ns, func() (err error) {
			c, err = dialer.Dial("tcp4", to)
			return err
		})
		return c, err
	})
	return nil
}

// switchForwards lets the switch's namespace pass on what is routed over it, and gives the relays their address.
func (e *Env) switchForwards() error {
	if e.faults.ready {
		return nil
	}
	if err := e.launcher.in(e.net.ns, func() error {
		for _, set := range [][2]string{{"conf/all/send_redirects", "0"}, {"conf/br0/send_redirects", "0"}, {"ip_forward", "1"}} {
			if err := os.WriteFile("/proc/sys/net/ipv4/"+set[0], []byte(set[1]), 0); err != nil {
				return fmt.Errorf("let the switch forward: %w", err)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	link, err := e.net.handle.LinkByName("br0")
	if err == nil {
		err = e.net.handle.AddrAdd(link, e.net.prefix(relayByte))
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("give the relays an address: %w", err)
	}
	e.faults.ready = true
	return nil
}

// detour routes the server's address over the switch for the client, or no longer, when no other fault needs it.
func (e *Env) detour(a *activeFault, on bool) error {
	if !on {
		for _, other := range e.faults.there {
			if other.relay != nil && other.from == a.from && other.to == a.to && other != a {
				return nil
			}
		}
	}
	h, err := netlink.NewHandleAt(netns.NsHandle(a.from.ns.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	eth, err := h.LinkByName("eth0")
	if err != nil {
		return err
	}
	dst, gw := a.to.ip.As4(), e.net.addr(switchByte).As4()
	route := &netlink.Route{LinkIndex: eth.Attrs().Index, Dst: &net.IPNet{IP: dst[:], Mask: net.CIDRMask(32, 32)}, Gw: gw[:]}
	if on {
		return h.RouteReplace(route)
	}
	if err := h.RouteDel(route); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove the route: %w", err)
	}
	return nil
}

// endConnections ends those that the client has open. Where the kernel cannot (CONFIG_INET_DIAG_DESTROY) they live on beside
// the fault.
func (e *Env) endConnections(a *activeFault) {
	h, err := netlink.NewHandleAt(netns.NsHandle(a.from.ns.Fd()), unix.NETLINK_INET_DIAG)
	if err != nil {
		e.log.Warn("open connections go around the fault", "fault", a.ID, "err", err)
		return
	}
	defer h.Close()
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		sockets, err := h.SocketDiagTCP(family)
		if err != nil {
			e.log.Warn("open connections go around the fault", "fault", a.ID, "err", err)
			continue
		}
		for _, s := range sockets {
			remote, ok := netip.AddrFromSlice(s.ID.Destination)
			if !ok || remote.Unmap() != a.to.ip || int(s.ID.DestinationPort) != a.Port {
				continue
			}
			err := h.SocketDestroy(&net.TCPAddr{IP: s.ID.Source, Port: int(s.ID.SourcePort)}, &net.TCPAddr{IP: s.ID.Destination, Port: a.Port})
			if err != nil && !errors.Is(err, unix.ENOENT) {
				e.log.Warn("an open connection goes around the fault", "fault", a.ID, "err", err)
			}
		}
	}
}

// Faults are those that are there, and those that ended since a time, in the order in which they began.
func (e *Env) Faults(since time.Time) []fault.Fault {
	e.faults.mu.Lock()
	defer e.faults.mu.Unlock()
	var there []fault.Fault
	for _, a := range e.faults.there {
		there = append(there, a.now())
	}
	return e.faults.history.Since(since, there)
}

// ClearFault ends a fault, or all of them when no ID is given, and asks the kernel whether anything of them is left.
func (e *Env) ClearFault(id string) ([]fault.Fault, error) {
	e.faults.mu.Lock()
	defer e.faults.mu.Unlock()
	if id != "" && e.faults.there[id] == nil {
		return nil, e.faults.history.Absent(id)
	}
	var cleared []fault.Fault
	var errs []error
	for _, a := range slices.Collect(maps.Values(e.faults.there)) {
		if id != "" && a.ID != id {
			continue
		}
		errs = append(errs, e.takeFault(a))
		cleared = append(cleared, a.now())
	}
	return e.faults.history.End(cleared), errors.Join(errs...)
}

// takeFault takes one fault away. The caller holds the lock.
func (e *Env) takeFault(a *activeFault) error {
	if a.timer != nil {
		a.timer.Stop()
	}
	delete(e.faults.there, a.ID)
	err := e.writeTables(a.from, a.to)
	if a.relay != nil {
		err = errors.Join(err, e.detour(a, false))
		a.relay.Close()
	}
	if a.Kind == fault.Drop { // what waits for a packet again would bring its calls into later windows
		e.endConnections(a)
	}
	if err != nil {
		return fmt.Errorf("clear fault %s: %w", a.ID, err)
	}
	return nil
}

// writeTables makes each namespace's table what the present faults need; one that needs none has none, which is verified.
// Units without a fault are named when they may have had one.
func (e *Env) writeTables(also ...*unit) error {
	rules := map[*os.File][]faultRule{e.net.ns: nil}
	for _, u := range also {
		rules[u.ns] = nil
	}
	for _, a := range e.faults.there {
		switch {
		case a.relay != nil:
			rules[e.net.ns] = append(rules[e.net.ns], redirect(a, e.net.addr(relayByte)))
		case a.Kind == fault.Refuse:
			rules[a.to.ns] = append(rules[a.to.ns], refuse(a))
		case a.Kind == fault.Drop:
			rules[a.to.ns] = append(rules[a.to.ns], loses(a, a.from.ip, a.to.ip, 2))
			rules[a.from.ns] = append(rules[a.from.ns], loses(a, a.to.ip, a.from.ip, 0))
		}
	}
	var errs []error
	for ns, list := range rules {
		errs = append(errs, writeTable(ns, list))
	}
	return errors.Join(errs...)
}

// faultRule is a rule and the hook that it belongs to.
type faultRule struct {
	hook  *nftables.ChainHook
	nat   bool
	exprs []expr.Any
}

// writeTable replaces a namespace's table in one step. Without rules there is none after.
func writeTable(ns *os.File, rules []faultRule) error {
	c, err := nftables.New(nftables.WithNetNSFd(int(ns.Fd())))
	if err != nil {
		return err
	}
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: faultTable}
	c.AddTable(table) // deleting one that is not there fails
	c.DelTable(table)
	if len(rules) > 0 {
		c.AddTable(table)
	}
	chains := map[string]*nftables.Chain{}
	for _, r := range rules {
		name, kind, priority := "incoming", nftables.ChainTypeFilter, nftables.ChainPriorityRaw
		switch {
		case r.nat:
			name, kind, priority = "redirect", nftables.ChainTypeNAT, nftables.ChainPriorityNATDest
		case r.hook == nftables.ChainHookInput:
			name, priority = "refuse", nftables.ChainPriorityFilter
		}
		if chains[name] == nil {
			chains[name] = c.AddChain(&nftables.Chain{Name: name, Table: table, Type: kind, Hooknum: r.hook, Priority: priority})
		}
		c.AddRule(&nftables.Rule{Table: table, Chain: chains[name], Exprs: r.exprs})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("write nftables table %s: %w", faultTable, err)
	}
	if len(rules) > 0 {
		return nil
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if t.Name == faultTable {
			return fmt.Errorf("nftables table %s is still there", faultTable)
		}
	}
	return nil
}

// redirect sends new connections of the edge to the relay.
func redirect(a *activeFault, here netip.Addr) faultRule {
	ip := here.As4()
	exprs := append(between(a.from.ip, a.to.ip, 2, a.Port), opening()...)
	return faultRule{nftables.ChainHookPrerouting, true, append(exprs,
		&expr.Immediate{Register: 1, Data: ip[:]},
		&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(uint16(a.relay.Port()))},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2},
	)}
}

// refuse answers new connections of the edge with a reset.
func refuse(a *activeFault) faultRule {
	exprs := append(between(a.from.ip, a.to.ip, 2, a.Port), opening()...)
	return faultRule{nftables.ChainHookInput, false, append(append(exprs, sometimes(a.Rate)...), &expr.Reject{Type: unix.NFT_REJECT_TCP_RST})}
}

// loses drops packets of one direction where they arrive, so that their sender's record has them.
func loses(a *activeFault, from, to netip.Addr, portAt uint32) faultRule {
	exprs := append(between(from, to, portAt, a.Port), sometimes(a.Rate)...)
	return faultRule{nftables.ChainHookPrerouting, false, append(exprs, &expr.Verdict{Kind: expr.VerdictDrop})}
}

// between matches TCP from one address to another; portAt is where in the TCP header the server's port is.
func between(from, to netip.Addr, portAt uint32, port int) []expr.Any {
	src, dst := from.As4(), to.As4()
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 9, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: src[:]},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: dst[:]},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: portAt, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(port))},
	}
}

// opening matches SYN without ACK.
func opening() []expr.Any {
	const syn, ack = 0x02, 0x10
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{syn | ack}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{syn}},
	}
}

// sometimes matches at a rate.
func sometimes(rate float64) []expr.Any {
	if rate >= 1 {
		return nil
	}
	const of = 1 << 20
	return []expr.Any{
		&expr.Numgen{Register: 1, Modulus: of, Type: unix.NFT_NG_RANDOM},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binaryutil.BigEndian.PutUint32(max(1, uint32(rate*of)))},
	}
}
