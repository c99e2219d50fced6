package tls

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"golang.org/x/crypto/cryptobyte"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// Extensions (IANA).
const (
	extServerName        = 0
	extALPN              = 16
	extEncryptThenMAC    = 22
	extPSK               = 41
	extEarlyData         = 42
	extSupportedVersions = 43
)

const maxCertificates = 16

// retryRequest is the random of a ServerHello that asks for another ClientHello (RFC 8446 section 4.1.3).
var retryRequest = []byte{0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c}

// hello is the part of a ClientHello that lies before its extensions (RFC 8446 section 4.1.2).
type hello struct {
	version          uint16
	random           []byte
	session, ciphers cryptobyte.String
}

// read takes that part off the front of s.
func (x *hello) read(s *cryptobyte.String) bool {
	var compression cryptobyte.String
	return s.ReadUint16(&x.version) && s.ReadBytes(&x.random, 32) && s.ReadUint8LengthPrefixed(&x.session) &&
		s.ReadUint16LengthPrefixed(&x.ciphers) && s.ReadUint8LengthPrefixed(&compression)
}

// says reports whether a ClientHello that may be cut has an extension.
func says(b []byte, wanted uint16) (yes bool) {
	var x hello
	if s := cryptobyte.String(b); x.read(&s) {
		extensions(s, func(kind uint16, _ cryptobyte.String) { yes = yes || kind == wanted })
	}
	return yes
}

// salvageHello reads a ClientHello that is cut behind its server name; without a name it would look as if none had been asked for.
func (p *Parser) salvageHello(h protocol.Host, from protocol.Side, s *half, v *protocol.View) int {
	const front = 5 + 4 // of the record and of the message
	b := v.Data
	if from != protocol.Client || s.Lost || s.Hunt || s.Closed || s.Skip > 0 || len(s.Handshake) > 0 || len(b) < front ||
		b[0] != recordHandshake || b[5] != msgClientHello {
		return 0
	}
	size, message := int(binary.BigEndian.Uint16(b[3:])), int(b[6])<<16|int(b[7])<<8|int(b[8])
	if size < 4+message || len(b) >= 5+size || !says(b[front:], extServerName) {
		return 0
	}
	p.clientHello(h, b[front:], v.At(0), v.At(len(b)-1))
	p.Call.RequestSize = int64(message)
	p.Ticket = true // the last extension: a server that takes one was offered one
	if !says(b[front:], extSupportedVersions) {
		p.Call.TLS.OfferedVersion = 0 // not known: what stands in front is for old servers
	}
	s.Skip, s.Torn = int64(5+size-len(b)), true
	return len(b)
}

// clientHello begins a handshake.
func (p *Parser) clientHello(h protocol.Host, b []byte, first, last protocol.Mark) {
	s := cryptobyte.String(b)
	var x hello
	if !x.read(&s) {
		h.Undecoded(int64(len(b)), "tls_malformed")
		return
	}
	p.again(h, first)
	if p.Call == nil {
		p.Call = &traffic.Call{Protocol: traffic.ProtoTLS, Method: "ClientHello", Index: h.NextCall(), TLS: &traffic.TLS{}}
		p.Request, p.Answer, p.Started, p.Hello, p.Half = protocol.Span{}, protocol.Span{}, first.Time, false, false
	}
	p.Request.Add(first)
	p.Request.Add(last)
	t := p.Call.TLS
	*t = traffic.TLS{OfferedVersion: x.version}
	p.Call.RequestSize = int64(len(b))
	p.Offered, p.Ticket = bytes.Clone(x.session), false
	p.Random, p.Early, p.EarlyAnswer = bytes.Clone(x.random), false, earlyOpen
	var id uint16
	for x.ciphers.ReadUint16(&id) && len(t.Ciphers) < 256 {
		if !grease(id) {
			t.Ciphers = append(t.Ciphers, tls.CipherSuiteName(id))
		}
	}
	extensions(s, func(kind uint16, e cryptobyte.String) { p.clientExtension(t, kind, e) })
	if len(t.ALPNs) > 0 {
		t.ALPN = t.ALPNs[0]
	}
	p.Call.Path = t.SNI
	if t.SNI != "" {
		h.SNI(t.SNI)
	}
}

// extensions calls f for each extension of a hello; a list that is cut ends where it is cut.
func extensions(s cryptobyte.String, f func(kind uint16, e cryptobyte.String)) {
	var total uint16
	if !s.ReadUint16(&total) {
		return
	}
	if int(total) < len(s) {
		s = s[:total]
	}
	var kind uint16
	var e cryptobyte.String
	for s.ReadUint16(&kind) && s.ReadUint16LengthPrefixed(&e) {
		f(kind, e)
	}
}

func (p *Parser) clientExtension(t *traffic.TLS, kind uint16, e cryptobyte.String) {
	switch kind {
	case extServerName: // RFC 6066 section 3
		var names, name cryptobyte.String
		var nameType uint8
		if e.ReadUint16LengthPrefixed(&names) {
			for names.ReadUint8(&nameType) && names.ReadUint16LengthPrefixed(&name) {
				if nameType == 0 && t.SNI == "" {
					t.SNI = string(name)
				}
			}
		}
	case extALPN:
		t.ALPNs = alpns(e)
	case extSupportedVersions:
		var list cryptobyte.String
		var v uint16
		if e.ReadUint8LengthPrefixed(&list) {
			for list.ReadUint16(&v) {
				if !grease(v) && v > t.OfferedVersion {
					t.OfferedVersion = v
				}
			}
		}
	case extPSK:
		p.Ticket = true
	case extEarlyData:
		p.Early = true
	}
}

