package scaler

import (
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// keepFor is the policy of the tests as text, with another idle time.
func keepFor(after string) string {
	return `policy "translate" {
  job = "translate"
  route { path_prefixes = ["/translate"] }
  replicas {
    max         = 3
    concurrency = 2
  }
  to_zero { after = "` + after + `" }
}`
}

func (h *house) setShadow(id, text string) {
	h.t.Helper()
	err := h.history.SetShadow(h.t.Context(), "translate", jobs.Shadow{ID: id, Text: text, Author: "ada", At: time.Now()})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) standing() jobs.ShadowStanding {
	h.t.Helper()
	_, standing, err := h.history.Shadow(h.t.Context(), "translate")
	if err != nil {
		h.t.Fatal(err)
	}
	if standing == nil {
		return jobs.ShadowStanding{}
	}
	return *standing
}

func TestAShadowDecidesBesideThePolicyAndNeverActs(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.setShadow("one", keepFor("5m"))
		time.Sleep(2 * time.Second)
		h.ledger.ask(1)
		time.Sleep(2 * time.Minute) // the policy's minute is over, the shadow's five are not
		st := h.standing()
		if st.Wanted != 1 || st.LiveWanted != 0 || h.fleet.running() != 0 {
			t.Errorf("the shadow wants %d, the policy %d, and %d run; want 1, 0 and 0", st.Wanted, st.LiveWanted, h.fleet.running())
		}
		if st.Ready != 1 {
			t.Errorf("the shadow would have %d ready replicas, want the one that it has kept", st.Ready)
		}
		if before := h.fleet.placements(); before != 1 {
			t.Errorf("%d were launched; the shadow must not", before)
		}
		if st.GPUSeconds < 115 || st.GPUSeconds > 122 || st.LiveGPUSeconds < 58 || st.LiveGPUSeconds > 66 || math.Abs(st.ObservedS-122) > 3 || math.Abs(st.DiffersS-57) > 4 {
			t.Errorf("after two minutes it stands as %+v", st)
		}

		h.stop()
		h.start() // another scaler goes on with it
		h.ledger.ask(1)
		time.Sleep(90 * time.Second)
		after := h.standing()
		if after.Decisions != st.Decisions || after.Wanted != 1 {
			t.Errorf("to the shadow a replica was there all the time, and it has decided %d times before and %d after the request", st.Decisions, after.Decisions)
		}
		if after.ObservedS < st.ObservedS+85 || after.GPUSeconds < st.GPUSeconds+85 {
			t.Errorf("after a failover it stands as %+v", after)
		}
		time.Sleep(6 * time.Minute)

		decisions, err := h.history.ShadowDecisions(t.Context(), "translate", 0)
		if err != nil {
			t.Fatal(err)
		}
		var changes [][2]int
		for _, d := range decisions {
			changes = append(changes, [2]int{d.From, d.To})
			if d.Service != "translate" || len(d.Inputs) == 0 {
				t.Errorf("a decision without its service or inputs: %+v", d)
			}
		}
		if diff := cmp.Diff([][2]int{{1, 0}, {0, 1}}, changes); diff != "" {
			t.Errorf("what the shadow decided, newest first:\n%s", diff)
		}
		steps, err := h.history.ShadowSteps(t.Context(), "translate", 0)
		if err != nil {
			t.Fatal(err)
		}
		var wanted [][2]int
		for _, s := range steps {
			wanted = append(wanted, [2]int{s.Wanted, s.Live})
		}
		if diff := cmp.Diff([][2]int{{0, 0}, {1, 1}, {1, 0}, {1, 1}, {1, 0}, {0, 0}}, wanted); diff != "" {
			t.Errorf("wanted by the shadow and by the policy:\n%s", diff)
		}
		for _, d := range h.decisions() {
			if strings.Contains(d.Reason, "shadow") {
				t.Errorf("the policy's decisions speak of the shadow: %s", d.Reason)
			}
		}
	})
}

func (h *house) decisions() []decide.Decision {
	h.t.Helper()
	list, err := h.history.Decisions(h.t.Context(), "translate", 0)
	if err != nil {
		h.t.Fatal(err)
	}
	return list
}

