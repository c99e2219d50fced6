package dns

import (
	"encoding/binary"
	"strings"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// OverUDP and OverTCP are this package's rows in dissect's table.
var (
	OverUDP = protocol.Protocol{Name: traffic.ProtoDNS, Network: "udp", Detect: detect, New: func() protocol.Parser { return &Parser{} }}
	OverTCP = protocol.Protocol{Name: traffic.ProtoDNS, Network: "tcp", Detect: detectTCP, New: func() protocol.Parser { return &Parser{} }}
)

// Limits of one connection.
const (
	patience   = int64(5e9) // ns of packet time that an answer may take
	maxWaiting = 4096       // queries without answers
)

// Parser is the state of one socket pair. Exported for checkpoints.
type Parser struct {
	Waiting []query // in order of their questions
	Leave   bool    // the client has closed its half
}

// query is a question that waits for its answer.
type query struct {
	Call *traffic.Call
	Key  string // first question, lower case
	Sent protocol.Span
}

// detect wants a whole, plausible message.
func detect(b []byte) protocol.Verdict {
	if len(b) < 12 {
		return protocol.No
	}
	m, ok := parse(b)
	if !ok || m.opcode > 6 || m.netbios() || len(m.questions) == 0 && m.counts[0] == 0 && m.counts[1] == 0 {
		return protocol.No
	}
	if m.response {
		return protocol.FromServer
	}
	if len(m.questions) == 0 || m.counts[1] > 8 { // sFlow would pass for a query without question
		return protocol.No
	}
	return protocol.FromClient
}

// netbios recognises names that NetBIOS encodes into 32 letters from A to P (RFC 1001 section 14): same form, other service.
func (m *message) netbios() bool {
	if len(m.questions) == 0 || m.questions[0].Type != "32" && m.questions[0].Type != "33" {
		return false
	}
	name := m.questions[0].Name
	for i := range min(len(name), 32) {
		if name[i] < 'A' || name[i] > 'P' {
			return false
		}
	}
	return len(name) >= 32
}

// detectTCP wants a length and a whole message behind it.
func detectTCP(b []byte) protocol.Verdict {
	if len(b) < 14 {
		if len(b) >= 2 {
			if n := binary.BigEndian.Uint16(b); n < 17 || n > 16384 {
				return protocol.No
			}
		}
		if len(b) >= 8 && binary.BigEndian.Uint16(b[6:]) != 1 { // one question
			return protocol.No
		}
		return protocol.Undecided
	}
	n := int(binary.BigEndian.Uint16(b))
	if n < 17 || binary.BigEndian.Uint16(b[6:]) != 1 || b[4]>>3&15 > 6 {
		return protocol.No
	}
	if binary.BigEndian.Uint16(b[8:]) > 4096 || binary.BigEndian.Uint16(b[10:]) > 4096 || binary.BigEndian.Uint16(b[12:]) > 4096 {
		return protocol.No
	}
	if len(b) < 2+n {
		if _, _, ok := question(b[2:], 12); !ok && len(b) > 2+12+256+4 {
			return protocol.No
		}
		return protocol.Undecided
	}
	return detect(b[2 : 2+n])
}

// Data implements [protocol.Parser].
func (p *Parser) Data(h protocol.Host, from protocol.Side, v *protocol.View) int {
	if h.Transport() == "udp" {
		p.message(h, from, v.Data, v.At(0), v.At(0))
		return len(v.Data)
	}
	used := 0
	for len(v.Data)-used >= 2 {
		n := int(binary.BigEndian.Uint16(v.Data[used:]))
		if len(v.Data)-used-2 < n {
			break
		}
		if n > 0 {
			p.message(h, from, v.Data[used+2:used+2+n], v.At(used), v.At(used+1+n))
		}
		used += 2 + n
	}
	return used
}

// message reads one message.
func (p *Parser) message(h protocol.Host, from protocol.Side, b []byte, first, last protocol.Mark) {
	m, ok := parse(b)
	if !ok {
		h.Undecoded(int64(len(b)), "dns_malformed")
		return
	}
	if m.response {
		p.answer(h, &m, len(b), first, last)
		return
	}
	if from == protocol.Server {
		h.Undecoded(int64(len(b)), "dns_query_from_server")
		return
	}
	if len(p.Waiting) >= maxWaiting {
		p.give(h, 1, traffic.StateOpen, "", 0)
	}
	c := p.call(h, &m)
	c.RequestSize = int64(len(b))
	q := query{Call: c, Key: m.key()}
	q.Sent.Add(first)
	q.Sent.Add(last)
	p.Waiting = append(p.Waiting, q)
	h.Deadline(first.Time + patience)
}

// call begins a call from either message.
func (p *Parser) call(h protocol.Host, m *message) *traffic.Call {
	c := &traffic.Call{Protocol: traffic.ProtoDNS, Index: h.NextCall()}
	c.DNS = &traffic.DNS{ID: m.id, Transport: h.Transport(), Questions: m.questions, Answers: []traffic.DNSRecord{}}
	if len(m.questions) > 0 {
		c.Method, c.Path = m.questions[0].Type, m.questions[0].Name
	}
	return c
}

// answer pairs a response with the latest query that it fits: when a query was repeated, an earlier copy was most
// likely lost.
func (p *Parser) answer(h protocol.Host, m *message, size int, first, last protocol.Mark) {
	var s protocol.Span
	s.Add(first)
	s.Add(last)
	k := p.find(m)
	var q query
	if k >= 0 {
		q = p.Waiting[k]
		p.Waiting = append(p.Waiting[:k], p.Waiting[k+1:]...)
		q.Call.State = traffic.StateComplete
	} else {
		q.Call = p.call(h, m)
		q.Call.State = traffic.StateHalf
	}
	c := q.Call
	c.Status = int(m.rcode)
	c.ResponseSize = int64(size)
	c.DNS.Answers, c.DNS.RCode, c.DNS.Truncated = m.answers, rcodeName(m.rcode), m.truncated
	h.Emit(c, &q.Sent, &s)
}

func (p *Parser) find(m *message) int {
	key := m.key()
	for k := len(p.Waiting) - 1; k >= 0; k-- {
		q := &p.Waiting[k]
		if q.Call.DNS.ID == m.id && (q.Key == key || key == "") {
			return k
		}
	}
	return -1
}

// key is the first question, as a response repeats it.
func (m *message) key() string {
	if len(m.questions) == 0 {
		return ""
	}
	return strings.ToLower(m.questions[0].Name) + " " + m.questions[0].Type
}

// give emits the first n waiting queries as they stand.
func (p *Parser) give(h protocol.Host, n int, state traffic.State, why string, at int64) {
	var none protocol.Span
	for i := range p.Waiting[:n] {
		q := &p.Waiting[i]
		q.Call.State, q.Call.Error = state, why
		if state != traffic.StateOpen {
			q.Call.End = at
		}
		h.Emit(q.Call, &q.Sent, &none)
	}
	k := copy(p.Waiting, p.Waiting[n:])
	clear(p.Waiting[k:])
	p.Waiting = p.Waiting[:k]
}

// Tick implements [protocol.Parser]: answers that did not come in time.
func (p *Parser) Tick(h protocol.Host, now int64) {
	for len(p.Waiting) > 0 {
		limit := p.Waiting[0].Sent.First.Time + patience
		if limit > now {
			h.Deadline(limit)
			return
		}
		p.give(h, 1, traffic.StateUnanswered, traffic.ErrorTimeout, limit)
	}
}

// Gap implements [protocol.Parser]: the next message begins where nobody can know; what waits can still be answered.
func (p *Parser) Gap(protocol.Host, protocol.Side, int64, protocol.Mark) {}

// Closed implements [protocol.Parser].
func (p *Parser) Closed(h protocol.Host, from protocol.Side, at protocol.Mark) {
	if from == protocol.Client {
		p.Leave = true
		return
	}
	p.End(h, protocol.End{Mark: at, By: from})
}

// End implements [protocol.Parser].
func (p *Parser) End(h protocol.Host, e protocol.End) {
	state, why := traffic.StateUnanswered, traffic.ErrorClosed
	switch {
	case e.Dropped:
		state, why = traffic.StateOpen, ""
	case e.By == protocol.Client || p.Leave:
		why = traffic.ErrorCancelled
	case e.Reset:
		why = traffic.ErrorReset
	}
	p.give(h, len(p.Waiting), state, why, e.Time)
}

// Window implements [protocol.Parser].
func (p *Parser) Window(h protocol.Host) {
	var none protocol.Span
	for i := range p.Waiting {
		q := &p.Waiting[i]
		c, d := *q.Call, *q.Call.DNS
		c.DNS, c.State = &d, traffic.StateOpen
		h.Emit(&c, &q.Sent, &none)
		q.Sent.Forget()
	}
}
