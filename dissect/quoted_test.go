package dissect_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/traffic"
)

// icmpError is an ICMP error from a router to the client, about a packet of an Ethernet frame.
func icmpError(quote []byte) []byte {
	b := append([]byte{11, 0, 0, 0, 0, 0, 0, 0}, quote...)
	return inIPv4(1, b)
}

// sflow is a datagram of a flow sample with the head of each frame, of which length bytes were on the wire.
func sflow(length int, frames ...[]byte) []byte {
	word := binary.BigEndian.AppendUint32
	words := func(b []byte, numbers ...uint32) []byte {
		for _, n := range numbers {
			b = word(b, n)
		}
		return b
	}
	b := words(nil, 5, 1, 0x0a000009, 0, 7, 1000, uint32(len(frames)))
	for _, f := range frames {
		padded := append(append([]byte{}, f...), make([]byte, -len(f)&3)...)
		record := append(words(nil, 1, uint32(length), 4, uint32(len(f))), padded...)
		sample := append(words(nil, 1, 2, 512, 512, 0, 3, 4, 1, 1, uint32(len(record))), record...)
		b = append(words(b, 1, uint32(len(sample))), sample...)
	}
	return inIPv4(17, inUDP(6343, b))
}

// told are captures with packets that tell of others.
func told() *maker {
	m := newMaker().open()
	m.send(0, get, 1000)
	request := m.packets[3].Data
	m.packets = append(m.packets, raw(m, icmpError(request[14:14+40+12])))                                    // a cut request line
	m.packets = append(m.packets, raw(m, icmpError(request[14:14+20+8])))                                     // as RFC 792 wants it: ports only
	m.packets = append(m.packets, raw(m, inIPv4(1, append([]byte{8, 0, 0, 0, 0, 0, 0, 0}, request[14:]...)))) // no error
	answer := m.tcp(1, 5, 5, 0x18, ok)
	other := append([]byte{}, answer.Data...)
	other[33] = 77 // another client
	m.packets = append(m.packets, raw(m, sflow(len(other), other, answer.Data[:54+20])))
	m.send(1, ok, 1000)
	return m.close(0).numbered()
}

func raw(m *maker, b []byte) traffic.Packet {
	m.now += 1000
	return traffic.Packet{Time: m.now, Data: b, Length: len(b), Link: traffic.LinkRaw}
}

// TestQuotes: what packets tell of others is told only on request, says where it is from, and changes nothing else.
func TestQuotes(t *testing.T) {
	type result struct {
		Calls       []string
		Connections int
		Account     traffic.Account
	}
	read := func(quotes bool) (r result) {
		ids := map[string]bool{}
		d := dissect.New(dissect.Options{Quotes: quotes, OnCall: func(c *traffic.Call) {
			if ids[c.ID] {
				t.Errorf("two calls %s", c.ID)
			}
			ids[c.ID] = true
			status := "-"
			if c.Status != 0 {
				status = c.HTTP.Reason
			}
			r.Calls = append(r.Calls, strings.Join([]string{c.CaptureSource, string(c.State), c.Method, c.Path, status}, " "))
		}, OnConnection: func(*traffic.Connection) { r.Connections++ }})
		for _, p := range told().packets {
			d.Packet(&p, nil)
		}
		r.Account = d.EndWindow()
		return r
	}
	without, with := read(false), read(true)
	if diff := cmp.Diff([]string{" complete GET /items OK"}, without.Calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"icmp_quote open GET /items -", "sflow half   OK", "sflow half   OK", " complete GET /items OK"}, with.Calls); diff != "" {
		t.Errorf("calls with quotes (-want +got):\n%s", diff)
	}
	with.Calls, without.Calls = nil, nil
	if diff := cmp.Diff(without, with); diff != "" {
		t.Errorf("quotes changed more than calls (-without +with):\n%s", diff)
	}
}

// FuzzQuotes puts the input behind an ICMP header, and into an sFlow datagram.
func FuzzQuotes(f *testing.F) {
	for _, p := range told().packets {
		f.Add(p.Data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4000 {
			return
		}
		m := newMaker()
		m.packets = []traffic.Packet{raw(m, icmpError(b)), raw(m, inIPv4(17, inUDP(6343, b))), raw(m, sflow(len(b), b)), raw(m, b)}
		feed(dissect.New(dissect.Options{Quotes: true, OnCall: func(*traffic.Call) {}}), m.packets, nil)
	})
}
