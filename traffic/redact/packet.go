package redact

import (
	"encoding/binary"

	"github.com/devloop-io/devloop/traffic"
)

// Layers says where the parts of a captured packet are. Offsets are into the packet's data and never beyond it.
type Layers struct {
	IP       int // offset of the IP header, -1 without one
	Version  int // 4 or 6
	Proto    int // 6 TCP, 17 UDP, otherwise as in the IP header; -1 for fragments beyond the first
	L4       int // offset of what follows the IP headers
	Payload  int // offset of the TCP or UDP payload; L4 for other protocols
	End      int // end of the captured payload: link-layer padding is left out
	Complete bool
}

// Parse finds the layers of a packet, false when it is not IP or its headers are cut.
func Parse(data []byte, link traffic.LinkType) (Layers, bool) {
	l := Layers{IP: -1, Proto: -1}
	at, ok := network(data, link)
	if !ok || at >= len(data) {
		return l, false
	}
	l.IP = at
	switch data[at] >> 4 {
	case 4:
		return ipv4(data, l)
	case 6:
		return ipv6(data, l)
	}
	l.IP = -1
	return l, false
}

// network is the offset of the IP header.
func network(data []byte, link traffic.LinkType) (int, bool) {
	switch link {
	case traffic.LinkRaw, traffic.LinkIPv4, traffic.LinkIPv6:
		return 0, true
	case traffic.LinkNull, traffic.LinkLoop:
		return 4, len(data) > 4
	case traffic.LinkEthernet:
		return ethernet(data, 12)
	case traffic.LinkSLL:
		return ethernet(data, 14)
	case traffic.LinkSLL2:
		if len(data) < 20 {
			return 0, false
		}
		t := binary.BigEndian.Uint16(data)
		return 20, t == 0x0800 || t == 0x86dd
	}
	return 0, false
}

// ethernet follows VLAN tags from the type field at offset at.
func ethernet(data []byte, at int) (int, bool) {
	for ; at+2 <= len(data); at += 4 {
		switch binary.BigEndian.Uint16(data[at:]) {
		case 0x0800, 0x86dd:
			return at + 2, true
		case 0x8100, 0x88a8, 0x9100:
		default:
			return 0, false
		}
	}
	return 0, false
}

func ipv4(data []byte, l Layers) (Layers, bool) {
	h := data[l.IP:]
	if len(h) < 20 {
		return l, false
	}
	size, total := int(h[0]&15)*4, int(binary.BigEndian.Uint16(h[2:]))
	if size < 20 || size > len(h) {
		return l, false
	}
	if total == 0 || total < size { // segmentation offload leaves 0
		total = len(h)
	}
	l.Version, l.L4, l.End = 4, l.IP+size, l.IP+min(total, len(h))
	l.Complete = total <= len(h)
	l.Proto = int(h[9])
	frag := binary.BigEndian.Uint16(h[6:])
	if frag&0x3fff != 0 { // a fragment: no checksum can be computed from it alone
		l.Complete = false
	}
	if frag&0x1fff != 0 {
		l.Proto = -1
	}
	return transport(data, l), true
}

func ipv6(data []byte, l Layers) (Layers, bool) {
	h := data[l.IP:]
	if len(h) < 40 {
		return l, false
	}
	total := 40 + int(binary.BigEndian.Uint16(h[4:]))
	if total == 40 {
		total = len(h)
	}
	l.Version, l.End, l.Complete = 6, l.IP+min(total, len(h)), total <= len(h)
	next, at := h[6], l.IP+40
	for range 8 { // extension headers, RFC 8200 section 4
		switch next {
		case 0, 43, 60, 135:
			if at+8 > l.End {
				return l, false
			}
			next, at = data[at], at+8+int(data[at+1])*8
			continue
		case 44:
			if at+8 > l.End {
				return l, false
			}
			offset := binary.BigEndian.Uint16(data[at+2:])
			if offset&0xfff9 != 0 {
				l.Complete = false
			}
			if offset&0xfff8 != 0 {
				l.L4, l.Payload = at+8, at+8
				return l, true
			}
			next, at = data[at], at+8
			continue
		case 51:
			if at+8 > l.End {
				return l, false
			}
			next, at = data[at], at+8+int(data[at+1])*4
			continue
		}
		break
	}
	if at > l.End {
		return l, false
	}
	l.Proto, l.L4 = int(next), at
	return transport(data, l), true
}

