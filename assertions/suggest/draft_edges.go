package suggest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/traffic"
)

// egress lists who may speak to whom outside of the system.
func egress(o *observed) []draft {
	d := draft{kind: "egress", promise: "nothing new leaves the system", base: `tcp_conn && egress && src.kind != "exercise"`, empty: true, facts: true, nowhere: true, faults: []fault{newEgress},
		places: slices.DeleteFunc(o.edges(traffic.ProtoHTTP, protoGRPC), o.driven)}
	if len(d.places) == 0 {
		return nil
	}
	d.expect = "count() == 0"
	if edges := o.connectionEdges(true); len(edges) > 0 {
		d.expect = "edges().subset_of(" + list(edges) + ")"
	}
	return []draft{d}
}

// internalEdges lists who may speak to whom inside of it. It only warns: what a service does once an hour is in no run, and no
// mistake.
func internalEdges(o *observed) []draft {
	edges := slices.DeleteFunc(o.connectionEdges(false), func(edge string) bool { // declared on any port, it need not be said of one
		return slices.ContainsFunc(o.declared, func(d string) bool { return strings.HasPrefix(edge, d+":") })
	})
	edges = append(edges, o.declared...)
	slices.Sort(edges)
	edges = slices.Compact(edges)
	if len(edges) < 2 || len(edges) > 60 {
		return nil
	}
	inside := slices.DeleteFunc(o.edges(traffic.ProtoHTTP, protoGRPC, traffic.ProtoRedis, traffic.ProtoPostgreSQL), o.egress)
	if len(inside) == 0 {
		return nil
	}
	return []draft{{kind: "edges", promise: "nobody speaks to a service that it did not speak to before", base: `tcp_conn && !egress && src.kind != "exercise" && src.name != ""`, places: inside,
		expect: "edges().subset_of(" + list(edges) + ")", empty: true, facts: true, nowhere: true, severity: assertions.SeverityWarning, faults: []fault{newEdge}}}
}

