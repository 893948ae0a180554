package scaler

import (
	"math"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// wakes lets a service go through whole wakes that load for so long, one after
// another, and fall back to zero.
func (h *house) wakes(loads ...time.Duration) {
	h.t.Helper()
	for _, load := range loads {
		h.fleet.set(func() { h.fleet.load = load })
		h.ledger.ask(1)
		within(h.t, load+10*time.Second, "the answer", func() bool { return h.ledger.waiting() == 0 && h.status().Demand.InFlight == 0 })
		within(h.t, 3*time.Minute, "zero", func() bool { return h.status().State == jobs.StateZero })
	}
}

func near(got *float64, want, by float64) bool { return got != nil && math.Abs(*got-want) <= by }

func TestTheTimeThatAStartStillTakesIsToldByWhatHasPassedOfIt(t *testing.T) {
	patient := policy(func(p *policies.Policy) { p.Probe.Max = 10 * time.Minute })
	play(t, patient, func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.load = 20 * time.Second })
		h.ledger.ask(1)
		pass(5 * time.Second)
		if st := h.status(); st.ETA != nil || st.Start != nil || len(st.Coming) != 1 || st.Coming[0].Left != nil || st.Coming[0].Phase != jobs.PhaseLoad {
			t.Errorf("before any start was seen: %v, %+v; want it unknown", st.ETA, st.Coming)
		}
		within(t, 2*time.Minute, "zero", func() bool { return h.status().State == jobs.StateZero })
		h.wakes(58*time.Second, 60*time.Second, 62*time.Second, 59*time.Second, 61*time.Second, 60*time.Second)
		st := h.status()
		if st.Start == nil || !near(&st.Start.P50, 60, 2) || st.Start.Seen != 7 || st.ETA != nil {
			t.Errorf("at rest a start takes %+v, ready in %v; want 60 s and nothing under way", st.Start, st.ETA)
		}
		h.fleet.set(func() { h.fleet.load = 150 * time.Second })
		h.ledger.ask(1)
		began := time.Now()
		for _, at := range []struct {
			second    time.Duration
			least, by float64
		}{{1, 59, 3}, {30, 30, 3}, {50, 10, 3}, {100, 10, 9}, {140, 12, 11}} {
			pass(time.Until(began.Add(at.second * time.Second)))
			if st := h.status(); !near(st.ETA, at.least, at.by) || *st.ETA != st.Coming[0].Left.P50 || st.Coming[0].Slots != 2 {
				t.Errorf("at second %d: ready in %v, %+v; want about %v s", at.second, st.ETA, st.Coming, at.least)
			}
		}
		h.stop() // another process goes on with the same history
		h.start()
		if st := h.status(); st.Start == nil || st.Start.Seen != 7 {
			t.Errorf("after another scaler took over a start takes %+v", st.Start)
		}
		within(t, time.Minute, "the answer", func() bool { return h.ledger.waiting() == 0 })
	})
}

func TestOfAReplicaThatNobodyCanPlaceItIsNotToldWhenItComes(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.wakes(20 * time.Second)
		h.fleet.set(func() { h.fleet.full = "no free GPU: 2 nodes, 0 of 4 nvidia/gpu free" })
		h.ledger.ask(1)
		pass(5 * time.Second)
		if st := h.status(); st.ETA != nil || len(st.Coming) != 1 || st.Coming[0].Left != nil || st.Coming[0].Phase != jobs.PhasePlace {
			t.Errorf("ready in %v, %+v", st.ETA, st.Coming)
		}
		h.fleet.set(func() { h.fleet.full = ""; h.fleet.fill(group) })
		pass(5 * time.Second)
		if st := h.status(); !near(st.ETA, 15, 4) {
			t.Errorf("5 s after it was placed: ready in %v", st.ETA)
		}
	})
}

func TestPhasesOfAStartUnderWayAreThoseOfItsStory(t *testing.T) {
	at := time.Unix(1e9, 0)
	second := func(n int) time.Time { return at.Add(time.Duration(n) * time.Second) }
	l := &launch{Decided: at, Sent: at}
	for _, test := range []struct {
		name   string
		alloc  jobs.Allocation
		phase  string
		passed time.Duration
	}{
		{"not placed", jobs.Allocation{}, jobs.PhasePlace, 100 * time.Second},
		{"placed", jobs.Allocation{Created: second(10)}, jobs.PhaseStart, 90 * time.Second},
		{"taken up by its node, after another had ended there", jobs.Allocation{Created: second(10), Received: second(40)}, jobs.PhaseStart, 60 * time.Second},
		{"pulling", jobs.Allocation{Created: second(10), Received: second(11), Pulling: second(12)}, jobs.PhasePull, 89 * time.Second},
		{"loading", jobs.Allocation{Created: second(10), Pulling: second(12), Started: second(70)}, jobs.PhaseLoad, 30 * time.Second},
		{"loading, by a node whose clock is an hour ahead", jobs.Allocation{Created: second(10), Received: second(3611), Started: second(3612)}, jobs.PhaseLoad, 89 * time.Second},
	} {
		r := &replica{alloc: test.alloc, launch: l, placed: second(10)}
		if phase, passed := r.phaseOf(second(100)); phase != test.phase || passed != test.passed {
			t.Errorf("%s: %s for %v, want %s for %v", test.name, phase, passed, test.phase, test.passed)
		}
	}
}
