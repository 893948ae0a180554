package decide

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// daily lives a service in steps of ten seconds: demand(t) are in flight or
// held, replicas start within start, and each decision is handed to fn.
func daily(t *testing.T, p *policies.Policy, from time.Time, days int, start time.Duration, demand func(time.Time) int, fn func(Decision, Memory)) Memory {
	t.Helper()
	var mem Memory
	snap := Snapshot{Known: true, Service: ServiceTime{MeanSeconds: 5, Count: 100}}
	for range 10 {
		snap.Starts = append(snap.Starts, start.Seconds())
	}
	before := 0
	for now := from; now.Before(from.AddDate(0, 0, days)); now = now.Add(10 * time.Second) {
		n, ready := demand(now), 0
		snap.Arrivals += uint64(max(0, n-before))
		before = n
		for i := range snap.Replicas {
			if r := &snap.Replicas[i]; now.Sub(r.Launched) >= start {
				r.Phase, r.ReadyAt = jobs.Ready, r.Launched.Add(start)
				ready++
			}
		}
		snap.InFlight = min(n, ready*p.Replicas.Concurrency)
		snap.Held = n - snap.InFlight
		if snap.OldestHold = (time.Time{}); snap.Held > 0 {
			snap.OldestHold = now
		}
		if n > 0 {
			snap.LastDemand = now
		}
		d, next := Decide(now, p, 1, snap, mem)
		if err := lawful(p, snap, mem, d); err != nil {
			t.Fatalf("%s: %v", now, err)
		}
		mem = next
		for len(snap.Replicas) < d.To {
			snap.Replicas = append(snap.Replicas, Replica{ID: fmt.Sprint("r", len(snap.Replicas)), Phase: jobs.Starting, Launched: now})
		}
		snap.Replicas = snap.Replicas[:d.To]
		fn(d, mem)
	}
	return mem
}

func auto(hi int) *policies.Policy {
	p := plain(0, hi, 8)
	p.ToZero.Mode, p.ToZero.Prewarm = "auto", true
	return p
}

// office is thirty minutes of forty requests at eight in the morning.
func office(t time.Time) int {
	if s := t.Sub(t.Truncate(24 * time.Hour)); s >= 8*time.Hour && s < 8*time.Hour+30*time.Minute {
		return 40
	}
	return 0
}

func TestAReplicaIsReadyWhenTheDayBegins(t *testing.T) {
	const start = 2 * time.Minute
	p := auto(6)
	ahead := map[int]time.Duration{} // by day: how long before eight the first replica was launched
	daily(t, p, epoch.Truncate(24*time.Hour), 7, start, office, func(d Decision, _ Memory) {
		if d.From == 0 && d.To > 0 {
			eight := d.At.Truncate(24 * time.Hour).Add(8 * time.Hour)
			ahead[int(d.At.Sub(epoch.Truncate(24*time.Hour)).Hours()/24)] = eight.Sub(d.At)
			if d.At.Before(eight) != (d.Rule == "prewarm") {
				t.Errorf("%s: launched by %s: %s", d.At, d.Rule, d.Reason)
			}
		}
	})
	if ahead[0] > 0 || ahead[1] > 0 {
		t.Errorf("launched ahead by %v with fewer than two days of history", ahead)
	}
	for day := 3; day < 7; day++ {
		if ahead[day] < start || ahead[day] > start+15*time.Minute {
			t.Errorf("day %d: launched %s before eight, want at least %s", day, ahead[day], start)
		}
	}
	p.ToZero.Prewarm = false
	daily(t, p, epoch.Truncate(24*time.Hour), 4, start, office, func(d Decision, _ Memory) {
		if d.Rule == "prewarm" {
			t.Fatalf("%s: %s, with to_zero.prewarm = false", d.At, d.Reason)
		}
	})
}

// Ten days of office hours, then nobody comes any more: what prewarming costs
// from then on is bounded, and ends.
func TestPrewarmingStopsWhenNobodyComes(t *testing.T) {
	const start = 2 * time.Minute
	holidays := epoch.Truncate(24*time.Hour).AddDate(0, 0, 10)
	seconds := map[int]float64{}
	mem := daily(t, auto(6), epoch.Truncate(24*time.Hour), 20, start, func(at time.Time) int {
		if at.After(holidays) {
			return 0
		}
		return office(at)
	}, func(d Decision, _ Memory) {
		if d.At.After(holidays) && d.To > 0 {
			seconds[int(d.At.Sub(holidays).Hours()/24)] += 10
		}
	})
	if last := mem.Prewarm.Gains[len(mem.Prewarm.Gains)-1]; last >= 0 || mem.Prewarm.Gains[0] <= 0 {
		t.Errorf("the account of what it brought is %v: the first one met somebody, the last one nobody", mem.Prewarm.Gains)
	}
	total := 0.0
	for day, s := range seconds {
		total += s
		if s > 3600 {
			t.Errorf("holiday %d: %g GPU-seconds", day, s)
		}
	}
	if seconds[0] == 0 {
		t.Error("the first holiday was not prewarmed: nothing was tested")
	}
	if seconds[8] > 0 || seconds[9] > 0 {
		t.Errorf("after a week without demand it still prewarms: %v", seconds)
	}
	if total > 3*3600 {
		t.Errorf("%g GPU-seconds for nobody", total)
	}
}

