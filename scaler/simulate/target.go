package simulate

import (
	"fmt"
	"time"
)

// Target is which point of a sweep to take where added waits are to stay within a
// bound at the 99th percentile.
type Target struct {
	P99S       float64  `json:"p99_s"`    // the bound
	Patience   *float64 `json:"patience"` // of the cheapest point within it; nil: none is
	Headroom   *float64 `json:"headroom"`
	GPUSeconds *float64 `json:"gpu_seconds"` // that it needs

	best Result // the cheapest within the bound, else the one with the shortest waits
}

// Aim looks for the cheapest point of the sweep whose added waits are at most p99
// at the 99th percentile, and at which nobody is refused or times out. Without a
// sweep there is none.
func (rep *Report) Aim(p99 time.Duration) {
	t := &Target{P99S: p99.Seconds()}
	rep.Target = t
	cost := func(r *Result) (within bool, price float64) { // of those beyond the bound, waiting is the price
		lost := float64(r.Refused + r.TimedOut)
		if within = lost == 0 && r.AddedWait.P99 <= t.P99S; within {
			return true, r.GPUSeconds
		}
		return false, r.AddedWait.P99 + lost*mostLost
	}
	found := false
	for i := range rep.Results {
		r := &rep.Results[i]
		if r.Patience == nil {
			continue
		}
		within, price := cost(r)
		before, least := cost(&t.best)
		if !found || within && !before || within == before && price < least {
			t.best, found = *r, true
		}
	}
	if within, _ := cost(&t.best); found && within {
		t.Patience, t.Headroom, t.GPUSeconds = t.best.Patience, t.best.Headroom, &t.best.GPUSeconds
	}
}

// mostLost makes a request without an answer worse than any wait.
const mostLost = 1e9

func (t *Target) note() string {
	switch best := &t.best; {
	case t.Patience != nil:
		return fmt.Sprintf("The cheapest of the sweep with a p99 of added waits within %s s is patience = %s with headroom = %s: %s GPU-hours, p99 %s s.",
			shortNumber(t.P99S), shortNumber(*best.Patience), shortNumber(*best.Headroom), shortNumber(best.GPUSeconds/3600), shortNumber(best.AddedWait.P99))
	case best.Patience == nil:
		return "There is no sweep to look in for a p99 of added waits."
	default:
		lost := ""
		if n := best.Refused + best.TimedOut; n > 0 {
			lost = fmt.Sprintf(", and %s requests without an answer", Count(n))
		}
		return fmt.Sprintf("Nothing of the sweep keeps the p99 of added waits within %s s with an answer for everybody: patience = %s with headroom = %s comes closest, with %s s%s. "+
			"What else bounds it are replicas.min, replicas.max, to_zero and the length of cold starts.",
			shortNumber(t.P99S), shortNumber(*best.Patience), shortNumber(*best.Headroom), shortNumber(best.AddedWait.P99), lost)
	}
}
