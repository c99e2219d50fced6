package capture

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/devloop-io/devloop/traffic"
)

// FlowOf reads the addresses and ports of a packet that begins with an IP or Ethernet header. It is false for what is
// neither TCP nor UDP. Losses are counted under this name.
func FlowOf(p *traffic.Packet) (traffic.FlowLoss, bool) {
	b := p.Data
	if p.Link == traffic.LinkEthernet {
		if len(b) < 14 {
			return traffic.FlowLoss{}, false
		}
		b = b[14:]
	}
	if len(b) < 20 {
		return traffic.FlowLoss{}, false
	}
	switch b[0] >> 4 {
	case 4:
		src, dst := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		if binary.BigEndian.Uint16(b[6:])&0x1fff != 0 { // a later fragment has no ports
			return traffic.FlowLoss{}, false
		}
		return flow(src, dst, b[9], b[min(int(b[0]&15)*4, len(b)):])
	case 6:
		if len(b) < 40 {
			return traffic.FlowLoss{}, false
		}
		return flow(netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), b[6], b[40:])
	}
	return traffic.FlowLoss{}, false
}

// The protocol numbers of IANA that flows know.
const (
	protoTCP = 6
	protoUDP = 17
)

func flow(src, dst netip.Addr, proto byte, l4 []byte) (traffic.FlowLoss, bool) {
	name := map[byte]string{protoTCP: "tcp", protoUDP: "udp"}[proto]
	if name == "" || len(l4) < 4 {
		return traffic.FlowLoss{}, false
	}
	return traffic.FlowLoss{
		Src:   netip.AddrPortFrom(src, binary.BigEndian.Uint16(l4)),
		Dst:   netip.AddrPortFrom(dst, binary.BigEndian.Uint16(l4[2:])),
		Proto: name,
	}, true
}

// losses counts lost packets by interface and flow.
type losses struct {
	dropped uint64
	flows   map[traffic.FlowLoss]uint64 // key has Packets 0
}

// maxLostFlows bounds how many flows are told apart; the rest is in the interface's count alone.
const maxLostFlows = 4096

func (l *losses) add(p *traffic.Packet) {
	l.dropped++
	f, ok := FlowOf(p)
	if !ok {
		return
	}
	if l.flows == nil {
		l.flows = map[traffic.FlowLoss]uint64{}
	}
	if _, known := l.flows[f]; known || len(l.flows) < maxLostFlows {
		l.flows[f]++
	}
}

// addTo adds the losses to an interface's own.
func (l *losses) addTo(ifc *traffic.Interface) {
	ifc.Dropped += l.dropped
	flows := map[traffic.FlowLoss]uint64{}
	for f, n := range l.flows {
		flows[f] += n
	}
	for _, f := range ifc.Lost {
		n := f.Packets
		f.Packets = 0
		flows[f] += n
	}
	ifc.Lost = flowList(flows)
}

// flowList puts flows into a stable order, most losses first.
func flowList(flows map[traffic.FlowLoss]uint64) []traffic.FlowLoss {
	var list []traffic.FlowLoss
	for f, n := range flows {
		f.Packets = n
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b traffic.FlowLoss) int {
		return cmp.Or(cmp.Compare(b.Packets, a.Packets), a.Src.Compare(b.Src), a.Dst.Compare(b.Dst), cmp.Compare(a.Proto, b.Proto))
	})
	return list
}
