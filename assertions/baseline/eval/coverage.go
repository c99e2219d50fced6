package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"strings"

	"github.com/devloop-io/devloop/assertions/stat"
)

// confidence is that of each side of the measured intervals: checks' default.
const confidence = 0.95

// shape is a distribution that samples are drawn from, with its quantiles.
type shape struct {
	name     string
	draw     func(*rand.Rand) float64
	quantile func(q float64) float64
	mean     float64
}

var shapes = []shape{
	{"log-normal", func(r *rand.Rand) float64 { return math.Exp(r.NormFloat64() / 2) }, func(q float64) float64 { return math.Exp(stat.Normal(q) / 2) }, math.Exp(0.125)},
	{"exponential", func(r *rand.Rand) float64 { return r.ExpFloat64() }, func(q float64) float64 { return -math.Log(1 - q) }, 1},
	{"normal", func(r *rand.Rand) float64 { return 10 + r.NormFloat64() }, func(q float64) float64 { return 10 + stat.Normal(q) }, 10},
}

// tally is how often the sides of intervals held.
type tally struct{ sides, held, width, ideal float64 }

// side counts one side: whether it held.
func (t *tally) side(held bool) {
	t.sides++
	if held {
		t.held++
	}
}

func (t *tally) coverage() float64 { return t.held / t.sides }

// coverage measures, over a grid, how often each side of an interval holds the truth, and for the exact kinds how much wider they are
// than the usual approximation.
func coverage(out *strings.Builder, rounds int) (broken []string) {
	fmt.Fprintf(out, "### Intervals\n\nHow often one side of an interval holds the truth; %.0f %% is asked of each. %d samples a cell. Excess width is by how much the interval is wider, on average, than the normal approximation for the same figures, which "+
		"promises less than it says.\n\n| interval | grid | cells | worst cell | on average | excess width |\n|---|---|---|---|---|---|\n", confidence*100, rounds)
	r := rand.New(rand.NewPCG(20261121, 1))
	row := func(name, grid string, exact bool, cells []*tally) {
		worst, all := 1.0, tally{}
		for _, c := range cells {
			worst = min(worst, c.coverage())
			all.sides, all.held, all.width, all.ideal = all.sides+c.sides, all.held+c.held, all.width+c.width, all.ideal+c.ideal
		}
		excess := "–"
		if all.ideal > 0 {
			excess = percent(all.width/all.ideal - 1)
		}
		fmt.Fprintf(out, "| %s | %s | %d | %s | %s | %s |\n", name, grid, len(cells), percent(worst), percent(all.coverage()), excess)
		average := all.coverage()
		// A cell of a kind that keeps 95 % exactly shows less by chance: four standard deviations are allowed.
		slack := 4 * math.Sqrt(confidence*(1-confidence)/cells[0].sides)
		switch {
		case exact && (average < confidence || worst < confidence-slack):
			broken = append(broken, name+" covers too little")
		case !exact && (average < 0.93 || average > 0.97):
			broken = append(broken, name+" is out of 93 to 97 %")
		}
	}
	row("quantile, order statistics", "p50 p90 p95 p99 × n = 60 300 1000 × 3 shapes", true, quantileCells(r, rounds))
	row("share, Clopper and Pearson", "p = 0.001 0.01 0.1 0.5 × n = 20 100 1000", true, shareCells(r, rounds, []int{20, 100, 1000}))
	row("rate, Garwood", "mean = 0.5 3 20 200", true, rateCells(r, rounds))
	row("share, Wilson", "p = 0.001 0.01 0.1 0.5 × n = 20,000", false, shareCells(r, rounds, []int{20_000}))
	row("mean, Student", "n = 10 30 100 300 × 3 shapes", false, meanCells(r, rounds))
	row("slowdown, Hodges and Lehmann", "n = 10 30 60 × m = 20 80 × 2 shapes", false, shiftCells(r, rounds))
	out.WriteString("\nStudent's interval for the mean and the one for the slowdown are approximate: the first wants larger samples of skewed latencies, as its worst cell shows (use quantiles), the second takes calls as independent; comparisons with a baseline therefore add the noise between runs.\n")
	return broken
}

