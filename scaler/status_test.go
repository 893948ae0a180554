package scaler

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestWhoeverReadsAColdStartFindsAStatusThatKnowsOfIt(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.load = 10 * time.Millisecond })
		h.ledger.set(func() { h.ledger.work = 10 * time.Millisecond })
		h.ledger.ask(1)
		for range 50 { // whenever it is told, a status has just been written
			pass(10 * time.Millisecond)
			h.policies.put(policy(nil))
		}
		all := h.written.since(time.Time{})
		i := slices.IndexFunc(all, func(e writing) bool { return len(e.ColdStarts) > 0 })
		if i < 0 {
			t.Fatal("no cold start was written")
		}
		e := all[i]
		if e.Status == nil {
			t.Fatal("a cold start was written without the status")
		}
		if e.Status.State != jobs.StateReady || e.Status.Replicas.Wanted != 1 || e.Status.Cold.Count != 1 {
			t.Errorf("the status says %s, %d wanted, %d cold starts; want ready, 1, 1",
				e.Status.State, e.Status.Replicas.Wanted, e.Status.Cold.Count)
		}
	})
}

func TestAWakeIsUnderWayBeforeAnythingIsPublishedAboutIt(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		pass(time.Minute) // at rest the status is seldom written: one is due at any event
		h.ledger.set(func() { h.ledger.slow = 2 * time.Millisecond })
		asked := time.Now()
		h.ledger.ask(1)
		pass(time.Second)
		calls, entries := h.fleet.scaleCalls(), h.written.since(asked)
		if len(calls) != 1 || len(entries) == 0 {
			t.Fatalf("%d scale calls, %d publications; want 1 and some", len(calls), len(entries))
		}
		if took := calls[0].at.Sub(asked); took != 2*time.Millisecond {
			t.Errorf("the scale call came after %v, want the 2ms that reading the demand takes", took)
		}
		if gap := entries[0].at.Sub(calls[0].at); gap < wayAhead || gap > 2*wayAhead {
			t.Errorf("published %v after the scale call, want %v", gap, wayAhead)
		}
	})
}

func TestASlowLedgerDoesNotKeepTheStatusFromBeingPublished(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.ledger.ask(1)
		within(t, 5*time.Second, "the answer", func() bool { return h.ledger.waiting() == 0 })
		h.ledger.set(func() { h.ledger.slow = time.Hour })
		pass(10 * time.Second)
		if age := time.Since(h.status().At); age > 2*time.Second {
			t.Errorf("the status is %v old, want at most 2s", age)
		}
	})
}

func TestAnOrderlyStopLosesNoColdStart(t *testing.T) {
	for _, after := range []time.Duration{10 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond, 600 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			play(t, policy(nil), func(t *testing.T, h *house) {
				h.ledger.ask(1)
				within(t, 5*time.Second, "the answer", func() bool {
					h.ledger.mu.Lock()
					defer h.ledger.mu.Unlock()
					return len(h.ledger.answered) > 0
				})
				h.fleet.alter("alloc-1", func(a *jobs.Allocation) { a.Started = time.Time{} }) // it is told late
				pass(after)
				h.stop()
				list, err := h.history.ColdStarts(t.Context(), "translate", 10)
				if err != nil || len(list) != 1 || list[0].Outcome != jobs.OutcomeAnswered {
					t.Errorf("cold starts %v (%v), want the one that was answered", list, err)
				}
				if st := h.status(); st.State != jobs.StateReady || st.Cold.Count != 1 || st.Blocked != nil {
					t.Errorf("state %s, %d cold starts, blocked %v; want ready, 1", st.State, st.Cold.Count, st.Blocked)
				}
				h.start()
				pass(5 * time.Second)
				if st := h.status(); st.Cold.Count != 1 {
					t.Errorf("%d cold starts after the restart, want 1", st.Cold.Count)
				}
			})
		})
	}
}

func TestWhatWasDecidedOrLearnedIsRememberedInTheSameWriting(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.crash, h.fleet.words, h.fleet.load = 200*time.Millisecond, "no such file", time.Hour })
		h.ledger.ask(1)
		pass(5 * time.Second)
		h.fleet.set(func() { h.fleet.crash, h.fleet.load = 0, time.Second })
		h.operate(jobs.Command{Verb: jobs.VerbWake})
		pass(5 * time.Second)
		told := 0
		for _, e := range h.written.since(time.Time{}) {
			if n := len(e.Decisions) + len(e.ColdStarts); n > 0 {
				told += n
				if e.Status == nil || e.Memory == nil {
					t.Errorf("written with decisions %v and cold starts %v: status %v, memory of %d bytes; want both",
						e.Decisions, e.ColdStarts, e.Status != nil, len(e.Memory))
				}
			}
		}
		if told < 4 {
			t.Errorf("%d decisions and cold starts, want some more", told)
		}
	})
}

func TestPinToZeroIsToldAsPausedWithItsReasonOnceNothingIsReady(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 0, Reason: "GPU repair", By: "ann"})
		told := func() {
			t.Helper()
			within(t, time.Second, "paused", func() bool { return h.status().State == jobs.StatePaused })
			if st := h.status(); st.Blocked == nil || *st.Blocked != "pinned to 0 by ann: GPU repair" {
				t.Errorf("blocked by %v, want who pinned it and why", st.Blocked)
			}
		}
		told()
		h.ledger.ask(1)
		pass(5 * time.Second)
		told()
		h.operate(jobs.Command{Verb: jobs.VerbUnpin})
		within(t, 5*time.Second, "ready", func() bool { return h.status().State == jobs.StateReady })
		if st := h.status(); st.Blocked != nil {
			t.Errorf("blocked by %q after the unpin", *st.Blocked)
		}
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 0, Reason: "GPU repair", By: "ann"})
		within(t, 5*time.Second, "no replica", func() bool { return h.fleet.running() == 0 })
		told()
		h.operate(jobs.Command{Verb: jobs.VerbUnpin})
		h.operate(jobs.Command{Verb: jobs.VerbSleep})
		pass(time.Second)
		if st := h.status(); st.State != jobs.StateZero {
			t.Errorf("state %s asleep, want zero: the next request wakes it", st.State)
		}
	})
}

func TestAServiceThatCannotRunSaysUntilWhenAtEveryMoment(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.stop()
		h.redis.FlushAll()
		h.fleet.set(func() {
			clear(h.fleet.count)
			h.fleet.broken["translate"] = errors.New("driver docker is not to be had here")
		})
		h.start()
		began := time.Now()
		for time.Since(began) < 2*time.Minute {
			pass(70 * time.Millisecond)
			st := h.status()
			if st.State != jobs.StateBlocked || st.Blocked == nil || st.BlockedUntil == nil {
				t.Fatalf("state %s, blocked by %v until %v; want blocked until the next try", st.State, st.Blocked, st.BlockedUntil)
			}
			// A try ends in no time here; what was read may be from just before.
			if late := time.Since(*st.BlockedUntil); late > wayAhead {
				t.Fatalf("%v in, blocked until %v ago", time.Since(began), late)
			}
		}
		if n := h.fleet.ensures; n < 10 || n > 40 {
			t.Errorf("%d tries in two minutes, want one each few seconds", n)
		}
		h.fleet.set(func() { clear(h.fleet.broken) })
		within(t, 15*time.Second, "able to run", func() bool { return h.status().State == jobs.StateZero })
		if st := h.status(); st.Blocked != nil || st.BlockedUntil != nil {
			t.Errorf("blocked by %v until %v, want neither", st.Blocked, st.BlockedUntil)
		}
	})
}
