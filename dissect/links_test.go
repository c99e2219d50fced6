package dissect_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/traffic"
)

// oneCall dissects packets and wants the one call of "get".
func oneCall(t *testing.T, packets []traffic.Packet) {
	t.Helper()
	var calls []*traffic.Call
	account := feed(dissect.New(dissect.Options{OnCall: func(c *traffic.Call) { calls = append(calls, c) }}), packets, nil)
	if len(calls) != 1 || calls[0].State != traffic.StateComplete || calls[0].HTTP == nil || calls[0].Status != 200 {
		t.Errorf("%d calls %+v, ignored %v, malformed %v", len(calls), calls, account.Ignored, account.Malformed)
	}
}

// TestLinks has the call of "get" on links of other kinds, and inside tunnels over UDP.
func TestLinks(t *testing.T) {
	snap := []byte{0xaa, 0xaa, 3, 0, 0, 0, 8, 0}
	wlan := slices.Concat([]byte{0x88, 2}, make([]byte, 22), []byte{0, 0}, snap) // QoS data
	radiotap := func(flags byte, frame []byte) []byte {
		return slices.Concat([]byte{0, 0, 10, 0, 2, 0, 0, 0, flags, 0}, frame)
	}
	udp := func(port uint16, head []byte) func(ip []byte) []byte {
		return func(ip []byte) []byte { return inIPv4(17, inUDP(port, slices.Concat(head, ip))) }
	}
	before := func(head ...byte) func(ip []byte) []byte {
		return func(ip []byte) []byte { return slices.Concat(head, ip) }
	}
	tests := []struct {
		name string
		link traffic.LinkType
		wrap func(ip []byte) []byte
	}{
		{"PPP", 9, before(0xff, 3, 0, 0x21)},
		{"PPP, compressed", 50, before(0x21)},
		{"PPP with a direction", 204, before(1, 0xff, 3, 0, 0x21)},
		{"PPPoE", 51, func(ip []byte) []byte { return slices.Concat([]byte{0x11, 0, 0, 1, 0, byte(len(ip) + 2), 0, 0x21}, ip) }},
		{"VN-tag", 1, before(append(make([]byte, 12), 0x89, 0x26, 0, 1, 0, 2, 8, 0)...)},
		{"E-tag in a VLAN", 1, before(append(make([]byte, 12), 0x81, 0, 0, 1, 0x89, 0x3f, 0, 1, 0, 2, 0, 3, 8, 0)...)},
		{"Cisco HDLC", 104, before(0x0f, 0, 8, 0)},
		{"frame relay", 107, before(0x18, 0x41, 3, 0xcc)},
		{"MPLS", 219, before(0, 1, 1, 64)},
		{"ATM", 100, before(snap...)},
		{"FDDI", 10, before(append(make([]byte, 13), snap...)...)},
		{"IEEE 802.3", 1, before(append(append(make([]byte, 12), 0, 200), snap...)...)},
		{"IPNET", 226, before(append([]byte{1, 2}, make([]byte, 22)...)...)},
		{"PFLOG", 117, before(append([]byte{61}, make([]byte, 63)...)...)},
		{"802.11", 105, before(wlan...)},
		{"radiotap", 127, before(radiotap(0, wlan)...)},
		{"radiotap, padded", 127, before(radiotap(0x20, slices.Insert(slices.Clone(wlan), 26, 0, 0))...)},
		{"PPI", 192, before(slices.Concat([]byte{0, 0, 8, 0, 105, 0, 0, 0}, wlan)...)},
		{"NFLOG, little endian", 239, func(ip []byte) []byte {
			n := binary.LittleEndian.AppendUint16([]byte{2, 0, 0, 0, 7, 0, 10, 0, 'a', 'b', 0, 0}, uint16(len(ip)+4))
			return slices.Concat(n, []byte{9, 0}, ip)
		}},
		{"NFLOG, big endian", 239, func(ip []byte) []byte {
			n := binary.BigEndian.AppendUint16([]byte{2, 0, 0, 0, 0, 7, 0, 10, 'a', 'b', 0, 0}, uint16(len(ip)+4))
			return slices.Concat(n, []byte{0, 9}, ip)
		}},
		{"GTP-U", traffic.LinkRaw, udp(2152, []byte{0x30, 0xff, 0, 0, 0, 0, 0, 1})},
		{"GTP-U with extensions", traffic.LinkRaw, udp(2152, []byte{0x34, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x85, 1, 0, 0, 0})},
		{"L2TP", traffic.LinkRaw, udp(1701, []byte{0, 2, 0, 1, 0, 1, 0xff, 3, 0, 0x21})},
		{"Teredo", traffic.LinkRaw, func(ip []byte) []byte {
			b := make([]byte, 8+40)
			b[8], b[14] = 0x60, 4
			binary.BigEndian.PutUint16(b[12:], uint16(len(ip)))
			return inIPv4(17, inUDP(3544, append(b, ip...)))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			packets := made("get").packets
			for i := range packets {
				p := &packets[i]
				p.Data, p.Link = test.wrap(p.Data[14:]), test.link
				p.Length = len(p.Data)
			}
			oneCall(t, packets)
			for i := range packets { // none of the headers may be read beyond its end
				for n := range packets[i].Data {
					p := packets[i]
					p.Data = p.Data[:n:n]
					feed(dissect.New(dissect.Options{}), []traffic.Packet{p}, nil)
				}
			}
		})
	}
}

