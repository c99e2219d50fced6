package assertions

import (
	"fmt"
	"math"
	"reflect"
	"sort"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/devloop-io/devloop/assertions/stat"
)

// sample is one number that an aggregate works on. A value that is not known is an interval: a call without an answer took
// at least as long as it waited.
type sample struct {
	value     float64 // NaN when it is not known
	low, high float64
	rows      []int // that it stands for, as indices into the selection
}

// samples are the numbers of one term.
type samples struct {
	typ        *cel.Type // an estimate type
	all        []sample
	hidden     bool // capture was incomplete: any number of further samples may exist
	confidence float64
	comparer   *comparisons
}

// known are the values without doubt.
func (s samples) known() []float64 {
	var xs []float64
	for _, x := range s.all {
		if x.low == x.high {
			xs = append(xs, x.value)
		}
	}
	return xs
}

// certain reports whether every sample there could be is here, with its value.
func (s samples) certain() bool { return !s.hidden && len(s.known()) == len(s.all) }

// bounds are the smallest and largest values of every sample, sorted each.
func (s samples) bounds() (lows, highs []float64) {
	for _, x := range s.all {
		lows, highs = append(lows, x.low), append(highs, x.high)
	}
	sort.Float64s(lows)
	sort.Float64s(highs)
	return lows, highs
}

