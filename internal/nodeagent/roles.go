package nodeagent

import (
	"encoding/binary"
	"maps"
	"net/netip"

	"github.com/devloop-io/devloop/traffic"
)

// roles are whose words packets of relays are.
type roles struct {
	own    uint32                    // our address
	relays map[uint32]bool           // those of all agents
	poses  map[uint16]netip.AddrPort // our port to the server that its relay stands for; old ones stay, for what comes late
}

// leave says which addresses are those of relays.
func (f *faults) leave(relays []netip.Addr) {
	f.change(func(r *roles) {
		r.relays = map[uint32]bool{}
		for _, a := range relays {
			if a.Is4() {
				ip := a.As4()
				r.relays[binary.BigEndian.Uint32(ip[:])] = true
			}
		}
	})
}

// pose has what is said to and by a port of ours recorded as the server's.
func (f *faults) pose(port uint16, server netip.AddrPort) {
	f.change(func(r *roles) {
		poses := maps.Clone(r.poses)
		if poses == nil {
			poses = map[uint16]netip.AddrPort{}
		}
		poses[port], r.poses = server, poses
	})
}

// change replaces the roles, which are read without a lock. The caller holds it.
func (f *faults) change(with func(*roles)) {
	r := &roles{}
	if old := f.roles.Load(); old != nil {
		*r = *old
	}
	if f.own.IsValid() {
		ip := f.own.As4()
		r.own = binary.BigEndian.Uint32(ip[:])
	}
	with(r)
	f.roles.Store(r)
}

// act gives a packet of a relay its role, or says that it is not to be recorded. Other packets are left as they are. The bytes
// of p are never changed: they may be the kernel's.
func (r *roles) act(p *traffic.Packet, room *[]byte) (record bool) {
	b := p.Data
	if p.Link != traffic.LinkRaw && p.Link != traffic.LinkIPv4 || len(b) < 24 || b[0]>>4 != 4 {
		return true
	}
	src, dst := binary.BigEndian.Uint32(b[12:]), binary.BigEndian.Uint32(b[16:])
	head := int(b[0]&15) * 4
	if b[9] == 6 && len(b) >= head+4 {
		for _, end := range [2]struct {
			is            uint32
			address, port int
		}{{dst, 16, head + 2}, {src, 12, head}} {
			if end.is != r.own {
				continue
			}
			if server, ok := r.poses[binary.BigEndian.Uint16(b[end.port:])]; ok {
				*room = append((*room)[:0], b...)
				p.Data = *room
				put(p.Data, head, end.address, end.port, server)
				return true
			}
		}
	}
	return !r.relays[src] && !r.relays[dst]
}

// put writes an address and a port into a TCP packet, and corrects the sums that go over them (RFC 1624).
func put(b []byte, head, address, port int, server netip.AddrPort) {
	ip := server.Addr().As4()
	var changed uint32 // of the address, for both sums
	for i := 0; i < 4; i += 2 {
		changed += uint32(^binary.BigEndian.Uint16(b[address+i:])) + uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	correct(b[10:], changed)
	changed += uint32(^binary.BigEndian.Uint16(b[port:])) + uint32(server.Port())
	if len(b) >= head+18 {
		correct(b[head+16:], changed)
	}
	copy(b[address:], ip[:])
	binary.BigEndian.PutUint16(b[port:], server.Port())
}

func correct(sum []byte, changed uint32) {
	n := uint32(^binary.BigEndian.Uint16(sum)) + changed
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	binary.BigEndian.PutUint16(sum, ^uint16(n))
}
