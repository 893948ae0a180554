package scaler

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// oneKept is a policy that keeps one replica.
func oneKept(p *policies.Policy) { p.Replicas.Min = 1 }

func byHand(mode string) func(p *policies.Policy) {
	return func(p *policies.Policy) { p.ByHand = policies.ByHand{Count: mode, For: time.Hour} }
}

// ruled returns the stored decisions of a rule, oldest first.
func (h *house) ruled(rule string) (list []decide.Decision) {
	h.t.Helper()
	all, err := h.history.Decisions(h.t.Context(), "translate", 0)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, d := range slices.Backward(all) {
		if d.Rule == rule {
			list = append(list, d)
		}
	}
	return list
}

// notice returns the text of the notice of a kind, "" if there is none.
func (h *house) notice(kind string) string {
	for _, n := range h.status().Notices {
		if n.Kind == kind {
			return n.Text
		}
	}
	return ""
}

// ready waits until n replicas have slots.
func (h *house) ready(n int) {
	h.t.Helper()
	within(h.t, 10*time.Second, "ready", func() bool {
		slots := 0
		for _, k := range h.ledger.slots() {
			slots += k
		}
		return slots == 2*n
	})
	time.Sleep(2 * time.Second)
}

func (h *house) told(state, why string) {
	h.t.Helper()
	st := h.status()
	if st.State != state || st.Blocked == nil || !strings.Contains(*st.Blocked, why) {
		h.t.Errorf("state %s, blocked by %q; want %s because %q", st.State, words(st.Blocked), state, why)
	}
}

