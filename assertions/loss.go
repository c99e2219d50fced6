package assertions

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// loss is what the capture lacks where a check looks. Nil is nothing: the capture is complete there.
type loss struct {
	reasons []string
	conns   []*traffic.Connection // that something is missing on
}

// String is one sentence part, the first reasons first.
func (l *loss) String() string {
	if l == nil {
		return ""
	}
	const shown = 3
	if len(l.reasons) > shown {
		return strings.Join(l.reasons[:shown], "; ") + fmt.Sprintf("; and %d more", len(l.reasons)-shown)
	}
	return strings.Join(l.reasons, "; ")
}

// scope is where a check looks, and which kinds of incompleteness it would notice.
type scope struct {
	on        *filter.Filter
	streams   bool // it speaks of calls: bytes that were not read could have held some
	encrypted bool // TLS could have hidden calls that it asks for
}

// lossOver collects what is missing over the connections that could match (rule 2).
func (w *world) lossOver(s scope) *loss {
	l := &loss{}
	if w.account.FileTruncated {
		l.add("the capture file is cut off in the middle of a record")
	}
	if n := total(w.account.Malformed); n > 0 {
		l.add(fmt.Sprintf("%s could not be parsed", quantify(n, "packet")))
	}
	w.connectionLoss(s, l)
	w.flowLoss(s, l)
	w.unattributed(s, l)
	w.halfCalls(s, l)
	if len(l.reasons) == 0 {
		return nil
	}
	return l
}

func (l *loss) add(reason string, conns ...*traffic.Connection) {
	l.reasons = append(l.reasons, reason)
	l.conns = append(l.conns, conns...)
}

// connectionLoss looks at the connections that were seen.
func (w *world) connectionLoss(s scope, l *loss) {
	type sums struct {
		lost, missing, undecoded, encrypted uint64
		conns                               []*traffic.Connection
	}
	byEdge := map[string]*sums{}
	for _, c := range w.every {
		var add sums
		if s.on.Could(&c.Src, &c.Dst, protocolOf(c)) {
			add.lost, add.missing = c.Lost, c.WindowMissing
			if s.streams {
				add.undecoded = c.WindowUndecoded
			}
		}
		if s.encrypted && c.Encrypted > 0 && w.hidesCalls(s.on, c) {
			add.encrypted = c.Encrypted
		}
		if add.lost+add.missing+add.undecoded+add.encrypted == 0 {
			continue
		}
		edge := edgeName(&c.Src, &c.Dst)
		if byEdge[edge] == nil {
			byEdge[edge] = &sums{}
		}
		sum := byEdge[edge]
		sum.lost, sum.missing = sum.lost+add.lost, sum.missing+add.missing
		sum.undecoded, sum.encrypted = sum.undecoded+add.undecoded, sum.encrypted+add.encrypted
		sum.conns = append(sum.conns, c)
	}
	for _, edge := range sortedKeys(byEdge) {
		sum := byEdge[edge]
		var parts []string
		for _, p := range []struct {
			n    uint64
			unit string
			what string
		}{{sum.lost, "packet", "lost"}, {sum.missing, "byte", "missing"}, {sum.undecoded, "byte", "not decoded"}, {sum.encrypted, "byte", "encrypted"}} {
			if p.n > 0 {
				parts = append(parts, quantify(p.n, p.unit)+" "+p.what)
			}
		}
		l.add(edge+": "+strings.Join(parts, ", "), sum.conns...)
	}
}

// hidesCalls reports whether a call that on asks for could lie behind a connection's encryption.
func (w *world) hidesCalls(on *filter.Filter, c *traffic.Connection) bool {
	return on.Could(&c.Src, &c.Dst, traffic.ProtoHTTP) || on.Could(&c.Src, &c.Dst, traffic.ProtoRedis) ||
		on.Could(&c.Src, &c.Dst, traffic.ProtoPostgreSQL) || c.Dst.Port == 853 && on.Could(&c.Src, &c.Dst, traffic.ProtoDNS)
}

// protocolOf is what is known of a connection for [filter.Filter.Could].
func protocolOf(c *traffic.Connection) string {
	if c.L7 == traffic.ProtoPostgreSQL && c.Encrypted > 0 { // an SSLRequest led to TLS
		return c.Proto
	}
	if c.CaptureSource != "" { // handshakes, and what is behind them
		return c.Proto
	}
	if c.L7 != "" && c.L7 != traffic.ProtoUnknown {
		return c.L7
	}
	return c.Proto
}

