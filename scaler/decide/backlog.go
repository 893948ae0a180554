package decide

import "time"

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
