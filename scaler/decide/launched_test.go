package decide

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// While no start was measured, the mean of the samples that stand in (140 s) is
// later than their median (120 s), which a new launch is taken to need.
func TestAHardTargetDoesNotLaunchTwiceForOneBacklog(t *testing.T) {
	p := plain(0, 10, 1)
	within := time.Minute
	p.Sizing.Patience, p.Sizing.DrainWithin = 0.01, &within
	w := newWorld(t, p)
	w.hold(60)
	first := w.look()
	if first.To < 2 {
		t.Fatalf("to %d: nothing was tested", first.To)
	}
	for i := range first.To {
		w.replica(fmt.Sprint("r", i), jobs.Pending)
	}
	if again := w.look(); again.To != first.To {
		t.Errorf("to %d, and with those starting to %d: %s", first.To, again.To, again.Reason)
	}
}

func TestAWindowIsComputedAgainWhenTheClockWasSetBack(t *testing.T) {
	s := &policies.Schedule{Name: "day", Cron: "0 8 * * *", Zone: "UTC", For: time.Hour, Min: 1}
	ten := epoch.Add(2 * time.Hour)
	later, _ := windowOf(nil, s, ten)
	if want := epoch.AddDate(0, 0, 1); !later.Begins.Equal(want) {
		t.Fatalf("after ten it begins at %s, want %s", later.Begins, want)
	}
	if back, _ := windowOf([]Window{later}, s, ten.Add(-90*time.Minute)); !back.Begins.Equal(epoch) {
		t.Errorf("back at half past eight the window began at %s, want %s", back.Begins, epoch)
	}
	other := *s
	other.Zone = "Asia/Shanghai"
	if w, _ := windowOf([]Window{later}, &other, ten); w.Begins.Equal(later.Begins) {
		t.Errorf("in another zone it begins at %s as well", w.Begins)
	}
}

func TestAMetricThatIsNotKnownNowHoldsTheCount(t *testing.T) {
	p := plain(0, 4, 8)
	p.Metrics = []policies.Metric{{Name: "waiting", Source: "metrics", Query: "waiting", Down: some(5)}}
	w := newWorld(t, p)
	w.replica("r1", jobs.Ready)
	w.snap.InFlight, w.snap.Metrics = 1, map[string]*float64{"waiting": some(1)}
	w.pass(3*time.Minute+2*time.Second, nil)
	if v := w.last.Signals.Down.Metrics["waiting"]; v == nil || *v != 1 {
		t.Fatalf("the mean is %v, want 1", v)
	}
	w.snap.Metrics = nil // in the middle of a bucket that has a sample
	w.pass(time.Second, nil)
	if v, named := w.last.Signals.Down.Metrics["waiting"]; v != nil || !named {
		t.Errorf("it is %v while nobody knows it, want unknown", v)
	}
}

// Ten minutes without the ledger are not ten minutes without demand.
func TestWhatWasNotSeenIsNoGap(t *testing.T) {
	w := newWorld(t, auto(3))
	w.replica("r1", jobs.Ready)
	w.snap.InFlight = 1
	w.pass(5*time.Second, nil)
	w.snap.Known = false
	w.pass(10*time.Minute, nil)
	w.snap.Known = true
	w.pass(5*time.Second, nil)
	if n := w.mem.Gaps.band(0).Count; n != 0 {
		t.Errorf("%d gaps while nobody could see the demand", n)
	}
	w.snap.InFlight = 0
	w.pass(time.Minute, nil)
	w.snap.InFlight = 1
	w.pass(time.Second, nil)
	if past := w.mem.Gaps.band(0).past(); len(past) != 1 || past[0].seconds < 60 || past[0].seconds > 62 {
		t.Errorf("gaps %v, want one of a minute", past)
	}
}

func TestArrivalsAreBelievedAsFarAsTheyAreEvidence(t *testing.T) {
	batches := Wake{Mean: 20, Count: enoughWakes}
	for _, tc := range []struct {
		name string
		wake Wake
		n    uint64
		want float64
	}{
		{"one is no rate", Wake{}, 1, 0},
		{"two are two", Wake{}, 2, 2},
		{"forty are a flood", Wake{}, 40, 2 * 39 * 39},
		{"what wakes have brought is believed twice", batches, 15, 40},
		{"what has come beyond that, too", batches, 101, 200},
		{"few have come", batches, 3, 8},
		{"four wakes say nothing yet", Wake{Mean: 20, Count: enoughWakes - 1}, 15, 2 * 14 * 14},
	} {
		if got := tc.wake.believable(tc.n); got != tc.want {
			t.Errorf("%s: %g, want %g", tc.name, got, tc.want)
		}
	}
}

// The mean over the replicas is low while one of them is full: one replica fewer
// would crowd it still more.
func TestAMetricHoldsTheCountByItsFullestReplica(t *testing.T) {
	p := plain(0, 4, 8)
	p.Metrics = []policies.Metric{{Name: "waiting", Source: "metrics", Query: "waiting", Up: some(20), Down: some(5)}}
	w := newWorld(t, p)
	w.replica("r1", jobs.Ready)
	w.snap.InFlight = 1
	w.snap.Metrics, w.snap.MetricMaxes = map[string]*float64{"waiting": some(3)}, map[string]*float64{"waiting": some(9)}
	w.pass(4*time.Minute, nil)
	got := []*float64{w.last.Signals.Up.Metrics["waiting"], w.last.Signals.Down.Metrics["waiting"]}
	if diff := cmp.Diff([]*float64{some(3), some(9)}, got); diff != "" {
		t.Fatalf("the mean for up and the maximum for down (-want +got):\n%s", diff)
	}
	w.snap.MetricMaxes = map[string]*float64{"waiting": nil} // of one replica nobody knows
	w.pass(time.Second, nil)
	if v := w.last.Signals.Down.Metrics["waiting"]; v != nil {
		t.Errorf("down %g while the maximum is unknown", *v)
	}
	if v := w.last.Signals.Up.Metrics["waiting"]; v == nil {
		t.Error("up is unknown while the mean is known")
	}
}
