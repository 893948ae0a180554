package decide

import (
	"testing"
	"time"
)

// surge is one second after another in which so many requests arrive, and somebody
// is held or not; cold starts are of 100 s, and a replica is ready.
type surge struct {
	Surge
	now Moment
}

func (s *surge) pass(seconds, arrivals, held int) {
	for range seconds {
		before := s.now.Arrivals
		s.now = Moment{s.now.At.Add(time.Second), before + uint64(arrivals)}
		s.Surge = s.observe(s.now, 1, held, before, 100)
	}
}

func TestHowMuchOfASurgeGoesOnIsLearnedFromPastOnes(t *testing.T) {
	for _, tc := range []struct {
		name    string
		after   int // arrivals a second when its first seconds are over
		atLeast float64
		atMost  float64
	}{
		{"all of it", 10, 0.7, 0.81},
		{"a tenth of it", 1, 0.07, 0.09},
		{"nothing", 0, 0, 0},
	} {
		s := surge{now: Moment{At: epoch}}
		for range 4 {
			s.pass(300, 0, 0)
			s.pass(11, 10, 5)
			s.pass(60, tc.after, 5)
			s.pass(60, tc.after, 0)
		}
		if s.Lasts < tc.atLeast || s.Lasts > tc.atMost || s.Count != 4 {
			t.Errorf("%s: %.2f of %d surges goes on, want %g to %g", tc.name, s.Lasts, s.Count, tc.atLeast, tc.atMost)
		}
	}
}

func TestOnlyWhatGoesOnOfASurgeIsExpected(t *testing.T) {
	s := surge{Surge: Surge{Lasts: 0.5, Count: 4}, now: Moment{At: epoch}}
	s.pass(10, 1, 0)
	if r := s.rate(s.now); r != 0 {
		t.Errorf("%g a second while nobody waits, want 0", r)
	}
	s.pass(1, 20, 12)
	if r := s.rate(s.now); r > 1 {
		t.Errorf("%g a second after one of 20, want no more than if they had come in ten", r)
	}
	s.pass(19, 20, 200)
	if r := s.rate(s.now); r < 9 || r > 10 { // half of 20 a second, and a little less
		t.Errorf("%g a second after 20 s, want about 10", r)
	}
	s.pass(1, 20, 0)
	if r := s.rate(s.now); r != 0 {
		t.Errorf("%g a second when all are served, want 0", r)
	}
	s.pass(300, 0, 0)
	s.pass(1, 1, 1)
	if r := s.rate(s.now); r != 0 {
		t.Errorf("%g a second after one request, want 0: one is no rate", r)
	}
}

func TestTheRestOfAWakeIsNoSurge(t *testing.T) {
	s := surge{now: Moment{At: epoch}}
	for range 100 { // nothing is ready
		before := s.now.Arrivals
		s.now = Moment{s.now.At.Add(time.Second), before + 10}
		s.Surge = s.observe(s.now, 0, 50, before, 100)
	}
	s.pass(30, 10, 50)
	s.Clear = false
	s.Surge = s.observe(s.now, 0, 0, s.now.Arrivals, 100) // nobody, but nothing is ready either
	s.pass(1, 10, 10)
	if s.rate(s.now) != 0 || !s.Began.At.IsZero() {
		t.Errorf("%+v, want no surge until somebody is held after nobody was", s.Surge)
	}
}

func TestWhoCameWhileTheLedgerCouldNotBeReadIsNoSurge(t *testing.T) {
	w := newWorld(t, auto(20))
	w.serve(1)
	w.snap.InFlight = 4
	w.pass(5*time.Minute, func(Decision) { w.snap.Arrivals++ })
	w.mem.Surge.Lasts, w.mem.Surge.Count = 1, enoughLearned
	w.snap.Known = false
	w.pass(5*time.Minute, func(Decision) { w.snap.Arrivals++ })
	w.snap.Known = true
	w.hold(1)
	w.pass(10*time.Second, func(d Decision) {
		w.snap.Arrivals++
		if d.To > 2 {
			t.Errorf("%s: %d→%d (%s) since one of those of five minutes is held", w.now.Sub(epoch), d.From, d.To, d.Reason)
		}
	})
}

func TestNoMoreThanAllOfASurgeGoesOn(t *testing.T) {
	s := surge{now: Moment{At: epoch}}
	for range 4 {
		s.pass(300, 0, 0)
		s.pass(11, 1, 5)
		s.pass(120, 20, 5)
	}
	if s.Lasts > 1 {
		t.Errorf("%.2f of a surge goes on that grew, want at most 1", s.Lasts)
	}
}

func TestWhoComesWithASurgeBelongsToIt(t *testing.T) {
	s := surge{Surge: Surge{Lasts: 1, Count: 4}, now: Moment{At: epoch}}
	s.pass(10, 0, 0)
	s.pass(1, 100, 92)
	if r := s.rate(s.now); r != 9 { // (100 − √100) in ten seconds
		t.Errorf("%g a second after a hundred at once, want 9", r)
	}
}
