package decide

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// idling is how a service with replicas of 4 slots, requests of 5 s and cold starts
// of 100 s spends some seconds with as many requests in flight, and none held.
func (m Missed) idling(at *time.Time, seconds, inFlight, n0 int) Missed {
	for range seconds {
		*at = at.Add(time.Second)
		m = m.observe(*at, 1, inFlight, 0, 0, n0, slotTimes{c: 4, s: 5, l: 100, theta: 2})
	}
	return m
}

func TestWhatWouldHaveWaitedForAReplicaIsLearnedWhileItIsThere(t *testing.T) {
	at := epoch
	m := Missed{}.idling(&at, 10, 2, 2)
	if m.known(1) || m.wait(1, 100) != 50 {
		t.Fatalf("%v s before it was ever needed, want half a cold start", m.wait(1, 100))
	}
	m = m.needed(at, 1, 2).idling(&at, 101, 6, 2)
	// Two of its slots are filled for 100 s: V grows to 200 slot-seconds, ∫V/S̄ = 2·100²/2/5.
	if got, want := m.wait(1, 100), (50+2000)/2.0; !m.known(1) || got < 0.97*want || got > want {
		t.Errorf("%.0f s after the first time, want %.0f", got, want)
	}
	before := m.wait(1, 100)
	m = m.idling(&at, 50, 2, 2).idling(&at, 150, 6, 2)
	if got := m.wait(1, 100); got != before {
		t.Errorf("%.0f s after demand that nobody says the level was needed for, want %.0f as before", got, before)
	}
}

func TestWhatTheOthersWouldHaveDoneSoonHardlyWaits(t *testing.T) {
	at := epoch
	m := Missed{}.idling(&at, 10, 0, 2)
	m = m.needed(at, 1, 2).idling(&at, 2, 8, 2).idling(&at, 100, 0, 2)
	// Eight slot-seconds pile up in two seconds, and are done in two more.
	if got := m.wait(1, 100); got < 25 || got > 30 {
		t.Errorf("%.1f s after a burst of two seconds, want little more than half of the prior's 50", got)
	}
}

func TestHeldRequestsAreNotTakenForWhatWouldBeInFlight(t *testing.T) {
	at := epoch
	m := Missed{}
	times := slotTimes{c: 4, s: 5, l: 100, theta: 2}
	m = m.observe(at, 0, 0, 30, 30, 0, times) // a batch that waits for a cold start of all
	m = m.needed(at, 0, 8)
	for range 101 {
		at = at.Add(time.Second)
		m = m.observe(at, 1, 0, 30, 0, 0, times)
	}
	if got := m.wait(1, 100); got > 250 {
		t.Errorf("%.0f s for the second replica: 30 requests of 5 s over 4 slots do not wait for a cold start", got)
	}
}

func TestOneMoreIsWorthHavingWhereRequestsWaitAgainAndAgain(t *testing.T) {
	at := epoch
	var m Missed
	bursts := 0
	for ; m.Next.worth(100) == 0 && bursts < 20; bursts++ {
		// Each is over before a replica could help: 40 slot-seconds pile up within 10 s
		// and would be done in 10 more, θ·∫V/S̄ = 160 s, less what the replica costs.
		m = m.idling(&at, 50, 0, 1)
		for range 10 {
			if m = m.idling(&at, 1, 8, 1); m.Next.worth(100) != 0 {
				break
			}
		}
	}
	if bursts < 2 || bursts > 5 || m.Next.worth(100) != 2 {
		t.Errorf("level %d after %d bursts, want the second after a few", m.Next.worth(100), bursts)
	}
	if m = m.idling(&at, 20, 0, 1); m.Next.worth(100) != 0 {
		t.Error("it is still asked for when nobody waits")
	}
	if m = m.idling(&at, 300, 3, 1); m.Next != (Next{}) {
		t.Errorf("%+v is remembered of a service that has room", m.Next)
	}
}

