package scaler

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestEveryCommandOfAnOperatorIsADecisionThatSaysWhoAndWhy(t *testing.T) {
	play(t, policy(oneKept), func(t *testing.T, h *house) {
		h.ready(1)
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 2, By: "ann", Reason: "load test"})
		h.ready(2)
		h.stop() // there may be no scaler to hear the next ones
		h.operate(jobs.Command{Verb: jobs.VerbUnpin, By: "ann", Reason: "it is over"})
		h.operate(jobs.Command{Verb: jobs.VerbWake, By: "bob", Reason: "demo"})
		h.start()
		var got []string
		for _, d := range h.ruled(ruleOperator) {
			got = append(got, d.Reason)
		}
		want := []string{"pin to 2 by ann: load test", "unpin by ann: it is over", "wake by bob: demo"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("decisions (-want +got):\n%s", diff)
		}
		h.stop()
		h.start()
		if n := len(h.ruled(ruleOperator)); n != 3 {
			t.Errorf("%d decisions after another restart, want the same 3", n)
		}
	})
}

func TestADecisionNamesWhoOrderedWhatItObeysAndNotWhoeverCameLater(t *testing.T) {
	play(t, policy(oneKept), func(t *testing.T, h *house) {
		h.ready(1)
		for _, cmd := range []jobs.Command{
			{Verb: jobs.VerbPin, Replicas: 2, By: "ann", Reason: "load test"},
			{Verb: jobs.VerbPause, By: "bob", Reason: "maintenance"},
			{Verb: jobs.VerbSleep, By: "cyd", Reason: "night"},
			{Verb: jobs.VerbResume, By: "dan", Reason: "over"},
			{Verb: jobs.VerbPin, Replicas: 0, By: "eve", Reason: "no budget"},
		} {
			h.operate(cmd)
			time.Sleep(5 * time.Second)
		}
		var got []string
		list, err := h.history.Decisions(t.Context(), "translate", 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range slices.Backward(list) {
			if d.Rule == "pinned" || d.Rule == "paused" || d.Rule == "asleep" {
				got = append(got, d.Reason)
			}
		}
		want := []string{
			"pinned to 2 by ann (load test)",
			"paused by bob (maintenance): count stays at 2",
			"paused by bob (maintenance): count stays at 2", // told anew after sleep, which waits behind it
			"pinned to 2 by ann (load test)",
			"pinned to 0 by eve (no budget)",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("decisions (-want +got):\n%s", diff)
		}
		if why := words(h.status().Blocked); why != "pinned to 0 by eve: no budget" {
			t.Errorf("blocked by %q", why)
		}
	})
}

func TestAPausedServiceSaysWhoPausedItAndWhyAlsoWhileReplicasAreReady(t *testing.T) {
	play(t, policy(oneKept), func(t *testing.T, h *house) {
		h.ready(1)
		if st := h.status(); st.Paused != nil || st.PausedAt != nil {
			t.Errorf("paused by %q before anybody has", words(st.Paused))
		}
		before := time.Now()
		h.operate(jobs.Command{Verb: jobs.VerbPause, By: "bob", Reason: "maintenance"})
		pass(2 * time.Second)
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 2, By: "eve", Reason: "later"}) // it waits behind the pause
		pass(2 * time.Second)
		st := h.status()
		if st.State != jobs.StatePaused || st.Replicas.Ready != 1 || st.Blocked != nil || words(st.Paused) != "paused by bob: maintenance" {
			t.Errorf("state %s, %d ready, blocked by %q, paused by %q", st.State, st.Replicas.Ready, words(st.Blocked), words(st.Paused))
		}
		if at := st.PausedAt; at == nil || at.Before(before.Truncate(time.Second)) || at.After(before.Add(time.Second)) {
			t.Errorf("paused at %v, want %v", at, before)
		}
		h.operate(jobs.Command{Verb: jobs.VerbResume, By: "bob", Reason: "over"})
		pass(2 * time.Second)
		if st := h.status(); st.Paused != nil || st.PausedAt != nil {
			t.Errorf("paused by %q after it was resumed", words(st.Paused))
		}
	})
}

func TestAWakeByAProcessWhoseClockIsWrongIsObeyedAtOnce(t *testing.T) {
	for name, off := range map[string]time.Duration{"an hour ahead": time.Hour, "an hour behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			play(t, policy(nil), func(t *testing.T, h *house) {
				pass(2 * time.Second)
				h.operate(jobs.Command{Verb: jobs.VerbWake, By: "ann", Reason: "demo", At: time.Now().Add(off)})
				h.ready(1)
				if n := h.fleet.placements(); n != 1 {
					t.Errorf("%d launches, want 1", n)
				}
			})
		})
	}
}
