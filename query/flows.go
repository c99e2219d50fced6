package query

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/devloop-io/devloop/traffic"
)

// FlowRow is a flow, or all flows of a pair of pods, namespaces, nodes or services, in Kubeshark's form with what we know beyond it.
// Client is who opened the connections. Counters are of whole connections, payload bytes without retransmissions; bytes a second
// are bytes, not bits.
type FlowRow struct {
	Proto           string                `json:"proto"`
	Client          FlowEnd               `json:"client"`
	Server          FlowEnd               `json:"server"`
	ClientStats     FlowStats             `json:"client_stats"`
	ServerStats     FlowStats             `json:"server_stats"`
	Totals          FlowTotals            `json:"totals"`
	ID              uint64                `json:"flow_id,omitempty"`
	Flows           int                   `json:"flows,omitempty"` // of an aggregate
	Connections     int                   `json:"connections"`
	Opened          int                   `json:"opened"`
	Calls           int                   `json:"calls"`
	L7              []string              `json:"l7,omitempty"`
	Resets          int                   `json:"resets,omitempty"`
	Refused         int                   `json:"refused,omitempty"`
	Retransmissions int                   `json:"retransmissions,omitempty"`
	Raw             []*traffic.Connection `json:"connection_list,omitempty"` // format raw: its connections with their TCP metrics, the first 100
}

// FlowEnd is one end of a flow.
type FlowEnd struct {
	IP          string `json:"ip,omitempty"`
	Port        uint16 `json:"port,omitempty"` // of servers
	Pod         string `json:"pod,omitempty"`
	NS          string `json:"ns,omitempty"`
	Svc         string `json:"svc,omitempty"`
	Node        string `json:"node,omitempty"`
	Container   string `json:"container,omitempty"` // format full: its name
	DNS         string `json:"dns,omitempty"`       // name that was looked up to reach it
	ContainerID string `json:"container_id,omitempty"`
	CGroupID    uint64 `json:"cgroup_id,omitempty"`
}

// FlowStats are what one end sent and received.
type FlowStats struct {
	TxPackets    uint64 `json:"tx_pkts"`
	RxPackets    uint64 `json:"rx_pkts"`
	TxBytes      uint64 `json:"tx_bytes"`
	RxBytes      uint64 `json:"rx_bytes"`
	HandshakeP50 int64  `json:"tcp_handshake_p50_us,omitempty"`
	HandshakeP90 int64  `json:"tcp_handshake_p90_us,omitempty"`
	HandshakeP99 int64  `json:"tcp_handshake_p99_us,omitempty"`
	TxPPS        uint64 `json:"tx_pps,omitempty"` // format full, like what follows
	RxPPS        uint64 `json:"rx_pps,omitempty"`
	TxBPS        uint64 `json:"tx_bps,omitempty"`
	RxBPS        uint64 `json:"rx_bps,omitempty"`
	Timestamp    string `json:"timestamp,omitempty"` // of the last packet, ISO 8601
}

// FlowTotals are both directions together; the rates are over the time from its first packet to its last.
type FlowTotals struct {
	Packets uint64 `json:"pkts"`
	Bytes   uint64 `json:"bytes"`
	PPS     uint64 `json:"pps"`
	BPS     uint64 `json:"bps"`
}

// ListL4Flows returns a page of flows. A filter about calls selects the flows that carried one of them.
func ListL4Flows(ctx context.Context, db *Database, r FlowsRequest) (*FlowsAnswer, error) {
	limit, err := bounded(r.Limit, usualLimit, mostLimit)
	if err != nil {
		return nil, err
	}
	for _, x := range []struct {
		name  string
		value *string
		words []string
	}{{"format", &r.Format, []string{"compact", "full", "raw"}}, {"order", &r.Order, []string{"bytes", "handshake", "retransmissions", "connections"}},
		{"aggregate", &r.Aggregate, []string{"", "pod", "namespace", "node", "service"}}, {"l4proto", &r.L4Proto, []string{"", "tcp", "udp"}}} {
		if *x.value, err = oneOf(x.name, *x.value, x.words...); err != nil {
			return nil, err
		}
	}
	v, err := openSurvey(ctx, db, r.Selection)
	if err != nil {
		return nil, err
	}
	question := questionOf("flows", db.Name, v.f.Rewritten(), r.Start, r.End, r.Order, r.Aggregate, r.L4Proto, r.IP, r.NS, r.Pod, r.Svc)
	at, err := readCursor(r.Cursor, question)
	if err != nil {
		return nil, err
	}
	flows, err := v.flows(r.Aggregate, r.selects)
	if err != nil {
		return nil, err
	}
	sortFlows(flows, r.Order)
	a := &FlowsAnswer{Flows: []any{}, Total: len(flows)}
	if at != nil {
		if at.Row < 0 || at.Row > int64(len(flows)) {
			return nil, mistake("ask again without the cursor", "the flows are fewer than when the cursor was given")
		}
		flows = flows[at.Row:]
	}
	from := a.Total - len(flows)
	flows, a.Truncated = head(flows, limit)
	for _, f := range flows {
		a.Flows = append(a.Flows, f.row(r.Format))
	}
	if a.Truncated {
		a.Cursor = (&cursor{Question: question, Row: int64(from + limit)}).text()
	}
	v.found = a.Total
	a.Reading = v.reading("connections")
	return a, nil
}

