package query

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// ListEgress says what leaves the system under test, by destination.
func ListEgress(ctx context.Context, db *Database, r EgressRequest) (*EgressAnswer, error) {
	limit, err := bounded(r.Limit, 100, 1000)
	if err != nil {
		return nil, err
	}
	allowed, err := parseAllowed(r.Allow)
	if err != nil {
		return nil, err
	}
	v, err := openSurvey(ctx, db, r.Selection)
	if err != nil {
		return nil, err
	}
	g := leaving{to: map[string]*egressSums{}, connections: map[uint64]label{}}
	for c, err := range v.slimCalls() {
		if err != nil {
			return nil, err
		}
		if c.DNS == nil && leaves(&filter.Row{Call: c}) {
			g.call(c)
		}
	}
	for c, err := range v.connections() {
		if err != nil {
			return nil, err
		}
		if leaves(&filter.Row{Conn: c}) && c.L7 != traffic.ProtoDNS {
			g.connection(c, v.scope)
		}
	}
	a := &EgressAnswer{Destinations: g.list()}
	a.Total, v.found = len(a.Destinations), len(a.Destinations)
	if len(r.Allow) > 0 {
		for i := range a.Destinations {
			ok := allowed.all(&a.Destinations[i])
			a.Destinations[i].Allowed = &ok
			if !ok {
				a.Forbidden++
			}
		}
		slices.SortStableFunc(a.Destinations, func(x, y Egress) int { return compareBool(*x.Allowed, *y.Allowed) })
	}
	a.Destinations, a.Truncated = head(a.Destinations, limit)
	a.Reading = v.reading("connections that leave the system")
	if a.Total == 0 && db.Empty == "" {
		a.Why = "nothing left the system in this window"
	}
	return a, nil
}

// compareBool puts false first.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// label is what a destination is called, and how that is known.
type label struct{ name, by string }

// leaving gathers what leaves, by name of the destination.
type leaving struct {
	to          map[string]*egressSums
	connections map[uint64]label // of connections whose calls say more than they do themselves
}

type egressSums struct {
	Egress
	latency, handshakes sample
}

// labelOf takes what the client said before what it looked up, and that before what we call it.
func labelOf(e *traffic.Endpoint, host, sni string) label {
	host, _ = cutPort(host)
	switch ip, err := netip.ParseAddr(strings.Trim(host, "[]")); {
	case host != "" && (err != nil || !ip.IsValid()):
		return label{strings.ToLower(host), "host"}
	case sni != "":
		return label{strings.ToLower(sni), "sni"}
	case e.DNS != "":
		return label{strings.ToLower(e.DNS), "dns"}
	case e.Name() != "":
		return label{e.Name(), "name"}
	}
	return label{e.IP.Unmap().String(), "ip"}
}

// cutPort is a host without its port.
func cutPort(host string) (string, string) {
	if i := strings.LastIndexByte(host, ':'); i > 0 && !strings.Contains(host[i:], "]") && strings.Count(host, ":") == 1 || strings.HasPrefix(host, "[") && strings.Contains(host, "]:") {
		return host[:i], host[i+1:]
	}
	return host, ""
}

func (g *leaving) call(c *traffic.Call) {
	var host, sni string
	if c.HTTP != nil {
		host = c.HTTP.Host
	}
	if c.TLS != nil {
		sni = c.TLS.SNI
	}
	l := labelOf(&c.Dst, host, sni)
	if old, ok := g.connections[c.ConnID]; ok && (l.by != "host" || old.by == "host") { // a handshake, and what is in it
		l = old
	}
	if len(g.connections) < maxRecent {
		g.connections[c.ConnID] = l
	}
	s := g.sums(l)
	if s == nil {
		return
	}
	s.seen(&c.Src, &c.Dst, c.Start, c.End)
	s.Protocols = note(s.Protocols, c.Protocol, 20)
	s.Example = cmp.Or(s.Example, c.ID)
	if c.Protocol == traffic.ProtoTLS && c.TLS != nil {
		if s.Versions == nil {
			s.Versions = map[string]int{}
		}
		s.Versions[tlsVersion(c.TLS.Version)]++
		return
	}
	s.Calls++
	if failure(c) {
		s.Errors++
	}
	if c.State == traffic.StateComplete {
		s.latency.add(c.Latency())
	}
	for _, k := range c.Credentials {
		if strings.HasPrefix(k.Place, "request.") {
			s.Credentials = note(s.Credentials, k.Kind, 20)
		}
	}
}

func tlsVersion(v uint16) string {
	switch v {
	case 0x0301:
		return "1.0"
	case 0x0302:
		return "1.1"
	case 0x0303:
		return "1.2"
	case 0x0304:
		return "1.3"
	case 0:
		return "not agreed"
	}
	return fmt.Sprintf("0x%04x", v)
}

