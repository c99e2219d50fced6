package query

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/devloop-io/devloop/traffic"
)

// someFlows are connections of 60 flows between 12 pods of 4 services on 3 nodes.
func someFlows(r *rand.Rand, n int) []*traffic.Connection {
	pod := func(i int) traffic.Endpoint {
		return traffic.Endpoint{IP: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), Port: 8080, Workload: traffic.Workload{Kind: "pod", Namespace: []string{"shop", "bank"}[i%2],
			Service: fmt.Sprintf("service-%d", i%4), Pod: fmt.Sprintf("pod-%d", i), Node: fmt.Sprintf("node-%d", i%3)}}
	}
	type pair struct{ client, server int }
	var flows []pair
	for range 60 {
		flows = append(flows, pair{r.IntN(12), r.IntN(12)})
	}
	var all []*traffic.Connection
	for i := range n {
		f := r.IntN(len(flows))
		c := &traffic.Connection{ID: uint64(i + 1), FlowID: uint64(f + 1), Proto: []string{"tcp", "tcp", "udp"}[f%3], Src: pod(flows[f].client), Dst: pod(flows[f].server), Start: 1e15 + int64(i)*1e6,
			State: traffic.StateClosed, Opened: i%3 > 0, Closed: true, WindowCalls: r.IntN(4), ClientPackets: uint64(r.IntN(1000)), ServerPackets: uint64(r.IntN(1000)),
			ClientBytes: uint64(r.IntN(1e6)), ServerBytes: uint64(r.IntN(1e6)), TCP: &traffic.TCPMetrics{Retransmissions: r.IntN(3)}}
		c.Src.Port = uint16(30000 + i)
		c.End = c.Start + int64(r.IntN(1e9))
		if c.Proto == "tcp" {
			c.HandshakeClientNS, c.HandshakeServerNS = 1000+int64(r.IntN(5e6)), int64(r.IntN(3))*1e5 // some were not seen
		}
		all = append(all, c)
	}
	return all
}

// ranked is the nearest-rank percentile in microseconds.
func ranked(values []int64, p int) int64 {
	if len(values) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(values))[(len(values)*p+99)/100-1] / 1000
}

// Counters, rates and percentiles of flows and of each aggregate are those of their connections, counted here one by one; pages
// have each row once.
func TestFlowsAreTheirConnections(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 5))
	conns := someFlows(r, 900)
	rows := inMemory(someCalls(r, 10), conns)
	names := map[string]func(e *traffic.Endpoint) string{
		"pod": func(e *traffic.Endpoint) string { return e.Pod }, "namespace": func(e *traffic.Endpoint) string { return e.Namespace },
		"node": func(e *traffic.Endpoint) string { return e.Node }, "service": func(e *traffic.Endpoint) string { return e.Namespace + "/" + e.Service }}
	shown := map[string]func(e FlowEnd) string{
		"pod": func(e FlowEnd) string { return e.Pod }, "namespace": func(e FlowEnd) string { return e.NS },
		"node": func(e FlowEnd) string { return e.Node }, "service": func(e FlowEnd) string { return e.NS + "/" + e.Svc }}
	for _, aggregate := range []string{"", "pod", "namespace", "node", "service"} {
		byKey := map[string][]*traffic.Connection{}
		for _, c := range conns {
			key := fmt.Sprint(c.FlowID)
			if aggregate != "" {
				key = c.Proto + " " + names[aggregate](&c.Src) + " " + names[aggregate](&c.Dst)
			}
			byKey[key] = append(byKey[key], c)
		}
		for place, db := range map[string]*Database{"memory": rows, "file": onDisk(t, rows)} {
			last, seen := ^uint64(0), map[string]bool{}
			for cursor, more := "", true; more; {
				a, err := ListL4Flows(t.Context(), db, FlowsRequest{Aggregate: aggregate, Format: "full", Limit: 7, Cursor: cursor})
				if err != nil {
					t.Fatal(err)
				}
				if a.Total != len(byKey) || a.Truncated != (a.Cursor != "") {
					t.Fatalf("%s by %q: %d rows, truncated %t, want %d", place, aggregate, a.Total, a.Truncated, len(byKey))
				}
				for _, row := range a.Flows {
					f := row.(FlowRow)
					key := fmt.Sprint(f.ID)
					if aggregate != "" {
						key = f.Proto + " " + shown[aggregate](f.Client) + " " + shown[aggregate](f.Server)
					}
					if seen[key] || f.Totals.Bytes > last {
						t.Errorf("%s by %q: row %s comes twice, or is out of order", place, aggregate, key)
					}
					seen[key], last = true, f.Totals.Bytes
					sameFlow(t, fmt.Sprintf("%s by %q: %s", place, aggregate, key), f, byKey[key])
				}
				cursor, more = a.Cursor, a.Truncated
			}
			if len(seen) != len(byKey) {
				t.Errorf("%s by %q: pages have %d rows of %d", place, aggregate, len(seen), len(byKey))
			}
		}
	}
}

