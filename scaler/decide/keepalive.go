package decide

import (
	"time"

	"github.com/pilotlight/pilotlight/policies"
)

// Modes of to_zero.
const (
	zeroAuto  = "auto"
	zeroNever = "never"
	zeroAfter = "after"
)

// breakEven is τ = C, the price of needing level k when it is gone: idling
// until the idle GPU-seconds have paid for the cold start costs at worst twice
// the optimum, whatever the future brings [Karlin].
//
//	C₁ = L + θ·L·(1 + (m′ − 1)/2)   m′ = max(1, min(m, c·μ·L + c))
//	C_k = L + θ·L/2                  k ≥ 2
//
// The first request waits L, the others about half of it; more than one warm
// replica could have served meanwhile is not the cold start's fault. Idling
// costs one GPU-second a second.
func breakEven(k int, l, theta, m, mu float64, c int, z policies.ToZero) time.Duration {
	price := l + theta*l/2
	if k == 1 {
		m = max(1, min(m, float64(c)*mu*l+float64(c)))
		price = l + theta*l*(1+(m-1)/2)
	}
	tau := time.Duration(price * float64(time.Second))
	if z.AtMost > 0 {
		tau = min(tau, z.AtMost)
	}
	return max(tau, z.AtLeast)
}

// lastKeepAlive is how long the last replica is kept after the last demand;
// false: for ever. A fixed to_zero.after is exact: when it has passed with
// nothing held or in flight, every replica goes, whatever levels and scale_down
// say. Levels above the first are priced by [breakEven] in every mode. Level 1
// is asked for by demand itself, not by the load that lingers in the windows:
// it starts to idle at the last demand.
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
