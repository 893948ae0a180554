package scaler

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

func TestFleetAwayForAMinuteDuringAWakeLosesNothingAndLaunchesOnce(t *testing.T) {
	one := func(p *policies.Policy) { p.Replicas.Max = 1 }
	t.Run("before the scale call", func(t *testing.T) {
		play(t, policy(one), func(t *testing.T, h *house) {
			h.fleet.leave()
			h.ledger.ask(2)
			pass(time.Minute)
			h.told(jobs.StateBlocked, "no path to the fleet")
			if h.notice(jobs.NoticeFleetSilent) == "" {
				t.Error("no notice says that the fleet is silent")
			}
			if n := len(h.fleet.scaleCalls()); n > 30 {
				t.Errorf("%d scale calls in a minute, want a growing pause between them", n)
			}
			h.fleet.comeBack()
			within(t, 10*time.Second, "answered", func() bool { return h.ledger.waiting() == 0 })
			if n := h.fleet.placements(); n != 1 {
				t.Errorf("%d launches, want 1", n)
			}
			pass(time.Second)
			if st := h.status(); st.Blocked != nil || len(st.Notices) != 0 || time.Since(*st.FleetAt) > 3*time.Second {
				t.Errorf("blocked by %q, notices %v, heard at %v; want none, and just now", words(st.Blocked), st.Notices, st.FleetAt)
			}
		})
	})
	t.Run("between the scale call and its answer", func(t *testing.T) {
		play(t, policy(one), func(t *testing.T, h *house) {
			h.fleet.set(func() { h.fleet.slow = 5 * time.Second; h.fleet.lost = 1 })
			h.ledger.ask(2)
			pass(5 * time.Millisecond)
			h.fleet.leave()
			pass(time.Minute)
			h.fleet.set(func() { h.fleet.slow = 0 })
			h.fleet.comeBack()
			within(t, 10*time.Second, "answered", func() bool { return h.ledger.waiting() == 0 })
			if n := h.fleet.placements(); n != 1 {
				t.Errorf("%d launches, want 1", n)
			}
		})
	})
	t.Run("while the scaler is restarted", func(t *testing.T) {
		play(t, policy(one), func(t *testing.T, h *house) {
			h.ledger.ask(2)
			pass(5 * time.Millisecond)
			h.fleet.leave()
			h.stop()
			h.start()
			pass(time.Minute)
			h.fleet.comeBack()
			within(t, 15*time.Second, "answered", func() bool { return h.ledger.waiting() == 0 })
			if n := h.fleet.placements(); n != 1 {
				t.Errorf("%d launches, want 1", n)
			}
		})
	})
}

func TestFleetAwayForAMinuteDuringADrainStopsNobodyBlindly(t *testing.T) {
	p := policy(nil)
	p.Replicas.Min = 2
	play(t, p, func(t *testing.T, h *house) {
		h.ready(2)
		h.ledger.work = 30 * time.Second
		h.ledger.ask(4)
		pass(time.Second)
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 1})
		pass(time.Second)
		h.fleet.leave()
		pass(time.Minute)
		if n := h.fleet.running(); n != 2 {
			t.Errorf("%d replicas run while the fleet is away, want both", n)
		}
		if slots := h.ledger.slots(); slots["alloc-1"] != 2 || slots["alloc-2"] != 0 {
			t.Errorf("offered %v, want the drain as it was", slots)
		}
		calls := len(h.fleet.scaleCalls())
		h.fleet.comeBack()
		within(t, 5*time.Second, "one left", func() bool { return h.fleet.running() == 1 })
		h.ledger.set(func() {
			if cut := h.ledger.cut; len(cut) > 0 {
				t.Errorf("requests cut: %v", cut)
			}
		})
		if n := len(h.fleet.scaleCalls()) - calls; n != 1 {
			t.Errorf("%d scale calls after it came back, want 1", n)
		}
	})
}

func TestFleetAwayForAMinuteWithTrafficChangesNothing(t *testing.T) {
	p := policy(oneKept)
	p.ToZero.After, p.Replicas.Min = 20*time.Second, 0
	play(t, p, func(t *testing.T, h *house) {
		h.ledger.ask(1)
		h.ready(1)
		h.fleet.leave()
		for range 20 {
			h.ledger.ask(1)
			pass(time.Second)
			if n := h.ledger.waiting(); n != 0 {
				t.Fatalf("%d wait although a replica is ready", n)
			}
		}
		pass(40 * time.Second) // its keep-alive ends while the picture is old
		if n := h.fleet.running(); n != 1 || len(h.fleet.scaleCalls()) != 1 {
			t.Errorf("%d replicas, scale calls %v; want nothing done blindly", n, h.fleet.counts())
		}
		h.fleet.comeBack()
		within(t, 10*time.Second, "to zero", func() bool { return h.fleet.running() == 0 })
	})
}

