package decide

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/pilotlight/pilotlight/policies"
)

// Modes of to_zero.
const (
	zeroAuto  = "auto"
	zeroNever = "never"
	zeroAfter = "after"
)

const (
	gapHalfLife   = 7 * 24 * 3600 // seconds until a gap weighs half
	sameTime      = 90 * 60       // seconds of the day that count as the same time of day
	otherTime     = 0.1           // weight of a gap at another time of day
	enoughWeight  = 6.0           // Σw from which history is believed whatever it says
	beyondLuck    = 1.7           // standard deviations: three gaps that agree are enough
	worthwhile    = 0.95          // of break-even's cost that the best keep-alive must stay below
	choiceLasts   = 60            // seconds in which a band that flutters is not chosen for again
	samePrice     = 0.05          // share by which a price may differ for a choice to hold
	gapMargin     = 1.02          // a keep-alive just after a gap of g is 1.02·g + 1 s
	gapMarginSecs = 1.0
)

// price is C₁, what needing the first level costs when it is gone, in seconds of an
// idle replica; for those above it see [keeping].
//
//	C₁ = ρ·L + θ·L·(1 + (m′ − 1)/2)   m′ = max(1, min(m, c·μ·L + c))
//	C_k = L + θ·W_k                    k ≥ 2, W_k: see [Missed]
//
// The first request waits L, the others about half of it; more than one warm
// replica could have served meanwhile is not the cold start's fault. Nor is all
// of L lost: while requests go on coming, a warm replica would have been up as
// well. Only what follows the last of them is paid for the cold start alone; ρ is
// its share of L in past wakes, near 1 for lone requests and 0 in the morning of
// a busy day.
func price(l, theta, m, lone, mu float64, c int) float64 {
	return lone*l + theta*wakeWait(l, m, mu, c)
}

// wakeWait is W, the seconds that the requests of one cold start from zero wait
// together.
func wakeWait(l, m, mu float64, c int) float64 {
	m = max(1, min(m, float64(c)*mu*l+float64(c)))
	return l * (1 + (m-1)/2)
}

// clampKeep keeps a keep-alive of so many seconds within the policy's bounds.
func clampKeep(s float64, z policies.ToZero) time.Duration {
	tau := secondsOf(min(s, math.MaxInt32))
	if z.AtMost > 0 {
		tau = min(tau, z.AtMost)
	}
	return max(tau, z.AtLeast)
}

// Choice is a keep-alive, and what it was chosen from.
type Choice struct {
	At      int64   `json:"at"`                // unix seconds
	Price   float64 `json:"price_s"`           // C
	Keep    float64 `json:"keep_s"`            // τ, before the policy's bounds of later looks
	History bool    `json:"history,omitempty"` // false: break-even
	Seen    int     `json:"seen"`              // gaps
	Below   float64 `json:"below,omitempty"`   // share of them, by weight, that the keep-alive outlasts
	Gap     int64   `json:"gap_s,omitempty"`   // the longest of those, seconds
}

// choose picks the keep-alive τ of a band for a gap that opens now.
//
// Break-even, τ = C, costs at worst twice the optimum whatever the future brings
// [Karlin]. History does better where gaps repeat: of past gaps g with weights
// w = 2^(−age/7 d)·(1 within ±90 min of the same time of day, else 0.1),
//
//	J(τ) = Σ w·(g if g ≤ τ, else τ + C)
//
// is least at a bound or just after one of them, and exact, since the gaps are
// sorted and summed as they are. It is believed if it saves 5 %, and either Σw ≥ 6 or
// what it saves is more than luck: see weighed.surely.
func choose(b Band, now time.Time, c float64, z policies.ToZero) Choice {
	even := clampKeep(c, z).Seconds()
	out := Choice{At: now.Unix(), Price: c, Keep: even, Seen: b.Count}
	var w weighed
	w.weigh(b, now)
	best := w.cost(even, c) * worthwhile
	i, before := 0, -1.0
	consider := func(tau float64) { // never below the one before
		if tau = clampKeep(tau, z).Seconds(); tau == before {
			return
		}
		before = tau
		for i < w.n && w.length(i) <= tau {
			i++
		}
		if j := w.costOf(i, tau, c); j < best {
			best, out.Keep, out.History = j, tau, true
		}
	}
	consider(0)
	for k := range w.n {
		if k > 0 && w.order[k]>>placeBits == w.order[k-1]>>placeBits {
			continue
		}
		consider(gapMargin*w.length(k) + gapMarginSecs)
	}
	consider(math.MaxInt32)
	if out.History && w.total < enoughWeight && !w.surely(out.Keep, even, c) {
		out.Keep, out.History = even, false
	}
	if out.History {
		i := w.upTo(out.Keep)
		if out.Below = w.weight[i] / w.total; i > 0 {
			out.Gap = int64(w.length(i - 1))
		}
	}
	return out
}

