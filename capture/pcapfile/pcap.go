package pcapfile

import "github.com/devloop-io/devloop/traffic"

// beginPcap reads the file header, 24 bytes:
//
//	magic 4 | major 2 | minor 2 | reserved 4 | reserved 4 | snaplen 4 | FCS, link type 4
func (r *Reader) beginPcap(magic uint32) {
	head := r.buf[r.start:]
	link := traffic.LinkType(r.u32(head[20:]))
	r.format, r.next, r.record, r.unit = "pcap", (*Reader).nextRecord, 16, 1000
	switch magic {
	case magicNano:
		r.unit = 1
	case magicModified:
		r.record = 24
	}
	r.ifaces = append(r.ifaces, &iface{Interface: traffic.Interface{Link: link}, snap: r.u32(head[16:])})
	r.take(24)
}

// nextRecord reads one pcap record: seconds 4 | fraction 4 | captured length 4 | original length 4 | data. The modified
// format adds interface index 4 | protocol 2 | packet type 1 | padding 1 before the data.
func (r *Reader) nextRecord(p *traffic.Packet) error {
	if r.end-r.start < r.record && !r.fill(r.record) {
		return r.eof()
	}
	b := r.buf[r.start:r.end]
	size := r.u32(b[8:])
	if size > maxRecord {
		return r.corrupt("a packet claims %d bytes", size)
	}
	n := r.record + int(size)
	if len(b) < n {
		if !r.fill(n) {
			return r.eof()
		}
		b = r.buf[r.start:r.end]
	}
	ifc := r.ifaces[0]
	r.number++
	ifc.Packets++
	*p = traffic.Packet{
		Number: r.number,
		Time:   int64(r.u32(b))*1e9 + int64(r.u32(b[4:]))*r.unit,
		Data:   b[r.record:n:n],
		Length: int(r.u32(b[12:])),
		Link:   ifc.Link,
	}
	if r.record == 24 {
		p.Direction = modifiedDirection(b[22])
	}
	r.take(n)
	return nil
}

// modifiedDirection translates the packet type of linux/if_packet.h: 0 to 3 came in, 4 went out.
func modifiedDirection(kind byte) traffic.Direction {
	if kind == 4 {
		return traffic.DirectionOut
	}
	return traffic.DirectionIn
}
