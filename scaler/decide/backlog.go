package decide

import (
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// backlog is what step "backlog" decides from, and its answer.
type backlog struct {
	x       int     // held in time for a newcomer, and in flight
	lambda  float64 // arrivals per second that go on
	l       float64 // cold start, seconds
	work    float64 // requests that the present fleet finishes within l
	have    int     // N₀
	c       int     // slots of one replica
	mu      float64 // requests per second and slot
	theta   float64 // seconds of a replica worth one second of one request's waiting
	horizon float64 // seconds after l that count, if the queue does not drain

	excess float64 // E: requests that still wait for a slot after l
}

// worth is κ, the expected price of an extra replica in units of a cold start.
const worth = 1.0

// doomed counts held requests whose deadline no new replica can meet: it lies
// before now + ℓ_min. Only measured cold starts say so.
func doomed(now time.Time, deadlines []time.Time, held int, c coldStart) int {
	if !c.measured {
		return 0
	}
	soonest := now.Add(time.Duration(c.p10 * float64(time.Second)))
	n := 0
	for _, d := range deadlines {
		if !d.IsZero() && d.Before(soonest) {
			n++
		}
	}
	if len(deadlines) >= deadlineSample && held > len(deadlines) {
		n = n * held / len(deadlines)
	}
	return min(n, held)
}

const deadlineSample = 1000 // the snapshot lists no more deadlines than this

// buy is how many replicas beside the present ones are worth their price:
//
//	E = X + λ̂·L − c·μ·Σ(L − ℓ_i)⁺ − c·N₀
//	n = argmin θ·Area(n) + κ·n·L
//
// the smallest on ties. E is what will wait when a newcomer can answer: what is
// there and comes, less what is finished, less what sits in a slot. From zero
// this buys 0→N in one step; later ones, ready later, only if still worth it.
func (b *backlog) buy(most int) int {
	b.excess = float64(b.x) + b.lambda*b.l - b.work - float64(b.c*b.have)
	if b.excess <= slack {
		return 0
	}
	best, least := 0, b.theta*b.area(0)
	for n := 1; n <= most; n++ {
		price := worth * float64(n) * b.l
		if price >= least { // waiting costs nothing less than nothing
			break
		}
		if cost := b.theta*b.area(n) + price; cost < least-slack {
			best, least = n, cost
		}
	}
	return best
}

// within is how many replicas beside the present ones let everybody be through,
// or in a slot, T_d seconds after a cold start, whatever that costs:
//
//	n_d = ceil((X + λ̂·T_h − c·μ·Σ(T_h − ℓ_i)⁺ − c·N₀) / (c·(μ·T_d + 1)))   T_h = L + T_d
//
// work is what the present fleet finishes within T_h.
func (b *backlog) within(td, work float64) int {
	left := float64(b.x) + b.lambda*(b.l+td) - work - float64(b.c*b.have)
	return ceil(left / (float64(b.c) * (b.mu*td + 1)))
}

// area is the waiting that is left after the cold start with n more replicas,
// in request-seconds: the triangle e²/2d of a queue e that drains at rate d, cut
// at the horizon.
func (b *backlog) area(n int) float64 {
	e := b.excess - float64(n*b.c)
	if e <= 0 {
		return 0
	}
	d := float64((b.have+n)*b.c)*b.mu - b.lambda
	if d > 0 && e/d < b.horizon {
		return e * e / (2 * d)
	}
	return e*b.horizon - d*b.horizon*b.horizon/2
}

// weighBacklog is the count with what is worth buying for requests that wait,
// and how many of it that is; 0 if none waits in time.
func (l *look) weighBacklog(c, top int) (count, bought int) {
	held := max(0, l.snap.Held)
	waiting := held - doomed(l.now, l.snap.Deadlines, held, l.cold)
	if waiting <= 0 {
		return 0, 0
	}
	mu := 1 / l.meanS
	b := backlog{
		x: waiting + max(0, l.snap.InFlight), l: l.cold.p50, have: l.n0, c: c, mu: mu,
		theta: l.theta, horizon: max(2*l.cold.p50, 600),
	}
	rate := func(w time.Duration) float64 {
		win := l.mem.Samples.over(w, l.grid)
		return min(win.rate(l.now, w), l.mem.Wake.believable(win.Arrivals)/b.l)
	}
	if l.ready == 0 {
		b.lambda = max(rate(10*time.Second), rate(time.Minute), l.mem.Wake.arrivals()/b.l)
	} else {
		// A burst shorter than a cold start must not buy GPUs: as much of it is taken
		// to go on as used to.
		b.lambda = max(rate(l.average), l.mem.Surge.rate(Moment{l.now, l.snap.Arrivals}))
	}
	b.work = l.workWithin(b.l)
	most := max(0, top-l.n0)
	n := b.buy(most)
	if d := l.p.Sizing.DrainWithin; d != nil {
		within := min(b.within(d.Seconds(), l.workWithin(b.l+d.Seconds())), most)
		l.inputs.count("n_d", within)
		if within > n {
			n, l.drains = within, *d
		}
	}
	l.inputs.count("H_d", waiting)
	l.inputs.set("E", b.excess)
	l.inputs.set("lambda_hat", b.lambda)
	l.inputs.set("m", l.mem.Wake.arrivals())
	l.inputs.set("S", l.meanS)
	return l.n0 + n, n
}

// workWithin is how many requests the present fleet finishes within some seconds:
// c·μ·Σ(T − ℓ_i)⁺. A start under way is never expected later than one that is
// launched now, or it would be launched again.
func (l *look) workWithin(t float64) float64 {
	sum := 0.0
	for i := range l.snap.Replicas {
		switch r := &l.snap.Replicas[i]; r.Phase {
		case jobs.Ready:
			sum += t
		case jobs.Pending, jobs.Starting:
			sum += max(0, t-min(l.cold.rest(l.now.Sub(r.Launched)), l.cold.p50))
		}
	}
	return float64(l.concurrency()) / l.meanS * sum
}
