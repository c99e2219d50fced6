package dissect

import (
	"encoding/binary"

	"github.com/devloop-io/devloop/traffic"
)

// Some packets tell of others: an ICMP error quotes the one that it is about, an sFlow datagram carries the heads of some that
// its switch saw. They are no packets of this capture: what is quoted was mostly captured itself, and of what was sampled the
// rest of the conversation lacks. So each is read alone, as if nothing else had been captured; its calls say where they are
// from, and connections, counters and the account know nothing of them.
//
//	IP │ ICMP error │ IP │ TCP │ "GET /…
//	IP │ UDP 6343 │ sFlow │ sample │ record │ Ethernet │ IP │ TCP │ "HTTP/1.1 200 …
const (
	portSFlow = 6343

	sflowVersion   = 5
	maxSamples     = 64 // of a datagram, and records of a sample
	sampleFlow     = 1
	sampleExpanded = 3
	recordHeader   = 1
)

// quoted reads the packet that an ICMP error is about.
func (d *Dissector) quoted(p *traffic.Packet, dg *datagram) {
	b := quoteOf(dg)
	if b == nil {
		return
	}
	var inner datagram
	var f fragment
	if decodeIP(b, 1<<16, &inner, &f) == accepted {
		d.alone(p, &inner, traffic.SourceICMPQuote, 0)
	}
}

// quoteOf is what an ICMP error quotes (RFC 792, RFC 4443), without what RFC 4884 puts behind it; nil when it is no error.
func quoteOf(dg *datagram) []byte {
	b := dg.data
	if len(b) < 8 {
		return nil
	}
	length := 0 // where extensions follow
	switch kind := b[0]; {
	case dg.proto == protoICMP && (kind == 3 || kind == 11 || kind == 12):
		length = int(b[5]) * 4
	case dg.proto == protoICMP && (kind == 4 || kind == 5):
	case dg.proto == protoICMPv6 && (kind == 1 || kind == 3):
		length = int(b[4]) * 8
	case dg.proto == protoICMPv6 && (kind == 2 || kind == 4):
	default:
		return nil
	}
	b = b[8:]
	if length > 0 && length < len(b) {
		b = b[:length]
	}
	return b
}

// sampled reads the heads of packets in an sFlow datagram (sflow.org, version 5).
func (d *Dissector) sampled(p *traffic.Packet, dg *datagram) {
	if len(dg.data) < 8 || binary.BigEndian.Uint16(dg.data[2:]) != portSFlow {
		return
	}
	x := words{dg.data[8:]}
	if x.next() != sflowVersion {
		return
	}
	switch x.next() { // the agent's address
	case 1:
		x.skip(4)
	case 2:
		x.skip(16)
	default:
		return
	}
	x.skip(12) // sub-agent, sequence, uptime
	heads := 0
	for range min(x.next(), maxSamples) {
		kind, sample := x.next(), x.opaque()
		switch kind {
		case sampleFlow:
			sample.skip(28)
		case sampleExpanded:
			sample.skip(40)
		default: // counters
			continue
		}
		for range min(sample.next(), maxSamples) {
			if kind, record := sample.next(), sample.opaque(); kind == recordHeader {
				d.head(p, record, heads)
				heads++
			}
		}
	}
}

// head reads the beginning of one sampled packet.
func (d *Dissector) head(p *traffic.Packet, record words, n int) {
	var inner datagram
	var f fragment
	kind, wire := record.next(), int(record.next()&(1<<24-1))
	record.skip(4) // what the agent stripped
	r := ignored("link_type")
	switch b := record.opaque().b; kind {
	case 1:
		r = decodeFrame(b, wire, &inner, &f)
	case 7:
		r = decodePPP(b, wire, &inner, &f)
	case 11, 12:
		r = decodeIP(b, wire, &inner, &f)
	case 13:
		r = decodeEther(etherMPLS, b, wire, &inner, &f)
	}
	if r == accepted {
		d.alone(p, &inner, traffic.SourceSFlow, n)
	}
}

// words are what is left of a message of 32-bit numbers (XDR, RFC 4506). What is not there reads as 0.
type words struct{ b []byte }

func (w *words) next() uint32 {
	if len(w.b) < 4 {
		w.b = nil
		return 0
	}
	n := binary.BigEndian.Uint32(w.b)
	w.b = w.b[4:]
	return n
}

func (w *words) skip(n int) { w.b = w.b[min(n, len(w.b)):] }

// opaque takes bytes that their length precedes.
func (w *words) opaque() words {
	n := int(min(w.next(), uint32(len(w.b))))
	inner := words{w.b[:n:n]}
	w.skip((n + 3) &^ 3)
	return inner
}

// alone reads one datagram as if it were all that was captured. The n-th of a packet has a time of its own, so that calls of one
// connection have different IDs.
func (d *Dissector) alone(p *traffic.Packet, dg *datagram, source string, n int) {
	if dg.proto == protoTCP && len(dg.data) <= 20 || dg.proto == protoUDP && len(dg.data) <= 8 {
		return // nothing but a header
	}
	o := d.o
	o.OnConnection, o.Quotes, o.Secrets, o.Returned = nil, false, nil, nil
	o.OnCall = func(c *traffic.Call) {
		c.CaptureSource = source
		d.out(c)
	}
	a := New(o)
	q := *p
	q.Time += int64(n)
	q.Direction = traffic.DirectionUnknown
	a.advance(q.Time)
	if dg.proto == protoTCP {
		a.tcp(&q, nil, dg)
	} else {
		a.udp(&q, nil, dg)
	}
	a.finish()
	a.EndWindow()
}
