package scaler

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
	"github.com/pilotlight/pilotlight/scaler/lease"
)

func TestFailedStartsBrakeAndAreToldWithTheirLastWords(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() {
			h.fleet.crash, h.fleet.words = 200*time.Millisecond, "exit code 3: CUDA out of memory"
			h.fleet.load, h.fleet.reschedule = time.Hour, time.Second
		})
		h.ledger.ask(10)
		within(t, 2*time.Second, "blocked", func() bool { return h.status().State == jobs.StateBlocked })
		st := h.status()
		if st.Blocked == nil || *st.Blocked != "exit code 3: CUDA out of memory" {
			t.Errorf("blocked because %v, want the last words", st.Blocked)
		}
		if st.BlockedUntil == nil || time.Until(*st.BlockedUntil) < 25*time.Second {
			t.Errorf("blocked until %v, want about 30s from now", st.BlockedUntil)
		}
		launches := h.fleet.placements()
		pass(25 * time.Second)
		if n := h.fleet.placements(); n != launches {
			t.Errorf("%d launches during the pause: the fleet restarts what failed", n-launches)
		}
		if n := h.fleet.wants(); n != 0 {
			t.Errorf("the fleet is asked for %d during the pause, want 0", n)
		}
		pass(10 * time.Second)
		if n := h.fleet.placements(); n != launches+1 {
			t.Errorf("%d launches after the pause, want one try", n-launches)
		}
		pass(10 * time.Minute)
		if n := h.fleet.placements(); n > launches+5 {
			t.Errorf("%d launches in ten minutes: a restart storm", n-launches)
		}
		list, err := h.history.ColdStarts(t.Context(), "translate", 1)
		if err != nil || len(list) == 0 || list[0].Outcome != jobs.OutcomeFailed || list[0].Failure == "" {
			t.Errorf("cold starts %v, %v; want a failed one with its last words", list, err)
		}
	})
}

// TestTheOneStartAfterAPauseIsWaitedFor: a fleet answers a scale call before it places
// anything, and where nothing is free it places nothing. The start that it was asked for
// is none too many meanwhile.
func TestTheOneStartAfterAPauseIsWaitedFor(t *testing.T) {
	for name, later := range map[string]func(*fleet){
		"placed later": func(f *fleet) { f.lag = 300 * time.Millisecond },
		"not placed":   func(f *fleet) { f.full = "no free GPU" },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, policy(nil), func(t *testing.T, h *house) {
				h.fleet.set(func() { h.fleet.crash, h.fleet.words = 200*time.Millisecond, "flaky" })
				h.ledger.ask(10)
				within(t, 2*time.Second, "blocked", func() bool { return h.status().State == jobs.StateBlocked })
				pass(2 * time.Second)
				before, launches := len(h.fleet.counts()), h.fleet.placements()
				h.fleet.set(func() { h.fleet.crash, h.fleet.slow = 0, 10*time.Millisecond; later(h.fleet) })
				pass(29 * time.Second)
				if counts := h.fleet.counts()[before:]; len(counts) != 1 || counts[0] != 1 {
					t.Errorf("scale calls to %v after the pause, want one to 1", counts)
				}
				if n := h.fleet.placements() - launches; n > 1 {
					t.Errorf("%d launches after the pause, want one", n)
				}
			})
		})
	}
}

func TestBrakeOutlivesARestartOfTheScaler(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.crash, h.fleet.words, h.fleet.load = 200*time.Millisecond, "no such file", time.Hour })
		h.ledger.ask(1)
		within(t, 2*time.Second, "blocked", func() bool { return h.status().State == jobs.StateBlocked })
		pass(2 * time.Second)
		launches := h.fleet.placements()
		h.stop()
		h.start()
		pass(15 * time.Second)
		if n := h.fleet.placements(); n != launches {
			t.Errorf("%d launches by the new scaler within the pause", n-launches)
		}
		if st := h.status(); st.State != jobs.StateBlocked {
			t.Errorf("state %s, want still blocked", st.State)
		}
	})
}