// selects reports whether a connection is of the ends that are asked for.
func (r *FlowsRequest) selects(c *traffic.Connection) bool {
	either := func(want string, of func(*traffic.Endpoint) string) bool {
		return want == "" || of(&c.Src) == want || of(&c.Dst) == want
	}
	return (r.L4Proto == "" || c.Proto == r.L4Proto) &&
		either(r.IP, func(e *traffic.Endpoint) string { return e.IP.Unmap().String() }) &&
		either(r.NS, func(e *traffic.Endpoint) string { return e.Namespace }) &&
		either(r.Pod, func(e *traffic.Endpoint) string { return e.Pod }) &&
		either(r.Svc, func(e *traffic.Endpoint) string { return e.Service })
}

// flows sums up the selected connections.
func (v *survey) flows(aggregate string, selects func(*traffic.Connection) bool) ([]*flowSums, error) {
	type key struct {
		id             uint64
		client, server string
		proto          string
	}
	byKey := map[key]*flowSums{}
	var all []*flowSums
	for c, err := range v.connections() {
		if err != nil {
			return nil, err
		}
		if selects != nil && !selects(c) {
			continue
		}
		k := key{id: c.FlowID, proto: c.Proto}
		if aggregate != "" {
			k = key{client: endBy(&c.Src, aggregate), server: endBy(&c.Dst, aggregate), proto: c.Proto}
		}
		f := byKey[k]
		if f == nil {
			f = newFlowSums(aggregate, c)
			byKey[k] = f
			all = append(all, f)
		}
		f.add(c)
	}
	return all, nil
}

// endBy names an end as an aggregate knows it; what has no such name goes by its address.
func endBy(e *traffic.Endpoint, aggregate string) string {
	switch aggregate {
	case "namespace":
		return known(e.Namespace)
	case "node":
		return known(e.Node)
	case "service":
		return e.Namespace + "/" + nameOf(e)
	}
	return e.Namespace + "/" + cmp.Or(e.Pod, nameOf(e))
}

// flowSums is a flow, or several, while connections are added.
type flowSums struct {
	FlowRow
	ids            map[uint64]bool
	client, server digest // handshakes
	first, last    int64
	open           bool
	starting       bool
}

func newFlowSums(aggregate string, c *traffic.Connection) *flowSums {
	f := &flowSums{ids: map[uint64]bool{}, first: c.Start, last: c.End}
	f.Proto, f.Client, f.Server = c.Proto, flowEnd(&c.Src, aggregate), flowEnd(&c.Dst, aggregate)
	f.Client.Port = 0
	if aggregate == "" {
		f.ID = c.FlowID
	}
	return f
}

func flowEnd(e *traffic.Endpoint, aggregate string) FlowEnd {
	switch aggregate {
	case "namespace":
		return FlowEnd{NS: known(e.Namespace)}
	case "node":
		return FlowEnd{Node: known(e.Node)}
	}
	end := FlowEnd{Pod: e.Pod, NS: e.Namespace, Svc: e.Service, Node: e.Node, DNS: e.DNS}
	if aggregate == "service" {
		end.Pod, end.Node = "", ""
	}
	if aggregate == "" || end.Svc == "" && end.Pod == "" {
		end.IP = e.IP.Unmap().String()
	}
	if aggregate == "" {
		end.Port, end.Container = e.Port, e.Container
	}
	return end
}

// mostRaw bounds the connections of a flow that format raw lists.
const mostRaw = 100

