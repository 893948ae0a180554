package decide

import "time"

// Level says when the replicas up to number K were last needed: a step of a
// staircase, with K rising and Last falling.
//
// Replica number k is a small business of its own: it is kept while it was
// needed within τ_k. That is the stabilization window (the maximum over a
// window, [HPA]), one for each level and priced. Threshold steps count as need,
// so that what a threshold bought is not sold the moment it has helped.
type Level struct {
	K    int       `json:"k"`
	Last time.Time `json:"last"`
}

// maxLevels bounds the staircase; beyond it the two lowest steps with the least
// between them are joined, keeping the later Last: nothing goes early for it.
const maxLevels = 64

// need notes that n replicas are needed now, and forgets levels above top.
func need(levels []Level, n, top int, now time.Time) []Level {
	out := make([]Level, 0, len(levels)+1)
	if n > 0 {
		out = append(out, Level{min(n, top), now})
	}
	for _, l := range levels {
		l.K = min(l.K, top)
		if len(out) == 0 || l.K > out[len(out)-1].K {
			out = append(out, l)
		}
	}
	for len(out) > maxLevels {
		join := 1
		for i := 1; i+1 < len(out); i++ {
			if out[i].Last.Sub(out[i+1].Last) < out[join].Last.Sub(out[join+1].Last) {
				join = i
			}
		}
		out[join].K = out[join+1].K
		out = append(out[:join+1], out[join+2:]...)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// kept is the highest level above the first that was needed within tau, 0 if
// none was, with the moment it was; levels no longer kept are cut off.
func kept(levels []Level, tau time.Duration, now time.Time) (int, time.Time, []Level) {
	for len(levels) > 0 {
		top := levels[len(levels)-1]
		if top.K >= 2 && now.Sub(top.Last) < tau {
			return top.K, top.Last, levels
		}
		if top.K < 2 {
			break
		}
		levels = levels[:len(levels)-1]
	}
	return 0, time.Time{}, levels
}
