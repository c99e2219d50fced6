package derive

import (
	"net/netip"
	"slices"

	"github.com/devloop-io/devloop/traffic"
)

// mostCandidates bounds the calls that are looked at as parents of one. Beyond it the choice is a guess anyway.
const mostCandidates = 64

// Parents fills Parent, ParentBy, ParentCandidates and Depth of calls, in O(n log n).
//
// A trace context in a request names the span of its caller, which no packet ties to the request that the caller was
// serving. So the parent by trace is a call of the same trace that the caller was serving, or else had served. Once a
// span is tied to a parent without doubt, all calls of that span are. Without a trace in common, the parent by nesting is
// the latest call that the caller was serving. Probes are parents only where nothing else is.
func Parents(calls []*traffic.Call) {
	sorted := slices.Clone(calls)
	slices.SortFunc(sorted, order) // parents come before their children
	p := parents{causes: NewCauses(sorted), spans: map[span]*traffic.Call{}}
	p.causes.most = mostCandidates
	choices := make([]choice, len(sorted))
	for i, c := range sorted {
		choices[i] = p.choose(c)
		p.tie(c, choices[i])
	}
	for i, c := range sorted {
		c.Parent, c.ParentBy, c.ParentCandidates, c.Depth = "", "", 0, 0
		if x := p.bySpan(c, choices[i]); x.parent != nil {
			c.Parent, c.ParentBy, c.ParentCandidates, c.Depth = x.parent.ID, x.by, x.candidates, x.parent.Depth+1
		}
	}
}

type parents struct {
	causes *Causes
	spans  map[span]*traffic.Call // what the caller was serving
}

// choice is the parent of a call, out of so many candidates.
type choice struct {
	parent     *traffic.Call
	by         string
	candidates int
	relayed    bool // the caller sends on the span that it was given: the span does not tell its calls apart from others'
}

// span is a caller's.
type span struct {
	namespace, name string
	ip              netip.Addr
	trace, id       string
}

func spanOf(c *traffic.Call) span {
	s := span{namespace: c.Src.Namespace, name: c.Src.Name(), trace: c.TraceID, id: c.SpanID}
	if s.name == "" {
		s.ip = c.Src.IP.Unmap()
	}
	return s
}

// choose finds the parent of a call by what is known of it alone.
func (p *parents) choose(c *traffic.Call) choice {
	var best, probe choice
	if c.State == traffic.StateHalf || pushed(c) { // when it began is not known; its client did not make it
		return best
	}
	for x, traced := range p.causes.Of(c) {
		if !credible(x, c) {
			continue
		}
		into := &best
		if x.Background && !c.Background {
			into = &probe
		}
		into.consider(x, c, traced)
	}
	if best.by != traffic.ByTrace { // work that goes on after the answer
		if x, candidates := p.causes.earlier(c); x != nil {
			return choice{parent: x, by: traffic.ByTrace, candidates: candidates}
		}
	}
	if best.parent != nil {
		return best
	}
	return probe
}

// pushed reports whether the server sent it by itself.
func pushed(c *traffic.Call) bool {
	return c.Redis != nil && c.Redis.Push || c.WebSocket != nil && c.WebSocket.FromServer || c.HTTP != nil && c.HTTP.Pushed
}

// credible reports whether p is more than a bare possibility: a handshake causes nothing, when a half call began is not
// known, and all processes of a host share the loopback address.
func credible(p, c *traffic.Call) bool {
	if p.Protocol == traffic.ProtoTLS || p.State == traffic.StateHalf {
		return false
	}
	return p.Dst.Name() != "" && c.Src.Name() != "" || !anonymous(p.Dst.IP)
}

// anonymous reports whether an address tells no workload from another.
func anonymous(ip netip.Addr) bool { return !ip.IsValid() || ip.IsLoopback() || ip.IsUnspecified() }

// consider takes a candidate into account. They come latest first; one whose span the caller sent on is better than all
// others.
func (b *choice) consider(x, c *traffic.Call, traced bool) {
	by := traffic.ByNesting
	if traced {
		by = traffic.ByTrace
	}
	relayed := traced && c.SpanID != "" && x.SpanID == c.SpanID
	switch {
	case b.parent == nil || relayed && !b.relayed:
		*b = choice{parent: x, by: by, candidates: 1, relayed: relayed}
	case relayed == b.relayed:
		b.candidates++
	}
}

// tie notes what the caller was serving in its span, where there is no doubt.
func (p *parents) tie(c *traffic.Call, x choice) {
	if c.SpanID == "" || x.by != traffic.ByTrace || x.candidates != 1 || x.relayed {
		return
	}
	s := spanOf(c)
	if _, done := p.spans[s]; !done {
		p.spans[s] = x.parent
	}
}

// bySpan is the parent that the span of a call is tied to, or else the one that was chosen.
func (p *parents) bySpan(c *traffic.Call, x choice) choice {
	if c.SpanID == "" || x.by != traffic.ByTrace || x.candidates == 1 || x.relayed {
		return x
	}
	if tied := p.spans[spanOf(c)]; tied != nil && before(tied, c) {
		return choice{parent: tied, by: traffic.ByTrace, candidates: 1}
	}
	return x
}