func words(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

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
			time.Sleep(time.Minute)
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
			time.Sleep(time.Minute)
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
				time.Sleep(20 * time.Second)
				if st := h.status(); st.State != jobs.StateReady || st.Replicas.Ready != 2 || st.Blocked != nil {
					t.Errorf("state %s, %d ready, blocked by %q; want the 2 that it was started with, for a while", st.State, st.Replicas.Ready, words(st.Blocked))
				}
				if h.notice(jobs.NoticeStopped) != "" {
					t.Error("the notice has outlived its cause")
				}
				if len(h.fleet.revived) != 0 {
					t.Error("revived though nobody resumed it")
				}
				time.Sleep(5 * time.Minute)
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
				time.Sleep(25 * time.Second)
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
				time.Sleep(30 * time.Second)
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
		time.Sleep(time.Second)
		h.fleet.stopJob("stopped in Nomad at 12:03 UTC")
		time.Sleep(30 * time.Second)
		if n := len(h.fleet.revived); n != 0 {
			t.Errorf("revived %d times by a resume of before", n)
		}
		h.stop()
		h.operate(jobs.Command{Verb: jobs.VerbResume}) // while nobody leads
		h.operate(jobs.Command{Verb: jobs.VerbWake})
		h.fleet.set(func() { h.fleet.deaf = true }) // it shows late
		h.start()
		time.Sleep(30 * time.Second)
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
		time.Sleep(5 * time.Minute)
		h.fleet.set(func() { h.fleet.crash, h.fleet.load = 0, time.Second })
		h.fleet.register(2)
		h.ready(2)
		time.Sleep(50 * time.Second)
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

func TestACountSetByHandIsPinnedForAWhile(t *testing.T) {
	play(t, policy(func(p *policies.Policy) { oneKept(p); byHand("pin")(p) }), func(t *testing.T, h *house) {
		h.ready(1)
		began := time.Now()
		h.fleet.scaleByHand(5, "load test of ann") // more than max
		time.Sleep(time.Second)
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
		time.Sleep(30 * time.Minute)
		h.stop()
		h.start()
		time.Sleep(29 * time.Minute)
		if diff := cmp.Diff([]int{1}, h.fleet.counts()); diff != "" {
			t.Errorf("scale calls within the hour (-want +got):\n%s", diff)
		}
		within(t, 5*time.Minute, "the rules again", func() bool { return h.fleet.wants() == 1 })
		if took := time.Since(began); took < time.Hour {
			t.Errorf("set back after %v", took)
		}
		time.Sleep(time.Second)
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
			time.Sleep(10 * time.Second)
			h.fleet.scaleByHand(3, "")
			time.Sleep(10 * time.Second)
			if diff := cmp.Diff([]int{1}, h.fleet.counts()); diff != "" {
				t.Errorf("scale calls (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("right after a scale call", func(t *testing.T) {
		play(t, policy(byHand("pin")), func(t *testing.T, h *house) {
			h.ledger.ask(1)
			time.Sleep(100 * time.Millisecond)
			h.fleet.scaleByHand(3, "")
			time.Sleep(10 * time.Second)
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
		time.Sleep(5 * time.Minute)
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
		time.Sleep(time.Minute)
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
		time.Sleep(time.Second)
		h.ledger.ask(1)
		time.Sleep(5 * time.Second)
		h.told(jobs.StatePaused, "GPUs are needed elsewhere")
		if diff := cmp.Diff([]int{1}, h.fleet.counts()); diff != "" {
			t.Errorf("scale calls (-want +got):\n%s", diff)
		}
	})
}

func TestACountSetByHandIsAdopted(t *testing.T) {
	play(t, policy(byHand("adopt")), func(t *testing.T, h *house) {
		time.Sleep(10 * time.Minute)
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
		time.Sleep(time.Second)
		if list := h.ruled(ruleByHand); len(list) != 1 || !strings.Contains(list[0].Reason, "set back to 1") {
			t.Errorf("decisions %v, want one that says it was set back", list)
		}
		if h.notice(jobs.NoticeChangedByHand) == "" {
			t.Error("not shown")
		}
		time.Sleep(passes)
		if h.notice(jobs.NoticeChangedByHand) != "" {
			t.Error("shown for ever")
		}
	})
}

func TestAPausedServiceLeavesACountSetByHandAlone(t *testing.T) {
	play(t, policy(byHand("restore")), func(t *testing.T, h *house) {
		h.operate(jobs.Command{Verb: jobs.VerbPause})
		time.Sleep(time.Second)
		h.fleet.scaleByHand(2, "")
		time.Sleep(time.Minute)
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
		time.Sleep(10 * time.Second)
		if st := h.status(); st.Pinned != nil {
			t.Error("pinned by a change from before the service was met")
		}
		h.stop()
		h.fleet.scaleByHand(2, "while nobody led")
		h.start()
		time.Sleep(2 * time.Second)
		if st := h.status(); st.Pinned == nil || *st.Pinned != 2 {
			t.Errorf("pinned to %v, want 2", st.Pinned)
		}
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 3})
		within(t, 5*time.Second, "an operator's word after it", func() bool { return h.fleet.wants() == 3 })
		h.stop()
		h.start()
		time.Sleep(10 * time.Second)
		if n := len(h.ruled(ruleByHand)); n != 1 || h.fleet.wants() != 3 {
			t.Errorf("heeded %d times, %d wanted; want once, and 3", n, h.fleet.wants())
		}
	})
}

func TestAJobThatCameBackInAnotherClusterIsHeededThoughItCountsFromTheBeginning(t *testing.T) {
	play(t, policy(byHand("pin")), func(t *testing.T, h *house) {
		for n := range 5 {
			h.fleet.scaleByHand(n%2, "")
			time.Sleep(time.Second)
		}
		h.fleet.purge()
		time.Sleep(time.Second)
		h.fleet.set(func() { h.fleet.index = 0; delete(h.fleet.change, group) })
		h.operate(jobs.Command{Verb: jobs.VerbResume})
		within(t, 5*time.Second, "back", func() bool { return h.status().State == jobs.StateZero })
		h.fleet.scaleByHand(2, "")
		time.Sleep(time.Second)
		if st := h.status(); st.Pinned == nil || *st.Pinned != 2 {
			t.Errorf("pinned to %v, want 2", st.Pinned)
		}
	})
}

func TestADeployIsToldAndItsCountRestored(t *testing.T) {
	play(t, policy(func(p *policies.Policy) { p.Replicas.Min = 3 }), func(t *testing.T, h *house) {
		h.ledger.work = 20 * time.Millisecond
		h.ready(3)
		offers := h.ledger.tellings()
		at := time.Now()
		h.fleet.register(1)
		within(t, 100*time.Millisecond, "slots withdrawn from all that stop", func() bool {
			return h.ledger.tellings() > offers && h.ledger.slots()["alloc-1"]+h.ledger.slots()["alloc-2"]+h.ledger.slots()["alloc-3"] == 0
		})
		within(t, time.Second, "the count restored", func() bool { return h.fleet.wants() == 3 })
		time.Sleep(time.Second)
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
		time.Sleep(20 * time.Millisecond) // who made the new version takes a question to find out
		h.fleet.set(func() { h.fleet.change[group] = c })
		h.fleet.tellAll()
		time.Sleep(time.Second)
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
		time.Sleep(time.Second)
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
		time.Sleep(10 * time.Millisecond)
		for _, id := range before { // killed in the middle of their start
			h.fleet.alter(id, func(a *jobs.Allocation) { a.Client, a.Failure = jobs.ClientFailed, "exit code 137" })
		}
		time.Sleep(500 * time.Millisecond)
		if st := h.status(); st.Blocked != nil {
			t.Errorf("blocked by %q: what a deploy kills has not failed to start", *st.Blocked)
		}
		h.ready(2)
		if n := h.fleet.wants(); n != 2 {
			t.Errorf("%d wanted, want the pin", n)
		}
	})
}

func TestADeploymentInTheWayIsWaitedForAndSaid(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.deployment[group] = "deployment 1a2b is running until its replicas are healthy" })
		h.fleet.tellAll()
		h.ledger.ask(1)
		time.Sleep(2 * time.Minute)
		h.told(jobs.StateBlocked, "deployment 1a2b")
		if n := len(h.fleet.scaleCalls()); n > 5 {
			t.Errorf("%d scale calls in two minutes against a deployment", n)
		}
		if h.notice(jobs.NoticeDeployment) == "" || len(h.ruled("blocked")) != 1 {
			t.Errorf("notices %v, decisions %v; want both to tell", h.status().Notices, h.ruled("blocked"))
		}
		over := time.Now()
		h.fleet.set(func() { delete(h.fleet.deployment, group) })
		h.fleet.tellAll()
		within(t, 5*time.Second, "answered", func() bool { return h.ledger.waiting() == 0 })
		calls := h.fleet.scaleCalls()
		if took := calls[len(calls)-1].at.Sub(over); took > 50*time.Millisecond {
			t.Errorf("asked again %v after the end of the deployment", took)
		}
		time.Sleep(time.Second)
		if h.notice(jobs.NoticeDeployment) != "" {
			t.Error("the notice has outlived the deployment")
		}
	})
}

