package pcapfile

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"net/netip"

	"github.com/devloop-io/devloop/traffic"
)

// Block types, draft-ietf-opsawg-pcapng section 11.1.
const (
	blockSection    = magicSection
	blockInterface  = 1
	blockOldPacket  = 2
	blockSimple     = 3
	blockNames      = 4
	blockStatistics = 5
	blockPacket     = 6
	blockSecrets    = 10
)

// Option codes, sections 3.5, 4.2, 4.3 and 4.6.
const (
	optEnd         = 0
	optComment     = 1
	optCustom      = 2989 // binary, may be copied with the packet
	ifName         = 2
	ifDescription  = 3
	ifTSResolution = 9
	ifTSOffset     = 14
	epbFlags       = 2
	isbReceived    = 4
	isbDropped     = 5
)

// The custom option that carries socket and process. Custom options begin with the writer's Private Enterprise Number;
// devloop has none, so it uses 32473, which RFC 5612 sets aside for documentation, followed by four bytes that no other
// user of that number is likely to write. Readers that do not know it skip it.
const (
	customPEN   = 32473
	customMagic = 0x64766c70 // "dvlp"
	customSize  = 4 + 4 + 8 + 4
)

// nextBlock reads blocks up to the next packet. Every block is: type 4 | length 4 | body | length 4.
func (r *Reader) nextBlock(p *traffic.Packet) error {
	for {
		if r.skip > 0 && !r.passOver() {
			return r.eof()
		}
		if r.end-r.start < 12 && !r.fill(12) {
			return r.eof()
		}
		b := r.buf[r.start:r.end]
		kind := r.u32(b)
		if kind == blockSection { // the same bytes in either order
			switch {
			case binary.LittleEndian.Uint32(b[8:]) == magicOrder:
				r.big = false
			case binary.BigEndian.Uint32(b[8:]) == magicOrder:
				r.big = true
			default:
				return r.corrupt("a section header has the byte-order magic %#x", binary.BigEndian.Uint32(b[8:]))
			}
		}
		length := r.u32(b[4:])
		if length < 12 {
			return r.corrupt("a block of type %#x claims %d bytes", kind, length)
		}
		whole := int64(length+3) &^ 3 // some writers forget the padding in the length
		if whole > maxRecord {
			return r.corrupt("a block of type %#x claims %d bytes", kind, length)
		}
		if !wanted(kind) {
			r.skip = whole
			continue
		}
		n := int(whole)
		if len(b) < n {
			if !r.fill(n) {
				return r.eof()
			}
			b = r.buf[r.start:r.end]
		}
		if tail := r.u32(b[n-4:]); tail != length {
			return r.corrupt("a block of type %#x has length %d at its head and %d at its tail", kind, length, tail)
		}
		found, err := r.block(kind, b[8:n-4:n-4], p)
		if err != nil {
			return err
		}
		r.take(n)
		if found {
			return nil
		}
	}
}

func wanted(kind uint32) bool {
	return kind >= 1 && kind <= 6 || kind == blockSection || kind == blockSecrets
}

// passOver consumes the rest of a block that is not needed without holding it.
func (r *Reader) passOver() bool {
	for r.skip > 0 {
		if r.end == r.start && !r.fill(1) {
			return false
		}
		n := int(min(int64(r.end-r.start), r.skip))
		r.take(n)
		r.skip -= int64(n)
	}
	return true
}

// block reads one block's body and reports whether it was a packet.
func (r *Reader) block(kind uint32, body []byte, p *traffic.Packet) (bool, error) {
	switch kind {
	case blockPacket:
		return true, r.packet(body, p)
	case blockSection:
		r.base = len(r.ifaces)
	case blockInterface:
		return false, r.addInterface(body)
	case blockSimple:
		return true, r.simplePacket(body, p)
	case blockOldPacket:
		return true, r.oldPacket(body, p)
	case blockNames:
		r.addNames(body)
	case blockStatistics:
		r.addStatistics(body)
	case blockSecrets:
		r.addSecrets(body)
	}
	return false, nil
}

// packet reads an Enhanced Packet Block, section 4.3: interface 4 | time high 4 | time low 4 | captured length 4 |
// original length 4 | data, padded | options.
func (r *Reader) packet(body []byte, p *traffic.Packet) error {
	if len(body) < 20 {
		return r.corrupt("an enhanced packet block of %d bytes", len(body))
	}
	return r.fillPacket(p, r.u32(body), body[4:], body[20:])
}

