package dissect

import (
	"encoding/binary"

	"github.com/devloop-io/devloop/traffic"
)

// Link types that only foreign captures have (the LINKTYPE_ registry of tcpdump.org).
const (
	linkPPP         traffic.LinkType = 9
	linkFDDI        traffic.LinkType = 10
	linkPPPSerial   traffic.LinkType = 50
	linkPPPoE       traffic.LinkType = 51
	linkATM         traffic.LinkType = 100 // RFC 1483, LLC
	linkHDLC        traffic.LinkType = 104 // Cisco's
	linkWLAN        traffic.LinkType = 105
	linkFrameRelay  traffic.LinkType = 107
	linkENC         traffic.LinkType = 109 // OpenBSD's IPsec interface
	linkPFLOG       traffic.LinkType = 117
	linkPrism       traffic.LinkType = 119
	linkRadiotap    traffic.LinkType = 127
	linkAVS         traffic.LinkType = 163
	linkPPPD        traffic.LinkType = 166
	linkPPI         traffic.LinkType = 192
	linkPPPWithDir  traffic.LinkType = 204
	linkHDLCWithDir traffic.LinkType = 205
	linkMPLS        traffic.LinkType = 219
	linkIPNET       traffic.LinkType = 226
	linkNFLOG       traffic.LinkType = 239
)

// decodeLink reads the link types beside Ethernet and those of Linux. inner says that b is what another link layer carries.
func decodeLink(link traffic.LinkType, b []byte, wire int, out *datagram, frag *fragment, inner bool) refusal {
	head := 0 // in front of what is read next
	switch link {
	case linkPPP, linkPPPSerial:
		return decodePPP(b, wire, out, frag)
	case linkPPPD, linkPPPWithDir:
		if len(b) > 2 && b[0] < 2 {
			b, wire = b[1:], wire-1
			if link == linkPPPD && b[0] == 3 { // the direction stands in place of the address
				b, wire = b[1:], wire-1
			}
		}
		return decodePPP(b, wire, out, frag)
	case linkPPPoE:
		return decodeEther(etherPPP, b, wire, out, frag)
	case linkHDLC, linkHDLCWithDir:
		if head = 0; link == linkHDLCWithDir {
			head = 1
		}
		if len(b) < head+4 {
			return malformed("hdlc")
		}
		return decodeEther(binary.BigEndian.Uint16(b[head+2:]), b[head+4:], wire-head-4, out, frag)
	case linkMPLS:
		return decodeEther(etherMPLS, b, wire, out, frag)
	case linkATM:
		return decodeLLC(b, wire, out, frag)
	case linkFDDI:
		if head = 13; len(b) < head {
			return malformed("fddi")
		}
		return decodeLLC(b[head:], wire-head, out, frag)
	case linkFrameRelay: // RFC 2427
		switch {
		case len(b) > 4 && b[2] == 3 && (b[3] == 0xcc || b[3] == 0x8e):
			return decodeIP(b[4:], wire-4, out, frag)
		case len(b) > 5 && b[2] == 3 && b[3] == 0 && b[4] == 0x80:
			return decodeSNAP(b[5:], wire-5, out, frag)
		}
		return ignored("frame_relay")
	case linkENC, linkIPNET:
		if head = 12; link == linkIPNET {
			head = 24
		}
		if len(b) < head {
			return malformed("link_header")
		}
		return decodeIP(b[head:], wire-head, out, frag)
	case linkPFLOG:
		if len(b) > 0 {
			head = (int(b[0]) + 3) &^ 3
		}
		if head == 0 || len(b) < head {
			return malformed("pflog")
		}
		return decodeIP(b[head:], wire-head, out, frag)
	case linkNFLOG:
		return decodeNFLOG(b, wire, out, frag)
	case linkWLAN:
		return decodeWLAN(b, wire, false, out, frag)
	case linkRadiotap:
		return decodeRadiotap(b, wire, out, frag)
	case linkPrism, linkAVS:
		if len(b) < 8 {
			return malformed("wlan_header")
		}
		if n := binary.LittleEndian.Uint32(b[4:]); link == linkPrism && binary.BigEndian.Uint32(b) != 0x80211001 {
			head = int(min(n, 1<<16))
		} else { // AVS, which some drivers give the number of Prism
			head = int(min(binary.BigEndian.Uint32(b[4:]), 1<<16))
		}
		if head < 8 || len(b) < head {
			return malformed("wlan_header")
		}
		return decodeWLAN(b[head:], wire-head, false, out, frag)
	case linkPPI:
		if len(b) < 8 || inner {
			return malformed("ppi")
		}
		head = int(binary.LittleEndian.Uint16(b[2:]))
		if head < 8 || len(b) < head {
			return malformed("ppi")
		}
		return decodeLink(traffic.LinkType(binary.LittleEndian.Uint32(b[4:])), b[head:], wire-head, out, frag, true)
	}
	return ignored("link_type")
}

