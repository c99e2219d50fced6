package tls

import (
	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// What follows is for QUIC, which carries handshake messages without records (RFC 9001 section 4).

// Handshake reads bytes of one side's handshake messages.
func (p *Parser) Handshake(h protocol.Host, from protocol.Side, b []byte, at protocol.Mark) {
	s := &p.Sides[from]
	s.Handshake = append(s.Handshake, b...)
	p.handshakes(h, from, s, at, at)
	if len(s.Handshake) > maxHandshake {
		h.Undecoded(int64(len(s.Handshake)), "tls_handshake_limit")
		s.Handshake = nil
	}
}

// Beyond says that a packet came which is encrypted with keys of the handshake, or later ones.
func (p *Parser) Beyond(h protocol.Host, from protocol.Side, at protocol.Mark) { p.beyond(h, from, at) }

// Alert reads a fatal alert.
func (p *Parser) Alert(h protocol.Host, code byte, at protocol.Mark) { p.alert(h, []byte{2, code}, at) }

// Renew ends the handshake under way, if there is one, because another connection begins.
func (p *Parser) Renew(h protocol.Host, at protocol.Mark) {
	state, why := traffic.StateUnanswered, traffic.ErrorCancelled
	if p.Hello {
		state, why = traffic.StateTruncated, traffic.ErrorTruncated
	}
	p.finish(h, state, why, at.Time)
	*p = Parser{}
}

// Restart says that the client begins again as it was asked to below TLS: it is the same handshake.
func (p *Parser) Restart() {
	p.Sides, p.Repeat = [2]half{}, true
}
