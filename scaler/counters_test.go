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
	late := c.differ(epoch.Add(4*time.Second), []jobs.Counters{publish("a", epoch.Add(time.Minute), 5)}, 3*time.Second)["s"]
	if late.inFlight != 0 {
		t.Errorf("%d in flight by an activator that is silent, want 0", late.inFlight)
	}
}

func TestWhatAnActivatorCountedBeforeItWasHeardIsNoBurst(t *testing.T) {
	epoch := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	publish := func(name string, at, started time.Time, arrivals uint64) []jobs.Counters {
		return []jobs.Counters{{Activator: name, Started: started, At: at, Services: map[string]jobs.ServiceCounters{
			"s": {Arrivals: arrivals, Completed: arrivals, ServiceSeconds: float64(arrivals)},
		}}}
	}
	long, young := epoch.Add(-24*time.Hour), epoch.Add(2*time.Second)
	var c counters
	for _, step := range []struct {
		what  string
		after time.Duration
		list  []jobs.Counters
		want  uint64
	}{
		{"nobody has published since Redis came back", 0, nil, 0},
		{"one that has run for a day has", time.Second, publish("a", epoch.Add(time.Second), long, 1_000_000), 0},
		{"what came since", 2 * time.Second, publish("a", epoch.Add(2*time.Second), long, 1_000_003), 3},
		{"one that has just started counts whole", 3 * time.Second, publish("b", epoch.Add(3*time.Second), young, 5), 5},
		{"nobody is heard for longer than any is remembered", time.Hour, nil, 0},
		{"and both are back", time.Hour + time.Second, append(publish("a", epoch.Add(time.Hour), long, 1_000_009),
			publish("b", epoch.Add(time.Hour), young, 70)...), 0},
		{"what came since", time.Hour + 2*time.Second, publish("b", epoch.Add(time.Hour+2*time.Second), young, 72), 2},
	} {
		var got traffic
		if t := c.differ(epoch.Add(step.after), step.list, 3*time.Second)["s"]; t != nil {
			got = *t
		}
		if got.arrivals != step.want || got.completed != step.want || got.seconds != float64(step.want) {
			t.Errorf("%s: %d arrivals, %d completed, %.0f s; want %d", step.what, got.arrivals, got.completed, got.seconds, step.want)
		}
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

// Requests that are over between two looks are known by the activator's own word
// alone: the last replica must stay for as long as they come, and no longer than
// its keep-alive after the last.
func TestAnActivatorWhoseClockIsWrongNeitherEndsAKeepAliveNorProlongsIt(t *testing.T) {
	for name, skew := range map[string]time.Duration{
		"right": 0, "an hour behind": -time.Hour, "an hour ahead": time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			play(t, policy(nil), func(t *testing.T, h *house) {
				h.ledger.set(func() { h.ledger.skew, h.ledger.work, h.ledger.mute = skew, 10*time.Millisecond, true })
				h.ledger.ask(1)
				within(t, 10*time.Second, "the answer", func() bool { return h.ledger.waiting() == 0 })
				for range 30 { // for more than twice the keep-alive
					pass(5300 * time.Millisecond)
					h.ledger.ask(1)
				}
				last := time.Now()
				if counts := h.fleet.counts(); len(counts) != 1 {
					t.Fatalf("scale calls while it was asked: %v, want the launch alone", counts)
				}
				within(t, 5*time.Minute, "no replica", func() bool { return h.fleet.running() == 0 })
				if got := time.Since(last); got < 59*time.Second || got > 63*time.Second {
					t.Errorf("gone %v after the last demand, want 1m ± a tick", got)
				}
			})
		})
	}
}

func TestDemandIsSeenAlsoAfterTheScalersClockWasSetBack(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	s := &service{lastDemand: now.Add(time.Hour)} // noted before
	s.asks(now, now.Add(time.Hour))
	if !s.lastDemand.Equal(now) {
		t.Errorf("last demand at %v, want at %v: it is not ahead of the clock", s.lastDemand, now)
	}
	now = now.Add(time.Minute)
	s.asks(now, time.Time{})
	if want := now.Add(-time.Minute); !s.lastDemand.Equal(want) {
		t.Errorf("nobody has asked since %v, and the last demand is at %v", want, s.lastDemand)
	}
	s.asks(now, now.Add(-time.Second))
	if want := now.Add(-time.Second); !s.lastDemand.Equal(want) {
		t.Errorf("last demand at %v, want at %v", s.lastDemand, want)
	}
}
