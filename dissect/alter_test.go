package dissect_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"github.com/devloop-io/devloop/traffic"
)

// alteration is a way in which another capture of the same traffic, or one that was edited, differs. What change returns may share packets
// with what it was given, but not bytes that it has changed. next is another capture.
type alteration struct {
	what   string
	change func(r *rand.Rand, all, next []traffic.Packet) []traffic.Packet
}

// alterations leave what they do not understand as it is: link types without a place for a tag, packets without an IP header.
var alterations = []alteration{
	{"as it is", func(_ *rand.Rand, all, _ []traffic.Packet) []traffic.Packet { return all }},
	{"every 11th packet lost", loseSome},
	{"every 7th packet twice", repeatSome},
	{"every 9th packet late by one", swapEach(9)},
	{"every 3rd packet late by one", swapEach(3)},
	{"lost, twice and late at random", shuffled},
	{"times of whole seconds", each(whole)},
	{"begins in the middle", func(_ *rand.Rand, all, _ []traffic.Packet) []traffic.Packet { return all[len(all)/4:] }},
	{"one way only", oneWay},
	{"96 bytes of each packet", each(cutTo(96))},
	{"256 bytes of each packet", each(cutTo(256))},
	{"segments in two", each(splitSegment)},
	{"other addresses and client ports", each(renumber(32768))},
	{"other addresses and ports", each(renumber(0))},
	{"two captures at once", atOnce},
	{"fragments of IPv4", each(fragmentIPv4)},
	{"IPv6 for IPv4", each(asIPv6)},
	{"4 bytes behind each frame", each(trailer)},
	{"802.1Q tags", each(tag)},
	{"in VXLAN", each(inVXLAN)},
}

func loseSome(r *rand.Rand, all, _ []traffic.Packet) (out []traffic.Packet) {
	at := r.IntN(11)
	for i, p := range all {
		if i%11 != at {
			out = append(out, p)
		}
	}
	return out
}

func repeatSome(r *rand.Rand, all, _ []traffic.Packet) (out []traffic.Packet) {
	at := r.IntN(7)
	for i, p := range all {
		out = append(out, p)
		if i%7 == at {
			out = append(out, p)
		}
	}
	return out
}

// swapEach exchanges what was captured; the times stay in order. SYNs stay where they are: tshark does not count one that was captured after
// its SYN-ACK (testdata/known_tcp.txt).
func swapEach(n int) func(*rand.Rand, []traffic.Packet, []traffic.Packet) []traffic.Packet {
	return func(r *rand.Rand, all, _ []traffic.Packet) []traffic.Packet {
		out := slices.Clone(all)
		for i := 1 + r.IntN(n-1); i < len(out); i += n {
			a, b := &out[i-1], &out[i]
			if opens(a) || opens(b) {
				continue
			}
			*a, *b = *b, *a
			a.Time, b.Time = b.Time, a.Time
		}
		return out
	}
}

// shuffled loses 3 of 100 packets, has 2 twice, and 5 up to three places later.
func shuffled(r *rand.Rand, all, _ []traffic.Packet) (out []traffic.Packet) {
	for _, p := range all {
		switch n := r.IntN(100); {
		case n < 3 && !opens(&p):
		case n < 5:
			out = append(out, p, p)
		default:
			out = append(out, p)
		}
	}
	for i := range len(out) - 3 {
		if j := i + 1 + r.IntN(3); r.IntN(100) < 5 && !slices.ContainsFunc(out[i:j+1], func(p traffic.Packet) bool { return opens(&p) }) {
			out[i], out[j] = out[j], out[i]
			out[i].Time, out[j].Time = out[j].Time, out[i].Time
		}
	}
	return out
}

// oneWay keeps what was sent by the higher address or, of one host, from the higher port.
func oneWay(_ *rand.Rand, all, _ []traffic.Packet) (out []traffic.Packet) {
	for _, p := range all {
		h, ok := ipv4(&p)
		if ok {
			ports := h[int(h[0]&15)*4:]
			ok = bytes.Compare(h[12:16], h[16:20]) < 0 || bytes.Equal(h[12:16], h[16:20]) && len(ports) > 3 && bytes.Compare(ports[:2], ports[2:4]) < 0
		}
		if !ok {
			out = append(out, p)
		}
	}
	return out
}

// atOnce merges two captures as if they had begun at the same time.
func atOnce(_ *rand.Rand, all, next []traffic.Packet) []traffic.Packet {
	if len(all) == 0 || len(next) == 0 {
		return all
	}
	out, shift := slices.Clone(all), all[0].Time-next[0].Time
	for _, p := range next {
		p.Time += shift
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b traffic.Packet) int { return int(min(max(a.Time-b.Time, -1), 1)) })
	return out
}

