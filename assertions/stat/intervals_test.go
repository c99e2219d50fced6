package stat

import (
	"math"
	"testing"
)

// The smallest samples that can show a quantile to lie below a bound: n with q^n <= 0.05.
func TestQuantileRanksNeedSamples(t *testing.T) {
	t.Parallel()
	for q, least := range map[float64]int{0.5: 5, 0.9: 29, 0.95: 59, 0.99: 299, 0.999: 2995} {
		if _, high := QuantileRanks(least-1, q, 0.95); high != least {
			t.Errorf("n=%d q=%v: upper rank %d, want none (%d)", least-1, q, high, least)
		}
		if _, high := QuantileRanks(least, q, 0.95); high != least {
			t.Errorf("n=%d q=%v: upper rank %d, want the largest sample", least, q, high)
		}
		if got := ProportionNeeds(0, 0, 1-q, 0.95); got != least {
			t.Errorf("q=%v: needs %d from nothing, want %d", q, got, least)
		}
	}
}

func TestQuantileRanks(t *testing.T) {
	t.Parallel()
	// Known from tables of the binomial distribution, e.g. R: qbinom(.05, n, q) and qbinom(.95, n, q)+1.
	for _, c := range []struct {
		n         int
		q         float64
		low, high int
	}{
		{100, 0.5, 42, 59},
		{100, 0.9, 85, 96},
		{300, 0.95, 279, 292},
		{10, 0.5, 2, 9},
		{1, 0.95, 1, 2},
		{1, 0.5, 0, 2},
	} {
		low, high := QuantileRanks(c.n, c.q, 0.95)
		if low != c.low || high != c.high {
			t.Errorf("n=%d q=%v: ranks %d..%d, want %d..%d", c.n, c.q, low, high, c.low, c.high)
		}
	}
}

// The ranks must keep their promise: coverage by direct summation, not by the function under test.
func TestQuantileRanksCover(t *testing.T) {
	t.Parallel()
	for _, n := range []int{5, 12, 29, 59, 100, 299, 640} {
		for _, q := range []float64{0.1, 0.5, 0.9, 0.95, 0.99} {
			low, high := QuantileRanks(n, q, 0.95)
			if high <= n && sumBinomial(n, 0, high-1, q) < 0.95-1e-9 {
				t.Errorf("n=%d q=%v: X(%d) covers only %v", n, q, high, sumBinomial(n, 0, high-1, q))
			}
			if low >= 1 && sumBinomial(n, low, n, q) < 0.95-1e-9 {
				t.Errorf("n=%d q=%v: X(%d) covers only %v", n, q, low, sumBinomial(n, low, n, q))
			}
			if low+1 <= n && sumBinomial(n, low+1, n, q) >= 0.95+1e-9 {
				t.Errorf("n=%d q=%v: X(%d) would do, got X(%d)", n, q, low+1, low)
			}
		}
	}
}

func sumBinomial(n, from, to int, p float64) float64 {
	sum := 0.0
	for k := from; k <= to; k++ {
		a, _ := math.Lgamma(float64(n + 1))
		b, _ := math.Lgamma(float64(k + 1))
		c, _ := math.Lgamma(float64(n - k + 1))
		sum += math.Exp(a - b - c + float64(k)*math.Log(p) + float64(n-k)*math.Log(1-p))
	}
	return sum
}

