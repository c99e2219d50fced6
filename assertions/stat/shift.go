package stat

import (
	"errors"
	"math"
	"slices"
	"sort"

	"github.com/aclements/go-moremath/stats"
)

// Shift says how much larger the values of one sample are than those of another, as a ratio: both samples are of positive
// numbers whose differences are judged in shares, such as latencies.
type Shift struct {
	N1, N2    int
	P         float64 // Mann and Whitney's two-sided test that neither sample tends to be larger
	Ratio     float64 // Hodges and Lehmann's estimate: the median of all ratios of a new to an old value
	Low, High float64 // of the ratio, each side with the asked confidence; 0 and +Inf where the samples are too small
	CLES      float64 // the chance that a new value is larger than an old one, ties counted half
}

// pairs bounds how many ratios are looked at; larger samples are thinned to evenly spaced quantiles first.
const pairs = 200 * 200

// Compare measures the shift from old to new. Values that are not positive are an error of the caller: they have no ratio.
// Two samples of one and the same value are a ratio of exactly 1.
func Compare(old, new []float64, confidence float64) (Shift, error) {
	if len(old) == 0 || len(new) == 0 {
		return Shift{N1: len(old), N2: len(new), P: 1, Ratio: math.NaN(), Low: 0, High: math.Inf(1), CLES: math.NaN()}, nil
	}
	a, b, err := logs(old, new)
	if err != nil {
		return Shift{}, err
	}
	s := Shift{N1: len(a), N2: len(b), P: 1, CLES: 0.5}
	u, err := stats.MannWhitneyUTest(b, a, stats.LocationDiffers)
	switch {
	case errors.Is(err, stats.ErrSamplesEqual):
		s.Ratio, s.Low, s.High = 1, 1, 1
		if low := leastRank(len(a), len(b), confidence); low == 0 {
			s.Low, s.High = 0, math.Inf(1)
		}
		return s, nil
	case err != nil:
		return Shift{}, err
	}
	s.P, s.CLES = min(1, u.P), u.U/float64(len(a)*len(b))
	differences := differences(a, b)
	s.Ratio = math.Exp(median(differences))
	s.Low, s.High = 0, math.Inf(1)
	if rank := leastRank(len(a), len(b), confidence); rank > 0 {
		at := (float64(rank) - 0.5) / float64(len(a)*len(b)) * float64(len(differences)) // the same place when they were thinned
		low := min(len(differences)-1, int(at))
		s.Low, s.High = math.Exp(differences[low]), math.Exp(differences[len(differences)-1-low])
	}
	return s, nil
}

func logs(old, new []float64) (a, b []float64, err error) {
	take := func(xs []float64) []float64 {
		out := make([]float64, len(xs))
		for i, x := range xs {
			if !(x > 0) || math.IsInf(x, 1) {
				err = errors.New("compare samples: a value is not a positive number")
			}
			out[i] = math.Log(x)
		}
		sort.Float64s(out)
		return out
	}
	return take(old), take(new), err
}

// differences are all b-a, sorted.
func differences(a, b []float64) []float64 {
	if len(a)*len(b) > pairs {
		limit := int(math.Sqrt(pairs))
		a, b = Thin(a, max(limit, pairs/len(b))), Thin(b, max(limit, pairs/len(a)))
	}
	all := make([]float64, 0, len(a)*len(b))
	for _, y := range b {
		for _, x := range a {
			all = append(all, y-x)
		}
	}
	slices.Sort(all)
	return all
}

// Thin keeps at most limit values of a sorted sample, at evenly spaced quantiles. The new sample varies less than one of as
// many draws would, so a test that takes it for draws errs on the careful side.
func Thin(sorted []float64, limit int) []float64 {
	if len(sorted) <= limit {
		return sorted
	}
	out := make([]float64, limit)
	for i := range out {
		out[i] = sorted[int((float64(i)+0.5)/float64(limit)*float64(len(sorted)))]
	}
	return out
}

