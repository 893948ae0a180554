package scaler

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestADeploymentInTheWayIsWaitedForAndSaid(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.deployment[group] = "deployment 1a2b is running until its replicas are healthy" })
		h.fleet.tellAll()
		h.ledger.ask(1)
		pass(2 * time.Minute)
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
		pass(time.Second)
		if h.notice(jobs.NoticeDeployment) != "" {
			t.Error("the notice has outlived the deployment")
		}
	})
}

func TestADeploymentThatThePictureDoesNotShowIsNotHammered(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.deployment[group] = "hidden"; h.fleet.blindToDeployments = true })
		h.ledger.ask(1)
		pass(time.Minute)
		h.told(jobs.StateBlocked, "active deployment")
		if n := len(h.fleet.scaleCalls()); n < 5 || n > 30 {
			t.Errorf("%d scale calls in a minute, want one each few seconds", n)
		}
		h.fleet.set(func() { clear(h.fleet.deployment) })
		within(t, 10*time.Second, "answered", func() bool { return h.ledger.waiting() == 0 })
	})
}

func TestARevokedTokenIsOneClearErrorAndHarmsNoWarmTraffic(t *testing.T) {
	play(t, policy(oneKept), func(t *testing.T, h *house) {
		h.ready(1)
		h.fleet.set(func() { h.fleet.denied = true })
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 2})
		pass(10 * time.Second)
		h.ledger.ask(2)
		within(t, 2*time.Second, "warm traffic", func() bool { return h.ledger.waiting() == 0 })
		pass(time.Minute)
		st := h.status()
		if st.State != jobs.StateReady || words(st.Blocked) != jobs.ErrDenied.Error() {
			t.Errorf("state %s, blocked by %q; want ready, and the cause told", st.State, words(st.Blocked))
		}
		if n := h.fleet.observed; n > 20 {
			t.Errorf("%d refused looks in a minute, want one each ten seconds", n)
		}
		h.fleet.set(func() { h.fleet.denied = false })
		within(t, 15*time.Second, "two replicas", func() bool { return h.fleet.running() == 2 })
		pass(2 * time.Second)
		if st := h.status(); st.Blocked != nil {
			t.Errorf("blocked by %q although it works again", *st.Blocked)
		}
	})
}

func TestATokenWithoutTheRightToScaleIsSaidAndTriedSlowly(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.readOnly = true })
		h.ledger.ask(1)
		pass(time.Minute)
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

func TestABlockedWakeIsToldOnceEverywhereAndGoesOnByItself(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		full := "no free GPU: 2 nodes, 0 of 4 nvidia/gpu free"
		h.fleet.set(func() { h.fleet.full = full })
		h.ledger.ask(1)
		pass(5 * time.Minute)
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
		pass(5 * time.Second)
		if n := len(h.ruled("blocked")); n != 2 {
			t.Errorf("%d decisions after the reason changed, want 2", n)
		}
		if diff := cmp.Diff([]int{1}, h.fleet.counts()); diff != "" {
			t.Errorf("scale calls (-want +got):\n%s", diff)
		}
		h.fleet.set(func() { h.fleet.full = ""; h.fleet.fill(group) }) // the evaluation was waiting for this
		within(t, 5*time.Second, "answered", func() bool { return h.ledger.waiting() == 0 })
		pass(time.Second)
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
		pass(time.Second)
		list := h.status().Notices
		if len(list) != 1 || list[0].Kind != jobs.NoticeDrift || !slices.Equal(list[0].Detail, lines) || time.Since(list[0].Since) > 2*time.Second {
			t.Errorf("notices %v, want the difference", list)
		}
		since := list[0].Since
		pass(2 * time.Minute)
		if list := h.status().Notices; len(list) != 1 || !list[0].Since.Equal(since) {
			t.Errorf("notices %v, want it since %v", list, since)
		}
	})
}
