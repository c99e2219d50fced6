package dissect

import (
	"encoding/binary"

	"github.com/devloop-io/devloop/traffic"
)

// maxTunnels bounds how deep tunnels may lie in each other.
const maxTunnels = 4

// Well-known ports of tunnels over UDP.
const (
	portL2TP   = 1701
	portGTP    = 2152
	portTeredo = 3544
	portVXLAN  = 4789
	portGeneve = 6081
)

// EtherTypes that only tunnels carry.
const (
	etherBridged  = 0x6558 // transparent Ethernet bridging
	etherPPPinGRE = 0x880b
	etherERSPAN   = 0x88be
)

// unwrap replaces a datagram that is a tunnel's by the innermost one. Outer packets are counted as tunnel:<kind>. Whole is
// false when a fragment is still incomplete.
//
//	IP │ UDP 4789 │ VXLAN │ Ethernet │ IP │ TCP
//	└──────── outer ─────┘ └────── inner ──────┘
func (d *Dissector) unwrap(p *traffic.Packet, dg *datagram, f *fragment, r refusal) (_ refusal, tunnels int, whole bool) {
	for {
		if r.kind == "fragment" {
			if !d.reassemble(dg, f, p.Time) {
				return r, tunnels, false
			}
			r = transport(dg.proto, dg)
		}
		if tunnels == maxTunnels || r.malformed {
			return r, tunnels, true
		}
		inner, f2, kind, r2 := openTunnel(dg)
		if kind == "" || r2.malformed && dg.proto == protoUDP { // another use of the port
			return r, tunnels, true
		}
		d.account.Ignored["tunnel:"+kind]++
		*dg, *f, r = inner, f2, r2
		tunnels++
	}
}

// openTunnel finds the datagram inside one; kind is empty when it is no tunnel.
func openTunnel(dg *datagram) (inner datagram, f fragment, kind string, r refusal) {
	switch dg.proto {
	case protoIPIP:
		r = decodeIP(dg.data, dg.wire, &inner, &f)
		return inner, f, "ipip", r
	case protoIPv6:
		r = decodeIP(dg.data, dg.wire, &inner, &f)
		return inner, f, "6in4", r
	case protoGRE:
		r = decodeGRE(dg.data, dg.wire, &inner, &f)
		return inner, f, "gre", r
	case protoUDP:
		if len(dg.data) < 16 {
			return inner, f, "", accepted
		}
		b := dg.data
		if n := teredoHeader(b); n >= 0 {
			r = decodeIP(b[8+n:], dg.wire-8-n, &inner, &f)
			return inner, f, "teredo", r
		}
		switch binary.BigEndian.Uint16(b[2:]) {
		case portGTP:
			if n := gtpHeader(b[8:]); n > 0 {
				r = decodeIP(b[8+n:], dg.wire-8-n, &inner, &f)
				return inner, f, "gtp", r
			}
		case portL2TP:
			if n := l2tpHeader(b[8:]); n > 0 {
				r = decodePPP(b[8+n:], dg.wire-8-n, &inner, &f)
				return inner, f, "l2tp", r
			}
		case portVXLAN:
			if isVXLAN(b[8:]) {
				r = decodeFrame(b[16:], dg.wire-16, &inner, &f)
				return inner, f, "vxlan", r
			}
		case portGeneve:
			if n := geneveHeader(b[8:]); n > 0 {
				r = decodeEther(binary.BigEndian.Uint16(b[10:]), b[8+n:], dg.wire-8-n, &inner, &f)
				if binary.BigEndian.Uint16(b[10:]) == etherBridged {
					r = decodeFrame(b[8+n:], dg.wire-8-n, &inner, &f)
				}
				return inner, f, "geneve", r
			}
		}
	}
	return inner, f, "", accepted
}

// decodeFrame reads an Ethernet frame.
func decodeFrame(b []byte, wire int, out *datagram, frag *fragment) refusal {
	if len(b) < 14 {
		return malformed("ethernet")
	}
	return decodeEther(binary.BigEndian.Uint16(b[12:]), b[14:], wire-14, out, frag)
}

// isVXLAN looks at the header (RFC 7348 section 5, with the bits of its group policy extension).
func isVXLAN(b []byte) bool {
	return b[0]&^0x80 == 0x08 && b[1]&^0x48 == 0 && b[7] == 0
}

// geneveHeader is its length with options (RFC 8926 section 3.4); 0 when it is none.
func geneveHeader(b []byte) int {
	n := 8 + int(b[0]&0x3f)*4
	if b[0]>>6 != 0 || b[1]&0x3f != 0 || b[1]&0x80 != 0 || b[7] != 0 || n > len(b) { // 0x80: a control message
		return 0
	}
	return n
}

