package decide

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// unix are the moments in a Memory that are kept as whole seconds, hours or days,
// and other numbers of 64 bits: what becomes of each when the clock is set back.
// A number that is not listed fails the test below.
var unix = map[string]string{
	"Samples.Closed.Start":  "the series begins anew if the clock goes back by more than a bucket",
	"Samples.Closed.End":    "likewise",
	"Samples.Closed.First":  "likewise",
	"Samples.Open.Start":    "likewise",
	"Samples.Open.End":      "likewise",
	"Samples.Open.First":    "likewise",
	"Samples.Slot":          "likewise",
	"Latency.Recent.Start":  "set back: all completions are forgotten",
	"Latency.Recent.Span":   "a length",
	"Latency.Folded":        "set back: all completions are forgotten",
	"Latency.Buckets.Start": "before Folded",
	"Latency.Buckets.Span":  "a length",
	"Peak.Closed.Minute":    "left out while ahead, by the next sample",
	"Peak.Open.Minute":      "closed by the next sample, and left out while ahead",
	"Missed.Bands.Began":    "set back: what is running is forgotten",
	"Gaps.Bands.Last":       "set back, and so is what is packed",
	"Gaps.Bands.Choice.At":  "a choice ahead of now is made anew",
	"Gaps.Bands.Choice.Gap": "a length",
	"Prewarm.Days.Day":      "set back: days to come are forgotten",
	"Prewarm.Hours.Hour":    "left out while ahead",
	"Prewarm.Hour.Hour":     "left out while ahead",
	"Prewarm.Plan.Hour":     "compared for equality: a plan of another hour is made anew",
	"Metrics.Span":          "a length",
	"Metrics.Last":          "a metric begins anew if its last bucket is ahead",
	"Schedules.Since":       "a window is looked for anew if now is before it",
	"Threshold.Evaluated":   "compared for equality with the grid point",
}

// ahead are moments that may lie ahead of a clock that was set back.
var ahead = map[string]string{
	"Woken":            "says which wake was answered: the same one must not be answered again when its hour comes",
	"Brake.Wake":       "says of which wake Seen is: it is compared for equality",
	"Prewarm.Off":      "lies ahead by its nature; it goes back with the clock",
	"Schedules.Begins": "likewise; looked for anew if now is before Since",
}

// moments visits each time.Time and int64 in a value, by path.
func moments(v reflect.Value, path string, visit func(path string, v reflect.Value)) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time](), v.Kind() == reflect.Int64:
		visit(path, v)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			moments(v.Field(i), strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), visit)
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			moments(v.Index(i), path, visit)
		}
	}
}

func TestNoMomentInAMemoryLiesAheadOfAClockThatWasSetBack(t *testing.T) {
	then, now := epoch.Add(time.Hour), epoch
	var mem Memory
	seen := map[string]bool{}
	moments(reflect.ValueOf(&mem).Elem(), "", func(path string, v reflect.Value) {
		seen[path] = true
		if v.Kind() != reflect.Int64 {
			v.Set(reflect.ValueOf(then))
		} else if _, listed := unix[path]; !listed {
			t.Errorf("%s: nothing says what becomes of it when the clock is set back", path)
		}
	})
	back := mem.setBack(now)
	moments(reflect.ValueOf(&back).Elem(), "", func(path string, v reflect.Value) {
		at, isTime := v.Interface().(time.Time)
		if _, may := ahead[path]; isTime && !may && at.After(now) {
			t.Errorf("%s is %s ahead of a clock that was set back", path, at.Sub(now))
		}
	})
	for path := range unix {
		if !seen[path] {
			t.Errorf("%s is no field", path)
		}
	}
	for path := range ahead {
		if !seen[path] {
			t.Errorf("%s is no field", path)
		}
	}
	if at, err := time.Parse(time.RFC3339, "2026-01-05T09:00:00Z"); err != nil || !mem.Levels[0].Last.Equal(at) || !mem.Gaps.Idle[0].Last.Equal(at) {
		t.Error("what was given has been written to")
	}
}

// setBackBy decides once at epoch+passed with a Memory, and once more when the
// clock shows back less.
func setBackBy(t *testing.T, back time.Duration, snap Snapshot, mem Memory) (Decision, Memory) {
	t.Helper()
	p := plain(0, 4, 2)
	_, mem = Decide(epoch, p, 1, snap, mem)
	return Decide(epoch.Add(-back), p, 1, snap, mem)
}

