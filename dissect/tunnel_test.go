package dissect_test

import (
	"encoding/binary"
	"testing"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/traffic"
)

// inIPv4 puts an IPv4 header of another address pair before a payload.
func inIPv4(proto byte, payload []byte) []byte {
	b := make([]byte, 20, 20+len(payload))
	b[0], b[8], b[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	copy(b[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	return append(b, payload...)
}

// inUDP puts a UDP header to a port before a payload.
func inUDP(port uint16, payload []byte) []byte {
	b := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(b, 50000)
	binary.BigEndian.PutUint16(b[2:], port)
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(payload)))
	return append(b, payload...)
}

func vxlan(frame []byte) []byte {
	return inIPv4(17, inUDP(4789, append([]byte{8, 0, 0, 0, 0, 0, 42, 0}, frame...)))
}

// wrapped is an HTTP call whose packets are all put into a tunnel; wrap is given the Ethernet frame.
func wrapped(wrap func(frame []byte) []byte) func(m *maker) {
	return func(m *maker) {
		scenarios["get"](m)
		for i := range m.packets {
			p := &m.packets[i]
			p.Data = append(make([]byte, 12, 200), append([]byte{8, 0}, wrap(p.Data)...)...)
			p.Length = len(p.Data)
		}
	}
}

// tunnelScenarios are the call of "get" inside tunnels.
var tunnelScenarios = map[string]func(m *maker){
	"tunnel_ipip": wrapped(func(f []byte) []byte { return inIPv4(4, f[14:]) }),
	"tunnel_6in4": wrapped(func(f []byte) []byte {
		b := make([]byte, 40, 200)
		b[0], b[6], b[7] = 0x60, 6, 64
		binary.BigEndian.PutUint16(b[4:], uint16(len(f)-34))
		b[8], b[23], b[24], b[39] = 0xfd, f[29], 0xfd, f[33]
		return inIPv4(41, append(b, f[34:]...))
	}),
	"tunnel_gre": wrapped(func(f []byte) []byte { return inIPv4(47, append([]byte{0, 0, 8, 0}, f[14:]...)) }),
	"tunnel_gre_options": wrapped(func(f []byte) []byte { // checksum, key, sequence; an Ethernet frame
		return inIPv4(47, append([]byte{0xb0, 0, 0x65, 0x58, 1, 2, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9}, f...))
	}),
	"tunnel_erspan": wrapped(func(f []byte) []byte {
		return inIPv4(47, append([]byte{0x10, 0, 0x88, 0xbe, 0, 0, 0, 9, 0x10, 1, 0, 1, 0, 0, 0, 0}, f...))
	}),
	"tunnel_pptp": wrapped(func(f []byte) []byte {
		return inIPv4(47, append([]byte{0x30, 0x81, 0x88, 0x0b, 0, 9, 0, 1, 0, 0, 0, 5, 0, 0, 0, 4, 0xff, 3, 0, 0x21}, f[14:]...))
	}),
	"tunnel_vxlan": wrapped(vxlan),
	"tunnel_geneve": wrapped(func(f []byte) []byte { // one option of four bytes
		return inIPv4(17, inUDP(6081, append([]byte{2, 0, 0x65, 0x58, 0, 0, 42, 0, 1, 2, 0x80, 1, 0, 0, 0, 0}, f...)))
	}),
	"tunnel_nested": wrapped(func(f []byte) []byte { // three deep
		b := inIPv4(4, inIPv4(4, f[14:]))
		return vxlan(append(append(make([]byte, 12), 8, 0), b...))
	}),
	"tunnel_too_deep": wrapped(func(f []byte) []byte {
		return inIPv4(4, inIPv4(4, inIPv4(4, inIPv4(4, inIPv4(4, f[14:])))))
	}),
	"tunnel_fragmented": wrapped(func(f []byte) []byte { return inIPv4(4, f[14:]) }),
	"tunnel_not": func(m *maker) { // something else on the ports
		m.server = addrPort("10.0.0.2:4789")
		m.udp(0, question(1))
		m.udp(0, []byte("\x08\x00\x00\x00\x00\x00\x01\x00 not a frame at all"))
		m.server = addrPort("10.0.0.2:6081")
		m.udp(0, question(1))
		m.udp(0, []byte{0})
	},
}

func tunnelled(name string) *maker {
	m := newMaker()
	tunnelScenarios[name](m)
	if name == "tunnel_fragmented" {
		m.packets = fragmented(m.packets)
	}
	return m.numbered()
}

// fragmented cuts the outer packets at 40 bytes of their payload.
func fragmented(packets []traffic.Packet) (out []traffic.Packet) {
	for i, p := range packets {
		first, second := p, p
		first.Data = append([]byte{}, p.Data[:34+40]...)
		second.Data = append(append([]byte{}, p.Data[:34]...), p.Data[34+40:]...)
		for k, q := range []*traffic.Packet{&first, &second} {
			if len(q.Data) == 34 {
				continue
			}
			ip := q.Data[14:]
			binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
			binary.BigEndian.PutUint16(ip[4:], uint16(i+1))
			word := uint16(k * 5)
			if k == 0 && len(p.Data) > 34+40 {
				word |= 0x2000
			}
			binary.BigEndian.PutUint16(ip[6:], word)
			q.Length = len(q.Data)
			out = append(out, *q)
		}
	}
	return out
}

// TestTunnels compares what is found inside tunnels with testdata/<scenario>/want.jsonl, whole and split at every packet.
func TestTunnels(t *testing.T) {
	for name := range tunnelScenarios {
		t.Run(name, func(t *testing.T) {
			compareWholeAndSplit(t, name, tunnelled(name))
		})
	}
}

// FuzzTunnel puts the input behind the outer headers of each kind.
func FuzzTunnel(f *testing.F) {
	for name := range tunnelScenarios {
		f.Add(tunnelled(name).packets[0].Data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4000 {
			return
		}
		d := dissect.New(dissect.Options{OnCall: func(*traffic.Call) {}})
		for i, data := range [][]byte{b, inIPv4(4, b), inIPv4(41, b), inIPv4(47, b), inIPv4(17, inUDP(4789, b)), inIPv4(17, inUDP(6081, b))} {
			link := traffic.LinkRaw
			if i == 0 {
				link = traffic.LinkEthernet
			}
			d.Packet(&traffic.Packet{Number: uint64(i + 1), Time: int64(i+1) * 1e6, Data: data, Length: len(data), Link: link}, nil)
		}
		d.EndWindow()
	})
}
