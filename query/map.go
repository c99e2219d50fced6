package query

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/store/columns"
	"github.com/devloop-io/devloop/traffic"
)

// The bounds of a map.
const (
	mostEndpoints = 20
	mostDepth     = 10
	maxEdges      = 2000
)

// mapLevel is what the ends of a map are.
type mapLevel struct {
	name    func(*traffic.Endpoint) string
	columns []string
	more    []store.Further
	suffix  string // of the columns of connections
}

var addressed = []store.Further{srcAddress, dstAddress}

var mapLevels = map[string]mapLevel{
	"service": {name: nameOf, columns: strings.Fields("src_name dst_name"), more: addressed, suffix: "name"},
	"pod": {name: func(e *traffic.Endpoint) string { return cmp.Or(e.Pod, nameOf(e)) }, columns: strings.Fields("src_pod src_name dst_pod dst_name"), more: addressed,
		suffix: "pod"},
	"namespace": {name: func(e *traffic.Endpoint) string { return known(e.Namespace) }, columns: nil, suffix: "ns"},
	"node":      {name: func(e *traffic.Endpoint) string { return known(e.Node) }, columns: strings.Fields("src_node dst_node"), suffix: "node"},
}

// GetServiceMap returns who calls whom, with the statistics of each edge. Connections and bytes of an edge are those of all its
// connections; with a filter that speaks of calls, bytes are those of the calls' bodies, and connections and their handshakes are not told.
func GetServiceMap(ctx context.Context, db *Database, r MapRequest) (*ServiceMap, error) {
	by, err := oneOf("by", r.By, "service", "pod", "namespace", "node")
	if err != nil {
		return nil, err
	}
	if r.Depth < 0 || r.Depth > mostDepth {
		return nil, mistake("1 to 10; 1 by default", "depth %d is out of range", r.Depth)
	}
	v, err := openSurvey(ctx, db, r.Selection)
	if err != nil {
		return nil, err
	}
	m := charting{survey: v, by: by, level: mapLevels[by]}
	if err := m.edges(ctx); err != nil {
		return nil, err
	}
	if r.Service != "" {
		m.around(r.Service, max(1, r.Depth))
	}
	return m.finish(ctx)
}

// charting makes a map.
type charting struct {
	*survey
	by    string
	level mapLevel
	all   []*mapEdge
	total int
}

// mapEdge is an edge while it is made.
type mapEdge struct {
	*group
	src, dst string
	ends     [2]traffic.Endpoint
	conns    int
	bytes    uint64
	shaken   digest // handshakes, nanoseconds
}

// between separates the parts of a key; names hold none.
const between = "\x00"

// edges sums up the calls by their ends.
func (m *charting) edges(ctx context.Context) error {
	key := func(c *traffic.Call) string {
		return strings.Join([]string{m.level.name(&c.Src), m.level.name(&c.Dst), c.Src.Namespace, c.Dst.Namespace}, between)
	}
	by := grouping{of: key, ends: true, columns: append(strings.Fields("src_ns dst_ns src_kind dst_kind dst_outside src_outside"), m.level.columns...), more: m.level.more}
	detail := grouping{of: func(c *traffic.Call) string { return protocolOf(c) + between + cut(asked(c), 160) }, more: askedFurther}
	all, err := m.sums(ctx, by, &detail, 0)
	if err != nil {
		return err
	}
	for _, g := range all.groups {
		parts := strings.SplitN(g.name, between, 4)
		if len(parts) < 4 { // those beyond the bound
			continue
		}
		e := &mapEdge{group: g, src: parts[0], dst: parts[1], ends: [2]traffic.Endpoint{g.like.Src, g.like.Dst}}
		m.all = append(m.all, e)
		m.total += g.calls
	}
	return m.connect(ctx)
}

// connect counts the connections of each edge; edges without calls are such too.
func (m *charting) connect(ctx context.Context) error {
	if m.f.Kind()&filter.Connections == 0 {
		for _, e := range m.all {
			e.bytes = uint64(e.req + e.resp)
		}
		return nil
	}
	type key struct{ src, dst, srcNS, dstNS string }
	byKey := map[key]*mapEdge{}
	for _, e := range m.all {
		byKey[key{e.src, e.dst, e.ends[0].Namespace, e.ends[1].Namespace}] = e
	}
	add := func(s store.ConnectionSums) {
		k := key{s.Src, s.Dst, s.SrcNS, s.DstNS}
		e := byKey[k]
		if e == nil {
			e = &mapEdge{group: &group{}, src: s.Src, dst: s.Dst}
			e.ends[0].Namespace, e.ends[1].Namespace = s.SrcNS, s.DstNS
			byKey[k] = e
			m.all = append(m.all, e)
		}
		e.conns += s.Connections
		e.bytes += s.Bytes
		for _, took := range s.Handshakes {
			e.shaken.add(took)
		}
	}
	if m.db.ConnectionsPath != "" && m.by != "pod" && strings.TrimSpace(m.f.Rewritten()) == "" {
		sums, err := store.SumConnections(ctx, m.db.ConnectionsPath, m.level.suffix, nanoseconds(m.scope.Start), nanoseconds(m.scope.End))
		if err != nil {
			return err
		}
		for _, s := range sums {
			if m.by == "namespace" || m.by == "node" {
				s.Src, s.Dst = m.named(s.Src, s.SrcNS), m.named(s.Dst, s.DstNS)
			}
			add(s)
		}
		return nil
	}
	found := m.found
	for c, err := range m.survey.connections() {
		if err != nil {
			return err
		}
		s := store.ConnectionSums{Src: m.level.name(&c.Src), Dst: m.level.name(&c.Dst), SrcNS: c.Src.Namespace, DstNS: c.Dst.Namespace, Connections: 1, Bytes: c.ClientBytes + c.ServerBytes}
		if c.HandshakeClientNS > 0 {
			s.Handshakes = []int64{c.HandshakeClientNS}
		}
		add(s)
	}
	m.found = found
	return nil
}

