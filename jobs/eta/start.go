package eta

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// Start is a cold start that is over, by stretch, in seconds. Pull and start are
// one: not every fleet tells where the first ends.
type Start struct {
	Place   float64 `json:"place"`   // from the scale call until a node had it
	Prepare float64 `json:"prepare"` // until its process ran: image, files
	Load    float64 `json:"load"`    // until its probe answered
}

// StartOf reads the stretches of a cold start off its story; false if the replica
// never became ready.
func StartOf(c jobs.ColdStart) (Start, bool) {
	var s Start
	for _, p := range c.Phases {
		switch p.Name {
		case jobs.PhasePlace:
			s.Place += p.DurMS / 1000
		case jobs.PhasePull, jobs.PhaseStart:
			s.Prepare += p.DurMS / 1000
		case jobs.PhaseLoad:
			s.Load += p.DurMS / 1000
		}
	}
	return s, c.Outcome != jobs.OutcomeFailed && s.Place+s.Prepare+s.Load > 0
}

// from splits a start at the stretch of a phase: x is that stretch, r all after it.
func (s Start) from(phase string) (x, r float64) {
	switch phase {
	case jobs.PhaseLoad:
		return s.Load, 0
	case jobs.PhasePull, jobs.PhaseStart:
		return s.Prepare, s.Load
	}
	return s.Place, s.Prepare + s.Load
}

const (
	halfLife  = 20.0 // starts until a past one counts half
	least     = 0.01 // seconds: shorter stretches are noise
	longest   = 1e6  // seconds: no start has lasted longer
	narrowest = 0.03 // spread of one past start: a fiftieth of all that is seen differs by more
	widest    = 0.5

	// As if guessed starts had been seen before the first, spread by guessedSpread.
	guessed       = 3.0
	guessedSpread = 0.3 // standard deviation of the logarithm
)

// variants are the quantiles of u and v that stand for all of them.
var variants = [...]float64{0.1, 0.3, 0.5, 0.7, 0.9}

// Left says how much longer a start takes whose present phase has lasted for passed,
// judging by past ones, oldest first. The phase is one of jobs.PhasePlace …
// PhaseLoad; anything before place is place. nil without a past start.
func Left(past []Start, phase string, passed time.Duration) *jobs.Estimate {
	n := len(past)
	if n == 0 {
		return nil
	}
	a := min(max(passed.Seconds(), 0), longest)
	now, later := make([]float64, n), make([]float64, n)
	for i, s := range past {
		x, r := s.from(phase)
		now[i], later[i] = min(max(x, least), longest), min(max(r, 0), longest)
	}
	hu, hv := spread(now), spread(later)
	outcomes := make([]outcome, 0, n*len(variants)*len(variants))
	for i := range past {
		// The share of starts like this one that lasted longer than a:
		// S(a) = 1/(1 + (a/x)^(1/h)).
		odds := math.Pow(a/now[i], 1/hu)
		weight := math.Exp2(-float64(n-1-i)/halfLife) / (1 + odds)
		for _, q := range variants {
			u := math.Pow((1+odds)/(1-q)-1, hu)
			for _, p := range variants {
				v := math.Pow(p/(1-p), hv)
				outcomes = append(outcomes, outcome{max(0, u*now[i]-a) + v*later[i], weight})
				if later[i] == 0 {
					outcomes[len(outcomes)-1].weight *= float64(len(variants))
					break
				}
			}
		}
	}
	slices.SortFunc(outcomes, func(a, b outcome) int { return cmp.Compare(a.left, b.left) })
	return &jobs.Estimate{P10: milli(quantile(outcomes, 0.1)), P50: milli(quantile(outcomes, 0.5)), P90: milli(quantile(outcomes, 0.9)), Seen: n}
}

// milli rounds up to whole milliseconds, so that what is left is never nothing.
func milli(seconds float64) float64 { return math.Ceil(seconds*1000) / 1000 }

// outcome is how much longer the start may take, and how likely that is.
type outcome struct{ left, weight float64 }

// quantile of weighted outcomes in their order, between the two nearest.
func quantile(sorted []outcome, q float64) float64 {
	total := 0.0
	for _, o := range sorted {
		total += o.weight
	}
	before, at, last := 0.0, 0.0, sorted[0]
	for _, o := range sorted {
		middle := before + o.weight/2
		if want := q * total; middle >= want {
			if middle == at {
				return o.left
			}
			return last.left + (o.left-last.left)*(want-at)/(middle-at)
		}
		before, last, at = before+o.weight, o, middle
	}
	return last.left
}

// spread is the log-logistic's scale h for one past start: Silverman's bandwidth on
// logarithms, 0.9·σ·n^(−1/5), as a logistic distribution of standard deviation
// h·π/√3. σ is that of the middle of the lengths, so that a few of another kind (an
// image that had to be pulled first) do not blur all the others.
func spread(lengths []float64) float64 {
	var logs []float64
	for _, x := range lengths {
		if x >= least {
			logs = append(logs, math.Log(x))
		}
	}
	n := float64(len(logs))
	squares, seen := guessed*guessedSpread*guessedSpread, max(n-1, 0)
	if n > 1 {
		middle := median(logs)
		for i, l := range logs {
			logs[i] = math.Abs(l - middle)
		}
		sigma := madToSigma * median(logs)
		squares += seen * sigma * sigma
	}
	sigma := math.Sqrt(squares / (guessed + seen))
	return min(max(0.9*sigma*math.Pow(max(n, 1), -0.2)*math.Sqrt(3)/math.Pi, narrowest), widest)
}

// madToSigma turns the median absolute deviation of a normal law into σ.
const madToSigma = 1.4826

// median sorts.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
