package stat

import (
	"math"
	"sort"

	"github.com/aclements/go-moremath/mathx"
	"github.com/aclements/go-moremath/stats"
	"gonum.org/v1/gonum/mathext"
)

// exactLimit is the largest sample for which binomial tails are computed exactly. Beyond it the normal approximation is
// good to more digits than any verdict shows, and the incomplete beta function no longer converges.
const exactLimit = 10_000

// Never is what functions that count missing samples return when no number of further samples that anyone would wait for decides.
const Never = 10_000_000

// BinomialCDF is P(X <= k) for X ~ Bin(n, p).
func BinomialCDF(n, k int, p float64) float64 {
	switch {
	case k < 0:
		return 0
	case k >= n:
		return 1
	case p <= 0:
		return 1
	case p >= 1:
		return 0
	case n > exactLimit:
		mean, sd := float64(n)*p, math.Sqrt(float64(n)*p*(1-p))
		return stats.NormalDist{Mu: 0, Sigma: 1}.CDF((float64(k) + 0.5 - mean) / sd)
	}
	return mathx.BetaInc(1-p, float64(n-k), float64(k+1))
}

// QuantileRanks returns the ranks, from 1, of the order statistics that bound the q-quantile of whatever the n samples were
// drawn from, each with the asked one-sided confidence, whatever the distribution. A rank of 0 or n+1 means that n
// samples are too few for that bound.
//
// X(u) bounds from above when fewer than u samples lie below the quantile, which has probability P(Bin(n, q) <= u-1).
func QuantileRanks(n int, q, confidence float64) (low, high int) {
	high = 1 + sort.Search(n, func(i int) bool { // i = u-1
		return BinomialCDF(n, i, q) >= confidence
	})
	low = sort.Search(n+1, func(i int) bool { // largest l with P(Bin >= l) >= confidence, by the first that fails
		return 1-BinomialCDF(n, i, q) < confidence // i = l here: P(Bin >= i+1)
	})
	return low, high
}

// QuantileRank is the rank, from 1, of the sample q-quantile (the inverse of the empirical distribution function).
func QuantileRank(n int, q float64) int {
	return min(n, max(1, int(math.Ceil(float64(n)*q-1e-9))))
}

// Proportion is Clopper and Pearson's exact interval for k of n, each side with the asked one-sided confidence; beyond
// exactLimit it is Wilson's.
func Proportion(k, n int, confidence float64) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	if n > exactLimit {
		return wilson(k, n, confidence)
	}
	alpha := 1 - confidence
	low, high = 0, 1
	if k > 0 { // the p for which P(X >= k) = alpha
		low = bisect(func(p float64) bool { return 1-BinomialCDF(n, k-1, p) >= alpha })
	}
	if k < n { // the p for which P(X <= k) = alpha
		high = bisect(func(p float64) bool { return BinomialCDF(n, k, p) <= alpha })
	}
	return low, high
}

func wilson(k, n int, confidence float64) (low, high float64) {
	z := Normal(confidence)
	nn, p := float64(n), float64(k)/float64(n)
	middle := (p + z*z/(2*nn)) / (1 + z*z/nn)
	half := z / (1 + z*z/nn) * math.Sqrt(p*(1-p)/nn+z*z/(4*nn*nn))
	low, high = middle-half, middle+half
	if k == 0 {
		low = 0
	}
	if k == n {
		high = 1
	}
	return math.Max(low, 0), math.Min(high, 1)
}

// Normal is the quantile of the standard normal distribution.
func Normal(p float64) float64 { return stats.NormalDist{Mu: 0, Sigma: 1}.InvCDF(p) }

// bisect finds where a predicate over [0, 1] turns from false to true.
func bisect(over func(float64) bool) float64 {
	low, high := 0.0, 1.0
	for range 60 {
		if middle := (low + high) / 2; over(middle) {
			high = middle
		} else {
			low = middle
		}
	}
	return high
}

// Poisson is Garwood's exact interval for the mean of a Poisson count, each side with the asked confidence.
func Poisson(k int, confidence float64) (low, high float64) {
	alpha := 1 - confidence
	ceiling := float64(k) + 10*math.Sqrt(float64(k)+1) + 20
	if k > exactLimit {
		z := Normal(confidence)
		return float64(k) - z*math.Sqrt(float64(k)), float64(k) + z*math.Sqrt(float64(k)) + z*z
	}
	if k > 0 { // P(X >= k | m) = GammaInc(k, m)
		low = ceiling * bisect(func(p float64) bool { return mathext.GammaIncReg(float64(k), p*ceiling) >= alpha })
	}
	high = ceiling * bisect(func(p float64) bool { return 1-mathext.GammaIncReg(float64(k+1), p*ceiling) <= alpha })
	return low, high
}

// Mean is Student's interval for a mean, each side with the asked confidence.
func Mean(xs []float64, confidence float64) (mean, low, high float64) {
	return stats.MeanCI(xs, 1-2*(1-confidence))
}

// DeviationMinimum is the sample size below which stddev has no interval: its bounds rest on a limit theorem.
const DeviationMinimum = 30

// Deviation is the sample standard deviation with the interval that the central limit theorem gives for the variance,
// whatever the distribution, given its fourth moment.
func Deviation(xs []float64, confidence float64) (sd, low, high float64) {
	n := float64(len(xs))
	if len(xs) < 2 {
		return 0, 0, math.Inf(1)
	}
	sd = stats.StdDev(xs)
	if len(xs) < DeviationMinimum {
		return sd, 0, math.Inf(1)
	}
	mean, m4 := stats.Mean(xs), 0.0
	for _, x := range xs {
		d := (x - mean) * (x - mean)
		m4 += d * d / n
	}
	z := Normal(confidence)
	half := z * math.Sqrt(math.Max(m4-sd*sd*sd*sd, 0)/n)
	return sd, math.Sqrt(math.Max(sd*sd-half, 0)), math.Sqrt(sd*sd + half)
}

// ProportionNeeds is how many more samples decide whether a proportion lies below a bound, when the samples to come are
// like the k of n seen so far; Never when the proportion is too close to the bound to tell.
func ProportionNeeds(k, n int, bound, confidence float64) int {
	if bound <= 0 || bound >= 1 {
		return Never // an interval reaches neither end: only all, none and any decide there
	}
	seen := 0.0
	if n > 0 {
		seen = float64(k) / float64(n)
	}
	decided := func(size int) bool {
		events := int(math.Round(seen * float64(size)))
		if seen <= bound {
			return BinomialCDF(size, events, bound) <= 1-confidence
		}
		return 1-BinomialCDF(size, events-1, bound) <= 1-confidence
	}
	high := max(n, 1)
	for !decided(high) {
		if high *= 2; high > Never {
			return Never
		}
	}
	more := sort.Search(high-n+1, func(i int) bool { return decided(n + i) })
	return max(1, more)
}
