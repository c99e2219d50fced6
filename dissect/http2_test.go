package dissect_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/traffic"
)

// peer writes one direction of an HTTP/2 connection.
type peer struct {
	out    bytes.Buffer
	framer *http2.Framer
	block  bytes.Buffer
	enc    *hpack.Encoder
}

func newPeer() *peer {
	p := &peer{}
	p.framer = http2.NewFramer(&p.out, nil)
	p.framer.AllowIllegalWrites = true
	p.enc = hpack.NewEncoder(&p.block)
	return p
}

// fields encodes "name", "value", ….
func (p *peer) fields(pairs ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		p.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return bytes.Clone(p.block.Bytes())
}

func (p *peer) headers(id uint32, end bool, pairs ...string) {
	p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.fields(pairs...), EndHeaders: true, EndStream: end})
}

// get asks for a path.
func (p *peer) get(id uint32, path string, more ...string) {
	p.headers(id, true, append([]string{":method", "GET", ":scheme", "http", ":path", path, ":authority", "shop"}, more...)...)
}

// answer is a response of status 200 with a body.
func (p *peer) answer(id uint32, body string) {
	p.headers(id, false, ":status", "200", "server", "test")
	p.framer.WriteData(id, true, []byte(body))
}

// take is what was written since.
func (p *peer) take() string {
	defer p.out.Reset()
	return p.out.String()
}

// begin opens a connection and exchanges the prefaces.
func begin2(m *maker) (c, s *peer) {
	c, s = newPeer(), newPeer()
	m.open()
	c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	s.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100})
	m.send(0, http2.ClientPreface+c.take(), 1400)
	m.send(1, s.take(), 1400)
	return c, s
}

