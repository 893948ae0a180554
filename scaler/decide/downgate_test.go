package decide

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestAStepDownIsHeldForAReason(t *testing.T) {
	ago := func(d time.Duration) time.Time { return epoch.Add(-d) }
	for _, tc := range []struct {
		name string
		set  func(*look)
		want int
		why  string
	}{
		{"nothing objects", func(*look) {}, 1, ""},
		{"somebody waits", func(l *look) { l.snap.Held = 1 }, 5, "1 held"},
		{"demand was over twice the slots", func(l *look) { l.mem.Panic = ago(59 * time.Second) }, 5, "twice the slots"},
		{"that is a minute ago", func(l *look) { l.mem.Panic = ago(time.Minute) }, 1, ""},
		{"launched for a backlog", func(l *look) { l.mem.LastBuy = ago(59 * time.Second) }, 5, "launched 59s ago"},
		{"cooldown", func(l *look) {
			l.p.ScaleDown.Cooldown, l.mem.LastDown = 10*time.Second, ago(9*time.Second)
		}, 5, "cooldown until 08:00:01"},
		{"max_step", func(l *look) { l.p.ScaleDown.MaxStep = 2 }, 3, "at most 2 within 2m"},
		{"max_step was taken within the window", func(l *look) {
			l.p.ScaleDown.MaxStep, l.mem.LastDown = 2, ago(119*time.Second)
		}, 5, "at most 2 within 2m"},
		{"max_step was taken before", func(l *look) {
			l.p.ScaleDown.MaxStep, l.mem.LastDown = 2, ago(2*time.Minute)
		}, 3, ""},
		{"a signal is not below", func(l *look) {
			l.p.ScaleDown.QPS, l.down.QPS = some(3), some(3)
		}, 5, "qps 3/s a replica over 2m is not below 3/s"},
		{"a signal is unknown", func(l *look) { l.p.ScaleDown.QPS = some(3) }, 5, "qps unknown"},
		{"scale_up would ask for them again", func(l *look) {
			l.p.ScaleUp.Demand, l.up.Demand = some(10), some(5.4) // 27 in all: 9 each at 3 is too near
		}, 4, "scale_up would ask"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := &look{now: epoch, p: plain(0, 9, 8), snap: &Snapshot{Known: true}, mem: &Memory{}, ready: 5,
				up: reading{length: time.Minute}, down: reading{length: 2 * time.Minute, asked: true}}
			tc.set(l)
			got, why := l.downGate(5, 1)
			if got != tc.want || got > 1 && !strings.Contains(why, tc.why) {
				t.Errorf("down to %d (%s), want %d (%s)", got, why, tc.want, tc.why)
			}
		})
	}
}

func TestNobodyBoughtForABacklogIsCancelledInItsMiddle(t *testing.T) {
	w := newWorld(t, plain(0, 6, 8))
	for i := range 3 {
		w.replica(fmt.Sprint("r", i), jobs.Starting)
	}
	w.arrive(1)
	w.snap.Starts = []float64{100, 101, 102, 103, 104}
	w.snap.Deadlines = []time.Time{epoch.Add(time.Minute)} // none of them can be in time
	if d := w.look(); d.Inputs["need"] != 3 {
		t.Errorf("need %v with 1 held and 3 starting, want 3", d.Inputs["need"])
	}
}

