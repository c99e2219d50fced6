package quic

import (
	"bytes"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/dissect/tls"
	"github.com/devloop-io/devloop/traffic"
)

// Protocol is this package's row in dissect's table.
var Protocol = protocol.Protocol{Name: traffic.ProtoQUIC, Network: "udp", Detect: detect, New: func() protocol.Parser { return &Parser{} }}

// Parser is the state of one UDP conversation, in which one handshake may follow another. Exported for checkpoints.
type Parser struct {
	Version uint32 // of the keys' packets
	DCID    []byte // of the client's first packet: the keys follow from it
	Before  []byte // the one before that: of late packets
	Again   bool   // a Retry or a negotiation of versions asked the client to begin again
	Sides   [2]stream
	TLS     tls.Parser

	keys [2]*keys // made again when needed
}

// detect wants a client's Initial packet that its own Destination Connection ID opens, or one of a server with a version known.
func detect(b []byte) protocol.Verdict {
	p, _, ok := split(b)
	if !ok || p.kind != initial {
		return protocol.No
	}
	k, err := initialKeys(p.version, p.dcid, protocol.Client)
	if err != nil {
		return protocol.No
	}
	if _, _, ok := k.open(&p, -1); ok {
		return protocol.FromClient
	}
	if len(b) < 64 || p.version&0x0f0f0f0f == 0x0a0a0a0a { // too little to believe it
		return protocol.No
	}
	return protocol.FromServer
}

// Data implements [protocol.Parser]: one datagram.
func (p *Parser) Data(h protocol.Host, from protocol.Side, v *protocol.View) int {
	at := v.At(0)
	for rest := v.Data; len(rest) > 0; {
		pk, next, ok := split(rest)
		if !ok {
			h.Encrypted(int64(len(rest))) // padding, a packet cut by the capture, or a version not known
			break
		}
		p.packet(h, from, &pk, at)
		rest = next
	}
	return len(v.Data)
}

func (p *Parser) packet(h protocol.Host, from protocol.Side, pk *packet, at protocol.Mark) {
	switch pk.kind {
	case retry, negotiation:
		p.Again = p.Again || from == protocol.Server
		return
	case initial:
		if payload, ok := p.open(h, from, pk, at); ok {
			p.frames(h, from, payload, at)
			return
		}
	case handshake, short:
		p.TLS.Beyond(h, from, at)
	}
	h.Encrypted(int64(len(pk.data)))
}

// open decrypts an Initial packet. A client's packet that only its own Destination Connection ID opens begins a handshake.
func (p *Parser) open(h protocol.Host, from protocol.Side, pk *packet, at protocol.Mark) ([]byte, bool) {
	s := &p.Sides[from]
	if p.DCID != nil {
		if pk.version != p.Version { // both sides may agree on another (RFC 9368)
			p.Version, p.keys = pk.version, [2]*keys{}
		}
		if payload, number, ok := p.try(from, pk, p.DCID, s.Largest-1); ok {
			s.Largest = max(s.Largest, number+1)
			return payload, true
		}
	}
	if from != protocol.Client || bytes.Equal(pk.dcid, p.DCID) || p.Before != nil && bytes.Equal(pk.dcid, p.Before) {
		return nil, false
	}
	old := p.keys
	p.keys = [2]*keys{}
	payload, number, ok := p.try(from, pk, pk.dcid, -1)
	if !ok {
		p.keys = old
		return nil, false
	}
	if p.Again {
		p.TLS.Restart()
	} else {
		p.TLS.Renew(h, at)
	}
	p.Version, p.Before, p.DCID, p.Again, p.Sides = pk.version, p.DCID, bytes.Clone(pk.dcid), false, [2]stream{}
	s.Largest = number + 1
	return payload, true
}

func (p *Parser) try(from protocol.Side, pk *packet, dcid []byte, largest int64) ([]byte, int64, bool) {
	if p.keys[from] == nil {
		k, err := initialKeys(pk.version, dcid, from)
		if err != nil {
			return nil, 0, false
		}
		p.keys[from] = k
	}
	return p.keys[from].open(pk, largest)
}

// Gap implements [protocol.Parser]; UDP has none.
func (p *Parser) Gap(protocol.Host, protocol.Side, int64, protocol.Mark) {}

// Closed implements [protocol.Parser]; UDP never is.
func (p *Parser) Closed(protocol.Host, protocol.Side, protocol.Mark) {}

// End implements [protocol.Parser].
func (p *Parser) End(h protocol.Host, e protocol.End) { p.TLS.End(h, e) }

// Tick implements [protocol.Parser].
func (p *Parser) Tick(protocol.Host, int64) {}

// Window implements [protocol.Parser].
func (p *Parser) Window(h protocol.Host) { p.TLS.Window(h) }
