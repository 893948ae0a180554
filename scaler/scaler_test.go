package scaler

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

func TestFirstHeldRequestWakesOneReplicaAtOnce(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		if n := h.fleet.placements(); n != 0 {
			t.Fatalf("%d replicas before anybody asked", n)
		}
		asked := time.Now()
		h.ledger.ask(1)
		within(t, time.Second, "a scale call", func() bool { return len(h.fleet.scaleCalls()) > 0 })
		if got := h.fleet.scaleCalls()[0]; !got.at.Equal(asked) || got.count != 1 {
			t.Errorf("first scale call to %d after %v, want 1 without waiting", got.count, got.at.Sub(asked))
		}
		within(t, 2*time.Second, "the request released", func() bool { return h.ledger.waiting() == 0 })
		// Ready 1 s after the launch; probing may find it 2.5 % later, or 2 ms.
		var offered time.Time
		h.ledger.set(func() { offered = h.ledger.told[len(h.ledger.told)-1].at })
		if took := offered.Sub(asked); took > time.Second+30*time.Millisecond {
			t.Errorf("slots offered %v after the request, want about 1s", took)
		}
		pass(2 * time.Second)
		st := h.status()
		if st.State != jobs.StateReady || st.Replicas.Ready != 1 || st.Replicas.Wanted != 1 {
			t.Errorf("state %s, %d of %d ready; want ready, 1 of 1", st.State, st.Replicas.Ready, st.Replicas.Wanted)
		}
	})
}

func TestColdStartTellsItsPhasesWithoutGaps(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.ledger.ask(1)
		within(t, 5*time.Second, "a first answer", func() bool {
			h.ledger.mu.Lock()
			defer h.ledger.mu.Unlock()
			return len(h.ledger.answered) > 0
		})
		pass(time.Second) // readable within 1 s of the answer
		list, err := h.history.ColdStarts(t.Context(), "translate", 10)
		if err != nil || len(list) != 1 {
			t.Fatalf("%d cold starts, %v; want 1", len(list), err)
		}
		c := list[0]
		var names []string
		end := 0.0
		for _, p := range c.Phases {
			names = append(names, p.Name)
			if math.Abs(p.StartMS-end) > 1e-6 {
				t.Errorf("%s starts at %v ms, the phase before ends at %v", p.Name, p.StartMS, end)
			}
			end = p.StartMS + p.DurMS
		}
		want := []string{jobs.PhaseDecide, jobs.PhasePlace, jobs.PhaseStart, jobs.PhaseLoad, jobs.PhaseReady, jobs.PhaseFirstByte}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("phases (-want +got):\n%s", diff)
		}
		if math.Abs(c.DurMS-end) > 1e-6 || c.DurMS < 1500 || c.DurMS > 1600 {
			t.Errorf("phases end at %v ms of %v, want both about 1500", end, c.DurMS)
		}
		if c.Outcome != jobs.OutcomeAnswered || c.RequestsWaiting != 1 {
			t.Errorf("outcome %s with %d waiting, want answered with 1", c.Outcome, c.RequestsWaiting)
		}
		if st := h.status(); st.Cold.Count != 1 || st.Cold.Last == nil {
			t.Errorf("status counts %d cold starts, want 1", st.Cold.Count)
		}
	})
}

func TestBurstLaunchesSeveralReplicasInOneStep(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.ledger.ask(200)
		within(t, 5*time.Second, "three launches", func() bool { return h.fleet.placements() == 3 })
		h.fleet.mu.Lock()
		first, last := h.fleet.launched[0], h.fleet.launched[2]
		h.fleet.mu.Unlock()
		if gap := last.Sub(first); gap > 0 {
			t.Errorf("launches spread over %v, want one step", gap)
		}
		within(t, 2*time.Minute, "everything answered", func() bool { return h.ledger.waiting() == 0 })
		h.ledger.set(func() {
			if h.ledger.over > 2 {
				t.Errorf("%d requests at once at one replica, want at most 2", h.ledger.over)
			}
		})
	})
}