func sameFlow(t *testing.T, name string, got FlowRow, conns []*traffic.Connection) {
	t.Helper()
	if len(conns) == 0 {
		t.Errorf("%s: no connection is of it", name)
		return
	}
	var packets, bytes [2]uint64
	var handshakes [2][]int64
	opened, calls, retransmissions := 0, 0, 0
	flows := map[uint64]bool{}
	first, last := conns[0].Start, conns[0].End
	for _, c := range conns {
		packets[0] += c.ClientPackets
		packets[1] += c.ServerPackets
		bytes[0] += c.ClientBytes
		bytes[1] += c.ServerBytes
		for i, ns := range []int64{c.HandshakeClientNS, c.HandshakeServerNS} {
			if ns > 0 {
				handshakes[i] = append(handshakes[i], ns)
			}
		}
		if c.Opened {
			opened++
		}
		calls += c.WindowCalls
		retransmissions += c.TCP.Retransmissions
		flows[c.FlowID] = true
		first, last = min(first, c.Start), max(last, c.End)
	}
	seconds := float64(last-first) / 1e9
	rate := func(n uint64) uint64 { return uint64(float64(n) / seconds) }
	near := func(a, b uint64) bool { return max(a, b)-min(a, b) <= 1 } // rounding
	for i, s := range []FlowStats{got.ClientStats, got.ServerStats} {
		if s.TxPackets != packets[i] || s.RxPackets != packets[1-i] || s.TxBytes != bytes[i] || s.RxBytes != bytes[1-i] {
			t.Errorf("%s: end %d has counters %+v, want packets %d and bytes %d", name, i, s, packets, bytes)
		}
		if h := handshakes[i]; s.HandshakeP50 != ranked(h, 50) || s.HandshakeP90 != ranked(h, 90) || s.HandshakeP99 != ranked(h, 99) {
			t.Errorf("%s: end %d has handshakes %d %d %d, want %d %d %d", name, i, s.HandshakeP50, s.HandshakeP90, s.HandshakeP99, ranked(h, 50), ranked(h, 90), ranked(h, 99))
		}
		if !near(s.TxPPS, rate(packets[i])) || !near(s.RxPPS, rate(packets[1-i])) || !near(s.TxBPS, rate(bytes[i])) || !near(s.RxBPS, rate(bytes[1-i])) {
			t.Errorf("%s: end %d has rates %+v over %.3f s", name, i, s, seconds)
		}
		if s.Timestamp != time.Unix(0, last).UTC().Format(time.RFC3339Nano) {
			t.Errorf("%s: its last packet is of %s", name, s.Timestamp)
		}
	}
	all := FlowTotals{Packets: packets[0] + packets[1], Bytes: bytes[0] + bytes[1], PPS: got.Totals.PPS, BPS: got.Totals.BPS}
	if got.Totals != all || !near(all.PPS, rate(all.Packets)) || !near(all.BPS, rate(all.Bytes)) {
		t.Errorf("%s: totals %+v, want %+v", name, got.Totals, all)
	}
	if got.Connections != len(conns) || got.Opened != opened || got.Calls != calls || got.Retransmissions != retransmissions || got.ID == 0 && got.Flows != len(flows) {
		t.Errorf("%s: %d connections, %d opened, %d calls, %d retransmissions, %d flows; want %d, %d, %d, %d, %d", name, got.Connections, got.Opened, got.Calls, got.Retransmissions, got.Flows,
			len(conns), opened, calls, retransmissions, len(flows))
	}
}
