package bench

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/eta"
)

const (
	etaWakes   = 200
	etaFirst   = 5     // wakes before, that nothing can be told of
	etaKept    = 50    // past starts, as the scaler keeps them
	etaMedian  = 120.0 // seconds of a cold start
	etaBetween = 10.0  // seconds between heartbeats
	etaSeed    = 7
)

// ETA measures how wrong the time is that held callers are told, on virtual time:
// 200 wakes of each of three kinds of cold start, told every 10 s as heartbeats do.
// The yardstick is the median of the same past starts less what has passed, which
// is what one would write first.
func ETA(ctx context.Context, cfg Config) (Result, error) {
	r := Result{Name: "eta", Method: fmt.Sprintf("%d wakes a kind on virtual time, cold starts of about %.0f s told every %.0f s; "+
		"error = mean over a wake of |told − true| seconds left, in percent of %.0f s; yardstick: median of past starts − elapsed", etaWakes, etaMedian, etaBetween, etaMedian)}
	for _, kind := range []struct {
		what string
		draw func(*rand.Rand) eta.Start
	}{
		{"alike (lognormal, σ 0.15)", func(r *rand.Rand) eta.Start { return drawStart(r, 0.15) }},
		{"one in six pulls its image first, as long again", func(r *rand.Rand) eta.Start {
			s := drawStart(r, 0.15)
			if r.IntN(6) == 0 {
				s.Prepare += etaMedian * math.Exp(0.15*r.NormFloat64())
			}
			return s
		}},
		{"heavy-tailed (lognormal, σ 0.5)", func(r *rand.Rand) eta.Start { return drawStart(r, 0.5) }},
	} {
		if err := ctx.Err(); err != nil {
			return Result{}, err
		}
		e := etaErrors(rand.New(rand.NewPCG(etaSeed, 0)), kind.draw)
		r.Ratios = append(r.Ratios,
			ratioOfMedians("error over the yardstick's: "+kind.what, e.told, e.naive, 0),
			ratioOfMedians("  at moments past the median", e.lateTold, e.lateNaive, 0),
			Ratio{What: "  times that the truth is within p10 … p90, over the 80 % meant", Value: e.within / e.moments / 0.8, N: int(e.moments)},
			Ratio{What: "  deadlines given up that would have been met, over all given up", Value: e.wrongly / e.refused, N: int(e.refused)})
		r.Figures = append(r.Figures, figureOf("error: "+kind.what, "%", e.told), figureOf("  the yardstick's", "%", e.naive),
			figureOf("  at moments past the median", "%", e.lateTold), figureOf("  the yardstick's", "%", e.lateNaive))
	}
	return r, nil
}

// drawStart is a cold start placed at once, whose image is there.
func drawStart(r *rand.Rand, sigma float64) eta.Start {
	vary := func(median float64) float64 { return median * math.Exp(sigma*r.NormFloat64()) }
	return eta.Start{Place: vary(0.02), Prepare: vary(0.1 * etaMedian), Load: vary(0.9 * etaMedian)}
}

// etaMeasured are errors in percent of a median cold start: means over each wake,
// and those of single moments past the median, when the yardstick has come to 0.
type etaMeasured struct {
	told, naive         []float64
	lateTold, lateNaive []float64
	within, moments     float64 // at which the truth lay between p10 and p90; all
	refused, wrongly    float64 // deadlines of 0 … 240 s that were past hope; those that would have been met
}

func etaErrors(r *rand.Rand, draw func(*rand.Rand) eta.Start) (e etaMeasured) {
	var past []eta.Start
	var totals []float64
	for wake := range etaFirst + etaWakes {
		s := draw(r)
		total := s.Place + s.Prepare + s.Load
		if wake >= etaFirst {
			usual, told, naive, n := median(totals), 0.0, 0.0, 0.0
			for at := etaBetween * r.Float64(); at < total; at += etaBetween {
				phase, passed := phaseAt(s, at)
				left, truth := eta.Left(past, phase, time.Duration(passed*float64(time.Second))), total-at
				wrong, yardstick := 100*math.Abs(left.P50-truth)/etaMedian, 100*math.Abs(max(0, usual-at)-truth)/etaMedian
				if told, naive, n = told+wrong, naive+yardstick, n+1; at > usual {
					e.lateTold, e.lateNaive = append(e.lateTold, wrong), append(e.lateNaive, yardstick)
				}
				if left.P10 <= truth && truth <= left.P90 {
					e.within++
				}
				if deadline := 2 * etaMedian * r.Float64(); deadline < left.P10 {
					if e.refused++; truth <= deadline {
						e.wrongly++
					}
				}
			}
			if n > 0 {
				e.told, e.naive, e.moments = append(e.told, told/n), append(e.naive, naive/n), e.moments+n
			}
		}
		past, totals = append(past, s), append(totals, total)
		past, totals = past[max(0, len(past)-etaKept):], totals[max(0, len(totals)-etaKept):]
	}
	return e
}

// phaseAt is the phase that a start is in at a second, and for how long.
func phaseAt(s eta.Start, at float64) (phase string, passed float64) {
	switch {
	case at < s.Place:
		return jobs.PhasePlace, at
	case at < s.Place+s.Prepare:
		return jobs.PhaseStart, at - s.Place
	}
	return jobs.PhaseLoad, at - s.Place - s.Prepare
}
