package scaler

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

func TestACountSetByHandIsPinnedForAWhile(t *testing.T) {
	play(t, policy(func(p *policies.Policy) { oneKept(p); byHand("pin")(p) }), func(t *testing.T, h *house) {
		h.ready(1)
		began := time.Now()
		h.fleet.scaleByHand(5, "load test of ann") // more than max
		pass(time.Second)
		st := h.status()
		if st.Pinned == nil || *st.Pinned != 5 || st.PinnedUntil == nil || st.PinnedUntil.Sub(began).Round(time.Second) != time.Hour {
			t.Errorf("pinned to %v until %v, want 5 for an hour", st.Pinned, st.PinnedUntil)
		}
		if text := h.notice(jobs.NoticeChangedByHand); !strings.Contains(text, "load test of ann") {
			t.Errorf("notice %q, want who did it", text)
		}
		if list := h.ruled(ruleByHand); len(list) != 1 || list[0].From != 1 || list[0].To != 5 {
			t.Errorf("decisions %v, want one 1→5", list)
		}
		pass(30 * time.Minute)
		h.stop()
		h.start()
		pass(29 * time.Minute)
		if diff := cmp.Diff([]int{1}, h.fleet.counts()); diff != "" {
			t.Errorf("scale calls within the hour (-want +got):\n%s", diff)
		}
		within(t, 5*time.Minute, "the rules again", func() bool { return h.fleet.wants() == 1 })
		if took := time.Since(began); took < time.Hour {
			t.Errorf("set back after %v", took)
		}
		pass(time.Second)
		if st := h.status(); st.Pinned != nil || st.PinnedUntil != nil || h.notice(jobs.NoticeChangedByHand) != "" {
			t.Errorf("still shown as pinned to %v: %v", st.Pinned, st.Notices)
		}
	})
}

