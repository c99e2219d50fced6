package dissect

import (
	"encoding/binary"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// udp reads one datagram.
func (d *Dissector) udp(p *traffic.Packet, ifc *traffic.Interface, dg *datagram) {
	b := dg.data
	if len(b) < 8 {
		d.account.Malformed["udp"]++
		return
	}
	d.account.Decoded++
	sport, dport := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	length := int(binary.BigEndian.Uint16(b[4:])) - 8
	if length < 0 || length > dg.wire-8 { // 0 is allowed for jumbograms and by offload
		length = dg.wire - 8
	}
	data := b[8:min(len(b), 8+length)]
	k, dir := canonical(dg, sport, dport)
	k.Scope = scope(dg, ifc)
	c := d.conns[k]
	if c == nil {
		client, other := dir, dport
		if likelyClient(&k) != dir && sport < 1024 && other >= 1024 { // an answer whose question was not seen
			client = 1 - dir
		}
		c = d.open(k, uint64(p.Time), p.Time, client, true)
		c.FromStart, c.Opened = true, true
	}
	dir = c.named(&k, dir)
	c.note(p, ifc, dir)
	if c.Seeks {
		c, dir = d.joinUDP(c, dir, data, p)
	}
	d.touch(c)
	c.Active = true
	c.Last = max(c.Last, p.Time)
	if c.Packets.First == 0 {
		c.Packets.First = p.Number
	}
	c.Packets.Last = p.Number

	me := &c.Dir[dir]
	if p.Direction == traffic.DirectionOut {
		me.OutSeen = true
		if c.copied(dir, p.Direction, data) {
			return
		}
	} else if p.Direction == traffic.DirectionIn && me.OutSeen {
		return // the sender's copy was read
	} else if p.Direction == traffic.DirectionIn {
		c.copied(dir, p.Direction, data)
	}
	me.Packets++
	me.Bytes += uint64(length)
	d.mark[0] = protocol.Mark{Packet: p.Number, Time: p.Time, Offset: me.Offset}
	me.Offset += int64(length)
	if len(data) < length && p.Direction == traffic.DirectionIn || len(data) == 0 {
		return
	}
	if cut := length - len(data); cut > 0 {
		d.lack(c, int64(cut))
	}
	d.datagramData(c, dir, data)
}

// datagramData hands a datagram to the connection's protocol, looking for one first.
func (d *Dissector) datagramData(c *connection, dir int, data []byte) {
	if c.Parser == nil {
		c.Stage = stageOther
		for i := range protocols {
			p := &protocols[i]
			if p.Network != "udp" {
				continue
			}
			v := p.Detect(data)
			if v != protocol.FromClient && v != protocol.FromServer {
				continue
			}
			client := dir
			if v == protocol.FromServer {
				client = 1 - dir
			}
			c.setClient(client, true)
			c.L7, c.Parser, c.Stage = p.Name, p.New(), stageParsed
			break
		}
		if c.Parser == nil {
			return
		}
	}
	d.view = protocol.View{Data: data, Base: d.mark[0].Offset, Marks: d.mark[:]}
	d.host.begin(c)
	c.Parser.Data(&d.host, c.side(dir), &d.view)
}

// timer is a connection's deadline. Stale ones are recognised by the connection's own field.
type timer struct {
	At int64
	c  *connection
}

// timerHeap is a binary heap, earliest first; equal times in order of the connections' first sight.
type timerHeap []timer

func (h timerHeap) less(i, j int) bool {
	if h[i].At != h[j].At {
		return h[i].At < h[j].At
	}
	return h[i].c.Serial < h[j].c.Serial
}

func (h *timerHeap) push(t timer) {
	*h = append(*h, t)
	for i := len(*h) - 1; i > 0 && h.less(i, (i-1)/2); i = (i - 1) / 2 {
		(*h)[i], (*h)[(i-1)/2] = (*h)[(i-1)/2], (*h)[i]
	}
}

func (h *timerHeap) pop() timer {
	old := *h
	t, n := old[0], len(old)-1
	old[0] = old[n]
	old[n] = timer{}
	*h = old[:n]
	for i := 0; ; {
		k := 2*i + 1
		if k >= n {
			return t
		}
		if k+1 < n && h.less(k+1, k) {
			k++
		}
		if !h.less(k, i) {
			return t
		}
		(*h)[i], (*h)[k] = (*h)[k], (*h)[i]
		i = k
	}
}
