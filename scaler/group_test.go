package scaler

import (
	"errors"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

func TestAJobThatCannotBeRegisteredKeepsNobodyFromEditingOrDeletingItsPolicy(t *testing.T) {
	broken := func(h *house) {
		h.stop()
		h.redis.FlushAll()
		h.fleet.set(func() {
			clear(h.fleet.count)
			h.fleet.broken["translate"] = errors.New("driver docker is not to be had here")
		})
		h.start()
		pass(5 * time.Second)
		if st := h.status(); st.State != jobs.StateBlocked {
			h.t.Fatalf("state %q, want blocked", st.State)
		}
	}
	t.Run("edited to a job that works", func(t *testing.T) {
		play(t, policy(nil), func(t *testing.T, h *house) {
			broken(h)
			h.policies.put(policy(func(p *policies.Policy) { p.Job, p.Replicas.Min = "other", 1 }))
			within(t, 5*time.Second, "a replica of the other job", func() bool { return h.fleet.runs("other") == 1 })
		})
	})
	t.Run("deleted", func(t *testing.T) {
		play(t, policy(nil), func(t *testing.T, h *house) {
			broken(h)
			h.policies.remove("translate")
			within(t, 5*time.Second, "no status", func() bool { return h.status().Name == "" })
		})
	})
	t.Run("deleted while what runs of it cannot be seen", func(t *testing.T) {
		play(t, policy(func(p *policies.Policy) { p.Replicas.Min = 1 }), func(t *testing.T, h *house) {
			within(t, 5*time.Second, "ready", func() bool { return len(h.ledger.slots()) == 1 })
			pass(2 * time.Second)
			h.stop()
			var count map[jobs.Ref]int
			h.fleet.set(func() {
				count, h.fleet.count = h.fleet.count, map[jobs.Ref]int{}
				h.fleet.broken["translate"] = errors.New("connection refused")
			})
			h.start()
			h.policies.remove("translate")
			pass(time.Minute)
			h.fleet.set(func() { h.fleet.count = count; clear(h.fleet.broken) })
			within(t, time.Minute, "stopped after all", func() bool { return h.fleet.running() == 0 })
		})
	})
}

func TestThePolicysNextJobStartsFromNothingOfTheOldOne(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 3})
		within(t, 5*time.Second, "three ready", func() bool { return len(h.ledger.slots()) == 3 })
		h.operate(jobs.Command{Verb: jobs.VerbUnpin})
		h.ledger.ask(1)
		pass(5 * time.Second)
		if st := h.status(); st.Cold.Count == 0 {
			t.Fatal("no cold start was measured")
		}
		h.policies.put(policy(func(p *policies.Policy) { p.Job = "other" }))
		within(t, 10*time.Second, "the old one stopped", func() bool { return h.fleet.running() == 0 })
		pass(10 * time.Second)
		if n := h.fleet.runs("other"); n != 0 {
			t.Errorf("%d replicas of the new job, and nobody asked", n)
		}
		if st := h.status(); st.State != jobs.StateZero || st.Cold.Count != 0 || st.PolicyVersion != 2 {
			t.Errorf("state %s with %d cold starts by version %d, want zero with none by 2", st.State, st.Cold.Count, st.PolicyVersion)
		}
		h.ledger.ask(1)
		within(t, 5*time.Second, "a replica of the new job", func() bool { return h.fleet.runs("other") == 1 })
		pass(time.Second)
		decisions, err := h.history.Decisions(t.Context(), "translate", 1)
		if err != nil || len(decisions) != 1 || decisions[0].From != 0 || decisions[0].To != 1 {
			t.Errorf("last decision %v (%v), want 0→1 for the new job", decisions, err)
		}
	})
}

// gone plays what happens to the policy of a service with one replica while no
// scaler is there.
func gone(t *testing.T, inFlight time.Duration, change func(h *house), then func(t *testing.T, h *house)) {
	play(t, policy(func(p *policies.Policy) { p.ToZero.After = time.Hour }), func(t *testing.T, h *house) {
		h.ledger.work = inFlight
		h.ledger.ask(1)
		within(t, 5*time.Second, "in flight", func() bool { return h.ledger.waiting() == 0 })
		pass(2 * time.Second)
		change(h)
		h.start()
		then(t, h)
	})
}

func TestAGroupThatLostItsPolicyWhileNobodyLedIsEmptied(t *testing.T) {
	forgotten := func(t *testing.T, h *house) {
		within(t, 10*time.Second, "no replica", func() bool { return h.fleet.running() == 0 })
		within(t, 5*time.Second, "no slots", func() bool { return len(h.ledger.slots()) == 0 })
		within(t, 5*time.Second, "no status", func() bool { return h.status().Name == "" })
		if cut := h.ledger.inFlightCut(); len(cut) > 0 {
			t.Errorf("requests cut: %v", cut)
		}
	}
	t.Run("deleted", func(t *testing.T) {
		gone(t, time.Second, func(h *house) { h.stop(); h.policies.remove("translate") }, forgotten)
	})
	t.Run("deleted, and the scaler restarted during the drain", func(t *testing.T) {
		gone(t, 30*time.Second, func(h *house) {
			h.policies.remove("translate")
			pass(2 * time.Second)
			h.stop()
		}, func(t *testing.T, h *house) {
			pass(5 * time.Second)
			if n := h.fleet.running(); n != 1 {
				t.Fatalf("%d replicas with a request in flight, want 1", n)
			}
			pass(20 * time.Second)
			forgotten(t, h)
		})
	})
	t.Run("named another job", func(t *testing.T) {
		gone(t, time.Second, func(h *house) {
			h.stop()
			h.policies.put(policy(func(p *policies.Policy) { p.Job = "other" }))
		}, func(t *testing.T, h *house) {
			within(t, 10*time.Second, "the old one stopped", func() bool { return h.fleet.running() == 0 })
			pass(5 * time.Second)
			if n := h.fleet.placements(); n != 1 {
				t.Errorf("%d launches, and nobody asked for the second", n)
			}
			h.ledger.ask(1)
			within(t, 5*time.Second, "the new one", func() bool { return h.fleet.runs("other") == 1 })
		})
	})
	t.Run("deleted and written again", func(t *testing.T) {
		gone(t, time.Second, func(h *house) {
			h.stop()
			h.policies.remove("translate")
		}, func(t *testing.T, h *house) {
			h.policies.put(policy(nil))
			h.ledger.ask(1)
			within(t, 10*time.Second, "answered", func() bool { return h.ledger.waiting() == 0 })
			pass(2 * time.Second)
			if st := h.status(); st.State != jobs.StateReady || st.PolicyVersion != 2 {
				t.Errorf("state %s by version %d, want ready by 2", st.State, st.PolicyVersion)
			}
		})
	})
	t.Run("never ran anything", func(t *testing.T) {
		play(t, policy(nil), func(t *testing.T, h *house) {
			h.stop()
			h.policies.remove("translate")
			h.redis.Del("pl:{translate}:scaler")
			h.start()
			within(t, 5*time.Second, "no status", func() bool { return h.status().Name == "" })
		})
	})
}
