package scaler

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/eta"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/decide"
	"github.com/pilotlight/pilotlight/scaler/history"
)

// An intent is stored before the call and the decision after it: a scaler that is
// killed between the two leaves a change that only its intent explains.
func TestAChangeWhoseScalerWasKilledBeforeItStoredTheDecisionHasOneAllTheSame(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.stop()
		h.redis.FlushAll()
		if _, err := h.history.Claim(t.Context(), "translate", 1); err != nil {
			t.Fatal(err)
		}
		ref := jobs.Ref{Namespace: "default", Job: "translate", Group: "server"}
		if err := h.history.Intend(t.Context(), "translate", history.Intent{
			Epoch: 1, Number: 1, At: time.Now(), Ref: ref, To: 1, Reason: "1 held + 0 in flight: at least 1 replica", Called: true,
		}); err != nil {
			t.Fatal(err)
		}
		if err := h.fleet.Scale(t.Context(), ref, 1, "", nil); err != nil {
			t.Fatal(err)
		}
		for epoch := int64(2); epoch <= 3; epoch++ { // told once, whoever reads it again
			l := h.lead(epoch)
			pass(3 * time.Second)
			l.stop()
		}
		list, err := h.history.Decisions(t.Context(), "translate", 20)
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		for _, d := range list {
			if d.Rule == ruleInherited && d.From == 0 && d.To == 1 && strings.Contains(d.Reason, "1 held") {
				told++
			}
		}
		if told != 1 {
			t.Errorf("%d decisions tell of the launch, want 1 of %+v", told, list)
		}
		h.everyChangeIsTold()
	})
}

// What was launched by a call whose decision was not stored is what the rules go on
// from: else those that move the count by steps would stop it at once.
func TestALaunchThatOnlyItsIntentTellsOfIsNotTakenBackByTheNextScaler(t *testing.T) {
	steps := policy(func(p *policies.Policy) { p.Sizing.Mode, p.Replicas.Min = "thresholds", 1 })
	play(t, steps, func(t *testing.T, h *house) {
		within(t, 10*time.Second, "the first replica", func() bool { return h.fleet.running() == 1 })
		pass(5 * time.Second)
		h.stop()
		ref := jobs.Ref{Namespace: "default", Job: "translate", Group: "server"}
		if err := h.history.Intend(t.Context(), "translate", history.Intent{
			Epoch: 99, Number: 1, At: time.Now(), Ref: ref, From: 1, To: 2, Reason: "qps over 1m is above 10", Called: true,
		}); err != nil {
			t.Fatal(err)
		}
		if err := h.fleet.Scale(t.Context(), ref, 2, "", nil); err != nil {
			t.Fatal(err)
		}
		l := h.lead(100)
		pass(30 * time.Second)
		l.stop()
		if n := h.fleet.running(); n != 2 {
			t.Errorf("%d replicas run, want the 2 that there were", n)
		}
		h.everyChangeIsTold()
	})
}

// What a call was one step of is told once, by the decision that was stored, even if
// the scaler was killed just after the call.
func TestAStepTowardsWhatWasStoredIsToldByThatAlone(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.ledger.ask(200)
		within(t, time.Minute, "answered", func() bool { return h.ledger.waiting() == 0 })
		h.operate(jobs.Command{Verb: jobs.VerbSleep, Reason: "a test"})
		within(t, 10*time.Second, "a decision to end them", func() bool { return len(h.ruled("asleep")) == 1 })
		pass(2 * time.Second)
		h.stop()
		ref := jobs.Ref{Namespace: "default", Job: "translate", Group: "server"}
		if err := h.history.Intend(t.Context(), "translate", history.Intent{
			Epoch: 99, Number: 1, At: time.Now(), Ref: ref, From: 2, To: 1, Reason: "asleep", Called: true,
		}); err != nil {
			t.Fatal(err)
		}
		l := h.lead(100)
		pass(3 * time.Second)
		l.stop()
		if told := h.ruled(ruleInherited); len(told) != 0 {
			t.Errorf("%+v; the decision for it was stored", told)
		}
	})
}

// A mark that must have been passed for a minute has been a minute after it was,
// whoever leads by then.
func TestWhatAScalerHasMeasuredCountsForTheNextOne(t *testing.T) {
	p := byMetric(policies.Metric{Source: "metrics", Query: "waiting"})
	p.ScaleDown.Window = time.Minute
	play(t, p, func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.gpu = "waiting 9\n" })
		h.awaitReady(3)
		pass(time.Minute)
		h.fleet.set(func() { h.fleet.gpu = "waiting 0\n" })
		pass(45 * time.Second)
		if n := h.fleet.wants(); n != 3 {
			t.Fatalf("%d replicas before the window is over, want 3", n)
		}
		h.stop()
		h.start()
		pass(10 * time.Second)
		if n := h.fleet.wants(); n != 3 {
			t.Errorf("%d replicas 55 s after the metric fell, want 3: the window is a minute", n)
		}
		pass(15 * time.Second)
		if n := h.fleet.wants(); n == 3 {
			t.Errorf("still %d replicas 70 s after the metric fell: the next scaler has forgotten what the last one saw", n)
		}
	})
}

// What a scaler stores of a service is what the next one knows.
func TestNothingThatIsRememberedIsLostInTheRecall(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	begin := func() *service {
		ses := &session{cfg: Config{Logger: slog.New(slog.DiscardHandler), Specs: func(string) (*jobs.Spec, bool) { return nil, false }}}
		return newService(ses, policies.Version{Name: "translate", Version: 3, Policy: policy(nil)})
	}
	s := begin()
	s.memory = decide.Memory{Since: now, At: now, Wanted: 2, LastDemand: now}
	s.failures = decide.Failures{InARow: 2, Last: now, Seconds: 9, Reason: "exit 1"}
	s.spells = []spell{{At: now, Seconds: 9}}
	s.starts, s.past = []float64{6, 7}, []eta.Start{{}}
	s.serviceTime, s.arrivals, s.lastDemand = decide.ServiceTime{MeanSeconds: 4, Count: 9}, 77, now
	s.had, s.change, s.operated, s.revived = true, 12, 3, now
	s.out = &out{Rule: ruleStopped, Why: "stopped by ann", Since: now}
	s.hand = &decide.Hand{Count: 2, At: now, Until: now.Add(time.Hour)}
	s.passed = []passing{{Notice: jobs.Notice{Kind: jobs.NoticeChangedByHand, Text: "count set by hand", Since: now}, Until: now.Add(time.Hour)}}
	written, err := s.remembered()
	if err != nil {
		t.Fatal(err)
	}
	next := begin()
	if err := next.recall(written); err != nil {
		t.Fatal(err)
	}
	known := func(s *service) string {
		text, err := json.Marshal([]any{s.memory, s.failures, s.spells, s.starts, s.past, s.serviceTime, s.arrivals,
			s.lastDemand, s.had, s.change, s.operated, s.revived, s.out, s.hand, s.passed})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if diff := cmp.Diff(known(s), known(next)); diff != "" {
		t.Errorf("the next scaler knows something else (-want +got):\n%s", diff)
	}
}
