package localfleet

import (
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// restarts counts the restarts of one task in place, by Nomad's rule: at most
// Attempts within Interval; then the task has failed (mode fail) or waits for
// the interval to end (mode delay). Nomad's jitter is left out.
type restarts struct {
	policy jobs.Restart
	count  int
	since  time.Time // when the running interval began
}

// next reports, for a task that ended at now, whether and after what delay it
// starts again.
func (r *restarts) next(now time.Time) (delay time.Duration, again bool) {
	if r.policy.Attempts <= 0 {
		return 0, false
	}
	if r.since.IsZero() || now.Sub(r.since) > r.policy.Interval {
		r.since, r.count = now, 0
	}
	r.count++
	if r.count <= r.policy.Attempts {
		return r.policy.Delay, true
	}
	if r.policy.Mode == "delay" {
		return r.since.Add(r.policy.Interval).Sub(now), true
	}
	return 0, false
}

// maxRescheduleDelay is Nomad's default max_delay for services. An allocation
// that ran for longer starts the count of attempts anew.
const maxRescheduleDelay = time.Hour

// rescheduleDelay is how long after its failure an allocation is replaced, if it
// is itself the attempts-th replacement in a row; again is false if it is not
// replaced. A nil policy is Nomad's default for services.
func rescheduleDelay(policy *jobs.Reschedule, attempts int) (delay time.Duration, again bool) {
	if policy == nil {
		policy = &jobs.Reschedule{Unlimited: true, Delay: 30 * time.Second, DelayFunction: "exponential"}
	}
	if !policy.Unlimited && attempts >= policy.Attempts {
		return 0, false
	}
	delay = policy.Delay
	switch policy.DelayFunction {
	case "constant":
		return delay, true
	case "fibonacci":
		before := delay
		for i := 1; i < attempts && delay < maxRescheduleDelay; i++ {
			before, delay = delay, before+delay
		}
	default: // exponential
		for i := 0; i < attempts && delay < maxRescheduleDelay; i++ {
			delay *= 2
		}
	}
	return min(delay, maxRescheduleDelay), true
}