// gtpHeader is the length of a G-PDU's header with its options and extensions (3GPP TS 29.281 section 5); 0 when it is none.
func gtpHeader(b []byte) int {
	if b[0]&0xf0 != 0x30 || b[1] != 0xff {
		return 0
	}
	n := 8
	if b[0]&7 == 0 {
		return n
	}
	if n += 4; n > len(b) {
		return 0
	}
	for next := b[n-1]; b[0]&4 != 0 && next != 0; next = b[n-1] {
		if n >= len(b) || b[n] == 0 || n+int(b[n])*4 > len(b) {
			return 0
		}
		n += int(b[n]) * 4
	}
	return n
}

// l2tpHeader is the length of a data message's header (RFC 2661 section 3.1); 0 when it is none.
func l2tpHeader(b []byte) int {
	flags := binary.BigEndian.Uint16(b)
	if flags&0x800f != 2 {
		return 0
	}
	n := 6
	if flags&0x4000 != 0 { // length
		n += 2
	}
	if flags&0x0800 != 0 { // sequence numbers
		n += 4
	}
	if flags&0x0200 != 0 { // offset
		if n+2 > len(b) {
			return 0
		}
		n += 2 + int(binary.BigEndian.Uint16(b[n:]))
	}
	if n >= len(b) {
		return 0
	}
	return n
}

// teredoHeader is the length of what stands between UDP and IPv6 (RFC 4380 section 5.1.1), 0 mostly; -1 when the datagram, given
// with its UDP header, is none of Teredo.
func teredoHeader(b []byte) int {
	if binary.BigEndian.Uint16(b) != portTeredo && binary.BigEndian.Uint16(b[2:]) != portTeredo {
		return -1
	}
	b, n := b[8:], 0
	if b[0] == 0 && b[1] == 1 && len(b) > 4 { // authentication
		n = 13 + int(b[2]) + int(b[3])
	}
	if len(b) > n+8 && b[n] == 0 && b[n+1] == 0 { // origin
		n += 8
	}
	if len(b) < n+40 || b[n]>>4 != 6 || int(binary.BigEndian.Uint16(b[n+4:])) != len(b)-n-40 {
		return -1
	}
	return n
}

// decodeGRE reads versions 0 (RFC 2784, RFC 2890) and 1 (PPTP, RFC 2637).
func decodeGRE(b []byte, wire int, out *datagram, frag *fragment) refusal {
	if len(b) < 4 {
		return malformed("gre")
	}
	flags, kind := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	n := 4
	for _, bit := range []uint16{0x8000, 0x2000, 0x1000} { // checksum, key, sequence
		if flags&bit != 0 {
			n += 4
		}
	}
	if flags&7 == 1 && flags&0x80 != 0 { // version 1 may acknowledge
		n += 4
	}
	if flags&0x4000 != 0 || flags&7 > 1 { // source routes are history
		return ignored("gre")
	}
	if n > len(b) {
		return malformed("gre")
	}
	b, wire = b[n:], wire-n
	switch kind {
	case etherBridged:
		return decodeFrame(b, wire, out, frag)
	case etherERSPAN: // without a sequence number it is of type I, which has no header
		if flags&0x1000 != 0 {
			if len(b) < 8 {
				return malformed("erspan")
			}
			b, wire = b[8:], wire-8
		}
		return decodeFrame(b, wire, out, frag)
	case etherPPPinGRE:
		return decodePPP(b, wire, out, frag)
	case etherIPv4, etherIPv6, etherMPLS:
		return decodeEther(kind, b, wire, out, frag)
	}
	return ignored("gre")
}

// decodePPP reads PPP, with or without its address and control bytes, its protocol number compressed or not (RFC 1661).
func decodePPP(b []byte, wire int, out *datagram, frag *fragment) refusal {
	if len(b) > 2 && b[0] == 0xff && b[1] == 0x03 {
		b, wire = b[2:], wire-2
	}
	switch {
	case len(b) == 0:
		return ignored("ppp") // an acknowledgement alone
	case b[0] == 0x21 || b[0] == 0x57:
		return decodeIP(b[1:], wire-1, out, frag)
	case len(b) > 2 && b[0] == 0 && (b[1] == 0x21 || b[1] == 0x57):
		return decodeIP(b[2:], wire-2, out, frag)
	}
	return ignored("ppp")
}