func TestNothingIsDoneBetweenSeeingAChangeAndDecidingOnIt(t *testing.T) {
	t.Run("while the demand is read slowly", func(t *testing.T) {
		play(t, policy(func(p *policies.Policy) { oneKept(p); byHand("pin")(p) }), func(t *testing.T, h *house) {
			h.ready(1)
			h.ledger.set(func() { h.ledger.slow = 2 * time.Second })
			pass(10 * time.Second)
			h.fleet.scaleByHand(3, "")
			pass(10 * time.Second)
			if diff := cmp.Diff([]int{1}, h.fleet.counts()); diff != "" {
				t.Errorf("scale calls (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("right after a scale call", func(t *testing.T) {
		play(t, policy(byHand("pin")), func(t *testing.T, h *house) {
			h.ledger.ask(1)
			pass(100 * time.Millisecond)
			h.fleet.scaleByHand(3, "")
			pass(10 * time.Second)
			if diff := cmp.Diff([]int{1}, h.fleet.counts()); diff != "" {
				t.Errorf("scale calls (-want +got):\n%s", diff)
			}
		})
	})
}

func TestUnpinEndsACountSetByHandForGood(t *testing.T) {
	play(t, policy(byHand("pin")), func(t *testing.T, h *house) {
		h.fleet.scaleByHand(2, "")
		h.ready(2)
		pass(5 * time.Minute)
		if n := h.fleet.running(); n != 2 {
			t.Fatalf("%d replicas, want the 2 that somebody set", n)
		}
		h.stop()
		h.operate(jobs.Command{Verb: jobs.VerbUnpin}) // while nobody leads
		h.operate(jobs.Command{Verb: jobs.VerbWake})
		h.start()
		within(t, 2*time.Minute, "to zero by the rules", func() bool { return h.fleet.running() == 0 })
		h.stop()
		h.start()
		pass(time.Minute)
		if st := h.status(); st.Pinned != nil || h.fleet.running() != 0 {
			t.Error("pinned again by the same change")
		}
	})
}

func TestACountSetToZeroByHandTellsThoseWhoWait(t *testing.T) {
	play(t, policy(byHand("pin")), func(t *testing.T, h *house) {
		h.ledger.ask(1)
		h.ready(1)
		h.fleet.scaleByHand(0, "GPUs are needed elsewhere")
		pass(time.Second)
		h.ledger.ask(1)
		pass(5 * time.Second)
		h.told(jobs.StatePaused, "GPUs are needed elsewhere")
		if diff := cmp.Diff([]int{1}, h.fleet.counts()); diff != "" {
			t.Errorf("scale calls (-want +got):\n%s", diff)
		}
	})
}

func TestACountSetByHandIsAdopted(t *testing.T) {
	play(t, policy(byHand("adopt")), func(t *testing.T, h *house) {
		pass(10 * time.Minute)
		began := time.Now()
		h.fleet.scaleByHand(2, "")
		h.ready(2)
		if list := h.ruled(ruleByHand); len(list) != 1 || list[0].From != 0 || list[0].To != 2 {
			t.Errorf("decisions %v, want one 0→2", list)
		}
		if st := h.status(); st.Pinned != nil || st.Replicas.Wanted != 2 {
			t.Errorf("pinned %v, %d wanted; want 2 without a pin", st.Pinned, st.Replicas.Wanted)
		}
		within(t, 2*time.Minute, "to zero by the rules", func() bool { return h.fleet.running() == 0 })
		if took := time.Since(began); took < 59*time.Second {
			t.Errorf("set back after %v, want a keep-alive of 1m", took)
		}
	})
}

func TestACountSetByHandIsRestored(t *testing.T) {
	play(t, policy(func(p *policies.Policy) { oneKept(p); byHand("restore")(p) }), func(t *testing.T, h *house) {
		h.ready(1)
		h.fleet.scaleByHand(3, "")
		within(t, 5*time.Second, "set back", func() bool { return h.fleet.wants() == 1 })
		pass(time.Second)
		if list := h.ruled(ruleByHand); len(list) != 1 || !strings.Contains(list[0].Reason, "set back to 1") {
			t.Errorf("decisions %v, want one that says it was set back", list)
		}
		if h.notice(jobs.NoticeChangedByHand) == "" {
			t.Error("not shown")
		}
		pass(passes)
		if h.notice(jobs.NoticeChangedByHand) != "" {
			t.Error("shown for ever")
		}
	})
}

func TestAPausedServiceLeavesACountSetByHandAlone(t *testing.T) {
	play(t, policy(byHand("restore")), func(t *testing.T, h *house) {
		h.operate(jobs.Command{Verb: jobs.VerbPause})
		pass(time.Second)
		h.fleet.scaleByHand(2, "")
		pass(time.Minute)
		if n := len(h.fleet.scaleCalls()); n != 0 {
			t.Errorf("%d scale calls while paused", n)
		}
		if n := h.status().Replicas.Wanted; n != 2 {
			t.Errorf("%d wanted, want the 2 that somebody set", n)
		}
	})
}

func TestWhatOthersDidIsHeededOnceAndNotBeforeTheServiceWasMet(t *testing.T) {
	play(t, policy(byHand("pin")), func(t *testing.T, h *house) {
		h.stop()
		h.redis.FlushAll()
		h.fleet.scaleByHand(1, "long ago")
		h.start()
		pass(10 * time.Second)
		if st := h.status(); st.Pinned != nil {
			t.Error("pinned by a change from before the service was met")
		}
		h.stop()
		h.fleet.scaleByHand(2, "while nobody led")
		h.start()
		pass(2 * time.Second)
		if st := h.status(); st.Pinned == nil || *st.Pinned != 2 {
			t.Errorf("pinned to %v, want 2", st.Pinned)
		}
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 3})
		within(t, 5*time.Second, "an operator's word after it", func() bool { return h.fleet.wants() == 3 })
		h.stop()
		h.start()
		pass(10 * time.Second)
		if n := len(h.ruled(ruleByHand)); n != 1 || h.fleet.wants() != 3 {
			t.Errorf("heeded %d times, %d wanted; want once, and 3", n, h.fleet.wants())
		}
	})
}

func TestADeployIsToldAndItsCountRestored(t *testing.T) {
	play(t, policy(func(p *policies.Policy) { p.Replicas.Min = 3 }), func(t *testing.T, h *house) {
		h.ledger.work = 20 * time.Millisecond
		h.ready(3)
		offers := len(h.ledger.tellings())
		at := time.Now()
		h.fleet.register(1)
		within(t, 100*time.Millisecond, "slots withdrawn from all that stop", func() bool {
			return len(h.ledger.tellings()) > offers && h.ledger.slots()["alloc-1"]+h.ledger.slots()["alloc-2"]+h.ledger.slots()["alloc-3"] == 0
		})
		within(t, time.Second, "the count restored", func() bool { return h.fleet.wants() == 3 })
		pass(time.Second)
		want := "job registered again at " + at.UTC().Format("15:04:05") + ": count 3 → 1, all replicas replaced (3); 3 are wanted and asked for again"
		if got := h.notice(jobs.NoticeDeployed); got != want {
			t.Errorf("notice %q, want %q", got, want)
		}
		if list := h.ruled(ruleDeployed); len(list) != 1 || list[0].Reason != want {
			t.Errorf("decisions %v, want one that says so", list)
		}
		h.ready(3)
		if st := h.status(); st.Blocked != nil {
			t.Errorf("blocked by %q: what a deploy stops has not failed", *st.Blocked)
		}
	})
}

func TestADeployThatIsSeenAfterTheReplicasItBroughtCountsOnlyThoseItFound(t *testing.T) {
	play(t, policy(func(p *policies.Policy) { p.Replicas.Min = 2 }), func(t *testing.T, h *house) {
		h.ready(2)
		h.fleet.register(2)
		var c *jobs.Change
		h.fleet.set(func() { c = h.fleet.change[group]; delete(h.fleet.change, group) })
		pass(20 * time.Millisecond) // who made the new version takes a question to find out
		h.fleet.set(func() { h.fleet.change[group] = c })
		h.fleet.tellAll()
		pass(time.Second)
		if got, want := h.notice(jobs.NoticeDeployed), "count still 2, all replicas replaced (2)"; !strings.HasSuffix(got, want) {
			t.Errorf("notice %q, want …%q", got, want)
		}
	})
}

func TestADeployReleasesTheBrakeAndAPinOutlivesIt(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.crash, h.fleet.words, h.fleet.load = 200*time.Millisecond, "no such file", time.Hour })
		h.ledger.ask(1)
		within(t, 2*time.Second, "blocked", func() bool { return h.status().State == jobs.StateBlocked })
		h.fleet.set(func() { h.fleet.crash, h.fleet.load = 0, time.Second })
		h.fleet.register(0)
		within(t, 5*time.Second, "the new version tried at once", func() bool { return h.ledger.waiting() == 0 })

		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 2})
		h.ready(2)
		h.fleet.set(func() { h.fleet.load = time.Hour })
		h.fleet.register(2)
		pass(time.Second)
		var before []string
		h.fleet.set(func() {
			for _, a := range h.fleet.allocs {
				if a.Desired == jobs.DesiredRun {
					before = append(before, a.ID)
				}
			}
			h.fleet.load = time.Second
		})
		h.fleet.register(1)
		pass(10 * time.Millisecond)
		for _, id := range before { // killed in the middle of their start
			h.fleet.alter(id, func(a *jobs.Allocation) { a.Client, a.Failure = jobs.ClientFailed, "exit code 137" })
		}
		pass(500 * time.Millisecond)
		if st := h.status(); st.Blocked != nil {
			t.Errorf("blocked by %q: what a deploy kills has not failed to start", *st.Blocked)
		}
		h.ready(2)
		if n := h.fleet.wants(); n != 2 {
			t.Errorf("%d wanted, want the pin", n)
		}
	})
}

func TestAScaleCallThatSomebodyElseOvertookIsDecidedAnew(t *testing.T) {
	play(t, policy(byHand("pin")), func(t *testing.T, h *house) {
		// Between our decision and our call somebody sets 2.
		h.fleet.set(func() { h.fleet.overtaken = 1 })
		h.ledger.ask(1)
		within(t, time.Second, "the first call", func() bool { return len(h.fleet.scaleCalls()) == 1 })
		h.fleet.scaleByHand(2, "")
		h.ready(2)
		if diff := cmp.Diff([]int{1}, h.fleet.counts()); diff != "" {
			t.Errorf("scale calls (-want +got):\n%s", diff)
		}
		if st := h.status(); st.Pinned == nil || *st.Pinned != 2 {
			t.Errorf("pinned to %v, want 2", st.Pinned)
		}
		for _, e := range h.written.since(time.Time{}) {
			if e.Status != nil && e.Status.Blocked != nil {
				t.Errorf("told as blocked: %s", *e.Status.Blocked)
			}
		}
	})
}
