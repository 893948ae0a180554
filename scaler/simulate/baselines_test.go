package simulate

import (
	"testing"
	"time"
)

// within is a model of 10 slots a replica whose cold starts take two minutes.
func within(c controller) *model {
	return newModel(limits{slots: 10, gpus: 1, maxHeld: 1000, maxWait: time.Hour}, c, always(2*time.Minute))
}

func burst(m *model, n int, at time.Duration, seconds float64) {
	for range n {
		m.arrive(at, seconds)
	}
}

func TestKPAPanicsAtABurstThatFindsNoReplicaReady(t *testing.T) {
	m := within(&kpa{max: 100})
	burst(m, 40, time.Hour, 5)
	m.advance(time.Hour + 8*time.Second)
	// The mean over 6 s is 40, six replicas at 70 %; that over 60 s only asks for one.
	if m.wanted != 6 || m.countReady() != 0 {
		t.Errorf("%d wanted with %d ready, want 6 with 0", m.wanted, m.countReady())
	}
	if got := m.demand.mean(60); got > 7 {
		t.Errorf("the mean over 60 s is %.1f: it alone asks for more than one", got)
	}
}

func TestKPADoesNotPanicBelowTwiceWhatOneReplicaShouldHave(t *testing.T) {
	m := within(&kpa{max: 100})
	burst(m, 7, time.Hour, 5)
	for s := range 119 {
		m.advance(time.Hour + time.Duration(s)*time.Second)
		if m.wanted > 1 {
			t.Fatalf("%d wanted after %d s, want 1: 7 requests are 70 %% of one", m.wanted, s)
		}
	}
}

func TestKPAPanicHoldsItsMostUntilAMinuteAfterTheLastSurge(t *testing.T) {
	m := within(&kpa{max: 100})
	burst(m, 40, time.Hour, 30) // ready after 120 s, done after 150 s
	least := 1000
	for s := 8; s <= 150; s++ {
		m.advance(time.Hour + time.Duration(s)*time.Second)
		least = min(least, m.wanted)
	}
	if least != 6 {
		t.Errorf("down to %d while 40 requests waited and ran, want 6 all the time", least)
	}
	// The last surge is seen until 120 s: once six are ready it is none any more.
	m.advance(time.Hour + 176*time.Second)
	if m.wanted != 6 {
		t.Errorf("%d wanted within the minute, want 6", m.wanted)
	}
	m.advance(time.Hour + 190*time.Second)
	if m.wanted >= 6 {
		t.Errorf("%d wanted after it, want fewer: panic is over", m.wanted)
	}
}

func TestAnIdleTimeoutCountsFromTheEndOfTheLastRequest(t *testing.T) {
	m := within(&fixed{timeout: 5 * time.Minute, max: 10})
	m.arrive(0, 20*60) // ready at 2 min, done at 22 min: longer than the timeout
	m.end(time.Hour)
	if want := (27 * time.Minute).Seconds(); m.figures.gpuSeconds != want {
		t.Errorf("%v GPU-seconds, want %v: two minutes to start, twenty of work, five of keeping", m.figures.gpuSeconds, want)
	}
}

func TestAnIdleTimeoutKeepsEachCountFromTheEndOfItsOwnNeed(t *testing.T) {
	m := within(&fixed{timeout: 5 * time.Minute, max: 10})
	burst(m, 10, 0, 30*60) // one replica until 32 min
	burst(m, 10, time.Minute, 20*60)
	// The second replica is ready at 3 min; until 2 min ten wait, until 23 min ten run there.
	m.advance(23*time.Minute + 4*time.Minute + 59*time.Second)
	if m.wanted != 2 {
		t.Errorf("%d wanted within five minutes of the end of the second ten, want 2", m.wanted)
	}
	m.advance(23*time.Minute + 5*time.Minute + time.Second)
	if m.wanted != 1 {
		t.Errorf("%d wanted after them, want 1", m.wanted)
	}
}
