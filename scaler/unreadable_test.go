package scaler

import (
	"testing"
	"time"
)

func TestAPolicyThatCannotBeReadLeavesItsReplicasAloneAndTheOthersInForce(t *testing.T) {
	p := policy(nil)
	p.Replicas.Min = 1
	play(t, p, func(t *testing.T, h *house) {
		within(t, 5*time.Second, "ready", func() bool { return len(h.ledger.slots()) == 1 })
		h.policies.spoil("translate")
		other := policy(nil)
		other.Name, other.Job, other.Route.PathPrefixes = "other", "other", []string{"/other"}
		h.policies.put(other)
		alone := func(when string) {
			t.Helper()
			pass(5 * time.Second)
			if n := h.fleet.running(); n != 1 {
				t.Errorf("%s: %d replicas run, want 1", when, n)
			}
			if st := h.status(); st.Name == "" {
				t.Errorf("%s: the status is gone", when)
			}
			statuses, err := h.history.Statuses(t.Context())
			if err != nil || len(statuses) != 2 {
				t.Errorf("%s: there are reports on %v (%v), want translate and other", when, statuses, err)
			}
		}
		alone("while the scaler goes on")
		if st := h.status(); st.PolicyVersion != 1 {
			t.Errorf("version %d is in force, want 1", st.PolicyVersion)
		}
		h.stop()
		h.start()
		alone("after a restart")

		again := policy(nil)
		again.Replicas.Min = 2
		h.policies.put(again)
		within(t, 5*time.Second, "a second replica by the policy that was put right", func() bool { return h.fleet.running() == 2 })
	})
}