func TestAClockThatIsSetBackDoesNotProlongTheDayWithoutStarts(t *testing.T) {
	for _, back := range []time.Duration{time.Hour, 300 * 24 * time.Hour} {
		spent := epoch.Add(-23 * time.Hour) // an hour is left
		snap := Snapshot{Known: true, Held: 1, Failures: Failures{InARow: 9, Seconds: 3600, Last: spent}}
		d, mem := setBackBy(t, back, snap, Memory{Brake: Brake{Spent: spent}})
		if left := d.BrakeUntil.Sub(d.At); left != time.Hour {
			t.Errorf("set back by %s: the next start is in %s, want in 1h", back, left)
		}
		snap.Failures.Last = d.At // what lies ahead counts from when the clock is found set back
		d, _ = Decide(d.At.Add(time.Hour), plain(0, 4, 2), 1, snap, mem)
		if !d.BrakeUntil.IsZero() {
			t.Errorf("set back by %s: an hour later the next start is at %s, want it now", back, d.BrakeUntil)
		}
	}
}

func TestAClockThatIsSetBackDoesNotProlongThePauseOfPrewarming(t *testing.T) {
	_, mem := setBackBy(t, 5*time.Hour, Snapshot{Known: true}, Memory{Prewarm: Prewarm{Off: epoch.Add(time.Hour)}})
	if left := mem.Prewarm.Off.Sub(mem.At); left != time.Hour {
		t.Errorf("prewarming is off for %s, want 1h", left)
	}
}

func TestATimeOfDayIsLearnedAlsoAfterAClockWasAYearAhead(t *testing.T) {
	p, mem := plain(0, 4, 2), Memory{}
	p.ToZero.Mode = "auto"
	for _, day := range []int{0, 1, 365, 2, 3, 4} { // the clock is wrong on one of them
		at := epoch.AddDate(0, 0, day)
		_, mem = Decide(at.Add(-time.Hour), p, 1, Snapshot{Known: true}, mem)
		_, mem = Decide(at, p, 1, Snapshot{Known: true, Held: 1}, mem)
	}
	if chance, hits, days := mem.Prewarm.chance(epoch.AddDate(0, 0, 5)); hits != 5 || days != 5 {
		t.Errorf("the chance is %.2f, from %d of %d days, want 5 of 5", chance, hits, days)
	}
}

func TestGapsOfAClockThatWasAheadDoNotHideTheTimeOfDayOfThoseThatFollow(t *testing.T) {
	ahead := epoch.AddDate(1, 0, 0)
	g := Gaps{}.closed(0, ahead, ahead.Add(time.Hour), 0).setBack(epoch)
	g = g.closed(0, epoch.Add(3*time.Hour), epoch.Add(4*time.Hour), 0)
	past := g.band(0).past()
	if len(past) != 2 || past[0].opened != epoch.Unix() || past[1].opened != epoch.Add(3*time.Hour).Unix() {
		t.Errorf("gaps opened at %v, want the first at %d and the second three hours later", past, epoch.Unix())
	}
}

func TestCompletionsAheadOfAClockThatWasSetBackAreForgotten(t *testing.T) {
	w := newWorld(t, plain(0, 4, 2))
	w.replica("r1", jobs.Ready)
	w.snap.InFlight, w.served.latency, w.served.times = 1, 9*time.Second, 50
	w.pass(10*time.Second, nil) // so few that nothing is folded yet
	w.now = w.now.Add(-time.Hour)
	w.served.latency, w.served.buckets = time.Second, map[time.Time]*latencySum{}
	w.pass(2*time.Minute, nil)
	if v := w.last.Signals.Down.LatencyMean; v == nil || *v > 1.1 {
		t.Errorf("the mean latency is %v, want the 1s since the clock was set back", v)
	}
}

func TestSamplesAreTakenAtOnceAfterAClockWasSetBackByLessThanAWindow(t *testing.T) {
	p := plain(0, 4, 2)
	p.ScaleDown.Window = 10 * time.Minute
	w := newWorld(t, p)
	w.replica("r1", jobs.Ready)
	w.snap.InFlight = 2
	w.pass(10*time.Minute, nil)
	w.now = w.now.Add(-5 * time.Minute)
	w.snap.InFlight = 1
	w.pass(time.Minute, nil)
	if v := w.last.Signals.Up.Demand; v == nil || *v != 1 {
		t.Errorf("demand over the last minute is %v, want 1", v)
	}
	if v := w.last.Signals.Down.Demand; v != nil {
		t.Errorf("demand over ten minutes is %v of which nobody saw nine, want it unknown", *v)
	}
}

func TestAStandbyWhoseClockIsASecondBehindKeepsTheWindows(t *testing.T) {
	w := newWorld(t, plain(0, 4, 2))
	w.replica("r1", jobs.Ready)
	w.snap.InFlight = 1
	w.pass(5*time.Minute, nil)
	w.now = w.now.Add(-2 * time.Second)
	if w.look(); w.last.Signals.Down.Demand == nil {
		t.Error("the windows were forgotten for a second")
	}
}
