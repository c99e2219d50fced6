package store

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// maxLookups bounds the addresses whose names are remembered.
const maxLookups = 4096

// Lookups remembers by which names addresses were looked up. The zero value is ready. It is not safe for concurrent use.
type Lookups struct {
	byIP  map[netip.Addr][]lookup // oldest answer first
	order []netip.Addr            // of their first answers
}

// lookup is one answer.
type lookup struct {
	at     int64
	client netip.Addr
	name   string
}

// maxNames bounds the names that are remembered of one address.
const maxNames = 16

// Learn remembers the addresses of an answer of DNS. Other calls are ignored.
func (l *Lookups) Learn(c *traffic.Call) {
	if a, ok := replyOf(c); ok {
		l.learn(&a)
	}
}

func (l *Lookups) learn(a *reply) {
	for _, ip := range a.ips {
		l.add(ip, a.lookup)
	}
}

// reply is the addresses in an answer of DNS.
type reply struct {
	lookup
	ips   []netip.Addr
	start int64 // of the call, with its connection and place there
	conn  uint64
	index int
}

// replyOf reports false for calls that tell no address.
func replyOf(c *traffic.Call) (a reply, ok bool) {
	if c.DNS == nil || len(c.DNS.Questions) == 0 {
		return a, false
	}
	for _, r := range c.DNS.Answers {
		if ip, err := netip.ParseAddr(r.Data); err == nil && (r.Type == "A" || r.Type == "AAAA") {
			a.ips = append(a.ips, ip.Unmap())
		}
	}
	if len(a.ips) == 0 {
		return a, false
	}
	a.lookup = lookup{c.End, c.Src.IP, strings.Clone(c.DNS.Questions[0].Name)}
	a.start, a.conn, a.index = c.Start, c.ConnID, c.Index
	return a, true
}

func (l *Lookups) add(ip netip.Addr, x lookup) {
	if l.byIP == nil {
		l.byIP = map[netip.Addr][]lookup{}
	}
	list, known := l.byIP[ip]
	if n := len(list); n > 0 && list[n-1].name == x.name && list[n-1].client == x.client {
		return // since the first of them
	}
	if !known {
		if len(l.order) == maxLookups {
			delete(l.byIP, l.order[0])
			l.order = l.order[:copy(l.order, l.order[1:])]
		}
		l.order = append(l.order, ip)
	}
	if len(list) == maxNames {
		list = list[:copy(list, list[1:])]
	}
	l.byIP[ip] = append(list, x)
}

// name is what an address was looked up by last before a time: by that client, else by any.
func (l *Lookups) name(client, ip netip.Addr, at int64) string {
	name := ""
	for _, x := range slices.Backward(l.byIP[ip.Unmap()]) {
		switch {
		case x.at > at:
		case x.client == client:
			return x.name
		case name == "":
			name = x.name
		}
	}
	return name
}

// Identities are the names as a snapshot keeps them for connections of later windows; those that the environment itself
// knows are left out.
func (l *Lookups) Identities(known []traffic.Identity) []traffic.Identity {
	theirs := map[netip.Addr]bool{}
	for _, id := range known {
		theirs[id.IP.Unmap()] = true
	}
	var all []traffic.Identity
	for _, ip := range l.order {
		if theirs[ip] {
			continue
		}
		for _, x := range l.byIP[ip] {
			all = append(all, traffic.Identity{IP: ip, From: x.at, Workload: external(ip, x.name)})
		}
	}
	return all
}

// external is who nothing is known of but a name.
func external(ip netip.Addr, name string) traffic.Workload {
	w := traffic.Workload{DNS: name}
	if ip.IsGlobalUnicast() && !ip.IsPrivate() {
		w.Kind = traffic.KindExternal
	}
	return w
}

// nameExternals names the servers that nobody knows by the answers of DNS that their clients were given, else by the name
// that the client asked for in TLS.
func nameExternals(d *traffic.Dissection) {
	var answers []reply
	for _, c := range d.Calls {
		if a, ok := replyOf(c); ok {
			answers = append(answers, a)
		}
	}
	var list []unknown
	for _, c := range d.Connections {
		if u, ok := unknownOf(c); ok {
			list = append(list, u)
		}
	}
	names := namesOf(answers, list)
	for _, c := range d.Connections {
		nameServer(&c.Dst, names[c.ID])
	}
	for _, c := range d.Calls {
		nameServer(&c.Dst, names[c.ConnID])
	}
}

// nameServer gives a server that nobody knows the name that was found, if any.
func nameServer(e *traffic.Endpoint, w traffic.Workload) {
	if w.DNS != "" && e.Name() == "" {
		e.DNS, e.Kind = w.DNS, w.Kind
	}
}

// unknown is a connection to a server that nobody knows.
type unknown struct {
	id             uint64
	client, server netip.Addr
	start          int64
	sni            string
}

func unknownOf(c *traffic.Connection) (unknown, bool) {
	if c.Dst.Name() != "" || !c.Dst.IP.IsGlobalUnicast() {
		return unknown{}, false
	}
	return unknown{c.ID, c.Src.IP, c.Dst.IP, c.Start, strings.Clone(c.SNI)}, true
}

// namesOf are the names of servers by connection.
func namesOf(answers []reply, list []unknown) map[uint64]traffic.Workload {
	slices.SortFunc(answers, func(a, b reply) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.start, b.start), cmp.Compare(a.conn, b.conn), cmp.Compare(a.index, b.index))
	})
	var l Lookups
	for i := range answers {
		l.learn(&answers[i])
	}
	named := map[uint64]traffic.Workload{}
	for _, u := range list {
		if name := cmp.Or(l.name(u.client, u.server, u.start), u.sni); name != "" {
			named[u.id] = external(u.server, name)
		}
	}
	return named
}