func TestReplicaThatIsNeverReadyFailsAfterProbeMax(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.load = time.Hour })
		h.ledger.ask(1)
		pass(55 * time.Second)
		if st := h.status(); st.State != jobs.StateWaking {
			t.Errorf("state %s before probe.max, want waking", st.State)
		}
		within(t, 10*time.Second, "blocked", func() bool { return h.status().State == jobs.StateBlocked })
		if why := *h.status().Blocked; why != "not ready within 1m0s: connection refused" {
			t.Errorf("blocked because %q", why)
		}
		within(t, time.Second, "stopped", func() bool { return h.fleet.running() == 0 })
	})
}

func TestAnsweredStartReleasesTheBrake(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.crash, h.fleet.words = 200*time.Millisecond, "flaky" })
		h.ledger.ask(1)
		within(t, 2*time.Second, "blocked", func() bool { return h.status().State == jobs.StateBlocked })
		h.fleet.set(func() { h.fleet.crash = 0 })
		within(t, 40*time.Second, "answered", func() bool { return h.ledger.waiting() == 0 })
		pass(4 * time.Second) // the answer is read, then remembered, each within a second or two
		st := h.status()
		if st.State != jobs.StateReady || st.Blocked != nil || st.BlockedUntil != nil {
			t.Errorf("state %s, blocked %v; want ready and no brake", st.State, st.Blocked)
		}
		var kept memory
		text, err := h.history.Memory(t.Context(), "translate")
		if err != nil || json.Unmarshal(text, &kept) != nil {
			t.Fatalf("memory %q, %v", text, err)
		}
		if kept.Failures.InARow != 0 {
			t.Errorf("%d failures in a row are remembered, want 0", kept.Failures.InARow)
		}
	})
}

func TestDeadReplicaIsReplacedAndNotCountedAsAFailedStart(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.reschedule = 500 * time.Millisecond })
		h.ledger.ask(1)
		within(t, 5*time.Second, "answered", func() bool { return h.ledger.waiting() == 0 })
		pass(time.Second)
		h.fleet.kill("alloc-1", "killed by signal 9")
		within(t, 100*time.Millisecond, "its slots withdrawn", func() bool { return len(h.ledger.slots()) == 0 })
		within(t, 5*time.Second, "a replacement ready", func() bool { return h.ledger.slots()["alloc-2"] == 2 })
		pass(2 * time.Second)
		if st := h.status(); st.State != jobs.StateReady || st.Blocked != nil {
			t.Errorf("state %s, blocked %v; want ready", st.State, st.Blocked)
		}
	})
}

func TestReplicaThatStopsAnsweringLosesItsSlotsAndGetsThemBack(t *testing.T) {
	p := policy(nil)
	p.Replicas.Min = 1
	play(t, p, func(t *testing.T, h *house) {
		within(t, 5*time.Second, "ready", func() bool { return h.ledger.slots()["alloc-1"] == 2 })
		h.fleet.set(func() { h.fleet.dead["alloc-1"] = true })
		within(t, 3*time.Second, "no slots", func() bool { return h.ledger.slots()["alloc-1"] == 0 })
		pass(time.Second)
		if st := h.status(); st.Replicas.Starting != 1 {
			t.Errorf("%d starting, want 1", st.Replicas.Starting)
		}
		h.fleet.set(func() { h.fleet.dead["alloc-1"] = false })
		within(t, time.Second, "slots again", func() bool { return h.ledger.slots()["alloc-1"] == 2 })
	})
}

func TestProcessRestartedInPlaceIsProbedAnew(t *testing.T) {
	p := policy(nil)
	p.Replicas.Min = 1
	play(t, p, func(t *testing.T, h *house) {
		within(t, 5*time.Second, "ready", func() bool { return h.ledger.slots()["alloc-1"] == 2 })
		h.fleet.set(func() { h.fleet.dead["alloc-1"] = true })
		h.fleet.alter("alloc-1", func(a *jobs.Allocation) { a.Restarts++; a.Client = jobs.ClientPending })
		within(t, 50*time.Millisecond, "no slots", func() bool { return h.ledger.slots()["alloc-1"] == 0 })
	})
}