func (f *flowSums) add(c *traffic.Connection) {
	f.ids[c.FlowID] = true
	f.Connections++
	if c.Opened {
		f.Opened++
	}
	f.Calls += c.WindowCalls
	if c.L7 != "" {
		f.L7 = note(f.L7, c.L7, 16)
	}
	f.ClientStats.TxPackets += c.ClientPackets
	f.ClientStats.TxBytes += c.ClientBytes
	f.ServerStats.TxPackets += c.ServerPackets
	f.ServerStats.TxBytes += c.ServerBytes
	switch c.State {
	case traffic.StateReset:
		f.Resets++
	case traffic.StateRefused:
		f.Refused++
	case traffic.StateEstablished:
		f.open = true
	case traffic.StateInProgress:
		f.starting = true
	}
	if c.TCP != nil {
		f.Retransmissions += c.TCP.Retransmissions
	}
	if c.HandshakeClientNS > 0 {
		f.client.add(c.HandshakeClientNS)
	}
	if c.HandshakeServerNS > 0 {
		f.server.add(c.HandshakeServerNS)
	}
	f.first, f.last = min(f.first, c.Start), max(f.last, c.End)
	if len(f.Raw) < mostRaw {
		f.Raw = append(f.Raw, c)
	}
}

// perSecond is a mean over the flow's life; a life shorter than a millisecond counts as one, as in filters.
func (f *flowSums) perSecond(n uint64) uint64 {
	life := max(f.last-f.first, int64(time.Millisecond))
	return uint64(float64(n) * float64(time.Second) / float64(life))
}

func (f *flowSums) bytes() uint64 { return f.ClientStats.TxBytes + f.ServerStats.TxBytes }

func (f *flowSums) packets() uint64 { return f.ClientStats.TxPackets + f.ServerStats.TxPackets }

// row is the flow in the asked form.
func (f *flowSums) row(format string) FlowRow {
	r := f.FlowRow
	c, s := &r.ClientStats, &r.ServerStats
	c.RxPackets, c.RxBytes, s.RxPackets, s.RxBytes = s.TxPackets, s.TxBytes, c.TxPackets, c.TxBytes
	r.Totals = FlowTotals{Packets: f.packets(), Bytes: f.bytes(), PPS: f.perSecond(f.packets()), BPS: f.perSecond(f.bytes())}
	for _, x := range []struct {
		stats *FlowStats
		of    *digest
	}{{c, &f.client}, {s, &f.server}} {
		p := x.of.at(50, 90, 99)
		x.stats.HandshakeP50, x.stats.HandshakeP90, x.stats.HandshakeP99 = p[0]/1e3, p[1]/1e3, p[2]/1e3
		if format != "compact" {
			x.stats.TxPPS, x.stats.RxPPS = f.perSecond(x.stats.TxPackets), f.perSecond(x.stats.RxPackets)
			x.stats.TxBPS, x.stats.RxBPS = f.perSecond(x.stats.TxBytes), f.perSecond(x.stats.RxBytes)
			x.stats.Timestamp = time.Unix(0, f.last).UTC().Format(time.RFC3339Nano)
		}
	}
	if r.ID == 0 {
		r.Flows = len(f.ids)
	}
	if format != "raw" {
		r.Raw = nil
	}
	if format == "compact" {
		r.Client.Container, r.Server.Container = "", ""
	}
	slices.Sort(r.L7)
	return r
}

// l4 is the flow in the form that call details have.
func (f *flowSums) l4() *L4Flow {
	state := "closed"
	switch {
	case f.open:
		state = "open"
	case f.starting:
		state = "in_progress"
	}
	c, s := &f.ClientStats, &f.ServerStats
	return &L4Flow{ID: f.ID, State: state, LocalPkts: c.TxPackets, LocalBytes: c.TxBytes, RemotePkts: s.TxPackets, RemoteBytes: s.TxBytes,
		LocalPPS: f.perSecond(c.TxPackets), LocalBPS: f.perSecond(c.TxBytes), RemotePPS: f.perSecond(s.TxPackets), RemoteBPS: f.perSecond(s.TxBytes)}
}

func sortFlows(flows []*flowSums, order string) {
	p99 := map[*flowSums]int64{}
	if order == "handshake" {
		for _, f := range flows {
			p99[f] = max(f.client.at(99)[0], f.server.at(99)[0])
		}
	}
	slices.SortStableFunc(flows, func(a, b *flowSums) int {
		by := 0
		switch order {
		case "handshake":
			by = cmp.Compare(p99[b], p99[a])
		case "retransmissions":
			by = cmp.Compare(b.Retransmissions, a.Retransmissions)
		case "connections":
			by = cmp.Compare(b.Connections, a.Connections)
		}
		return cmp.Or(by, cmp.Compare(b.bytes(), a.bytes()), cmp.Compare(a.ID, b.ID))
	})
}

