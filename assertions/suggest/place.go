package suggest

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// end is one side of an edge as a filter selects it. The zero value is anyone.
type end struct{ field, value string }

// is selects an end: src.service.name == "cart".
func (e end) is(side string) string { return side + "." + e.field + " == " + strconv.Quote(e.value) }

// place is where calls are alike: an edge, or one kind of request on it where route is set.
type place struct {
	proto         string
	src, dst      end
	port          uint16 // of servers without a name; 0 otherwise
	method, route string
}

// edge is the place without its route.
func (p place) edge() place {
	p.method, p.route = "", ""
	return p
}

// covers reports whether another place lies within this one. Without a protocol it is an edge whatever is spoken on it.
func (p place) covers(q place) bool {
	if p.proto == "" && slices.Contains(spoken, q.proto) {
		q.proto = ""
	}
	return p == q || p.route == "" && p == q.edge()
}

// String names a place for people.
func (p place) String() string {
	name := cmp.Or(p.dst.value, "somewhere")
	if p.port != 0 {
		name += ":" + strconv.Itoa(int(p.port))
	}
	if p.src.value != "" {
		name = p.src.value + " → " + name
	}
	if p.route != "" {
		name += " " + strings.TrimSpace(p.method+" "+p.route)
	}
	return name
}

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.proto, b.proto), cmp.Compare(a.src.value, b.src.value), cmp.Compare(a.src.field, b.src.field), cmp.Compare(a.dst.value, b.dst.value),
		cmp.Compare(a.dst.field, b.dst.field), cmp.Compare(a.port, b.port), cmp.Compare(a.route, b.route), cmp.Compare(a.method, b.method))
}

// namer turns the ends of rows into ends that filters can select.
type namer struct {
	servers   map[netip.Addr]bool // addresses without a name that serve
	exercised map[end]bool        // servers that something else than the exercise, or somebody unknown, asks: false
}

// longest bounds names that go into filters: longer ones are no names.
const longest = 200

func (n *namer) end(e *traffic.Endpoint) end {
	named := func(field, value string) end { return end{field, value} }
	switch {
	case e.Kind == traffic.KindExercise:
		return named("kind", e.Kind)
	case e.Outside && e.DNS != "":
		return named("dns", e.DNS)
	case e.Service != "":
		return named("service.name", e.Service)
	case e.Owner != "":
		return named("owner.name", e.Owner)
	case e.Pod != "":
		return named("pod.name", e.Pod)
	case e.DNS != "":
		return named("dns", e.DNS)
	case e.IP.IsValid() && n.servers[e.IP]:
		return named("ip", e.IP.String())
	}
	return end{}
}

// learn notes which addresses serve.
func (n *namer) learn(calls []*traffic.Call) {
	for _, c := range calls {
		if c != nil {
			n.servers[c.Dst.IP] = true
		}
	}
	for _, c := range calls {
		if c == nil || c.Background {
			continue
		}
		dst, src := n.end(&c.Dst), n.end(&c.Src)
		only, known := n.exercised[dst]
		n.exercised[dst] = (only || !known) && (src == end{} || src.field == "kind")
	}
}

// place is where a call belongs. Who the exercise and strangers are matters only where others ask the same server.
func (n *namer) place(c *traffic.Call) place {
	p := place{proto: protocolOf(c), src: n.end(&c.Src), dst: n.end(&c.Dst)}
	if n.exercised[p.dst] {
		p.src = end{}
	}
	if p.dst.field == "ip" {
		p.port = c.Dst.Port
	}
	if p.proto == traffic.ProtoHTTP {
		p.method, p.route = c.Method, cmp.Or(c.Route, c.Path)
	}
	return p
}

// usable reports whether a place can stand in a filter.
func (p place) usable() bool {
	for _, s := range []string{p.src.value, p.dst.value, p.method, p.route} {
		if len(s) > longest || strings.ToValidUTF8(s, "") != s || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 }) {
			return false
		}
	}
	return p.dst.value != ""
}