func TestToZeroIsExactToATick(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.ledger.ask(1)
		within(t, 5*time.Second, "the answer", func() bool { return h.ledger.waiting() == 0 })
		pass(h.ledger.work)
		var last time.Time
		h.ledger.set(func() { last = h.ledger.counters.LastDemand })
		within(t, 2*time.Minute, "no replica", func() bool { return h.fleet.running() == 0 })
		if got := time.Since(last); got < 59*time.Second || got > 62*time.Second {
			t.Errorf("gone %v after the last demand, want 1m ± a tick", got)
		}
		pass(time.Second)
		if st := h.status(); st.State != jobs.StateZero || len(st.Replicas.List) != 0 {
			t.Errorf("state %s with %d replicas, want zero with none", st.State, len(st.Replicas.List))
		}
		if diff := cmp.Diff([]int{1, 0}, h.fleet.counts()); diff != "" {
			t.Errorf("scale calls (-want +got):\n%s", diff)
		}
	})
}

func TestDrainWaitsForWhatIsInFlight(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.ledger.work = 90 * time.Second
		h.ledger.ask(1)
		within(t, 5*time.Second, "the request in flight", func() bool { return h.ledger.waiting() == 0 })
		began := time.Now()
		zero := 0
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: zero, Reason: "maintenance"})
		pass(10 * time.Second)
		if st := h.status(); st.State != jobs.StateDraining || st.Replicas.Draining != 1 {
			t.Errorf("state %s with %d draining, want draining with 1", st.State, st.Replicas.Draining)
		}
		if slots := h.ledger.slots(); len(slots) != 1 || slots["alloc-1"] != 0 {
			t.Errorf("offered %v, want alloc-1 without slots", slots)
		}
		within(t, 3*time.Minute, "no replica", func() bool { return h.fleet.running() == 0 })
		if took := time.Since(began); took < 89*time.Second || took > 93*time.Second {
			t.Errorf("stopped after %v, want when the request was done, after 90s", took)
		}
		h.ledger.set(func() {
			if cut := h.ledger.cut; len(cut) > 0 {
				t.Errorf("requests cut: %v", cut)
			}
		})
	})
}

func TestDrainEndsAtItsTimeout(t *testing.T) {
	p := policy(nil)
	p.ScaleDown.DrainTimeout = 20 * time.Second
	play(t, p, func(t *testing.T, h *house) {
		h.ledger.work = time.Hour
		h.ledger.ask(1)
		within(t, 5*time.Second, "the request in flight", func() bool { return h.ledger.waiting() == 0 })
		began := time.Now()
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 0})
		pass(15 * time.Second)
		h.fleet.set(func() { h.fleet.refuse = 2 }) // a call that is refused cuts nothing
		within(t, time.Minute, "no replica", func() bool { return h.fleet.running() == 0 })
		if took := time.Since(began); took < 20*time.Second || took > 22*time.Second {
			t.Errorf("stopped after %v, want after the drain timeout of 20s", took)
		}
		pass(time.Second)
		decisions, err := h.history.Decisions(t.Context(), "translate", 0)
		if err != nil {
			t.Fatal(err)
		}
		var cuts []decide.Decision
		for _, d := range decisions {
			if d.Rule == "drain-timeout" {
				cuts = append(cuts, d)
			}
		}
		if want := "1 in flight at alloc-1 cut after the drain timeout of 20s"; len(cuts) != 1 || cuts[0].Reason != want {
			t.Errorf("decisions %v, want one that says %q", cuts, want)
		}
	})
}

func TestDrainingReplicaIsTakenBackBeforeANewOneIsLaunched(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.ledger.work = time.Minute
		h.ledger.ask(1)
		within(t, 5*time.Second, "the request in flight", func() bool { return h.ledger.waiting() == 0 })
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 0})
		pass(5 * time.Second)
		if st := h.status(); st.Replicas.Draining != 1 {
			t.Fatalf("%d draining, want 1", st.Replicas.Draining)
		}
		h.operate(jobs.Command{Verb: jobs.VerbUnpin})
		h.ledger.ask(1)
		within(t, time.Second, "the slots back", func() bool { return h.ledger.slots()["alloc-1"] == 2 })
		pass(5 * time.Second)
		if diff := cmp.Diff([]int{1}, h.fleet.counts()); diff != "" {
			t.Errorf("scale calls (-want +got):\n%s", diff)
		}
	})
}

