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
		time.Sleep(5 * time.Second)
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
			time.Sleep(2 * time.Second)
			h.stop()
			var count map[jobs.Ref]int
			h.fleet.set(func() {
				count, h.fleet.count = h.fleet.count, map[jobs.Ref]int{}
				h.fleet.broken["translate"] = errors.New("connection refused")
			})
			h.start()
			h.policies.remove("translate")
			time.Sleep(time.Minute)
			h.fleet.set(func() { h.fleet.count = count; clear(h.fleet.broken) })
			within(t, time.Minute, "stopped after all", func() bool { return h.fleet.running() == 0 })
		})
	})
}