// http2Scenarios are captures made by hand; the folder of each in testdata says what is found in it.
var http2Scenarios = map[string]func(m *maker){
	"http2_interleaved": func(m *maker) {
		c, s := begin2(m)
		c.get(1, "/a?x=1", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		c.get(3, "/b")
		c.get(5, "/c")
		m.send(0, c.take(), 1400)
		s.headers(3, false, ":status", "200", "content-encoding", "gzip")
		s.headers(1, false, ":status", "404")
		s.framer.WriteDataPadded(3, true, []byte(packed("hello")), make([]byte, 20))
		s.headers(5, true, ":status", "500", "set-cookie", "a=b")
		s.framer.WriteData(1, true, []byte("nothing here"))
		m.send(1, s.take(), 100)
		m.close(0)
	},
	"http2_bytewise": func(m *maker) {
		c, s := begin2(m)
		c.get(1, "/a")
		c.headers(3, false, ":method", "POST", ":scheme", "http", ":path", "/b", ":authority", "shop", "content-encoding", "gzip")
		c.framer.WriteData(3, true, []byte(packed("hello")))
		m.send(0, c.take(), 3)
		s.answer(1, "one")
		s.answer(3, "three")
		m.send(1, s.take(), 2)
		m.close(0)
	},
	"http2_frames": func(m *maker) { // continuation, priority, ping, push, trailers, 103, extension frames
		c, s := begin2(m)
		block := c.fields(":method", "GET", ":scheme", "http", ":path", "/a", ":authority", "shop", "x-long", strings.Repeat("l", 300))
		c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:50], EndStream: true, PadLength: 9, Priority: http2.PriorityParam{Weight: 3}})
		c.framer.WriteContinuation(1, false, block[50:60])
		c.framer.WriteContinuation(1, true, block[60:])
		c.framer.WritePing(false, [8]byte{1})
		c.framer.WriteRawFrame(0xa, 0, 0, []byte("\x00\x00h2=x"))
		c.framer.WriteWindowUpdate(0, 100)
		m.send(0, c.take(), 1400)
		s.framer.WriteSettingsAck()
		s.framer.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true,
			BlockFragment: s.fields(":method", "GET", ":scheme", "http", ":path", "/style.css", ":authority", "shop")})
		s.headers(1, false, ":status", "103", "link", "</style.css>")
		s.headers(1, false, ":status", "200", "trailer", "x-sum")
		s.framer.WriteData(1, false, []byte("page"))
		s.headers(1, true, "x-sum", "9")
		s.answer(2, "css")
		m.send(1, s.take(), 1400)
		m.close(0)
	},
	"http2_reset": func(m *maker) {
		c, s := begin2(m)
		for i, path := range []string{"/refused", "/half", "/cancelled", "/early", "/gone", "/left"} {
			c.headers(uint32(2*i+1), path != "/early", ":method", "PUT", ":scheme", "http", ":path", path, ":authority", "shop")
		}
		m.send(0, c.take(), 1400)
		s.framer.WriteRSTStream(1, http2.ErrCodeRefusedStream)
		s.headers(3, false, ":status", "200")
		s.framer.WriteData(3, false, []byte("half"))
		s.framer.WriteRSTStream(3, http2.ErrCodeInternal)
		s.headers(7, true, ":status", "413")
		s.framer.WriteRSTStream(7, http2.ErrCodeNo)
		m.send(1, s.take(), 1400)
		c.framer.WriteRSTStream(5, http2.ErrCodeCancel)
		m.send(0, c.take(), 1400)
		s.headers(5, true, ":status", "200") // crossed the reset
		s.framer.WriteGoAway(9, http2.ErrCodeNo, []byte("bye"))
		m.send(1, s.take(), 1400)
		m.flag(1, 0x14)
	},
	"http2_server_closes": func(m *maker) { c, _ := begin2(m); c.get(1, "/a"); m.send(0, c.take(), 1400); m.close(1) },
	"http2_enhance_calm": func(m *maker) {
		c, s := begin2(m)
		c.get(1, "/a")
		m.send(0, c.take(), 1400)
		s.framer.WriteGoAway(1, http2.ErrCodeEnhanceYourCalm, nil)
		m.send(1, s.take(), 1400)
		m.close(1)
	},
	"http2_h2c_upgrade": func(m *maker) {
		m.open()
		m.send(0, "GET /up?a=1 HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", 1400)
		c, s := newPeer(), newPeer()
		s.framer.WriteSettings()
		s.answer(1, "upgraded")
		m.send(1, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"+s.take(), 1400)
		c.framer.WriteSettings()
		c.get(3, "/next")
		m.send(0, http2.ClientPreface+c.take(), 1400)
		s.answer(3, "more")
		m.send(1, s.take(), 1400)
		m.close(0)
	},
	"http2_joined": func(m *maker) { // in the middle of a body; the tables' older entries were never seen
		c, s := newPeer(), newPeer()
		c.get(1, "/old", "x-known", "before")
		c.take()
		s.headers(1, false, ":status", "418", "x-kind", "teapot")
		s.take()
		m.send(1, strings.Repeat("tea ", 300), 1400)
		c.get(3, "/new", "x-known", "before")
		m.send(0, c.take(), 1400)
		s.headers(3, false, ":status", "200", "x-kind", "teapot", "x-fresh", "1")
		s.framer.WriteData(3, true, []byte("first"))
		m.send(1, s.take(), 1400)
		c.get(5, "/old", "x-known", "before")
		c.get(7, "/new", "x-known", "before")
		m.send(0, c.take(), 1400)
		s.headers(5, true, ":status", "418", "x-kind", "teapot", "x-fresh", "1")
		s.headers(7, true, ":status", "200", "x-fresh", "1")
		m.send(1, s.take(), 1400)
		m.close(0)
	},
	"http2_gap_in_body": func(m *maker) {
		c, s := begin2(m)
		c.get(1, "/a", "x-a", "1")
		m.send(0, c.take(), 1400)
		s.headers(1, false, ":status", "200", "x-b", "2")
		s.framer.WriteData(1, true, bytes.Repeat([]byte("b"), 4000))
		out := s.take()
		m.send(1, out[:1000], 1400)
		m.lose(1, 1000)
		m.send(1, out[2000:], 1400)
		c.get(3, "/a", "x-a", "1")
		m.send(0, c.take(), 1400)
		s.headers(3, true, ":status", "200", "x-b", "2")
		m.send(1, s.take(), 1400)
		m.close(0)
	},
	"http2_gap_in_headers": func(m *maker) {
		c, s := begin2(m)
		c.get(1, "/a", "x-a", "1")
		m.send(0, c.take(), 1400)
		s.headers(1, true, ":status", "200", "x-b", "2")
		m.send(1, s.take(), 1400)
		c.get(3, "/lost", "x-new", "1")
		m.lose(0, len(c.take()))
		s.headers(3, true, ":status", "200", "x-b", "2")
		m.send(1, s.take(), 1400)
		c.get(5, "/a", "x-a", "1", "x-late", "1")
		c.get(7, "/z", "x-late", "1")
		m.send(0, c.take(), 1400)
		s.headers(5, true, ":status", "200")
		s.headers(7, true, ":status", "200")
		m.send(1, s.take(), 1400)
		m.close(0)
	},
	"grpc_web": func(m *maker) {
		c, s := begin2(m)
		c.headers(1, false, ":method", "POST", ":scheme", "http", ":path", "/shop.v1.Cart/Add", ":authority", "cart", "content-type", "application/grpc-web+proto")
		c.framer.WriteData(1, true, []byte("\x00\x00\x00\x00\x03abc"))
		m.send(0, c.take(), 1400)
		s.headers(1, false, ":status", "200", "content-type", "application/grpc-web+proto")
		s.framer.WriteData(1, true, []byte("\x00\x00\x00\x00\x01x\x80\x00\x00\x00\x26grpc-status: 5\r\ngrpc-message: no%20tea"))
		m.send(1, s.take(), 1400)
		m.close(0)
	},
	"grpc_trailers_only": func(m *maker) {
		c, s := begin2(m)
		call := func(id uint32, more ...string) {
			c.headers(id, false, append([]string{":method", "POST", ":scheme", "http", ":path", "/shop.v1.Cart/Add", ":authority", "cart",
				"content-type", "application/grpc+proto", "te", "trailers"}, more...)...)
			c.framer.WriteData(id, true, []byte("\x00\x00\x00\x00\x03abc"))
		}
		call(1, "grpc-timeout", "250m")
		call(3, "grpc-timeout", "99999999H", "grpc-encoding", "gzip")
		call(5)
		call(7, "grpc-timeout", "1m")
		m.send(0, c.take(), 1400)
		s.headers(1, true, ":status", "200", "content-type", "application/grpc", "grpc-status", "14", "grpc-message", "no%20way %e2%82%ac 5%")
		s.headers(3, false, ":status", "200", "content-type", "application/grpc")
		s.framer.WriteData(3, false, []byte("\x00\x00\x00\x00\x00\x00\x00\x00"))
		s.framer.WriteData(3, false, []byte("\x00\x01x\x00\x00\x00"))
		s.headers(3, true, "grpc-status", "0")
		s.headers(5, true, ":status", "503", "content-type", "text/plain")
		m.send(1, s.take(), 1400)
		m.now += 2e6
		s.framer.WriteRSTStream(7, http2.ErrCodeCancel)
		m.send(1, s.take(), 1400)
		m.close(0)
	},
}

