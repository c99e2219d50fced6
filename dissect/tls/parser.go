package tls

import (
	"encoding/binary"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// Protocol is this package's row in dissect's table.
var Protocol = protocol.Protocol{Name: traffic.ProtoTLS, Network: "tcp", Detect: detect, New: func() protocol.Parser { return &Parser{} }}

// Record types (RFC 8446 section 5.1) and handshake messages (section 4).
const (
	recordChangeCipher = 20
	recordAlert        = 21
	recordHandshake    = 22
	recordData         = 23
	recordHeartbeat    = 24

	msgClientHello = 1
	msgServerHello = 2
	msgCertificate = 11
	msgServerDone  = 14

	maxRecord    = 1<<14 + 2048
	maxHandshake = 256 << 10 // of one side, kept while it is incomplete
)

// Parser is the state of one connection. Exported for checkpoints.
type Parser struct {
	Sides   [2]half
	Call    *traffic.Call // the handshake under way
	Started int64
	Offered []byte // session id of the ClientHello
	Ticket  bool   // it offered a PSK
	Request protocol.Span
	Answer  protocol.Span
	Hello   bool // ServerHello was seen
	Retry   bool // HelloRetryRequest was
	Repeat  bool // the next ClientHello repeats the last: QUIC's Retry
	Half    bool // and its ClientHello was not
	Count   int
	Leave   bool // the client has closed its half

	Random       []byte // of the ClientHello
	ServerRandom []byte
	Early        bool         // the client offered early data
	EarlyAnswer  earlyAnswer  //
	ETM          bool         // encrypt-then-MAC was agreed on
	About        *traffic.TLS // what was agreed on, for the calls inside
}

// half is one direction.
type half struct {
	Handshake []byte // of a message that goes on in the next record
	Closed    bool   // the rest is encrypted
	Lost      bool   // record borders are lost
	Skip      int64  // rest of a record whose content does not matter

	Decryption
}

// detect wants a handshake record that begins with a hello.
func detect(b []byte) protocol.Verdict {
	want := []byte{recordHandshake, 3}
	if b[0] != want[0] || len(b) > 1 && b[1] != 3 || len(b) > 2 && b[2] > 4 {
		return protocol.No
	}
	if len(b) < 6 {
		return protocol.Undecided
	}
	if n := binary.BigEndian.Uint16(b[3:]); n < 4 || n > maxRecord {
		return protocol.No
	}
	switch b[5] {
	case msgClientHello:
		return protocol.FromClient
	case msgServerHello:
		return protocol.FromServer
	}
	return protocol.No
}

// Data implements [protocol.Parser].
func (p *Parser) Data(h protocol.Host, from protocol.Side, v *protocol.View) int {
	s := &p.Sides[from]
	used := 0
	for used < len(v.Data) {
		b := v.Data[used:]
		if s.Lost {
			p.beyond(h, from, v.At(used))
			h.Encrypted(int64(len(b)))
			return len(v.Data)
		}
		if s.Skip > 0 {
			n := int(min(s.Skip, int64(len(b))))
			s.Skip -= int64(n)
			if s.Torn {
				h.Undecoded(int64(n), "tls_record_cut")
			} else {
				h.Encrypted(int64(n))
			}
			used += n
			continue
		}
		s.Torn = false
		if s.Hunt {
			n, found := p.hunt(h, from, s, v, used)
			used += n
			if !found && !s.Lost {
				return used
			}
			continue
		}
		if len(b) < 5 {
			return used
		}
		size := int(binary.BigEndian.Uint16(b[3:]))
		if b[0] < recordChangeCipher || b[0] > recordHeartbeat || b[1] != 3 || size > maxRecord {
			s.Lost = true
			p.finish(h, traffic.StateTruncated, traffic.ErrorProtocol, v.At(used).Time)
			continue
		}
		if b[0] == recordChangeCipher && size == 1 && p.soothing() {
			if len(b) < 6 {
				return used
			}
			p.beyond(h, from, v.At(used))
			used += 6
			continue
		}
		if b[0] == recordData || s.Closed && b[0] != recordChangeCipher {
			n, wait := p.decrypt(h, from, s, v, used, size)
			if wait {
				return used
			}
			if n > 0 {
				used += n
				continue
			}
		}
		if b[0] == recordData || s.Closed && b[0] != recordHandshake && b[0] != recordAlert {
			p.beyond(h, from, v.At(used))
			s.Closed = true
			s.pass(b[0])
			used += 5
			s.Skip = int64(size)
			continue
		}
		if len(b) < 5+size {
			return used
		}
		p.record(h, from, s, b[0], b[5:5+size], v.At(used), v.At(used+4+size))
		used += 5 + size
	}
	return used
}

// record reads one record that may be in the clear.
func (p *Parser) record(h protocol.Host, from protocol.Side, s *half, kind byte, b []byte, first, last protocol.Mark) {
	if kind == recordHandshake && !s.Closed {
		s.Handshake = append(s.Handshake, b...)
		p.handshakes(h, from, s, first, last)
		if len(s.Handshake) > maxHandshake {
			h.Undecoded(int64(len(s.Handshake)), "tls_handshake_limit")
			s.Handshake, s.Closed = nil, true
		}
		return
	}
	p.beyond(h, from, first)
	switch {
	case kind == recordAlert && !s.Closed && len(b) == 2:
		p.alert(h, b, first)
	case s.Closed:
		s.pass(kind)
		h.Encrypted(int64(len(b)))
	}
	if kind == recordChangeCipher && p.Hello { // without a ServerHello it only soothes middleboxes (RFC 8446 appendix D.4)
		s.Closed, s.Handshake = true, nil
	}
}

// handshakes takes whole messages off the front of what one side has sent.
func (p *Parser) handshakes(h protocol.Host, from protocol.Side, s *half, first, last protocol.Mark) {
	for len(s.Handshake) >= 4 {
		n := int(s.Handshake[1])<<16 | int(s.Handshake[2])<<8 | int(s.Handshake[3])
		if len(s.Handshake) < 4+n {
			return
		}
		kind, body := s.Handshake[0], s.Handshake[4:4+n]
		switch {
		case kind == msgClientHello && from == protocol.Client:
			p.clientHello(h, body, first, last)
		case from == protocol.Client:
			p.beyond(h, from, first)
		case kind == msgServerHello:
			p.serverHello(h, body, first, last)
		case kind == msgCertificate && p.Call != nil && p.Hello:
			p.Call.TLS.Certificates = certificates(body)
			p.Answer.Add(last)
		case p.Call != nil && p.Hello:
			p.Answer.Add(last)
		}
		s.Handshake = s.Handshake[4+n:]
	}
	if len(s.Handshake) == 0 {
		s.Handshake = nil
	}
}

// beyond is called for the client's first record after the server's flight: the handshake is over.
func (p *Parser) beyond(h protocol.Host, from protocol.Side, at protocol.Mark) {
	if from == protocol.Client && p.Call != nil && p.Hello {
		if !p.Half {
			p.Call.TLS.HandshakeNS = at.Time - p.Started
		}
		p.finish(h, traffic.StateComplete, "", 0)
	}
}

// finish emits the handshake under way.
func (p *Parser) finish(h protocol.Host, state traffic.State, why string, at int64) {
	c := p.Call
	if c == nil {
		return
	}
	switch {
	case p.Half && state != traffic.StateOpen: // without its beginning, what looks like an end proves little
		state = traffic.StateHalf
		if why == traffic.ErrorProtocol {
			why = ""
		}
	case state != traffic.StateUnanswered:
	case p.Hello && (p.Sides[protocol.Client].Lost || p.Sides[protocol.Server].Lost):
		state, why = traffic.StateComplete, "" // how it went on, the capture lacks
	case p.Hello, p.Retry:
		state = traffic.StateTruncated
	case p.Sides[protocol.Server].Lost: // there may have been an answer
		state, why = traffic.StateOpen, ""
	}
	c.State, c.Error = state, why
	if !p.Answer.Seen {
		c.End = at
	}
	h.Emit(c, &p.Request, &p.Answer)
	p.Call, p.Retry = nil, false
}

// Gap implements [protocol.Parser]: record borders inside encrypted data are lost with it.
func (p *Parser) Gap(h protocol.Host, from protocol.Side, n int64, at protocol.Mark) {
	s := &p.Sides[from]
	if s.Skip >= n && n > 0 {
		s.Skip -= n
		return
	}
	h.Undecoded(int64(len(s.Handshake)), "behind_gap")
	encrypted := s.Closed
	s.Handshake, s.Lost, s.Closed, s.Skip = nil, true, true, 0
	if p.survive(h, from, s, n, at) {
		s.Lost = false
		if encrypted {
			return
		}
	}
	switch {
	case from == protocol.Client && !p.Hello, from == protocol.Server && encrypted:
		return // the other side goes on to tell
	case p.Hello: // the hellos are known, and the rest of the flight is not
		p.finish(h, traffic.StateComplete, "", at.Time)
	default:
		p.finish(h, traffic.StateOpen, "", at.Time)
	}
}

// Closed implements [protocol.Parser].
func (p *Parser) Closed(h protocol.Host, from protocol.Side, at protocol.Mark) {
	p.forsake(h, from, at)
	if from == protocol.Client {
		p.Leave = true
		return
	}
	p.End(h, protocol.End{Mark: at, By: from})
}

// End implements [protocol.Parser].
func (p *Parser) End(h protocol.Host, e protocol.End) {
	p.forsake(h, protocol.Client, e.Mark)
	p.forsake(h, protocol.Server, e.Mark)
	state, why := traffic.StateUnanswered, traffic.ErrorClosed
	switch {
	case e.Dropped:
		state, why, e.Time = traffic.StateOpen, "", 0
	case e.By == protocol.Client || p.Leave:
		why = traffic.ErrorCancelled
	case e.Reset:
		why = traffic.ErrorReset
	}
	p.finish(h, state, why, e.Time)
}

// Tick implements [protocol.Parser].
func (p *Parser) Tick(protocol.Host, int64) {}

// Window implements [protocol.Parser].
func (p *Parser) Window(h protocol.Host) {
	if p.Call != nil {
		c, t := *p.Call, *p.Call.TLS
		c.TLS, c.State = &t, traffic.StateOpen
		h.Emit(&c, &p.Request, &p.Answer)
	}
	p.Request.Forget()
	p.Answer.Forget()
}
