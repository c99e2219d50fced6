package stat

import (
	"math"

	"github.com/aclements/go-moremath/stats"
	"gonum.org/v1/gonum/mathext"
)

// Fisher is Fisher's exact test that two shares, k1 of n1 and k2 of n2, are of the same kind: the two-sided p, which sums
// all tables that are no likelier than the one seen. Where there are more tables than exactLimit, it is the normal approximation.
func Fisher(k1, n1, k2, n2 int) float64 {
	if n1 == 0 || n2 == 0 {
		return 1
	}
	if min(k1+k2, n1+n2-k1-k2, n1, n2) > exactLimit {
		pooled := float64(k1+k2) / float64(n1+n2)
		sd := math.Sqrt(pooled * (1 - pooled) * (1/float64(n1) + 1/float64(n2)))
		z := math.Abs(float64(k1)/float64(n1)-float64(k2)/float64(n2)) / sd
		return 2 * stats.NormalDist{Mu: 0, Sigma: 1}.CDF(-z)
	}
	d := stats.HypergeometicDist{N: n1 + n2, K: k1 + k2, Draws: n2}
	low, high := d.Bounds()
	seen := d.PMF(float64(k2))
	p := 0.0
	for k := low; k <= high; k++ {
		if at := d.PMF(k); at <= seen*(1+1e-7) {
			p += at
		}
	}
	return min(1, p)
}

// PoissonRatio tests that events came at the same rate, k1 in n1 and k2 in n2 units: given their sum, k2 is binomial. The p
// is two-sided: twice the smaller tail.
func PoissonRatio(k1, n1, k2, n2 int) float64 {
	if n1 == 0 || n2 == 0 || k1+k2 == 0 {
		return 1
	}
	share := float64(n2) / float64(n1+n2)
	upper, lower := 1-BinomialCDF(k1+k2, k2-1, share), BinomialCDF(k1+k2, k2, share)
	return min(1, 2*min(upper, lower))
}

// FisherNeeds is how many more new samples would let Fisher's test reach alpha, when those to come are like the k2 of n2 seen.
func FisherNeeds(k1, n1, k2, n2 int, alpha float64) int {
	if n1 == 0 || n2 == 0 {
		return 1
	}
	share := float64(k2) / float64(n2)
	if share == float64(k1)/float64(n1) {
		return Never
	}
	for n := n2 + 1; n <= 100*n2+1000; n += max(1, n/20) {
		if Fisher(k1, n1, int(math.Round(share*float64(n))), n) <= alpha {
			return n - n2
		}
	}
	return Never
}

// chiSquaredQuantile is the value that a chi-squared variable stays below with probability p.
func chiSquaredQuantile(p float64, freedom int) float64 {
	k := float64(freedom)
	ceiling := k + 20*math.Sqrt(2*k) + 40
	return ceiling * bisect(func(x float64) bool { return mathext.GammaIncReg(k/2, x*ceiling/2) >= p })
}
