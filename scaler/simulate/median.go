package simulate

import (
	"math"
	"slices"
)

// medians is one result from those of several draws: each figure is the median
// of that figure; the series is the first one's.
func medians(of []Result) Result {
	r := of[0]
	if len(of) == 1 {
		return r
	}
	for _, get := range []func(*Result) *float64{
		func(r *Result) *float64 { return &r.GPUSeconds },
		func(r *Result) *float64 { return &r.AddedWait.Mean },
		func(r *Result) *float64 { return &r.AddedWait.P50 },
		func(r *Result) *float64 { return &r.AddedWait.P95 },
		func(r *Result) *float64 { return &r.AddedWait.P99 },
		func(r *Result) *float64 { return &r.AddedWait.Max },
		func(r *Result) *float64 { return &r.WaitedS },
		func(r *Result) *float64 { return &r.BusyShare },
		func(r *Result) *float64 { return &r.ToLowerBound },
		func(r *Result) *float64 { return &r.ToAnyWait },
	} {
		*get(&r) = medianOf(of, func(r *Result) float64 { return *get(r) })
	}
	for _, get := range []func(*Result) *uint64{
		func(r *Result) *uint64 { return &r.ColdStarted },
		func(r *Result) *uint64 { return &r.Delayed },
		func(r *Result) *uint64 { return &r.Refused },
		func(r *Result) *uint64 { return &r.TimedOut },
		func(r *Result) *uint64 { return &r.ScaleActions },
		func(r *Result) *uint64 { return &r.Launches },
		func(r *Result) *uint64 { return &r.Stops },
		func(r *Result) *uint64 { return &r.Flips },
	} {
		*get(&r) = uint64(math.Round(medianOf(of, func(r *Result) float64 { return float64(*get(r)) })))
	}
	if r.USD != nil {
		v := medianOf(of, func(r *Result) float64 { return *r.USD })
		r.USD = &v
	}
	return r
}

func medianOf(of []Result, get func(*Result) float64) float64 {
	values := make([]float64, len(of))
	for i := range of {
		values[i] = get(&of[i])
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