func alpns(e cryptobyte.String) (out []string) {
	var list, name cryptobyte.String
	if e.ReadUint16LengthPrefixed(&list) {
		for list.ReadUint8LengthPrefixed(&name) && len(out) < 64 {
			out = append(out, string(name))
		}
	}
	return out
}

// grease recognises the values that clients send to keep servers tolerant (RFC 8701).
func grease(v uint16) bool { return v&0x0f0f == 0x0a0a && byte(v) == byte(v>>8) }

// serverHello is the answer (RFC 8446 section 4.1.3).
func (p *Parser) serverHello(h protocol.Host, b []byte, first, last protocol.Mark) {
	s := cryptobyte.String(b)
	var version, cipher uint16
	var random []byte
	var session cryptobyte.String
	if !s.ReadUint16(&version) || !s.ReadBytes(&random, 32) || !s.ReadUint8LengthPrefixed(&session) ||
		!s.ReadUint16(&cipher) || !s.Skip(1) {
		h.Undecoded(int64(len(b)), "tls_malformed")
		return
	}
	if bytes.Equal(random, retryRequest) {
		p.Sides[protocol.Client].clear() // another ClientHello follows in the clear, whatever early data came first
		p.retry(cipher, s, len(b), first, last)
		return
	}
	if p.Call == nil { // the ClientHello was not seen
		if p.Count > 0 {
			return
		}
		p.Call = &traffic.Call{Protocol: traffic.ProtoTLS, Index: h.NextCall(), TLS: &traffic.TLS{}}
		p.Request, p.Answer, p.Started, p.Half, p.Offered = protocol.Span{}, protocol.Span{}, first.Time, true, nil
	}
	p.Count++
	p.Hello = true
	p.Answer.Add(first)
	p.Answer.Add(last)
	t := p.Call.TLS
	t.Version, t.Cipher = version, cipher
	p.Call.ResponseSize = int64(len(b))
	p.ServerRandom, p.ETM = bytes.Clone(random), false
	psk := false
	chosen := ""
	extensions(s, func(kind uint16, e cryptobyte.String) {
		switch kind {
		case extSupportedVersions:
			e.ReadUint16(&t.Version)
		case extALPN:
			if names := alpns(e); len(names) > 0 {
				chosen = names[0]
			}
		case extPSK:
			psk = true
		case extEncryptThenMAC:
			p.ETM = true
		}
	})
	if chosen != "" {
		t.ALPN = chosen
	} else if t.Version < tls.VersionTLS13 {
		t.ALPN = "" // the choice would have been in the clear
	}
	t.Resumed = psk && p.Ticket
	if t.Version < tls.VersionTLS13 {
		t.Resumed = len(session) > 0 && bytes.Equal(session, p.Offered)
	} else {
		p.Sides[protocol.Server].Closed = true // the rest of the flight is encrypted
	}
	p.About = &traffic.TLS{SNI: t.SNI, Version: t.Version, OfferedVersion: t.OfferedVersion, Cipher: t.Cipher, ALPN: t.ALPN, Resumed: t.Resumed}
	h.Wake() // the client's first encrypted records may wait for the choice of ciphers
}

// certificates reads the chain of TLS 1.2 and older (RFC 5246 section 7.4.2).
func certificates(b []byte) (out []traffic.Certificate) {
	s := cryptobyte.String(b)
	var list, der cryptobyte.String
	if !s.ReadUint24LengthPrefixed(&list) {
		return nil
	}
	for list.ReadUint24LengthPrefixed(&der) && len(out) < maxCertificates {
		sum := sha256.Sum256(der)
		c := traffic.Certificate{SHA256: hex.EncodeToString(sum[:])}
		if x, err := x509.ParseCertificate(der); err == nil {
			c.Subject, c.Issuer, c.Names = x.Subject.String(), x.Issuer.String(), x.DNSNames
			c.NotBefore, c.NotAfter = x.NotBefore.Unix(), x.NotAfter.Unix()
		}
		out = append(out, c)
	}
	return out
}

// alerts are names of RFC 8446 section 6.
var alerts = map[byte]string{0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow",
	40: "handshake_failure", 42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked",
	45: "certificate_expired", 46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied",
	50: "decode_error", 51: "decrypt_error", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error",
	86: "inappropriate_fallback", 90: "user_canceled", 109: "missing_extension", 110: "unsupported_extension",
	112: "unrecognized_name", 113: "bad_certificate_status_response", 115: "unknown_psk_identity",
	116: "certificate_required", 120: "no_application_protocol"}

// alert reads an alert in the clear. A fatal one ends the handshake.
func (p *Parser) alert(h protocol.Host, b []byte, at protocol.Mark) {
	if p.Call == nil {
		return
	}
	name := alerts[b[1]]
	if name == "" {
		name = strconv.Itoa(int(b[1]))
	}
	p.Call.TLS.Alert = name
	if b[0] == 2 {
		p.Call.Status = int(b[1])
		p.Answer.Add(at)
		p.finish(h, traffic.StateComplete, "", 0)
	}
}
