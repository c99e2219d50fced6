package stat

import (
	"cmp"
	"slices"
)

// Holm adjusts the p values of tests that gate together: the chance that any of them rejects wrongly stays below alpha when
// those with an adjusted p below alpha reject.
func Holm(ps []float64) []float64 {
	adjusted := make([]float64, len(ps))
	highest := 0.0
	for rank, i := range byValue(ps) {
		highest = max(highest, min(1, ps[i]*float64(len(ps)-rank)))
		adjusted[i] = highest
	}
	return adjusted
}

// BenjaminiHochberg adjusts the p values of tests that are listed together: of those with an adjusted p below q, a share of q
// is expected to be there by chance.
func BenjaminiHochberg(ps []float64) []float64 {
	adjusted := make([]float64, len(ps))
	lowest := 1.0
	order := byValue(ps)
	for rank := len(order) - 1; rank >= 0; rank-- {
		i := order[rank]
		lowest = min(lowest, ps[i]*float64(len(ps))/float64(rank+1))
		adjusted[i] = lowest
	}
	return adjusted
}

// byValue are the indices of ps in ascending order of the values.
func byValue(ps []float64) []int {
	order := make([]int, len(ps))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(ps[a], ps[b]) })
	return order
}