func TestProportionBounds(t *testing.T) {
	t.Parallel()
	// Two-sided 90 % Clopper-Pearson, computed apart as beta quantiles (R: binom.test(k, n, conf.level = 0.9)).
	for _, c := range []struct {
		k, n      int
		low, high float64
	}{
		{0, 10, 0, 1 - math.Pow(0.05, 0.1)},
		{0, 300, 0, 1 - math.Pow(0.05, 1.0/300)},
		{10, 10, math.Pow(0.05, 0.1), 1},
		{1, 2, 0.02532057, 0.97467943},
		{5, 10, 0.2224411, 0.7775589},
	} {
		low, high := Proportion(c.k, c.n, 0.95)
		if math.Abs(low-c.low) > 1e-6 || math.Abs(high-c.high) > 1e-6 {
			t.Errorf("%d of %d: %.7f..%.7f, want %.7f..%.7f", c.k, c.n, low, high, c.low, c.high)
		}
		// The definition itself, by direct summation.
		if c.k > 0 && math.Abs(sumBinomial(c.n, c.k, c.n, low)-0.05) > 1e-6 {
			t.Errorf("%d of %d: lower tail at %v is %v", c.k, c.n, low, sumBinomial(c.n, c.k, c.n, low))
		}
		if c.k < c.n && math.Abs(sumBinomial(c.n, 0, c.k, high)-0.05) > 1e-6 {
			t.Errorf("%d of %d: upper tail at %v is %v", c.k, c.n, high, sumBinomial(c.n, 0, c.k, high))
		}
	}
	// Wilson agrees with the exact interval where it takes over.
	el, eh := Proportion(230, exactLimit, 0.95)
	wl, wh := wilson(230, exactLimit, 0.95)
	if math.Abs(el-wl) > 2e-4 || math.Abs(eh-wh) > 2e-4 {
		t.Errorf("exact %v..%v, Wilson %v..%v", el, eh, wl, wh)
	}
}

func TestPoissonBounds(t *testing.T) {
	t.Parallel()
	// Garwood 90 %: qchisq(.05, 2k)/2 and qchisq(.95, 2k+2)/2.
	for _, c := range []struct {
		k         int
		low, high float64
	}{{0, 0, 2.995732}, {1, 0.05129329, 4.743865}, {5, 1.970150, 10.51304}, {10, 5.425406, 16.96222}} {
		low, high := Poisson(c.k, 0.95)
		if math.Abs(low-c.low) > 1e-5 || math.Abs(high-c.high) > 1e-5 {
			t.Errorf("%d: %v..%v, want %v..%v", c.k, low, high, c.low, c.high)
		}
	}
}

func TestMeanAndDeviationBounds(t *testing.T) {
	t.Parallel()
	mean, low, high := Mean([]float64{1, 2, 3, 4, 5}, 0.95) // t(4, .95) = 2.131847, s = 1.581139
	if mean != 3 || math.Abs(low-(3-2.131847*1.581139/math.Sqrt(5))) > 1e-4 || math.Abs(high-(6-low)) > 1e-9 {
		t.Errorf("mean %v in %v..%v", mean, low, high)
	}
	if _, low, high := Mean([]float64{7}, 0.95); !math.IsInf(low, -1) || !math.IsInf(high, 1) {
		t.Errorf("one sample has mean %v..%v", low, high)
	}
	if _, low, high := Deviation([]float64{1, 2, 3}, 0.95); low != 0 || !math.IsInf(high, 1) {
		t.Errorf("three samples have a deviation of %v..%v", low, high)
	}
}

func TestProportionNeeds(t *testing.T) {
	t.Parallel()
	if got := ProportionNeeds(0, 40, 0.05, 0.95); got != 19 {
		t.Errorf("p95 after 40 clean samples needs %d, want 19", got)
	}
	if got := ProportionNeeds(5, 100, 0.05, 0.95); got != Never {
		t.Errorf("a proportion that sits on its bound needs %d", got)
	}
	if got := ProportionNeeds(10, 100, 0.2, 0.95); got < 1 || got > 100 {
		t.Errorf("10 of 100 against 0.2 needs %d", got)
	}
	if got := ProportionNeeds(0, 100, 0, 0.95); got != Never {
		t.Errorf("against 0 needs %d", got)
	}
}

// Large counts have intervals too.
func TestPoissonLarge(t *testing.T) {
	t.Parallel()
	for _, k := range []int{500, 1000, 3000, exactLimit, exactLimit + 1} {
		low, high := Poisson(k, 0.95)
		half := 1.645 * math.Sqrt(float64(k))
		if math.Abs(float64(k)-low-half) > 0.05*half || math.Abs(high-float64(k)-half) > 0.1*half {
			t.Errorf("%d: %v..%v", k, low, high)
		}
	}
}
