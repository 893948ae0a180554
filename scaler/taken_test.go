package scaler

import (
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// second is a policy beside the first, of the job that the first had.
func second() *policies.Policy {
	return policy(func(p *policies.Policy) {
		p.Name, p.Job, p.Replicas.Min = "second", "translate", 1
		p.Route.PathPrefixes = []string{"/second"}
	})
}

// stateOf is how a service was last published.
func (h *house) stateOf(name string) jobs.Status {
	h.t.Helper()
	list, err := h.history.Statuses(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	for _, st := range list {
		if st.Name == name {
			return st
		}
	}
	return jobs.Status{}
}

func TestAJobThatChangesHandsIsEmptiedByOneServiceBeforeTheOtherBegins(t *testing.T) {
	const work = 30 * time.Second
	moved := func(h *house) {
		h.policies.put(policy(func(p *policies.Policy) { p.Job = "other" }))
		h.policies.put(second())
	}
	renamed := func(h *house) {
		h.policies.remove("translate")
		h.policies.put(second())
	}
	restarted := func(change func(h *house)) func(h *house) {
		return func(h *house) { h.stop(); change(h); h.start() }
	}
	for _, c := range []struct {
		name   string
		change func(h *house)
	}{
		{"moved", moved},
		{"renamed", renamed},
		{"moved while nobody led", restarted(moved)},
		{"renamed while nobody led", restarted(renamed)},
		{"moved, and the scaler restarted", func(h *house) { moved(h); pass(3 * time.Second); h.stop(); h.start() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, policy(nil), func(t *testing.T, h *house) {
				h.ledger.work = work
				h.ledger.ask(1)
				within(t, 5*time.Second, "in flight", func() bool { return h.ledger.waiting() == 0 })
				pass(2 * time.Second)
				c.change(h)
				pass(5 * time.Second)
				if st := h.stateOf("second"); st.State != jobs.StateBlocked || st.BlockedUntil != nil || !strings.Contains(words(st.Blocked), `still run by service "translate"`) {
					t.Errorf("the second is %s until %v, by %q; want it blocked with the name of the first", st.State, st.BlockedUntil, words(st.Blocked))
				}
				if n := len(h.fleet.scaleCalls()); n != 1 || len(h.ledger.slots()) > 1 {
					t.Errorf("scale calls to %v, slots %v; want nothing done while the first drains", h.fleet.counts(), h.ledger.slots())
				}
				within(t, work, "the replica of the second", func() bool {
					st := h.stateOf("second")
					return st.State == jobs.StateReady && len(st.Replicas.List) == 1 && st.Replicas.List[0].ID == "alloc-2"
				})
				if cut := h.ledger.inFlightCut(); len(cut) > 0 {
					t.Errorf("requests cut: %v", cut)
				}
				if got := h.fleet.counts(); len(got) != 3 || got[0] != 1 || got[1] != 0 || got[2] != 1 {
					t.Errorf("scale calls to %v, want up, down by the first, and up by the second", got)
				}
				if st := h.stateOf("second"); st.Blocked != nil {
					t.Errorf("blocked by %q although it runs", *st.Blocked)
				}
			})
		})
	}
}

func TestAServiceThatWaitsForAJobCanBeSentToAnother(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.ledger.work = time.Hour
		h.ledger.ask(1)
		within(t, 5*time.Second, "in flight", func() bool { return h.ledger.waiting() == 0 })
		h.policies.put(policy(func(p *policies.Policy) { p.Job = "other" }))
		h.policies.put(second())
		pass(3 * time.Second)
		p := second()
		p.Job = "third"
		h.policies.put(p)
		within(t, 5*time.Second, "a replica of the third job", func() bool { return h.fleet.runs("third") == 1 })
		h.policies.put(second()) // and back, to wait again
		within(t, 15*time.Second, "none of the third", func() bool { return h.fleet.runs("third") == 0 })
		h.policies.remove("second")
		within(t, 5*time.Second, "forgotten", func() bool { return h.stateOf("second").Name == "" })
		if n := h.fleet.runs("translate"); n != 1 {
			t.Errorf("%d replicas of the job that is being left, want the one with a request in flight", n)
		}
	})
}

// A scaler that is killed after a service has left its job, and before it could
// store that, leaves two services that both remember the job. Whoever has it by
// then keeps it, and the one that has left goes on to where it is meant to be.
func TestAServiceThatRemembersAJobWhichIsAnothersGoesOnWithoutIt(t *testing.T) {
	const stored = "pl:{translate}:scaler"
	play(t, policy(oneKept), func(t *testing.T, h *house) {
		h.ready(1)
		pass(3 * time.Second)
		before, err := h.redis.Get(stored)
		if err != nil {
			t.Fatal(err)
		}
		moved := policy(func(p *policies.Policy) { oneKept(p); p.Job = "other" })
		h.policies.put(moved)
		h.policies.put(second())
		within(t, 30*time.Second, "each with its new job", func() bool {
			return h.stateOf("translate").State == jobs.StateReady && h.stateOf("second").State == jobs.StateReady &&
				h.fleet.runs("other") == 1 && h.fleet.runs("translate") == 1
		})
		pass(3 * time.Second)
		h.stop()
		if err := h.redis.Set(stored, before); err != nil {
			t.Fatal(err)
		}
		h.redis.HDel("pl:statuses", "translate") // and begins when the other has its job again
		h.policies.remove("translate")
		calls := len(h.fleet.scaleCalls())
		h.start()
		within(t, 15*time.Second, "the second", func() bool { return len(h.ledger.slots()) > 0 })
		h.policies.put(moved)
		within(t, 20*time.Second, "the first back at its new job", func() bool {
			st := h.stateOf("translate")
			return st.State == jobs.StateReady && st.Blocked == nil
		})
		pass(10 * time.Second)
		if st := h.stateOf("second"); st.State != jobs.StateReady || len(h.fleet.scaleCalls()) != calls {
			t.Errorf("the second is %s, and scale calls since the restart were to %v; want nothing changed", st.State, h.fleet.counts()[calls:])
		}
		if a, b := h.fleet.runs("other"), h.fleet.runs("translate"); a != 1 || b != 1 {
			t.Errorf("%d and %d replicas, want one of each job", a, b)
		}
	})
}
