package decide

import (
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestACountSetByHandIsHeldPastTheBoundsUntilItsTimeIsOver(t *testing.T) {
	w := newWorld(t, plain(1, 3, 2))
	w.look()
	w.snap.Hand = &Hand{Count: 5, At: w.now, Until: w.now.Add(time.Minute), By: "load test"}
	d := w.look()
	if d.To != 5 || d.Rule != "by-hand" || d.Reason != "count set to 5 by hand (load test): held until 08:01:00 or unpin" {
		t.Errorf("to %d by %s: %q; want 5 by hand until a minute later", d.To, d.Rule, d.Reason)
	}
	if d.Next.After(w.snap.Hand.Until) {
		t.Errorf("looks again at %v, after the end at %v", d.Next, w.snap.Hand.Until)
	}
	w.now = w.snap.Hand.Until
	if d := w.look(); d.To > 3 || d.From != 5 {
		t.Errorf("%d→%d after its time, want from 5 within the bounds", d.From, d.To)
	}
}

func TestAStoppedJobWantsNothingWhateverIsAskedOrPinned(t *testing.T) {
	w := newWorld(t, plain(1, 3, 2))
	w.arrive(4)
	if d := w.look(); d.To == 0 {
		t.Fatal("nothing wanted for those who wait")
	}
	two := 2
	w.snap.Operator = Operator{Pinned: &two, Paused: true}
	w.snap.Out = &Out{Rule: "stopped", Reason: "stopped in Nomad at 12:03"}
	if d := w.look(); d.To != 0 || d.Rule != "stopped" || d.Reason != "stopped in Nomad at 12:03" {
		t.Errorf("to %d by %s: %q; want 0, stopped", d.To, d.Rule, d.Reason)
	}
	w.snap.Out, w.snap.Operator = nil, Operator{}
	if d := w.look(); d.To == 0 {
		t.Error("nothing wanted although it runs again and requests wait")
	}
}

func TestAnAdoptedCountIsNotSetBackBeforeItsKeepAliveIsOver(t *testing.T) {
	for name, mode := range map[string]string{"auto": "auto", "thresholds": modeThresholds} {
		t.Run(name, func(t *testing.T) {
			p := plain(0, 4, 2)
			p.Sizing.Mode = mode
			p.ToZero.Mode, p.ToZero.After = zeroAfter, 2*time.Minute
			p.ScaleDown.Demand, p.ScaleDown.Window = some(1), 30*time.Second
			w := newWorld(t, p)
			w.pass(10*time.Minute, nil)
			w.mem = w.mem.Adopted(w.now, 3)
			for _, id := range []string{"r0", "r1", "r2"} {
				w.replica(id, jobs.Ready)
			}
			w.pass(25*time.Second, func(d Decision) {
				if d.To != 3 {
					t.Fatalf("%s: to %d by %s: %s; want 3 for a while", w.now.Sub(epoch), d.To, d.Rule, d.Reason)
				}
			})
			w.pass(10*time.Minute, nil)
			if w.last.To != 0 {
				t.Errorf("to %d by %s in the end, want 0: the rules go on", w.last.To, w.last.Rule)
			}
		})
	}
}

func TestEachReplicaOfAnAdoptedCountHasAKeepAliveOfItsOwn(t *testing.T) {
	p := plain(0, 4, 2)
	p.ToZero.Mode = zeroAuto // what a cold start of two minutes costs: four for the upper ones
	w := newWorld(t, p)
	w.pass(10*time.Minute, nil)
	w.mem = w.mem.Adopted(w.now, 3)
	adopted := w.now
	w.pass(10*time.Second, nil) // nothing of it is there yet
	for _, id := range []string{"r0", "r1", "r2"} {
		w.replica(id, jobs.Ready)
	}
	w.snap.InFlight = 1
	w.pass(10*time.Minute, func(d Decision) {
		if d.To < d.From && d.At.Sub(adopted) != 4*time.Minute {
			t.Errorf("to %d by %s after %s, want after 4m", d.To, d.Rule, d.At.Sub(adopted))
		}
	})
	if w.last.To != 1 {
		t.Errorf("to %d by %s in the end, want the one that serves", w.last.To, w.last.Rule)
	}
}