// each makes an alteration of what becomes of a single packet, which is the change's own.
func each(change func(p traffic.Packet, n int) []traffic.Packet) func(*rand.Rand, []traffic.Packet, []traffic.Packet) []traffic.Packet {
	return func(_ *rand.Rand, all, _ []traffic.Packet) (out []traffic.Packet) {
		for i, p := range all {
			p.Data = slices.Clone(p.Data)
			out = append(out, change(p, i)...)
		}
		return out
	}
}

func whole(p traffic.Packet, _ int) []traffic.Packet {
	p.Time -= p.Time % 1e9
	return []traffic.Packet{p}
}

func cutTo(n int) func(traffic.Packet, int) []traffic.Packet {
	return func(p traffic.Packet, _ int) []traffic.Packet {
		p.Length = max(p.Length, len(p.Data))
		p.Data = p.Data[:min(n, len(p.Data))]
		return []traffic.Packet{p}
	}
}

// networkAt is where a packet's network header begins; -1 when that is not known.
func networkAt(p *traffic.Packet) int {
	at := -1
	switch p.Link {
	case traffic.LinkEthernet:
		if at = 14; len(p.Data) > 18 && binary.BigEndian.Uint16(p.Data[12:]) == 0x8100 {
			at = 18
		}
		if len(p.Data) < at || binary.BigEndian.Uint16(p.Data[at-2:]) != 0x0800 && binary.BigEndian.Uint16(p.Data[at-2:]) != 0x86dd {
			return -1
		}
	case traffic.LinkRaw, traffic.LinkIPv4, traffic.LinkIPv6:
		at = 0
	case traffic.LinkNull, traffic.LinkLoop:
		at = 4
	case traffic.LinkSLL:
		at = 16
	}
	return at
}

// ipv4 is a packet from its IPv4 header to the end of its payload, where both are whole and this is no fragment.
func ipv4(p *traffic.Packet) (h []byte, ok bool) {
	at := networkAt(p)
	if at < 0 || len(p.Data) < at+20 || p.Data[at]>>4 != 4 {
		return nil, false
	}
	h = p.Data[at:]
	size, head := int(binary.BigEndian.Uint16(h[2:])), int(h[0]&15)*4
	if head < 20 || size < head || size > len(h) || binary.BigEndian.Uint16(h[6:])&0x3fff != 0 {
		return nil, false
	}
	return h[:size], true
}

// opens reports whether a packet has a SYN.
func opens(p *traffic.Packet) bool {
	at := networkAt(p)
	if at < 0 || len(p.Data) < at+40 {
		return false
	}
	head, proto := 40, p.Data[at+6]
	if p.Data[at]>>4 == 4 {
		head, proto = int(p.Data[at]&15)*4, p.Data[at+9]
	}
	return proto == 6 && len(p.Data) > at+head+13 && p.Data[at+head+13]&2 != 0
}

// splitSegment makes two of a TCP segment with data.
func splitSegment(p traffic.Packet, _ int) []traffic.Packet {
	h, ok := ipv4(&p)
	if !ok || h[9] != 6 {
		return []traffic.Packet{p}
	}
	ip := int(h[0]&15) * 4
	if len(h) < ip+20 {
		return []traffic.Packet{p}
	}
	tcp := int(h[ip+12]>>4) * 4
	n := len(h) - ip - tcp
	if tcp < 20 || n < 2 || h[ip+13]&2 != 0 { // no SYN
		return []traffic.Packet{p}
	}
	at := networkAt(&p)
	first := withPayload(p, at, ip+tcp, h[ip+tcp:ip+tcp+n/2])
	second := withPayload(p, at, ip+tcp, h[ip+tcp+n/2:])
	first.Data[at+ip+13] &^= 1 // FIN
	seq := second.Data[at+ip+4:]
	binary.BigEndian.PutUint32(seq, binary.BigEndian.Uint32(seq)+uint32(n/2))
	return []traffic.Packet{first, second}
}

// withPayload is an IPv4 packet with other bytes behind its first so many.
func withPayload(p traffic.Packet, at, head int, payload []byte) traffic.Packet {
	p.Data = append(slices.Clone(p.Data[:at+head]), payload...)
	p.Length = len(p.Data)
	binary.BigEndian.PutUint16(p.Data[at+2:], uint16(head+len(payload)))
	return p
}

