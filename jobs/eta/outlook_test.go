package eta

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pilotlight/pilotlight/jobs"
)

func coming(slots int, p10, p50, p90 float64) jobs.Coming {
	return jobs.Coming{Phase: jobs.PhaseLoad, Slots: slots, Left: &jobs.Estimate{P10: p10, P50: p50, P90: p90, Seen: 50}}
}

func TestAPlaceInTheQueueWaitsForSlotsToComeFree(t *testing.T) {
	unknown := jobs.Coming{Phase: jobs.PhasePlace, Slots: 8}
	for _, test := range []struct {
		name     string
		of       Outlook
		position int
		want     float64 // NaN: unknown
	}{
		{"a slot is free", Outlook{Free: 2, Slots: 8, Service: 4}, 2, 0},
		{"the next one comes free", Outlook{Slots: 8, Service: 4}, 1, 0.5},
		{"sixteen are before it", Outlook{Slots: 8, Service: 4}, 17, 8.5},
		{"how long a request takes is unknown", Outlook{Slots: 8}, 1, math.NaN()},
		{"nothing comes", Outlook{}, 1, math.NaN()},
		{"the first replica has a slot for it", Outlook{Coming: []jobs.Coming{coming(8, 30, 40, 60)}}, 8, 40},
		{"the first replica has none for it, and how long it takes is unknown", Outlook{Coming: []jobs.Coming{coming(8, 30, 40, 60)}}, 9, math.NaN()},
		{"it waits for the first replica, and there for a slot", Outlook{Service: 4, Coming: []jobs.Coming{coming(8, 30, 40, 60)}}, 10, 41},
		{"the second replica is sooner than a slot of the first", Outlook{Service: 400, Coming: []jobs.Coming{coming(8, 50, 60, 70), coming(8, 30, 40, 60)}}, 10, 60},
		{"one is ready, another comes", Outlook{Slots: 1, Service: 10, Coming: []jobs.Coming{coming(1, 10, 20, 30)}}, 5, 30},
		{"nobody can place it", Outlook{Coming: []jobs.Coming{unknown}}, 1, math.NaN()},
		{"one cannot be placed, the other loads", Outlook{Coming: []jobs.Coming{unknown, coming(8, 30, 40, 60)}}, 3, 40},
		{"a place of none is the first", Outlook{Slots: 8, Service: 4}, 0, 0.5},
	} {
		got := test.of.Wait(test.position)
		if !same(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, show(got), test.want)
		}
	}
}

// same compares an estimate with what is wanted, where NaN is unknown.
func same(got *float64, want float64) bool {
	if got == nil || math.IsNaN(want) {
		return got == nil && math.IsNaN(want)
	}
	return math.Abs(*got-want) < 1e-9
}

func show(s *float64) any {
	if s == nil {
		return "unknown"
	}
	return *s
}

func TestHopeIsGivenUpOnlyForWhatIsKnown(t *testing.T) {
	start := &jobs.Estimate{P10: 100, P50: 120, P90: 150, Seen: 50}
	few := *start
	few.Seen = 4
	loading := Outlook{Service: 4, Coming: []jobs.Coming{coming(8, 30, 40, 60)}}
	for _, test := range []struct {
		name     string
		of       Outlook
		position int
		extra    int
		start    *jobs.Estimate
		want     float64
	}{
		{"the fastest tenth", loading, 1, 0, nil, 30},
		{"a queue that drains twice as fast", loading, 12, 0, nil, 31},
		{"a replica may still be launched", loading, 400, 1, start, 100},
		{"past starts are too few", loading, 1, 1, &few, math.NaN()},
		{"there are none", loading, 1, 1, nil, math.NaN()},
		{"one may be placed any moment", Outlook{Coming: []jobs.Coming{coming(8, 30, 40, 60), {Slots: 8}}}, 1, 0, nil, math.NaN()},
		{"what is in flight may be over at once", Outlook{Slots: 8, Service: 4}, 8, 0, nil, 0},
		{"the others after it", Outlook{Slots: 8, Service: 4}, 24, 0, nil, 4},
		{"how long a request takes is unknown", Outlook{Slots: 8}, 9, 0, nil, math.NaN()},
	} {
		got := test.of.Soonest(test.position, test.extra, 1000, test.start)
		if !same(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, show(got), test.want)
		}
	}
}

func TestAWaitGrowsWithThePlaceAndIsNeverNegative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Outlook{Slots: rapid.IntRange(0, 64).Draw(t, "slots"), Service: rapid.OneOf(rapid.Just(0.0), rapid.Float64Range(0, 1e3)).Draw(t, "S")}
		o.Free = rapid.IntRange(0, o.Slots).Draw(t, "free")
		for range rapid.IntRange(0, 4).Draw(t, "coming") {
			c := coming(rapid.IntRange(1, 64).Draw(t, "of"), 0, rapid.Float64Range(0, 1e4).Draw(t, "left"), 1e4)
			if rapid.IntRange(0, 4).Draw(t, "blocked") == 0 {
				c.Left = nil
			}
			o.Coming = append(o.Coming, c)
		}
		before := 0.0
		for p := 1; p < 200; p++ {
			got := o.Wait(p)
			if got == nil {
				if o.Service > 0 && o.Slots > 0 {
					t.Fatalf("place %d: unknown, with %+v", p, o)
				}
				before = math.Inf(1) // unknown stays so for all after it
				continue
			}
			if !(*got >= 0) || *got < before-1e-9 {
				t.Fatalf("place %d waits %v, the one before it %v", p, *got, before)
			}
			before = *got
			if s := o.Soonest(p, 0, 0, nil); s != nil && *s > *got+1e-9 {
				t.Fatalf("place %d: at its most hopeful %v, and yet %v is expected", p, *s, *got)
			}
		}
	})
}

func TestAStatusThatGrowsOldSaysLess(t *testing.T) {
	now := time.Unix(1e9, 0)
	service := 4.0
	st := jobs.Status{At: now.Add(-2 * time.Second), Service: &service, Demand: jobs.DemandCounts{InFlight: 3},
		Replicas: jobs.ReplicaCounts{List: []jobs.Replica{{Phase: jobs.Ready, Slots: 8}, {Phase: jobs.Draining, Slots: 8}}},
		Coming:   []jobs.Coming{coming(8, 1, 40, 60)}}
	o := Read(st, now)
	if o.Slots != 8 || o.Free != 5 || o.Service != 4 || *o.Coming[0].Left != (jobs.Estimate{P10: 0, P50: 38, P90: 58, Seen: 50}) {
		t.Errorf("%+v %+v", o, *o.Coming[0].Left)
	}
	if o := Read(st, now.Add(time.Minute)); o.Coming[0].Left != nil {
		t.Errorf("a minute later: %+v", *o.Coming[0].Left)
	}
	if o := Read(st, now.Add(-time.Minute)); o.Coming[0].Left.P50 != 40 {
		t.Errorf("by a clock that is behind: %+v", *o.Coming[0].Left)
	}
}
