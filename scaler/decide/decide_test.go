package decide

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestPolicyExampleIsTheOneTheOracleTranscribes(t *testing.T) {
	w := newWorld(t, examplePolicy(t, "chatglm"))
	want := chatglm()
	got := *w.p
	// What the decision does not read may differ.
	want.Description, want.Job, want.Route, want.Probe = got.Description, got.Job, got.Route, got.Probe
	want.Hold, want.Request, want.Retry, want.Result, want.Cost = got.Hold, got.Request, got.Retry, got.Result, got.Cost
	if diff := cmp.Diff(*want, got); diff != "" {
		t.Errorf("policies/examples/chatglm.hcl (-want +got):\n%s", diff)
	}
}

func TestAnIdleServiceRestsUntilItsKeepAliveEnds(t *testing.T) {
	w := newWorld(t, plain(0, 3, 8))
	w.arrive(1)
	w.look()
	w.replica("r1", jobs.Ready)
	w.hold(0)
	w.snap.InFlight = 1
	w.pass(2*time.Second, nil)
	w.snap.InFlight = 0
	ended := w.now
	looks := 0
	for w.last.To > 0 {
		if looks++; looks > 10 {
			t.Fatalf("still at %d after %d looks: %s", w.last.To, looks, w.last.Reason)
		}
		w.now = maxTime(w.last.Next, w.now)
		w.look()
	}
	if got := w.now.Sub(ended); got != time.Minute {
		t.Errorf("to zero %s after the last demand, want 1m0s", got)
	}
	w.replica("r1", jobs.Gone)
	w.now = w.now.Add(time.Second)
	if d := w.look(); d.Next.Sub(d.At) != longestRest {
		t.Errorf("at zero the next look is in %s, want %s", d.Next.Sub(d.At), longestRest)
	}
}

func TestTheKeepAliveIsExactWhateverTheWindowsSay(t *testing.T) {
	for _, after := range []time.Duration{5 * time.Second, 30 * time.Second, 90 * time.Second, 6 * time.Minute} {
		t.Run(after.String(), func(t *testing.T) {
			p := plain(0, 6, 2)
			p.ToZero.After = after
			p.ScaleUp.Demand, p.ScaleDown.GPUUtilization = some(1), some(10) // GPU is never known
			w := newWorld(t, p)
			w.arrive(40)
			w.look()
			for i := range 6 {
				w.replica(fmt.Sprint("r", i), jobs.Ready)
			}
			w.hold(0)
			w.snap.InFlight = 12
			w.pass(3*time.Minute, nil)
			w.snap.InFlight = 0
			w.snap.LastDemand = w.now
			end := w.now.Add(after)
			w.pass(after+2*time.Second, func(d Decision) {
				if early := d.At.Before(end); early && d.To == 0 || !early && d.To != 0 {
					t.Errorf("%s after the last demand: %d→%d by %s (%s)", d.At.Sub(end.Add(-after)), d.From, d.To, d.Rule, d.Reason)
				}
			})
		})
	}
}

func TestANewLeaderWithoutMemoryStopsNothingAtOnce(t *testing.T) {
	w := newWorld(t, plain(0, 6, 2))
	for i := range 4 {
		w.replica(fmt.Sprint("r", i), jobs.Ready)
	}
	w.snap.Known = false
	if d := w.look(); d.From != 4 || d.To != 4 {
		t.Errorf("%d→%d with demand unknown, want 4→4", d.From, d.To)
	}
	w.snap.Known = true
	w.snap.InFlight = 1
	w.now = w.now.Add(time.Second)
	if d := w.look(); d.To != 4 {
		t.Errorf("to %d by %s (%s), want 4: what they were started for is not known", d.To, d.Rule, d.Reason)
	}
}

func TestDoomedRequestsBuyNothing(t *testing.T) {
	p := plain(0, 8, 1)
	starts := []float64{100, 101, 102, 103, 104, 105}
	snap := Snapshot{Known: true, Held: 6, OldestHold: epoch, Starts: starts, Service: ServiceTime{MeanSeconds: 60, Count: 100}}
	patient, _ := Decide(epoch, p, 1, snap, Memory{})
	for range 6 {
		snap.Deadlines = append(snap.Deadlines, epoch.Add(30*time.Second))
	}
	hasty, _ := Decide(epoch, p, 1, snap, Memory{})
	if patient.To <= 1 || hasty.To != 1 {
		t.Errorf("6 held want %d replicas, and %d if none can be ready in time; want more than 1, and 1", patient.To, hasty.To)
	}
	snap.Starts = nil
	if prior, _ := Decide(epoch, p, 1, snap, Memory{}); prior.To <= 1 {
		t.Errorf("to %d with no start measured yet: nothing says that they are too late", prior.To)
	}
}

func TestARestartOfArrivalCountsIsNoBurst(t *testing.T) {
	w := newWorld(t, plain(0, 6, 2))
	w.snap.Arrivals = 1000
	w.look()
	w.snap.Arrivals = 3
	w.pass(2*time.Second, nil)
	if w.last.To != 0 {
		t.Errorf("to %d: %s", w.last.To, w.last.Reason)
	}
}

func TestLastWordsAreClippedBetweenRunes(t *testing.T) {
	long := strings.Repeat("память ", 100)
	if got := clip(long); len(got) > 210 || !strings.HasSuffix(got, "…") || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("clip: %d bytes, %q", len(got), got)
	}
}

func TestPausesGrowToAQuarterOfAnHour(t *testing.T) {
	var got []string
	for f := range 8 {
		got = append(got, short(pauseAfter(f)))
	}
	want := []string{"0s", "30s", "1m", "2m", "4m", "8m", "15m", "15m"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestInputsAndSignalsAreJSON(t *testing.T) {
	w := newWorld(t, plain(0, 6, 2))
	w.arrive(30)
	w.replica("r1", jobs.Ready)
	w.snap.InFlight = 2
	w.served.latency, w.served.times = time.Second, 30
	w.pass(90*time.Second, nil)
	text, err := json.Marshal(w.last)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{`"a":`, `"z":`, `"N_load":`, `"N_back":`, `"N_thr":`, `"N_level":`, `"need":`, `"L50":`, `"S":`, `"lambda":`, `"E":`, `"H":30`, `"B":2`} {
		if !strings.Contains(string(text), key) {
			t.Errorf("no %s in %s", key, text)
		}
	}
	if s := w.last.Signals.Up; s.LatencyP95 == nil || *s.LatencyP95 < 0.98 || *s.LatencyP95 > 1.02 || s.GPUUtilization != nil {
		t.Errorf("signals %s: want p95 within 1 %% of 1 s and GPU unknown", signals(s))
	}
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func TestAStoredDecisionHasNeitherAnEmptyTimeNorWhatIsForTheLoopOnly(t *testing.T) {
	w := newWorld(t, plain(0, 3, 8))
	w.arrive(1)
	text, err := json.Marshal(w.look())
	if err != nil {
		t.Fatal(err)
	}
	for _, absent := range []string{"brake_until", "max_starts", `"next"`, "0001-01-01"} {
		if strings.Contains(string(text), absent) {
			t.Errorf("%s contains %s", text, absent)
		}
	}
}

func TestAServiceThatServesIsLookedAtEachSecond(t *testing.T) {
	w := newWorld(t, plain(0, 1, 8))
	w.replica("r1", jobs.Ready)
	w.snap.InFlight = 1
	w.pass(5*time.Minute, nil)
	if rest := w.last.Next.Sub(w.last.At); rest != time.Second {
		t.Errorf("the next look is in %s, want in 1s", rest)
	}
}