// renumber gives hosts other addresses, and others to ports from one on.
func renumber(from uint16) func(traffic.Packet, int) []traffic.Packet {
	return func(p traffic.Packet, _ int) []traffic.Packet {
		h, ok := ipv4(&p)
		if !ok || h[16] >= 224 {
			return []traffic.Packet{p}
		}
		for i := 12; i < 20; i += 4 {
			h[i+1] ^= 0x11
			h[i+3] ^= 0x2a
		}
		if ip := int(h[0]&15) * 4; (h[9] == 6 || h[9] == 17) && len(h) >= ip+8 {
			for _, port := range [][]byte{h[ip : ip+2], h[ip+2 : ip+4]} {
				if n := binary.BigEndian.Uint16(port); n >= from && n != 137 { // NetBIOS names elsewhere are DNS, to tshark
					binary.BigEndian.PutUint16(port, n^0x1111)
				}
			}
		}
		return []traffic.Packet{p}
	}
}

// fragmentIPv4 makes two of a packet, of which every fifth time the second one comes first.
func fragmentIPv4(p traffic.Packet, n int) []traffic.Packet {
	h, ok := ipv4(&p)
	ip := 0
	if ok {
		ip = int(h[0]&15) * 4
	}
	half := (len(h) - ip) / 2 &^ 7
	if half < 8 {
		return []traffic.Packet{p}
	}
	at := networkAt(&p)
	first := withPayload(p, at, ip, h[ip:ip+half])
	second := withPayload(p, at, ip, h[ip+half:])
	for i, q := range []traffic.Packet{first, second} {
		binary.BigEndian.PutUint16(q.Data[at+4:], uint16(n)) // many senders leave it 0 where they forbid fragments
		word := uint16(0x2000)
		if i == 1 {
			word = uint16(half / 8)
		}
		binary.BigEndian.PutUint16(q.Data[at+6:], word)
	}
	if n%5 == 0 {
		return []traffic.Packet{second, first}
	}
	return []traffic.Packet{first, second}
}

// asIPv6 gives a packet the header of the other version.
func asIPv6(p traffic.Packet, _ int) []traffic.Packet {
	h, ok := ipv4(&p)
	at := networkAt(&p)
	if !ok || h[9] == 1 || p.Link != traffic.LinkEthernet && p.Link != traffic.LinkRaw {
		return []traffic.Packet{p}
	}
	prefix, payload := []byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0}, h[int(h[0]&15)*4:]
	b := binary.BigEndian.AppendUint16(append(slices.Clone(p.Data[:at]), 0x60, 0, 0, 0), uint16(len(payload)))
	b = append(b, h[9], h[8])
	b = append(append(b, prefix...), h[12:16]...)
	b = append(append(b, prefix...), h[16:20]...)
	if p.Data = append(b, payload...); p.Link == traffic.LinkEthernet {
		binary.BigEndian.PutUint16(p.Data[at-2:], 0x86dd)
	}
	p.Length = len(p.Data)
	return []traffic.Packet{p}
}

// trailer adds what some switches and the frame check sequence leave behind a frame.
func trailer(p traffic.Packet, _ int) []traffic.Packet {
	if p.Link == traffic.LinkEthernet && p.Length <= len(p.Data) {
		p.Data = append(p.Data, 0xde, 0xad, 0xbe, 0xef)
		p.Length = len(p.Data)
	}
	return []traffic.Packet{p}
}

func tag(p traffic.Packet, _ int) []traffic.Packet {
	if p.Link == traffic.LinkEthernet && len(p.Data) >= 14 {
		p.Data = slices.Insert(p.Data, 12, 0x81, 0, 0, 7)
		p.Length = max(p.Length+4, len(p.Data))
	}
	return []traffic.Packet{p}
}

// inVXLAN puts an Ethernet frame between two hosts' packets (RFC 7348).
func inVXLAN(p traffic.Packet, n int) []traffic.Packet {
	if p.Link != traffic.LinkEthernet {
		return []traffic.Packet{p}
	}
	wire := max(p.Length, len(p.Data))
	outer := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, // Ethernet
		0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, // IPv4
		0xc0, byte(n % 16), 0x12, 0xb5, 0, 0, 0, 0, // UDP, port 4789
		8, 0, 0, 0, 0, 0, 42, 0} // VXLAN, network 42
	binary.BigEndian.PutUint16(outer[16:], uint16(36+wire))
	binary.BigEndian.PutUint16(outer[38:], uint16(16+wire))
	p.Data, p.Length = append(outer, p.Data...), 50+wire
	return []traffic.Packet{p}
}