func transport(data []byte, l Layers) Layers {
	l.Payload = l.L4
	switch l.Proto {
	case 6:
		if l.L4+20 > l.End {
			l.Payload = l.End
		} else {
			l.Payload = min(l.End, l.L4+max(20, int(data[l.L4+12]>>4)*4))
		}
	case 17:
		l.Payload = min(l.End, l.L4+8)
	}
	return l
}

// MaskPacket overwrites the secrets that lie whole within one packet, repairs its checksums and reports whether there
// were any. Secrets that span packets need [Streams].
func (r *Redactor) MaskPacket(data []byte, link traffic.LinkType) bool {
	l, ok := Parse(data, link)
	if !ok {
		return fill(data, r.find(nil, data, 0), 0)
	}
	if l.Proto == 17 && l.L4+4 <= l.End && namePort(data[l.L4:]) {
		return false
	}
	spans := r.find(nil, data[l.Payload:l.End], 0)
	if len(spans) == 0 {
		return false
	}
	old := append([]byte(nil), data[l.Payload:l.End]...)
	fill(data, spans, l.Payload)
	l.repair(data, old)
	return true
}

// namePort reports DNS, multicast DNS and LLMNR: names are not secret.
func namePort(udp []byte) bool {
	for _, p := range [...]uint16{binary.BigEndian.Uint16(udp), binary.BigEndian.Uint16(udp[2:])} {
		if p == 53 || p == 5353 || p == 5355 {
			return true
		}
	}
	return false
}

// Mask is what a masked byte becomes.
const Mask = '*'

func fill(data []byte, spans []span, offset int) bool {
	for _, s := range spans {
		for i := s.from; i < s.to; i++ {
			data[offset+i] = Mask
		}
	}
	return len(spans) > 0
}

// repair writes the checksum that fits the masked payload; old is the payload as it was. A whole packet's checksum is
// computed anew, since a packet captured before the network card filled it in has none yet; a cut one is corrected by
// the difference (RFC 1624).
func (l *Layers) repair(data, old []byte) {
	at := l.L4 + 16
	if l.Proto == 17 {
		at = l.L4 + 6
	}
	if l.Proto != 6 && l.Proto != 17 || at+2 > l.End || l.Payload < at+2 {
		return
	}
	have := binary.BigEndian.Uint16(data[at:])
	if l.Proto == 17 && have == 0 { // sent without one
		return
	}
	var sum uint16
	if l.Complete {
		data[at], data[at+1] = 0, 0
		sum = ^fold(l.pseudo(data) + add(data[l.L4:l.End]))
	} else {
		sum = ^fold(uint64(^have) + uint64(^fold(add(old))) + add(data[l.Payload:l.End]))
	}
	if l.Proto == 17 && sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(data[at:], sum)
	if l.Version == 4 {
		h := data[l.IP:l.L4]
		h[10], h[11] = 0, 0
		binary.BigEndian.PutUint16(h[10:], ^fold(add(h)))
	}
}

// pseudo is the sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1).
func (l *Layers) pseudo(data []byte) uint64 {
	addrs := data[l.IP+12 : l.IP+20]
	if l.Version == 6 {
		addrs = data[l.IP+8 : l.IP+40]
	}
	return add(addrs) + uint64(l.Proto) + uint64(l.End-l.L4)
}

func add(b []byte) (sum uint64) {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint64(b[0])<<8 | uint64(b[1])
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

func fold(sum uint64) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
