package query

import (
	"cmp"
	"math"
	"slices"
	"sort"

	"github.com/aclements/go-moremath/stats"

	"github.com/devloop-io/devloop/assertions/stat"
)

// alpha is the share of false alarms that is accepted; intervals have the confidence 1 - alpha.
const alpha = 0.05

// z is the normal quantile of intervals with that confidence.
const z = 1.959963984540054

// needed is how many values each of two equal samples needs before a rank test can tell them apart at all.
var needed = stat.RunsNeeded(alpha)

// shift is by how much b is larger than a: Hodges and Lehmann's estimate, the median of all differences, with the interval
// that goes with Mann and Whitney's test (Hollander, Wolfe: Nonparametric Statistical Methods, section 4.3). Both are sorted.
func shift(a, b []int64) (estimate, low, high int64) {
	pairs := len(a) * len(b)
	estimate = (nthDifference(a, b, (pairs-1)/2) + nthDifference(a, b, pairs/2)) / 2
	n, m := float64(len(a)), float64(len(b))
	outer := int(n*m/2-z*math.Sqrt(n*m*(n+m+1)/12)) - 1
	if len(a) <= 25 && len(b) <= 25 {
		outer = exactRank(len(a), len(b))
	}
	outer = max(0, min(outer, (pairs-1)/2))
	return estimate, nthDifference(a, b, outer), nthDifference(a, b, pairs-1-outer)
}

// exactRank is the number of differences that lie outside of the interval on either side, for small samples.
func exactRank(n, m int) int {
	d := stats.UDist{N1: n, N2: m}
	return sort.Search(n*m/2, func(u int) bool { return d.CDF(float64(u)) > alpha/2 }) - 1
}

// nthDifference is the n-th smallest of all b[j] - a[i], from 0. It halves the range of differences and counts, so it needs
// no room for them.
func nthDifference(a, b []int64, n int) int64 {
	low, high := b[0]-a[len(a)-1], b[len(b)-1]-a[0]
	for low < high {
		middle := low + (high-low)/2
		if differencesUpTo(a, b, middle) > n {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// differencesUpTo counts the pairs with b[j] - a[i] <= d.
func differencesUpTo(a, b []int64, d int64) int {
	count, j := 0, 0
	for _, x := range a {
		for j < len(b) && b[j]-x <= d {
			j++
		}
		count += j
	}
	return count
}

// rankTest is Mann and Whitney's test of two samples, and the share of pairs in which b is larger (ties count half).
func rankTest(a, b []int64) (p, cles float64) {
	r, err := stats.MannWhitneyUTest(floats(b), floats(a), stats.LocationDiffers)
	if err != nil { // all values are equal
		return 1, 0.5
	}
	return min(1, r.P), r.U / (float64(len(a)) * float64(len(b)))
}

func floats(v []int64) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

// rateRatio is the ratio of two rates, kb events over tb to ka over ta, with its exact interval: given their sum, kb is
// binomial (Przyborowski and Wilenski), so Clopper and Pearson's bounds of its share give those of the ratio.
func rateRatio(ka int, ta float64, kb int, tb float64) Ratio {
	if ta <= 0 || tb <= 0 || ka+kb == 0 {
		return Ratio{}
	}
	odds := func(p float64) float64 { return p / (1 - p) * ta / tb }
	r := Ratio{}
	if ka > 0 && kb > 0 {
		r.Value = float64(kb) / tb / (float64(ka) / ta)
	}
	low, high := stat.Proportion(kb, ka+kb, 1-alpha/2)
	if kb > 0 {
		r.Low = odds(low)
	}
	if ka > 0 {
		r.High = odds(high)
	}
	return r
}

// spearman is the correlation of ranks, equal values sharing theirs.
func spearman(x, y []float64) float64 {
	rx, ry := ranks(x), ranks(y)
	mean := float64(len(x)+1) / 2
	var xy, xx, yy float64
	for i := range rx {
		dx, dy := rx[i]-mean, ry[i]-mean
		xy, xx, yy = xy+dx*dy, xx+dx*dx, yy+dy*dy
	}
	if xx == 0 || yy == 0 {
		return 0
	}
	return xy / math.Sqrt(xx*yy)
}

// ranks from 1; equal values have the mean of theirs.
func ranks(v []float64) []float64 {
	order := sortedBy(v)
	out := make([]float64, len(v))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && v[order[j]] == v[order[i]] {
			j++
		}
		for k := i; k < j; k++ {
			out[order[k]] = float64(i+1+j) / 2
		}
		i = j
	}
	return out
}

func sortedBy(v []float64) []int {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(v[i], v[j]) })
	return order
}

// kendall is tau-b, in O(n log n): Knight (1966), A computer method for calculating Kendall's tau with ungrouped data.
func kendall(x, y []float64) float64 {
	n := len(x)
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Or(cmp.Compare(x[i], x[j]), cmp.Compare(y[i], y[j])) })
	ys := make([]float64, n)
	for i, at := range order {
		ys[i] = y[at]
	}
	tiedX := ties(n, func(i, j int) bool { return x[order[i]] == x[order[j]] })
	tiedBoth := ties(n, func(i, j int) bool { return x[order[i]] == x[order[j]] && ys[i] == ys[j] })
	swaps := inversions(ys, make([]float64, n))
	tiedY := ties(n, func(i, j int) bool { return ys[i] == ys[j] })
	all := float64(n) * float64(n-1) / 2
	if all == tiedX || all == tiedY {
		return 0
	}
	return (all - tiedX - tiedY + tiedBoth - 2*swaps) / math.Sqrt((all-tiedX)*(all-tiedY))
}

// ties counts the pairs of a sorted list that are equal.
func ties(n int, equal func(i, j int) bool) float64 {
	total := 0.0
	for i := 0; i < n; {
		j := i + 1
		for j < n && equal(i, j) {
			j++
		}
		total += float64(j-i) * float64(j-i-1) / 2
		i = j
	}
	return total
}

// inversions sorts v by merging and counts the pairs that stood the wrong way round.
func inversions(v, room []float64) float64 {
	if len(v) < 2 {
		return 0
	}
	half := len(v) / 2
	count := inversions(v[:half], room[:half]) + inversions(v[half:], room[half:])
	i, j := 0, half
	for k := range room {
		if j == len(v) || i < half && v[i] <= v[j] {
			room[k] = v[i]
			i++
			continue
		}
		room[k] = v[j]
		count += float64(half - i)
		j++
	}
	copy(v, room)
	return count
}

// correlationInterval is Fisher's, with the variance of his transform as Bonett and Wright (2000) give it: for Spearman's rho
// (1 + rho²/2)/(n-3), for Kendall's tau 0.437/(n-4).
func correlationInterval(r, variance float64) Estimate {
	if math.Abs(r) > 1-1e-12 { // every pair agrees: the transform is infinite
		return Estimate{Value: r, Low: r, High: r}
	}
	middle, half := math.Atanh(r), z*math.Sqrt(variance)
	return Estimate{Value: r, Low: math.Tanh(middle - half), High: math.Tanh(middle + half)}
}

// noRelation is the chance of a rank correlation at least as strong where there is no relation, by Student's t.
func noRelation(rho float64, n int) float64 {
	if math.Abs(rho) > 1-1e-12 {
		return 0
	}
	t := math.Abs(rho) * math.Sqrt(float64(n-2)/(1-rho*rho))
	return 2 * (1 - stats.TDist{V: float64(n - 2)}.CDF(t))
}
