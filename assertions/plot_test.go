package assertions

import (
	"math"
	"testing"

	"cel.dev/cel-go/common/types"

	"github.com/devloop-io/devloop/traffic"
)

// TestPlace: the axis holds samples, interval and bound; every sample is counted once; ratios where the values are far apart.
func TestPlace(t *testing.T) {
	low, high := 90.0, 130.0
	for _, c := range []struct {
		name   string
		plot   traffic.Plot
		xs     []float64
		log    bool
		binned int
	}{
		{"near each other", traffic.Plot{Value: 100, Low: &low, High: &high, Bounds: []traffic.Bound{{Operator: "<", Value: 120}}}, []float64{80, 100, 110}, false, 3},
		{"far apart", traffic.Plot{Value: 100, Bounds: []traffic.Bound{{Operator: "<", Value: 5000}}}, []float64{1, 2, 3, 4000}, true, 4},
		{"with nothing", traffic.Plot{Value: 100}, []float64{0, 100, 5000}, false, 3},
		{"too few", traffic.Plot{Value: 100}, []float64{100, 100}, false, 0},
		{"all nothing", traffic.Plot{Value: 0}, []float64{0, 0, 0, 0}, false, 0},
		{"below nothing", traffic.Plot{Value: -5}, []float64{-10, -5, 0}, false, 3},
	} {
		p := c.plot
		place(&p, c.xs)
		binned := 0
		for _, n := range p.Bins {
			binned += n
		}
		if p.Log != c.log || binned != c.binned {
			t.Errorf("%s: log %v, %d samples in bins: %+v", c.name, p.Log, binned, p)
		}
		for _, v := range append(c.xs, p.Value) {
			if v < p.From || v > p.To {
				t.Errorf("%s: %g lies beyond the axis from %g to %g", c.name, v, p.From, p.To)
			}
		}
	}
	if finite(math.Inf(1)) != nil || finite(math.NaN()) != nil || *finite(2) != 2 {
		t.Error("only what is a number has a place")
	}
}

// TestBoundsOf: a bound reads from the term's side, whichever side it was written on.
func TestBoundsOf(t *testing.T) {
	made := &comparisons{}
	e := &estimate{typ: estimateInt, value: 3, low: 3, high: 3, comparer: made}
	compare("<", e, types.Int(5))
	compare(">=", types.Int(7), e)
	got := boundsOf(&term{comparer: made})
	want := []traffic.Bound{{Operator: "<", Value: 5}, {Operator: "<=", Value: 7}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("bounds %v, want %v", got, want)
	}
}
