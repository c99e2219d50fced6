package store

import (
	"cmp"
	"net/netip"
	"slices"

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
	if c.DNS == nil || len(c.DNS.Questions) == 0 {
		return
	}
	for _, a := range c.DNS.Answers {
		ip, err := netip.ParseAddr(a.Data)
		if err != nil || a.Type != "A" && a.Type != "AAAA" {
			continue
		}
		l.add(ip.Unmap(), lookup{c.End, c.Src.IP, c.DNS.Questions[0].Name})
	}
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
// that the client asked for in TLS. Calls and connections are in the order in which they began.
func nameExternals(d *traffic.Dissection) {
	var l Lookups
	answers := slices.DeleteFunc(slices.Clone(d.Calls), func(c *traffic.Call) bool { return c.DNS == nil })
	slices.SortStableFunc(answers, func(a, b *traffic.Call) int { return cmp.Compare(a.End, b.End) })
	for _, c := range answers {
		l.Learn(c)
	}
	named := map[uint64]traffic.Workload{}
	for _, c := range d.Connections {
		if c.Dst.Name() != "" || !c.Dst.IP.IsGlobalUnicast() {
			continue
		}
		if name := cmp.Or(l.name(c.Src.IP, c.Dst.IP, c.Start), c.SNI); name != "" {
			named[c.ID] = external(c.Dst.IP, name)
			c.Dst.DNS, c.Dst.Kind = name, named[c.ID].Kind
		}
	}
	for _, c := range d.Calls {
		if w, ok := named[c.ConnID]; ok && c.Dst.Name() == "" {
			c.Dst.DNS, c.Dst.Kind = w.DNS, w.Kind
		}
	}
}
