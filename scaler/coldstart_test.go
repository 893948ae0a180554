package scaler

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

// story lays the moments of a start out from the first held request, in ms.
func story(change func(r *replica, at func(ms int) time.Time)) *replica {
	epoch := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	r := &replica{
		alloc:      jobs.Allocation{ID: "r", Created: at(10), Started: at(150)},
		launch:     &launch{Hold: at(0), Decided: at(2), Sent: at(3)},
		firstReady: at(1000),
		answer:     &jobs.FirstAnswer{HeldAt: at(0), Released: at(1002), FirstByte: at(1500)},
	}
	if change != nil {
		change(r, at)
	}
	return r
}

func TestPhasesOfAColdStart(t *testing.T) {
	for name, c := range map[string]struct {
		outcome string
		change  func(r *replica, at func(ms int) time.Time)
		want    map[string]float64
	}{
		"answered": {jobs.OutcomeAnswered, nil,
			map[string]float64{"decide": 3, "place": 7, "start": 140, "load": 850, "ready": 2, "first_byte": 498}},
		"with a pull": {jobs.OutcomeAnswered, func(r *replica, at func(int) time.Time) { r.alloc.Pulling = at(20) },
			map[string]float64{"decide": 3, "place": 17, "pull": 130, "start": 0, "load": 850, "ready": 2, "first_byte": 498}},
		"start time never told": {jobs.OutcomeAnswered, func(r *replica, at func(int) time.Time) { r.alloc.Started = time.Time{} },
			map[string]float64{"decide": 3, "place": 7, "start": 0, "load": 990, "ready": 2, "first_byte": 498}},
		"node's clock behind": {jobs.OutcomeAnswered, func(r *replica, at func(int) time.Time) { r.alloc.Created = at(-500) },
			map[string]float64{"decide": 3, "place": 0, "start": 147, "load": 850, "ready": 2, "first_byte": 498}},
		"taken up by its node late": {jobs.OutcomeAnswered, func(r *replica, at func(int) time.Time) { r.alloc.Received = at(60) },
			map[string]float64{"decide": 3, "place": 57, "start": 90, "load": 850, "ready": 2, "first_byte": 498}},
		"a docker pull on a node five minutes ahead": {jobs.OutcomeAnswered, func(r *replica, at func(int) time.Time) {
			r.alloc.Received, r.alloc.Pulling, r.alloc.Started = at(300_010), at(300_030), at(300_730)
		}, map[string]float64{"decide": 3, "place": 27, "pull": 700, "start": 0, "load": 270, "ready": 2, "first_byte": 498}},
		"a docker pull on a node five minutes behind": {jobs.OutcomeAnswered, func(r *replica, at func(int) time.Time) {
			r.alloc.Received, r.alloc.Pulling, r.alloc.Started = at(-299_990), at(-299_970), at(-299_270)
		}, map[string]float64{"decide": 3, "place": 27, "pull": 700, "start": 0, "load": 270, "ready": 2, "first_byte": 498}},
		"server's clock a minute ahead": {jobs.OutcomeAnswered, func(r *replica, at func(int) time.Time) {
			r.alloc.Created, r.alloc.Received = at(60_010), at(20)
		}, map[string]float64{"decide": 3, "place": 17, "start": 130, "load": 850, "ready": 2, "first_byte": 498}},
		"replaced by its fleet, whose clock is a minute ahead": {jobs.OutcomeAnswered, func(r *replica, at func(int) time.Time) {
			r.launch, r.met, r.alloc.Created = nil, at(0), at(60_000)
		}, map[string]float64{"decide": 0, "place": 0, "start": 150, "load": 850, "ready": 2, "first_byte": 498}},
		"failed while it was pulled on a node ahead": {jobs.OutcomeFailed, func(r *replica, at func(int) time.Time) {
			r.firstReady, r.answer = time.Time{}, nil
			r.alloc.Received, r.alloc.Pulling, r.alloc.Started = at(60_010), at(60_030), time.Time{}
		}, map[string]float64{"decide": 3, "place": 27, "pull": 1970, "start": 0, "load": 0}},
		"first request long after": {jobs.OutcomeAnswered, func(r *replica, at func(int) time.Time) {
			r.answer = &jobs.FirstAnswer{Released: at(60_000), FirstByte: at(60_100)}
		}, map[string]float64{"decide": 3, "place": 7, "start": 140, "load": 850, "ready": 0, "first_byte": 100}},
		"failed while loading": {jobs.OutcomeFailed, func(r *replica, at func(int) time.Time) { r.firstReady, r.answer = time.Time{}, nil },
			map[string]float64{"decide": 3, "place": 7, "start": 140, "load": 1850}},
		"failed to start": {jobs.OutcomeFailed, func(r *replica, at func(int) time.Time) {
			r.firstReady, r.answer, r.alloc.Started = time.Time{}, nil, time.Time{}
		}, map[string]float64{"decide": 3, "place": 7, "start": 1990, "load": 0}},
		"unused": {jobs.OutcomeUnused, func(r *replica, at func(int) time.Time) { r.answer = nil },
			map[string]float64{"decide": 3, "place": 7, "start": 140, "load": 850}},
	} {
		r := story(c.change)
		got := tell("s", "", r, c.outcome, story(nil).launch.Hold.Add(2*time.Second))
		phases, end := map[string]float64{}, 0.0
		for _, p := range got.Phases {
			phases[p.Name] = p.DurMS
			if p.DurMS < 0 {
				t.Errorf("%s: %s takes %v ms", name, p.Name, p.DurMS)
			}
			if p.StartMS != end {
				t.Errorf("%s: %s starts at %v, the phase before ends at %v", name, p.Name, p.StartMS, end)
			}
			end = p.StartMS + p.DurMS
		}
		if diff := cmp.Diff(c.want, phases); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if end != got.DurMS {
			t.Errorf("%s: phases add up to %v of %v ms", name, end, got.DurMS)
		}
	}
}

func TestAReplicaThatAnOperatorTakesBackBeforeItIsReadyHasNotFailed(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.load = time.Hour })
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 1})
		within(t, 5*time.Second, "launched", func() bool { return h.fleet.running() == 1 })
		pass(3 * time.Second)
		h.operate(jobs.Command{Verb: jobs.VerbUnpin})
		h.operate(jobs.Command{Verb: jobs.VerbSleep})
		within(t, 5*time.Second, "gone", func() bool { return h.fleet.running() == 0 })
		pass(2 * time.Second)
		starts, err := h.history.ColdStarts(t.Context(), "translate", 0)
		if err != nil || len(starts) != 1 || starts[0].Outcome != jobs.OutcomeUnused || starts[0].Failure != "" {
			t.Errorf("cold starts %+v (%v), want one that was not used", starts, err)
		}
		if n := h.status().Cold.Count; n != 0 {
			t.Errorf("%d starts to expect the next one by, want none: nothing was ever ready", n)
		}
	})
}
