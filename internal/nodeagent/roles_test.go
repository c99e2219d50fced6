package nodeagent

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

// tcpPacket is a TCP packet with right sums.
func tcpPacket(src, dst netip.AddrPort, payload string) []byte {
	b := make([]byte, 40+len(payload))
	b[0], b[8], b[9], b[32] = 0x45, 64, 6, 5<<4
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	s, d := src.Addr().As4(), dst.Addr().As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	binary.BigEndian.PutUint16(b[20:], src.Port())
	binary.BigEndian.PutUint16(b[22:], dst.Port())
	copy(b[40:], payload)
	binary.BigEndian.PutUint16(b[10:], ^fold(sumOf(b[:20])))
	binary.BigEndian.PutUint16(b[36:], ^fold(tcpSum(b)))
	return b
}

func sumOf(b []byte) (n uint32) {
	for i := 0; i < len(b); i += 2 {
		n += uint32(b[i]) << 8
		if i+1 < len(b) {
			n += uint32(b[i+1])
		}
	}
	return n
}

func tcpSum(b []byte) uint32 { return sumOf(b[12:20]) + 6 + uint32(len(b)-20) + sumOf(b[20:]) }

func fold(n uint32) uint16 {
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}

var (
	own    = netip.MustParseAddrPort("10.244.1.5:40001")
	server = netip.MustParseAddrPort("10.96.7.9:8080")
	pod    = netip.MustParseAddrPort("10.244.1.17:50123")
	far    = netip.MustParseAddrPort("10.244.2.5:1234") // another agent
)

func playing() *roles {
	f := &faults{own: own.Addr()}
	f.pose(own.Port(), server)
	f.leave([]netip.Addr{own.Addr(), far.Addr()})
	return f.roles.Load()
}

func TestRelaysPlayTheServer(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name     string
		src, dst netip.AddrPort
		want     []byte // nil: it is not recorded
	}{
		{"to the relay", pod, own, tcpPacket(pod, server, "GET / odd")},
		{"from the relay", own, pod, tcpPacket(server, pod, "GET / odd")},
		{"the relay to the server", netip.AddrPortFrom(own.Addr(), 55555), server, nil},
		{"the server to another node's relay", server, far, nil},
		{"of others", pod, server, tcpPacket(pod, server, "GET / odd")},
	} {
		raw := tcpPacket(x.src, x.dst, "GET / odd")
		p := traffic.Packet{Link: traffic.LinkRaw, Data: raw}
		var room []byte
		before := bytes.Clone(raw)
		recorded := playing().act(&p, &room)
		switch {
		case recorded != (x.want != nil):
			t.Errorf("%s: recorded is %t", x.name, recorded)
		case recorded && !bytes.Equal(p.Data, x.want):
			t.Errorf("%s:\n got %x\nwant %x", x.name, p.Data, x.want)
		case !bytes.Equal(raw, before):
			t.Errorf("%s: the captured bytes were changed", x.name)
		}
	}
}

func FuzzRoles(f *testing.F) {
	f.Add(tcpPacket(pod, own, "x"))
	f.Add(tcpPacket(own, pod, ""))
	f.Add([]byte{0x4f, 23: 0})
	r := playing()
	f.Fuzz(func(t *testing.T, b []byte) {
		p := traffic.Packet{Link: traffic.LinkRaw, Data: bytes.Clone(b)}
		var room []byte
		if r.act(&p, &room) && len(p.Data) != len(b) {
			t.Errorf("%d bytes became %d", len(b), len(p.Data))
		}
	})
}