// mostPairs is how many pairs a summary names.
const mostPairs = 10

// GetFlowSummary returns all flows in short.
func GetFlowSummary(ctx context.Context, db *Database, r FlowSummaryRequest) (*FlowSummary, error) {
	v, err := openSurvey(ctx, db, r.Selection)
	if err != nil {
		return nil, err
	}
	s := summarising{FlowSummary: FlowSummary{TopByBytes: []FlowPair{}, TopByPackets: []FlowPair{}, ByNamespace: map[string]int{}, CrossNamespace: []NamespaceCross{}},
		clients: map[string]bool{}, servers: map[string]bool{}, pairs: map[[2]string]*FlowPair{}, crosses: map[[2]string]*crossing{}}
	flows, err := v.flows("", nil)
	if err != nil {
		return nil, err
	}
	for _, f := range flows {
		s.add(f)
	}
	v.found = len(flows)
	s.finish()
	s.Reading = v.reading("connections")
	return &s.FlowSummary, nil
}

type summarising struct {
	FlowSummary
	clients, servers map[string]bool
	pairs            map[[2]string]*FlowPair
	crosses          map[[2]string]*crossing
	handshakes       digest
}

type crossing struct {
	NamespaceCross
	handshakes digest
}

func (s *summarising) add(f *flowSums) {
	s.Flows++
	if f.Proto == "tcp" {
		s.TCP++
	} else {
		s.UDP++
	}
	s.Bytes += f.bytes()
	s.Packets += f.packets()
	client, server := podOf(&f.Client), podOf(&f.Server)
	s.clients[f.Client.NS+"/"+client] = true
	s.servers[f.Server.NS+"/"+server] = true
	p := s.pairs[[2]string{client, server}]
	if p == nil {
		p = &FlowPair{Client: client, Server: server}
		s.pairs[[2]string{client, server}] = p
	}
	p.Bytes += f.bytes()
	p.Packets += f.packets()
	s.handshakes.merge(&f.client)
	from, to := known(f.Client.NS), known(f.Server.NS)
	s.ByNamespace[from]++
	if from == to {
		return
	}
	s.ByNamespace[to]++
	c := s.crosses[[2]string{from, to}]
	if c == nil {
		c = &crossing{NamespaceCross: NamespaceCross{Src: from, Dst: to}}
		s.crosses[[2]string{from, to}] = c
	}
	c.Flows++
	c.Bytes += f.bytes()
	c.handshakes.merge(&f.client)
}

// podOf names an end by its pod, else by what there is.
func podOf(e *FlowEnd) string { return cmp.Or(e.Pod, e.Svc, e.DNS, e.IP) }

func (s *summarising) finish() {
	s.Clients, s.Servers = len(s.clients), len(s.servers)
	pairs := slices.Collect(maps.Values(s.pairs))
	names := func(a, b *FlowPair) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.Server, b.Server))
	}
	slices.SortFunc(pairs, func(a, b *FlowPair) int { return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), names(a, b)) })
	for _, p := range pairs[:min(mostPairs, len(pairs))] {
		s.TopByBytes = append(s.TopByBytes, FlowPair{Client: p.Client, Server: p.Server, Bytes: p.Bytes})
	}
	slices.SortFunc(pairs, func(a, b *FlowPair) int { return cmp.Or(cmp.Compare(b.Packets, a.Packets), names(a, b)) })
	for _, p := range pairs[:min(mostPairs, len(pairs))] {
		s.TopByPackets = append(s.TopByPackets, FlowPair{Client: p.Client, Server: p.Server, Packets: p.Packets})
	}
	for _, c := range s.crosses {
		p := c.handshakes.at(50, 99)
		c.HandshakeP50, c.HandshakeP99 = p[0]/1e3, p[1]/1e3
		s.CrossNamespace = append(s.CrossNamespace, c.NamespaceCross)
	}
	slices.SortFunc(s.CrossNamespace, func(a, b NamespaceCross) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Src, b.Src), cmp.Compare(a.Dst, b.Dst))
	})
	if s.handshakes.n > 0 {
		p := s.handshakes.at(50, 90, 99)
		s.Handshake = map[string]int64{"p50": p[0] / 1e3, "p90": p[1] / 1e3, "p99": p[2] / 1e3}
	}
}