func TestWhoeverWaitsAgainAndAgainGetsOneMoreReplica(t *testing.T) {
	w := newWorld(t, auto(4))
	w.serve(2)
	w.snap.InFlight = 3
	w.look()
	w.mem.Missed.Next = Next{Level: 3, Saved: 1000}
	w.now = w.now.Add(time.Second)
	if d := w.look(); d.To != 3 || d.Rule != "backlog" || !strings.Contains(d.Reason, "again and again") {
		t.Errorf("%d→%d by %s (%s), want the third replica because requests wait again and again", d.From, d.To, d.Rule, d.Reason)
	}
}

func TestWhileAReplicaStartsNothingIsReckonedOfTheOneAboveIt(t *testing.T) {
	w := newWorld(t, auto(4))
	w.serve(1)
	w.snap.InFlight = 8
	w.look()
	w.replica("r2", jobs.Starting)
	w.mem.Wanted, w.mem.Missed.Next = 2, Next{Level: 3, Work: 100, Saved: 1000}
	w.now = w.now.Add(time.Second)
	if d := w.look(); d.To != 2 || w.mem.Missed.Next != (Next{}) {
		t.Errorf("%d→%d (%s) and %+v, want two: what the second will save is not known yet", d.From, d.To, d.Reason, w.mem.Missed.Next)
	}
}

func TestALevelThatCouldNotBeHadIsNotAskedForLongAfter(t *testing.T) {
	at := epoch
	m := Missed{}.idling(&at, 5*3600, 12, 1)
	if m.Next.worth(100) != 2 {
		t.Fatalf("%+v under demand for three replicas, want the second to be worth having", m.Next)
	}
	if m = m.idling(&at, 60, 0, 1); m.Next.worth(100) != 0 {
		t.Errorf("%+v a minute after the last request, want none to be worth having", m.Next)
	}
}

func TestWhatWasSavedIsOfTheLevelAboveThoseThatAreThere(t *testing.T) {
	at := epoch
	m := Missed{}.idling(&at, 60, 12, 1)
	if m.Next.worth(100) != 2 {
		t.Fatalf("%+v under demand for three replicas, want the second to be worth having", m.Next)
	}
	if up := m.idling(&at, 1, 12, 2); up.Next.worth(100) != 0 {
		t.Errorf("%+v when the second is ready, want nothing to be known of the third", up.Next)
	}
	if starting := m.idling(&at, 1, 12, 0); starting.Next != (Next{}) {
		t.Errorf("%+v while the second starts, want nothing", starting.Next)
	}
}

func TestAMinuteIsTheMostThatOneLookAccountsFor(t *testing.T) {
	times := slotTimes{c: 4, s: 5, l: 100, theta: 2}
	m := Missed{Offered: 8}.observe(epoch, 3600, 8, 0, 0, 1, times)
	if m.Next.Work > 60*4 {
		t.Errorf("%.0f slot-seconds after an hour that nobody looked at, want those of a minute", m.Next.Work)
	}
}

func TestWhatWasLearnedOfThoseWhoWaitOutlastsTheReplicas(t *testing.T) {
	m := Memory{Missed: Missed{Bands: []Pile{{}, {Began: 1, Mean: 7, Count: 2}}}, Surge: Surge{Lasts: 0.5, Count: 3}}.Emptied()
	if !m.Missed.known(1) || m.Missed.wait(1, 100) != 7 || m.Surge != (Surge{Lasts: 0.5, Count: 3}) || m.Missed.Bands[1].Began != 0 {
		t.Errorf("%+v %+v, want what was learned and nothing that runs", m.Missed, m.Surge)
	}
}

func TestAKeepAliveOfAnUpperReplicaIsChosenAtItsOwnPrice(t *testing.T) {
	w := newWorld(t, auto(2))
	w.serve(2)
	for range 4 {
		w.snap.InFlight = 16
		w.pass(5*time.Minute, func(Decision) { w.snap.Arrivals += 3 })
		w.snap.InFlight = 1
		w.pass(5*time.Minute, nil)
	}
	choice, first := w.mem.Gaps.choice(1), w.mem.Gaps.choice(0)
	if want := 120 + 2*w.mem.Missed.wait(1, 120); choice.Seen == 0 || math.Abs(choice.Price-want) > 1e-3*want {
		t.Errorf("%+v for the second, %+v for the first, want a price of %.0f", choice, first, want)
	}
}
