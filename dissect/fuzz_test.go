package dissect_test

import (
	"testing"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/traffic"
)

// FuzzDissector feeds packets cut from the input: whatever comes must not panic. Checkpoints are left
// to the tests that split captures: under fuzzing they cost more than all the rest.
func FuzzDissector(f *testing.F) {
	for name := range scenarios {
		var b []byte
		for _, p := range made(name).packets {
			b = append(b, byte(len(p.Data)>>8), byte(len(p.Data)), byte(p.Direction), byte(p.Link))
			b = append(b, p.Data...)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var packets []traffic.Packet
		for len(b) > 4 && len(packets) < 200 {
			n := min(len(b)-4, int(b[0])<<8|int(b[1]))
			packets = append(packets, traffic.Packet{Time: int64(len(packets)+1) * 1e6, Data: b[4 : 4+n], Length: n + int(b[2]>>4)*50,
				Direction: traffic.Direction(b[2] & 3 % 3), Link: traffic.LinkType(b[3])})
			b = b[4+n:]
		}
		feed(dissect.New(dissect.Options{OnCall: func(*traffic.Call) {}}), packets, nil)
	})
}

// FuzzHTTP sends the input as the two sides of one connection, in segments of a size that the input chooses too.
func FuzzHTTP(f *testing.F) {
	f.Add([]byte(get), []byte(ok), uint8(3))
	f.Add([]byte(post+get), []byte(sse+ok), uint8(200))
	f.Add([]byte("CONNECT a:1 HTTP/1.1\r\n\r\n"), []byte("HTTP/1.1 200 OK\r\n\r\n"+sse), uint8(9))
	f.Add([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"), []byte("\x15\x03\x03\x00\x02\x02\x28"), uint8(4))
	f.Add(append([]byte{0, 27}, question(1)...), append([]byte{0, 43}, answer(1)...), uint8(5))
	f.Fuzz(func(t *testing.T, client, server []byte, size uint8) {
		if len(client)+len(server) > 8000 {
			return
		}
		m := newMaker().open()
		m.send(0, string(client), int(size)+1)
		m.send(1, string(server), int(size)+1)
		m.close(0)
		d := dissect.New(dissect.Options{BodyLimit: 16, MaxBuffered: 64, OnCall: func(*traffic.Call) {}})
		feed(d, m.packets, nil)
	})
}

// FuzzDNS sends datagrams.
func FuzzDNS(f *testing.F) {
	f.Add(question(1), answer(1))
	f.Fuzz(func(t *testing.T, q, a []byte) {
		if len(q)+len(a) > 60000 {
			return
		}
		m := newMaker()
		m.udp(0, q)
		m.udp(1, a)
		feed(dissect.New(dissect.Options{OnCall: func(*traffic.Call) {}}), m.packets, nil)
	})
}