func TestADeploymentThatThePictureDoesNotShowIsNotHammered(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.deployment[group] = "hidden"; h.fleet.blindToDeployments = true })
		h.ledger.ask(1)
		time.Sleep(time.Minute)
		h.told(jobs.StateBlocked, "active deployment")
		if n := len(h.fleet.scaleCalls()); n < 5 || n > 30 {
			t.Errorf("%d scale calls in a minute, want one each few seconds", n)
		}
		h.fleet.set(func() { clear(h.fleet.deployment) })
		within(t, 10*time.Second, "answered", func() bool { return h.ledger.waiting() == 0 })
	})
}

func TestANodeThatIsDrainedTakesNothingAndCostsNoExtraReplica(t *testing.T) {
	play(t, policy(func(p *policies.Policy) { p.Replicas.Min = 2 }), func(t *testing.T, h *house) {
		h.ledger.work = 20 * time.Second
		h.ready(2)
		h.ledger.ask(2)
		time.Sleep(time.Second)
		h.fleet.drainNode("alloc-1", 8*time.Second)
		within(t, 50*time.Millisecond, "no slots at the node", func() bool { return h.ledger.slots()["alloc-1"] == 0 })
		h.ledger.ask(1) // goes to the other one
		time.Sleep(5 * time.Second)
		if text := h.notice(jobs.NoticeNodeDraining); !strings.Contains(text, "node") {
			t.Errorf("notice %q", text)
		}
		if st := h.status(); st.Replicas.Draining != 1 || st.Replicas.Wanted != 2 {
			t.Errorf("%d draining, %d wanted; want 1 and still 2", st.Replicas.Draining, st.Replicas.Wanted)
		}
		time.Sleep(20 * time.Second)
		if diff := cmp.Diff([]int{2}, h.fleet.counts()); diff != "" {
			t.Errorf("scale calls (-want +got):\n%s", diff)
		}
		if n := h.fleet.placements(); n != 3 {
			t.Errorf("%d placements, want the two and the replacement", n)
		}
		if h.notice(jobs.NoticeNodeDraining) != "" {
			t.Error("the notice has outlived the drain")
		}
	})
}

