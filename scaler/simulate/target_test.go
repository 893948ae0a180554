package simulate

import (
	"strings"
	"testing"
	"time"
)

func TestATargetTakesTheCheapestPointOfTheSweepThatAnswersEverybodyWithinIt(t *testing.T) {
	point := func(patience, gpu, p99 float64, lost uint64) Result {
		headroom := 0.5
		return Result{Patience: &patience, Headroom: &headroom, GPUSeconds: gpu * 3600, AddedWait: Wait{P99: p99}, TimedOut: lost}
	}
	policy := Result{Name: PolicyName, GPUSeconds: 1} // cheaper than all, and not of the sweep
	all := []Result{policy, point(1, 10, 9, 0), point(2, 30, 4, 0), point(4, 20, 5, 0), point(8, 5, 1, 3)}
	for _, c := range []struct {
		name    string
		results []Result
		p99     time.Duration
		want    float64 // patience; 0: none
		note    string
	}{
		{"the cheapest of two, at the bound itself", all, 5 * time.Second, 4, "within 5 s is patience = 4 with headroom = 0.5: 20 GPU-hours, p99 5 s."},
		{"a dearer one, if waits are to be shorter", all, 4500 * time.Millisecond, 2, "patience = 2 with headroom = 0.5: 30 GPU-hours"},
		{"none, since one lets requests time out", all, time.Second, 0, "with an answer for everybody: patience = 2 with headroom = 0.5 comes closest, with 4 s."},
		{"none that answers everybody", all[4:], time.Minute, 0, "patience = 8 with headroom = 0.5 comes closest, with 1 s, and 3 requests without an answer."},
		{"no sweep", all[:1], time.Minute, 0, "There is no sweep"},
	} {
		rep := &Report{Results: c.results}
		rep.Aim(c.p99)
		got := 0.0
		if rep.Target.Patience != nil {
			got = *rep.Target.Patience
		}
		if notes := rep.Notes(); got != c.want || !strings.Contains(notes[0], c.note) {
			t.Errorf("%s: patience %v, want %v; it says %q", c.name, got, c.want, notes[0])
		}
	}
}

func TestEveryCandidateHasTheGPUsOfItsOwnReplicas(t *testing.T) {
	two := Policy("two", basic(0, 3))
	two.GPUs = 2
	rep := replay(t, poisson(1, "a", 0.02, 10, time.Hour), DefaultSetup(), []Candidate{Policy("one", basic(0, 3)), two})
	one, other := rep.Results[0], rep.Results[1]
	if other.GPUSeconds < 1.5*one.GPUSeconds || other.GPUSeconds > 2*one.GPUSeconds+1e-6 {
		t.Errorf("%v GPU-seconds with replicas of two GPUs, %v with those of one", other.GPUSeconds, one.GPUSeconds)
	}
	if other.BusyShare > 1.4*one.BusyShare {
		t.Errorf("busy %v with replicas of two GPUs, %v with those of one: slots are of replicas", other.BusyShare, one.BusyShare)
	}
}
