package stat

import (
	"math"
	"math/rand/v2"
	"testing"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > tolerance {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// Values of R: fisher.test, poisson.test, p.adjust, qchisq.
func TestAgainstKnownValues(t *testing.T) {
	t.Parallel()
	near(t, "Fisher 3 of 4 against 1 of 4", Fisher(3, 4, 1, 4), 0.4857143, 1e-6)
	near(t, "Fisher 0 of 10 against 10 of 10", Fisher(0, 10, 10, 10), 2/184756.0, 1e-12)
	near(t, "Fisher 2 of 100 against 0 of 50", Fisher(2, 100, 0, 50), 0.5525727, 1e-6)
	near(t, "Fisher of nothing", Fisher(0, 0, 1, 5), 1, 0)
	near(t, "Poisson 10 in 1 against 20 in 1", PoissonRatio(10, 1, 20, 1), 0.09873715, 1e-6)
	near(t, "Poisson of nothing", PoissonRatio(0, 5, 0, 5), 1, 0)
	near(t, "chi-squared 0.2, 4", chiSquaredQuantile(0.2, 4), 1.648777, 1e-5)
	near(t, "chi-squared 0.2, 1", chiSquaredQuantile(0.2, 1), 0.06418475, 1e-5)
	for i, want := range []float64{0.04, 0.06, 0.06, 0.04} {
		near(t, "Holm", Holm([]float64{0.01, 0.03, 0.04, 0.01})[i], want, 1e-12)
	}
	for i, want := range []float64{0.02, 0.04, 0.04, 0.02} {
		near(t, "Benjamini-Hochberg", BenjaminiHochberg([]float64{0.01, 0.03, 0.04, 0.01})[i], want, 1e-12)
	}
}

func TestRunsNeeded(t *testing.T) {
	t.Parallel()
	// The smallest two-sided p: 0.1 with 3 runs a side, 0.029 with 4, 0.0079 with 5, 0.0022 with 6.
	for alpha, want := range map[float64]int{0.1: 3, 0.05: 4, 0.01: 5, 0.005: 6, 0.001: 7} {
		if got := RunsNeeded(alpha); got != want {
			t.Errorf("alpha %v needs %d runs a side, want %d", alpha, got, want)
		}
		if p := LeastP(want, want); p > alpha {
			t.Errorf("%d a side reach %v, not %v", want, p, alpha)
		}
	}
}

func TestCompareEdges(t *testing.T) {
	t.Parallel()
	same := []float64{5, 5, 5, 5, 5, 5}
	s, err := Compare(same, same, 0.99)
	if err != nil || s.P != 1 || s.Ratio != 1 || s.Low != 1 || s.High != 1 {
		t.Errorf("all equal: %+v, %v", s, err)
	}
	if s, err = Compare([]float64{1}, []float64{9}, 0.99); err != nil || s.Low != 0 || !math.IsInf(s.High, 1) {
		t.Errorf("one against one: %+v, %v", s, err)
	}
	if s, err = Compare(nil, same, 0.99); err != nil || s.P != 1 || s.N2 != 6 {
		t.Errorf("nothing against six: %+v, %v", s, err)
	}
	for _, bad := range []float64{0, -1, math.Inf(1), math.NaN()} {
		if _, err := Compare(same, []float64{bad}, 0.99); err == nil {
			t.Errorf("%v has a ratio", bad)
		}
	}
	// Ties in part: the shift is there, and p is one.
	s, err = Compare([]float64{1, 1, 2, 2, 3, 3}, []float64{2, 2, 4, 4, 6, 6}, 0.95)
	if err != nil || s.Ratio < 1.4 || s.Ratio > 2.1 || s.P <= 0 || s.P > 1 {
		t.Errorf("ties: %+v, %v", s, err)
	}
}

// A known shift is found, whatever the sizes, and the interval holds it as often as it says.
func TestCompareCovers(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{7, 7}, {12, 30}, {50, 80}, {600, 700}} {
		r := rand.New(rand.NewPCG(1, uint64(size[0])))
		rounds := 300
		if size[0] > 100 {
			rounds = 100
		}
		inside := 0
		for range rounds {
			a, b := make([]float64, size[0]), make([]float64, size[1])
			for i := range a {
				a[i] = math.Exp(r.NormFloat64() / 3)
			}
			for i := range b {
				b[i] = 1.2 * math.Exp(r.NormFloat64()/3)
			}
			s, err := Compare(a, b, 0.95)
			if err != nil {
				t.Fatal(err)
			}
			if s.Low <= 1.2 && 1.2 <= s.High {
				inside++
			}
		}
		if share := float64(inside) / float64(rounds); share < 0.84 || share > 0.97 { // 90 % two-sided, ± 2 standard errors and what is discrete
			t.Errorf("%d against %d: the interval holds the shift in %.0f %%", size[0], size[1], share*100)
		}
	}
}

func TestShiftNeeds(t *testing.T) {
	t.Parallel()
	wide := Shift{N1: 1000, N2: 20, Ratio: 1.05, Low: 0.95, High: 1.16}
	if n := ShiftNeeds(wide, 1.1); n < 10 || n > 500 {
		t.Errorf("needs %d more", n)
	}
	if n := ShiftNeeds(Shift{N1: 1000, N2: 20, Ratio: 1.1, Low: 1, High: 1.2}, 1.1); n != Never {
		t.Errorf("on the bound needs %d", n)
	}
	if n := ShiftNeeds(Shift{N1: 40, N2: 1, Low: 0, High: math.Inf(1)}, 1.1); n < 1 || n > 5 {
		t.Errorf("one value needs %d more", n)
	}
}

func TestNoise(t *testing.T) {
	t.Parallel()
	if !math.IsNaN(Noise([][]float64{{1}, {2}}, 1, 1)) {
		t.Error("one run a side knows its noise")
	}
	// A standard deviation of 1 with many runs: the difference of two has √2.
	r := rand.New(rand.NewPCG(2, 2))
	g := make([]float64, 2000)
	for i := range g {
		g[i] = r.NormFloat64()
	}
	near(t, "the noise of many runs", Noise([][]float64{g}, 1, 1), math.Sqrt2, 0.1)
}

func TestThin(t *testing.T) {
	t.Parallel()
	xs := make([]float64, 1000)
	for i := range xs {
		xs[i] = float64(i)
	}
	got := Thin(xs, 10)
	if len(got) != 10 || got[0] != 50 || got[9] != 950 {
		t.Errorf("%v", got)
	}
	if FisherNeeds(0, 100, 1, 10, 0.01) == Never || FisherNeeds(5, 100, 5, 100, 0.01) != Never {
		t.Error("FisherNeeds")
	}
}