const protoGRPC = "grpc"

func protocolOf(c *traffic.Call) string {
	if c.GRPC != nil {
		return protoGRPC
	}
	return c.Protocol
}

// selects writes a filter that selects some of all places, as short as it can be told: the protocol alone where it is all of
// them and, where that may be said, all but a few.
func selects(protocol string, some, all []place, general bool) string {
	some = collapse(some, all)
	if slices.Equal(some, edgesOf(all)) {
		return protocol
	}
	if general {
		others := slices.DeleteFunc(slices.Clone(all), func(q place) bool { return slices.ContainsFunc(some, func(p place) bool { return p.covers(q) }) })
		if others = collapse(others, all); len(others) <= 3 && len(others)*3 <= len(some) {
			return protocol + " && !(" + strings.Join(clausesOf(others), " || ") + ")"
		}
	}
	return base(protocol, clausesOf(some))
}

// base is a filter that selects what one of some conditions does.
func base(protocol string, clauses []string) string {
	if len(clauses) == 1 {
		return protocol + " && " + clauses[0]
	}
	return protocol + " && (" + strings.Join(clauses, " || ") + ")"
}

// collapse puts an edge in the place of all of its routes.
func collapse(some, all []place) []place {
	var out []place
	for _, p := range some {
		whole := !slices.ContainsFunc(all, func(q place) bool {
			return q.edge() == p.edge() && !slices.ContainsFunc(some, func(s place) bool { return s.covers(q) })
		})
		if whole {
			p = p.edge()
		}
		out = append(out, p)
	}
	slices.SortFunc(out, comparePlaces)
	return slices.Compact(out)
}

func edgesOf(all []place) []place {
	var out []place
	for _, p := range all {
		out = append(out, p.edge())
	}
	slices.SortFunc(out, comparePlaces)
	return slices.Compact(out)
}

// clausesOf writes places as conditions, one for those that differ in one part only.
func clausesOf(places []place) []string {
	var asked []place // what is asked, without what differs
	values := map[place][]string{}
	for _, p := range places {
		k, v := p, p.route
		if p.route != "" {
			k.route = "*"
		} else {
			k.dst.value, v = "", p.dst.value
		}
		if values[k] == nil {
			asked = append(asked, k)
		}
		values[k] = append(values[k], v)
	}
	var targets []string
	clients := map[string][]end{}
	for _, k := range asked {
		text := in("dst."+k.dst.field, values[k]) + portIs(k)
		if k.route != "" {
			text = k.dst.is("dst") + portIs(k)
			if k.method != "" {
				text += " && method == " + strconv.Quote(k.method)
			}
			text += " && " + in("route", values[k])
		}
		if clients[text] == nil {
			targets = append(targets, text)
		}
		clients[text] = append(clients[text], k.src)
	}
	var clauses []string
	for _, text := range targets {
		var fields []string
		names := map[string][]string{}
		for _, c := range clients[text] {
			if names[c.field] == nil {
				fields = append(fields, c.field)
			}
			names[c.field] = append(names[c.field], c.value)
		}
		for _, f := range fields {
			if f == "" {
				clauses = append(clauses, text)
			} else {
				clauses = append(clauses, in("src."+f, names[f])+" && "+text)
			}
		}
	}
	return clauses
}

func portIs(p place) string {
	if p.port == 0 {
		return ""
	}
	return " && dst.port == " + strconv.Itoa(int(p.port))
}

// in writes field == "a" or field in ["a", "b"].
func in(field string, values []string) string {
	values = slices.Compact(slices.Sorted(slices.Values(values)))
	if len(values) == 1 {
		return field + " == " + strconv.Quote(values[0])
	}
	return field + " in " + list(values)
}

// list writes ["a", "b"].
func list(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = strconv.Quote(v)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
