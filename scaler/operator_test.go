package scaler

import (
	"testing"

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
