package decide

import (
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

func TestSleepEndsAtTheFirstDemandAfterIt(t *testing.T) {
	asleep := func(t *testing.T) *world {
		w := newWorld(t, plain(0, 3, 8))
		w.arrive(2)
		w.look()
		w.snap.Operator = Operator{Asleep: true, SleepAt: w.now, By: "ada"}
		w.look()
		w.now = w.now.Add(time.Second)
		w.snap.Arrivals++ // counted late, but before the sleep
		if d := w.look(); d.To != 0 || d.Rule != "asleep" {
			t.Fatalf("to %d by %s (%s), want 0 by asleep", d.To, d.Rule, d.Reason)
		}
		return w
	}
	t.Run("who waited before does not end it", func(t *testing.T) {
		w := asleep(t)
		w.pass(time.Minute, nil)
		if w.last.To != 0 {
			t.Errorf("to %d by %s (%s), want 0", w.last.To, w.last.Rule, w.last.Reason)
		}
	})
	t.Run("a later one does, behind them", func(t *testing.T) {
		w := asleep(t)
		w.pass(5*time.Second, nil)
		w.arrive(1)
		if d := w.look(); d.To == 0 {
			t.Errorf("to 0 by %s (%s)", d.Rule, d.Reason)
		}
	})
	t.Run("a later one does, at once", func(t *testing.T) {
		w := asleep(t)
		w.hold(0)
		w.hold(1) // announced; its count comes a second later
		if d := w.look(); d.To == 0 {
			t.Errorf("to 0 by %s (%s)", d.Rule, d.Reason)
		}
	})
	t.Run("a leader without memory sees that it has ended", func(t *testing.T) {
		w := asleep(t)
		w.now = w.now.Add(time.Minute)
		w.replica("r1", jobs.Ready)
		w.hold(0)
		w.snap.InFlight, w.mem = 1, Memory{}
		if d := w.look(); d.To != 1 {
			t.Errorf("to %d by %s (%s), want 1", d.To, d.Rule, d.Reason)
		}
	})
}

func TestAWakeWaitsNoLongerThanARequest(t *testing.T) {
	w := newWorld(t, plain(0, 3, 8))
	w.p.Hold.MaxWait = 2 * time.Minute
	w.snap.Operator = Operator{WakeAt: epoch, By: "ada"}
	w.look()
	w.pass(2*time.Minute, nil)
	w.pass(58*time.Second, func(d Decision) {
		if d.To != 1 {
			t.Errorf("%s: to %d by %s (%s), want the keep-alive", d.At.Sub(epoch), d.To, d.Rule, d.Reason)
		}
	})
	w.pass(time.Hour, nil)
	if w.last.To != 0 {
		t.Errorf("to %d by %s (%s), want 0", w.last.To, w.last.Rule, w.last.Reason)
	}
}

func TestAWakeIsHeardWhileDemandIsUnknown(t *testing.T) {
	w := newWorld(t, plain(0, 3, 8))
	w.look()
	w.snap.Known = false
	w.snap.Operator = Operator{WakeAt: w.now, By: "ada"}
	if d := w.look(); d.To != 1 {
		t.Errorf("to %d by %s (%s), want 1", d.To, d.Rule, d.Reason)
	}
}

// A wake bears the time of another clock than the scaler's. What is seen of it has
// happened, and happens once.
func TestAWakeByAClockThatIsAheadIsAnsweredAtOnceAndOnce(t *testing.T) {
	p := plain(0, 4, 2)
	w := newWorld(t, p)
	w.snap.Operator = Operator{WakeAt: w.now.Add(10 * time.Minute), By: "ada"}
	if d := w.look(); d.To != 1 || d.Rule != "wake" {
		t.Fatalf("%d→%d by %s, want one replica by the wake", d.From, d.To, d.Rule)
	}
	w.replica("r1", jobs.Ready)
	w.pass(61*time.Second, nil)
	if w.last.To != 0 {
		t.Errorf("wanted %d by %s a minute after it was ready, want the keep-alive of a minute over", w.last.To, w.last.Rule)
	}
	w.replica("r1", jobs.Gone)
	w.pass(20*time.Minute, func(d Decision) {
		if d.To != 0 {
			t.Fatalf("%s: wanted %d by %s, woken again by the same wake", d.At.Sub(epoch), d.To, d.Rule)
		}
	})
}

func TestAPinIsObeyedBelowASchedule(t *testing.T) {
	p := plain(0, 6, 4)
	p.Schedules = []policies.Schedule{{Name: "day", Cron: "0 8 * * *", Zone: "UTC", For: time.Hour, Min: 3}}
	w := newWorld(t, p)
	one := 1
	w.snap.Operator = Operator{Pinned: &one, By: "ada"}
	if d := w.look(); d.To != 1 || d.Rule != "pinned" {
		t.Errorf("wanted %d by %s, want the one it is pinned to", d.To, d.Rule)
	}
	if w.snap.Operator = (Operator{}); w.look().To != 3 {
		t.Errorf("wanted %d by %s without the pin, want the schedule's three", w.last.To, w.last.Rule)
	}
}

func TestTheEndOfAPinToZeroLaunchesNothingThatNobodyAsksFor(t *testing.T) {
	w := newWorld(t, auto(3))
	w.serve(2)
	w.snap.InFlight = 12
	w.pass(time.Minute, func(Decision) { w.snap.Arrivals += 2 })
	w.snap.InFlight, w.snap.Operator.Pinned = 0, new(int)
	w.pass(20*time.Second, nil)
	w.snap.Operator.Pinned = nil
	w.serve(0)
	w.pass(time.Minute, func(d Decision) {
		if d.To > 0 {
			t.Fatalf("%s: %d→%d (%s)", w.now.Sub(epoch), d.From, d.To, d.Reason)
		}
	})
}
