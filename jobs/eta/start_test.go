package eta

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pilotlight/pilotlight/jobs"
)

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// loads are past starts that took no time but to load.
func loads(lengths ...float64) (past []Start) {
	for _, l := range lengths {
		past = append(past, Start{Load: l})
	}
	return past
}

// lognormal cold starts: a node is found at once, the image is there or not, and
// the load takes about so long.
func lognormal(r *rand.Rand, n int, median, sigma float64) (past []Start) {
	for range n {
		past = append(past, Start{Place: 0.02 * math.Exp(0.5*r.NormFloat64()), Prepare: 0.1 * median * math.Exp(sigma*r.NormFloat64()),
			Load: 0.9 * median * math.Exp(sigma*r.NormFloat64())})
	}
	return past
}

func TestWhatIsLeftOfAStartIsJudgedByThoseThatLastedAsLong(t *testing.T) {
	about := loads(100, 110, 115, 118, 120, 121, 123, 128, 135, 180)
	staged := []Start{{1, 20, 100}, {1, 25, 100}, {1, 22, 110}, {40, 21, 104}, {1, 60, 96}}
	for _, test := range []struct {
		name     string
		past     []Start
		phase    string
		passed   float64
		min, max float64 // of P50
	}{
		{"at its begin", about, jobs.PhaseLoad, 0, 115, 125},
		{"at second 100", about, jobs.PhaseLoad, 100, 18, 26},
		{"past its median: only the slow ones lasted so long", about, jobs.PhaseLoad, 140, 15, 45},
		{"past all of them: not stuck at a second, and not for ever", about, jobs.PhaseLoad, 300, 8, 60},
		{"far past all of them: what has passed is all that is known", about, jobs.PhaseLoad, 3000, 80, 600},
		{"one start is better than none", loads(60), jobs.PhaseLoad, 20, 30, 50},
		{"not placed yet", staged, jobs.PhasePlace, 0, 115, 150},
		{"waiting long for a place: the rest is still to come", staged, jobs.PhasePlace, 30, 120, 165},
		{"pulling", staged, jobs.PhasePull, 10, 105, 130},
		{"loading at last, however long it took to get there", staged, jobs.PhaseLoad, 0, 95, 108},
	} {
		got := Left(test.past, test.phase, seconds(test.passed))
		if got.P50 < test.min || got.P50 > test.max {
			t.Errorf("%s: %+v, want %.0f to %.0f s", test.name, *got, test.min, test.max)
		}
	}
	if got := Left(nil, jobs.PhaseLoad, 0); got != nil {
		t.Errorf("without a past start: %+v", got)
	}
}

func TestEstimatesFollowAModelThatHasBecomeSlower(t *testing.T) {
	past := loads(slices.Repeat([]float64{60, 62, 58, 61, 59}, 6)...)
	past = append(past, loads(slices.Repeat([]float64{120, 124, 116}, 7)...)...)
	if got := Left(past, jobs.PhaseLoad, 0); got.P50 < 100 {
		t.Errorf("after 21 starts of 120 s: %+v", *got)
	}
	if got := Left(past, jobs.PhaseLoad, seconds(90)); got.P50 < 20 || got.P50 > 36 {
		t.Errorf("at second 90, when only the slower ones are possible: %+v", *got)
	}
}

// At any moment of a start about one in ten ends before P10, half before P50 and
// nine in ten before P90.
func TestQuantilesAreWhatTheySay(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, sigma := range []float64{0.15, 0.5} {
		var below [3]float64
		const starts = 1500
		for n := 0; n < starts; {
			past := lognormal(r, 50, 120, sigma)
			real := lognormal(r, 1, 120, sigma)[0]
			phase, passed, end := jobs.PhaseLoad, 0.0, real.Load
			at := 200 * r.Float64()
			if at >= real.Prepare+real.Load {
				continue // over by then
			}
			n++
			if at < real.Prepare {
				phase, passed, end = jobs.PhasePull, at, real.Prepare+real.Load
			} else {
				passed = at - real.Prepare
			}
			got := Left(past, phase, seconds(passed))
			for i, q := range []float64{got.P10, got.P50, got.P90} {
				if end-passed <= q {
					below[i] += 1.0 / starts
				}
			}
		}
		for i, want := range []float64{0.1, 0.5, 0.9} {
			if math.Abs(below[i]-want) > 0.06 {
				t.Errorf("σ %.2f: %.0f %% end within the quantile of %.0f %%", sigma, 100*below[i], 100*want)
			}
		}
	}
}

func TestEstimatesAreOrderedFiniteAndNeverNegative(t *testing.T) {
	length := rapid.OneOf(rapid.Just(0.0), rapid.Float64Range(0, 1), rapid.Float64Range(0, 1e4), rapid.Float64Range(0, 1e9))
	start := rapid.Custom(func(t *rapid.T) Start {
		return Start{length.Draw(t, "place"), length.Draw(t, "prepare"), length.Draw(t, "load")}
	})
	rapid.Check(t, func(t *rapid.T) {
		past := rapid.SliceOfN(start, 1, 50).Draw(t, "past")
		phase := rapid.SampledFrom([]string{jobs.PhaseDecide, jobs.PhasePlace, jobs.PhasePull, jobs.PhaseStart, jobs.PhaseLoad}).Draw(t, "phase")
		passed := rapid.OneOf(rapid.Float64Range(-10, 1000), rapid.Float64Range(0, 1e9)).Draw(t, "passed")
		e := Left(past, phase, seconds(passed))
		if !(e.P10 >= 0 && e.P10 <= e.P50 && e.P50 <= e.P90) || math.IsInf(e.P90, 0) {
			t.Fatalf("%+v", *e)
		}
		if e.P50 == 0 && passed > 0 && past[0].Load > 1 {
			t.Fatal("stuck at 0")
		}
	})
}

func TestAStartIsReadOffItsStory(t *testing.T) {
	c := jobs.ColdStart{Outcome: jobs.OutcomeAnswered, Phases: []jobs.ColdStartPhase{{Name: jobs.PhaseDecide, DurMS: 3}, {Name: jobs.PhasePlace, DurMS: 20},
		{Name: jobs.PhasePull, DurMS: 9000}, {Name: jobs.PhaseStart, DurMS: 500}, {Name: jobs.PhaseLoad, DurMS: 60000}, {Name: jobs.PhaseReady, DurMS: 1}}}
	if s, ok := StartOf(c); !ok || s != (Start{0.02, 9.5, 60}) {
		t.Errorf("%+v %v", s, ok)
	}
	c.Outcome = jobs.OutcomeFailed
	if _, ok := StartOf(c); ok {
		t.Error("a start that failed says nothing about how long one takes")
	}
}