func TestUnknownDemandNeverLowers(t *testing.T) {
	p := policy(nil)
	p.ToZero.After = 20 * time.Second
	play(t, p, func(t *testing.T, h *house) {
		h.ledger.ask(1)
		within(t, 5*time.Second, "answered", func() bool { return h.ledger.waiting() == 0 })
		pass(time.Second)
		h.ledger.set(func() { h.ledger.down = true })
		pass(2 * time.Minute)
		if n := h.fleet.running(); n != 1 {
			t.Errorf("%d replicas while demand is unknown, want 1", n)
		}
		h.ledger.set(func() { h.ledger.down = false })
		within(t, 5*time.Second, "no replica", func() bool { return h.fleet.running() == 0 })
	})
}

func TestDrainDoesNotEndWhileTheLedgerIsUnknown(t *testing.T) {
	p := policy(nil)
	p.ScaleDown.DrainTimeout = 10 * time.Second
	play(t, p, func(t *testing.T, h *house) {
		h.ledger.work = 30 * time.Second
		h.ledger.ask(1)
		within(t, 5*time.Second, "in flight", func() bool { return h.ledger.waiting() == 0 })
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 0})
		pass(2 * time.Second)
		h.ledger.set(func() { h.ledger.down = true })
		pass(20 * time.Second)
		if n := h.fleet.running(); n != 1 {
			t.Errorf("%d replicas, want the draining one still there", n)
		}
	})
}

func TestLostAnswerOfAScaleCallLaunchesNothingTwice(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.lost = 3 })
		h.ledger.ask(1)
		pass(10 * time.Second)
		if n := h.fleet.placements(); n != 1 {
			t.Errorf("%d launches, want 1", n)
		}
		if n := len(h.fleet.scaleCalls()); n != 1 {
			t.Errorf("%d scale calls although the fleet showed the new count, want 1", n)
		}
	})
}

func TestRefusedScaleCallIsTriedAgain(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.refuse = 2 })
		h.ledger.ask(1)
		within(t, 2*time.Second, "a launch", func() bool { return h.fleet.placements() == 1 })
		if diff := cmp.Diff([]int{1, 1, 1}, h.fleet.counts()); diff != "" {
			t.Errorf("scale calls (-want +got):\n%s", diff)
		}
	})
}

func TestFullFleetIsToldAndNotAskedForMore(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		full := "no free GPU: 2 nodes, 0 of 4 nvidia/gpu free"
		h.fleet.set(func() { h.fleet.full = full })
		h.ledger.ask(1)
		pass(30 * time.Second)
		st := h.status()
		if st.State != jobs.StateBlocked || st.Blocked == nil || *st.Blocked != full || st.BlockedUntil != nil {
			t.Errorf("state %s, blocked %v until %v; want blocked by the fleet", st.State, st.Blocked, st.BlockedUntil)
		}
		if st.Replicas.Pending != 1 {
			t.Errorf("%d pending, want the one that is not placed", st.Replicas.Pending)
		}
		if diff := cmp.Diff([]int{1}, h.fleet.counts()); diff != "" {
			t.Errorf("scale calls (-want +got):\n%s", diff)
		}
	})
}

func TestRestartedScalerAdoptsWhatRuns(t *testing.T) {
	p := policy(nil)
	p.Replicas.Max = 1
	play(t, p, func(t *testing.T, h *house) {
		h.ledger.work = 30 * time.Second
		h.ledger.ask(2)
		within(t, 5*time.Second, "in flight", func() bool { return h.ledger.waiting() == 0 })
		pass(time.Second)
		h.stop()
		before := len(h.ledger.tellings())
		h.start()
		pass(5 * time.Second)
		h.ledger.set(func() {
			for _, told := range h.ledger.told[before:] {
				if len(told.offers) != 1 || told.offers[0].Slots != 2 {
					t.Errorf("offered %v on adoption, want alloc-1 with its slots", told.offers)
				}
			}
		})
		if diff := cmp.Diff([]int{1}, h.fleet.counts()); diff != "" {
			t.Errorf("scale calls (-want +got):\n%s", diff)
		}
		if st := h.status(); st.State != jobs.StateReady {
			t.Errorf("state %s, want ready", st.State)
		}
		within(t, 3*time.Minute, "no replica in the end", func() bool { return h.fleet.running() == 0 })
		if list, err := h.history.ColdStarts(t.Context(), "translate", 10); err != nil || len(list) != 1 || list[0].Outcome != jobs.OutcomeAnswered {
			t.Errorf("cold starts %v, %v; want the one that the first scaler began", list, err)
		}
	})
}