// decodeLLC reads IEEE 802.2, of which only SNAP carries IP.
func decodeLLC(b []byte, wire int, out *datagram, frag *fragment) refusal {
	if len(b) < 3 || b[0] != 0xaa || b[1] != 0xaa || b[2] != 3 {
		return ignored("llc")
	}
	return decodeSNAP(b[3:], wire-3, out, frag)
}

// decodeSNAP reads an organisation and an EtherType (RFC 1042).
func decodeSNAP(b []byte, wire int, out *datagram, frag *fragment) refusal {
	if len(b) < 5 {
		return malformed("llc")
	}
	kind := binary.BigEndian.Uint16(b[3:])
	if kind <= 1500 || b[0]|b[1] != 0 || b[2] != 0 && b[2] != 0xf8 {
		return ignored("llc")
	}
	return decodeEther(kind, b[5:], wire-5, out, frag)
}

// decodeNFLOG finds the payload among the attributes of a log entry. Their lengths are in the byte order of the machine that wrote
// the file, of which nothing tells but whether they add up.
func decodeNFLOG(b []byte, wire int, out *datagram, frag *fragment) refusal {
	if len(b) < 4 {
		return malformed("nflog")
	}
	const payload = 9
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for at := 4; at+4 <= len(b); {
			size, kind := int(order.Uint16(b[at:])), order.Uint16(b[at+2:])
			if size < 4 || kind&0x7fff > 32 {
				break
			}
			if kind&0x7fff == payload {
				return decodeIP(b[at+4:min(at+size, len(b))], min(size-4, wire-at-4), out, frag)
			}
			at += (size + 3) &^ 3
		}
	}
	return malformed("nflog")
}

// decodeRadiotap skips what the radio says (radiotap.org), but for the flags: whether the header of the frame is padded.
func decodeRadiotap(b []byte, wire int, out *datagram, frag *fragment) refusal {
	if len(b) < 8 {
		return malformed("radiotap")
	}
	head := int(binary.LittleEndian.Uint16(b[2:]))
	if head < 8 || len(b) < head {
		return malformed("radiotap")
	}
	present := binary.LittleEndian.Uint32(b[4:])
	at := 8
	for more := present; more&(1<<31) != 0 && at+4 <= head; at += 4 {
		more = binary.LittleEndian.Uint32(b[at:])
	}
	if present&1 != 0 { // a timer, which is aligned
		at = (at+7)&^7 + 8
	}
	padded := present&2 != 0 && at < head && b[at]&0x20 != 0
	return decodeWLAN(b[head:], wire-head, padded, out, frag)
}

// decodeWLAN reads a data frame that is not encrypted (IEEE 802.11-2020 section 9.2).
func decodeWLAN(b []byte, wire int, padded bool, out *datagram, frag *fragment) refusal {
	if len(b) < 24 {
		return ignored("wlan")
	}
	kind, subtype, flags := b[0]>>2&3, b[0]>>4, b[1]
	const data, noData, qos = 2, 4, 8
	switch {
	case b[0]&3 != 0 || kind != data || subtype&noData != 0:
		return ignored("wlan")
	case flags&0x40 != 0:
		return ignored("wlan_encrypted")
	case flags&0x04 != 0 || b[22]&0x0f != 0:
		return ignored("wlan_fragment")
	}
	head := 24
	if flags&3 == 3 { // from one access point to another
		head += 6
	}
	if subtype&qos != 0 {
		if len(b) < head+2 {
			return malformed("wlan")
		}
		if b[head]&0x80 != 0 {
			return ignored("wlan_aggregate")
		}
		head += 2
		if flags&0x80 != 0 { // HT control
			head += 4
		}
	}
	if padded {
		head = (head + 3) &^ 3
	}
	if len(b) < head {
		return malformed("wlan")
	}
	return decodeLLC(b[head:], wire-head, out, frag)
}
