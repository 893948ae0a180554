package bench

import (
	"cmp"
	"math"
	"slices"
)

// quantile returns the smallest value that percent of the values do not exceed
// (nearest rank); NaN without values.
func quantile(values []float64, percent float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(percent / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// median is the middle value, or the mean of the two in the middle; NaN without
// values.
func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	sorted := slices.SortedFunc(slices.Values(values), cmp.Compare)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// pairwise divides each value by its yardstick of the same round.
func pairwise(values, yardsticks []float64) []float64 {
	out := make([]float64, min(len(values), len(yardsticks)))
	for i := range out {
		out[i] = values[i] / yardsticks[i]
	}
	return out
}