func TestAFleetThatIsEmptyAfterARestartStaysEmptyUntilSomebodyAsks(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.ledger.ask(2)
		within(t, 5*time.Second, "answered", func() bool { return h.ledger.waiting() == 0 })
		pass(3 * time.Second) // well within the keep-alive
		h.stop()
		h.fleet.vanish() // as child processes do with their owner
		calls := len(h.fleet.counts())
		h.start()
		pass(10 * time.Second)
		if more := h.fleet.counts()[calls:]; len(more) != 0 {
			t.Errorf("scale calls %v although nobody asks", more)
		}
		h.ledger.ask(1)
		within(t, 5*time.Second, "answered again", func() bool { return h.ledger.waiting() == 0 })
		pass(2 * time.Second)
		h.everyChangeIsTold()
		if told := h.ruled(ruleEnded); len(told) != 1 {
			t.Errorf("%d decisions say that what ran has ended, want 1", len(told))
		}
	})
}

// terms is a Lease whose terms a test gives and takes.
type terms struct {
	give  chan context.Context
	other chan struct{} // somebody else is seen to lead; nil: never
}

func (l *terms) Run(ctx context.Context, lead func(context.Context, int64) error, other func()) error {
	for epoch := int64(1); ; epoch++ {
		select {
		case <-ctx.Done():
			return nil
		case <-l.other:
			other()
		case term := <-l.give:
			if err := lead(term, epoch); err != nil {
				return err
			}
		}
	}
}

func TestScalerWithoutALeaseTouchesNothingAndGoesOnWithTheNext(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.stop()
		l := &terms{give: make(chan context.Context)}
		h.lease = l
		h.start()
		h.ledger.ask(1)
		pass(5 * time.Second)
		if n := len(h.fleet.scaleCalls()); n != 0 {
			t.Fatalf("%d scale calls by a standby", n)
		}
		term, end := context.WithCancelCause(t.Context())
		l.give <- term
		within(t, 5*time.Second, "ready", func() bool { return h.ledger.slots()["alloc-1"] == 2 })
		end(lease.ErrExpired)
		pass(3 * time.Second)
		h.ledger.ask(50)
		offers := len(h.ledger.tellings())
		pass(3 * time.Second)
		if n := len(h.fleet.scaleCalls()); n != 1 {
			t.Errorf("%d scale calls after the term, want the first only", n)
		}
		if n := len(h.ledger.tellings()); n != offers {
			t.Error("told the ledger after the term")
		}
		again, end := context.WithCancelCause(t.Context())
		l.give <- again
		within(t, 2*time.Second, "more replicas", func() bool { return h.fleet.placements() > 1 })
		end(nil)
	})
}

func TestRedisGoneForTenSecondsChangesNothing(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.stop()
		h.lease = lease.New(h.client, "scaler", slog.New(slog.NewTextHandler(h.log, nil)))
		h.start()
		h.ledger.ask(1)
		within(t, 5*time.Second, "answered", func() bool { return h.ledger.waiting() == 0 })
		pass(2 * time.Second)

		h.redis.SetError("LOADING Redis is loading the dataset in memory")
		h.ledger.set(func() { h.ledger.down = true })
		pass(5 * time.Second)
		// A replica that dies now is seen, by its probe, although nobody can be told.
		h.fleet.set(func() { h.fleet.dead["alloc-1"] = true })
		pass(5 * time.Second)
		before := len(h.ledger.tellings())
		h.redis.SetError("")
		h.ledger.set(func() { h.ledger.down = false })
		within(t, 3*time.Second, "the ledger told", func() bool { return len(h.ledger.tellings()) > before })
		if slots, ok := h.ledger.slots()["alloc-1"]; !ok || slots != 0 {
			t.Errorf("offered %v, want alloc-1 without slots: it did not answer while Redis was gone", h.ledger.slots())
		}
		h.fleet.set(func() { h.fleet.dead["alloc-1"] = false })
		within(t, 2*time.Second, "slots again", func() bool { return h.ledger.slots()["alloc-1"] == 2 })
		if diff := cmp.Diff([]int{1}, h.fleet.counts()); diff != "" {
			t.Errorf("scale calls (-want +got):\n%s", diff)
		}
		within(t, 2*time.Minute, "no replica in the end", func() bool { return h.fleet.running() == 0 })
	})
}

