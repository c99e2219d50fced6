package dissect_test

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/traffic"
)

const (
	wsGet   = "GET /feed?x=1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nDevloop-Iteration: i12\r\n\r\n"
	wsReply = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"
)

// wsFrame makes a frame of the server, or of the client, which masks it. First is FIN, RSV and opcode.
func wsFrame(from int, first byte, payload string) string {
	b := []byte{first}
	mask := byte(0)
	if from == 0 {
		mask = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	if from == 1 {
		return string(append(b, payload...))
	}
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b = append(b, key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i&3])
	}
	return string(b)
}

// wsDeflater compresses messages as permessage-deflate does, each with the window of those before.
type wsDeflater struct {
	out bytes.Buffer
	w   *flate.Writer
}

func newWSDeflater() *wsDeflater {
	d := &wsDeflater{}
	d.w, _ = flate.NewWriter(&d.out, 9)
	return d
}

func (d *wsDeflater) pack(s string) string {
	d.out.Reset()
	d.w.Write([]byte(s))
	d.w.Flush()
	return strings.TrimSuffix(d.out.String(), "\x00\x00\xff\xff")
}

// noise is text that does not compress.
func noise(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.IntN(256))
	}
	return string(b)
}

func upgradeTo(m *maker, extensions string) {
	m.open()
	m.send(0, wsGet, 1400)
	if extensions != "" {
		extensions = "Sec-WebSocket-Extensions: " + extensions + "\r\n"
	}
	m.send(1, wsReply+extensions+"\r\n", 1400)
}