// flowLoss looks at losses that the source named by flow. Those on connections that say so themselves are counted there.
func (w *world) flowLoss(s scope, l *loss) {
	flows := append([]traffic.FlowLoss(nil), w.account.Lost...)
	for _, i := range w.account.Interfaces {
		flows = append(flows, i.Lost...)
	}
	type key struct {
		a, b  netip.AddrPort
		proto string
	}
	counted := map[key]bool{}
	known := map[key]*traffic.Connection{}
	for _, c := range w.every {
		known[key{c.Src.Addr(), c.Dst.Addr(), c.Proto}] = c
	}
	byEdge := map[string]uint64{}
	for _, f := range flows {
		k := key{f.Src, f.Dst, f.Proto}
		if f.Packets == 0 || counted[k] {
			continue
		}
		counted[k] = true
		c := known[k]
		if c == nil {
			c = known[key{f.Dst, f.Src, f.Proto}]
		}
		if c != nil {
			if c.Lost == 0 && s.on.Could(&c.Src, &c.Dst, protocolOf(c)) {
				byEdge[edgeName(&c.Src, &c.Dst)] += f.Packets
				l.conns = append(l.conns, c)
			}
			continue
		}
		src, dst := w.endpoint(f.Src), w.endpoint(f.Dst)
		if s.on.Could(src, dst, f.Proto) || s.on.Could(dst, src, f.Proto) {
			byEdge[edgeName(src, dst)] += f.Packets
		}
	}
	for _, edge := range sortedKeys(byEdge) {
		l.add(fmt.Sprintf("%s: %s lost", edge, quantify(byEdge[edge], "packet")))
	}
}

// endpoint is an address with whoever owned it, as far as known.
func (w *world) endpoint(a netip.AddrPort) *traffic.Endpoint {
	return &traffic.Endpoint{IP: a.Addr(), Port: a.Port(), Workload: w.names[a.Addr()]}
}

// unattributed looks at losses that no flow explains.
func (w *world) unattributed(s scope, l *loss) {
	var byFlow, byInterface uint64
	for _, f := range w.account.Lost {
		byFlow += f.Packets
	}
	for _, i := range w.account.Interfaces {
		byInterface += i.Dropped
	}
	for _, i := range w.account.Interfaces {
		if byFlow >= byInterface { // the flows explain all of it
			break
		}
		var named uint64
		for _, f := range i.Lost {
			named += f.Packets
		}
		if i.Dropped <= named {
			continue
		}
		end := &traffic.Endpoint{}
		if i.Workload != nil {
			end.Workload = *i.Workload
		}
		if i.Workload == nil || s.on.Could(end, nil, "") || s.on.Could(nil, end, "") {
			l.add(fmt.Sprintf("%s lost at %s", quantify(i.Dropped-named, "packet"), i.Name))
		}
	}
	if known := max(byFlow, byInterface); w.account.Dropped > known {
		l.add(fmt.Sprintf("%s lost, of which nothing is known", quantify(w.account.Dropped-known, "packet")))
	}
	var missing, undecoded uint64
	for _, c := range w.every {
		missing, undecoded = missing+c.WindowMissing, undecoded+c.WindowUndecoded
	}
	if w.account.Missing > missing {
		l.add(fmt.Sprintf("%s missing on connections that are not known", quantify(w.account.Missing-missing, "byte")))
	}
	if s.streams && w.account.Undecoded > undecoded {
		l.add(fmt.Sprintf("%s not decoded on connections that are not known", quantify(w.account.Undecoded-undecoded, "byte")))
	}
}

// halfCalls looks at calls of which only the response was seen: what they asked for is not known.
func (w *world) halfCalls(s scope, l *loss) {
	if !s.streams {
		return
	}
	byEdge := map[string]uint64{}
	for _, c := range w.calls {
		if !c.Asked() && s.on.Could(&c.Src, &c.Dst, c.Protocol) {
			byEdge[edgeName(&c.Src, &c.Dst)]++
			if conn := w.byID[c.ConnID]; conn != nil && !slices.Contains(l.conns, conn) {
				l.conns = append(l.conns, conn)
			}
		}
	}
	for _, edge := range sortedKeys(byEdge) {
		l.add(fmt.Sprintf("%s: %s without its request", edge, quantify(byEdge[edge], "response")))
	}
}

func total(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func quantify(n uint64, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
