package simulate

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestASeriesShowsWhatComesAndGoesWithinAStep(t *testing.T) {
	p := basic(0, 2)
	p.ToZero.Mode, p.ToZero.After = "after", 30*time.Second
	setup := Setup{Seed: 1, ColdStart: time.Minute, Series: 15 * time.Minute, Lasts: time.Hour}
	requests := []Request{{At: 20 * time.Minute, Service: "chat", Seconds: 10}, {At: 20*time.Minute + time.Second, Service: "chat", Seconds: 10}}
	rep := replay(t, requests, setup, []Candidate{Policy(PolicyName, p)})
	want := []Point{{}, {AtS: 900, Wanted: 1, Ready: 1, Held: 2, Demand: 2}, {AtS: 1800}, {AtS: 2700}}
	if diff := cmp.Diff(want, rep.Results[0].Series); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}

func TestASeriesSaysTheSameInFineStepsJoinedAsInCoarseOnes(t *testing.T) {
	requests := poisson(9, "chat", 0.02, 20, 6*time.Hour)
	points := func(step time.Duration) []Point {
		setup := DefaultSetup()
		setup.Series, setup.Lasts = step, 6*time.Hour
		return replay(t, requests, setup, []Candidate{Policy(PolicyName, basic(0, 3))}).Results[0].Series
	}
	joined, every := Thin(points(10*time.Second), 6*60/15)
	if diff := cmp.Diff(points(15*time.Minute), joined); diff != "" || every != 90 {
		t.Errorf("joined by %d (-coarse +joined):\n%s", every, diff)
	}
}

func TestNoLabelOfATimelinesAxisIsCutOff(t *testing.T) {
	for minutes := 2; minutes < 5_000; minutes += 1 + minutes/10 {
		points := make([]Point, minutes)
		for i := range points {
			points[i].AtS = float64(60 * i)
		}
		for _, in := range []frame{wideFrame, narrowFrame} {
			for _, tick := range newTimeline("id", "title", points, Point{}, in).X {
				if half := 3.4 * float64(len(tick.Label)); tick.At+half > in.width || tick.At-half < 0 {
					t.Fatalf("over %d min, %.0f pixels wide, %q at %.0f is cut off", minutes, in.width, tick.Label, tick.At)
				}
			}
		}
	}
}