// oldPacket reads the obsolete Packet Block, section A.1, which has two bytes of interface and two of drop count.
func (r *Reader) oldPacket(body []byte, p *traffic.Packet) error {
	if len(body) < 20 {
		return r.corrupt("a packet block of %d bytes", len(body))
	}
	return r.fillPacket(p, uint32(r.u16(body)), body[4:], body[20:])
}

// fillPacket fills p from the fixed fields that both kinds of packet block share and from what follows them.
func (r *Reader) fillPacket(p *traffic.Packet, index uint32, fixed, rest []byte) error {
	if uint64(index) >= uint64(len(r.ifaces)-r.base) {
		return r.corrupt("a packet on interface %d, and %d are described", index, len(r.ifaces)-r.base)
	}
	i := r.base + int(index)
	ifc := r.ifaces[i]
	size := r.u32(fixed[8:])
	if uint64(size) > uint64(len(rest)) {
		return r.corrupt("a packet of %d bytes in a block with %d", size, len(rest))
	}
	r.number++
	ifc.Packets++
	*p = traffic.Packet{
		Number:    r.number,
		Time:      ifc.time(uint64(r.u32(fixed))<<32 | uint64(r.u32(fixed[4:]))),
		Data:      rest[:size:size],
		Length:    int(r.u32(fixed[12:])),
		Interface: i,
		Link:      ifc.Link,
	}
	if options := rest[min(int(size+3)&^3, len(rest)):]; len(options) >= 4 {
		r.packetOptions(p, options)
	}
	return nil
}

func (r *Reader) packetOptions(p *traffic.Packet, options []byte) {
	for {
		code, value, rest, ok := r.option(options)
		if !ok {
			return
		}
		switch {
		case code == epbFlags && len(value) == 4:
			p.Direction = traffic.Direction(r.u32(value) & 3)
			if p.Direction == 3 {
				p.Direction = traffic.DirectionUnknown
			}
		case code == optCustom && len(value) == customSize && r.u32(value) == customPEN && r.u32(value[4:]) == customMagic:
			p.Cookie, p.PID = r.u64(value[8:]), r.u32(value[16:])
		}
		options = rest
	}
}

// simplePacket reads a Simple Packet Block, section 4.4: original length 4 | data. It has no time and belongs to the
// section's first interface.
func (r *Reader) simplePacket(body []byte, p *traffic.Packet) error {
	if len(body) < 4 || len(r.ifaces) <= r.base {
		return r.corrupt("a simple packet block without an interface")
	}
	ifc := r.ifaces[r.base]
	length := r.u32(body)
	size := min(length, uint32(len(body)-4))
	if ifc.snap > 0 {
		size = min(size, ifc.snap)
	}
	r.number++
	ifc.Packets++
	*p = traffic.Packet{Number: r.number, Data: body[4 : 4+size : 4+size], Length: int(length), Interface: r.base, Link: ifc.Link}
	return nil
}

// addInterface reads an Interface Description Block, section 4.2: link type 2 | reserved 2 | snaplen 4 | options.
func (r *Reader) addInterface(body []byte) error {
	if len(body) < 8 {
		return r.corrupt("an interface description block of %d bytes", len(body))
	}
	if len(r.ifaces) >= maxInterfaces {
		return r.corrupt("more than %d interfaces", maxInterfaces)
	}
	ifc := &iface{snap: r.u32(body[4:]), mul: 1000}
	ifc.Index, ifc.Link = len(r.ifaces), traffic.LinkType(r.u16(body))
	for options := body[8:]; ; {
		code, value, rest, ok := r.option(options)
		if !ok {
			break
		}
		switch {
		case code == ifName:
			ifc.Name = text(value)
		case code == ifDescription:
			ifc.describe(value)
		case code == ifTSResolution && len(value) == 1:
			ifc.resolution(value[0])
		case code == ifTSOffset && len(value) == 8:
			ifc.offset = int64(r.u64(value)) * 1e9
		}
		options = rest
	}
	r.ifaces = append(r.ifaces, ifc)
	return nil
}