// websocketScenarios are captures made by hand, as scenarios.
var websocketScenarios = map[string]func(m *maker){
	"ws_messages": func(m *maker) {
		upgradeTo(m, "")
		m.send(0, wsFrame(0, 0x81, `{"subscribe":"orders"}`)+wsFrame(0, 0x82, "\x00\x01\xff"), 1400)
		m.send(1, wsFrame(1, 0x81, "hello")+wsFrame(1, 0x81, ""), 1400)
		m.send(1, wsFrame(1, 0x81, strings.Repeat("medium ", 40)), 1400)
		m.send(0, wsFrame(0, 0x88, "\x03\xe8bye"), 1400)
		m.send(1, wsFrame(1, 0x88, "\x03\xe8"), 1400)
		m.close(1)
	},
	"ws_fragments": func(m *maker) { // with control frames between
		upgradeTo(m, "")
		m.send(0, wsFrame(0, 0x01, "one ")+wsFrame(0, 0x89, "are you there")+wsFrame(0, 0x00, "two ")+wsFrame(0, 0x80, "three"), 9)
		m.send(1, wsFrame(1, 0x02, "")+wsFrame(1, 0x8a, "are you there")+wsFrame(1, 0x80, "end"), 3)
		m.send(1, wsFrame(1, 0x88, ""), 1400)
		m.close(1)
	},
	"ws_with_upgrade": func(m *maker) { // the first message is in the packet of the answer
		m.open()
		m.send(0, wsGet, 1400)
		m.send(1, wsReply+"\r\n"+wsFrame(1, 0x81, "early"), 1400)
		m.send(0, wsFrame(0, 0x81, "GET / HTTP/1.1\r\n\r\n"), 1400)
		m.close(0)
	},
	"ws_large": func(m *maker) {
		upgradeTo(m, "")
		m.send(1, wsFrame(1, 0x82, strings.Repeat("x", 70_000)), 30_000)
		m.send(0, wsFrame(0, 0x81, "ok"), 1400)
		m.close(0)
	},
	"ws_deflate": func(m *maker) { // context takeover both ways
		upgradeTo(m, "permessage-deflate")
		client, server := newWSDeflater(), newWSDeflater()
		for range 3 {
			m.send(0, wsFrame(0, 0xc1, client.pack("the same request again")), 7)
			a := server.pack("the same answer again")
			m.send(1, wsFrame(1, 0x41, a[:len(a)/2])+wsFrame(1, 0x80, a[len(a)/2:]), 5)
		}
		m.send(1, wsFrame(1, 0x81, "plain"), 1400)
		m.send(1, wsFrame(1, 0xc2, server.pack(strings.Repeat("0123456789", 4_000))), 1400)
		m.send(1, wsFrame(1, 0xc1, server.pack("and the same answer again")), 1400)
		m.close(0)
	},
	"ws_deflate_fresh": func(m *maker) { // a lost message does not matter to the next
		upgradeTo(m, "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=12")
		m.send(0, wsFrame(0, 0xc1, newWSDeflater().pack("request request request")), 1400)
		m.lose(1, len(wsFrame(1, 0xc1, newWSDeflater().pack("lost"))))
		m.send(1, wsFrame(1, 0xc1, newWSDeflater().pack("answer answer answer")), 1400)
		m.send(0, wsFrame(0, 0xc1, "\xff\xff\xff"), 1400)
		m.send(0, wsFrame(0, 0xc1, newWSDeflater().pack("after nonsense")), 1400)
		m.close(0)
	},
	"ws_deflate_gap": func(m *maker) { // a lost message does
		upgradeTo(m, "permessage-deflate")
		server := newWSDeflater()
		m.send(1, wsFrame(1, 0xc1, server.pack("answer number one")), 1400)
		m.lose(1, len(wsFrame(1, 0xc1, server.pack("answer number two"))))
		m.send(0, wsFrame(0, 0x81, "not compressed"), 1400)
		m.send(1, wsFrame(1, 0xc1, server.pack("answer number three")), 1400)
		m.send(1, wsFrame(1, 0x81, "plain again"), 1400)
		m.close(0)
	},
	"ws_gap_in_payload": func(m *maker) {
		upgradeTo(m, "")
		f := wsFrame(1, 0x81, strings.Repeat("abcdefghij", 300))
		m.send(1, f[:1000], 1400)
		m.lose(1, 1000)
		m.send(1, f[2000:]+wsFrame(1, 0x81, "next"), 1400)
		m.now += 1e7
		m.send(0, wsFrame(0, 0x81, "more"), 1400)
		m.send(1, wsFrame(1, 0x81, "end"), 1400)
		m.close(0)
	},
	"ws_gap_over_header": func(m *maker) {
		upgradeTo(m, "")
		f := wsFrame(0, 0x81, strings.Repeat("abcdefghij", 100))
		m.send(0, wsFrame(0, 0x01, "begun ")+f[:500], 1400) // an opcode within a message, too
		m.send(0, wsFrame(0, 0x81, "found again"), 1400)
		m.lose(0, 700)
		m.send(0, strings.Repeat("z", 100), 1400)
		m.send(0, wsFrame(0, 0x81, "found twice"), 1400)
		m.send(1, wsFrame(1, 0x81, "hello"), 1400)
		m.close(0)
	},
	"ws_cut_short": func(m *maker) {
		upgradeTo(m, "")
		f := wsFrame(1, 0x81, "never finished")
		m.send(1, f[:9], 1400)
		m.send(0, wsFrame(0, 0x01, "no last fragment"), 1400)
		m.flag(1, 0x14)
	},
	"ws_malformed": func(m *maker) {
		upgradeTo(m, "")
		m.send(0, wsFrame(1, 0x81, "not masked"), 1400)
		m.send(0, wsFrame(0, 0x81, "masked"), 1400)
		m.send(1, wsFrame(1, 0x83, "no such opcode"), 1400)
		m.send(1, wsFrame(1, 0x81, "fine"), 1400)
		m.send(1, wsFrame(1, 0x88, "\x03\xf3broken")+"more", 1400)
		m.close(1)
	},
	"ws_two_points": func(m *maker) {
		m.points = []int{0, 1}
		upgradeTo(m, "")
		m.send(0, wsFrame(0, 0x81, "question"), 1400)
		m.send(1, wsFrame(1, 0x81, "answer"), 6)
		m.close(0)
	},
	"ws_http2": func(m *maker) { // RFC 8441: two of them and a call on one connection; frames of the one end where they like in those of the other
		c, s := begin2(m)
		socket2(m, c, s, 1, "200", "permessage-deflate; client_no_context_takeover")
		socket2(m, c, s, 3, "200", "")
		socket2(m, c, s, 5, "403", "")
		c.get(7, "/plain")
		d := newWSDeflater()
		one := wsFrame(0, 0x81, "one") + wsFrame(0, 0xc1, d.pack("packed and more"))
		for i := range len(one) {
			c.framer.WriteDataPadded(1, false, []byte(one[i:i+1]), make([]byte, i%3))
		}
		c.framer.WriteData(3, false, []byte(wsFrame(0, 0x82, "\x00\x01")))
		m.send(0, c.take(), 17)
		s.framer.WriteData(1, false, []byte(wsFrame(1, 0x01, "in ")+wsFrame(1, 0x80, "two")))
		s.answer(7, "done")
		s.framer.WriteData(3, false, []byte(wsFrame(1, 0x81, "three")+wsFrame(1, 0x81, "cut off")[:5]))
		m.send(1, s.take(), 50)
		c.framer.WriteData(1, true, []byte(wsFrame(0, 0x88, "\x03\xe8bye")))
		c.framer.WriteRSTStream(3, http2.ErrCodeCancel)
		m.send(0, c.take(), 1400)
		s.framer.WriteData(1, true, []byte(wsFrame(1, 0x88, "\x03\xe8")))
		s.framer.WriteData(3, false, []byte("crossed the reset"))
		m.send(1, s.take(), 1400)
		m.close(0)
	},
	"ws_http2_gap": func(m *maker) { // one within DATA, then one over its header
		c, s := begin2(m)
		socket2(m, c, s, 1, "200", "")
		s.framer.WriteData(1, false, []byte(wsFrame(1, 0x81, strings.Repeat("abcdefghij", 100))))
		f := s.take()
		m.send(1, f[:300], 1400)
		m.lose(1, 300)
		m.send(1, f[600:], 1400)
		s.framer.WriteData(1, false, []byte(wsFrame(1, 0x81, "whole")))
		m.send(1, s.take(), 1400)
		s.framer.WriteData(1, false, []byte(wsFrame(1, 0x81, strings.Repeat("x", 50))))
		m.lose(1, len(s.take()))
		m.now += 1e9
		for range 3 {
			s.framer.WriteData(1, false, []byte(wsFrame(1, 0x81, "after the hole")))
			m.send(1, s.take(), 1400)
		}
		m.close(1)
	},
	"ws_joined_late": func(m *maker) { // texts that the client masks are known without the upgrade
		m.send(1, wsFrame(1, 0x81, `{"tick":1}`), 1400)
		m.send(0, wsFrame(0, 0x81, `{"subscribe":"orders"}`)+wsFrame(0, 0x89, ""), 1400)
		m.send(1, wsFrame(1, 0x8a, "")+wsFrame(1, 0x81, `{"tick":2}`), 1400)
		m.send(1, wsFrame(1, 0xc1, newWSDeflater().pack("the window is not known")), 1400)
		m.send(0, wsFrame(0, 0x81, "more"), 1400)
		m.close(0)
	},
}

