package scaler

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// lastReason is what the fleet was told with the last scale call.
func (h *house) lastReason() string {
	calls := h.fleet.scaleCalls()
	if len(calls) == 0 {
		return ""
	}
	return calls[len(calls)-1].reason
}

func TestTheFleetIsToldWhatIsSetBackAndNotWhyTheCountWasOnceWanted(t *testing.T) {
	play(t, policy(oneKept), func(t *testing.T, h *house) {
		h.ready(1)
		h.fleet.register(0)
		h.ready(1)
		if got, want := h.lastReason(), "restored after job run: 1 → 0"; got != want {
			t.Errorf("after a deploy the fleet was told %q, want %q", got, want)
		}
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 2, Reason: "demo"})
		h.ready(2)
		if got := h.lastReason(); got == "" || got == "restored after job run: 1 → 0" {
			t.Errorf("the next call has the reason %q, want the decision's own", got)
		}
	})
	play(t, policy(func(p *policies.Policy) { oneKept(p); byHand("restore")(p) }), func(t *testing.T, h *house) {
		h.ready(1)
		h.fleet.scaleByHand(3, "")
		pass(5 * time.Second)
		if got, want := h.lastReason(), "restored after a count set by hand: 1 → 3"; got != want || h.fleet.running() != 1 {
			t.Errorf("the fleet was told %q and runs %d, want %q and 1", got, h.fleet.running(), want)
		}
	})
}

func TestWhatOthersAskedForIsNotDrainedBeforeItIsKnownThatTheyDid(t *testing.T) {
	play(t, policy(func(p *policies.Policy) { oneKept(p); byHand("hold")(p) }), func(t *testing.T, h *house) {
		h.ready(1)
		h.fleet.set(func() { h.fleet.place(group, 1); h.fleet.tell(group) }) // before the count and whose it is
		pass(1500 * time.Millisecond)
		if n := h.status().Replicas.Draining; n != 0 {
			t.Errorf("%d draining: a replica that somebody has just asked for", n)
		}
		h.fleet.scaleByHand(2, "")
		h.ready(2)
		if diff := cmp.Diff([]int{1}, h.fleet.counts()); diff != "" {
			t.Errorf("scale calls (-want +got):\n%s", diff)
		}
	})
}

func TestAnAllocationBeyondTheCountThatNobodyExplainsIsDrained(t *testing.T) {
	play(t, policy(oneKept), func(t *testing.T, h *house) {
		h.ready(1)
		h.fleet.set(func() { h.fleet.place(group, 1); h.fleet.tell(group) })
		within(t, 4*time.Second, "drained", func() bool { return h.status().Replicas.Draining == 1 })
	})
}

func TestReplicasOfACountSetByHandHaveTheirKeepAliveWhenItIsUnpinned(t *testing.T) {
	play(t, policy(byHand("hold")), func(t *testing.T, h *house) {
		h.fleet.scaleByHand(2, "load test")
		h.ready(2)
		h.operate(jobs.Command{Verb: jobs.VerbUnpin})
		pass(30 * time.Second)
		if n := h.fleet.wants(); n != 2 {
			t.Errorf("%d wanted half a keep-alive after the unpin, want the 2 of seconds ago", n)
		}
		pass(2 * time.Minute)
		if n := h.fleet.wants(); n != 0 {
			t.Errorf("%d wanted after the keep-alive, want 0", n)
		}
	})
}
