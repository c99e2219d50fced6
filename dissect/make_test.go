package dissect_test

import (
	"encoding/binary"
	"net/netip"

	"github.com/devloop-io/devloop/traffic"
)

// maker builds captures by hand: one conversation between a client and a server.
type maker struct {
	packets []traffic.Packet
	now     int64
	client  netip.AddrPort
	server  netip.AddrPort
	seq     [2]uint32 // next of client, server
	points  []int     // interfaces: nil is one point on the wire; {0,1} is both ends, headers only at the receiver
}

func newMaker() *maker {
	return &maker{now: 1_700_000_000e9, client: netip.MustParseAddrPort("10.0.0.1:40000"), server: netip.MustParseAddrPort("10.0.0.2:8080"),
		seq: [2]uint32{1000, 0xffffff00}}
}

// tcp makes one segment without changing what comes next.
func (m *maker) tcp(from int, seq, ack uint32, flags byte, data string) traffic.Packet {
	src, dst := m.client, m.server
	if from == 1 {
		src, dst = dst, src
	}
	b := make([]byte, 14+20+20+len(data))
	binary.BigEndian.PutUint16(b[12:], 0x0800)
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(40+len(data)))
	copy(ip[12:], src.Addr().AsSlice())
	copy(ip[16:], dst.Addr().AsSlice())
	t := ip[20:]
	binary.BigEndian.PutUint16(t, src.Port())
	binary.BigEndian.PutUint16(t[2:], dst.Port())
	binary.BigEndian.PutUint32(t[4:], seq)
	binary.BigEndian.PutUint32(t[8:], ack)
	t[12], t[13] = 0x50, flags
	binary.BigEndian.PutUint16(t[14:], 65000)
	copy(t[20:], data)
	m.now += 100_000
	return traffic.Packet{Number: uint64(len(m.packets) + 1), Time: m.now, Data: b, Length: len(b), Link: traffic.LinkEthernet}
}

// add captures a packet at the maker's points.
func (m *maker) add(from int, p traffic.Packet) {
	if m.points == nil {
		m.packets = append(m.packets, p)
		return
	}
	p.Interface, p.Direction, p.Number = from, traffic.DirectionOut, uint64(len(m.packets)+1)
	m.packets = append(m.packets, p)
	m.now += 20_000
	p.Interface, p.Direction, p.Number, p.Time = 1-from, traffic.DirectionIn, p.Number+1, m.now
	p.Data = p.Data[:54] // headers only
	m.packets = append(m.packets, p)
}

// send sends data in segments of at most size bytes; the peer acknowledges each.
func (m *maker) send(from int, data string, size int) {
	for len(data) > 0 {
		n := min(size, len(data))
		m.add(from, m.tcp(from, m.seq[from], m.seq[1-from], 0x18, data[:n]))
		m.seq[from] += uint32(n)
		data = data[n:]
		m.add(1-from, m.tcp(1-from, m.seq[1-from], m.seq[from], 0x10, ""))
	}
}

// lose sends data that the capture lacks.
func (m *maker) lose(from int, n int) { m.seq[from] += uint32(n) }

func (m *maker) flag(from int, flags byte) {
	m.add(from, m.tcp(from, m.seq[from], m.seq[1-from], flags, ""))
	if flags&3 != 0 {
		m.seq[from]++
	}
}

func (m *maker) open() *maker {
	p := m.tcp(0, m.seq[0], 0, 2, "")
	m.add(0, p)
	m.seq[0]++
	m.flag(1, 0x12)
	m.flag(0, 0x10)
	return m
}

func (m *maker) close(first int) *maker {
	m.flag(first, 0x11)
	m.flag(1-first, 0x11)
	m.flag(first, 0x10)
	return m
}

// udp adds a datagram.
func (m *maker) udp(from int, data []byte) {
	src, dst := m.client, m.server
	if from == 1 {
		src, dst = dst, src
	}
	b := make([]byte, 28+len(data))
	b[0], b[8], b[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[12:], src.Addr().AsSlice())
	copy(b[16:], dst.Addr().AsSlice())
	binary.BigEndian.PutUint16(b[20:], src.Port())
	binary.BigEndian.PutUint16(b[22:], dst.Port())
	binary.BigEndian.PutUint16(b[24:], uint16(8+len(data)))
	copy(b[28:], data)
	m.now += 100_000
	m.packets = append(m.packets, traffic.Packet{Number: uint64(len(m.packets) + 1), Time: m.now, Data: b, Length: len(b), Link: traffic.LinkRaw})
}

// workloads are the interfaces of two captured ends.
var workloads = []*traffic.Interface{
	{Index: 0, Name: "local/cart", Link: traffic.LinkEthernet, Workload: &traffic.Workload{Namespace: "local", Service: "cart", Build: "aaa"}},
	{Index: 1, Name: "local/catalogue", Link: traffic.LinkEthernet, Workload: &traffic.Workload{Namespace: "local", Service: "catalogue", Build: "bbb"}},
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