func TestThePlaceOfAReplicaWhoseNodeIsDrainedIsCountedOnceAllTheWay(t *testing.T) {
	run := func(id string, index int) jobs.Allocation {
		return jobs.Allocation{ID: id, Index: index, Desired: jobs.DesiredRun, Client: jobs.ClientRunning, Address: "10.0.0.1:80"}
	}
	draining, stopped, replacement := run("a", 0), run("a", 0), run("c", 0)
	draining.NodeDraining, stopped.NodeDraining, stopped.Desired = true, true, jobs.DesiredStop
	for name, allocs := range map[string][]jobs.Allocation{
		"before the fleet moves it":                   {draining, run("b", 1)},
		"stopped, and its replacement is placed":      {stopped, replacement, run("b", 1)},
		"stopped, and nothing can take its place yet": {stopped, run("b", 1)},
	} {
		s := &service{
			ses: &session{cfg: Config{}.withDefaults()}, policy: policy(nil), replicas: map[string]*replica{},
			seen: jobs.Observation{Count: 2, Allocations: allocs},
		}
		for _, a := range allocs {
			s.replicas[a.ID] = &replica{alloc: a, answers: a.ID != "c"}
		}
		s.phases(time.Now())
		coming, ready := 0, 0
		for _, r := range s.snapshot(time.Now()).Replicas {
			switch r.Phase {
			case jobs.Pending, jobs.Starting:
				coming++
			case jobs.Ready:
				ready++
			}
		}
		if ready != 1 || coming != 1 {
			t.Errorf("%s: %d ready and %d on their way, want 1 and 1", name, ready, coming)
		}
	}
}

func TestANodeDrainThatIsCalledOffGivesTheSlotsBack(t *testing.T) {
	play(t, policy(oneKept), func(t *testing.T, h *house) {
		h.ready(1)
		h.fleet.alter("alloc-1", func(a *jobs.Allocation) { a.NodeDraining = true })
		within(t, 50*time.Millisecond, "no slots", func() bool { return h.ledger.slots()["alloc-1"] == 0 })
		h.fleet.alter("alloc-1", func(a *jobs.Allocation) { a.NodeDraining = false })
		within(t, 50*time.Millisecond, "slots again", func() bool { return h.ledger.slots()["alloc-1"] == 2 })
	})
}

func TestWhateverTheFleetTakesAwayLosesItsSlotsAtOnce(t *testing.T) {
	for name, take := range map[string]func(a *jobs.Allocation){
		"preempted":                 func(a *jobs.Allocation) { a.Desired = "evict" },
		"told to stop":              func(a *jobs.Allocation) { a.Desired = jobs.DesiredStop },
		"its node is not heard of":  func(a *jobs.Allocation) { a.Client = jobs.ClientUnknown },
		"lost with its node":        func(a *jobs.Allocation) { a.Client, a.Desired = jobs.ClientLost, jobs.DesiredStop },
		"on a node that is drained": func(a *jobs.Allocation) { a.NodeDraining = true },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, policy(oneKept), func(t *testing.T, h *house) {
				h.ready(1)
				h.fleet.alter("alloc-1", take)
				phase := jobs.Draining
				if name == "its node is not heard of" {
					phase = jobs.Starting // it may be again
				}
				within(t, 20*time.Millisecond, "no slots", func() bool { return h.ledger.slots()["alloc-1"] == 0 })
				time.Sleep(time.Second)
				st := h.status()
				if st.Blocked != nil {
					t.Errorf("blocked by %q: nothing of it is a failed start", *st.Blocked)
				}
				if list := st.Replicas.List; len(list) > 0 && list[0].ID == "alloc-1" && list[0].Phase != phase {
					t.Errorf("shown as %s, want %s", list[0].Phase, phase)
				}
			})
		})
	}
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

func TestARevokedTokenIsOneClearErrorAndHarmsNoWarmTraffic(t *testing.T) {
	play(t, policy(oneKept), func(t *testing.T, h *house) {
		h.ready(1)
		h.fleet.set(func() { h.fleet.denied = true })
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 2})
		time.Sleep(10 * time.Second)
		h.ledger.ask(2)
		within(t, 2*time.Second, "warm traffic", func() bool { return h.ledger.waiting() == 0 })
		time.Sleep(time.Minute)
		st := h.status()
		if st.State != jobs.StateReady || words(st.Blocked) != jobs.ErrDenied.Error() {
			t.Errorf("state %s, blocked by %q; want ready, and the cause told", st.State, words(st.Blocked))
		}
		if n := h.fleet.observed; n > 20 {
			t.Errorf("%d refused looks in a minute, want one each ten seconds", n)
		}
		h.fleet.set(func() { h.fleet.denied = false })
		within(t, 15*time.Second, "two replicas", func() bool { return h.fleet.running() == 2 })
		time.Sleep(2 * time.Second)
		if st := h.status(); st.Blocked != nil {
			t.Errorf("blocked by %q although it works again", *st.Blocked)
		}
	})
}

