package bench

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// upTo returns 1 … n, backwards, so that nothing can rely on order.
func upTo(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = float64(n - i)
	}
	return out
}

func TestQuantileIsThatOfTheNearestRank(t *testing.T) {
	for _, c := range []struct {
		name    string
		values  []float64
		percent float64
		want    float64
	}{
		{"of a hundred values the 99th", upTo(100), 99, 99},
		{"of fifty values p99 is the largest", upTo(50), 99, 50},
		{"of two hundred values p99 leaves out two", upTo(200), 99, 198},
		{"p50 of four is the second", upTo(4), 50, 2},
		{"p0 is the smallest", upTo(4), 0, 1},
		{"p100 is the largest", upTo(4), 100, 4},
		{"of one value every one is it", []float64{7}, 99, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := quantile(c.values, c.percent); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestMedianIsTheMiddleOrTheMeanOfTheTwoInTheMiddle(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{5}, 5},
		{[]float64{9, 1, 2}, 2},
		{[]float64{10, 1, 4, 2}, 3},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
}

func TestNothingIsKnownOfNoValues(t *testing.T) {
	if !math.IsNaN(median(nil)) || !math.IsNaN(quantile(nil, 50)) {
		t.Errorf("got %v and %v, want NaN: 0 would pass for a measurement", median(nil), quantile(nil, 50))
	}
}

func TestQuantilesLeaveTheirSamplesInOrder(t *testing.T) {
	samples := []float64{3, 1, 2}
	median(samples)
	quantile(samples, 50)
	if diff := cmp.Diff([]float64{3, 1, 2}, samples); diff != "" {
		t.Errorf("rounds would be paired with the wrong ones (-want +got):\n%s", diff)
	}
}

// A machine that slows down by half between rounds moves both sides: the pairs
// say 2x throughout where the ratio of all against all would not.
func TestAPairedRatioComparesRoundsOfTheSameMoment(t *testing.T) {
	got := pairedRatio("r", []float64{20, 40, 22, 60}, []float64{10, 20, 10, 30}, 1.2)
	want := Ratio{What: "r", Value: 2, Lowest: 2, Highest: 2.2, N: 4, Aim: 1.2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestARatioOfMediansIgnoresOneStall(t *testing.T) {
	got := ratioOfMedians("r", []float64{11, 900, 11}, []float64{10, 10, 10}, 0)
	want := Ratio{What: "r", Value: 1.1, N: 3}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnAddedLatencyIsTheDifferenceOfEachRound(t *testing.T) {
	if diff := cmp.Diff([]float64{1, -1, 3}, minus([]float64{2, 4, 9}, []float64{1, 5, 6})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