func quantileCells(r *rand.Rand, rounds int) (cells []*tally) {
	for _, s := range shapes {
		for _, q := range []float64{0.5, 0.9, 0.95, 0.99} {
			for _, n := range []int{60, 300, 1000} {
				c := &tally{}
				low, high := stat.QuantileRanks(n, q, confidence)
				truth := s.quantile(q)
				// The density at the quantile, for the width of the normal approximation.
				density := 2e-4 / (s.quantile(q+1e-4) - s.quantile(q-1e-4))
				for range rounds {
					xs := sample(r, n, s.draw)
					if low >= 1 {
						c.side(xs[low-1] <= truth)
					} else {
						c.side(true)
					}
					if high <= n {
						c.side(xs[high-1] >= truth)
					} else {
						c.side(true)
					}
					if low >= 1 && high <= n {
						c.width += xs[high-1] - xs[low-1]
						c.ideal += 2 * stat.Normal(confidence) * math.Sqrt(q*(1-q)/float64(n)) / density
					}
				}
				cells = append(cells, c)
			}
		}
	}
	return cells
}

func sample(r *rand.Rand, n int, draw func(*rand.Rand) float64) []float64 {
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = draw(r)
	}
	sort.Float64s(xs)
	return xs
}

func shareCells(r *rand.Rand, rounds int, ns []int) (cells []*tally) {
	for _, p := range []float64{0.001, 0.01, 0.1, 0.5} {
		for _, n := range ns {
			c := &tally{}
			for range rounds {
				k := 0
				for range n {
					if r.Float64() < p {
						k++
					}
				}
				low, high := stat.Proportion(k, n, confidence)
				c.side(low <= p)
				c.side(high >= p)
				seen := float64(k) / float64(n)
				if 0 < k && k < n {
					c.width += high - low
					c.ideal += 2 * stat.Normal(confidence) * math.Sqrt(seen*(1-seen)/float64(n))
				}
			}
			cells = append(cells, c)
		}
	}
	return cells
}

func rateCells(r *rand.Rand, rounds int) (cells []*tally) {
	for _, mean := range []float64{0.5, 3, 20, 200} {
		c := &tally{}
		for range rounds {
			k := 0
			for t := r.ExpFloat64(); t < mean; t += r.ExpFloat64() {
				k++
			}
			low, high := stat.Poisson(k, confidence)
			c.side(low <= mean)
			c.side(high >= mean)
			if k > 0 {
				c.width += high - low
				c.ideal += 2 * stat.Normal(confidence) * math.Sqrt(float64(k))
			}
		}
		cells = append(cells, c)
	}
	return cells
}

func meanCells(r *rand.Rand, rounds int) (cells []*tally) {
	for _, s := range shapes {
		for _, n := range []int{10, 30, 100, 300} {
			c := &tally{}
			for range rounds {
				_, low, high := stat.Mean(sample(r, n, s.draw), confidence)
				c.side(low <= s.mean)
				c.side(high >= s.mean)
			}
			cells = append(cells, c)
		}
	}
	return cells
}

func shiftCells(r *rand.Rand, rounds int) (cells []*tally) {
	const ratio = 1.2
	for _, s := range shapes[:2] {
		for _, n := range []int{10, 30, 60} {
			for _, m := range []int{20, 80} {
				c := &tally{}
				for range rounds {
					xs, ys := sample(r, n, s.draw), sample(r, m, s.draw)
					for i := range ys {
						ys[i] *= ratio
					}
					shift, err := stat.Compare(xs, ys, confidence)
					if err != nil {
						continue
					}
					c.side(shift.Low <= ratio)
					c.side(shift.High >= ratio)
				}
				cells = append(cells, c)
			}
		}
	}
	return cells
}