func TestHighestIndexesAreDrained(t *testing.T) {
	p := policy(nil)
	p.Replicas.Min = 3
	play(t, p, func(t *testing.T, h *house) {
		within(t, 5*time.Second, "three ready", func() bool { return len(h.ledger.slots()) == 3 })
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 1})
		within(t, 10*time.Second, "one left", func() bool { return h.fleet.running() == 1 })
		within(t, time.Second, "two forgotten", func() bool { return len(h.ledger.slots()) == 1 })
		if h.ledger.slots()["alloc-1"] != 2 {
			t.Errorf("left: %v, want index 0 with its slots", h.ledger.slots())
		}
	})
}

func TestNewPolicyVersionIsObeyedInWellUnderASecond(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		p := policy(nil)
		p.Replicas.Min = 2
		changed := time.Now()
		h.policies.put(p)
		within(t, time.Second, "a scale call to 2", func() bool { return h.fleet.wants() == 2 })
		if took := h.fleet.scaleCalls()[0].at.Sub(changed); took > 100*time.Millisecond {
			t.Errorf("obeyed after %v", took)
		}
		pass(2 * time.Second)
		if st := h.status(); st.PolicyVersion != 2 {
			t.Errorf("status names version %d, want 2", st.PolicyVersion)
		}
		more := policy(nil)
		more.Replicas.Min, more.Replicas.Concurrency = 2, 5
		h.policies.put(more)
		within(t, time.Second, "five slots at each", func() bool { return h.ledger.slots()["alloc-1"] == 5 })
	})
}

func TestDeletedPolicyDrainsAndIsForgotten(t *testing.T) {
	p := policy(nil)
	p.Replicas.Min = 1
	play(t, p, func(t *testing.T, h *house) {
		within(t, 5*time.Second, "ready", func() bool { return len(h.ledger.slots()) == 1 })
		h.policies.remove("translate")
		within(t, 5*time.Second, "no replica", func() bool { return h.fleet.running() == 0 })
		within(t, 5*time.Second, "no status", func() bool { return h.status().Name == "" })
		h.policies.put(p)
		within(t, 5*time.Second, "a replica again", func() bool { return h.fleet.running() == 1 })
	})
}

func TestPolicyThatNamesAnotherJobEmptiesTheOldOneFirst(t *testing.T) {
	p := policy(nil)
	p.Replicas.Min = 1
	play(t, p, func(t *testing.T, h *house) {
		within(t, 5*time.Second, "ready", func() bool { return len(h.ledger.slots()) == 1 })
		q := policy(nil)
		q.Replicas.Min, q.Job = 1, "other"
		h.policies.put(q)
		within(t, 5*time.Second, "the old one stopped", func() bool { return h.fleet.wants() == 0 })
		within(t, 5*time.Second, "the new one launched", func() bool { return h.fleet.wants() == 1 })
		h.fleet.set(func() {
			if h.fleet.ref.Job != "other" {
				t.Errorf("launched %v, want job other", h.fleet.ref)
			}
		})
	})
}

func TestMissingJobSpecBlocksWithTheReason(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.stop()
		h.redis.FlushAll()
		h.fleet.set(func() { clear(h.fleet.count) })
		h.specs = func(string) (*jobs.Spec, bool) { return nil, false }
		h.start()
		st := h.status()
		if st.State != jobs.StateBlocked || st.Blocked == nil {
			t.Fatalf("state %q, want blocked", st.State)
		}
		if want := `no job spec "translate" is known here`; *st.Blocked != want {
			t.Errorf("blocked because %q, want %q", *st.Blocked, want)
		}
		h.ledger.ask(1)
		pass(5 * time.Second)
		if len(h.fleet.scaleCalls()) > 0 {
			t.Error("scaled a job that nobody knows")
		}
	})
}

func (h *house) operate(cmd jobs.Command) {
	h.t.Helper()
	if _, err := h.history.Operate(h.t.Context(), "translate", cmd); err != nil {
		h.t.Fatal(err)
	}
}

