package dissect_test

import (
	"fmt"
	"testing"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/traffic"
)

const eventsHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"

// chunk is a piece of a chunked body.
func chunk(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

// eventsScenarios are streams of Server-Sent Events made by hand, as scenarios.
var eventsScenarios = map[string]func(m *maker){
	"sse_chunked": func(m *maker) {
		m.open()
		m.send(0, get, 1400)
		m.send(1, eventsHead+"Transfer-Encoding: chunked\r\n\r\n", 1400)
		m.now += 1e9
		m.send(1, chunk(": hello\n\n"), 1400) // a comment is no event
		m.now += 1e9
		m.send(1, chunk("id: 1\ndata: one\ndata: more\n\n"), 1400)
		m.now += 3e9
		m.send(1, chunk("event: x\r\ndata\r\n\r\ndata:\r\n\r\nid: 4\n\nda")+chunk("ta: cut\r\r"), 11)
		m.now += 2e9
		m.send(1, chunk("data: never finished\n")+"0\r\n\r\n", 1400)
		m.close(1)
	},
	"sse_until_close": func(m *maker) { // the silence before the end counts
		m.open()
		m.send(0, get, 1400)
		m.send(1, eventsHead+"\r\ndata: 1\n\n", 1400)
		m.send(1, "data: 2\n\n", 1400)
		m.now += 5e9
		m.flag(0, 0x14)
	},
	"sse_gap": func(m *maker) { // the rest of a cut line is no event
		m.open()
		m.send(0, get, 1400)
		m.send(1, eventsHead+"\r\ndata: 1\n\ndata: 2", 1400)
		m.lose(1, 20)
		m.send(1, "data: rest\n\ndata: 4\n\n", 1400)
		m.now += 1e8
		m.send(1, "data: 5\n\n", 1400)
		m.now += 1e8
		m.close(1)
	},
	"sse_http2": func(m *maker) { // two streams at a time
		c, s := begin2(m)
		c.get(1, "/a")
		c.get(3, "/b")
		m.send(0, c.take(), 1400)
		for _, id := range []uint32{1, 3} {
			s.headers(id, false, ":status", "200", "content-type", "text/event-stream")
		}
		m.send(1, s.take(), 1400)
		for i := range 3 {
			m.now += 1e9
			s.framer.WriteData(1, false, []byte("data: a\n\n"))
			s.framer.WriteData(3, i == 2, []byte("data: b\ndata"))
			m.send(1, s.take(), 5)
		}
		m.now += 4e9
		s.framer.WriteData(1, true, nil)
		m.send(1, s.take(), 1400)
		m.close(0)
	},
	"sse_silent": func(m *maker) {
		m.open()
		m.send(0, get, 1400)
		m.send(1, eventsHead+"\r\n", 1400)
		m.now += 1e9
	},
}

func madeEvents(name string) *maker {
	m := newMaker()
	eventsScenarios[name](m)
	return m.numbered()
}

// TestEvents compares what is found with testdata/<scenario>/want.jsonl, whole and split at every packet.
func TestEvents(t *testing.T) {
	for name := range eventsScenarios {
		t.Run(name, func(t *testing.T) {
			compareWholeAndSplit(t, name, madeEvents(name))
		})
	}
}

// TestEventsSizes counts the same in segments of every size.
func TestEventsSizes(t *testing.T) {
	for size := 1; size < 80; size++ {
		m := newMaker().open()
		m.send(0, get, 1400)
		m.send(1, eventsHead+"Transfer-Encoding: chunked\r\n\r\n"+chunk("data: a\r\n\r\n: c\n\ndatabase: x\n\ndata\n\ndat\n\n")+chunk("retry: 5\rdata:b\r\r")+"0\r\n\r\n", size)
		m.close(1)
		var got rows
		feed(dissect.New(got.into()), m.packets, nil)
		if c := got.Calls[0]; c.HTTP.Events != 3 || c.State != traffic.StateComplete {
			t.Errorf("in segments of %d: %d events, %s, want 3 of a complete call", size, c.HTTP.Events, c.State)
		}
	}
}
