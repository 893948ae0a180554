package bench

import (
	"errors"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// endOf returns when a phase of a cold start was over.
func endOf(c jobs.ColdStart, name string) (time.Time, error) {
	for _, p := range c.Phases {
		if p.Name == name {
			return c.StartedAt.Add(time.Duration((p.StartMS + p.DurMS) * float64(time.Millisecond))), nil
		}
	}
	return time.Time{}, errors.New("the cold start of " + c.Replica + " does not tell its phase " + name)
}

// phaseFigures tell where cold starts spend their time.
func phaseFigures(stories []jobs.ColdStart) []Figure {
	var out []Figure
	for _, name := range []string{jobs.PhaseDecide, jobs.PhasePlace, jobs.PhasePull, jobs.PhaseStart, jobs.PhaseLoad, jobs.PhaseReady, jobs.PhaseFirstByte} {
		var samples []float64
		for _, c := range stories {
			for _, p := range c.Phases {
				if p.Name == name {
					samples = append(samples, p.DurMS)
				}
			}
		}
		if len(samples) > 0 {
			out = append(out, figureOf("phase "+name, "ms", samples))
		}
	}
	return out
}