func TestATokenWithoutTheRightToScaleIsSaidAndTriedSlowly(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.readOnly = true })
		h.ledger.ask(1)
		time.Sleep(time.Minute)
		h.told(jobs.StateBlocked, "permission denied")
		if n := len(h.fleet.scaleCalls()); n < 5 || n > 8 {
			t.Errorf("%d refused calls in a minute, want one each ten seconds", n)
		}
		if list := h.ruled("blocked"); len(list) != 1 {
			t.Errorf("decisions %v, want one", list)
		}
		h.fleet.set(func() { h.fleet.readOnly = false })
		within(t, 15*time.Second, "answered", func() bool { return h.ledger.waiting() == 0 })
	})
}

func TestAnotherVictimThanExpectedIsPlannedAnewAndTold(t *testing.T) {
	play(t, policy(func(p *policies.Policy) { p.Replicas.Min = 3 }), func(t *testing.T, h *house) {
		h.ledger.work = 30 * time.Second
		h.ready(3)
		h.fleet.set(func() { h.fleet.instead = "alloc-1" })
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 2})
		within(t, 5*time.Second, "two left", func() bool { return h.fleet.running() == 2 })
		h.ready(2)
		if slots := h.ledger.slots(); slots["alloc-3"] != 2 || slots["alloc-2"] != 2 {
			t.Errorf("offered %v, want alloc-2 and alloc-3, which run", slots)
		}
		list := h.ruled("other-victim")
		if want := "expected to stop alloc-3 (index 2), but the fleet stopped alloc-1 (index 0); planned anew"; len(list) != 1 || list[0].Reason != want {
			t.Errorf("decisions %v, want one that says %q", list, want)
		}
		if diff := cmp.Diff([]int{3, 2}, h.fleet.counts()); diff != "" {
			t.Errorf("scale calls (-want +got):\n%s", diff)
		}
	})
}

func TestABlockedWakeIsToldOnceEverywhereAndGoesOnByItself(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		full := "no free GPU: 2 nodes, 0 of 4 nvidia/gpu free"
		h.fleet.set(func() { h.fleet.full = full })
		h.ledger.ask(1)
		time.Sleep(5 * time.Minute)
		h.told(jobs.StateBlocked, full)
		if st := h.status(); st.ETA != nil {
			t.Errorf("ready in %v s although it is blocked", *st.ETA)
		}
		if diff := cmp.Diff([]string{"cannot wake translate: " + full}, h.fleet.noted()); diff != "" {
			t.Errorf("notes (-want +got):\n%s", diff)
		}
		list := h.ruled("blocked")
		if len(list) != 1 || list[0].Reason != "0 of 1 replicas ready: "+full || list[0].Inputs["blocked"] != kindNoCapacity {
			t.Errorf("decisions %v, want one with the reason", list)
		}
		h.fleet.set(func() { h.fleet.full = "no free GPU: 2 nodes, 0 of 4 nvidia/gpu free; 1 is being freed" })
		h.fleet.tellAll()
		time.Sleep(5 * time.Second)
		if n := len(h.ruled("blocked")); n != 2 {
			t.Errorf("%d decisions after the reason changed, want 2", n)
		}
		if diff := cmp.Diff([]int{1}, h.fleet.counts()); diff != "" {
			t.Errorf("scale calls (-want +got):\n%s", diff)
		}
		h.fleet.set(func() { h.fleet.full = ""; h.fleet.fill(group) }) // the evaluation was waiting for this
		within(t, 5*time.Second, "answered", func() bool { return h.ledger.waiting() == 0 })
		time.Sleep(time.Second)
		if st := h.status(); st.Blocked != nil || len(h.fleet.noted()) != 2 {
			t.Errorf("blocked by %v, notes %v; want neither more", words(st.Blocked), h.fleet.noted())
		}
	})
}

func TestADifferenceFromTheJobSpecIsShownAndLeft(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		lines := []string{`task model: config.image "a" → "b"`}
		h.fleet.set(func() { h.fleet.drift[group] = lines })
		h.fleet.tellAll()
		time.Sleep(time.Second)
		list := h.status().Notices
		if len(list) != 1 || list[0].Kind != jobs.NoticeDrift || !slices.Equal(list[0].Detail, lines) || time.Since(list[0].Since) > 2*time.Second {
			t.Errorf("notices %v, want the difference", list)
		}
		since := list[0].Since
		time.Sleep(2 * time.Minute)
		if list := h.status().Notices; len(list) != 1 || !list[0].Since.Equal(since) {
			t.Errorf("notices %v, want it since %v", list, since)
		}
	})
}
