package tls

import (
	"golang.org/x/crypto/cryptobyte"

	"github.com/devloop-io/devloop/dissect/protocol"
)

// earlyAnswer is what a server says to early data: only in its EncryptedExtensions (RFC 8446 section 4.2.10).
type earlyAnswer uint8

const (
	earlyOpen earlyAnswer = iota // nothing yet
	earlyTaken
	earlyRefused // the client's bytes were dropped unread, and it may send them again
)

// waitsForAnswer reports whether a record of the client's has to lie until the server's answer to early data is read. Where that
// cannot be read, early data counts as taken.
func (p *Parser) waitsForAnswer(o protocol.Opener, s *half) bool {
	server := &p.Sides[protocol.Server]
	return p.Early && p.EarlyAnswer == earlyOpen && !p.Retry && s.Epoch <= epochEarly && p.Call != nil &&
		!server.Lost && !server.Dark && !server.Hunt && server.Epoch != epochTraffic &&
		o.Secret(labelEarly, p.Random) != nil && o.Secret(labelServerHandshake, p.Random) != nil
}

// answerEarly reads EncryptedExtensions (RFC 8446 section 4.3.1).
func (p *Parser) answerEarly(h protocol.Host, b []byte) {
	p.EarlyAnswer = earlyRefused
	extensions(cryptobyte.String(b), func(kind uint16, _ cryptobyte.String) {
		if kind == extEarlyData {
			p.EarlyAnswer = earlyTaken
		}
	})
	h.Wake()
}

// refused reports whether the server drops what the client sends now. A HelloRetryRequest refuses, too.
func (p *Parser) refused() bool { return p.EarlyAnswer == earlyRefused || p.Retry && !p.Hello }
