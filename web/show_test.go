package web

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestDurationsHaveTwoOrThreeDigitsAndOneUnit(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 340 * time.Microsecond: "0.3 ms", 2 * time.Millisecond: "2 ms", 9940 * time.Microsecond: "9.9 ms", 999 * time.Millisecond: "999 ms",
		999600 * time.Microsecond: "1.0 s", 4100 * time.Millisecond: "4.1 s", 41 * time.Second: "41 s", 119 * time.Second: "119 s",
		3 * time.Minute: "3 min", 5 * time.Hour: "5 h", 49 * time.Hour: "2 d", -5 * time.Second: "−5.0 s",
	} {
		if got := span(d); got != want {
			t.Errorf("%v is written %q, want %q", d, got, want)
		}
	}
}

func TestTextsAreComparedLineByLine(t *testing.T) {
	lines := func(diff []diffLine) string {
		var b strings.Builder
		for _, l := range diff {
			if l.Kind == "gap" {
				b.WriteString("…\n")
				continue
			}
			b.WriteString(l.Sign() + l.Text + "\n")
		}
		return b.String()
	}
	for _, test := range []struct{ name, from, to, want string }{
		{"equal", "a\nb\n", "a\nb", ""},
		{"changed in the middle", "a\nb\nc\n", "a\nx\nc\n", " a\n−b\n+x\n c\n"},
		{"from nothing", "", "a\nb\n", "+a\n+b\n"},
		{"to nothing", "a\n", "", "−a\n"},
		{"inserted and removed", "a\nb\nc\nd\n", "b\nc\nnew\nd\n", "−a\n b\n c\n+new\n d\n"},
		{"line ends do not count", "a\r\nb\r\n", "a\nb\n", ""},
		{"far lines are left out", "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\n5\n6\n7\n8\nx\n", "…\n 6\n 7\n 8\n−9\n+x\n"},
	} {
		if diff := cmp.Diff(test.want, lines(diffText(test.from, test.to))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestAComparisonOfHugeTextsEnds(t *testing.T) {
	a, b := strings.Repeat("a\n", 5000), strings.Repeat("b\n", 5000)
	if got := len(diffText("same\n"+a, "same\n"+b)); got != 10_001 {
		t.Errorf("%d lines, want all replaced but the first", got)
	}
}

func TestBarsOfAWaterfallStandWhereTheirPhasesAre(t *testing.T) {
	short, long := coldStart("a", "1", time.Now(), 100, 400), coldStart("a", "2", time.Now(), 0, 1000)
	drawn := drawWaterfalls([]jobs.ColdStart{short, long})
	if b := drawn[0].Bars; b[0].X != 0 || b[0].Width != 100 || b[1].X != 100 || b[1].Width != 400 {
		t.Errorf("bars %+v, want thousandths of the longest", b)
	}
	if b := drawn[1].Bars; b[0].Width != 2 || b[1].Width != 1000 {
		t.Errorf("bars %+v, want the shortest phase still visible", b)
	}
	if got := drawn[0].InWords(); got != "decide 100 ms, place 400 ms" {
		t.Errorf("in words: %q", got)
	}
}

func TestQuantilesAreNearestRanksAndLeaveFailedStartsOutOfTheWhole(t *testing.T) {
	var list []jobs.ColdStart
	for i := range 100 {
		list = append(list, coldStart("a", "", time.Now(), float64(i+1)))
	}
	failed := coldStart("a", "", time.Now(), 60_000)
	failed.Outcome = jobs.OutcomeFailed
	stats := statsOf(append(list, failed))
	if got := stats[0]; got.P50.Text != "51" || got.P99.Text != "100" || got.Count != 101 {
		t.Errorf("decide: %+v", got)
	}
	if got := stats[1]; !got.P50.Unknown() || got.Count != 0 {
		t.Errorf("place was never recorded: %+v", got)
	}
	if got := stats[len(stats)-1]; got.P50.Text != "50" || got.P90.Text != "90" || got.Count != 100 {
		t.Errorf("whole: %+v", got)
	}
}

func TestALineOfTheFleetSaysByWhomAServiceIsPausedAndElseWhatIsInItsWay(t *testing.T) {
	paused, purged, full := ptr("paused by ada: maintenance"), ptr("the job was purged by somebody else"), ptr("no free GPU")
	for _, c := range []struct {
		status jobs.Status
		want   string
	}{
		{jobs.Status{State: jobs.StatePaused, Paused: paused, Replicas: jobs.ReplicaCounts{Ready: 1}}, *paused},
		{jobs.Status{State: jobs.StatePaused, Paused: paused, Blocked: full, Replicas: jobs.ReplicaCounts{Ready: 1}}, *paused},
		{jobs.Status{State: jobs.StatePaused, Paused: paused, Blocked: purged}, *purged},
		{jobs.Status{State: jobs.StateBlocked, Blocked: full}, *full},
		{jobs.Status{State: jobs.StateReady, Blocked: full, Replicas: jobs.ReplicaCounts{Ready: 1}}, ""},
	} {
		if row := rowOf(service{Known: true, Status: c.status}); row.Why != c.want {
			t.Errorf("%s, %d ready: %q, want %q", c.status.State, c.status.Replicas.Ready, row.Why, c.want)
		}
	}
}

func TestTheSentenceSaysWhatTheServiceIsWaitingFor(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		svc  service
		want string
	}{
		{service{}, "At zero as far as is known: the scaler has not reported on it yet."},
		{service{Known: true, Status: jobs.Status{State: jobs.StateZero, Cold: jobs.ColdStartStats{P50: ptr(4.1), Count: 7}}},
			"At zero. The next request wakes it; a cold start takes about 4.1 s (median of 7)."},
		{service{Known: true, Status: jobs.Status{State: jobs.StateWaking, Demand: jobs.DemandCounts{Held: 3}, Oldest: ptr(12.0), ETA: ptr(20.0), Replicas: jobs.ReplicaCounts{Wanted: 1, Starting: 1}}},
			"Waking: 3 requests held, the oldest for 12 s; 1 replica loading, about 20 s left."},
		{service{Known: true, Status: jobs.Status{State: jobs.StateWaking, Replicas: jobs.ReplicaCounts{Wanted: 1, Starting: 1, List: []jobs.Replica{{Phase: jobs.Starting, Progress: "Downloading image"}}}}},
			"Waking: nobody waits; 1 replica being prepared, time left unknown."},
		{service{Known: true, Status: jobs.Status{State: jobs.StatePaused, Blocked: ptr("paused by ada: maintenance")}},
			"Paused by ada: maintenance; nothing changes. 0 of 0 wanted replicas ready. While no replica is ready, requests are refused."},
		{service{Known: true, Status: jobs.Status{State: jobs.StatePaused, Paused: ptr("paused by ada: maintenance"), PausedAt: ptr(time.Date(2026, 9, 7, 8, 0, 0, 0, time.UTC)),
			Blocked: ptr("no free GPU"), Replicas: jobs.ReplicaCounts{Wanted: 2, Ready: 1}}},
			"Paused by ada: maintenance, since Sep 7 08:00 UTC; nothing changes. 1 of 2 wanted replicas ready. While no replica is ready, requests are refused."},
		{service{Known: true, Status: readyStatus("a", now)}, "Ready: 1 of 1 wanted replica; 2 requests in flight."},
		{service{Known: true, Status: jobs.Status{State: jobs.StateBlocked, Blocked: ptr("no free GPU: 2 nodes, 0 of 4 nvidia/gpu free"), BlockedUntil: ptr(now.Add(30 * time.Second))}},
			"Blocked: no free GPU: 2 nodes, 0 of 4 nvidia/gpu free; the next try is in 30 s."},
		{service{Known: true, Status: jobs.Status{State: jobs.StateDraining, Demand: jobs.DemandCounts{InFlight: 1}, Replicas: jobs.ReplicaCounts{List: make([]jobs.Replica, 2)}}},
			"Draining to zero: 1 request to finish at 2 replicas."},
	} {
		if got := test.svc.Sentence(now); got != test.want {
			t.Errorf("%s: %q, want %q", test.svc.State, got, test.want)
		}
	}
}