// socket2 asks for WebSocket on a stream of HTTP/2.
func socket2(m *maker, c, s *peer, id uint32, status, extensions string) {
	c.headers(id, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/feed?x=1", ":authority", "shop", "devloop-iteration", "i12")
	m.send(0, c.take(), 1400)
	if extensions == "" {
		s.headers(id, status != "200", ":status", status)
	} else {
		s.headers(id, false, ":status", status, "sec-websocket-extensions", extensions)
	}
	m.send(1, s.take(), 1400)
}

func madeWS(name string) *maker {
	m := newMaker()
	websocketScenarios[name](m)
	return m.numbered()
}

// TestWebSocket compares what is found with testdata/<scenario>/want.jsonl, whole and split at every packet.
func TestWebSocket(t *testing.T) {
	for name := range websocketScenarios {
		t.Run(name, func(t *testing.T) {
			compareWholeAndSplit(t, name, madeWS(name))
		})
	}
}

// TestWebSocketSizes sends the same messages in segments of every size: the calls must not differ but by their packets.
func TestWebSocketSizes(t *testing.T) {
	payloads := func(size int) (list []string) {
		m := newMaker()
		upgradeTo(m, "permessage-deflate")
		client, server := newWSDeflater(), newWSDeflater()
		m.send(0, wsFrame(0, 0xc1, client.pack("first"))+wsFrame(0, 0x41, client.pack("second")[:3])+wsFrame(0, 0x89, "p")+wsFrame(0, 0x80, ""), size)
		m.send(1, wsFrame(1, 0xc1, server.pack(noise(300)))+wsFrame(1, 0x81, noise(130))+wsFrame(1, 0x88, "\x03\xe9"), size)
		m.close(0)
		var got rows
		feed(dissect.New(got.into()), m.packets, nil)
		for _, c := range got.Calls {
			if c.Protocol == traffic.ProtoWS {
				list = append(list, c.Method+" "+string(c.WebSocket.Payload)+" "+c.WebSocket.Error)
			}
		}
		return list
	}
	want := payloads(1400)
	if len(want) != 6 {
		t.Fatalf("found %d messages, want 6: %q", len(want), want)
	}
	for size := 1; size < 60; size++ {
		if got := payloads(size); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("in segments of %d: %q, want %q", size, got, want)
		}
	}
}