// connectionEdges are the edges of connections, inside of the system or out of it, as patterns. Clients without a name are
// left out: their addresses differ from run to run.
func (o *observed) connectionEdges(outside bool) []string {
	var names []string
	for _, r := range o.runs {
		for _, k := range r.Dissection.Connections {
			if k == nil || k.Background || k.Proto != "tcp" || leaves(&k.Dst) != outside {
				continue
			}
			src, dst := o.names.end(&k.Src), o.names.end(&k.Dst)
			if dst.value == "" || src.field == "kind" || !outside && src.value == "" {
				continue
			}
			from := src.value
			if from == "" {
				from = "*"
			}
			if name := from + " -> " + hostPort(dst.value, k.Dst.Port); (place{src: src, dst: dst}).usable() && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func hostPort(host string, port uint16) string {
	if slices.Contains([]byte(host), ':') {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(port))
}

// connected are the edges of all connections.
func (o *observed) connected() []place {
	var all []place
	for _, r := range o.runs {
		for _, k := range r.Dissection.Connections {
			if k != nil && !k.Background && k.Proto == "tcp" {
				if p := o.connection(k); p.usable() {
					all = append(all, p)
				}
			}
		}
	}
	slices.SortFunc(all, comparePlaces)
	return slices.Compact(all)
}

// connection is where a connection belongs.
func (o *observed) connection(k *traffic.Connection) place {
	p := place{src: o.names.end(&k.Src), dst: o.names.end(&k.Dst)}
	if o.names.exercised[p.dst] {
		p.src = end{}
	}
	if p.dst.field == "ip" {
		p.port = k.Dst.Port
	}
	return p
}

// encrypted reports whether every connection of an edge is behind TLS.
func (o *observed) encrypted(p place) bool {
	n := 0
	for _, r := range o.runs {
		for _, k := range r.Dissection.Connections {
			if k == nil || k.Background || k.Proto != "tcp" || o.connection(k) != anyProtocol(p) {
				continue
			}
			if n++; k.L7 != traffic.ProtoTLS && k.Encrypted == 0 && k.CaptureSource == "" {
				return false
			}
		}
	}
	return n > 0
}

// connections bounds how many connections calls need.
func connections(o *observed) []draft {
	var drafts []draft
	all := anyProtocols(slices.DeleteFunc(o.of(spoken...), func(p place) bool { return o.driven(p.edge()) })) // what others open is not the services' promise
	for _, p := range all {
		if bound := o.reuse(p); bound > 0 {
			drafts = append(drafts, draft{kind: "connections", promise: "connections are reused", base: anySpoken(o), places: []place{p}, all: all, general: true,
				expect: fmt.Sprintf("reuse_ratio() >= %g", bound), by: `src.name + " → " + dst.name + ":" + string(dst.port)`, facts: true, faults: []fault{churn}})
		}
	}
	return drafts
}

// reuse is the least share of calls that should find their connection open. As many again as were in use at once may be opened
// when services start anew, which the observed runs need not show.
func (o *observed) reuse(p place) float64 {
	least := 1.0
	for i, calls := range o.within(p) {
		if len(calls) < 8 {
			return 0
		}
		began := map[uint64]bool{}
		for _, k := range o.runs[i].Dissection.Connections {
			if k != nil {
				began[k.ID] = k.Opened
			}
		}
		used, opened := map[uint64]bool{}, 0
		for _, c := range calls {
			used[c.ConnID] = true
			if is, known := began[c.ConnID]; c.Index == 0 && (is || !known) {
				opened++
			}
		}
		allowed := max(3*opened, 2*len(used), 4)
		least = min(least, 1-float64(allowed)/float64(len(calls)))
	}
	for _, bound := range []float64{0.9, 0.75, 0.5} { // few steps, so that places say the same
		if least >= bound {
			return bound
		}
	}
	return 0
}

// repeated are what one request may cause many of, by what tells their kinds apart.
var repeated = []struct {
	protocols []string
	base, key string
	of        func(*traffic.Call) string
}{
	{[]string{traffic.ProtoHTTP, protoGRPC}, "http", `dst.name + " " + method + " " + route`, baseline.NameOf},
	{[]string{traffic.ProtoPostgreSQL}, "postgresql", "postgresql_fingerprint", func(c *traffic.Call) string { return c.PostgreSQL.Fingerprint }},
	{[]string{traffic.ProtoRedis}, "redis", "redis_command", func(c *traffic.Call) string { return c.Redis.Command }},
}

// callsPerRequest bounds how many calls of one kind serving one request takes, where it is certain which calls those are.
func callsPerRequest(o *observed) []draft {
	byBound := map[int]*draft{}
	for _, k := range repeated {
		for _, p := range o.edges(k.protocols...) {
			most, fewest := o.mostRepeated(p, k.of)
			if most == 0 || most > 50 || fewest < 3 {
				continue
			}
			most = max(3, most)
			d := byBound[most]
			if d == nil {
				d = &draft{kind: "calls per request", promise: fmt.Sprintf("one request causes at most %d calls or queries of one kind", most), extra: "parent_candidates == 1",
					base: anySpoken(o), all: anyProtocols(o.of(spoken...)), faults: []fault{oneByOne(most + 2)}, general: true}
				byBound[most] = d
			}
			if term := fmt.Sprintf("max(count_by(%s, parent)) <= %d", k.key, most); !strings.Contains(d.expect, term) {
				if d.expect != "" {
					d.expect += " && "
				}
				d.expect += term
			}
			d.places = append(d.places, anyProtocol(p))
			d.warnOnly = d.warnOnly || fewest < 20
		}
	}
	var drafts []draft
	for _, most := range slices.Sorted(maps.Keys(byBound)) {
		d := *byBound[most]
		slices.SortFunc(d.places, comparePlaces)
		d.places = slices.Compact(d.places)
		drafts = append(drafts, d)
	}
	return drafts
}

// mostRepeated is how many calls of one kind one request caused at most, and how many calls the run with the fewest has of which the
// cause is certain.
func (o *observed) mostRepeated(p place, kind func(*traffic.Call) string) (most, fewest int) {
	fewest = -1
	for _, calls := range o.within(p) {
		counts, rows := map[[2]string]int{}, 0
		for _, c := range calls {
			if c.ParentCandidates == 1 && c.Parent != "" {
				rows++
				counts[[2]string{c.Parent, kind(c)}]++
			}
		}
		for _, n := range counts {
			most = max(most, n)
		}
		if fewest < 0 || rows < fewest {
			fewest = rows
		}
	}
	return most, fewest
}
