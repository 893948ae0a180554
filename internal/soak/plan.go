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

// often is how the kinds are weighted. After Redis was away nothing new is granted
// for a lease: it must not be away most of the time.
var often = []struct {
	kind   string
	weight int
}{
	{KillActivator, 6}, {StopActivator, 4}, {KillReplica, 3}, {KillScaler, 2}, {StopScaler, 1}, {KillRedis, 1}, {RestartRedis, 1}, {StopRedis, 1},
}

// plan of the faults: one every 1.5 to 4.5 seconds, each kind as often as it is
// weighted and in any order, and so again.
func plan(seed uint64, total, pause time.Duration) []step {
	rng := rand.New(rand.NewPCG(seed, 1))
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(rng.Int64N(int64(max(most-least, 1))))
	}
	var all []string
	for _, o := range often {
		for range o.weight {
			all = append(all, o.kind)
		}
	}
	var steps []step
	for at := calmAtFirst; at < total; at += between(1500*time.Millisecond, 4500*time.Millisecond) {
		n := len(steps) % len(all)
		if n == 0 {
			rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		}
		s := step{after: at, kind: all[n], die: rng.Uint64()}
		switch s.kind {
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