const (
	maxInterfaces = 1 << 16
	maxNames      = 1 << 16
)

// Description is what [Writer] puts, as JSON, into an interface's description.
type Description struct {
	traffic.Workload
	CGroup uint64 `json:"cgroup,omitempty"`
}

// describe understands the JSON that Writer writes; other descriptions stand in for a missing name.
func (ifc *iface) describe(value []byte) {
	var d Description
	if bytes.HasPrefix(value, []byte("{")) && json.Unmarshal(bytes.TrimRight(value, "\x00"), &d) == nil {
		ifc.CGroup = d.CGroup
		if d.Workload.Name() != "" || d.Kind != "" {
			ifc.Workload = &d.Workload
		}
		return
	}
	if ifc.Name == "" {
		ifc.Name = text(value)
	}
}

// resolution translates if_tsresol: 10^-n seconds, or with the highest bit set 2^-n.
func (ifc *iface) resolution(v byte) {
	ifc.mul, ifc.div, ifc.shift = 0, 0, 0
	switch n := v & 0x7f; {
	case v&0x80 != 0:
		ifc.shift = min(n, 63)
		if n == 0 {
			ifc.mul = 1e9
		}
	case n <= 9:
		ifc.mul = int64(pow10(9 - n))
	case n <= 28:
		ifc.div = pow10(n - 9)
	default:
		ifc.div = 1 << 63
	}
}

func pow10(n byte) uint64 {
	v := uint64(1)
	for range n {
		v *= 10
	}
	return v
}

// time translates a timestamp to Unix nanoseconds.
func (ifc *iface) time(units uint64) int64 {
	switch {
	case ifc.mul != 0:
		return int64(units)*ifc.mul + ifc.offset
	case ifc.div != 0:
		return int64(units/ifc.div) + ifc.offset
	}
	seconds := units >> ifc.shift
	high, low := bits.Mul64(units&(1<<ifc.shift-1), 1e9)
	return int64(seconds)*1e9 + int64(high<<(64-ifc.shift)|low>>ifc.shift) + ifc.offset
}

// addNames reads a Name Resolution Block, section 4.5: records of type 2 | length 2 | address, names ended by zero.
func (r *Reader) addNames(body []byte) {
	for len(body) >= 4 && len(r.names) < maxNames {
		kind, value, rest, ok := r.option(body)
		if !ok {
			return
		}
		size := map[uint16]int{1: 4, 2: 16}[kind]
		if addr, ok := netip.AddrFromSlice(value[:min(size, len(value))]); ok && size > 0 {
			name := Name{Addr: addr}
			for _, s := range bytes.Split(value[size:], []byte{0}) {
				if len(s) > 0 {
					name.Names = append(name.Names, string(s))
				}
			}
			r.names = append(r.names, name)
		}
		body = rest
	}
}

// addStatistics reads an Interface Statistics Block, section 4.6: interface 4 | time 8 | options. Its counts are totals, so
// that a later block replaces an earlier one.
func (r *Reader) addStatistics(body []byte) {
	if len(body) < 12 || uint64(r.u32(body)) >= uint64(len(r.ifaces)-r.base) {
		return
	}
	ifc := r.ifaces[r.base+int(r.u32(body))]
	for options := body[12:]; ; {
		code, value, rest, ok := r.option(options)
		if !ok {
			return
		}
		switch {
		case code == isbDropped && len(value) == 8:
			ifc.Dropped = r.u64(value)
		case code == optComment && bytes.HasPrefix(value, []byte("[")):
			var lost []traffic.FlowLoss
			if json.Unmarshal(value, &lost) == nil {
				ifc.Lost = lost
			}
		}
		options = rest
	}
}

// option splits the first option off: code 2 | length 2 | value, padded to four bytes.
func (r *Reader) option(b []byte) (code uint16, value, rest []byte, ok bool) {
	if len(b) < 4 {
		return 0, nil, nil, false
	}
	code = r.u16(b)
	n := int(r.u16(b[2:]))
	if code == optEnd || 4+n > len(b) {
		return 0, nil, nil, false
	}
	return code, b[4 : 4+n], b[min(4+(n+3)&^3, len(b)):], true
}

// text is a string option; some writers end it with zeros.
func text(b []byte) string { return string(bytes.TrimRight(b, "\x00")) }
