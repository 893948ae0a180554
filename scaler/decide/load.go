package decide

import (
	"math"
	"slices"
)

const (
	leastLoad = 0.01 // Erlang; below it there is no load
	slack     = 1e-9 // of every rounding up
	priorS    = 5.0  // seconds a request takes until one has been seen
)

// ceil rounds a count up, forgiving what arithmetic adds to a whole number.
func ceil(x float64) int {
	if x <= 0 {
		return 0
	}
	if x > math.MaxInt32 {
		return math.MaxInt32
	}
	return int(math.Ceil(x - slack))
}

// offeredLoad is a = max(mean in flight, λ·S̄) in Erlang. In-flight is capped by
// the slots there are, and λ·S̄ lags after a change of mix: neither is enough
// alone.
func offeredLoad(inFlight, lambda, s float64) float64 { return max(inFlight, lambda*s) }

// loadReplicas is N_load = ceil((a + β·√(z·a))/c): square-root staffing [Halfin,
// Borst] with peakedness z. Safety grows as √a, so that a large service pays a
// smaller share than under a fixed target of utilization. At z = 1 the chance
// to wait is 0.50, 0.22 and 0.03 for β = 0.5, 1 and 2.
func loadReplicas(a, z, headroom float64, concurrency int) int {
	if a < leastLoad {
		return 0
	}
	z = max(z, minZ)
	return ceil((a + headroom*math.Sqrt(z*a)) / float64(max(1, concurrency)))
}

// loadReplicasAt is ceil(a/(c·u)), for a policy that names a target utilization u.
func loadReplicasAt(a, utilization float64, concurrency int) int {
	if a < leastLoad || utilization <= 0 {
		return 0
	}
	return ceil(a / (float64(max(1, concurrency)) * utilization))
}

func (l *look) weighLoad() int {
	win := l.mem.Samples.over(l.average, l.grid)
	lambda := float64(win.Arrivals) / l.average.Seconds()
	// Of requests that take longer than the window of λ no more than those that came
	// in it can be in flight for it: with their whole S̄, three of them that happen to
	// come in one minute were the load of ten.
	s := min(l.meanS, l.average.Seconds())
	a := offeredLoad(mean(float64(win.InFlight), win.Samples), lambda, s)
	n := loadReplicas(a, l.mem.Peak.Z, l.p.Sizing.Headroom, l.concurrency())
	if u := l.p.Sizing.TargetUtilization; u != nil {
		n = loadReplicasAt(a, *u, l.concurrency())
	}
	l.load, l.lingers = a, n > 1
	l.inputs.set("a", a)
	if a >= leastLoad {
		l.inputs.set("lambda", lambda)
		l.inputs.set("z", l.mem.Peak.Z)
		l.inputs.set("S", l.meanS)
	}
	return n
}

const (
	peakMinutes = 15
	minZ, maxZ  = 1.0, 60.0
)

// Peakedness z of demand: the mean of (D − D̄₆₀)² over the mean of D, sampled
// with the other gauges, over 15 min. 1 is Poisson, and less is taken for 1; where
// requests come n at once it is about n. More than 60 is taken for 60, which
// bounds what one odd quarter of an hour may ask for, and lets batches of tens be
// seen as what they are. It is not sampled from the start of a wake until the held
// queue has been empty once: the wake itself would inflate it.
type Peakedness struct {
	Closed []PeakMinute `json:"closed,omitempty"` // at most 14, oldest first; never written again
	Open   PeakMinute   `json:"open"`
	Waking bool         `json:"waking,omitempty"`
	Z      float64      `json:"z,omitempty"` // before the last sample: more demand must not make for a smaller z at once
}

// PeakMinute sums one minute of samples.
type PeakMinute struct {
	Minute  int64   `json:"m"` // since 1970
	Squares float64 `json:"v"` // Σ (D − D̄₆₀)²
	Sum     float64 `json:"d"` // Σ D
}

// observe returns the peakedness with one more sample.
func (p Peakedness) observe(minute int64, ready, held int, demand, mean60 float64) Peakedness {
	switch {
	case ready == 0 && demand > 0:
		p.Waking = true
	case held == 0:
		p.Waking = false
	}
	if p.Open.Minute != minute {
		closed := append(make([]PeakMinute, 0, len(p.Closed)+1), p.Closed...)
		p.Closed = slices.DeleteFunc(append(closed, p.Open), func(m PeakMinute) bool {
			return m.Minute <= minute-peakMinutes || m.Minute >= minute || !(m.Sum+m.Squares > 0)
		})
		p.Open = PeakMinute{Minute: minute}
	}
	p.Z = p.z()
	if !p.Waking {
		d := demand - mean60
		p.Open.Squares += d * d
		p.Open.Sum += demand
	}
	return p
}

// z is the peakedness so far, within 1 and 60.
func (p Peakedness) z() float64 {
	squares, sum := p.Open.Squares, p.Open.Sum
	for _, m := range p.Closed {
		squares += m.Squares
		sum += m.Sum
	}
	if sum <= 0 {
		return minZ
	}
	return min(max(squares/sum, minZ), maxZ)
}
