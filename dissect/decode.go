package dissect

import (
	"encoding/binary"

	"github.com/devloop-io/devloop/traffic"
)

// Numbers of the link and network layers (IANA).
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherVLAN = 0x8100
	etherIPv6 = 0x86dd
	etherMPLS = 0x8847
	etherQinQ = 0x88a8
	etherPPP  = 0x8864

	protoICMP   = 1
	protoIPIP   = 4
	protoTCP    = 6
	protoUDP    = 17
	protoIPv6   = 41
	protoGRE    = 47
	protoICMPv6 = 58
	protoSCTP   = 132
)

// address is an IPv4 (mapped) or IPv6 address; 16 bytes so that one key fits both.
type address [16]byte

// datagram is one IP packet's transport part. Data may be cut: wire is its length on the wire.
type datagram struct {
	src, dst address
	proto    uint8
	data     []byte
	wire     int
}

// fragment is what the network layer says of a piece of a datagram.
type fragment struct {
	id     uint32
	offset int
	more   bool
}

// refusal says why a packet is no datagram: kind is empty when it is one.
type refusal struct {
	kind      string
	malformed bool
}

var accepted refusal

func ignored(kind string) refusal   { return refusal{kind: kind} }
func malformed(kind string) refusal { return refusal{kind: kind, malformed: true} }

// decode finds the datagram in a packet. It allocates nothing.
//
//	Ethernet │ 802.1Q … │ IPv4/IPv6 │ extension headers │ TCP/UDP
//
// Tunnels are opened by unwrap.
func decode(p *traffic.Packet, out *datagram, frag *fragment) refusal {
	b, wire := p.Data, p.Length
	if wire < len(b) {
		wire = len(b)
	}
	switch p.Link {
	case traffic.LinkEthernet:
		if len(b) < 14 {
			return malformed("ethernet")
		}
		return decodeEther(binary.BigEndian.Uint16(b[12:]), b[14:], wire-14, out, frag)
	case traffic.LinkRaw, traffic.LinkIPv4, traffic.LinkIPv6, 12, 14: // 12 and 14: DLT_RAW as some systems wrote it
		return decodeIP(b, wire, out, frag)
	case traffic.LinkNull, traffic.LinkLoop:
		if len(b) < 4 {
			return malformed("null")
		}
		return decodeIP(b[4:], wire-4, out, frag) // the family's number differs by system; the version nibble does not
	case traffic.LinkSLL:
		if len(b) < 16 {
			return malformed("sll")
		}
		return decodeEther(binary.BigEndian.Uint16(b[14:]), b[16:], wire-16, out, frag)
	case traffic.LinkSLL2:
		if len(b) < 20 {
			return malformed("sll2")
		}
		return decodeEther(binary.BigEndian.Uint16(b), b[20:], wire-20, out, frag)
	}
	return decodeLink(p.Link, b, wire, out, frag, false)
}

// decodeEther goes on after an EtherType.
func decodeEther(kind uint16, b []byte, wire int, out *datagram, frag *fragment) refusal {
	for tags := 0; ; tags++ {
		n := tagLength(kind)
		if n == 0 {
			break
		}
		if len(b) < n || tags == 8 {
			return malformed("vlan")
		}
		kind, b, wire = binary.BigEndian.Uint16(b[n-2:]), b[n:], wire-n
	}
	switch kind {
	case etherIPv4, etherIPv6:
		return decodeIP(b, wire, out, frag)
	case etherARP:
		return ignored("arp")
	case etherMPLS: // RFC 3032: labels down to the bottom of the stack, then most often IP
		for range 16 {
			if len(b) < 4 {
				return malformed("mpls")
			}
			bottom := b[2]&1 != 0
			b, wire = b[4:], wire-4
			if bottom {
				break
			}
		}
		return decodeIP(b, wire, out, frag)
	case etherPPP: // RFC 2516
		if len(b) < 8 {
			return malformed("pppoe")
		}
		if r := decodePPP(b[6:], min(wire-6, int(binary.BigEndian.Uint16(b[4:]))), out, frag); r.kind != "ppp" {
			return r
		}
		return ignored("pppoe")
	}
	if kind <= 1500 { // the length of an IEEE 802.3 frame
		return decodeLLC(b, wire, out, frag)
	}
	return ignored("ethertype")
}

