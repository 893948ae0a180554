package simulate

import (
	"testing"
	"time"
)

func TestOnlyWhatIsCheaperAndNowhereWorseDominates(t *testing.T) {
	base := Result{GPUSeconds: 1000, AddedWait: Wait{Mean: 2, P99: 50}, TimedOut: 1}
	change := func(f func(*Result)) Result { r := base; f(&r); return r }
	for name, c := range map[string]struct {
		r               Result
		dominates, ties bool
	}{
		"itself":                       {base, false, true},
		"cheaper":                      {change(func(r *Result) { r.GPUSeconds = 980 }), true, false},
		"cheaper by less than 1 %":     {change(func(r *Result) { r.GPUSeconds = 995 }), false, true},
		"cheaper, p99 within the tie":  {change(func(r *Result) { r.GPUSeconds, r.AddedWait.P99 = 900, 50.4 }), true, false},
		"cheaper, p99 above":           {change(func(r *Result) { r.GPUSeconds, r.AddedWait.P99 = 900, 51 }), false, false},
		"cheaper, mean above":          {change(func(r *Result) { r.GPUSeconds, r.AddedWait.Mean = 900, 2.1 }), false, false},
		"cheaper, one more left alone": {change(func(r *Result) { r.GPUSeconds, r.Refused = 900, 1 }), false, false},
		"dearer, nobody waits":         {change(func(r *Result) { r.GPUSeconds, r.AddedWait = 1020, Wait{} }), false, false},
	} {
		if got := c.r.Dominates(base); got != c.dominates {
			t.Errorf("%s: dominates is %v", name, got)
		}
		if got := c.r.Ties(base); got != c.ties {
			t.Errorf("%s: ties is %v", name, got)
		}
	}
}

func TestFiguresOfSeveralSeedsAreTheirMedians(t *testing.T) {
	requests := poisson(7, "chat", 0.01, 20, 12*time.Hour)
	list := []Candidate{Policy(PolicyName, basic(0, 3)), Baselines(basic(0, 3))[0]}
	setup := DefaultSetup()
	var alone []*Report
	for seed := range uint64(3) {
		setup.Seed = 1 + seed
		alone = append(alone, replay(t, requests, setup, list))
	}
	setup.Seed, setup.Seeds = 1, 3
	together := replay(t, requests, setup, list)
	for i := range list {
		of := []Result{alone[0].Results[i], alone[1].Results[i], alone[2].Results[i]}
		got, lo, hi := together.Results[i].GPUSeconds, 0, 0
		for _, r := range of {
			if r.GPUSeconds <= got {
				lo++
			}
			if r.GPUSeconds >= got {
				hi++
			}
		}
		if lo < 2 || hi < 2 {
			t.Errorf("%s: %v GPU-seconds is not the median of %v, %v, %v", list[i].Name, got, of[0].GPUSeconds, of[1].GPUSeconds, of[2].GPUSeconds)
		}
	}
}

func TestServicesMayHaveBoundsOfTheirOwn(t *testing.T) {
	both := merge(poisson(1, "a", 1, 20, time.Hour), poisson(2, "b", 0.2, 20, time.Hour))
	peaks, err := Peaks(t.Context(), &listed{requests: both}, 4)
	if err != nil {
		t.Fatal(err)
	}
	if peaks["a"] < 5 || peaks["b"] < 1 || peaks["b"] >= peaks["a"] {
		t.Fatalf("peaks %v of loads of 20 and 4 Erlang over 4 slots", peaks)
	}
	p := basic(0, 1)
	rep := replay(t, both, DefaultSetup(), append(UpTo(peaks, []Candidate{Policy("peaks", p)}), Policy("one", p)))
	if a, b := rep.Results[0], rep.Results[1]; a.Launches < 5 || b.Launches != 2 || a.WaitedS > b.WaitedS/10 {
		t.Errorf("with peaks: %d launches, %v s waited; with one each: %d, %v s", a.Launches, a.WaitedS, b.Launches, b.WaitedS)
	}
	if rep.LowerBound.PeakOfOne != peaks["a"] || rep.LowerBound.PeakReplicas != peaks["a"]+peaks["b"] {
		t.Errorf("bounds %+v, peaks %v", rep.LowerBound, peaks)
	}
}