func TestARemovedShadowLeavesNothingAndANewOneBeginsAnew(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.setShadow("one", keepFor("5m"))
		h.ledger.ask(1)
		time.Sleep(time.Minute)
		h.setShadow("two", keepFor("9m"))
		time.Sleep(10 * time.Second)
		if st := h.standing(); st.ObservedS > 12 || st.ObservedS < 5 {
			t.Errorf("another draft goes on with the figures of the first: %+v", st)
		}
		if there, err := h.history.RemoveShadow(t.Context(), "translate"); err != nil || !there {
			t.Errorf("removed: %v, %v", there, err)
		}
		time.Sleep(10 * time.Second)
		for _, key := range h.redis.Keys() {
			if strings.Contains(key, "shadow") {
				t.Errorf("%s is left", key)
			}
		}
		if there, err := h.history.RemoveShadow(t.Context(), "translate"); err != nil || there {
			t.Errorf("removed again: %v, %v", there, err)
		}
		h.setShadow("three", keepFor("5m"))
		time.Sleep(5 * time.Second)
		h.policies.remove("translate")
		time.Sleep(10 * time.Minute)
		for _, key := range h.redis.Keys() {
			if strings.Contains(key, "shadow") {
				t.Errorf("%s is left of a policy that was deleted", key)
			}
		}
	})
}

func TestAShadowThatCannotDecideSaysWhyAndHarmsNobody(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.setShadow("one", `policy "translate" {`)
		h.ledger.ask(1)
		time.Sleep(5 * time.Second)
		if st := h.standing(); !strings.Contains(st.Failure, "not valid in this version") {
			t.Errorf("it stands as %+v", st)
		}
		if h.fleet.running() != 1 {
			t.Errorf("%d replicas run", h.fleet.running())
		}
	})

	sh := shadow{of: jobs.Shadow{ID: "one"}, policy: policy(nil), log: slog.New(slog.DiscardHandler)}
	sh.show(decide.Snapshot{Known: true, Held: 1}, decide.Memory{})
	sh.look(nil, time.Now()) // no service: a fault as good as any
	if e := sh.take(); e == nil || !strings.Contains(e.Standing.Failure, "made the decision fail") {
		t.Errorf("a shadow with a fault: %+v", e)
	}
}

func TestAShadowHasTheReplicasThatItWouldHave(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	ready := func(index int) decide.Replica {
		return decide.Replica{ID: "r", Index: index, Phase: jobs.Ready, Launched: now.Add(-time.Hour), ReadyAt: now.Add(-time.Hour), GPUUtilization: figure(40)}
	}
	starting := decide.Replica{ID: "r", Index: 0, Phase: jobs.Starting, Launched: now.Add(-time.Minute)}
	starts := []float64{30, 30, 30, 30, 30}
	old, young := shadowReplica{Launched: now.Add(-31 * time.Second)}, shadowReplica{Launched: now.Add(-29 * time.Second)}
	for _, c := range []struct {
		name            string
		fleet           []shadowReplica
		snap            decide.Snapshot
		ready, inFlight int
		held            int
	}{
		{"one that only the shadow has is ready after the usual start", []shadowReplica{old}, decide.Snapshot{Held: 3}, 1, 2, 1},
		{"and not before", []shadowReplica{young}, decide.Snapshot{Held: 3}, 0, 0, 3},
		{"one that both have is ready when that one is", []shadowReplica{old}, decide.Snapshot{Held: 3, Replicas: []decide.Replica{starting}}, 0, 0, 3},
		{"however early", []shadowReplica{young}, decide.Snapshot{InFlight: 1, Held: 0, Replicas: []decide.Replica{ready(0)}}, 1, 1, 0},
		{"what it would not have has no slots", []shadowReplica{old}, decide.Snapshot{InFlight: 4, Replicas: []decide.Replica{ready(0), ready(1)}}, 1, 2, 2},
		{"nothing at all", nil, decide.Snapshot{InFlight: 4, Replicas: []decide.Replica{ready(0), ready(1)}}, 0, 0, 4},
	} {
		m := shadowMemory{Fleet: c.fleet}
		c.snap.Starts = starts
		c.snap.Deadlines = make([]time.Time, c.snap.Held)
		m.would(now, 2, &c.snap)
		n := 0
		for _, r := range c.snap.Replicas {
			if r.Phase == jobs.Ready {
				n++
			}
		}
		if n != c.ready || c.snap.InFlight != c.inFlight || c.snap.Held != c.held || len(c.snap.Replicas) != len(c.fleet) {
			t.Errorf("%s: %d ready, %d in flight, %d held; want %d, %d, %d", c.name, n, c.snap.InFlight, c.snap.Held, c.ready, c.inFlight, c.held)
		}
		if (c.snap.Held > 0) == c.snap.OldestHold.IsZero() || len(c.snap.Deadlines) > c.snap.Held {
			t.Errorf("%s: %d held since %v, %d deadlines", c.name, c.snap.Held, c.snap.OldestHold, len(c.snap.Deadlines))
		}
	}
}