func TestAReplicaWhoseStopWasRefusedServesAgainBesideOneThatEnded(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 2})
		within(t, 5*time.Second, "two ready", func() bool { return len(h.ledger.slots()) == 2 })
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 1})
		within(t, 5*time.Second, "one left", func() bool { return h.fleet.running() == 1 })
		h.fleet.set(func() { h.fleet.refuse = 1000 })
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 0})
		within(t, 30*time.Second, "refused", func() bool { return len(h.fleet.counts()) > 4 })
		h.operate(jobs.Command{Verb: jobs.VerbUnpin})
		h.ledger.ask(1)
		within(t, 5*time.Second, "the answer", func() bool { return h.ledger.waiting() == 0 })
		h.fleet.set(func() { h.fleet.refuse = 0 })
		pass(10 * time.Second)
		if n := h.fleet.placements(); n != 2 {
			t.Errorf("%d launches, want only the two of the pin", n)
		}
	})
}

func TestARefusedScaleCallIsToldOnlyWhileItIsOwed(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 1})
		within(t, 5*time.Second, "ready", func() bool { return len(h.ledger.slots()) == 1 })
		h.fleet.set(func() { h.fleet.refuse = 1000 })
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 3})
		pass(10 * time.Second)
		if st := h.status(); st.Blocked == nil || *st.Blocked != "no leader" {
			t.Errorf("blocked %v while the call is owed, want the refusal", st.Blocked)
		}
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 1})
		pass(5 * time.Second)
		if st := h.status(); st.State != jobs.StateReady || st.Blocked != nil {
			t.Errorf("state %s, blocked by %q; want ready and nothing owed", st.State, *st.Blocked)
		}
	})
}

func TestANodesWrongClockNeitherFailsAStartNorSparesOne(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"an hour ahead": time.Hour, "an hour behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			play(t, policy(nil), func(t *testing.T, h *house) {
				h.fleet.set(func() { h.fleet.load, h.fleet.skew = time.Hour, wrong })
				h.ledger.ask(1)
				pass(55 * time.Second)
				if st := h.status(); st.State != jobs.StateWaking {
					t.Errorf("state %s before probe.max, want waking", st.State)
				}
				within(t, 10*time.Second, "given up after probe.max", func() bool { return h.status().State == jobs.StateBlocked })
				var kept memory
				text, err := h.history.Memory(t.Context(), "translate")
				if err != nil || json.Unmarshal(text, &kept) != nil {
					t.Fatalf("memory %q, %v", text, err)
				}
				if len(kept.Spells) != 1 || kept.Spells[0].Seconds < 55 || kept.Spells[0].Seconds > 65 {
					t.Errorf("failed GPU time %v, want a minute", kept.Spells)
				}
			})
		})
	}
}

func TestAClockThatIsSetBackDoesNotProlongThePauseAfterAFailure(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	ahead := now.Add(time.Hour) // when the start failed, by the clock of then
	s := &service{failures: decide.Failures{InARow: 1, Last: ahead}, spells: []spell{{At: ahead, Seconds: 10}}}
	p := policy(nil)
	snap := decide.Snapshot{Known: true, Held: 1, OldestHold: now}
	mem := decide.Memory{}
	for _, step := range []struct {
		after  time.Duration
		braked bool
	}{{0, true}, {20 * time.Second, true}, {31 * time.Second, false}} {
		at := now.Add(step.after)
		snap.Failures = s.recentFailures(at)
		var d decide.Decision
		d, mem = decide.Decide(at, p, 1, snap, mem)
		if braked := d.BrakeUntil.After(at); braked != step.braked {
			t.Errorf("%v after the clock was set back: next start at %v, braked %v, want %v", step.after, d.BrakeUntil, braked, step.braked)
		}
	}
	if f := s.recentFailures(now.Add(61 * time.Minute)); f.Seconds != 0 {
		t.Errorf("%v GPU-seconds of failed starts within the hour, want none", f.Seconds)
	}
}