// named undoes that ends without a namespace or node came by their address.
func (m *charting) named(name, namespace string) string {
	if m.by == "namespace" {
		return known(namespace)
	}
	if strings.Count(name, ".") == 3 || strings.Contains(name, ":") {
		return unknown
	}
	return name
}

// around keeps the edges that lie at most so many steps from a service.
func (m *charting) around(service string, depth int) {
	near := map[string]bool{service: true}
	kept := map[*mapEdge]bool{}
	for range depth {
		next := maps.Clone(near)
		for _, e := range m.all {
			if near[e.src] || near[e.dst] {
				kept[e] = true
				next[e.src], next[e.dst] = true, true
			}
		}
		near = next
	}
	m.all = slices.DeleteFunc(m.all, func(e *mapEdge) bool { return !kept[e] })
	m.total = 0
	for _, e := range m.all {
		m.total += e.calls
	}
}

func (m *charting) finish(ctx context.Context) (*ServiceMap, error) {
	if err := m.tally(m.total); err != nil {
		return nil, err
	}
	m.found = len(m.all)
	a := &ServiceMap{Nodes: []MapNode{}, Reading: m.reading("calls and connections")}
	slices.SortFunc(m.all, func(x, y *mapEdge) int {
		return cmp.Or(cmp.Compare(y.calls, x.calls), cmp.Compare(y.bytes, x.bytes), cmp.Compare(x.src, y.src), cmp.Compare(x.dst, y.dst), cmp.Compare(x.name, y.name))
	})
	if len(m.all) > maxEdges {
		a.Warnings = append(a.Warnings, "only the busiest edges are told of many: a filter, a namespace or service=… narrows them")
		m.all = m.all[:maxEdges]
	}
	nodes := map[string]*MapNode{}
	seconds := a.seconds()
	a.Edges = make([]MapEdge, len(m.all))
	err := columns.Share(ctx, func(part, parts int) {
		for i := part; i < len(m.all); i += parts {
			a.Edges[i] = m.all[i].told(seconds)
		}
	})
	if err != nil {
		return nil, err
	}
	var examples []shown
	for i, e := range m.all {
		edge := &a.Edges[i]
		src, dst := m.node(nodes, e.src, &e.ends[0]), m.node(nodes, e.dst, &e.ends[1])
		src.Out += e.calls
		dst.In += e.calls
		for _, p := range edge.Protocols {
			dst.Protocols = note(dst.Protocols, p, 32)
		}
	}
	for i := range a.Edges {
		examples = append(examples, shown{m.all[i].group, &a.Edges[i].Example})
	}
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		slices.Sort(nodes[name].Protocols)
		a.Nodes = append(a.Nodes, *nodes[name])
	}
	return a, m.examples(ctx, examples)
}

// told is what an answer says of an edge.
func (e *mapEdge) told(seconds float64) MapEdge {
	edge := MapEdge{Src: e.src, Dst: e.dst, Connections: e.conns, Bytes: e.bytes, Crosses: e.ends[0].Namespace != e.ends[1].Namespace, Stats: e.stats("", seconds)}
	edge.handshake(&e.shaken)
	edge.Protocols, edge.Endpoints = endpointsOf(e.details)
	return edge
}

// node is an end's node; ends of one name are one.
func (m *charting) node(nodes map[string]*MapNode, name string, e *traffic.Endpoint) *MapNode {
	n := nodes[name]
	if n == nil {
		n = &MapNode{Name: name, Kind: m.by, Protocols: []string{}}
		if m.by != "namespace" {
			n.Namespace = e.Namespace
		}
		if m.by == "service" || m.by == "pod" {
			switch {
			case e.Outside || e.Kind == traffic.KindExternal:
				n.Kind = "external"
			case e.Service == "" && e.Pod == "":
				n.Kind = "host"
			case e.Kind != "":
				n.Kind = e.Kind
			}
		}
		nodes[name] = n
	}
	return n
}

// endpointsOf are the protocols, and the busiest endpoints, of what was asked on an edge.
func endpointsOf(details []detail) (protocols, endpoints []string) {
	protocols = []string{}
	busiest := func(a, b detail) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.name, b.name)) }
	var top []detail // in order
	for _, d := range details {
		protocol, endpoint, _ := strings.Cut(d.name, between)
		protocols = note(protocols, protocol, 32)
		if endpoint == "" || len(top) == mostEndpoints && busiest(top[mostEndpoints-1], d) < 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(top, d, busiest)
		top = slices.Insert(top[:min(len(top), mostEndpoints-1)], min(at, mostEndpoints-1), d)
	}
	for _, d := range top {
		_, endpoint, _ := strings.Cut(d.name, between)
		endpoints = append(endpoints, endpoint)
	}
	slices.Sort(protocols)
	return protocols, endpoints
}
