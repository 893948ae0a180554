package soak

import (
	"math/rand/v2"
	"time"
)

// step of the plan: what, when, for how long. Whom is chosen when it is done,
// among those that are well.
type step struct {
	after time.Duration // since the beginning
	kind  string
	last  time.Duration // how long its victim is away
	die   uint64        // chooses the victim
}

const (
	shortestPause = 5 * time.Second
	calmAtFirst   = 3 * time.Second
)

// often is how the kinds are weighted.
var often = []struct {
	kind   string
	weight int
}{
	{KillActivator, 6}, {StopActivator, 5}, {KillReplica, 4}, {KillScaler, 3}, {StopScaler, 2}, {KillRedis, 3}, {RestartRedis, 1}, {StopRedis, 2},
}

// plan of the faults: each kind once, in any order, then as often as they come; one
// every 1.5 to 4.5 seconds.
func plan(seed uint64, total, pause time.Duration) []step {
	rng := rand.New(rand.NewPCG(seed, 1))
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(rng.Int64N(int64(max(most-least, 1))))
	}
	var bag []string
	for _, o := range often {
		bag = append(bag, o.kind)
	}
	rng.Shuffle(len(bag), func(i, j int) { bag[i], bag[j] = bag[j], bag[i] })
	first := len(bag)
	for _, o := range often {
		for range o.weight {
			bag = append(bag, o.kind)
		}
	}
	var steps []step
	for at := calmAtFirst; at < total; at += between(1500*time.Millisecond, 4500*time.Millisecond) {
		kind := ""
		if n := len(steps); n < first {
			kind = bag[n]
		} else {
			kind = bag[first+rng.IntN(len(bag)-first)]
		}
		s := step{after: at, kind: kind, die: rng.Uint64()}
		switch kind {
		case StopActivator, StopScaler:
			s.last = between(shortestPause, pause)
		case StopRedis:
			s.last = between(time.Second, 6*time.Second)
		default:
			s.last = between(100*time.Millisecond, 4*time.Second)
		}
		steps = append(steps, s)
	}
	return steps
}