// tagLength is how long a tag before the EtherType is, with the next EtherType; 0 when it is none.
func tagLength(kind uint16) int {
	switch kind {
	case etherVLAN, etherQinQ, 0x9100:
		return 4
	case 0x8926: // VN-tag
		return 6
	case 0x893f: // E-tag (IEEE 802.1BR)
		return 8
	}
	return 0
}

func decodeIP(b []byte, wire int, out *datagram, frag *fragment) refusal {
	if len(b) == 0 {
		return malformed("ip")
	}
	switch b[0] >> 4 {
	case 4:
		return decodeIPv4(b, wire, out, frag)
	case 6:
		return decodeIPv6(b, wire, out, frag)
	}
	return malformed("ip_version")
}

// mapped is the prefix of IPv4 addresses in IPv6 (RFC 4291 2.5.5.2).
var mapped = address{10: 0xff, 11: 0xff}

func decodeIPv4(b []byte, wire int, out *datagram, frag *fragment) refusal {
	if len(b) < 20 {
		return malformed("ipv4")
	}
	head := int(b[0]&15) * 4
	if head < 20 || head > len(b) {
		return malformed("ipv4")
	}
	total := int(binary.BigEndian.Uint16(b[2:]))
	if total == 0 || total > wire { // segmentation offload: the kernel had not filled it in yet; or a header that lies
		total = wire
	}
	if total < head {
		return malformed("ipv4")
	}
	out.src, out.dst = mapped, mapped
	copy(out.src[12:], b[12:16])
	copy(out.dst[12:], b[16:20])
	out.wire = total - head
	out.data = b[head:min(total, len(b))]
	if word := binary.BigEndian.Uint16(b[6:]); word&0x3fff != 0 {
		frag.id = uint32(binary.BigEndian.Uint16(b[4:]))
		frag.offset = int(word&0x1fff) * 8
		frag.more = word&0x2000 != 0
		out.proto = b[9]
		return refusal{kind: "fragment"}
	}
	return transport(b[9], out)
}

func decodeIPv6(b []byte, wire int, out *datagram, frag *fragment) refusal {
	if len(b) < 40 {
		return malformed("ipv6")
	}
	copy(out.src[:], b[8:24])
	copy(out.dst[:], b[24:40])
	next, length := b[6], int(binary.BigEndian.Uint16(b[4:]))
	if length == 0 || length > wire-40 { // offload or jumbogram; or a header that lies
		length = wire - 40
	}
	out.wire, out.data = length, b[40:min(40+max(length, 0), len(b))]
	return decodeExtensions(next, out, frag)
}

// decodeExtensions walks IPv6 extension headers (RFC 8200 section 4).
func decodeExtensions(next uint8, out *datagram, frag *fragment) refusal {
	for range 16 {
		b := out.data
		size := 0
		switch next {
		case 0, 43, 60, 135, 139, 140: // hop-by-hop, routing, destination, mobility, HIP, shim6
			if len(b) < 8 {
				return malformed("ipv6_extension")
			}
			size = (int(b[1]) + 1) * 8
		case 51: // authentication header
			if len(b) < 8 {
				return malformed("ipv6_extension")
			}
			size = (int(b[1]) + 2) * 4
		case 44:
			if len(b) < 8 {
				return malformed("ipv6_extension")
			}
			word := binary.BigEndian.Uint16(b[2:])
			next = b[0]
			out.data, out.wire = b[8:], out.wire-8
			if word&0xfff9 == 0 { // an atomic fragment is whole
				continue
			}
			frag.id, frag.offset, frag.more = binary.BigEndian.Uint32(b[4:]), int(word&0xfff8), word&1 != 0
			out.proto = next
			return refusal{kind: "fragment"}
		case 59:
			return ignored("ipv6_no_next")
		default:
			return transport(next, out)
		}
		if size > len(b) {
			return malformed("ipv6_extension")
		}
		next = b[0]
		out.data, out.wire = b[size:], out.wire-size
	}
	return malformed("ipv6_extension")
}

// transport accepts TCP and UDP and names the rest.
func transport(proto uint8, out *datagram) refusal {
	out.proto = proto
	switch proto {
	case protoTCP, protoUDP:
		return accepted
	case protoICMP, protoICMPv6:
		return ignored("icmp")
	case protoGRE:
		return ignored("gre")
	case protoIPIP, protoIPv6:
		return ignored("ipip")
	case protoSCTP:
		return ignored("sctp")
	case 50:
		return ignored("esp")
	case 2:
		return ignored("igmp")
	}
	return ignored("ip_protocol")
}