// median of a sorted sample.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Median of a sample in any order; NaN of none.
func Median(xs []float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	return median(slices.Sorted(slices.Values(xs)))
}

// exactPairs is how many pairs the exact distribution of U is asked for.
const exactPairs = 400

// leastRank is the rank, from 1, of the difference that bounds the shift from below with a one-sided confidence; 0 where the
// samples are too small for any. The bound from above has the same rank from the other end.
func leastRank(n1, n2 int, confidence float64) int {
	alpha := 1 - confidence
	if n1*n2 <= exactPairs {
		u := stats.UDist{N1: n1, N2: n2}
		return sort.Search(n1*n2, func(k int) bool { return u.CDF(float64(k)) > alpha })
	}
	m := float64(n1) * float64(n2)
	z := Normal(confidence)
	return max(0, int(math.Floor(m/2-z*math.Sqrt(m*float64(n1+n2+1)/12))))
}

// RunsNeeded is how many runs a side has to have so that Mann and Whitney's two-sided test can reach alpha at all: with k
// runs each its smallest p is 2 over the number of ways to choose k of 2k.
func RunsNeeded(alpha float64) int {
	if alpha <= 0 {
		return Never
	}
	ways := 1.0
	for k := 1; k < 500; k++ {
		ways *= 2 * (2*float64(k) - 1) / float64(k) // C(2k, k) from C(2k-2, k-1)
		if 2/ways <= alpha {
			return k
		}
	}
	return Never
}

// LeastP is the smallest two-sided p that samples of these sizes can show.
func LeastP(n1, n2 int) float64 {
	a, _ := math.Lgamma(float64(n1 + n2 + 1))
	b, _ := math.Lgamma(float64(n1 + 1))
	c, _ := math.Lgamma(float64(n2 + 1))
	return min(1, 2*math.Exp(b+c-a))
}

// ShiftNeeds is how many more new values would let the interval of a shift leave a bound on one side, when those to come are
// like those seen: its width goes with the square root of 1/n1 + 1/n2. Never means that no number of new values alone would,
// because the old ones are too few or the estimate too near to the bound.
func ShiftNeeds(s Shift, bound float64) int {
	if s.N1 == 0 || s.N2 == 0 || math.IsInf(s.High, 1) || s.Low <= 0 {
		return max(1, leastNew(s.N1)-s.N2)
	}
	gap := math.Abs(math.Log(s.Ratio) - math.Log(bound))
	half := max(math.Log(s.High/s.Ratio), math.Log(s.Ratio/s.Low))
	if gap == 0 || half == 0 {
		return Never
	}
	room := (1/float64(s.N1)+1/float64(s.N2))*(gap/half)*(gap/half) - 1/float64(s.N1)
	if room <= 0 || 1/room > Never {
		return Never
	}
	return max(1, int(math.Ceil(1/room))-s.N2)
}

// leastNew is how many new values are needed beside n1 old ones for an interval at all, at 99 %.
func leastNew(n1 int) int {
	for n := 1; n < 1000; n++ {
		if LeastP(max(n1, 1), n) <= 0.02 {
			return n
		}
	}
	return Never
}

// Noise is the spread of the logarithm of the ratio between two groups of k1 and k2 runs of the same code, from the
// logarithms of each run's location: an upper bound at 95 %, because few runs know it badly. It is NaN where no group has two
// runs.
func Noise(groups [][]float64, k1, k2 int) float64 {
	sum, freedom := 0.0, 0
	for _, g := range groups {
		if len(g) < 2 {
			continue
		}
		mean := stats.Mean(g)
		for _, x := range g {
			sum += (x - mean) * (x - mean)
		}
		freedom += len(g) - 1
	}
	if freedom == 0 {
		return math.NaN()
	}
	variance := sum / chiSquaredQuantile(0.05, freedom)
	return math.Sqrt(variance * (1/float64(k1) + 1/float64(k2)))
}
