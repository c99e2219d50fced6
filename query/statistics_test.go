package query

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/devloop-io/devloop/assertions/stat"
)

// The shift is the median of all differences, and its bounds are the differences that the distribution of U leaves outside:
// both counted one by one.
func TestShiftCountsAllDifferences(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 7))
	for n := 1; n <= 7; n++ {
		for m := 1; m <= 7; m++ {
			a, b := draw(random, n), draw(random, m)
			slices.Sort(a)
			slices.Sort(b)
			var all []int64
			for _, x := range a {
				for _, y := range b {
					all = append(all, y-x)
				}
			}
			slices.Sort(all)
			middle, low, high := shift(a, b)
			if want := (all[(len(all)-1)/2] + all[len(all)/2]) / 2; middle != want {
				t.Errorf("n %d m %d: shift %d, want %d", n, m, middle, want)
			}
			out := outside(n, m)
			if low != all[out] || high != all[len(all)-1-out] {
				t.Errorf("n %d m %d: %d to %d, want %d to %d", n, m, low, high, all[out], all[len(all)-1-out])
			}
		}
	}
}

func draw(random *rand.Rand, n int) []int64 {
	v := make([]int64, n)
	for i := range v {
		v[i] = random.Int64N(1_000_000)
	}
	return v
}

// outside is how many of the smallest differences lie below the interval: the most for which so few are no likelier than
// alpha/2, over all arrangements of n and m ranks.
func outside(n, m int) int {
	counts := make([]int, n*m+1)
	total := 0
	for set := range 1 << (n + m) {
		u, ones, seen := 0, 0, 0
		for i := range n + m {
			if set>>i&1 == 1 {
				ones++
				u += seen
			} else {
				seen++
			}
		}
		if ones == n {
			counts[u]++
			total++
		}
	}
	sum, out := 0, 0
	for u, c := range counts {
		sum += c
		if float64(sum)/float64(total) > alpha/2 {
			break
		}
		out = u + 1
	}
	// The interval goes from the (out)th smallest difference on, counted from 1, and never beyond the smallest.
	return max(0, out-1)
}

func TestShiftOfLargeSamples(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	a, b := draw(random, 5000), draw(random, 4000)
	for i := range b {
		b[i] += 77_000
	}
	slices.Sort(a)
	slices.Sort(b)
	middle, low, high := shift(a, b)
	if middle < 60_000 || middle > 94_000 || low > 77_000 || high < 77_000 || high-low > 60_000 {
		t.Errorf("a shift of 77000: %d, %d to %d", middle, low, high)
	}
}

func TestRankCorrelations(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6))
	for n := 3; n < 60; n++ {
		x, y := make([]float64, n), make([]float64, n)
		for i := range x {
			x[i] = float64(random.IntN(20)) // with ties
			y[i] = x[i] + float64(random.IntN(30))
		}
		concordant, discordant, freeX, freeY := 0.0, 0.0, 0.0, 0.0
		for i := range x {
			for j := range i {
				dx, dy := x[i]-x[j], y[i]-y[j]
				if dx != 0 {
					freeX++
				}
				if dy != 0 {
					freeY++
				}
				if dx*dy > 0 {
					concordant++
				}
				if dx*dy < 0 {
					discordant++
				}
			}
		}
		want := 0.0
		if freeX > 0 && freeY > 0 {
			want = (concordant - discordant) / math.Sqrt(freeX*freeY)
		}
		if got := kendall(x, y); math.Abs(got-want) > 1e-12 {
			t.Errorf("n %d: tau %v, want %v", n, got, want)
		}
		if got, want := spearman(x, y), pearson(slowRanks(x), slowRanks(y)); math.Abs(got-want) > 1e-12 {
			t.Errorf("n %d: rho %v, want %v", n, got, want)
		}
	}
	if e := correlationInterval(0.5, (1+0.125)/97); math.Abs(e.Low-0.3256) > 0.002 || math.Abs(e.High-0.6419) > 0.002 {
		t.Errorf("rho 0.5 of 100: %+v", e)
	}
}