func TestThresholdsAskForCounts(t *testing.T) {
	for _, tc := range []struct {
		name         string
		c            condition
		count, ready int
		exact        bool
		want         int
	}{
		{"at the limit", condition{name: "demand", limit: 50, value: some(50), linear: true}, 2, 2, true, 0},
		{"just above, exact", condition{name: "demand", limit: 50, value: some(50.1), linear: true}, 2, 2, true, 3},
		{"just above, with tolerance", condition{name: "demand", limit: 50, value: some(55), linear: true}, 2, 2, false, 0},
		{"linear", condition{name: "demand", limit: 50, value: some(150), linear: true}, 2, 2, false, 6},
		{"linear, while more start", condition{name: "demand", limit: 50, value: some(75), linear: true}, 4, 2, false, 3},
		{"latency by half at most", condition{name: "latency_p95", limit: 5, value: some(60), latency: true}, 6, 6, false, 9},
		{"latency by one at least", condition{name: "latency_p95", limit: 5, value: some(5.1), latency: true}, 6, 6, false, 7},
		{"unknown", condition{name: "gpu_utilization", limit: 85}, 6, 6, true, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, _ := above([]condition{tc.c}, tc.count, tc.ready, tc.exact); got != tc.want {
				t.Errorf("%d replicas, want %d", got, tc.want)
			}
		})
	}
}

func TestTheKeepAliveBeginsAtTheActivatorsOwnLastDemand(t *testing.T) {
	w := newWorld(t, plain(0, 3, 8))
	w.arrive(1)
	w.look()
	w.replica("r1", jobs.Ready)
	w.hold(0)
	w.now = w.now.Add(time.Second)
	w.snap.LastDemand = epoch.Add(700 * time.Millisecond)
	w.look()
	w.now = epoch.Add(60 * time.Second)
	if d := w.look(); d.To != 1 || !d.Next.Equal(epoch.Add(60*time.Second+700*time.Millisecond)) {
		t.Errorf("to %d at 60s, next look in %s, want 1 and 700ms", d.To, d.Next.Sub(d.At))
	}
	w.now = w.last.Next
	if d := w.look(); d.To != 0 {
		t.Errorf("to %d by %s (%s), want 0", d.To, d.Rule, d.Reason)
	}
}

// What is not known now is unknown for scale_down, though it was known all through
// the window and until a moment ago.
func TestUtilizationThatIsNotKnownNowHoldsTheCount(t *testing.T) {
	p := plain(0, 4, 4)
	p.ScaleDown.GPUUtilization = some(50)
	w := newWorld(t, p)
	for _, id := range []string{"r1", "r2"} {
		w.replica(id, jobs.Ready)
		w.gpu(id, some(10))
	}
	w.snap.InFlight = 1
	w.pass(5*time.Minute+2*time.Second, nil) // amid a bucket of samples
	if v := w.last.Signals.Down.GPUUtilization; v == nil || *v != 10 {
		t.Fatalf("utilization over the window is %v, want 10", v)
	}
	w.gpu("r2", nil)
	if v := w.look().Signals.Down.GPUUtilization; v != nil {
		t.Errorf("utilization over the window is %g with one replica unknown, want it unknown", *v)
	}
}

// At the end of a keep-alive that the service chose itself, scale_down may object,
// in mode thresholds as in mode auto; a fixed one is exact.
func TestTheLastReplicaGoesInModeThresholdsOnceScaleDownAgrees(t *testing.T) {
	for _, tc := range []struct {
		mode string
		want int
	}{{"auto", 1}, {"after", 0}} {
		p := plain(0, 4, 4)
		p.Sizing.Mode, p.ScaleDown.GPUUtilization = "thresholds", some(50)
		p.ToZero.Mode, p.ToZero.AtMost = tc.mode, time.Minute
		w := newWorld(t, p)
		w.replica("r1", jobs.Ready)
		w.gpu("r1", some(90))
		w.snap.InFlight = 1
		w.pass(5*time.Minute, nil)
		w.snap.InFlight = 0
		if w.pass(5*time.Minute, nil); w.last.To != tc.want {
			t.Errorf("to_zero %s: wanted %d by %s (%s) with a utilization of 90 %%, want %d", tc.mode, w.last.To, w.last.Rule, w.last.Reason, tc.want)
		}
		w.gpu("r1", some(10))
		if w.pass(5*time.Minute, nil); w.last.To != 0 {
			t.Errorf("to_zero %s: wanted %d by %s (%s) with a utilization of 10 %%, want none", tc.mode, w.last.To, w.last.Rule, w.last.Reason)
		}
	}
}
