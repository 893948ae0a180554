package decide

import (
	"slices"
	"time"
)

// Cold starts are measured from the decision to the first byte. Until
// enoughStarts have been seen the prior stands in for them: as if there had
// been one of each of its quantiles.
const (
	enoughStarts = 5
	maxStarts    = 50
	restAtLeast  = 5.0 // seconds that a running start is taken to need at least
)

var priorStarts = []float64{60, 120, 240} // p10, p50, p90, seconds

// coldStart is how long a cold start of the service takes, in seconds.
type coldStart struct {
	p10, p50, p90 float64
	measured      bool // false: the prior
	sorted        [maxStarts]float64
	n             int
}

// learn sets it from a service's starts.
func (c *coldStart) learn(starts []float64) {
	for _, s := range starts[max(0, len(starts)-maxStarts):] {
		if s > 0 && s < 1e6 {
			c.sorted[c.n] = s
			c.n++
		}
	}
	if c.measured = c.n >= enoughStarts; !c.measured {
		c.n = copy(c.sorted[:], priorStarts)
	}
	slices.Sort(c.sorted[:c.n])
	c.p10, c.p50, c.p90 = c.quantile(0.1), c.quantile(0.5), c.quantile(0.9)
}

// quantile by linear interpolation between the two nearest samples; with three
// of the prior, its ends stand for p10 and p90.
func (c *coldStart) quantile(q float64) float64 {
	if !c.measured {
		return priorStarts[int(q*2+0.5)]
	}
	at := q * float64(c.n-1)
	i := int(at)
	if i+1 >= c.n {
		return c.sorted[c.n-1]
	}
	return c.sorted[i] + (at-float64(i))*(c.sorted[i+1]-c.sorted[i])
}

// rest is ℓ: how many seconds a start of that age still needs. It is the mean
// of (L − age) over the samples of L that are longer, at least 5 s; half the
// age if it has outlasted them all.
func (c *coldStart) rest(age time.Duration) float64 {
	a := max(0, age.Seconds())
	var sum float64
	n := 0
	for _, l := range c.sorted[:c.n] {
		if l > a {
			sum += l - a
			n++
		}
	}
	if n == 0 {
		return max(restAtLeast, 0.5*a)
	}
	return max(restAtLeast, sum/float64(n))
}

// Wake counts the arrivals during cold starts from zero.
type Wake struct {
	At       time.Time `json:"at,omitzero"`        // the running one began; zero: none runs
	Arrivals uint64    `json:"arrivals,omitempty"` // cumulative count when it began
	Mean     float64   `json:"m,omitempty"`        // over past wakes; 0: none yet
	Count    int       `json:"n,omitempty"`        // past wakes, at most enoughWakes
	Last     time.Time `json:"last,omitzero"`      // of the running one: when the last request came
	Seen     uint64    `json:"seen,omitempty"`     // cumulative count then
	Followed float64   `json:"followed,omitempty"` // share of a cold start before its last request, over past wakes
}

const (
	priorWakeArrivals  = 2.0
	wakeArrivalsWeight = 0.2
)

// arrivals is m: how many requests come during a cold start from zero, an
// average over past wakes with weight 0.2.
func (w Wake) arrivals() float64 {
	if w.Mean == 0 {
		return priorWakeArrivals
	}
	return w.Mean
}

// lone is ρ, the share of a cold start from zero that comes after its last
// request: an average over past wakes with weight 0.2, from 1 on.
func (w Wake) lone() float64 { return 1 - w.Followed }

// enoughWakes is how many wakes it takes until they say what a wake is like.
const enoughWakes = 5

// believable is how many arrivals within a cold start n arrivals so far can be
// evidence of. Two requests at once are a rate of one a second, which over a
// prior of 120 s would buy every replica there may be: n − 1 intervals are
// believed to go on for 2·(n − 1) times as long, so that a batch of two is a
// batch of two and forty requests are a flood. Once wakes are known, also for
// no more than twice what they used to bring, or what has come already.
func (w Wake) believable(n uint64) float64 {
	if n < 2 {
		return 0
	}
	seen := float64(n - 1)
	most := 2 * seen * seen
	if w.Count >= enoughWakes {
		most = min(most, 2*max(w.arrivals(), seen))
	}
	return most
}

// observe begins a wake at the first demand while nothing is ready, and ends
// it when a replica is. before is the cumulative arrivals at the last look.
func (w Wake) observe(now time.Time, ready, demand int, before, arrivals uint64) Wake {
	switch {
	case w.At.IsZero() && ready == 0 && demand > 0:
		w.At, w.Arrivals = now, min(before, arrivals)
		w.Last, w.Seen = now, arrivals
	case !w.At.IsZero() && ready > 0:
		came := 1.0
		if arrivals > w.Arrivals {
			came = float64(arrivals - w.Arrivals)
		}
		w.Mean = (1-wakeArrivalsWeight)*w.arrivals() + wakeArrivalsWeight*came
		w.Followed = (1-wakeArrivalsWeight)*w.Followed + wakeArrivalsWeight*w.followed(now)
		w.Count = min(w.Count+1, enoughWakes)
		w = w.over()
	case !w.At.IsZero() && demand == 0:
		w = w.over()
	case !w.At.IsZero() && arrivals > w.Seen:
		w.Last, w.Seen = now, arrivals
	}
	return w
}

// over forgets the running wake.
func (w Wake) over() Wake {
	w.At, w.Last, w.Arrivals, w.Seen = time.Time{}, time.Time{}, 0, 0
	return w
}

// followed is the share of the running wake that came before its last request.
func (w Wake) followed(now time.Time) float64 {
	took := now.Sub(w.At)
	if took <= 0 {
		return 0
	}
	return min(max(w.Last.Sub(w.At).Seconds()/took.Seconds(), 0), 1)
}