// TestWebSocketLimits keeps no more of a message than is allowed, however well it was packed.
func TestWebSocketLimits(t *testing.T) {
	m := newMaker()
	upgradeTo(m, "permessage-deflate")
	server := newWSDeflater()
	m.send(1, wsFrame(1, 0xc1, server.pack(strings.Repeat("a", 20<<20))), 1400)
	m.send(1, wsFrame(1, 0xc1, server.pack("after the bomb")), 1400)
	m.send(1, wsFrame(1, 0x81, "plain text"), 1400)
	m.send(0, wsFrame(0, 0x88, "\x03\xe8a long reason"), 1400)
	m.close(0)
	var got rows
	o := got.into()
	o.BodyLimit = 5
	feed(dissect.New(o), m.packets, nil)
	var list []string
	for _, c := range got.Calls {
		if w := c.WebSocket; w != nil {
			list = append(list, c.Method+"/"+string(w.Payload)+"/"+w.Error)
			if !w.PayloadCut {
				t.Errorf("%s %q is not marked as cut", c.Method, w.Payload)
			}
		}
	}
	want := "text/aaaaa/permessage-deflate: the message is too long, text//permessage-deflate: an earlier message is missing, text/plain/, close/a lon/"
	if s := strings.Join(list, ", "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

// FuzzWebSocket sends the input as frames of both sides, in segments of a size that the input chooses too.
func FuzzWebSocket(f *testing.F) {
	z := newWSDeflater()
	f.Add([]byte(wsFrame(0, 0x81, "hello")+wsFrame(0, 0x01, "a")), []byte(wsFrame(1, 0xc1, z.pack("hello"))), uint8(3))
	f.Add([]byte(wsFrame(0, 0xc1, z.pack("hello"))), []byte(wsFrame(1, 0x88, "\x03\xe8")), uint8(200))
	f.Fuzz(func(t *testing.T, client, server []byte, size uint8) {
		if len(client)+len(server) > 8000 {
			return
		}
		m := newMaker()
		upgradeTo(m, "permessage-deflate")
		m.send(0, string(client), int(size)+1)
		m.send(1, string(server), int(size)+1)
		m.lose(1, int(size))
		m.send(1, string(server), int(size)+1)
		m.close(0)
		d := dissect.New(dissect.Options{BodyLimit: 16, MaxBuffered: 64, OnCall: func(*traffic.Call) {}})
		feed(d, m.packets[:len(m.packets)/2], nil)
		if _, err := d.Checkpoint(); err != nil {
			t.Fatal(err)
		}
		feed(d, m.packets[len(m.packets)/2:], nil)
	})
}

// FuzzWebSocketHTTP2 sends the input as the data of a stream of HTTP/2, in frames of a size that the input chooses, with a hole.
func FuzzWebSocketHTTP2(f *testing.F) {
	f.Add([]byte(wsFrame(0, 0x81, "hello")+wsFrame(0, 0x01, "a")), []byte(wsFrame(1, 0x81, "hello")), uint8(3), true)
	f.Add([]byte(wsFrame(0, 0x88, "\x03\xe8")), []byte(wsFrame(1, 0x88, "\x03\xe8")), uint8(200), false)
	f.Fuzz(func(t *testing.T, client, server []byte, size uint8, hole bool) {
		if len(client)+len(server) > 4000 {
			return
		}
		m := newMaker()
		c, s := begin2(m)
		socket2(m, c, s, 1, "200", "permessage-deflate")
		for i, side := range []*peer{c, s} {
			for b := [][]byte{client, server}[i]; len(b) > 0; {
				n := min(len(b), int(size)+1)
				side.framer.WriteData(1, n == len(b), b[:n])
				b = b[n:]
			}
			if m.send(i, side.take(), 50); hole {
				m.lose(i, 30)
			}
		}
		m.close(0)
		var got rows
		feed(dissect.New(got.into()), m.packets, nil)
		split(t, m.packets, nil, len(m.packets)/2)
	})
}
