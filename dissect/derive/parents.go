package derive

import (
	"net/netip"

	"github.com/devloop-io/devloop/dissect/facts"
)

// mostCandidates bounds the calls that are looked at as parents of one. Beyond it the choice is a guess anyway.
const mostCandidates = 64

// findParents fills Parent, ByTrace, Candidates and Depth, in O(n log n). Facts come in order.
//
// A trace context in a request names the span of its caller, which no packet ties to the request that the caller was
// serving. So the parent by trace is a call of the same trace that the caller was serving, or else had served. Once a
// span is tied to a parent without doubt, all calls of that span are. Without a trace in common, the parent by nesting is
// the latest call that the caller was serving. Probes are parents only where nothing else is.
func findParents(sorted []*facts.Fact) {
	p := parents{causes: causes{sorted: sorted, most: mostCandidates}, spans: map[callerSpan]*facts.Fact{}}
	for _, c := range sorted {
		p.choose(c).note(c)
		p.tie(c)
	}
	for _, c := range sorted {
		p.bySpan(c)
		if c.Depth = 0; c.Parent != nil {
			c.Depth = c.Parent.Depth + 1
		}
	}
}

type parents struct {
	causes causes
	spans  map[callerSpan]*facts.Fact // what the caller was serving
}

// choice is the parent of a call, out of so many candidates.
type choice struct {
	parent     *facts.Fact
	byTrace    bool
	candidates int32
	relayed    bool // the caller sends on the span that it was given: the span does not tell its calls apart from others'
}

func (x choice) note(c *facts.Fact) {
	c.Parent, c.ByTrace, c.Candidates, c.Relayed = x.parent, x.byTrace, x.candidates, x.relayed
}

// callerSpan is a span of a caller.
type callerSpan struct {
	caller    uint32
	trace, id uint64
}

func spanOf(c *facts.Fact) callerSpan { return callerSpan{c.Src.Home(), c.Trace, c.Span} }

// choose finds the parent of a call by what is known of it alone.
func (p *parents) choose(c *facts.Fact) choice {
	var best, probe choice
	if c.Half || c.Pushed { // when it began is not known; its client did not make it
		return best
	}
	for x, traced := range p.causes.of(c) {
		if !credible(x, c) {
			continue
		}
		into := &best
		if x.Background && !c.Background {
			into = &probe
		}
		into.consider(x, c, traced)
	}
	if !best.byTrace { // work that goes on after the answer
		if x, candidates := p.causes.earlier(c); x != nil {
			return choice{parent: x, byTrace: true, candidates: int32(candidates)}
		}
	}
	if best.parent != nil {
		return best
	}
	return probe
}

// credible reports whether p is more than a bare possibility: a handshake causes nothing, when a half call began is not
// known, and all processes of a host share the loopback address.
func credible(p, c *facts.Fact) bool {
	if p.TLS || p.Half {
		return false
	}
	return p.Dst.Workload != 0 && c.Src.Workload != 0 || !anonymous(p.Dst.IP)
}

// anonymous reports whether an address tells no workload from another.
func anonymous(ip netip.Addr) bool { return !ip.IsValid() || ip.IsLoopback() || ip.IsUnspecified() }

// consider takes a candidate into account. They come latest first; one whose span the caller sent on is better than all
// others.
func (b *choice) consider(x, c *facts.Fact, traced bool) {
	relayed := traced && c.Span != 0 && x.Span == c.Span
	switch {
	case b.parent == nil || relayed && !b.relayed:
		*b = choice{parent: x, byTrace: traced, candidates: 1, relayed: relayed}
	case relayed == b.relayed:
		b.candidates++
	}
}

// tie notes what the caller was serving in its span, where there is no doubt.
func (p *parents) tie(c *facts.Fact) {
	if c.Span == 0 || !c.ByTrace || c.Candidates != 1 || c.Relayed {
		return
	}
	s := spanOf(c)
	if _, done := p.spans[s]; !done {
		p.spans[s] = c.Parent
	}
}

// bySpan takes the parent that the span of a call is tied to, where there is one, instead of the one that was chosen.
func (p *parents) bySpan(c *facts.Fact) {
	if c.Span == 0 || !c.ByTrace || c.Candidates == 1 || c.Relayed {
		return
	}
	if tied := p.spans[spanOf(c)]; tied != nil && orderOf(tied, c) < 0 {
		choice{parent: tied, byTrace: true, candidates: 1}.note(c)
	}
}