// quantiles are the aggregates that are quantiles.
var quantiles = map[string]float64{"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}

// numeric computes an aggregate over numbers by its name; q is the quantile of percentile.
func numeric(name string, q float64, s samples) *estimate {
	if fixed, ok := quantiles[name]; ok {
		q, name = fixed, "percentile"
	}
	switch name {
	case "percentile":
		return s.quantile(q)
	case "max", "min":
		return s.extreme(name == "max")
	case "sum":
		return s.sum()
	case "mean":
		return s.mean()
	}
	return s.deviation()
}

func (s samples) estimate(value, low, high float64) *estimate {
	return &estimate{typ: s.typ, value: value, low: low, high: high, n: len(s.all), comparer: s.comparer, samples: s.all,
		exact: low == high}
}

// quantile bounds a quantile by order statistics: samples with unknown values count at both of their ends.
func (s samples) quantile(q float64) *estimate {
	n := len(s.all)
	e := s.estimate(math.NaN(), math.Inf(-1), math.Inf(1))
	if n == 0 {
		return e
	}
	lows, highs := s.bounds()
	at := stat.QuantileRank(n, q) - 1
	if e.value = highs[at]; math.IsInf(e.value, 0) {
		e.value = lows[at]
	}
	if s.hidden {
		return e
	}
	low, high := stat.QuantileRanks(n, q, s.confidence)
	if low >= 1 {
		e.low = lows[low-1]
	}
	if high <= n {
		e.high = highs[high-1]
	}
	e.exact, e.sampled = false, true
	e.needs = func(bound float64) int {
		over := 0
		for _, h := range highs {
			if h >= bound {
				over++
			}
		}
		return stat.ProportionNeeds(over, n, 1-q, s.confidence)
	}
	return e
}

// extreme is the largest or smallest sample: a fact, as long as every sample is known.
func (s samples) extreme(largest bool) *estimate {
	e := s.estimate(math.NaN(), math.Inf(-1), math.Inf(1))
	if len(s.all) == 0 {
		return e
	}
	lows, highs := s.bounds()
	i := 0
	if largest {
		i = len(s.all) - 1
	}
	e.low, e.high = lows[i], highs[i]
	if e.value = highs[i]; math.IsInf(e.value, 0) {
		e.value = lows[i]
	}
	if s.hidden && largest {
		e.high = math.Inf(1)
	}
	if s.hidden && !largest {
		e.low = math.Inf(-1)
	}
	e.exact = e.low == e.high
	return e
}

// sum is a fact; of numbers that are never negative, what is known is a lower bound.
func (s samples) sum() *estimate {
	e := s.estimate(0, 0, 0)
	for _, x := range s.all {
		e.low, e.high = e.low+x.low, e.high+x.high
		if x.low == x.high {
			e.value += x.value
		}
	}
	if s.hidden {
		e.high = math.Inf(1)
		if lows, _ := s.bounds(); len(lows) > 0 && lows[0] < 0 {
			e.low = math.Inf(-1)
		}
	}
	e.exact = e.low == e.high
	return e
}

func (s samples) mean() *estimate {
	e := s.estimate(math.NaN(), math.Inf(-1), math.Inf(1))
	xs := s.known()
	if len(xs) == 0 {
		return e
	}
	var low, high float64
	if e.value, low, high = stat.Mean(xs, s.confidence); !s.certain() {
		return e
	}
	e.low, e.high, e.sampled = low, high, true
	n, value, half := float64(len(xs)), e.value, (high-low)/2
	e.needs = func(bound float64) int {
		gap := math.Abs(value - bound)
		if n < 2 {
			return 1
		}
		more := n * (half*half/(gap*gap) - 1)
		if gap == 0 || more > stat.Never {
			return stat.Never
		}
		return max(1, int(math.Ceil(more)))
	}
	return e
}

func (s samples) deviation() *estimate {
	e := s.estimate(math.NaN(), 0, math.Inf(1))
	xs := s.known()
	var low, high float64
	if e.value, low, high = stat.Deviation(xs, s.confidence); !s.certain() {
		return e
	}
	e.low, e.high, e.sampled = low, high, true
	if len(xs) < stat.DeviationMinimum {
		e.needs = func(float64) int { return stat.DeviationMinimum - len(xs) }
	}
	return e
}

// counted is a number of rows: known ones, and so many more whose fields are unknown.
func counted(known, unknown int, hidden bool) *estimate {
	e := &estimate{typ: estimateInt, value: float64(known), low: float64(known), high: float64(known + unknown)}
	if hidden {
		e.high = math.Inf(1)
	}
	e.exact = e.low == e.high
	return e
}

// groups are counts by key: count_by and calls_per.
type groups struct {
	all        []group
	hidden     bool
	confidence float64
	comparer   *comparisons
	vacuous    bool
	holds      bool
	n          int
}

type group struct {
	key       string
	low, high int
	rows      []int
}

// number computes an aggregate over the groups.
func (g *groups) number(name string, q float64, t *cel.Type) *estimate {
	s := samples{typ: t, hidden: g.hidden, confidence: g.confidence, comparer: g.comparer}
	for _, x := range g.all {
		v := sample{value: float64(x.low), low: float64(x.low), high: float64(x.high), rows: x.rows}
		if g.hidden {
			v.high = math.Inf(1)
		}
		s.all = append(s.all, v)
	}
	e := numeric(name, q, s)
	e.vacuous, e.holds, e.label = g.vacuous, g.holds, name
	return e
}

// size is how many groups there are.
func (g *groups) size() *estimate {
	e := counted(len(g.all), 0, g.hidden)
	e.comparer, e.vacuous, e.holds, e.n = g.comparer, g.vacuous, g.holds, g.n
	return e
}

// String names the largest group.
func (g *groups) String() string {
	if len(g.all) == 0 {
		return "no groups"
	}
	top := g.all[0]
	for _, x := range g.all {
		if x.low > top.low {
			top = x
		}
	}
	return fmt.Sprintf("%d groups, largest %d", len(g.all), top.low)
}

// ConvertToNative implements [ref.Val].
func (g *groups) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("convert groups to %v: not possible", t)
}

// ConvertToType implements [ref.Val].
func (g *groups) ConvertToType(t ref.Type) ref.Val {
	return types.NewErr("groups cannot be converted to %s", t.TypeName())
}

// Equal implements [ref.Val]; groups are aggregated, never compared.
func (g *groups) Equal(ref.Val) ref.Val {
	return types.NewErr("groups cannot be compared: use max(…)")
}

// Type implements [ref.Val].
func (g *groups) Type() ref.Type { return groupsInt }

// Value implements [ref.Val].
func (g *groups) Value() any { return g.all }