// TestHTTP2Scenarios dissects captures made by hand, as TestScenarios does, and splits them at every packet.
func TestHTTP2Scenarios(t *testing.T) {
	for name, build := range http2Scenarios {
		t.Run(name, func(t *testing.T) {
			m := newMaker()
			build(m)
			compareWholeAndSplit(t, name, m.numbered())
		})
	}
}

// TestHTTP2Table fills the dynamic table beyond its size and changes that on the way.
func TestHTTP2Table(t *testing.T) {
	m := newMaker()
	c, s := begin2(m)
	n := 0
	for i := range 400 {
		id := uint32(2*i + 1)
		if i%50 == 49 {
			c.enc.SetMaxDynamicTableSize(uint32([]int{0, 100, 4096, 1000}[i/50%4]))
		}
		c.get(id, "/"+strings.Repeat("p", i%90), "x-a", strings.Repeat("a", i%37), "x-b", strings.Repeat("b", i%11))
		s.answer(id, "ok")
		m.send(0, c.take(), 1400)
		m.send(1, s.take(), 1400)
	}
	d := dissect.New(dissect.Options{OnCall: func(call *traffic.Call) {
		i := call.Index
		h := call.HTTP.RequestHeaders
		if call.Path != "/"+strings.Repeat("p", i%90) || len(h) != 2 || len(h[0].Value) != i%37 || len(h[1].Value) != i%11 || call.Status != 200 {
			t.Errorf("call %d: %s, %v, status %d", i, call.Path, h, call.Status)
		}
		n++
	}})
	feed(d, m.packets, nil)
	if n != 400 {
		t.Errorf("%d calls, want 400", n)
	}
}

