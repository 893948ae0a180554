package decide

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pilotlight/pilotlight/policies"
)

func TestAKeepAliveBreaksEvenWithinItsBounds(t *testing.T) {
	z := policies.ToZero{Mode: "auto", AtLeast: 30 * time.Second, AtMost: 30 * time.Minute}
	for _, tc := range []struct {
		name              string
		k                 int
		l, theta, m, lone float64
		want              time.Duration
	}{
		{"first level", 1, 120, 2, 2, 1, 480 * time.Second},
		{"first level, one request a wake", 1, 120, 2, 1, 1, 360 * time.Second},
		{"requests come until the start is through", 1, 120, 2, 2, 0, 360 * time.Second},
		{"until half of it is", 1, 120, 2, 2, 0.5, 420 * time.Second},
		{"no more than one replica could have served", 1, 10, 2, 1000, 1, 260 * time.Second},
		{"level above", 2, 120, 2, 2, 0, 240 * time.Second},
		{"at least", 2, 5, 2, 2, 1, 30 * time.Second},
		{"at most", 1, 900, 2, 2, 1, 30 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := clampKeep(priceOf(tc.k, tc.l, tc.theta, tc.m, tc.lone), z); got.Round(time.Second) != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

func priceOf(k int, l, theta, m, lone float64) float64 {
	if k > 1 {
		keep := keeping{l: l, theta: theta}
		return keep.price(bandOf(k))
	}
	return price(l, theta, m, lone, 0.2, 8)
}

// history is a band with gaps of given lengths in seconds, one after another
// with a minute of demand between, the last of which ends now.
func history(now time.Time, lengths ...float64) Band {
	at := now
	for i := range lengths {
		at = at.Add(-time.Minute - secondsOf(lengths[len(lengths)-1-i]))
	}
	var g Gaps
	for _, l := range lengths {
		to := at.Add(secondsOf(l))
		g = g.closed(0, at, to, 0)
		at = to.Add(time.Minute)
	}
	return g.band(0)
}

func weighedAt(b Band, now time.Time) *weighed {
	w := &weighed{}
	w.weigh(b, now)
	return w
}

func repeated(lengths []float64, times int) []float64 {
	var out []float64
	for range times {
		out = append(out, lengths...)
	}
	return out
}

func TestHistoryChoosesAKeepAliveThatPays(t *testing.T) {
	z := policies.ToZero{Mode: "auto", AtLeast: 30 * time.Second, AtMost: 30 * time.Minute}
	for _, tc := range []struct {
		name    string
		gaps    []float64
		c       float64
		want    float64
		history bool
	}{
		{"nothing is known", nil, 480, 480, false},
		{"two gaps are too few", repeated([]float64{500}, 2), 480, 480, false},
		{"three that agree are enough", repeated([]float64{500}, 3), 480, 1.02*500 + 1, true},
		{"three of which one says nothing are not", []float64{500, 100, 500}, 480, 480, false},
		{"gaps all within break-even teach nothing", repeated([]float64{60}, 20), 480, 480, false},
		{"gaps just beyond break-even are worth waiting for", repeated([]float64{500}, 20), 480, 1.02*500 + 1, true},
		{"gaps far beyond are not", repeated([]float64{1500}, 80), 480, 30, true},
		{"short ones and very long ones", repeated([]float64{100, 100, 100, 7200}, 25), 480, 1.02*100 + 1, true},
		{"never beyond at_most", repeated([]float64{1790}, 80), 1780, 1800, true},
		{"others at another time of day weigh a tenth", repeated([]float64{60}, 8), 60, 60, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := choose(history(epoch, tc.gaps...), epoch, tc.c, z)
			if math.Abs(got.Keep-tc.want) > 1e-6 || got.History != tc.history {
				t.Errorf("keeps %gs, by history %v; want %gs, %v", got.Keep, got.History, tc.want, tc.history)
			}
		})
	}
}

func TestGapsOfTheSameTimeOfDayWeighMore(t *testing.T) {
	z := policies.ToZero{Mode: "auto", AtLeast: 30 * time.Second, AtMost: 30 * time.Minute}
	var g Gaps
	for day := range 6 { // in the morning gaps of 310 s, in the evening of an hour
		morning := epoch.Add(time.Duration(day-6) * 24 * time.Hour)
		for i := range 8 {
			at := morning.Add(time.Duration(i) * 10 * time.Minute)
			g = g.closed(0, at, at.Add(310*time.Second), 0)
		}
		for i := range 4 {
			at := morning.Add(12*time.Hour + time.Duration(i)*20*time.Minute)
			g = g.closed(0, at, at.Add(time.Hour), 0)
		}
	}
	if got := choose(g.band(0), epoch, 300, z); got.Keep < 310 || got.Keep > 320 {
		t.Errorf("in the morning it keeps %gs, want a little over 310s", got.Keep)
	}
	if got := choose(g.band(0), epoch.Add(12*time.Hour), 300, z); got.Keep != 30 {
		t.Errorf("in the evening it keeps %gs, want at_least", got.Keep)
	}
}

// What is chosen is at least as good as any other keep-alive within the bounds,
// or break-even where history saves less than 5 %.
func TestNoOtherKeepAliveWouldHaveBeenCheaper(t *testing.T) {
	z := policies.ToZero{Mode: "auto", AtLeast: 30 * time.Second, AtMost: 30 * time.Minute}
	rapid.Check(t, func(t *rapid.T) {
		gaps := rapid.SliceOfN(rapid.Float64Range(2, 5000), 0, 60).Draw(t, "gaps")
		c := rapid.Float64Range(1, 3000).Draw(t, "C")
		b := history(epoch, gaps...)
		got := choose(b, epoch, c, z)
		if got.Keep < 30 || got.Keep > 1800 {
			t.Fatalf("keeps %gs", got.Keep)
		}
		w := weighedAt(b, epoch)
		if w.total < enoughWeight {
			return
		}
		other := rapid.Float64Range(30, 1800).Draw(t, "another")
		// A keep-alive just after a gap has a margin; it may be dearer by that.
		margin := 0.0
		for i := range w.n {
			if w.length(i) > 30 {
				margin += (w.weight[i+1] - w.weight[i]) * (0.02*w.length(i) + 1)
			}
		}
		if j, least := w.cost(got.Keep, c), w.cost(other, c); got.History && j > least+margin+1e-6 {
			t.Fatalf("keeps %gs at a cost of %g; %gs costs %g", got.Keep, j, other, least)
		}
	})
}

// In the mean over gaps of an unknown law, break-even never costs more than
// twice the optimum, and history never more than 5 % over break-even on the
// gaps that it was chosen from.
func TestAKeepAliveFromHistoryIsNotWorseThanBreakEvenOnItsOwnGaps(t *testing.T) {
	z := policies.ToZero{Mode: "auto", AtLeast: 30 * time.Second, AtMost: 30 * time.Minute}
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var gaps []float64
		mean := math.Exp(4 + 5*r.Float64())
		for range 50 {
			gaps = append(gaps, math.Round(2+mean*r.ExpFloat64()))
		}
		c := 60 + 1000*r.Float64()
		b := history(epoch, gaps...)
		w := weighedAt(b, epoch)
		even := clampKeep(c, z).Seconds()
		if got := choose(b, epoch, c, z); w.cost(got.Keep, c) > w.cost(even, c) {
			t.Errorf("mean gap %.0fs, C %.0fs: keeps %.0fs at %.0f, break-even %.0fs costs %.0f", mean, c, got.Keep, w.cost(got.Keep, c), even, w.cost(even, c))
		}
	}
}

func TestGapsArePackedAndKeptInBounds(t *testing.T) {
	var g Gaps
	at := epoch
	for i := range 1000 {
		to := at.Add(time.Duration(40+i) * time.Second)
		g = g.closed(0, at, to, 30*time.Second)
		g = g.closed(3, at, to, 30*time.Second)
		g = g.closed(0, to, to.Add(20*time.Second), 30*time.Second) // at_least outlasts it
		at = to.Add(time.Minute)
	}
	past := g.band(0).past()
	if len(past) != maxGaps || past[0].seconds != 640 || past[maxGaps-1].seconds != 1039 {
		t.Errorf("%d gaps, from %v to %v", len(past), past[0], past[len(past)-1])
	}
	if want := at.Add(-time.Minute - 1039*time.Second).Unix(); past[maxGaps-1].opened != want {
		t.Errorf("the last one opened at %d, want %d", past[maxGaps-1].opened, want)
	}
	if n := len(g.band(3).past()); n != maxUpperGaps {
		t.Errorf("%d gaps of a band, want %d", n, maxUpperGaps)
	}
}

func TestBandsDoubleAndLevelsFallIntoTheirOwn(t *testing.T) {
	for k, want := range map[int]int{1: 0, 2: 1, 3: 2, 4: 2, 5: 3, 8: 3, 9: 4, 1000: 10} {
		if got := bandOf(k); got != want || lowest(got) > k || lowest(got+1) <= k {
			t.Errorf("level %d is in band %d (from %d to below %d), want %d", k, got, lowest(got), lowest(got+1), want)
		}
	}
}

func TestALevelsGapEndsWhenItIsNeededAgain(t *testing.T) {
	var g Gaps
	at := func(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }
	g = g.climb(at(0), 6, 9, 0)
	g = g.climb(at(1), 1, 9, 0)
	g = g.climb(at(101), 3, 9, 0) // levels 2 and 3 after 101 s
	g = g.climb(at(102), 1, 9, 0)
	g = g.climb(at(302), 6, 9, 0) // 2 and 3 after 201 s, 4 to 6 after 302 s
	for _, want := range []struct {
		band int
		gaps []int64
	}{{1, []int64{101, 201}}, {2, []int64{101, 201, 302}}, {3, []int64{302}}} {
		var got []int64
		for _, p := range g.band(want.band).past() {
			got = append(got, p.seconds)
		}
		if len(got) != len(want.gaps) {
			t.Errorf("band %d: gaps %v, want %v", want.band, got, want.gaps)
			continue
		}
		for i := range got {
			if got[i] != want.gaps[i] {
				t.Errorf("band %d: gaps %v, want %v", want.band, got, want.gaps)
				break
			}
		}
	}
}

func TestEachBandOfAStepIsKeptForItsOwnTime(t *testing.T) {
	tau := func(k int) time.Duration { return time.Duration(11-bandOf(k)) * time.Second } // 2: 10 s, 3–4: 9 s, 5–8: 8 s
	levels := need(need(nil, 7, 9, epoch), 1, 9, epoch.Add(time.Second))
	for _, tc := range []struct{ after, want int }{{7, 7}, {8, 4}, {9, 2}, {10, 0}} {
		n, rest := kept(levels, tau, epoch.Add(time.Duration(tc.after)*time.Second))
		if n != tc.want {
			t.Errorf("after %ds %d levels are kept, want %d", tc.after, n, tc.want)
		}
		if again, _ := kept(rest, func(int) time.Duration { return time.Hour }, epoch.Add(20*time.Second)); again != n {
			t.Errorf("after %ds: a longer keep-alive brings back %d levels of %d", tc.after, again, n)
		}
	}
	if levels[len(levels)-1].K != 7 {
		t.Error("the levels that were asked about were written")
	}
}

// A wake remembers how much of its cold start came before its last request.
func TestAWakeRemembersWhenItsLastRequestCame(t *testing.T) {
	wake := func(w Wake, last time.Duration) Wake {
		w = w.observe(epoch, 0, 1, 0, 1)
		w = w.observe(epoch.Add(last), 0, 2, 1, 2)
		w = w.observe(epoch.Add(50*time.Second), 0, 2, 2, 2)
		return w.observe(epoch.Add(100*time.Second), 1, 2, 2, 2)
	}
	if w := (Wake{}); w.lone() != 1 {
		t.Errorf("before any wake all of a cold start is lost, not %g", w.lone())
	}
	if w := wake(Wake{}, 40*time.Second); math.Abs(w.lone()-(1-0.2*0.4)) > 1e-9 {
		t.Errorf("last request after 40 of 100 s: %g, want %g", w.lone(), 1-0.2*0.4)
	}
	w := Wake{}
	for range 40 {
		w = wake(w, 40*time.Second)
	}
	if math.Abs(w.lone()-0.6) > 0.01 {
		t.Errorf("after forty such wakes %g, want 0.6", w.lone())
	}
	back := Wake{At: epoch, Last: epoch.Add(time.Hour)} // a clock that was set back
	if f := back.followed(epoch.Add(time.Minute)); f != 1 {
		t.Errorf("share %g of a wake", f)
	}
}
