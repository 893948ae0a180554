package decide

import (
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// A start that is under way is the one that may be: a second is not.
func TestTheBrakeLetsOneStartAtATimeAndCountsTheOneUnderWay(t *testing.T) {
	for _, tc := range []struct {
		most   int
		braked bool
	}{{1, false}, {2, true}} {
		p := plain(0, tc.most, 2)
		p.Sizing.Patience = 100
		w := newWorld(t, p)
		w.snap.Failures = Failures{InARow: 1, Last: epoch.Add(-time.Minute)}
		w.replica("r1", jobs.Starting)
		w.arrive(9)
		if d := w.look(); d.MaxStarts != 1 || (d.Rule == "brake") != tc.braked {
			t.Errorf("at most %d: wanted %d by %s, %d starts at once; want the brake named: %v", tc.most, d.To, d.Rule, d.MaxStarts, tc.braked)
		}
	}
}

// Once a day it is tried all the same. What follows is a pause like the first if
// the budget of an hour has room again, and another day if it has not.
func TestAfterTheDayWithoutStartsTheNextFailureIsJudgedAnew(t *testing.T) {
	spent := epoch.Add(-spentPause)
	b := Brake{Spent: spent}
	r := b.brake(epoch, &Failures{InARow: 9, Last: spent}, time.Time{})
	if !r.until.IsZero() || r.maxStarts != 1 {
		t.Fatalf("a day later the next start is at %s, %d at once, want one now", r.until, r.maxStarts)
	}
	again, other := epoch.Add(time.Minute), b
	if r := b.brake(again, &Failures{InARow: 10, Last: again, Seconds: 60}, time.Time{}); !r.until.Equal(again.Add(longestPause)) {
		t.Errorf("after another failure the next start is at %s, want a quarter of an hour later", r.until)
	}
	if r := other.brake(again, &Failures{InARow: 10, Last: again, Seconds: 1801}, time.Time{}); !r.until.Equal(again.Add(spentPause)) {
		t.Errorf("after another half hour that was spent the next start is at %s, want a day later", r.until)
	}
}
