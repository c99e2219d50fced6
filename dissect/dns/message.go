package dns

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// Limits of what is kept of one message. A name is at most 255 bytes on the wire.
const (
	maxRecords = 256
	maxData    = 1024
)

// message is what a call keeps of a DNS message.
type message struct {
	id        uint16
	response  bool
	truncated bool
	opcode    uint8
	rcode     uint16
	counts    [4]uint16
	questions []traffic.DNSRecord
	answers   []traffic.DNSRecord
}

// parse reads a message (RFC 1035 section 4.1). Questions must be whole; answers are read as far as they are.
func parse(b []byte) (m message, ok bool) {
	if len(b) < 12 {
		return m, false
	}
	m.id = binary.BigEndian.Uint16(b)
	m.response, m.opcode, m.truncated = b[2]&0x80 != 0, b[2]>>3&15, b[2]&2 != 0
	m.rcode = uint16(b[3] & 15)
	for i := range m.counts {
		m.counts[i] = binary.BigEndian.Uint16(b[4+2*i:])
	}
	at := 12
	m.questions, m.answers = []traffic.DNSRecord{}, []traffic.DNSRecord{}
	if m.counts[0] > 32 {
		return m, false
	}
	for range m.counts[0] {
		q, next, good := question(b, at)
		if !good {
			return m, false
		}
		m.questions = append(m.questions, q)
		at = next
	}
	for i := 0; i < int(m.counts[1])+int(m.counts[2])+int(m.counts[3]) && i < 4*maxRecords; i++ {
		r, kind, next, good := record(b, at)
		if !good {
			break
		}
		at = next
		switch {
		case kind == typeOPT: // extended rcode (RFC 6891 section 6.1.3)
			m.rcode |= uint16(r.TTL>>24) << 4
		case i < int(m.counts[1]) && len(m.answers) < maxRecords:
			m.answers = append(m.answers, r)
		}
	}
	return m, true
}

// question reads one entry of the question section.
func question(b []byte, at int) (traffic.DNSRecord, int, bool) {
	name, at, ok := readName(b, at)
	if !ok || at+4 > len(b) {
		return traffic.DNSRecord{}, 0, false
	}
	return traffic.DNSRecord{Name: name, Type: typeName(binary.BigEndian.Uint16(b[at:]))}, at + 4, true
}

// record reads one resource record.
func record(b []byte, at int) (r traffic.DNSRecord, kind uint16, next int, ok bool) {
	name, at, ok := readName(b, at)
	if !ok || at+10 > len(b) {
		return r, 0, 0, false
	}
	kind = binary.BigEndian.Uint16(b[at:])
	r.Name, r.Type, r.TTL = name, typeName(kind), binary.BigEndian.Uint32(b[at+4:])
	size := int(binary.BigEndian.Uint16(b[at+8:]))
	at += 10
	if at+size > len(b) {
		return r, kind, 0, false
	}
	r.Data = data(b, at, size, kind)
	return r, kind, at + size, true
}

// data is a record's content as zone files write it.
func data(b []byte, at, size int, kind uint16) string {
	d := b[at : at+size]
	switch kind {
	case typeA, typeAAAA:
		if a, ok := netip.AddrFromSlice(d); ok {
			return a.String()
		}
	case typeNS, typeCNAME, typePTR, typeDNAME:
		name, _, _ := readName(b[:at+size], at)
		return name
	case typeMX:
		if size > 2 {
			name, _, _ := readName(b[:at+size], at+2)
			return strconv.Itoa(int(binary.BigEndian.Uint16(d))) + " " + name
		}
	case typeSRV:
		if size > 6 {
			name, _, _ := readName(b[:at+size], at+6)
			n := func(i int) string { return strconv.Itoa(int(binary.BigEndian.Uint16(d[i:]))) }
			return n(0) + " " + n(2) + " " + n(4) + " " + name
		}
	case typeSOA:
		if m, next, ok := readName(b[:at+size], at); ok {
			r, _, _ := readName(b[:at+size], next)
			return m + " " + r
		}
	case typeTXT:
		var parts []string
		for len(d) > 0 && int(d[0]) < len(d) && len(parts) < 16 {
			parts = append(parts, strconv.Quote(string(d[1:1+d[0]])))
			d = d[1+d[0]:]
		}
		text := strings.Join(parts, " ")
		return text[:min(len(text), maxData)]
	}
	return hex.EncodeToString(d[:min(len(d), 64)])
}

// readName reads a name that may be compressed (RFC 1035 section 4.1.4). Pointers should go backwards,
// and some do not: their number is bounded.
func readName(b []byte, at int) (name string, next int, ok bool) {
	var out [255]byte
	n, hops := 0, 0
	for {
		if at >= len(b) {
			return "", 0, false
		}
		size := int(b[at])
		switch {
		case size == 0:
			if next == 0 {
				next = at + 1
			}
			return string(out[:n]), next, true
		case size >= 0xc0:
			if at+1 >= len(b) {
				return "", 0, false
			}
			if next == 0 {
				next = at + 2
			}
			at = (size&0x3f)<<8 | int(b[at+1])
			if hops++; hops > 32 {
				return "", 0, false
			}
		case size > 63 || at+1+size > len(b) || n+size+1 > len(out):
			return "", 0, false
		default:
			if n > 0 {
				out[n] = '.'
				n++
			}
			n += copy(out[n:], b[at+1:at+1+size])
			at += 1 + size
		}
	}
}

// Record types that are looked into.
const (
	typeA, typeNS, typeCNAME, typeSOA, typePTR, typeMX, typeTXT = 1, 2, 5, 6, 12, 15, 16
	typeAAAA, typeSRV, typeDNAME, typeOPT                       = 28, 33, 39, 41
)

// types are the names of record types (IANA).
var types = map[uint16]string{1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 10: "NULL", 12: "PTR", 13: "HINFO", 14: "MINFO", 15: "MX",
	16: "TXT", 17: "RP", 18: "AFSDB", 24: "SIG", 25: "KEY", 28: "AAAA", 29: "LOC", 33: "SRV", 35: "NAPTR", 37: "CERT", 39: "DNAME",
	41: "OPT", 43: "DS", 44: "SSHFP", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 50: "NSEC3", 51: "NSEC3PARAM", 52: "TLSA", 64: "SVCB",
	65: "HTTPS", 99: "SPF", 249: "TKEY", 250: "TSIG", 251: "IXFR", 252: "AXFR", 255: "ANY", 256: "URI", 257: "CAA"}

func typeName(t uint16) string {
	if name, ok := types[t]; ok {
		return name
	}
	return strconv.Itoa(int(t))
}

var rcodes = []string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
	"NOTAUTH", "NOTZONE", "DSOTYPENI", "12", "13", "14", "15", "BADVERS", "BADKEY", "BADTIME", "BADMODE", "BADNAME", "BADALG",
	"BADTRUNC", "BADCOOKIE"}

func rcodeName(r uint16) string {
	if int(r) < len(rcodes) {
		return rcodes[r]
	}
	return strconv.Itoa(int(r))
}