// FuzzHTTP2 sends the input as the two sides of one connection after the prefaces, with a piece cut out, and splits it.
func FuzzHTTP2(f *testing.F) {
	for _, build := range http2Scenarios {
		m := newMaker()
		build(m)
		var sides [2][]byte
		for _, p := range m.packets {
			side := 0
			if binary.BigEndian.Uint16(p.Data[34:]) == m.server.Port() {
				side = 1
			}
			sides[side] = append(sides[side], p.Data[54:]...)
		}
		f.Add(sides[0], sides[1], uint16(50), uint16(0), true)
		f.Add(sides[0], sides[1], uint16(1400), uint16(90), false)
	}
	f.Fuzz(func(t *testing.T, client, server []byte, size, hole uint16, open bool) {
		if len(client)+len(server) > 16000 {
			return
		}
		m := newMaker()
		if open {
			m.open()
		}
		n := int(size)%1400 + 1
		at := min(len(server), int(hole))
		m.send(0, string(client), n)
		m.send(1, string(server[:at]), n)
		if hole > 0 {
			cut := min(len(server)-at, 20)
			m.lose(1, cut)
			at += cut
		}
		m.send(1, string(server[at:]), n)
		m.close(0)
		d := dissect.New(dissect.Options{BodyLimit: 64, OnCall: func(*traffic.Call) {}})
		feed(d, m.packets, nil)
		if len(m.packets) < 40 {
			split(t, m.packets, nil, len(m.packets)/2)
		}
	})
}

// BenchmarkGRPC dissects unary calls as Google's client and server send them.
func BenchmarkGRPC(b *testing.B) {
	const calls = 2000
	m := newMaker()
	c, s := begin2(m)
	for i := range calls {
		id := uint32(2*i + 1)
		c.headers(id, false, ":method", "POST", ":scheme", "http", ":path", "/shop.v1.Cart/Add", ":authority", "cart:8080", "content-type", "application/grpc",
			"user-agent", "grpc-go/1.85.0", "te", "trailers", "grpc-timeout", []string{"59999m", "59998m", "59997m"}[i%3])
		c.framer.WriteData(id, true, append([]byte{0, 0, 0, 0, 100}, make([]byte, 100)...))
		m.send(0, c.take(), 1400)
		s.headers(id, false, ":status", "200", "content-type", "application/grpc")
		s.framer.WriteData(id, false, append([]byte{0, 0, 0, 1, 144}, make([]byte, 400)...))
		s.headers(id, true, "grpc-status", "0", "grpc-message", "")
		m.send(1, s.take(), 1400)
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		feed(dissect.New(dissect.Options{OnCall: func(*traffic.Call) { n++ }}), m.packets, nil)
		if n != calls {
			b.Fatalf("%d calls, want %d", n, calls)
		}
	}
	b.ReportMetric(float64(calls)*float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}
