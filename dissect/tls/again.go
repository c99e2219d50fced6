package tls

import (
	"golang.org/x/crypto/cryptobyte"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// retry notes a HelloRetryRequest: the answer to the ClientHello, which asks for another (RFC 8446 section 4.1.4).
func (p *Parser) retry(cipher uint16, rest cryptobyte.String, size int, first, last protocol.Mark) {
	if p.Call == nil {
		return
	}
	p.Retry = true
	p.Answer.Add(first)
	p.Answer.Add(last)
	p.Call.TLS.Cipher, p.Call.ResponseSize = cipher, int64(size)
	extensions(rest, func(kind uint16, e cryptobyte.String) {
		if kind == extSupportedVersions {
			e.ReadUint16(&p.Call.TLS.Version)
		}
	})
}

// again comes before a ClientHello. Each one is a call: an earlier one was answered by a HelloRetryRequest, or not at all.
func (p *Parser) again(h protocol.Host, at protocol.Mark) {
	switch {
	case p.Call == nil:
	case p.Repeat:
		p.Repeat = false
	case p.Retry:
		p.finish(h, traffic.StateComplete, "", at.Time)
	default:
		p.finish(h, traffic.StateUnanswered, traffic.ErrorProtocol, at.Time)
	}
}
