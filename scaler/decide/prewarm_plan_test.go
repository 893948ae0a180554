package decide

import (
	"testing"
	"time"
)

// half is thirty minutes of marks on some of the last seven days, 7 being the last.
func half(of int64, bin, first int, on func(day int64) bool, today int64) bool {
	return bin >= first && bin < first+6 && on(7-(today-of)+1)
}

func TestTheBudgetOfPrewarmingIsForTheSurestTimesOfDay(t *testing.T) {
	const start, bins = 360.0, 12 // of an hour
	now := epoch.Truncate(24 * time.Hour)
	today, _ := binAt(now)
	p := marks(now, 7, func(day int64, bin int) bool {
		return half(day, bin, 8*bins, func(int64) bool { return true }, today) ||
			half(day, bin, 13*bins, func(d int64) bool { return d > 2 }, today) ||
			half(day, bin, 20*bins, func(d int64) bool { return d > 4 }, today)
	})
	at := func(hour int) time.Time { return now.Add(time.Duration(hour) * time.Hour) }
	if a, b, c := p.around(at(8)), p.around(at(13)), p.around(at(20)); a != 7*6 || b != 5*6 || c != 3*6 {
		t.Fatalf("%d, %d and %d marks around the three times of day, want 42, 30 and 18", a, b, c)
	}
	paid := func(budget float64) (list []int) {
		n := p.plan(now, budget, start, 0, 0.1)
		for _, hour := range []int{8, 13, 20} {
			if p.around(at(hour)) >= n {
				list = append(list, hour)
			}
		}
		return list
	}
	// The morning itself is never idle: a mark on each of seven days. The bin before
	// it is, and has a start; so are noon on two days of seven, and evening on four.
	const (
		bin, began = 300.0, 1.1 * start
		morning    = bin + began
		noon       = (6*bin + began) * 2 / 7
		noonToo    = bin + began + 6*bin*2/7 // and the bin before it, on seven days
		evening    = (6*bin + began) * 4 / 7
	)
	for _, tc := range []struct {
		name   string
		budget float64
		want   int // how many of the times, surest first
	}{
		{"nothing to spend: the surest all the same", 0, 1},
		{"enough for the morning", morning, 1},
		{"not quite enough for noon, too", morning + noon - 1, 1},
		{"enough for noon, too", morning + noon + 1, 2},
		{"not quite enough for all", morning + noonToo + evening - 1, 2},
		{"enough for all", morning + noonToo + evening + 1, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := paid(tc.budget); len(got) != tc.want || got[0] != 8 {
				t.Errorf("%g GPU-seconds pay for %v o'clock, want the first %d of 8, 13, 20", tc.budget, got, tc.want)
			}
		})
	}
}

func TestATimeOfDayWithinTheKeepAliveOfADemandCostsNoPrewarm(t *testing.T) {
	now := epoch.Truncate(24 * time.Hour)
	p := marks(now, 7, func(_ int64, bin int) bool { return bin%6 == 0 }) // each half an hour
	at := now.Add(8*time.Hour + 25*time.Minute)
	for _, tc := range []struct {
		keep time.Duration
		want int
	}{{0, 7}, {24 * time.Minute, 7}, {25 * time.Minute, 0}, {time.Hour, 0}, {1 << 62, 0}} {
		if got := p.idleDays(at, tc.keep); got != tc.want {
			t.Errorf("idle on %d days with a keep-alive of %s, want %d", got, tc.keep, tc.want)
		}
	}
	if got := p.idleDays(now.Add(time.Minute), 25*time.Minute); got != 0 {
		t.Errorf("a marked bin is idle on %d days", got)
	}
}

// Every morning at eight forty requests come, and some time in the evening one. A
// high patience finds every five minutes of the evening worth a prewarm; spent as
// they come, the budget would not last until the morning.
func TestAMorningIsPrewarmedHoweverManyEveningsAreWorthIt(t *testing.T) {
	const start = 6 * time.Minute
	p := auto(6)
	p.Sizing.Patience = 16
	midnight := epoch.Truncate(24 * time.Hour)
	demand := func(at time.Time) int {
		day := int(at.Sub(midnight).Hours() / 24)
		evening := at.Truncate(24 * time.Hour).Add(18*time.Hour + time.Duration(day*97%300)*time.Minute)
		if at.Sub(evening).Abs() < 10*time.Second {
			return 1
		}
		return office(at)
	}
	ready, evenings := map[int]bool{}, map[int]bool{}
	daily(t, p, midnight, 9, start, demand, func(d Decision, _ Memory) {
		day, of := int(d.At.Sub(midnight).Hours()/24), d.At.Sub(d.At.Truncate(24*time.Hour))
		if d.Rule == rulePrewarm && d.To == 1 {
			ready[day] = ready[day] || of > 8*time.Hour-start && of < 8*time.Hour
			if of > 17*time.Hour {
				evenings[day] = true
			}
		}
	})
	for day := 3; day < 9; day++ {
		if !ready[day] {
			t.Errorf("day %d: nothing was ahead of eight o'clock", day)
		}
	}
	if len(evenings) == 0 {
		t.Error("no evening was worth a prewarm: nothing was tested")
	}
}
