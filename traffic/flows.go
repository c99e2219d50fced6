package traffic

import (
	"cmp"
	"slices"
)

// Flows groups connections into flows, busiest first.
func Flows(connections []*Connection) []*Flow {
	byID := map[uint64]*gathering{}
	var order []*gathering
	for _, c := range connections {
		g := byID[c.FlowID]
		if g == nil {
			g = &gathering{Flow: Flow{ID: c.FlowID, Proto: c.Proto, Client: compactEnd(&c.Src), Server: compactEnd(&c.Dst)}}
			g.Client.Port = 0
			byID[c.FlowID] = g
			order = append(order, g)
		}
		g.add(c)
	}
	flows := make([]*Flow, 0, len(order))
	for _, g := range order {
		flows = append(flows, g.finish())
	}
	slices.SortStableFunc(flows, func(a, b *Flow) int { return cmp.Compare(b.Totals.Bytes, a.Totals.Bytes) })
	return flows
}

// gathering is a flow with the handshake times that its percentiles come from.
type gathering struct {
	Flow
	client, server []int64
}

func (g *gathering) add(c *Connection) {
	g.Connections++
	if c.Opened {
		g.Opened++
	}
	g.Calls += c.WindowCalls
	if c.L7 != "" && !slices.Contains(g.L7, c.L7) {
		g.L7 = append(g.L7, c.L7)
	}
	g.ClientStats.TxPackets += c.ClientPackets
	g.ClientStats.TxBytes += c.ClientBytes
	g.ServerStats.TxPackets += c.ServerPackets
	g.ServerStats.TxBytes += c.ServerBytes
	switch c.State {
	case StateReset:
		g.Resets++
	case StateRefused:
		g.Refused++
	}
	if c.TCP != nil {
		g.Retransmissions += c.TCP.Retransmissions
	}
	if c.HandshakeClientNS > 0 {
		g.client = append(g.client, c.HandshakeClientNS)
	}
	if c.HandshakeServerNS > 0 {
		g.server = append(g.server, c.HandshakeServerNS)
	}
}

func (g *gathering) finish() *Flow {
	c, s := &g.ClientStats, &g.ServerStats
	c.RxPackets, c.RxBytes, s.RxPackets, s.RxBytes = s.TxPackets, s.TxBytes, c.TxPackets, c.TxBytes
	g.Totals = FlowTotals{c.TxPackets + s.TxPackets, c.TxBytes + s.TxBytes}
	c.handshakes(g.client)
	s.handshakes(g.server)
	slices.Sort(g.L7)
	return &g.Flow
}

// handshakes sets the percentiles by the nearest rank.
func (f *FlowStats) handshakes(ns []int64) {
	if len(ns) == 0 {
		return
	}
	slices.Sort(ns)
	at := func(q int) int64 { return ns[(len(ns)*q+99)/100-1] / 1000 }
	f.HandshakeP50, f.HandshakeP90, f.HandshakeP99 = at(50), at(90), at(99)
}