func TestAReplicaThatDiesWhileTheFleetIsAwayLosesItsSlotsByItsProbe(t *testing.T) {
	play(t, policy(oneKept), func(t *testing.T, h *house) {
		h.ready(1)
		h.fleet.set(func() { h.fleet.reschedule = 500 * time.Millisecond })
		h.fleet.leave()
		pass(15 * time.Second)
		// So young that it counts as a failed start; its replacement is of before
		// that was known, and is kept.
		h.fleet.kill("alloc-1", "killed by signal 9")
		within(t, 3*time.Second, "no slots", func() bool { return h.ledger.slots()["alloc-1"] == 0 })
		h.fleet.comeBack()
		within(t, 5*time.Second, "its replacement", func() bool { return h.ledger.slots()["alloc-2"] == 2 })
	})
}

func TestAScalerKilledBetweenAScaleCallAndItsAnswerLaunchesNothingTwice(t *testing.T) {
	for name, shown := range map[string]bool{"and the fleet shows the count": true, "and the fleet's picture is late": false} {
		t.Run(name, func(t *testing.T) {
			play(t, policy(nil), func(t *testing.T, h *house) {
				h.fleet.set(func() { h.fleet.slow = 3 * time.Second })
				if !shown {
					h.fleet.leave()
					h.fleet.set(func() { h.fleet.reachable = true })
				}
				h.ledger.ask(1)
				pass(10 * time.Millisecond)
				if n := h.fleet.placements(); n != 1 {
					t.Fatalf("%d launches, want the call to have worked", n)
				}
				h.stop()
				h.fleet.set(func() { h.fleet.slow = 0 })
				h.start()
				pass(5 * time.Second)
				if !shown {
					h.fleet.comeBack()
				}
				within(t, 5*time.Second, "answered", func() bool { return h.ledger.waiting() == 0 })
				if n := h.fleet.placements(); n != 1 {
					t.Errorf("%d launches, want 1", n)
				}
				for _, n := range h.fleet.counts() {
					if n != 1 {
						t.Errorf("scale calls %v, want none to another count", h.fleet.counts())
					}
				}
			})
		})
	}
}

func TestAnAllocationLostWithItsNodeIsReplacedByItsFleetAndCountsAsNoFailure(t *testing.T) {
	play(t, policy(oneKept), func(t *testing.T, h *house) {
		h.ready(1)
		h.ledger.work = time.Minute
		h.ledger.ask(2)
		pass(time.Second)
		h.fleet.set(func() {
			a := &h.fleet.allocs[0]
			a.Client, a.Desired = jobs.ClientLost, jobs.DesiredStop
			h.fleet.place(a.Ref, a.Index) // in the same step
			h.fleet.tell(a.Ref)
		})
		within(t, 20*time.Millisecond, "its slots gone", func() bool { return h.ledger.slots()["alloc-1"] == 0 })
		within(t, 3*time.Second, "the replacement serves", func() bool { return h.ledger.slots()["alloc-2"] == 2 })
		pass(time.Second)
		if diff := cmp.Diff([]int{1}, h.fleet.counts()); diff != "" {
			t.Errorf("scale calls (-want +got):\n%s", diff)
		}
		if st := h.status(); st.Blocked != nil {
			t.Errorf("blocked by %q", *st.Blocked)
		}
	})
}

func TestAFailedReplicaThatHoldsItsIndexIsCountedWhenAnotherIsStopped(t *testing.T) {
	p := policy(nil)
	p.Replicas.Min = 3
	play(t, p, func(t *testing.T, h *house) {
		h.ready(3)
		h.fleet.kill("alloc-2", "exit code 1") // and is not replaced: it keeps index 1
		pass(2 * time.Second)
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 2})
		within(t, 5*time.Second, "the highest index stopped", func() bool { return h.fleet.running() == 1 })
		pass(3 * time.Second)
		if slots := h.ledger.slots(); slots["alloc-1"] != 2 || slots["alloc-3"] != 0 {
			t.Errorf("offered %v, want alloc-1 only", slots)
		}
		if list := h.ruled("other-victim"); len(list) != 0 {
			t.Errorf("decisions %v: the fleet did as expected", list)
		}
	})
}

func TestASecondAllocationOfAnIndexIsTheFirstToGo(t *testing.T) {
	run := func(id string, index int, age time.Duration) jobs.Allocation {
		return jobs.Allocation{ID: id, Index: index, Desired: jobs.DesiredRun, Client: jobs.ClientRunning, Created: time.Unix(1000, 0).Add(-age)}
	}
	s := &service{seen: jobs.Observation{Count: 2, Allocations: []jobs.Allocation{
		run("canary", 0, time.Minute), run("old", 0, time.Hour), run("next", 1, time.Hour),
	}}}
	var order []string
	for _, a := range s.holders() {
		order = append(order, a.ID)
	}
	if want := []string{"old", "next", "canary"}; !slices.Equal(order, want) {
		t.Errorf("kept in the order %s, want %s", strings.Join(order, ", "), strings.Join(want, ", "))
	}
}
