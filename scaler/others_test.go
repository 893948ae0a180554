package scaler

import (
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

// everyChangeIsTold checks that each stored decision begins at the count at which
// the one before it ended.
func (h *house) everyChangeIsTold() {
	h.t.Helper()
	all, err := h.history.Decisions(h.t.Context(), "translate", 0)
	if err != nil {
		h.t.Fatal(err)
	}
	count := 0
	for _, d := range slices.Backward(all) {
		if d.From != count {
			h.t.Errorf("at %d, and the next decision goes from %d to %d: %s (%s)", count, d.From, d.To, d.Reason, d.Rule)
		}
		count = d.To
	}
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
	pass(2 * time.Second)
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

func TestANodeThatIsDrainedTakesNothingAndCostsNoExtraReplica(t *testing.T) {
	play(t, policy(func(p *policies.Policy) { p.Replicas.Min = 2 }), func(t *testing.T, h *house) {
		h.ledger.work = 20 * time.Second
		h.ready(2)
		h.ledger.ask(2)
		pass(time.Second)
		h.fleet.drainNode("alloc-1", 8*time.Second)
		within(t, 50*time.Millisecond, "no slots at the node", func() bool { return h.ledger.slots()["alloc-1"] == 0 })
		h.ledger.ask(1) // goes to the other one
		pass(5 * time.Second)
		if text := h.notice(jobs.NoticeNodeDraining); !strings.Contains(text, "node") {
			t.Errorf("notice %q", text)
		}
		if st := h.status(); st.Replicas.Draining != 1 || st.Replicas.Wanted != 2 {
			t.Errorf("%d draining, %d wanted; want 1 and still 2", st.Replicas.Draining, st.Replicas.Wanted)
		}
		pass(20 * time.Second)
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
				pass(time.Second)
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