func TestPrewarmingIsOffForADayAfterTwentyThatLostMoney(t *testing.T) {
	var p Prewarm
	now := epoch
	for i := range prewarmsJudged {
		if !p.Off.IsZero() {
			t.Fatalf("off after %d", i)
		}
		gain := -100.0
		if i == 3 {
			gain = 1500
		}
		p.ended(now, gain)
	}
	if want := now.Add(24 * time.Hour); !p.Off.Equal(want) || len(p.Gains) != 0 {
		t.Errorf("off until %s with %d gains, want until %s and a new account", p.Off, len(p.Gains), want)
	}
	p = Prewarm{}
	for i := range 3 * prewarmsJudged {
		p.ended(now, float64(100-190*(i%2)))
	}
	if !p.Off.IsZero() || len(p.Gains) != prewarmsJudged {
		t.Errorf("off until %s with %d gains although it earns", p.Off, len(p.Gains))
	}
	// A whole Memory that is off obeys it.
	w := newWorld(t, auto(3))
	w.mem.Prewarm = marks(epoch, 7, func(int64, int) bool { return true })
	w.mem.Wake = Wake{Mean: 50, Count: 5}
	if d := w.look(); d.Rule != "prewarm" || d.To != 1 {
		t.Fatalf("to %d by %s, want a prewarm: nothing was tested", d.To, d.Rule)
	}
	w = newWorld(t, auto(3))
	w.mem.Prewarm = marks(epoch, 7, func(int64, int) bool { return true })
	w.mem.Wake, w.mem.Prewarm.Off = Wake{Mean: 50, Count: 5}, epoch.Add(time.Hour)
	if d := w.look(); d.To != 0 {
		t.Errorf("to %d by %s while prewarming is off", d.To, d.Rule)
	}
}

func TestThePrewarmBudgetIsAFifthOfADayAndOneInAnyCase(t *testing.T) {
	const one = 720.0
	for _, tc := range []struct {
		name        string
		used, spent float64
		more        float64
		want        bool
	}{
		{"the first of a day", 0, 0, one, true},
		{"the second, of a service that did nothing else", one, one, one, false},
		{"the second, of a busy service", 20000, 2 * one, one, true},
		{"a fifth is a fifth", 5 * 3 * one, 3 * one, one, false},
		{"one that runs on within it", 5 * 3 * one, 3 * one, 0, true},
		{"one that runs on beyond it", 5 * 3 * one, 3*one + 1, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var p Prewarm
			p.uses(epoch, tc.spent, true)
			p.uses(epoch, tc.used-tc.spent, false)
			budget, spent := p.budget(epoch.Add(23*time.Hour), one)
			if got := spent+tc.more <= budget; got != tc.want {
				t.Errorf("%g spent of %g, and %g more: %v", spent, budget, tc.more, got)
			}
			if budget, spent = p.budget(epoch.Add(25*time.Hour), one); budget != one || spent != 0 {
				t.Errorf("a day later %g of %g are still counted", spent, budget)
			}
		})
	}
}

func TestNothingIsPrewarmedBeyondTheBudget(t *testing.T) {
	for _, spent := range []float64{0, 5000} { // of 5000 s that the service used
		w := newWorld(t, auto(3))
		w.mem.Prewarm = marks(epoch, 7, func(int64, int) bool { return true })
		w.mem.Prewarm.uses(epoch.Add(-time.Hour), spent, true)
		w.mem.Prewarm.Spent = 0
		w.mem.Wake = Wake{Mean: 50, Count: 5}
		if d := w.look(); (d.To == 1) != (spent == 0) {
			t.Errorf("wanted %d by %s after prewarms of %g GPU-seconds", d.To, d.Rule, spent)
		}
	}
}

// marks are days before a moment, with the bins that are marked.
func marks(now time.Time, days int, marked func(day int64, bin int) bool) Prewarm {
	var p Prewarm
	today, _ := binAt(now)
	for day := today - int64(days); day < today; day++ {
		start := time.Unix(day*24*3600, 0)
		p.seen(start, false)
		for bin := range binsADay {
			if marked(day, bin) {
				p.seen(start.Add(time.Duration(bin)*binSeconds*time.Second), true)
			}
		}
	}
	return p
}