func (g *leaving) connection(c *traffic.Connection, w Scope) {
	l, ok := g.connections[c.ID]
	if !ok {
		l = labelOf(&c.Dst, "", c.SNI)
	}
	s := g.sums(l)
	if s == nil {
		return
	}
	s.seen(&c.Src, &c.Dst, c.Start, c.End)
	s.Connections++
	if c.Opened && c.Start >= w.Start*1e6 && (w.End == 0 || c.Start < w.End*1e6) {
		s.Opened++
	}
	s.Sent += c.ClientBytes
	s.Received += c.ServerBytes
	if readable(&filter.Row{Conn: c}) {
		s.Plaintext++
	} else {
		s.TLS++
	}
	if c.HandshakeClientNS > 0 {
		s.handshakes.add(c.HandshakeClientNS)
	}
	if c.L7 != "" {
		s.Protocols = note(s.Protocols, c.L7, 20)
	}
}

func (g *leaving) sums(l label) *egressSums {
	s := g.to[l.name]
	if s == nil {
		if len(g.to) >= maxGroups {
			return nil
		}
		s = &egressSums{Egress: Egress{Name: l.name, KnownBy: l.by, IPs: []string{}, Ports: []int{}, Services: []string{}, Protocols: []string{}}}
		g.to[l.name] = s
	}
	return s
}

func (s *egressSums) seen(src, dst *traffic.Endpoint, first, last int64) {
	s.IPs = note(s.IPs, dst.IP.Unmap().String(), 20)
	s.Ports = note(s.Ports, int(dst.Port), 20)
	s.Services = note(s.Services, nameOf(src), 50)
	if s.First == 0 || first/1e6 < s.First {
		s.First = first / 1e6
	}
	s.Last = max(s.Last, last/1e6)
}

func (g *leaving) list() []Egress {
	list := []Egress{}
	for _, s := range g.to {
		s.P50, s.P99 = s.latency.msAt(50), s.latency.msAt(99)
		s.HandshakeP50, s.HandshakeP90, s.HandshakeP99, s.Handshakes = s.handshakes.usAt(50), s.handshakes.usAt(90), s.handshakes.usAt(99), s.handshakes.n
		slices.Sort(s.IPs)
		slices.Sort(s.Ports)
		slices.Sort(s.Services)
		slices.Sort(s.Protocols)
		slices.Sort(s.Credentials)
		list = append(list, s.Egress)
	}
	slices.SortFunc(list, func(a, b Egress) int {
		return cmp.Or(cmp.Compare(b.Sent+b.Received, a.Sent+a.Received), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// allowance is one entry of a list of allowed destinations.
type allowance struct {
	name   string // "*.example.com" allows what ends in .example.com
	prefix netip.Prefix
	port   int // 0 is any
}

type allowances []allowance

func parseAllowed(list []string) (allowances, error) {
	var out allowances
	for _, text := range list {
		a := allowance{name: strings.ToLower(strings.TrimSpace(text))}
		host, port := cutPort(a.name)
		if port != "" {
			n, err := strconv.Atoi(port)
			if err != nil || n < 1 || n > 65535 {
				return nil, mistake("a name, *.example.com, an address or a CIDR, each with :port or without", "allow: %q has no port that could be one", text)
			}
			a.name, a.port = host, n
		}
		bare := strings.Trim(a.name, "[]")
		if p, err := netip.ParsePrefix(bare); err == nil {
			a.prefix = p.Masked()
		} else if ip, err := netip.ParseAddr(bare); err == nil {
			a.prefix = netip.PrefixFrom(ip, ip.BitLen())
		} else if bare == "" || strings.ContainsAny(strings.TrimPrefix(bare, "*."), "*/ ") {
			return nil, mistake("a name, *.example.com, an address or a CIDR, each with :port or without", "allow: %q is none", text)
		}
		out = append(out, a)
	}
	return out, nil
}

// all reports whether every address and port of a destination is allowed.
func (l allowances) all(e *Egress) bool {
	for _, port := range e.Ports {
		for _, text := range e.IPs {
			ip, _ := netip.ParseAddr(text)
			if !slices.ContainsFunc(l, func(a allowance) bool { return a.allows(e.Name, ip, port) }) {
				return false
			}
		}
	}
	return true
}

func (a *allowance) allows(name string, ip netip.Addr, port int) bool {
	if a.port != 0 && a.port != port {
		return false
	}
	if a.prefix.IsValid() {
		return a.prefix.Contains(ip)
	}
	if suffix, ok := strings.CutPrefix(a.name, "*"); ok {
		return strings.HasSuffix(name, suffix)
	}
	return a.name == name
}
