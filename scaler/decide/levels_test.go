package decide

import (
	"testing"
	"time"
)

// Levels that are joined for want of room are kept as long as the one of them that
// is kept longest.
func TestJoinedLevelsAreKeptAsLongAsTheLatestOfThem(t *testing.T) {
	last := map[int]time.Time{}
	var levels []Level
	now := epoch
	for k := 500; k > 0; k-- { // a slow descent: every level was last needed at another moment
		now = now.Add(time.Duration(1+k%7) * time.Second)
		levels, last[k] = need(levels, k, 1000, now), now
	}
	if len(levels) != maxLevels {
		t.Fatalf("%d steps, want %d", len(levels), maxLevels)
	}
	for k := 500; k > 0; k-- {
		for _, l := range levels { // the first step that reaches k
			if l.K < k {
				continue
			}
			if l.Last.Before(last[k]) {
				t.Errorf("level %d was needed at %s, and is taken to have been %s earlier", k, last[k].Sub(epoch), last[k].Sub(l.Last))
			}
			break
		}
	}
	if top := levels[len(levels)-1].K; top != 500 {
		t.Errorf("the highest level is %d, want 500", top)
	}
}