// TestProxies has the call of "get" behind handshakes of SOCKS.
func TestProxies(t *testing.T) {
	type turn struct {
		from int
		data string
	}
	tests := map[string][]turn{
		"4":                 {{0, "\x04\x01\x00\x50\x01\x02\x03\x04me\x00"}, {1, "\x00\x5a\x00\x50\x01\x02\x03\x04"}},
		"4a":                {{0, "\x04\x01\x00\x50\x00\x00\x00\x01\x00shop\x00"}, {1, "\x00\x5a\x00\x50\x01\x02\x03\x04"}},
		"5":                 {{0, "\x05\x01\x00"}, {1, "\x05\x00"}, {0, "\x05\x01\x00\x03\x04shop\x00\x50"}, {1, "\x05\x00\x00\x01\x01\x02\x03\x04\x00\x50"}},
		"5 with a password": {{0, "\x05\x02\x00\x02"}, {1, "\x05\x02"}, {0, "\x01\x02me\x02pw"}, {1, "\x01\x00"}, {0, "\x05\x01\x00\x01\x01\x02\x03\x04\x00\x50"}, {1, "\x05\x00\x00\x01\x01\x02\x03\x04\x00\x50"}},
	}
	for name, turns := range tests {
		for _, size := range []int{1400, 3, 1} {
			t.Run(name, func(t *testing.T) {
				m := newMaker().open()
				for i, x := range turns {
					n := size
					if i == 0 {
						n = max(size, 3) // what ends in its middle is no SOCKS
					}
					if i == 0 && name[0] == '4' {
						n = 1400
					}
					m.send(x.from, x.data, n)
				}
				m.send(0, get, size)
				m.send(1, ok, size)
				oneCall(t, m.close(0).packets)
			})
		}
	}
}

// TestStartTLS finds TLS behind another protocol, and who asks where the connection was opened by the other end.
func TestStartTLS(t *testing.T) {
	hello := "\x16\x03\x01\x00\x33\x01\x00\x00\x2f\x03\x03" + string(make([]byte, 32)) + "\x00\x00\x02\x13\x01\x01\x00\x00\x06\x00\x0a\x00\x02\x00\x00"
	m := newMaker().open()
	m.send(1, "220 mail ESMTP\r\n", 1400)
	m.send(0, "EHLO me\r\n", 1400)
	m.send(1, "250 STARTTLS\r\n", 1400)
	m.send(0, "STARTTLS\r\n", 1400)
	m.send(1, "220 go on\r\n", 1400)
	m.send(0, hello, 1400)
	var calls []*traffic.Call
	feed(dissect.New(dissect.Options{OnCall: func(c *traffic.Call) { calls = append(calls, c) }}), m.close(1).packets, nil)
	if len(calls) != 1 || calls[0].Protocol != traffic.ProtoTLS {
		t.Errorf("calls %+v", calls)
	}
}

func TestReversed(t *testing.T) {
	m := newMaker().open()
	m.send(1, get, 1400)
	m.send(0, ok, 1400)
	var calls []*traffic.Call
	feed(dissect.New(dissect.Options{OnCall: func(c *traffic.Call) { calls = append(calls, c) }}), m.close(0).packets, nil)
	if len(calls) != 1 || calls[0].State != traffic.StateComplete || calls[0].Src.IP != m.server.Addr() || calls[0].Dst.IP != m.client.Addr() {
		t.Errorf("calls %+v", calls)
	}
}
