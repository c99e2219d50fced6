package assertions

import (
	"math"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// The bounds of a drawing.
const (
	plotBins  = 32
	plotWide  = 50 // largest to smallest: beyond it bins are of equal ratios
	plotFewer = 3  // known samples, below which there is no distribution to draw
)

// plots are the drawings of an outcome's estimates.
func (o *outcome) plots() []traffic.Plot {
	var all []traffic.Plot
	for i, t := range o.terms {
		e, ok := o.results[i].value.(*estimate)
		if !ok || e.vacuous || math.IsNaN(e.value) || math.IsInf(e.value, 0) {
			continue
		}
		p := traffic.Plot{Term: t.text, Value: e.value, Low: finite(e.low), High: finite(e.high), Confidence: e.sampled, Bounds: boundsOf(t)}
		if e.typ == estimateDuration {
			p.Unit = "ns"
		}
		place(&p, samples{all: e.samples}.known())
		all = append(all, p)
	}
	return all
}

// boundsOf are the constants that a term was compared with.
func boundsOf(t *term) []traffic.Bound {
	var bounds []traffic.Bound
	for _, c := range t.comparer.made {
		operator, bound := c.operator, c.right
		if bound.comparer != nil {
			operator, bound = strings.NewReplacer("<", ">", ">", "<").Replace(operator), c.left
		}
		if v := finite(bound.value); v != nil && bound.exact && bound.comparer == nil {
			bounds = append(bounds, traffic.Bound{Operator: operator, Value: *v})
		}
	}
	return bounds
}

func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// place chooses the axis, which holds all that is drawn, and counts the samples along it.
func place(p *traffic.Plot, xs []float64) {
	p.From, p.To = p.Value, p.Value
	widen := func(v float64) { p.From, p.To = min(p.From, v), max(p.To, v) }
	for _, x := range xs {
		widen(x)
	}
	for _, b := range p.Bounds {
		widen(b.Value)
	}
	for _, v := range []*float64{p.Low, p.High} {
		if v != nil {
			widen(*v)
		}
	}
	if p.Log = p.From > 0 && p.To > plotWide*p.From; p.Log {
		p.From, p.To = p.From/1.15, p.To*1.15
	} else {
		p.From, p.To = min(0, p.From), p.To+0.08*(p.To-min(0, p.From))
	}
	if len(xs) < plotFewer || p.To <= p.From {
		return
	}
	p.Bins = make([]int, plotBins)
	for _, x := range xs {
		p.Bins[min(plotBins-1, int(plotBins*share(p, x)))]++
	}
}

// share is how far along the axis a value lies, from 0 to 1.
func share(p *traffic.Plot, x float64) float64 {
	if p.Log {
		return math.Log(x/p.From) / math.Log(p.To/p.From)
	}
	return (x - p.From) / (p.To - p.From)
}
