package localenv

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Addresses in a workspace's subnet by their last byte.
const (
	hostByte     = 1
	switchByte   = 2 // the bridge, where the DNS responder listens
	relayByte    = 3 // of the bridge as well: what faults speak to servers from
	exerciseByte = 9
	firstByte    = 10 // services and dependencies from here on
	lastByte     = 254
)

const switchNS = "@switch" // no service can have an @ in its name

// network is the private network of one workspace.
type network struct {
	hash   string
	dir    string // of the namespaces' bind mounts
	subnet netip.Prefix

	mu     sync.Mutex
	ns     *os.File        // of the bridge
	handle *netlink.Handle // inside ns
	bridge int             // index of the bridge inside ns
}

// linkName is the one link that is to be seen on the host.
func linkName(hash string) string { return "dl" + hash }

// addr is the address with the given last byte.
func (n *network) addr(last byte) netip.Addr {
	a := n.subnet.Addr().As4()
	a[3] = last
	return netip.AddrFrom4(a)
}

func (n *network) prefix(last byte) *netlink.Addr {
	ip := n.addr(last).As4()
	return &netlink.Addr{IPNet: &net.IPNet{IP: ip[:], Mask: net.CIDRMask(n.subnet.Bits(), 32)}}
}

// build makes the bridge in its namespace and the link that joins the host to it.
func (n *network) build() error {
	ns, err := makeNetNS(filepath.Join(n.dir, switchNS))
	if err != nil {
		return err
	}
	n.ns = ns
	if n.handle, err = netlink.NewHandleAt(netns.NsHandle(ns.Fd())); err != nil {
		return fmt.Errorf("open netlink in the bridge's namespace: %w", err)
	}
	off := false
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}, MulticastSnooping: &off}
	if err := n.handle.LinkAdd(bridge); err != nil {
		return fmt.Errorf("make the bridge: %w", err)
	}
	link, err := n.handle.LinkByName("br0")
	if err != nil {
		return fmt.Errorf("find the bridge: %w", err)
	}
	n.bridge = link.Attrs().Index
	if err := n.handle.AddrAdd(link, n.prefix(switchByte)); err != nil {
		return fmt.Errorf("give the bridge its address: %w", err)
	}
	if err := up(n.handle, "lo", "br0"); err != nil {
		return err
	}
	name := linkName(n.hash)
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "host", PeerNamespace: netlink.NsFd(ns.Fd())}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("make link %s: %w", name, err)
	}
	os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0) // of our own link only
	host, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if err := netlink.AddrAdd(host, n.prefix(hostByte)); err != nil {
		return fmt.Errorf("give link %s its address: %w", name, err)
	}
	if err := netlink.LinkSetUp(host); err != nil {
		return fmt.Errorf("set link %s up: %w", name, err)
	}
	return n.plug("host")
}

// plug makes a link of the bridge's namespace a port of the bridge.
func (n *network) plug(name string) error {
	link, err := n.handle.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find bridge port %s: %w", name, err)
	}
	if err := n.handle.LinkSetMasterByIndex(link, n.bridge); err != nil {
		return fmt.Errorf("plug %s into the bridge: %w", name, err)
	}
	return up(n.handle, name)
}

func up(h *netlink.Handle, names ...string) error {
	for _, name := range names {
		link, err := h.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find link %s: %w", name, err)
		}
		if err := h.LinkSetUp(link); err != nil {
			return fmt.Errorf("set link %s up: %w", name, err)
		}
	}
	return nil
}

// attach makes a network namespace of that name whose eth0 is a port of the bridge.
func (n *network) attach(name string, last byte) (*os.File, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ns, err := makeNetNS(filepath.Join(n.dir, name))
	if err != nil {
		return nil, err
	}
	if err := n.wire(ns, last); err != nil {
		ns.Close()
		return nil, fmt.Errorf("attach %s to the bridge: %w", name, err)
	}
	return ns, nil
}

func (n *network) wire(ns *os.File, last byte) error {
	port := fmt.Sprintf("port%d", last)
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: port}, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns.Fd())}
	if err := n.handle.LinkAdd(veth); err != nil {
		return fmt.Errorf("make a link: %w", err)
	}
	if err := n.plug(port); err != nil {
		return err
	}
	h, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()))
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	eth, err := h.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("find eth0: %w", err)
	}
	if err := h.AddrAdd(eth, n.prefix(last)); err != nil {
		return fmt.Errorf("give eth0 its address: %w", err)
	}
	if err := up(h, "lo", "eth0"); err != nil {
		return err
	}
	gateway := n.addr(hostByte).As4()
	if err := h.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: gateway[:]}); err != nil {
		return fmt.Errorf("set the default route: %w", err)
	}
	return nil
}

func (n *network) close() {
	if n.handle != nil {
		n.handle.Close()
	}
	if n.ns != nil {
		n.ns.Close()
	}
}

// freeSubnet picks a /24 that no route of this host overlaps. The same workspace mostly gets the same one, which makes
// captures of two sessions comparable.
func freeSubnet(hash string) (netip.Prefix, error) {
	taken, err := routedPrefixes()
	if err != nil {
		return netip.Prefix{}, err
	}
	h := fnv.New32a()
	h.Write([]byte(hash))
	start := int(h.Sum32() % 256)
	for second := 77; second < 128; second++ {
		for i := range 256 {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(second), byte(start + i), 0}), 24)
			if !overlapsAny(p, taken) {
				return p, nil
			}
		}
	}
	return netip.Prefix{}, errors.New("no free /24 between 10.77.0.0 and 10.127.255.0: routes of this host cover all of it")
}

func overlapsAny(p netip.Prefix, taken []netip.Prefix) bool {
	for _, t := range taken {
		if p.Overlaps(t) {
			return true
		}
	}
	return false
}

// routedPrefixes are the destinations of all routing tables but the default routes.
func routedPrefixes() ([]netip.Prefix, error) {
	filter := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, filter, netlink.RT_FILTER_TABLE)
	for range 3 { // the tables may change while they are read
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
		routes, err = netlink.RouteListFiltered(netlink.FAMILY_V4, filter, netlink.RT_FILTER_TABLE)
	}
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var found []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		ip, ok := netip.AddrFromSlice(r.Dst.IP.To4())
		ones, _ := r.Dst.Mask.Size()
		if ok && ones > 1 { // VPNs split the default route into 0.0.0.0/1 and 128.0.0.0/1: that is no claim on 10.77
			found = append(found, netip.PrefixFrom(ip, ones))
		}
	}
	return found, nil
}