// slowRanks counts for each value how many are smaller, and half of those that are equal.
func slowRanks(v []float64) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = 0.5
		for _, y := range v {
			if y < x {
				out[i]++
			} else if y == x {
				out[i] += 0.5
			}
		}
	}
	return out
}

func pearson(x, y []float64) float64 {
	var sx, sy float64
	for i := range x {
		sx, sy = sx+x[i]/float64(len(x)), sy+y[i]/float64(len(x))
	}
	var xy, xx, yy float64
	for i := range x {
		xy, xx, yy = xy+(x[i]-sx)*(y[i]-sy), xx+(x[i]-sx)*(x[i]-sx), yy+(y[i]-sy)*(y[i]-sy)
	}
	if xx == 0 || yy == 0 {
		return 0
	}
	return xy / math.Sqrt(xx*yy)
}

// At a bound of the ratio, what was seen is just as rare as alpha/2 allows: binomial tails summed term by term.
func TestRateRatioBounds(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		ka, kb int
		ta, tb float64
	}{{3, 9, 10, 10}, {40, 10, 5, 20}, {1, 1, 1, 3}} {
		r := rateRatio(x.ka, x.ta, x.kb, x.tb)
		if want := float64(x.kb) / x.tb * x.ta / float64(x.ka); math.Abs(r.Value-want) > 1e-9 {
			t.Errorf("%+v: ratio %v, want %v", x, r.Value, want)
		}
		n := x.ka + x.kb
		atLeast := tail(n, x.kb, n, r.Low*x.tb/(r.Low*x.tb+x.ta))
		atMost := tail(n, 0, x.kb, r.High*x.tb/(r.High*x.tb+x.ta))
		if math.Abs(atLeast-alpha/2) > 1e-6 || math.Abs(atMost-alpha/2) > 1e-6 {
			t.Errorf("%+v: tails %v and %v at %v and %v, want %v", x, atLeast, atMost, r.Low, r.High, alpha/2)
		}
	}
	if r := rateRatio(0, 1, 5, 1); r.Value != 0 || r.Low == 0 || r.High != 0 {
		t.Errorf("from none to five: %+v", r)
	}
}

// tail is the chance of from to to successes of n.
func tail(n, from, to int, p float64) float64 {
	sum := 0.0
	for k := from; k <= to; k++ {
		ways := 1.0
		for i := range k {
			ways *= float64(n-i) / float64(i+1)
		}
		sum += ways * math.Pow(p, float64(k)) * math.Pow(1-p, float64(n-k))
	}
	return sum
}

func TestNeededIsTheLeastThatCanDecide(t *testing.T) {
	t.Parallel()
	if needed != 4 || stat.LeastP(3, 3) < alpha || stat.LeastP(4, 4) >= alpha {
		t.Errorf("needed %d, least p of 3 and 3 %v, of 4 and 4 %v", needed, stat.LeastP(3, 3), stat.LeastP(4, 4))
	}
}

func TestSampleKeepsEachWithTheSameChance(t *testing.T) {
	t.Parallel()
	var s sample
	const n = 10 * maxSample
	for i := range int64(n) {
		s.add(i)
	}
	if len(s.values) != maxSample || !s.partial() {
		t.Fatalf("%d values of %d", len(s.values), s.n)
	}
	if median := s.at(50); median < n*48/100 || median > n*52/100 {
		t.Errorf("median %d of 0 to %d", median, n)
	}
	var all sample
	for _, v := range []int64{5, 1, 4, 2, 3} {
		all.add(v)
	}
	if all.at(50) != 3 || all.at(99) != 5 || all.at(1) != 1 || all.partial() {
		t.Errorf("percentiles of 1 to 5: %d %d %d", all.at(1), all.at(50), all.at(99))
	}
}
