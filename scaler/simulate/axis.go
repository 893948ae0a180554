package simulate

import (
	"math"
	"slices"
	"strconv"
)

// axis maps values to pixels.
type axis struct {
	lo, hi   float64 // values at its ends
	from, to float64 // pixels at its ends
	root     bool    // square-root scale, which spreads small values and has a zero
}

// at is where a value is drawn; what lies beyond an end is drawn there.
func (a axis) at(v float64) float64 {
	v, lo, hi := min(max(v, a.lo), a.hi), a.lo, a.hi
	if a.root {
		v, lo, hi = math.Sqrt(v), math.Sqrt(lo), math.Sqrt(hi)
	}
	return a.from + (v-lo)/(hi-lo)*(a.to-a.from)
}

// tick of an axis.
type tickMark struct {
	At    float64
	Label string
}

// ticks are about n round values; on a square-root scale they stand closer
// together at its low end.
func (a axis) ticks(n int) []tickMark {
	step := roundStep((a.hi - a.lo) / float64(n))
	var list []tickMark
	add := func(v float64) {
		if at := a.at(v); len(list) == 0 || math.Abs(at-list[len(list)-1].At) > 14 {
			list = append(list, tickMark{at, shortNumber(v)})
		}
	}
	if a.root {
		add(a.lo)
		for low := step / 16; low < step*0.99; low *= 2 {
			add(roundStep(low))
		}
	}
	for v := math.Ceil(a.lo/step-1e-9) * step; v <= a.hi*(1+1e-9); v += step {
		add(v)
	}
	return list
}

// roundStep is 1, 2 or 5 times a power of ten, at least v.
func roundStep(v float64) float64 {
	if v <= 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, k := range []float64{1, 2, 5} {
		if k*unit >= v*(1-1e-9) {
			return k * unit
		}
	}
	return 10 * unit
}

// shortNumber writes a number with about three digits, without an exponent.
func shortNumber(v float64) string {
	digits := 0
	switch size := math.Abs(v); {
	case size == 0 || size >= 100:
	case size >= 10:
		digits = 1
	case size >= 1:
		digits = 2
	default:
		digits = min(6, 2-int(math.Floor(math.Log10(size))))
	}
	shift := math.Pow(10, float64(digits))
	v = math.Round(v*shift) / shift
	if v == 0 {
		return "0" // and not -0
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// extent is from the least to the greatest value, but for those that stand so
// far off that they would press the others together.
func extent(values []float64) (lo, hi float64) {
	if len(values) == 0 {
		return 0, 1
	}
	const far = 1.7
	sorted := slices.Sorted(slices.Values(values))
	most := len(sorted) / 5 // so many are left out at either end
	first, last := 0, len(sorted)-1
	for first < most && far*sorted[first] < sorted[first+1] {
		first++
	}
	for last > len(sorted)-1-most && sorted[last] > far*sorted[last-1] {
		last--
	}
	return sorted[first], sorted[last]
}
