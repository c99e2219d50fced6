package bpf

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/devloop-io/devloop/traffic"
	"github.com/devloop-io/devloop/traffic/redact"
)

// Help says what filters can be made of.
const Help = "understood: [src|dst] host ADDRESS, [src|dst] net CIDR, [tcp|udp] [src|dst] port N, portrange N-M, ip, ip6, tcp, udp, sctp, icmp, icmp6, [ip|ip6] proto N, " +
	"less N, greater N, len < N, tcp[tcpflags] & tcp-syn != 0, and, or, not, ( )"

// Error is a filter that cannot be read.
type Error struct {
	Column int // from 1, in bytes
	What   string
	source string
}

// Error names the place.
func (e *Error) Error() string {
	return fmt.Sprintf("BPF filter %q, column %d: %s", e.source, e.Column, e.What)
}

// Filter is a compiled filter. It is safe for concurrent use.
type Filter struct {
	source string
	match  test
}

// String is the filter as it was written.
func (f *Filter) String() string { return f.source }

// Match reports whether a packet passes.
func (f *Filter) Match(p *traffic.Packet) bool {
	if f.match == nil {
		return true
	}
	k := look(p)
	return f.match(&k)
}

// test is one condition.
type test func(*packet) bool

// packet is what conditions look at.
type packet struct {
	data         []byte // from the IP header on; empty when the packet is not IP
	l4           int    // offset of what follows the IP headers, -1 in a fragment beyond the first
	length       int    // on the wire
	version      int    // 4 or 6, 0 when the packet is not IP
	proto        int    // of IP
	src, dst     netip.Addr
	sport, dport int // -1 without ports
}

// The protocols of IP that filters name.
const (
	protoICMP  = 1
	protoTCP   = 6
	protoUDP   = 17
	protoICMP6 = 58
	protoSCTP  = 132
)

func look(p *traffic.Packet) packet {
	k := packet{length: max(p.Length, len(p.Data)), l4: -1, sport: -1, dport: -1, proto: -1}
	l, ok := redact.Parse(p.Data, p.Link)
	if l.IP < 0 || l.IP >= len(p.Data) {
		return k
	}
	d := p.Data[l.IP:]
	switch {
	case d[0]>>4 == 4 && len(d) >= 20:
		k.version, k.proto = 4, int(d[9])
		k.src, k.dst = netip.AddrFrom4([4]byte(d[12:])), netip.AddrFrom4([4]byte(d[16:]))
	case d[0]>>4 == 6 && len(d) >= 40:
		k.version, k.proto = 6, int(d[6])
		k.src, k.dst = netip.AddrFrom16([16]byte(d[8:])), netip.AddrFrom16([16]byte(d[24:]))
		if ok && l.Proto >= 0 {
			k.proto = l.Proto // behind extension headers
		}
	default:
		return k
	}
	k.data = d
	if !ok || l.Proto < 0 {
		return k
	}
	k.l4 = l.L4 - l.IP
	if ports := d[min(k.l4, len(d)):]; len(ports) >= 4 && (k.proto == protoTCP || k.proto == protoUDP || k.proto == protoSCTP) {
		k.sport, k.dport = int(binary.BigEndian.Uint16(ports)), int(binary.BigEndian.Uint16(ports[2:]))
	}
	return k
}

// which is the end of a packet that a condition speaks of.
type which int

const (
	either which = iota
	source
	destination
	both
)

// ends tests the ends of a packet.
func (w which) ends(src, dst bool) bool {
	switch w {
	case source:
		return src
	case destination:
		return dst
	case both:
		return src && dst
	}
	return src || dst
}