func TestTheChanceOfDemandIsCountedOverSevenDays(t *testing.T) {
	monday, saturday := epoch, epoch.AddDate(0, 0, 5) // 8:00
	_, eight := binAt(epoch)
	weekdays := func(day int64, bin int) bool { return bin == eight && (day+4)%7%6 != 0 }
	for _, tc := range []struct {
		name string
		p    Prewarm
		at   time.Time
		want float64
	}{
		{"nothing is known", Prewarm{}, monday, 0},
		{"one day is none", marks(monday.AddDate(0, 0, 2), 1, weekdays), monday.AddDate(0, 0, 2), 0},
		{"two of two", marks(monday.AddDate(0, 0, 2), 2, weekdays), monday.AddDate(0, 0, 2), 2.0 / 4},
		{"five weekdays of seven days", marks(monday, 7, weekdays), monday, 5.0 / 9},
		{"the same on a day that is none of them", marks(saturday, 7, weekdays), saturday, 5.0 / 9},
		{"the bin before is too early", marks(monday, 7, weekdays), monday.Add(-6 * time.Minute), 0},
		{"the second of two bins counts", marks(monday, 7, weekdays), monday.Add(-4 * time.Minute), 5.0 / 9},
		{"the bin after is too late", marks(monday, 7, weekdays), monday.Add(5 * time.Minute), 0},
		{"midnight is in the next day", marks(monday, 7, func(_ int64, bin int) bool { return bin == 0 }), monday.Truncate(24 * time.Hour).Add(-time.Minute), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, _, _ := tc.p.chance(tc.at)
			if tc.name == "midnight is in the next day" {
				if got == 0 {
					t.Error("a mark at midnight is not seen from a minute before")
				}
				return
			}
			if math.Abs(got-tc.want) > 1e-9 {
				t.Errorf("%g, want %g", got, tc.want)
			}
		})
	}
}

// Wherever a day begins: a service that is asked at the same hours of another
// zone has the same chances, also around midnight and over a Sunday in UTC.
func TestTheChanceOfDemandIsTheSameInAnyZone(t *testing.T) {
	chances := func(offset time.Duration) (list []float64) {
		var p Prewarm
		start := epoch.Add(-offset)
		for m := 0; m < 8*24*60; m += 5 {
			hour := m / 60 % 24
			p.seen(start.Add(time.Duration(m)*time.Minute), m/60/24%7 < 5 && (hour == 8 || hour == 23))
		}
		for m := 0; m < 24*60; m += 10 {
			c, _, _ := p.chance(start.AddDate(0, 0, 8).Add(time.Duration(m) * time.Minute))
			list = append(list, c)
		}
		return list
	}
	want := chances(0)
	for _, zone := range []time.Duration{-8 * time.Hour, 90 * time.Minute, 5*time.Hour + 30*time.Minute, 11 * time.Hour} {
		if diff := cmp.Diff(want, chances(zone)); diff != "" {
			t.Errorf("in a zone of %s:\n%s", zone, diff)
		}
	}
}

// The account of an hour goes on where an earlier version kept it with the others,
// and where the clock has come back to it; what is a day old, or ahead, is forgotten.
func TestTheAccountOfAnHourGoesOnWhereverItWasKept(t *testing.T) {
	hour := epoch.Unix() / 3600
	p := Prewarm{Hours: []Hour{{hour - 24, 1, 0}, {hour - 23, 2, 0}, {hour, 4, 1}}}
	before := p
	p.uses(epoch, 8, true)
	if want := []Hour{{hour - 23, 2, 0}}; !slices.Equal(p.Hours, want) || p.Hour != (Hour{hour, 12, 9}) {
		t.Errorf("%v and %v", p.Hours, p.Hour)
	}
	if before.Hours[2].Used != 4 {
		t.Error("the account before was written")
	}
	if budget, spent := p.budget(epoch, 0); spent != 9 || math.Abs(budget-prewarmShare*14) > 1e-9 {
		t.Errorf("%g GPU-seconds of %g spent on prewarming, want 9 of a fifth of 14", spent, budget)
	}
	if budget, spent := p.budget(epoch.Add(24*time.Hour), 0); spent != 0 || budget != 0 {
		t.Errorf("a day later %g GPU-seconds of %g are still counted", spent, budget)
	}
	p.uses(epoch.Add(time.Hour), 16, false)
	if want := []Hour{{hour, 12, 9}}; !slices.Equal(p.Hours, want) || p.Hour != (Hour{hour + 1, 16, 0}) {
		t.Errorf("an hour later %v and %v", p.Hours, p.Hour)
	}
	if p.uses(epoch, 1, false); len(p.Hours) != 0 || p.Hour != (Hour{hour, 13, 9}) {
		t.Errorf("after the clock was set back %v and %v", p.Hours, p.Hour)
	}
}
