package scaler

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestAJobThatIsTakenAwayPausesTheServiceUntilItIsBack(t *testing.T) {
	for rule, take := range map[string]func(h *house){
		ruleStopped: func(h *house) { h.fleet.stopJob("stopped in Nomad at 12:03 UTC") },
		rulePurged:  func(h *house) { h.fleet.purge() },
	} {
		taken := func(t *testing.T, h *house) {
			h.ready(1)
			took := time.Now()
			take(h)
			within(t, time.Second, "paused", func() bool { return h.status().State == jobs.StatePaused })
			if gone := time.Since(took); gone > time.Second {
				t.Errorf("paused after %v", gone)
			}
			h.ledger.ask(2)
			pass(time.Minute)
			h.told(jobs.StatePaused, rule)
			st := h.status()
			if n := st.Replicas; n.Wanted+n.Pending+n.Starting+n.Ready != 0 || st.ETA != nil {
				t.Errorf("replicas %+v, ready in %v; want none, and none promised", n, st.ETA)
			}
			if h.notice(jobs.NoticeStopped) == "" {
				t.Error("no notice says so")
			}
			if list := h.ruled(rule); len(list) != 1 || list[0].From != 1 || list[0].To != 0 {
				t.Errorf("decisions %v, want one 1→0", list)
			}
			if n := len(h.ledger.slots()); n != 0 {
				t.Errorf("%d replicas are offered", n)
			}
			h.stop()
			h.start() // another process knows what this one knew
			pass(time.Minute)
			h.told(jobs.StatePaused, rule)
			if n := len(h.fleet.scaleCalls()); n != 1 {
				t.Errorf("%d scale calls, want only the first", n)
			}
			if n := h.fleet.placements(); n != 1 {
				t.Errorf("%d placements, want only the first", n)
			}
		}
		t.Run(rule+", and registered again", func(t *testing.T) {
			play(t, policy(oneKept), func(t *testing.T, h *house) {
				taken(t, h)
				h.fleet.register(2)
				within(t, 5*time.Second, "those who waited answered", func() bool { return h.ledger.waiting() == 0 })
				pass(20 * time.Second)
				if st := h.status(); st.State != jobs.StateReady || st.Replicas.Ready != 2 || st.Blocked != nil {
					t.Errorf("state %s, %d ready, blocked by %q; want the 2 that it was started with, for a while", st.State, st.Replicas.Ready, words(st.Blocked))
				}
				if h.notice(jobs.NoticeStopped) != "" {
					t.Error("the notice has outlived its cause")
				}
				if len(h.fleet.revived) != 0 {
					t.Error("revived though nobody resumed it")
				}
				pass(5 * time.Minute)
				if n := h.fleet.wants(); n != 1 {
					t.Errorf("%d wanted in the end, want min", n)
				}
			})
		})
		t.Run(rule+", and resumed", func(t *testing.T) {
			play(t, policy(oneKept), func(t *testing.T, h *house) {
				taken(t, h)
				h.fleet.set(func() { h.fleet.unrevive = errors.New("scheduler busy") })
				h.operate(jobs.Command{Verb: jobs.VerbResume, By: "ann", Reason: "model fixed"})
				pass(25 * time.Second)
				h.told(jobs.StatePaused, "scheduler busy")
				h.fleet.set(func() { h.fleet.unrevive = nil })
				within(t, 15*time.Second, "those who waited answered", func() bool { return h.ledger.waiting() == 0 })
				tries := len(h.fleet.revived)
				within(t, 5*time.Second, "ready", func() bool { return h.status().State == jobs.StateReady })
				if tries < 2 || tries > 5 || h.fleet.revived[0] != "resumed by ann: model fixed" {
					t.Errorf("revived %q; want a try each ten seconds, in the operator's words", h.fleet.revived)
				}
				h.stop()
				h.start()
				take(h)
				pass(30 * time.Second)
				if n := len(h.fleet.revived); n != tries {
					t.Error("revived by a resume of before it was taken away again")
				}
				h.told(jobs.StatePaused, rule)
			})
		})
		t.Run(rule+", and its policy deleted", func(t *testing.T) {
			play(t, policy(oneKept), func(t *testing.T, h *house) {
				taken(t, h)
				h.policies.remove("translate")
				within(t, 5*time.Second, "no status", func() bool { return h.status().Name == "" })
				if n := len(h.fleet.scaleCalls()); n != 1 {
					t.Errorf("%d scale calls, want only the first", n)
				}
			})
		})
	}
}

func TestOnlyAResumeSinceTheJobWasTakenAwayBringsItBackAndOnce(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.operate(jobs.Command{Verb: jobs.VerbResume})
		pass(time.Second)
		h.fleet.stopJob("stopped in Nomad at 12:03 UTC")
		pass(30 * time.Second)
		if n := len(h.fleet.revived); n != 0 {
			t.Errorf("revived %d times by a resume of before", n)
		}
		h.stop()
		h.operate(jobs.Command{Verb: jobs.VerbResume}) // while nobody leads
		h.operate(jobs.Command{Verb: jobs.VerbWake})
		h.fleet.set(func() { h.fleet.deaf = true }) // it shows late
		h.start()
		pass(30 * time.Second)
		if n := len(h.fleet.revived); n != 1 {
			t.Errorf("revived %d times by one resume, want once", n)
		}
	})
}

func TestAJobThatIsStartedAgainIsNotStoppedAtOnceThoughNobodyAsks(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.crash, h.fleet.words, h.fleet.load = 200*time.Millisecond, "no such file", time.Hour })
		h.ledger.ask(1)
		within(t, 2*time.Second, "blocked", func() bool { return h.status().State == jobs.StateBlocked })
		h.ledger.set(func() { h.ledger.held = nil })
		h.fleet.stopJob("stopped in Nomad at 12:03 UTC")
		pass(5 * time.Minute)
		h.fleet.set(func() { h.fleet.crash, h.fleet.load = 0, time.Second })
		h.fleet.register(2)
		h.ready(2)
		pass(50 * time.Second)
		if n := h.fleet.running(); n != 2 {
			t.Errorf("%d replicas, want the 2 it was started with for a keep-alive", n)
		}
		if list := h.ruled(ruleReturned); len(list) != 1 || list[0].From != 0 || list[0].To != 2 {
			t.Errorf("decisions %v, want one 0→2", list)
		}
		var kept memory
		text, err := h.history.Memory(t.Context(), "translate")
		if err != nil || json.Unmarshal(text, &kept) != nil || kept.Failures.InARow != 0 {
			t.Errorf("failures %+v (%v), want none of the job of before", kept.Failures, err)
		}
		within(t, 5*time.Minute, "to zero by the rules", func() bool { return h.fleet.running() == 0 })
	})
}

func TestAJobThatCameBackInAnotherClusterIsHeededThoughItCountsFromTheBeginning(t *testing.T) {
	play(t, policy(byHand("pin")), func(t *testing.T, h *house) {
		for n := range 5 {
			h.fleet.scaleByHand(n%2, "")
			pass(time.Second)
		}
		h.fleet.purge()
		pass(time.Second)
		h.fleet.set(func() { h.fleet.index = 0; delete(h.fleet.change, group) })
		h.operate(jobs.Command{Verb: jobs.VerbResume})
		within(t, 5*time.Second, "back", func() bool { return h.status().State == jobs.StateZero })
		h.fleet.scaleByHand(2, "")
		pass(time.Second)
		if st := h.status(); st.Pinned == nil || *st.Pinned != 2 {
			t.Errorf("pinned to %v, want 2", st.Pinned)
		}
	})
}