func TestGPUFiguresOfTheReplicasAreShown(t *testing.T) {
	p := policy(nil)
	p.Replicas.Min, p.GPU.Source = 1, "metrics"
	play(t, p, func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.gpu = "DCGM_FI_DEV_GPU_UTIL 85\nDCGM_FI_DEV_FB_USED 2\n" })
		within(t, 5*time.Second, "ready", func() bool { return len(h.ledger.slots()) == 1 })
		pass(3 * time.Second)
		st := h.status()
		if st.GPU == nil || *st.GPU != 85 || st.GPUMem == nil || *st.GPUMem != 2<<20 {
			t.Errorf("GPU %v %%, %v bytes; want 85 %% and 2 MiB", show(st.GPU), show(st.GPUMem))
		}
		h.fleet.set(func() { h.fleet.gpu = "" })
		pass(10 * time.Second)
		if st := h.status(); st.GPU != nil {
			t.Errorf("GPU %v %% without a scrape, want unknown", show(st.GPU))
		}
	})
}

func TestPausedServiceChangesNothing(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.operate(jobs.Command{Verb: jobs.VerbPause, Reason: "maintenance", By: "ann"})
		pass(time.Second)
		h.ledger.ask(5)
		pass(5 * time.Second)
		if st := h.status(); st.State != jobs.StatePaused {
			t.Errorf("state %s, want paused", st.State)
		}
		if n := len(h.fleet.scaleCalls()); n != 0 {
			t.Errorf("%d scale calls while paused", n)
		}
		h.operate(jobs.Command{Verb: jobs.VerbResume})
		within(t, time.Second, "a launch", func() bool { return h.fleet.placements() > 0 })
		decisions, err := h.history.Decisions(t.Context(), "translate", 0)
		if err != nil {
			t.Fatal(err)
		}
		paused := slices.ContainsFunc(decisions, func(d decide.Decision) bool { return d.Rule == "paused" })
		if !paused {
			t.Error("no stored decision says that the service was paused")
		}
	})
}

func TestEveryChangeOfTheCountHasAStoredDecision(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.ledger.ask(200)
		within(t, 10*time.Minute, "no replica in the end", func() bool {
			return h.fleet.placements() > 0 && h.fleet.running() == 0
		})
		pass(2 * time.Second)
		decisions, err := h.history.Decisions(t.Context(), "translate", 0)
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for _, d := range slices.Backward(decisions) {
			if d.From != count {
				t.Errorf("a decision goes from %d, the one before went to %d", d.From, count)
			}
			if d.Reason == "" || d.PolicyVersion != 1 {
				t.Errorf("decision to %d for %q by version %d, want a reason and version 1", d.To, d.Reason, d.PolicyVersion)
			}
			if d.From != d.To && d.Inputs["r"] == nil {
				t.Errorf("decision from %d to %d with inputs %v, want at least how many were ready", d.From, d.To, d.Inputs)
			}
			count = d.To
		}
		if !slices.ContainsFunc(decisions, func(d decide.Decision) bool { return d.Signals.Up.Demand != nil }) {
			t.Error("no decision was stored with its signals")
		}
		if count != 0 || len(decisions) < 2 {
			t.Errorf("%d decisions end at %d, want at least up and down to 0", len(decisions), count)
		}
		points, err := h.history.Timeline(t.Context(), "translate", 0)
		if err != nil || len(points) < 60 {
			t.Errorf("%d points of the timeline, %v; want one a second", len(points), err)
		}
	})
}

func TestUnplacedReplicasCountAsPending(t *testing.T) {
	s := &service{
		ses: &session{cfg: Config{}.withDefaults()}, policy: policy(nil),
		seen:     jobs.Observation{Count: 2, Allocations: []jobs.Allocation{{ID: "a", Desired: jobs.DesiredRun, Client: jobs.ClientRunning}}},
		replicas: map[string]*replica{"a": {phase: jobs.Ready}},
	}
	phases := map[jobs.Phase]int{}
	for _, r := range s.snapshot(time.Now()).Replicas {
		phases[r.Phase]++
	}
	if diff := cmp.Diff(map[jobs.Phase]int{jobs.Ready: 1, jobs.Pending: 1}, phases); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
}
