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
	if n <= 0 && len(levels) == 0 {
		return nil
	}
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

// kept is the highest level k above the first that was needed within its τ_k, 0
// if none was; levels no longer kept are cut off. τ is one for each band.
func kept(levels []Level, tau func(k int) time.Duration, now time.Time) (int, []Level) {
	for n := len(levels); n > 0; n-- {
		top, below := levels[n-1], 1
		if n > 1 {
			below = max(below, levels[n-2].K)
		}
		for k := top.K; k > below; k = lowest(bandOf(k)) - 1 {
			if now.Sub(top.Last) >= tau(k) {
				continue
			}
			levels = levels[:n]
			if k < top.K { // the rest of the step is in a band that is not kept
				levels = append(levels[:n-1:n-1], Level{k, top.Last})
			}
			return k, levels
		}
	}
	if len(levels) > 0 && levels[0].K < 2 {
		return 0, levels[:1]
	}
	return 0, nil
}