// keeping is τ of every level, in one look.
type keeping struct {
	first  float64 // price of the first level
	missed Missed  // what those above it are worth
	theta  float64 // seconds of a replica worth one second of one request's waiting
	l      float64 // cold start, seconds
	z      policies.ToZero
}

// price is C of a band.
func (k *keeping) price(band int) float64 {
	if band == 0 {
		return k.first
	}
	return k.l + k.theta*k.missed.wait(band, k.l)
}

// of is τ_k of mode auto.
func (k *keeping) of(level int, g *Gaps) time.Duration {
	choice, _ := k.choice(level, g)
	return clampKeep(choice.Keep, k.z)
}

// choice is what history says of a level, if it is believed at today's price;
// false: break-even.
func (k *keeping) choice(level int, g *Gaps) (Choice, bool) {
	c := k.price(bandOf(level))
	if choice := g.choice(bandOf(level)); choice.History && choice.at(c) {
		return choice, true
	}
	return Choice{Keep: c, Price: c}, false
}

// why says what τ of a level rests on.
func (k *keeping) why(level int, g *Gaps) string {
	start := short(secondsOf(math.Round(k.l)))
	switch c, history := k.choice(level, g); {
	case !history:
		if waits := k.missed.wait(bandOf(level), k.l); level > 1 && k.missed.known(bandOf(level)) && waits >= 1 {
			return "what a cold start of " + start + " costs, with " + short(secondsOf(waits)) + " waited for it"
		}
		return "what a cold start of " + start + " costs"
	case c.Gap == 0:
		return fmt.Sprintf("all of the %d gaps seen were longer and cost more; cold start %s", c.Seen, start)
	default:
		return "gaps up to " + short(secondsOf(float64(c.Gap))) + " are " + strconv.FormatFloat(100*c.Below, 'f', 0, 64) +
			" % of the " + strconv.Itoa(c.Seen) + " seen; cold start " + start
	}
}

// at reports whether the choice was made for a price of about c.
func (c Choice) at(price float64) bool { return math.Abs(c.Price-price) <= samePrice*price }

// open chooses for a band whose gap opens now, unless it was just chosen for.
func (k *keeping) open(g Gaps, now time.Time, band int, price float64) Gaps {
	b := g.band(band)
	if b.Count == 0 || b.Choice.at(price) && now.Unix() >= b.Choice.At && now.Unix()-b.Choice.At < choiceLasts {
		return g
	}
	b.Choice = choose(b, now, price, k.z)
	return g.with(b)
}

// lastKeepAlive is how long the last replica is kept after the last demand;
// false: for ever. A fixed to_zero.after is exact: when it has passed with
// nothing held or in flight, every replica goes, whatever levels and scale_down
// say. Levels above the first are priced in every mode. Level 1 is asked for by
// demand itself, not by the load that lingers in the windows: it starts to idle
// at the last demand.
func lastKeepAlive(z policies.ToZero, auto time.Duration) (time.Duration, bool) {
	switch z.Mode {
	case zeroNever:
		return 0, false
	case zeroAfter:
		return z.After, true
	default:
		return auto, true
	}
}
