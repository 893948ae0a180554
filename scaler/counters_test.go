package scaler

import (
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestCountersOfActivatorsBecomeDifferences(t *testing.T) {
	epoch := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	publish := func(name string, started time.Time, arrivals uint64) jobs.Counters {
		return jobs.Counters{Activator: name, Started: started, At: epoch, Services: map[string]jobs.ServiceCounters{
			"s": {Arrivals: arrivals, Completed: arrivals, InFlight: 1},
		}}
	}
	var c counters
	for _, step := range []struct {
		what     string
		list     []jobs.Counters
		arrivals uint64
		inFlight int
	}{
		{"of the first reading nothing counts, for it is of unknown age", []jobs.Counters{publish("a", epoch, 100)}, 0, 1},
		{"what came since", []jobs.Counters{publish("a", epoch, 110)}, 10, 1},
		{"nothing new", []jobs.Counters{publish("a", epoch, 110)}, 0, 1},
		{"an activator that is new counts whole", []jobs.Counters{publish("a", epoch, 110), publish("b", epoch, 7)}, 7, 2},
		{"one that missed a publication", []jobs.Counters{publish("b", epoch, 8)}, 1, 1},
		{"and is back", []jobs.Counters{publish("a", epoch, 112), publish("b", epoch, 8)}, 2, 2},
		{"a restart with another start time", []jobs.Counters{publish("a", epoch.Add(time.Minute), 200)}, 200, 1},
		{"a restart seen by a smaller number", []jobs.Counters{publish("a", epoch.Add(time.Minute), 5)}, 5, 1},
	} {
		got := c.differ(epoch, step.list, 3*time.Second)["s"]
		if got.arrivals != step.arrivals || got.completed != step.arrivals {
			t.Errorf("%s: %d arrivals, %d completed; want %d", step.what, got.arrivals, got.completed, step.arrivals)
		}
		if got.inFlight != step.inFlight {
			t.Errorf("%s: %d in flight, want %d", step.what, got.inFlight, step.inFlight)
		}
	}
	late := c.differ(epoch.Add(10*time.Second), []jobs.Counters{publish("a", epoch.Add(time.Minute), 5)}, 3*time.Second)["s"]
	if late.inFlight != 0 {
		t.Errorf("%d in flight by an activator that is silent, want 0", late.inFlight)
	}
}

func TestLatencyBucketsArePassedOnWhenTheyGrow(t *testing.T) {
	epoch := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	publish := func(counts ...uint64) []jobs.Counters {
		s := jobs.ServiceCounters{}
		for i, n := range counts {
			s.Latency = append(s.Latency, jobs.LatencyBucket{Start: epoch.Add(time.Duration(i) * 5 * time.Second), Count: n})
		}
		return []jobs.Counters{{Activator: "a", Started: epoch, At: epoch, Services: map[string]jobs.ServiceCounters{"s": s}}}
	}
	var c counters
	for i, step := range []struct {
		list []jobs.Counters
		want []uint64
	}{
		{publish(3), []uint64{3}},
		{publish(3), nil},
		{publish(5, 2), []uint64{5, 2}},
		{publish(5, 4), []uint64{4}},
	} {
		var got []uint64
		for _, item := range c.differ(epoch, step.list, time.Second)["s"].latency {
			got = append(got, item.Count)
		}
		if len(got) != len(step.want) || len(got) > 0 && got[0] != step.want[0] {
			t.Errorf("reading %d: buckets of %v, want %v", i, got, step.want)
		}
	}
}
