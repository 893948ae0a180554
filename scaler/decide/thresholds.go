package decide

import (
	"fmt"
	"time"

	"github.com/pilotlight/pilotlight/policies"
)

const (
	tolerance  = 0.1 // a linear signal this close to its limit changes nothing [HPA]
	steepest   = 0.5 // of the count that a signal which is not linear may add in one step
	projection = 0.9 // of a linear up limit that a step down must stay below
)

// Threshold is what scale_up did last. With cooldown "auto" a step locks the
// next one until the replicas it launched are ready and the window has passed
// since: latency cannot fall before the help arrives, and stepping meanwhile
// overshoots by the cold start over the tick. A duration replaces that rule.
type Threshold struct {
	Evaluated int64     `json:"evaluated,omitempty"` // grid point of sizing.every, unix seconds
	Target    int       `json:"target,omitempty"`    // count the last step asked for, while in force
	At        time.Time `json:"at,omitzero"`         // of the last step
	Ready     time.Time `json:"ready,omitzero"`      // since then, when Target replicas were first ready
	Reason    string    `json:"reason,omitempty"`    // of the last evaluation
}

// locked reports until when another step up waits; zero if it does not.
func (t Threshold) locked(up *policies.Thresholds, now time.Time) (until time.Time, locked bool) {
	if t.At.IsZero() || t.Target == 0 {
		return time.Time{}, false
	}
	if !up.CooldownAuto {
		until = t.At.Add(up.Cooldown)
		return until, now.Before(until)
	}
	if t.Ready.IsZero() {
		return time.Time{}, true
	}
	until = t.Ready.Add(up.Window)
	return until, now.Before(until)
}

// above finds what any condition asks for: the largest count of those over
// their limit, with the condition that asked; 0 if none is.
//
// Linear signals fall in proportion to the count: N = ceil(r·v/limit) [HPA].
// Latencies and GPU utilization (which says that a kernel ran, not that the GPU
// is full) do not: N + max(1, ceil(N·min(v/limit − 1, 0.5))). exact asks for at
// least one more replica whenever a value is over its limit; otherwise linear
// signals have a tolerance.
func above(cs []condition, count, ready int, exact bool) (int, condition) {
	target := 0
	var by condition
	for _, c := range cs {
		if c.value == nil || !(*c.value > c.limit) {
			continue
		}
		n := 0
		switch {
		case c.limit <= 0:
			n = count + 1
		case c.linear:
			if !exact && *c.value/c.limit-1 <= tolerance+slack {
				continue
			}
			n = ceil(float64(max(1, ready)) * *c.value / c.limit)
		default:
			n = count + max(1, ceil(float64(count)*min(*c.value/c.limit-1, steepest)))
		}
		if exact {
			n = max(n, count+1)
		}
		if n > target {
			target, by = n, c
		}
	}
	return target, by
}

// below reports whether all conditions of scale_down hold, and if not, why. A
// signal that is not known holds the count. Where it is known that nobody asked
// for anything during the whole window, no latency is missing: there was
// nothing to be slow.
func below(cs []condition, r reading, replicas []Replica) (bool, string) {
	for _, c := range cs {
		if c.value == nil {
			if c.latency && !r.asked {
				continue
			}
			return false, unknown(c, r, replicas)
		}
		if !(*c.value < c.limit) {
			return false, fmt.Sprintf("%s %s over %s is not below %s",
				c.name, c.show(*c.value), short(r.length), c.bound())
		}
	}
	return true, ""
}

func unknown(c condition, r reading, replicas []Replica) string {
	if c.name == "gpu_utilization" {
		if who := silent(replicas); who != "" {
			return c.name + " unknown for " + who
		}
	}
	if c.latency && c.needs > 1 && r.completions > 0 {
		return fmt.Sprintf("%s unknown: %d of %d completions in %s", c.name, r.completions, c.needs, short(r.length))
	}
	return fmt.Sprintf("%s unknown for part of the last %s", c.name, short(r.length))
}

// leastProjected is the smallest count, at least n and below count, at which no
// linear condition of scale_up would come within 10 % of its limit; count if
// there is none.
func leastProjected(up []condition, n, count, ready int) int {
	for ; n < count; n++ {
		fits := true
		for _, c := range up {
			if c.linear && c.value != nil && *c.value*float64(max(1, ready)) >= projection*c.limit*float64(max(1, n)) {
				fits = false
				break
			}
		}
		if fits {
			break
		}
	}
	return n
}
